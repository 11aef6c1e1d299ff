//! Decides which newcomers may join. A newcomer must pass, in this order: the bans and the lock of
//! the moderators ([`bans`]), the conditions of the room ([`access`]), the rule about a user's
//! second device, a free seat ([`reservations`]), and a free slot. A participant that resumes with
//! a ticket passes none of these checks.

mod access;
mod bans;
mod reservations;

use std::time::Duration;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use super::config::{Ban, JoinConditions, RoomOptions, SecondDevice};
use super::members::Participants;
use crate::ids::PeerId;
use crate::limits;
use access::Access;
use bans::Bans;
use reservations::Reservations;

/// The rules for newcomers of one room, with its bans and reserved seats.
pub(super) struct Admission {
    bans: Bans,
    access: Access,
    reservations: Reservations,
}

/// A newcomer that asks to join.
#[derive(Clone, Copy)]
pub(super) struct Newcomer<'a> {
    pub(super) user: &'a str,
    /// Whether its role includes the right to moderate.
    pub(super) moderates: bool,
    pub(super) conditions: &'a JoinConditions,
}

impl Admission {
    /// Creates the rules of a new room, which begins with `bans`, oldest first. Reserves a seat for
    /// each invited user.
    pub(super) fn new(now: Time, options: &RoomOptions, bans: &[Ban]) -> Self {
        let RoomOptions { version, password, invited, locked, .. } = options;
        let mut reservations = Reservations::default();
        let until = now + options.first_within.unwrap_or(limits::FOUNDING_TIME);
        for user in invited.iter().flatten() {
            reservations.reserve(user, "", until);
        }
        Self {
            bans: Bans::new(now, *locked, bans),
            access: Access::new(version.clone(), *password, invited.clone()),
            reservations,
        }
    }

    /// Checks everything about a newcomer but its seat and slot. Returns the participants that it
    /// replaces: devices of the same user.
    ///
    /// # Errors
    ///
    /// The code to refuse the newcomer with.
    pub(super) fn admit(
        &mut self,
        now: Time,
        newcomer: Newcomer<'_>,
        rule: SecondDevice,
        participants: &Participants,
    ) -> Result<Vec<PeerId>, Code> {
        let Newcomer { user, moderates, conditions } = newcomer;
        self.bans.admit(now, user, moderates)?;
        self.access.admit(now, user, conditions)?;
        replaced_by(user, rule, participants)
    }

    /// Checks that there are seats for a newcomer and for the users it expects. `replaced` is the
    /// number of participants that leave for the newcomer. Returns the expected users who are not
    /// in the room.
    ///
    /// Call [`Self::end_reservations`] first.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`].
    pub(super) fn check_seats(
        &self,
        newcomer: Newcomer<'_>,
        replaced: usize,
        capacity: u16,
        participants: &Participants,
    ) -> Result<Vec<String>, Code> {
        let (user, expected) = (newcomer.user, &newcomer.conditions.expected);
        let is_inside = |user: &str| participants.has_user(user);
        let new = self.reservations.needed(user, expected, is_inside, capacity)?.len();
        let taken = participants.len() - replaced + self.reservations.of_others(user);
        if taken + 1 + new > usize::from(capacity) {
            return Err(Code::RoomFull);
        }
        Ok(expected.iter().filter(|expected| !is_inside(expected)).cloned().collect())
    }

    /// Updates the reserved seats after a newcomer has joined: ends its own reservation, and
    /// reserves seats for the users it expects.
    pub(super) fn newcomer_joined(&mut self, now: Time, user: &str, expected: &[String]) {
        self.reservations.end(user);
        for other in expected.iter().filter(|other| *other != user) {
            self.reservations.reserve(other, user, now + limits::RESERVATION_TIME);
        }
    }

    /// Ends the reservations whose time is over. Returns whether there were any.
    pub(super) fn end_reservations(&mut self, now: Time) -> bool {
        self.reservations.end_due(now)
    }

    /// Returns when the next reservation ends.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.reservations.deadline()
    }

    /// Returns the number of reserved seats.
    pub(super) fn reserved(&self) -> usize {
        self.reservations.len()
    }

    /// Invites a user into a room by invitation. Reserves a seat if one is left.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`] if the list of invited users is full.
    pub(super) fn invite(
        &mut self,
        now: Time,
        user: &str,
        capacity: u16,
        participants: &Participants,
    ) -> Result<(), Code> {
        self.access.invite(user)?;
        self.reservations.end_due(now);
        let taken = participants.len() + self.reserved();
        if !participants.has_user(user) && taken < usize::from(capacity) {
            self.reservations.reserve(user, "", now + limits::RESERVATION_TIME);
        }
        Ok(())
    }

    /// Withdraws an invitation, and the seat reserved with it. A user who has joined stays.
    pub(super) fn uninvite(&mut self, user: &str) {
        self.access.uninvite(user);
        self.reservations.end(user);
    }

    /// Returns whether nobody can join, because the room is by invitation and nobody is invited.
    pub(super) fn admits_nobody(&self) -> bool {
        self.access.admits_nobody()
    }

    pub(super) fn has_password(&self) -> bool {
        self.access.has_password()
    }

    pub(super) fn is_locked(&self) -> bool {
        self.bans.locked
    }

    pub(super) fn set_locked(&mut self, locked: bool) {
        self.bans.locked = locked;
    }

    /// Keeps a user out for a time.
    pub(super) fn ban(&mut self, now: Time, user: &str, time: Duration) {
        self.bans.ban(now, user, time);
    }

    /// Ends the ban of a user. Returns whether there was one that had not ended.
    pub(super) fn unban(&mut self, now: Time, user: &str) -> bool {
        self.bans.unban(now, user)
    }

    /// Returns the users who are kept out, each with the time that is left, oldest ban first.
    pub(super) fn bans(&self, now: Time) -> Vec<(String, Duration)> {
        self.bans.current(now)
    }

    /// Ends all bans. Returns whether there were any.
    pub(super) fn end_bans(&mut self) -> bool {
        self.bans.end_all()
    }
}

/// Returns the other devices of a user that leave when it joins with one more.
///
/// # Errors
///
/// [`Code::AlreadyJoined`] if the rule refuses a second device.
fn replaced_by(
    user: &str,
    rule: SecondDevice,
    participants: &Participants,
) -> Result<Vec<PeerId>, Code> {
    if rule == SecondDevice::Allow {
        return Ok(Vec::new());
    }
    // A device does not count if it is away, its session is lost, or its client has never received
    // `Joined`: the newcomer may be this very device.
    let mut devices = participants.of_user(user);
    if rule == SecondDevice::Refuse && devices.any(|(_, p)| p.confirmed && !p.lost && !p.away) {
        return Err(Code::AlreadyJoined);
    }
    Ok(participants.of_user(user).map(|(peer, _)| peer).collect())
}
