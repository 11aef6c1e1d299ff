//! The room that a join selects, and whether the join may create it.

use std::collections::BTreeSet;
use std::time::Duration;

use nucleus_protocol::limits::{
    MAX_APPLICATION_VERSION, MAX_EXPECTED, MAX_FIRST_FIELDS, MAX_LISTED, MAX_NAME, MAX_PASSWORD,
    MAX_ROOM_NAME,
};
use nucleus_protocol::session::{self, Code, Join, RoomField, join_mode, room_flag, value};

use super::filter::Query;
use crate::ids::RoomPattern;
use crate::room::{JoinConditions, Password, RoomOptions, is_key, is_value};
use crate::text;

/// What a join does, depending on whether the room exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinMode {
    /// Joins the room with the given name, or creates it.
    JoinOrCreate,
    /// Creates the room. Fails if it exists.
    Create,
    /// Joins the room with the given name. Fails if it does not exist.
    Join,
    /// Joins any room that fits. Fails if there is none.
    Match,
    /// Joins any room that fits, or creates one.
    MatchOrCreate,
}

impl JoinMode {
    /// Reads the mode of a client; `None` if there is no such mode.
    pub fn from_wire(mode: u8) -> Option<Self> {
        Some(match mode {
            join_mode::JOIN_OR_CREATE => Self::JoinOrCreate,
            join_mode::CREATE => Self::Create,
            join_mode::JOIN => Self::Join,
            join_mode::MATCH => Self::Match,
            join_mode::MATCH_OR_CREATE => Self::MatchOrCreate,
            _ => return None,
        })
    }

    /// Returns true if the join accepts any room that fits.
    pub fn matches(self) -> bool {
        matches!(self, Self::Match | Self::MatchOrCreate)
    }

    /// Returns true if the join may create a room.
    pub fn creates(self) -> bool {
        !matches!(self, Self::Join | Self::Match)
    }
}

/// The room that a join selects, by name or by match, or creates.
#[derive(Clone, Debug)]
pub struct RoomSelection {
    /// What the join does, depending on whether the room exists.
    pub mode: JoinMode,
    /// The rooms that fit a match.
    pub query: Query,
    /// The user who makes the room, if the join creates one; `None` if the server makes it.
    pub maker: Option<String>,
    /// The rooms that the token admits to. Limits a match.
    pub admitted: RoomPattern,
    /// Seats that the join needs: its own, and those of the users it expects.
    pub seats: usize,
    /// Capacity of the room if one is created; 0 for the server's limit.
    pub capacity: u16,
    /// Options of the room if one is created.
    pub options: RoomOptions,
}

impl RoomSelection {
    /// Returns the selection of a new room that the server makes with these options. The selection
    /// reserves no seats.
    pub fn by_server(options: RoomOptions) -> Self {
        Self {
            mode: JoinMode::Create,
            query: Query::default(),
            maker: None,
            admitted: RoomPattern::Any,
            seats: 0,
            capacity: 0,
            options,
        }
    }

    /// Reads the join of a user. Returns the rooms it selects, and the conditions that the room
    /// itself checks.
    ///
    /// # Errors
    ///
    /// [`Code::BadState`] for invalid contents, [`Code::BadName`] for an invalid name or version,
    /// and [`Code::Forbidden`] for options that need the right to moderate.
    pub fn new(
        join: &Join,
        user: &str,
        moderates: bool,
        admitted: &RoomPattern,
        longest_ttl: Duration,
    ) -> Result<(Self, JoinConditions), Code> {
        let mode = JoinMode::from_wire(join.mode).ok_or(Code::BadState)?;
        let version =
            text::plain(&join.version, 0, MAX_APPLICATION_VERSION).map_err(|_| Code::BadName)?;
        if join.password.len() > MAX_PASSWORD || join.expected.len() > MAX_EXPECTED {
            return Err(Code::BadState);
        }
        let expected = join.expected.iter().map(|user| text::plain(user, 1, MAX_NAME));
        // A user who is named twice needs one seat. The joining user already has a seat.
        let expected: Result<BTreeSet<String>, _> = expected.collect();
        let expected = expected.map_err(|_| Code::BadName)?.into_iter();
        let expected: Vec<String> = expected.filter(|other| other != user).collect();
        let password = Password::of(&join.password);
        let mut options = options(&join.options, moderates, longest_ttl)?;
        options.version.clone_from(&version);
        options.password = password;
        if let Some(invited) = &mut options.invited {
            invited.push(user.to_owned());
            invited.extend(expected.iter().cloned());
        }
        let selection = Self {
            mode,
            query: Query::new(version.clone(), join.filters.clone())?,
            maker: Some(user.to_owned()),
            admitted: admitted.clone(),
            seats: 1 + expected.len(),
            capacity: join.options.capacity,
            options,
        };
        Ok((selection, JoinConditions { version, password, expected }))
    }
}

impl RoomSelection {
    /// Returns a random name for a room without a name. Nobody can guess this name, and the token
    /// admits to it.
    ///
    /// # Errors
    ///
    /// [`Code::BadName`] if the prefix that the token demands makes the name too long.
    pub(super) fn name_from(&self, random: [u8; 16]) -> Result<String, Code> {
        let prefix = match &self.admitted {
            RoomPattern::Exact(name) => return Ok(name.clone()),
            RoomPattern::Prefix(prefix) => prefix,
            RoomPattern::Any => "",
        };
        let name = format!("{prefix}match-{:032x}", u128::from_be_bytes(random));
        text::plain(name.as_bytes(), 1, MAX_ROOM_NAME).map_err(|_| Code::BadName)
    }
}

