//! The rule by which every relay gathers messages, which is that of Nucleus: a room's first waiting
//! message starts a deadline of one tick, and all messages of the room that wait by then leave
//! together. A relay that flushed all rooms on a fixed grid would have fewer messages in a datagram.
//!
//! A relay wakes up as a shard does. The time between two wake-ups is half a tick at least and
//! [`DRAIN_INTERVAL`] at most, and rooms whose deadline is less than half of that away are flushed
//! too.

use crate::relay::{DRAIN_INTERVAL, RelayTask};

/// The deadlines of the rooms.
pub(crate) struct Gathering {
    tick: u64,
    /// When each room is due, µs; `u64::MAX` while no message waits.
    due: Vec<u64>,
}

impl Gathering {
    /// Creates the deadlines of rooms without messages.
    pub(crate) fn new(task: RelayTask) -> Self {
        Gathering { tick: task.tick, due: vec![u64::MAX; task.rooms.count() as usize] }
    }

    /// Notes that a message of a room was read at `now` (µs) and waits.
    pub(crate) fn add(&mut self, room: u32, now: u64) {
        if let Some(due) = self.due.get_mut(room as usize) {
            *due = (*due).min(now + self.tick);
        }
    }

    /// Returns when a relay that woke up at `began` (µs) must wake up again.
    pub(crate) fn next_wake(&self, began: u64) -> u64 {
        let next = self.due.iter().copied().min().unwrap_or(u64::MAX);
        next.clamp(began + self.turn(), began + DRAIN_INTERVAL)
    }

    /// Returns the rooms to flush at `now` (µs). Their messages no longer wait.
    pub(crate) fn take_due(&mut self, now: u64) -> impl Iterator<Item = u32> {
        let soon = now + self.turn() / 2;
        self.due.iter_mut().enumerate().filter_map(move |(room, due)| {
            let is_due = *due <= soon;
            if is_due {
                *due = u64::MAX;
            }
            is_due.then_some(room as u32)
        })
    }

    /// Returns the shortest time between two wake-ups, µs.
    fn turn(&self) -> u64 {
        (self.tick / 2).min(DRAIN_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::Rooms;

    fn gathering(tick: u64) -> Gathering {
        Gathering::new(RelayTask { rooms: Rooms { peers: 30, size: 10 }, tick })
    }

    fn due(gathering: &mut Gathering, now: u64) -> Vec<u32> {
        gathering.take_due(now).collect()
    }

    #[test]
    fn a_room_is_due_one_tick_after_its_first_message() {
        let mut gathering = gathering(10_000);
        for (room, now) in [(1, 7_000), (1, 9_000), (2, 12_000), (99, 0)] {
            gathering.add(room, now);
        }
        assert_eq!(due(&mut gathering, 15_999), [0; 0]);
        assert_eq!(due(&mut gathering, 16_000), [1], "half a turn early shares the wake-up");
        assert_eq!(
            due(&mut gathering, 20_999),
            [0; 0],
            "a later message did not move the deadline"
        );
        gathering.add(1, 20_000);
        assert_eq!(due(&mut gathering, 22_000), [2]);
        assert_eq!(due(&mut gathering, 29_000), [1]);
        assert_eq!(due(&mut gathering, u64::MAX / 2), [0; 0], "nothing waits");
    }

    #[test]
    fn wakes_at_the_first_deadline_but_neither_too_often_nor_too_rarely() {
        let mut gathering = gathering(5_000);
        assert_eq!(gathering.next_wake(1_000), 1_000 + DRAIN_INTERVAL, "the socket must be read");
        gathering.add(0, 1_000);
        gathering.add(1, 2_000);
        assert_eq!(gathering.next_wake(2_000), 2_000 + DRAIN_INTERVAL);
        assert_eq!(gathering.next_wake(5_500), 5_500 + 2_000, "half a tick, at most 2 ms");
        let mut short = self::gathering(2_000);
        short.add(0, 1_000);
        assert_eq!(short.next_wake(1_500), 3_000, "the deadline");
        assert_eq!(short.next_wake(2_900), 3_900, "half a tick after the last wake-up");
    }
}
