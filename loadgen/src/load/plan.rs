//! What is to be driven, fixed before the run starts.

use std::time::Duration;

use nucleus_netsim::Conditions;
use nucleus_protocol::time::Time;

use super::payload::{Source, Stream};
use super::profile::Traffic;

/// The headsets, their rooms and their traffic.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) headsets: u32,
    pub(crate) room_size: u32,
    pub(crate) traffic: Traffic,
    /// `None` for a clean network.
    pub(crate) network: Option<Conditions>,
    /// Realtime threads.
    pub(crate) workers: u32,
    /// Where schedules begin that several headsets follow, µs.
    pub(crate) schedule_epoch: u64,
    /// Share of the headsets that a blocked realtime port, the dark or a move concerns, 0 to 1.
    pub(crate) fault_share: f64,
    /// It is blocked from the beginning.
    pub(crate) realtime_blocked: bool,
    /// Faults will happen, so everybody keeps a roster.
    pub(crate) has_faults: bool,
    /// Late joiners that will come into the first room.
    pub(crate) late_joiners: u32,
}

impl Plan {
    /// Whether a fault that concerns a share of the headsets concerns headset `headset`: evenly spread.
    pub(crate) fn is_affected(&self, headset: u32) -> bool {
        let upto = |n: u32| (f64::from(n) * self.fault_share).floor();
        upto(headset + 1) > upto(headset)
    }

    /// Whether the process of headset `headset` dies in the dark: of every second one that it concerns.
    pub(crate) fn dies(&self, headset: u32) -> bool {
        let affected = (f64::from(headset + 1) * self.fault_share).floor() as u32;
        self.is_affected(headset) && affected.is_multiple_of(2)
    }

    /// Room and number inside it of headset `headset`.
    pub(crate) fn source(&self, headset: u32) -> Source {
        let (room, sender) = (headset / self.room_size, headset % self.room_size);
        Source { seed: self.seed, room, sender }
    }

    /// The number of the headset that says it.
    pub(crate) fn headset(&self, source: Source) -> u32 {
        source.room * self.room_size + source.sender
    }

    /// When a headset of a roaming network takes its next address, both planes at once.
    pub(crate) fn next_address(&self, source: Source, now: u64, every: Duration) -> Time {
        let every = (every.as_micros() as u64).max(1);
        let phase = source.mix(Stream::Up, 1) % every;
        let since = now.saturating_sub(self.schedule_epoch + phase);
        Time::from_micros(self.schedule_epoch + phase + since.next_multiple_of(every))
    }

    /// Headsets of a room: the last may have fewer than the others.
    pub(crate) fn members(&self, room: u32) -> u32 {
        let before = u64::from(room) * u64::from(self.room_size);
        let rest = u64::from(self.headsets).saturating_sub(before);
        rest.min(self.room_size.into()) as u32
    }

    /// The rooms.
    pub(crate) fn rooms(&self) -> u32 {
        self.headsets.div_ceil(self.room_size)
    }

    /// The realtime thread of a room: senders and receivers of a room share one, so that checking
    /// what arrives against what was sent needs no lock.
    pub(crate) fn worker(&self, room: u32) -> u32 {
        room % self.workers
    }

    /// A room's name on the server.
    pub(crate) fn room_name(&self, room: u32) -> String {
        format!("load-{}-{room}", self.seed)
    }
}

#[cfg(test)]
impl Plan {
    /// Two rooms of two in a meeting, on one thread.
    pub(crate) fn of_two_rooms() -> Self {
        let traffic = super::profile::Profile::Meeting.traffic(None);
        Plan {
            seed: 1,
            headsets: 4,
            room_size: 2,
            traffic,
            network: None,
            workers: 1,
            schedule_epoch: 0,
            fault_share: 0.0,
            realtime_blocked: false,
            has_faults: false,
            late_joiners: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_every_tenth() {
        let plan = Plan { fault_share: 0.1, ..Plan::of_two_rooms() };
        let tenth: Vec<u32> = (0..50).filter(|headset| plan.is_affected(*headset)).collect();
        assert_eq!(tenth, [9, 19, 29, 39, 49]);
        let all = Plan { fault_share: 1.0, ..Plan::of_two_rooms() };
        assert!((0..50).all(|headset| all.is_affected(headset)));
        assert!(!(0..50).any(|headset| Plan::of_two_rooms().is_affected(headset)));
        let dead = |plan: &Plan| (0..50).filter(|headset| plan.dies(*headset)).collect::<Vec<_>>();
        assert_eq!(dead(&plan), [19, 39]);
        assert_eq!(dead(&all).len(), 25);
    }

    #[test]
    fn the_last_room_has_what_is_left() {
        let plan = Plan { headsets: 25, room_size: 10, ..Plan::of_two_rooms() };
        assert_eq!(plan.rooms(), 3);
        assert_eq!([0, 1, 2, 3].map(|room| plan.members(room)), [10, 10, 5, 0]);
    }
}
