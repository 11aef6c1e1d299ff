//! The bans that a server keeps over a restart.
//!
//! A ban holds as long as its room instance. If the server stops or is killed while the instance
//! lives, the next instance of the room begins with the bans that have not ended. So the shell
//! records each [`RoomOutput::Banned`], forgets one ban at [`RoomOutput::Unbanned`] and all bans of a
//! room at [`RoomOutput::BansEnded`], and keeps the records in a file. A new room begins with the bans
//! that are recorded for it.
//!
//! [`RoomOutput::Banned`]: crate::room::RoomOutput::Banned
//! [`RoomOutput::Unbanned`]: crate::room::RoomOutput::Unbanned
//! [`RoomOutput::BansEnded`]: crate::room::RoomOutput::BansEnded

use std::collections::BTreeMap;
use std::time::Duration;

use nucleus_protocol::limits::MAX_BAN;

use crate::ids::RoomKey;
use crate::limits;
use crate::room::Ban;

/// The bans of all rooms, each with its end in seconds since 1970, because the server's own clock
/// does not outlive the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanRecords {
    /// The bans of each room, oldest first. Has no room without bans.
    rooms: BTreeMap<RoomKey, Vec<RecordedBan>>,
    /// The number of bans.
    len: usize,
}

/// A recorded ban of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedBan {
    /// The user id.
    pub user: String,
    /// The end of the ban, in seconds since 1970. Up to a second later than the room has it, because
    /// a ban must not end too early.
    pub until: u64,
}

impl BanRecords {
    /// Records bans that were kept over a restart, those of each room oldest first. Drops those that
    /// have ended. None lasts longer than [`MAX_BAN`] from now: the clock may have been wrong.
    pub fn new(now: u64, bans: impl IntoIterator<Item = (RoomKey, RecordedBan)>) -> Self {
        let mut records = Self::default();
        for (room, RecordedBan { user, until }) in bans {
            let until = until.min(now.saturating_add(MAX_BAN.as_secs() + 1));
            if now < until {
                records.record(now, &room, RecordedBan { user, until });
            }
        }
        records
    }

