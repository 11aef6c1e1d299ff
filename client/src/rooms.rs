//! Which room to join, and how one is made: what the options of a join say of rooms.

use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{self, Join, RoomField, filter, join_mode, room_flag, value};

use crate::state::Value;

/// Which rooms fit: conditions on the fields that rooms [list](RoomOptions::listed), all of which must
/// hold. A room without such a field does not fit. At most 8 conditions.
///
/// ```
/// use nucleus_client::Query;
/// let query = Query::new().equals("map", "shipyard").between("level", 3, 5);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    filters: Vec<session::Filter>,
}

impl Query {
    /// Any room.
    pub fn new() -> Self {
        Self::default()
    }

    /// The field has this value, of the same type: 1 is not 1.0.
    pub fn equals(self, key: &str, value: impl Into<Value>) -> Self {
        self.one_of(key, [value.into()])
    }

    /// The field has one of these values, at most 16.
    pub fn one_of<V: Into<Value>>(self, key: &str, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(|value| value.into().into()).collect();
        self.filter(key, filter::ONE_OF, values)
    }

    /// The field is a number between these, both included, whether integer or float.
    pub fn between(self, key: &str, low: impl Into<Value>, high: impl Into<Value>) -> Self {
        self.filter(key, filter::RANGE, vec![low.into().into(), high.into().into()])
    }

    /// The field is a number that is not less.
    pub fn at_least(self, key: &str, low: impl Into<Value>) -> Self {
        self.filter(key, filter::RANGE, vec![low.into().into(), session::Value::default()])
    }

    /// The field is a number that is not more.
    pub fn at_most(self, key: &str, high: impl Into<Value>) -> Self {
        self.filter(key, filter::RANGE, vec![session::Value::default(), high.into().into()])
    }

    fn filter(mut self, key: &str, kind: u8, values: Vec<session::Value>) -> Self {
        self.filters.push(session::Filter { key: key.as_bytes().to_vec(), kind, values });
        self
    }

    /// What the server would refuse anyway.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let is_fine = |filter: &session::Filter| {
            (1..=limits::MAX_STATE_KEY).contains(&filter.key.len())
                && (1..=limits::MAX_FILTER_VALUES).contains(&filter.values.len())
                && filter.values.iter().all(|value| is_fine_for(filter.kind, value))
        };
        if self.filters.len() > limits::MAX_FILTERS {
            Some("a query has at most 8 conditions")
        } else if !self.filters.iter().all(is_fine) {
            Some("a condition has a key of 1 to 64 bytes and 1 to 16 values; a range has numbers")
        } else if self.bytes() > MOST_BYTES {
            Some("a query must have at most 8 KiB")
        } else {
            None
        }
    }

    fn bytes(&self) -> usize {
        let filters = self.filters.iter().map(|filter| {
            17 + filter.key.len() + filter.values.iter().map(value_bytes).sum::<usize>()
        });
        filters.sum()
    }

    /// As it travels.
    pub fn into_filters(self) -> Vec<session::Filter> {
        self.filters
    }
}

/// What a room is made with, if this join makes it; of no account for a room that is there.
///
/// ```
/// use std::time::Duration;
/// use nucleus_client::RoomOptions;
/// let options = RoomOptions::new()
///     .capacity(12)
///     .empty_ttl(Duration::from_secs(60))
///     .field("map", "shipyard")
///     .listed(["map"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomOptions {
    wire: session::RoomOptions,
}

impl RoomOptions {
    /// The server's defaults: open to everybody, and over with its last peer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Peers that it takes; at most the server's limit, which is also the default.
    pub fn capacity(mut self, capacity: u16) -> Self {
        self.wire.capacity = capacity;
        self
    }

    /// Neither listed nor matched: who knows its name joins it.
    pub fn hidden(self) -> Self {
        self.flag(room_flag::HIDDEN)
    }

    /// Locked from the start; needs the right to moderate.
    pub fn locked(self) -> Self {
        self.flag(room_flag::LOCKED)
    }

    /// It stays when it is empty, until a moderator ends it or the server stops; needs the right to
    /// moderate.
    pub fn kept(self) -> Self {
        self.flag(room_flag::KEPT)
    }

    /// It lets in this user and those that the join [expects](crate::ConnectOptions::expect_users),
    /// nobody else.
    pub fn by_invitation(self) -> Self {
        self.flag(room_flag::BY_INVITATION)
    }

    /// How long it outlives its last peer, with its state; the server has a maximum (5 min by default).
    pub fn empty_ttl(mut self, ttl: Duration) -> Self {
        self.wire.empty_ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Keys of the room's fields that the lobby shows and that a [`Query`] asks for; at most 8. A text
    /// or byte string of more than 256 bytes is not shown.
    pub fn listed<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.wire.listed.extend(keys.into_iter().map(|key| key.as_bytes().to_vec()));
        self
    }

    /// A field that the room has from the first moment; at most 16.
    pub fn field(mut self, key: &str, value: impl Into<Value>) -> Self {
        let field = RoomField { key: key.as_bytes().to_vec(), value: value.into().into() };
        self.wire.fields.push(field);
        self
    }

    fn flag(mut self, flag: u8) -> Self {
        self.wire.flags |= flag;
        self
    }
}

