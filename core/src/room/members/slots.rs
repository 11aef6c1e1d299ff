//! Slots: the small numbers of the peers in a room. A freed slot rests before another peer gets it.
//! Otherwise late frames and events of the previous owner would be attributed to the next owner.

use std::collections::{HashMap, VecDeque};

use nucleus_protocol::limits::SLOT_REST;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::limits;

/// The slots of a room.
#[derive(Default)]
pub(super) struct Slots {
    /// The smallest slot that was never used.
    next: u16,
    /// Slots that have rested.
    rested: Vec<u16>,
    /// Slots that are resting, in the order in which their rests end.
    resting: VecDeque<RestingSlot>,
    /// How many slots of each user are resting.
    resting_of: HashMap<String, u16>,
}

struct RestingSlot {
    until: Time,
    slot: u16,
    /// The user of the previous owner.
    user: String,
}

impl Slots {
    /// Returns a slot that no peer has had for [`SLOT_REST`].
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`] if all slots are in use or resting, [`Code::JoinRate`] if too many slots
    /// of this user are resting.
    pub(super) fn allocate(&mut self, now: Time, user: &str) -> Result<u16, Code> {
        self.end_rests(now);
        if self.resting_of.get(user).is_some_and(|count| *count >= limits::RESTING_SLOTS_OF_USER) {
            return Err(Code::JoinRate);
        }
        if let Some(slot) = self.rested.pop() {
            return Ok(slot);
        }
        let slot = self.next;
        if slot >= limits::SLOTS {
            return Err(Code::RoomFull);
        }
        self.next += 1;
        Ok(slot)
    }

    /// Frees a slot, which rests for [`SLOT_REST`] before another peer gets it.
    pub(super) fn release(&mut self, now: Time, slot: u16, user: String) {
        *self.resting_of.entry(user.clone()).or_default() += 1;
        self.resting.push_back(RestingSlot { until: now + SLOT_REST, slot, user });
    }

    fn end_rests(&mut self, now: Time) {
        while let Some(rested) = self.resting.pop_front_if(|resting| resting.until <= now) {
            self.rested.push(rested.slot);
            if let Some(count) = self.resting_of.get_mut(&rested.user) {
                *count -= 1;
                if *count == 0 {
                    self.resting_of.remove(&rested.user);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_rests_before_it_is_used_again() {
        let mut slots = Slots::default();
        let now = Time::from_millis(5);
        let first = slots.allocate(now, "ada").unwrap();
        slots.release(now, first, "ada".into());
        let early = now + SLOT_REST - Time::from_micros(1).since(Time::ZERO);
        assert_ne!(slots.allocate(early, "ada"), Ok(first));
        assert_eq!(slots.allocate(now + SLOT_REST, "ada"), Ok(first));
        assert!(slots.resting_of.is_empty());
    }

    #[test]
    fn one_user_alone_cannot_use_the_slots_up() {
        let (mut slots, now) = (Slots::default(), Time::from_millis(5));
        let mut taken = 0;
        let refused = loop {
            match slots.allocate(now, "eve") {
                Ok(slot) => slots.release(now, slot, "eve".into()),
                Err(code) => break code,
            }
            taken += 1;
        };
        assert_eq!((taken, refused), (limits::RESTING_SLOTS_OF_USER, Code::JoinRate));
        assert!(slots.allocate(now, "ada").is_ok());
        let mut later = 0;
        let rested = now + SLOT_REST;
        while slots.allocate(rested, "eve").is_ok() {
            later += 1;
            assert!(later <= limits::SLOTS);
        }
        assert_eq!(later, limits::SLOTS - 1, "all but the one in use, once they have rested");
    }
}
