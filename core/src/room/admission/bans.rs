//! The bans and the lock of a room, both set by moderators. A lock keeps everybody out.
//!
//! The bans end with the room instance, unless the server stops while it lives: then the next
//! instance of the room begins with them. See [`crate::ban_records`].

use std::time::Duration;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::limits;
use crate::room::config::Ban;

/// The bans and the lock of a room.
pub(super) struct Bans {
    pub(super) locked: bool,
    /// The bans, oldest first.
    bans: Vec<CurrentBan>,
}

struct CurrentBan {
    user: String,
    until: Time,
}

impl Bans {
    /// Creates the bans of a new room, which begins with `bans`, oldest first.
    pub(super) fn new(now: Time, locked: bool, bans: &[Ban]) -> Self {
        let mut new = Self { locked, bans: Vec::new() };
        bans.iter().for_each(|ban| new.ban(now, &ban.user, ban.time));
        new
    }

    /// Checks whether a newcomer may join. A lock does not keep moderators out: somebody must be
    /// able to unlock the room.
    ///
    /// # Errors
    ///
    /// The code to refuse the newcomer with.
    pub(super) fn admit(&self, now: Time, user: &str, moderates: bool) -> Result<(), Code> {
        if self.bans.iter().any(|ban| ban.user == user && now < ban.until) {
            return Err(Code::Kicked);
        }
        if self.locked && !moderates { Err(Code::RoomLocked) } else { Ok(()) }
    }

    /// Keeps a user out for a time, in place of an earlier ban. If the list is full, drops the
    /// oldest ban.
    pub(super) fn ban(&mut self, now: Time, user: &str, time: Duration) {
        self.bans.retain(|ban| ban.user != user && now < ban.until);
        if self.bans.len() >= limits::BANS {
            self.bans.remove(0);
        }
        self.bans.push(CurrentBan { user: user.to_owned(), until: now + time });
    }

    /// Ends the ban of a user. Returns whether there was one that had not ended.
    pub(super) fn unban(&mut self, now: Time, user: &str) -> bool {
        self.bans.retain(|ban| now < ban.until);
        let current = self.bans.len();
        self.bans.retain(|ban| ban.user != user);
        self.bans.len() < current
    }

    /// Returns the bans that have not ended, each with the time that is left, oldest first.
    pub(super) fn current(&self, now: Time) -> Vec<(String, Duration)> {
        let current = self.bans.iter().filter(|ban| now < ban.until);
        current.map(|ban| (ban.user.clone(), ban.until.since(now))).collect()
    }

    /// Ends all bans. Returns whether there were any.
    pub(super) fn end_all(&mut self) -> bool {
        !std::mem::take(&mut self.bans).is_empty()
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
        let mut bans = Bans::new(at(0), false, &[]);
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
    fn a_user_is_let_in_again_before_the_ban_ends() {
        let mut bans = Bans::new(at(0), false, &[]);
        for user in ["ada", "grace"] {
            bans.ban(at(0), user, Duration::from_secs(10));
        }
        assert!(!bans.unban(at(5), "nobody"));
        assert!(bans.unban(at(5), "ada") && !bans.unban(at(5), "ada"));
        assert_eq!(bans.admit(at(5), "ada", false), Ok(()));
        assert_eq!(bans.admit(at(5), "grace", false), Err(Code::Kicked));
        assert!(!bans.unban(at(10), "grace"), "this ban has ended");
    }

    #[test]
    fn bans_are_counted_once_a_user_and_bounded() {
        let mut bans = Bans::new(at(0), false, &[]);
        for _ in 0..3 {
            bans.ban(at(0), "ada", Duration::from_secs(10));
        }
        assert_eq!(bans.bans.len(), 1);
        for user in 0..2 * limits::BANS {
            bans.ban(at(1), &user.to_string(), Duration::from_secs(10));
        }
        assert_eq!(bans.bans.len(), limits::BANS);
        assert_eq!(bans.admit(at(2), "ada", false), Ok(()), "the oldest ban was dropped");
        bans.ban(at(20), "grace", Duration::from_secs(10));
        assert_eq!(bans.bans.len(), 1, "bans that have ended are forgotten");
    }

    #[test]
    fn a_room_begins_with_bans_and_drops_the_oldest_beyond_its_limit() {
        let ban = |user: usize| Ban { user: user.to_string(), time: Duration::from_secs(10) };
        let first: Vec<Ban> = (0..=limits::BANS).map(ban).collect();
        let mut bans = Bans::new(at(5), false, &first);
        assert_eq!(bans.bans.len(), limits::BANS);
        assert_eq!(bans.admit(at(14), "0", false), Ok(()));
        assert_eq!(bans.admit(at(14), "1", false), Err(Code::Kicked));
        assert_eq!(bans.admit(at(15), "1", false), Ok(()));
        assert!(bans.end_all() && !bans.end_all());
        assert_eq!(bans.admit(at(14), "1", false), Ok(()));
    }
}