/// All that a join says of rooms beside the name. The default joins the named room and makes it if
/// there is none.
#[derive(Clone, Default, PartialEq)]
pub struct RoomSelection {
    pub(crate) mode: u8,
    pub(crate) version: String,
    pub(crate) password: String,
    pub(crate) expected: Vec<String>,
    pub(crate) options: RoomOptions,
    pub(crate) query: Query,
}

/// Bytes that options, filters and expected users may come to together.
const MOST_BYTES: usize = 8 << 10;

impl RoomSelection {
    /// The default, with a capacity for the room if this join makes it; 0 = the server's.
    pub fn capacity(capacity: u16) -> Self {
        Self { options: RoomOptions::new().capacity(capacity), ..Self::default() }
    }

    /// Any room that fits will do.
    pub(crate) fn matches(&self) -> bool {
        matches!(self.mode, join_mode::MATCH | join_mode::MATCH_OR_CREATE)
    }

    /// To come back to a room that this client was in, by its name. Where the room is gone it is made
    /// again, by whoever is back first; but not by a client that joined a room of this name alone.
    pub(crate) fn for_rejoin(&self) -> Self {
        let mode = match self.mode {
            join_mode::JOIN => join_mode::JOIN,
            _ => join_mode::JOIN_OR_CREATE,
        };
        let is_private = self.options.wire.flags & room_flag::BY_INVITATION != 0;
        let expected = if is_private { self.expected.clone() } else { Vec::new() };
        Self { mode, expected, query: Query::new(), ..self.clone() }
    }

    /// What the server would refuse anyway.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let options = &self.options.wire;
        if self.version.len() > limits::MAX_APPLICATION_VERSION {
            Some("the version must have at most 32 bytes")
        } else if self.password.len() > limits::MAX_PASSWORD {
            Some("the password must have at most 64 bytes")
        } else if self.expected.len() > limits::MAX_EXPECTED {
            Some("at most 16 users can be expected")
        } else if options.listed.len() > limits::MAX_LISTED {
            Some("at most 8 fields can be listed")
        } else if options.fields.len() > limits::MAX_FIRST_FIELDS {
            Some("a room can be made with at most 16 fields")
        } else if let Some(problem) = self.query.problem() {
            Some(problem)
        } else if self.bytes() > MOST_BYTES {
            Some("fields, conditions and expected users must have at most 8 KiB together")
        } else {
            None
        }
    }

    fn bytes(&self) -> usize {
        let RoomOptions { wire: session::RoomOptions { listed, fields, .. } } = &self.options;
        let names = self.expected.iter().map(|user| 8 + user.len());
        let keys = listed.iter().map(|key| 8 + key.len());
        let fields = fields.iter().map(|field| 8 + field.key.len() + value_bytes(&field.value));
        names.chain(keys).chain(fields).sum::<usize>() + self.query.bytes()
    }

    /// Its part of the message.
    pub(crate) fn join(self) -> Join {
        Join {
            mode: self.mode,
            version: self.version.into_bytes(),
            password: self.password.into_bytes(),
            expected: self.expected.into_iter().map(String::into_bytes).collect(),
            options: self.options.wire,
            filters: self.query.filters,
            ..Join::default()
        }
    }
}

fn value_bytes(value: &session::Value) -> usize {
    17 + value.bytes.len()
}

fn is_fine_for(kind: u8, value: &session::Value) -> bool {
    let is_number = match value.kind {
        value::NONE | value::INTEGER => true,
        value::FLOAT => !f64::from_bits(value.bits).is_nan(),
        _ => false,
    };
    (is_number || kind != filter::RANGE && value.kind != value::FLOAT)
        && value.bytes.len() <= limits::MAX_STATE_VALUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coming_back_looks_for_no_other_room() {
        let selection = RoomSelection {
            mode: join_mode::MATCH_OR_CREATE,
            version: "1".into(),
            password: "x".into(),
            expected: vec!["ada".into()],
            options: RoomOptions::new().capacity(3),
            query: Query::new().equals("k", 1),
        };
        let back = selection.for_rejoin();
        assert_eq!((back.mode, back.matches()), (join_mode::JOIN_OR_CREATE, false));
        assert!(back.expected.is_empty() && back.query == Query::new());
        assert!(back.version == selection.version && back.options == selection.options);
        assert!(back.password == selection.password);
        let visitor = RoomSelection { mode: join_mode::JOIN, ..selection };
        assert_eq!(visitor.for_rejoin().mode, join_mode::JOIN);
    }

    #[test]
    fn what_is_too_much_is_not_sent() {
        let of = |options| RoomSelection { options, ..RoomSelection::default() };
        let keys = ["k"; 9];
        assert!(of(RoomOptions::new().listed(keys[..8].iter().copied())).problem().is_none());
        assert!(of(RoomOptions::new().listed(keys)).problem().is_some());
        let text = "x".repeat(4_000);
        let two = RoomOptions::new().field("a", text.as_str()).field("b", text.as_str());
        assert!(of(two.clone()).problem().is_none());
        assert!(of(two.field("c", text.as_str())).problem().is_some());
        let version = "x".repeat(33);
        assert!(RoomSelection { version, ..RoomSelection::default() }.problem().is_some());
    }
}