    /// Returns the number of recorded bans.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no ban is recorded.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all bans with their rooms, those of a room oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&RoomKey, &RecordedBan)> {
        self.rooms.iter().flat_map(|(room, bans)| bans.iter().map(move |ban| (room, ban)))
    }

    /// Returns the bans that a new instance of a room begins with, oldest first.
    pub fn of(&self, now: u64, room: &RoomKey) -> Vec<Ban> {
        let bans = self.rooms.get(room).into_iter().flatten().filter(|ban| now < ban.until);
        let left = |ban: &RecordedBan| Duration::from_secs(ban.until - now).min(MAX_BAN);
        bans.map(|ban| Ban { user: ban.user.clone(), time: left(ban) }).collect()
    }

    /// Records a ban, in place of an earlier one of the same user. If the room has more than
    /// [`limits::BANS`], drops its oldest. If all rooms have more than [`limits::BAN_RECORDS`], drops
    /// the ban that ends first of the tenant with the most bans.
    pub fn add(&mut self, now: u64, room: &RoomKey, ban: &Ban) {
        let until = now.saturating_add(ban.time.as_secs()).saturating_add(1);
        self.record(now, room, RecordedBan { user: ban.user.clone(), until });
    }

    fn record(&mut self, now: u64, room: &RoomKey, ban: RecordedBan) {
        let bans = self.rooms.entry(room.clone()).or_default();
        let before = bans.len();
        bans.retain(|other| other.user != ban.user && now < other.until);
        if bans.len() >= limits::BANS {
            bans.remove(0);
        }
        bans.push(ban);
        self.len = self.len - before + bans.len();
        while self.len > limits::BAN_RECORDS {
            self.drop_one();
        }
    }

    /// Forgets the ban of a user who is let in again. Returns whether there was one.
    pub fn remove(&mut self, room: &RoomKey, user: &str) -> bool {
        let Some(bans) = self.rooms.get_mut(room) else { return false };
        let before = bans.len();
        bans.retain(|ban| ban.user != user);
        let removed = before - bans.len();
        if bans.is_empty() {
            self.rooms.remove(room);
        }
        self.len -= removed;
        removed > 0
    }

    /// Forgets the bans of a room that has ended. Returns whether there were any.
    pub fn end(&mut self, room: &RoomKey) -> bool {
        let ended = self.rooms.remove(room).map_or(0, |bans| bans.len());
        self.len -= ended;
        ended > 0
    }

    /// Forgets the bans that have ended. Returns whether there were any.
    pub fn end_due(&mut self, now: u64) -> bool {
        let before = self.len;
        self.rooms.retain(|_, bans| {
            bans.retain(|ban| now < ban.until);
            !bans.is_empty()
        });
        self.len = self.rooms.values().map(Vec::len).sum();
        self.len != before
    }

    /// Drops the ban that ends first of the tenant with the most bans.
    fn drop_one(&mut self) {
        let mut tenants: BTreeMap<&str, usize> = BTreeMap::new();
        for (room, bans) in &self.rooms {
            *tenants.entry(&room.owner.tenant).or_default() += bans.len();
        }
        let most = tenants.into_iter().max_by_key(|(_, bans)| *bans);
        let of_most = self
            .rooms
            .iter()
            .filter(|(room, _)| most.is_some_and(|(tenant, _)| room.owner.tenant == tenant));
        let bans = of_most.flat_map(|(room, bans)| {
            bans.iter().enumerate().map(move |(at, ban)| (ban.until, room, at))
        });
        let Some((_, room, at)) = bans.min_by_key(|(until, ..)| *until) else { return };
        let room = room.clone();
        if let Some(bans) = self.rooms.get_mut(&room) {
            bans.remove(at);
            self.len -= 1;
            if bans.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Product, ProductKey};

    fn room(tenant: &str, name: &str) -> RoomKey {
        ProductKey { tenant: tenant.to_owned(), product: Product::ATOM }.room(name)
    }

    fn ban(user: impl ToString, seconds: u64) -> Ban {
        Ban { user: user.to_string(), time: Duration::from_secs(seconds) }
    }

    fn restarted(now: u64, records: &BanRecords) -> BanRecords {
        BanRecords::new(now, records.iter().map(|(room, ban)| (room.clone(), ban.clone())))
    }

    fn users(bans: &[Ban]) -> Vec<&str> {
        bans.iter().map(|ban| ban.user.as_str()).collect()
    }

    #[test]
    fn the_next_instance_has_the_bans_that_have_not_ended() {
        let (den, yard) = (room("acme", "den"), room("acme", "yard"));
        let mut records = BanRecords::default();
        records.add(1_000, &den, &ban("ada", 60));
        records.add(1_000, &den, &ban("bob", 5));
        records.add(1_001, &den, &ban("cyd", 60));
        records.add(1_002, &den, &ban("ada", 10));
        let next = restarted(1_006, &records);
        // Of "ada" the later ban counts. Each may last up to two seconds too long, never too short.
        assert_eq!(next.of(1_006, &den), [ban("cyd", 56), ban("ada", 7)]);
        assert_eq!(next.len(), 2);
        for other in [yard, room("else", "den")] {
            assert_eq!(next.of(1_006, &other), []);
        }
        let assist = ProductKey { product: Product::ASSIST, ..den.owner.clone() };
        assert_eq!(next.of(1_006, &assist.room("den")), []);
        assert_eq!(users(&next.of(1_013, &den)), ["cyd"]);
    }

    #[test]
    fn the_bans_of_a_room_end_with_it_and_with_their_time() {
        let (den, yard) = (room("acme", "den"), room("acme", "yard"));
        let mut records = BanRecords::default();
        records.add(0, &den, &ban("ada", 60));
        records.add(0, &yard, &ban("ada", 10));
        assert!(!records.end_due(10) && records.end_due(11));
        assert_eq!((records.len(), records.of(11, &yard)), (1, vec![]));
        assert!(records.end(&den) && !records.end(&den));
        assert_eq!(records, BanRecords::default());
    }

    #[test]
    fn a_ban_that_is_lifted_is_forgotten_alone() {
        let (den, yard) = (room("acme", "den"), room("acme", "yard"));
        let mut records = BanRecords::default();
        for (room, user) in [(&den, "ada"), (&den, "bob"), (&yard, "ada")] {
            records.add(0, room, &ban(user, 60));
        }
        assert!(!records.remove(&den, "cyd") && !records.remove(&room("else", "den"), "ada"));
        assert!(records.remove(&den, "ada") && !records.remove(&den, "ada"));
        let next = restarted(1, &records);
        assert_eq!((next.len(), users(&next.of(1, &den))), (2, vec!["bob"]));
        assert_eq!(users(&next.of(1, &yard)), ["ada"]);
        assert!(records.remove(&den, "bob") && records.remove(&yard, "ada"));
        assert_eq!(records, BanRecords::default());
    }

    /// The clock was years ahead when the ban was recorded.
    #[test]
    fn no_ban_outlasts_the_longest() {
        let den = room("acme", "den");
        let mut records = BanRecords::default();
        records.add(4_000_000_000, &den, &ban("ada", 60));
        let longest = MAX_BAN.as_secs();
        assert_eq!(restarted(1_000, &records).of(1_000, &den), [ban("ada", longest)]);
        assert!(restarted(1_000, &records).end_due(1_001 + longest));
        records.add(u64::MAX, &den, &ban("ada", 60));
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn a_room_has_so_many_and_the_oldest_is_dropped() {
        let den = room("acme", "den");
        let mut records = BanRecords::default();
        for user in 0..=limits::BANS {
            records.add(0, &den, &ban(user, 1_000 - user as u64));
        }
        let bans = records.of(0, &den);
        assert_eq!((records.len(), bans.len()), (limits::BANS, limits::BANS));
        assert_eq!(bans[0].user, "1");
        records.add(0, &den, &ban("1", 5));
        assert_eq!(records.len(), limits::BANS, "an earlier ban of the same user is replaced");
        assert_eq!(records.of(0, &den)[0].user, "2");
    }

    #[test]
    fn a_tenant_does_not_displace_the_bans_of_another() {
        let quiet = room("quiet", "den");
        let mut records = BanRecords::default();
        records.add(0, &quiet, &ban("ada", 1));
        for number in 0..limits::BAN_RECORDS as u64 + 100 {
            let name = (number / limits::BANS as u64).to_string();
            records.add(0, &room("loud", &name), &ban(number, 1_000 + number));
        }
        assert_eq!(records.len(), limits::BAN_RECORDS);
        assert_eq!(users(&records.of(0, &quiet)), ["ada"]);
        let loud = records.of(0, &room("loud", "0"));
        assert_eq!(loud[0].user, "101", "those that end first were dropped");
        assert_eq!(restarted(0, &records), records);
    }
}
