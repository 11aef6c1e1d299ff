//! Slots: a peer's small number in its room. One that is given back rests before another peer gets
//! it, so that late frames and events of its last owner are not taken for the next one's.

use std::collections::VecDeque;

use nucleus_protocol::limits::{MAX_ROOM_PEERS, SLOT_REST};
use nucleus_protocol::time::Time;

/// Slots in use and resting together: a room may turn over its whole capacity several times in a
/// minute before joins must wait.
const MAX_SLOTS: u16 = MAX_ROOM_PEERS * 8;
const _: () = assert!(MAX_SLOTS < nucleus_protocol::realtime::TARGET_RESERVED);

pub(super) struct Slots {
    next: u16,
    resting: VecDeque<(Time, u16)>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { next: 0, resting: VecDeque::new() }
    }

    /// A slot that nobody had for `SLOT_REST`; `None` when all are in use or resting.
    pub(super) fn allocate(&mut self, now: Time) -> Option<u16> {
        if self.resting.front().is_some_and(|(rested, _)| *rested <= now) {
            return self.resting.pop_front().map(|(_, slot)| slot);
        }
        let slot = self.next;
        (slot < MAX_SLOTS).then(|| {
            self.next += 1;
            slot
        })
    }

    pub(super) fn release(&mut self, now: Time, slot: u16) {
        self.resting.push_back((now + SLOT_REST, slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_rests_before_it_is_used_again() {
        let mut slots = Slots::new();
        let now = Time::from_millis(5);
        let first = slots.allocate(now).unwrap();
        slots.release(now, first);
        let early = now + SLOT_REST - Time::from_micros(1).since(Time::ZERO);
        assert_ne!(slots.allocate(early), Some(first));
        assert_eq!(slots.allocate(now + SLOT_REST), Some(first));
    }
}
