//! Who gets in. A newcomer passes, in this order: the bans and the lock of the moderators ([`bans`]),
//! whom the room was made for ([`access`]), the rule about a user's second device, a free seat
//! ([`reservations`]), and a free slot. Whoever comes back with a ticket passes none of it.

mod access;
mod bans;
mod lifetime;
mod options;
mod reservations;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use super::Room;
use crate::ids::PeerId;
use crate::limits;
use access::Access;
use bans::Bans;
pub use options::{JoinConditions, Password, RoomOptions, SecondDevice};
use reservations::Reservations;

/// What decides about newcomers.
pub(super) struct Admission {
    pub(super) bans: Bans,
    access: Access,
    reservations: Reservations,
}

/// A newcomer who may come in.
pub(super) struct Admitted {
    pub(super) slot: u16,
    /// Participants who go for it.
    pub(super) replaced: Vec<PeerId>,
    /// Users for whom seats are reserved from now on.
    pub(super) expected: Vec<String>,
}

impl Admission {
    pub(super) fn new(options: &RoomOptions) -> Self {
        let RoomOptions { version, password, invited, locked, .. } = options;
        Self {
            bans: Bans::new(*locked),
            access: Access::new(version.clone(), *password, invited.clone()),
            reservations: Reservations::default(),
        }
    }

    pub(super) fn has_password(&self) -> bool {
        self.access.has_password()
    }

    /// Seats kept for users who are expected.
    pub(super) fn reserved(&self) -> usize {
        self.reservations.len()
    }
}

impl Room {
    /// Whether a newcomer may come in, and what becomes of others for it.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub(super) fn admit(
        &mut self,
        now: Time,
        user: &str,
        moderates: bool,
        conditions: &JoinConditions,
    ) -> Result<Admitted, Code> {
        self.admission.bans.admit(now, user, moderates)?;
        self.admission.access.admit(now, user, conditions)?;
        let replaced = self.replaced_by(user)?;
        let expected = self.seats_for(now, user, &conditions.expected, replaced.len())?;
        let slot = self.slots.allocate(now, user)?;
        Ok(Admitted { slot, replaced, expected })
    }

    /// Which of the user's other devices have to go, as the policy says.
    fn replaced_by(&self, user: &str) -> Result<Vec<PeerId>, Code> {
        let policy = self.config.second_device;
        if policy == SecondDevice::Allow {
            return Ok(Vec::new());
        }
        let others = self.participants.iter().filter(|(_, p)| p.user == user);
        // A device whose session is gone, or that never heard of its place, is no reason to refuse: it
        // may be this very one.
        if policy == SecondDevice::Refuse && others.clone().any(|(_, p)| p.arrived && !p.lost) {
            return Err(Code::AlreadyJoined);
        }
        Ok(others.map(|(peer, _)| *peer).collect())
    }

    /// Seats for a newcomer and the users it expects, `leaving` participants making room for it. Gives
    /// those of the expected who are not here yet.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`].
    fn seats_for(
        &mut self,
        now: Time,
        user: &str,
        expected: &[String],
        leaving: usize,
    ) -> Result<Vec<String>, Code> {
        self.end_reservations(now);
        let capacity = self.config.capacity;
        let inside = |user: &str| self.is_inside(user);
        let fresh = self.admission.reservations.fresh(user, expected, inside, capacity)?;
        let others = self.admission.reservations.but_of(user);
        let taken = self.participants.len() - leaving + others;
        if taken + 1 + fresh.len() > usize::from(capacity) {
            return Err(Code::RoomFull);
        }
        Ok(expected.iter().filter(|e| !self.is_inside(e)).cloned().collect())
    }

    /// The newcomer is in: its own seat is reserved no more, those of the users it expects are.
    pub(super) fn settle_reservations(&mut self, now: Time, user: &str, expected: &[String]) {
        self.empty_until = None;
        let reservations = &mut self.admission.reservations;
        reservations.end(user);
        for other in expected.iter().filter(|other| *other != user) {
            reservations.reserve(other, user, now + limits::RESERVATION_TIME);
        }
        self.list(now);
    }

    /// Reserves a seat for each invited user of a room that is made by invitation.
    pub(super) fn reserve_for_invited(&mut self, now: Time) {
        let options = &self.config.options;
        let until = now + options.first_within.unwrap_or(limits::FOUNDING_TIME);
        let invited = options.invited.iter().flatten();
        invited.for_each(|user| self.admission.reservations.reserve(user, "", until));
    }

    /// Ends the reservations whose time is over.
    pub(super) fn end_reservations(&mut self, now: Time) {
        if self.admission.reservations.forget(now) {
            self.list(now);
        }
    }

    /// When the next reservation ends.
    pub(super) fn reservations_due(&self) -> Option<Time> {
        self.admission.reservations.due()
    }

    /// Lets a user into a room that is by invitation, and reserves a seat where one is left.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`]: there are too many invited users; [`Code::ShuttingDown`]: the room is over.
    pub(super) fn invite(&mut self, now: Time, user: &str) -> Result<(), Code> {
        if self.ending {
            return Err(Code::ShuttingDown);
        }
        self.admission.access.invite(user)?;
        self.admission.reservations.forget(now);
        if !self.is_inside(user) && self.taken() < usize::from(self.config.capacity) {
            let until = now + limits::RESERVATION_TIME;
            self.admission.reservations.reserve(user, "", until);
        }
        self.list(now);
        Ok(())
    }

    /// Takes an invitation back, and the seat reserved with it; who is in stays. An empty room that nobody
    /// is invited to is over.
    pub(super) fn uninvite(&mut self, now: Time, user: &str) {
        self.admission.access.uninvite(user);
        self.admission.reservations.end(user);
        self.list(now);
        if self.participants.is_empty() && self.admission.access.is_for_nobody() {
            self.end();
        }
    }

    fn is_inside(&self, user: &str) -> bool {
        self.participants.values().any(|participant| participant.user == user)
    }
}
