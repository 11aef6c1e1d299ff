//! The ledger of the rooms' shared state: how far each copy has come, and whether all copies of a room
//! are the same at the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::load::payload::Source;
use crate::load::plan::Plan;
use crate::shared::lock;

/// The ledger of all rooms, shared by all session tasks.
#[derive(Debug)]
pub(crate) struct StateLedger {
    rooms: Vec<Mutex<RoomCopies>>,
    answered: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct RoomCopies {
    /// The version of each member's copy, by its number inside the room.
    versions: BTreeMap<u32, u64>,
    /// Of the first copy that was handed in: digest and objects.
    first: Option<([u8; 32], u64)>,
    diverged: bool,
}

/// The rooms' shared state, and whether everybody in a room had the same at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct StateFigures {
    pub(crate) rooms_checked: u64,
    /// Of these, the rooms in which two headsets' digests differed.
    pub(crate) rooms_diverged: u64,
    /// In all rooms at the end.
    pub(crate) objects: u64,
    /// Requests that were answered, and of these the refused: by a race that one of two loses.
    pub(crate) answered: u64,
    pub(crate) refused: u64,
}

impl StateLedger {
    pub(crate) fn new(plan: &Plan) -> Self {
        let rooms = (0..plan.rooms()).map(|_| Mutex::default()).collect();
        StateLedger { rooms, answered: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// A member's copy has come to `version`.
    pub(crate) fn note(&self, source: Source, version: u64) {
        if let Some(room) = self.rooms.get(source.room as usize) {
            lock(room).versions.insert(source.sender, version);
        }
    }

    /// Whether everybody in a room has come as far as everybody else in it.
    pub(crate) fn settled(&self) -> bool {
        self.rooms.iter().all(|room| {
            let room = lock(room);
            let mut versions = room.versions.values();
            versions.next().is_none_or(|first| versions.all(|version| version == first))
        })
    }

    /// A member's copy at the end: its digest and objects.
    pub(crate) fn hand_in(&self, source: Source, digest: [u8; 32], objects: u64) {
        let Some(room) = self.rooms.get(source.room as usize) else { return };
        let mut room = lock(room);
        let (first, _) = *room.first.get_or_insert((digest, objects));
        room.diverged |= first != digest;
    }

    /// A request was answered; `refused`: it changed nothing.
    pub(crate) fn answered(&self, refused: bool) {
        self.answered.fetch_add(1, Relaxed);
        self.refused.fetch_add(refused.into(), Relaxed);
    }

    /// What was found.
    pub(crate) fn figures(&self) -> StateFigures {
        let mut figures = StateFigures {
            answered: self.answered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            ..StateFigures::default()
        };
        for room in &self.rooms {
            let room = lock(room);
            figures.rooms_checked += u64::from(room.first.is_some());
            figures.rooms_diverged += u64::from(room.diverged);
            figures.objects += room.first.map_or(0, |(_, objects)| objects);
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
        for (headset, digest) in [(0, 1), (1, 1), (2, 1), (3, 2)] {
            ledger.hand_in(plan.source(headset), [digest; 32], 5);
        }
        let figures = ledger.figures();
        assert_eq!((figures.rooms_checked, figures.rooms_diverged, figures.objects), (2, 1, 10));
    }
}
