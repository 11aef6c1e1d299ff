//! The ledger of the rooms' shared state: the version of each headset's copy, and whether all
//! copies of a room are equal at the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::load::payload::Source;
use crate::load::plan::Plan;
use crate::shared::lock;

/// Compares the state of all rooms, shared by all session tasks.
#[derive(Debug)]
pub(crate) struct StateLedger {
    rooms: Vec<Mutex<RoomCopies>>,
    answered: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct RoomCopies {
    /// The version of each member's copy, by the member's number inside the room.
    versions: BTreeMap<u32, u64>,
    /// The first copy that was handed in at the end, and how many were.
    first: Option<FinalCopy>,
    handed_in: u64,
    diverged: bool,
}

/// A copy of a room's state at the end of the run.
#[derive(Clone, Copy, Debug)]
struct FinalCopy {
    digest: [u8; 32],
    objects: u64,
}

/// The figures of the rooms' shared state.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct StateFigures {
    /// Rooms from which at least two copies were handed in, so that copies were compared.
    pub(crate) rooms_checked: u64,
    /// Checked rooms in which the copies of two headsets differed.
    pub(crate) rooms_diverged: u64,
    /// Objects in all rooms at the end.
    pub(crate) objects: u64,
    /// Requests that were answered.
    pub(crate) answered: u64,
    /// Answered requests that were refused. Of two requests that race, one is refused.
    pub(crate) refused: u64,
}

impl StateLedger {
    pub(crate) fn new(plan: &Plan) -> Self {
        let rooms = (0..plan.rooms()).map(|_| Mutex::default()).collect();
        StateLedger { rooms, answered: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Records the version of a member's copy.
    pub(crate) fn note(&self, source: Source, version: u64) {
        if let Some(room) = self.rooms.get(source.room as usize) {
            lock(room).versions.insert(source.sender, version);
        }
    }

    /// Returns whether all copies of each room have the same version.
    pub(crate) fn settled(&self) -> bool {
        self.rooms.iter().all(|room| {
            let room = lock(room);
            let mut versions = room.versions.values();
            versions.next().is_none_or(|first| versions.all(|version| version == first))
        })
    }

    /// Compares a member's copy at the end with the other copies of its room. `objects` is how many
    /// objects the copy has.
    pub(crate) fn hand_in(&self, source: Source, digest: [u8; 32], objects: u64) {
        let Some(room) = self.rooms.get(source.room as usize) else { return };
        let mut room = lock(room);
        let first = *room.first.get_or_insert(FinalCopy { digest, objects });
        room.diverged |= first.digest != digest;
        room.handed_in += 1;
    }

    /// Counts a request that was answered. A refused request changed nothing.
    pub(crate) fn answered(&self, refused: bool) {
        self.answered.fetch_add(1, Relaxed);
        self.refused.fetch_add(refused.into(), Relaxed);
    }

    /// Returns the figures.
    pub(crate) fn figures(&self) -> StateFigures {
        let mut figures = StateFigures {
            answered: self.answered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            ..StateFigures::default()
        };
        for room in &self.rooms {
            let room = lock(room);
            figures.rooms_checked += u64::from(room.handed_in > 1);
            figures.rooms_diverged += u64::from(room.diverged);
            figures.objects += room.first.map_or(0, |copy| copy.objects);
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_diverges_by_one_copy_that_differs() {
        let plan = Plan::of_two_rooms();
        let ledger = StateLedger::new(&plan);
        assert!(ledger.settled());
        for headset in 0..4 {
            ledger.note(plan.source(headset), 7);
        }
        ledger.note(plan.source(1), 8);
        assert!(!ledger.settled());
        ledger.note(plan.source(0), 8);
        assert!(ledger.settled());
        for (headset, digest, checked) in [(0, 1, 0), (1, 1, 1), (2, 1, 1), (3, 2, 2)] {
            ledger.hand_in(plan.source(headset), [digest; 32], 5);
            assert_eq!(ledger.figures().rooms_checked, checked, "one copy alone checks nothing");
        }
        let figures = ledger.figures();
        assert_eq!((figures.rooms_checked, figures.rooms_diverged, figures.objects), (2, 1, 10));
    }
}
