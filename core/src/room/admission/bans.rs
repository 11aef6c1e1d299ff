//! Whom moderators keep out: users banned for a time, and everybody while the room is locked.

use std::time::Duration;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::limits;

/// Bans and lock of a room.
pub(crate) struct Bans {
    pub(crate) locked: bool,
    /// Users, and until when they are banned.
    banned: Vec<(String, Time)>,
}

impl Bans {
    pub(super) fn new(locked: bool) -> Self {
        Self { locked, banned: Vec::new() }
    }

    /// Whether a newcomer may enter. A lock keeps no moderator out: somebody must be able to open it.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub(super) fn admit(&self, now: Time, user: &str, moderates: bool) -> Result<(), Code> {
        if self.banned.iter().any(|(banned, until)| banned == user && now < *until) {
            return Err(Code::Kicked);
        }
        if self.locked && !moderates { Err(Code::RoomLocked) } else { Ok(()) }
    }

    pub(crate) fn ban(&mut self, now: Time, user: &str, time: Duration) {
        self.banned.retain(|(banned, until)| banned != user && now < *until);
        if self.banned.len() >= limits::BANS {
            self.banned.remove(0);
        }
        self.banned.push((user.to_owned(), now + time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_ban_ends_with_its_time_and_a_lock_when_it_is_opened() {
        let mut bans = Bans::new(false);
        assert_eq!(bans.admit(at(0), "ada", false), Ok(()));
        bans.ban(at(0), "ada", Duration::from_secs(10));
        assert_eq!(bans.admit(at(9), "ada", true), Err(Code::Kicked));
        assert_eq!(bans.admit(at(9), "grace", false), Ok(()));
        assert_eq!(bans.admit(at(10), "ada", false), Ok(()));
        bans.locked = true;
        assert_eq!(bans.admit(at(10), "grace", false), Err(Code::RoomLocked));
        assert_eq!(bans.admit(at(10), "host", true), Ok(()));
    }

    #[test]
    fn bans_are_counted_once_a_user_and_bounded() {
        let mut bans = Bans::new(false);
        for _ in 0..3 {
            bans.ban(at(0), "ada", Duration::from_secs(10));
        }
        assert_eq!(bans.banned.len(), 1);
        for user in 0..2 * limits::BANS {
            bans.ban(at(1), &user.to_string(), Duration::from_secs(10));
        }
        assert_eq!(bans.banned.len(), limits::BANS);
        assert_eq!(bans.admit(at(2), "ada", false), Ok(()), "the oldest went");
        bans.ban(at(20), "grace", Duration::from_secs(10));
        assert_eq!(bans.banned.len(), 1, "those that were over are forgotten");
    }
}
