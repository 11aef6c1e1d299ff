//! How a room begins and ends: by its first join and its last leave, or for longer where whoever
//! made it asked for that. And who may come: guests, and those for whom a seat is held.

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use super::{JoinRequest, Room, RoomOutput, holds};
use crate::limits;

impl Room {
    /// Holds a seat for each guest of a room that is made by invitation.
    pub(super) fn hold_for_guests(&mut self, now: Time) {
        let until = now + self.config.terms.first_within.unwrap_or(limits::FOUNDING_TIME);
        let guests = self.config.terms.guests.iter().flatten();
        guests.for_each(|guest| self.holds.hold(guest, "", until));
    }

    /// Lets a user into a room that is by invitation, and holds a seat for it where one is left.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`]: there are too many guests; [`Code::ShuttingDown`]: the room is over.
    pub fn handle_invite(&mut self, now: Time, user: &str) -> Result<(), Code> {
        if self.ending {
            return Err(Code::ShuttingDown);
        }
        self.gate.invite(user)?;
        self.holds.forget(now);
        let taken = self.peers.len() + self.holds.len();
        if !self.is_inside(user) && taken < usize::from(self.config.capacity) {
            self.holds.hold(user, "", now + holds::TIME);
        }
        self.show(now);
        Ok(())
    }

    /// Takes an invitation back, and the seat held with it; who is in stays. An empty room that nobody
    /// is invited to is over.
    pub fn handle_uninvite(&mut self, now: Time, user: &str) {
        self.gate.uninvite(user);
        self.holds.end(user);
        self.show(now);
        if self.peers.is_empty() && self.gate.is_for_nobody() {
            self.end();
        }
    }

    /// Seats for a newcomer and those it expects, `leaving` peers making room for it.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`].
    pub(super) fn seats_for(
        &mut self,
        now: Time,
        request: &JoinRequest,
        leaving: usize,
    ) -> Result<Vec<String>, Code> {
        if self.holds.forget(now) {
            self.show(now);
        }
        let (user, capacity) = (request.user.as_str(), self.config.capacity);
        let inside = |user: &str| self.is_inside(user);
        let fresh = self.holds.fresh(user, &request.asks.expected, inside, capacity)?;
        let taken = self.peers.len() - leaving + self.holds.but_of(user);
        if taken + 1 + fresh.len() > usize::from(capacity) {
            return Err(Code::RoomFull);
        }
        Ok(request.asks.expected.iter().filter(|e| !self.is_inside(e)).cloned().collect())
    }

    /// The newcomer is in: its own seat is held no more, those of the ones it expects are.
    pub(super) fn seat(&mut self, now: Time, user: &str, expected: &[String]) {
        self.empty_until = None;
        self.holds.end(user);
        for other in expected.iter().filter(|other| *other != user) {
            self.holds.hold(other, user, now + holds::TIME);
        }
        self.show(now);
    }

    /// The join that made the room was refused: nobody else knows of it, nobody may come.
    pub(super) fn refused(&mut self) {
        if self.next_peer == 1 && self.config.terms.first_within.is_none() {
            self.end();
        }
    }

    /// Ends the room where it is empty and its time is over.
    pub(super) fn end_if_due(&mut self, now: Time) {
        if self.peers.is_empty() && self.empty_until.is_some_and(|until| until <= now) {
            self.end();
        }
    }

    pub(super) fn close_if_empty(&mut self, now: Time) {
        let terms = &self.config.terms;
        if !self.peers.is_empty() || self.ending || terms.kept {
            return;
        }
        if terms.empty_ttl.is_zero() || self.gate.is_for_nobody() {
            return self.end();
        }
        self.empty_until = Some(now + terms.empty_ttl);
    }

    /// For good: nobody gets in any more.
    pub(super) fn end(&mut self) {
        if !self.ending {
            self.ending = true;
            self.outputs.push_back(RoomOutput::Closed);
        }
    }

    fn is_inside(&self, user: &str) -> bool {
        self.peers.values().any(|peer| peer.user == user)
    }
}
