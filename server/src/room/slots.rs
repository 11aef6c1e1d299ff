//! Slots: a peer's small number in its room. One that is given back rests before another peer gets
//! it, so that late frames and events of its last owner are not taken for the next one's.

use std::collections::{HashMap, VecDeque};

use nucleus_protocol::limits::{MAX_ROOM_PEERS, SLOT_REST};
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

/// Slots in use and resting together: a room may turn over its whole capacity several times in a
/// minute before joins must wait.
const MAX_SLOTS: u16 = MAX_ROOM_PEERS * 8;
const _: () = assert!(MAX_SLOTS < nucleus_protocol::realtime::TARGET_RESERVED);
/// Of these, as many as one user's devices may have resting: who joins and leaves in a loop keeps
/// nobody else out.
const MAX_RESTING_OF_USER: u16 = MAX_ROOM_PEERS / 2;

pub(super) struct Slots {
    next: u16,
    rested: Vec<u16>,
    resting: VecDeque<(Time, u16, String)>,
    resting_of: HashMap<String, u16>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { next: 0, rested: Vec::new(), resting: VecDeque::new(), resting_of: HashMap::new() }
    }

    /// A slot that nobody had for `SLOT_REST`.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`] when all are in use or resting, [`Code::JoinRate`] when too many of this
    /// user's are resting.
    pub(super) fn allocate(&mut self, now: Time, user: &str) -> Result<u16, Code> {
        self.end_rests(now);
        if self.resting_of.get(user).is_some_and(|count| *count >= MAX_RESTING_OF_USER) {
            return Err(Code::JoinRate);
        }
        if let Some(slot) = self.rested.pop() {
            return Ok(slot);
        }
        let slot = self.next;
        if slot >= MAX_SLOTS {
            return Err(Code::RoomFull);
        }
        self.next += 1;
        Ok(slot)
    }

    pub(super) fn release(&mut self, now: Time, slot: u16, user: String) {
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
        assert_eq!((taken, refused), (MAX_RESTING_OF_USER, Code::JoinRate));
        assert!(slots.allocate(now, "ada").is_ok());
        let mut later = 0;
        let rested = now + SLOT_REST;
        while slots.allocate(rested, "eve").is_ok() {
            later += 1;
            assert!(later <= MAX_SLOTS);
        }
        assert_eq!(later, MAX_SLOTS - 1, "all but the one in use, once they have rested");
    }
}
