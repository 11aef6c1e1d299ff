//! How a room ends: with its last participant, or later where whoever made it asked for that.

use nucleus_protocol::time::Time;

use super::super::Room;

impl Room {
    /// The join that made the room was refused: nobody else knows of the room, nobody may come.
    pub(crate) fn end_if_unfounded(&mut self) {
        if self.next_peer == 1 && self.config.options.first_within.is_none() {
            self.end();
        }
    }

    /// Ends the room where it is empty and its time is over.
    pub(crate) fn end_if_due(&mut self, now: Time) {
        if self.participants.is_empty() && self.empty_until.is_some_and(|until| until <= now) {
            self.end();
        }
    }

    pub(crate) fn close_if_empty(&mut self, now: Time) {
        let options = &self.config.options;
        if !self.participants.is_empty() || self.ending || options.kept {
            return;
        }
        if options.empty_ttl.is_zero() || self.admission.access.is_for_nobody() {
            return self.end();
        }
        self.empty_until = Some(now + options.empty_ttl);
    }

    /// For good: nobody gets in any more.
    pub(crate) fn end(&mut self) {
        self.ending = true;
    }
}
