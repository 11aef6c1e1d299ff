//! Slots: a peer's small number in its room. One that is given back rests before another peer gets
//! it, so that late frames and events of its last owner are not taken for the next one's.

use std::collections::{HashMap, VecDeque};

use nucleus_protocol::limits::SLOT_REST;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::limits;

pub(crate) struct Slots {
    next: u16,
    rested: Vec<u16>,
    resting: VecDeque<(Time, u16, String)>,
    resting_of: HashMap<String, u16>,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { next: 0, rested: Vec::new(), resting: VecDeque::new(), resting_of: HashMap::new() }
    }

    /// A slot that nobody had for `SLOT_REST`.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`] when all are in use or resting, [`Code::JoinRate`] when too many of this
    /// user's are resting.
    pub(crate) fn allocate(&mut self, now: Time, user: &str) -> Result<u16, Code> {
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

    pub(crate) fn release(&mut self, now: Time, slot: u16, user: String) {
        *self.resting_of.entry(user.clone()).or_default() += 1;
        self.resting.push_back((now + SLOT_REST, slot, user));
    }

    fn end_rests(&mut self, now: Time) {
        while let Some((_, slot, user)) = self.resting.pop_front_if(|(until, ..)| *until <= now) {
            self.rested.push(slot);
            if let Some(count) = self.resting_of.get_mut(&user) {
                *count -= 1;
                if *count == 0 {
                    self.resting_of.remove(&user);
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
        let mut slots = Slots::new();
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
        let (mut slots, now) = (Slots::new(), Time::from_millis(5));
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
