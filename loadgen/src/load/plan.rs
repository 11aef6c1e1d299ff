//! The plan of a run, which is fixed before the run starts.

use std::time::Duration;

use nucleus_netsim::Conditions;
use nucleus_protocol::time::Time;

use super::payload::{Source, Stream};
use super::profile::Traffic;
use super::slot_plan::SlotPlan;
use crate::faults::{Distortion, FaultPlan};

/// The headsets, their rooms and their traffic.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) headsets: u32,
    pub(crate) room_size: u32,
    pub(crate) traffic: Traffic,
    /// The conditions of the simulated network; `None` if no network is simulated.
    pub(crate) network: Option<Conditions>,
    /// Realtime threads.
    pub(crate) workers: u32,
    /// The start of the schedules that several headsets share, µs.
    pub(crate) schedule_epoch: u64,
    /// The faults that the run causes.
    pub(crate) faults: FaultPlan,
    /// How received messages are distorted, to test the load generator itself.
    pub(crate) distortion: Option<Distortion>,
    /// How the window is divided for figures over time.
    pub(crate) time_slots: SlotPlan,
}

/// The times at which a headset on a roaming network changes its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressSchedule {
    pub(crate) next: Time,
    pub(crate) period: Duration,
}

impl AddressSchedule {
    /// Returns whether a change is due at `now`. The schedule then advances by one period.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        let is_due = self.next <= now;
        if is_due {
            self.next += self.period;
        }
        is_due
    }
}

impl Plan {
    /// Returns whether a fault that affects a share of the headsets affects this one. The affected
    /// headsets are evenly spread.
    pub(crate) fn is_affected(&self, headset: u32) -> bool {
        let affected_below = |n: u32| (f64::from(n) * self.faults.fault_share).floor();
        affected_below(headset + 1) > affected_below(headset)
    }

    /// Returns whether an outage kills the process of this headset, as it does for every second
    /// headset that it affects.
    pub(crate) fn dies(&self, headset: u32) -> bool {
        let affected = (f64::from(headset + 1) * self.faults.fault_share).floor() as u32;
        self.is_affected(headset) && affected.is_multiple_of(2)
    }

    /// Returns the room of a headset and its number inside the room.
    pub(crate) fn source(&self, headset: u32) -> Source {
        let (room, sender) = (headset / self.room_size, headset % self.room_size);
        Source { seed: self.seed, room, sender }
    }

    /// Returns the headset's number in the run. The inverse of [`Plan::source`].
    pub(crate) fn headset(&self, source: Source) -> u32 {
        source.room * self.room_size + source.sender
    }

    /// Returns when a headset changes its address, from `now` (µs) on; `None` if its network does not
    /// roam. Both planes change at the same time.
    pub(crate) fn address_schedule(&self, source: Source, now: u64) -> Option<AddressSchedule> {
        let period = self.network.as_ref()?.new_address_every?;
        let every = (period.as_micros() as u64).max(1);
        let phase = source.mix(Stream::Up, 1) % every;
        let since = now.saturating_sub(self.schedule_epoch + phase);
        let next = self.schedule_epoch + phase + since.next_multiple_of(every);
        Some(AddressSchedule { next: Time::from_micros(next), period })
    }

    /// Returns the number of headsets in a room. The last room may have fewer than the others.
    pub(crate) fn members(&self, room: u32) -> u32 {
        let before = u64::from(room) * u64::from(self.room_size);
        let rest = u64::from(self.headsets).saturating_sub(before);
        rest.min(self.room_size.into()) as u32
    }

    /// Returns the number of rooms.
    pub(crate) fn rooms(&self) -> u32 {
        self.headsets.div_ceil(self.room_size)
    }

    /// Returns the realtime thread of a room. All members of a room share a thread, so that
    /// messages can be checked without a lock.
    pub(crate) fn worker(&self, room: u32) -> u32 {
        room % self.workers
    }

    /// Returns a room's name on the server.
    pub(crate) fn room_name(&self, room: u32) -> String {
        format!("load-{}-{room}", self.seed)
    }
}

#[cfg(test)]
impl Plan {
    /// Returns a plan of two rooms of two headsets in a meeting, on one thread.
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
            faults: FaultPlan::default(),
            distortion: None,
            time_slots: SlotPlan::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_every_tenth() {
        let affecting = |fault_share| Plan {
            faults: FaultPlan { fault_share, ..FaultPlan::default() },
            ..Plan::of_two_rooms()
        };
        let plan = affecting(0.1);
        let tenth: Vec<u32> = (0..50).filter(|headset| plan.is_affected(*headset)).collect();
        assert_eq!(tenth, [9, 19, 29, 39, 49]);
        let all = affecting(1.0);
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