/// Reads the options of a room to be created.
fn options(
    wire: &session::RoomOptions,
    moderates: bool,
    longest_ttl: Duration,
) -> Result<RoomOptions, Code> {
    let session::RoomOptions { flags, empty_ttl_ms, listed, fields, .. } = wire;
    let has = |flag: u8| flags & flag != 0;
    let known = room_flag::HIDDEN | room_flag::LOCKED | room_flag::KEPT | room_flag::BY_INVITATION;
    let is_field = |field: &RoomField| {
        is_key(&field.key) && is_value(&field.value) && field.value.kind != value::NONE
    };
    let well_formed = flags & !known == 0
        && listed.len() <= MAX_LISTED
        && listed.iter().all(|key| is_key(key))
        && fields.len() <= MAX_FIRST_FIELDS
        && fields.iter().all(is_field);
    if !well_formed {
        return Err(Code::BadState);
    }
    if (has(room_flag::LOCKED) || has(room_flag::KEPT)) && !moderates {
        return Err(Code::Forbidden);
    }
    let mut listed = listed.clone();
    listed.sort_unstable();
    listed.dedup();
    Ok(RoomOptions {
        hidden: has(room_flag::HIDDEN),
        locked: has(room_flag::LOCKED),
        kept: has(room_flag::KEPT),
        invited: has(room_flag::BY_INVITATION).then(Vec::new),
        empty_ttl: Duration::from_millis((*empty_ttl_ms).into()).min(longest_ttl),
        listed,
        fields: fields.iter().map(|field| (field.key.clone(), field.value.clone())).collect(),
        ..RoomOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nucleus_protocol::session::Value;

    fn select(join: &Join, moderates: bool) -> Result<RoomSelection, Code> {
        let longest_ttl = Duration::from_secs(60);
        RoomSelection::new(join, "ada", moderates, &RoomPattern::Any, longest_ttl).map(|(s, _)| s)
    }

    fn with(options: session::RoomOptions) -> Join {
        Join { options, ..Join::default() }
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let field = |key: &[u8], kind| RoomField {
            key: key.to_vec(),
            value: Value { kind, bits: 0, bytes: Vec::new() },
        };
        let good = session::RoomOptions {
            listed: vec![b"k".to_vec(); 8],
            fields: vec![field(b"k", value::INTEGER); 16],
            flags: room_flag::HIDDEN,
            ..session::RoomOptions::default()
        };
        assert!(select(&with(good.clone()), false).is_ok());
        for options in [
            session::RoomOptions { listed: vec![b"k".to_vec(); 9], ..good.clone() },
            session::RoomOptions { listed: vec![Vec::new()], ..good.clone() },
            session::RoomOptions { fields: vec![field(b"k", value::INTEGER); 17], ..good.clone() },
            session::RoomOptions { fields: vec![field(b"k", value::NONE)], ..good.clone() },
            session::RoomOptions { fields: vec![field(b"", value::BOOL)], ..good.clone() },
            session::RoomOptions { flags: 16, ..good.clone() },
        ] {
            assert_eq!(
                select(&with(options.clone()), true).err(),
                Some(Code::BadState),
                "{options:?}"
            );
        }
        let long = |len| vec![b'x'; len];
        for (join, code) in [
            (Join { mode: 5, ..Join::default() }, Code::BadState),
            (Join { version: long(33), ..Join::default() }, Code::BadName),
            (Join { version: b"\n".to_vec(), ..Join::default() }, Code::BadName),
            (Join { password: long(65), ..Join::default() }, Code::BadState),
            (Join { expected: vec![long(3); 17], ..Join::default() }, Code::BadState),
            (Join { expected: vec![long(129)], ..Join::default() }, Code::BadName),
        ] {
            assert_eq!(select(&join, true).err(), Some(code), "{join:?}");
        }
    }

    #[test]
    fn keeping_and_locking_need_the_right_to_moderate() {
        for flags in [room_flag::LOCKED, room_flag::KEPT] {
            let join = with(session::RoomOptions { flags, ..session::RoomOptions::default() });
            assert_eq!(select(&join, false).err(), Some(Code::Forbidden));
            assert!(select(&join, true).is_ok());
        }
    }

    #[test]
    fn its_maker_is_invited_and_the_time_has_a_limit() {
        let flags = room_flag::BY_INVITATION;
        let options = session::RoomOptions {
            flags,
            empty_ttl_ms: u32::MAX,
            ..session::RoomOptions::default()
        };
        let expected = ["grace", "ada", "grace"].map(|user| user.as_bytes().to_vec()).to_vec();
        let join = Join { expected, ..with(options) };
        let selection = select(&join, false).unwrap();
        assert_eq!(selection.options.invited, Some(vec!["ada".to_owned(), "grace".to_owned()]));
        assert_eq!((selection.options.empty_ttl, selection.seats), (Duration::from_secs(60), 2));
    }
}
