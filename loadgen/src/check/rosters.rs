//! The ledger of rosters: checks that everybody in the first room sees the same peers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use nucleus_client::roster::{Presence, Roster};

use crate::shared::lock;

/// The fields of a peer by which rosters are compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RosterEntry {
    peer: u32,
    slot: u16,
    is_present: bool,
}

/// The rosters that the headsets of the first room handed in at one moment, each with the number of
/// headsets that handed it in.
#[derive(Debug, Default)]
pub(crate) struct RosterLedger(Mutex<BTreeMap<Vec<RosterEntry>, u64>>);

/// How many rosters were handed in, and how many of them were right.
pub(crate) struct RosterFigures {
    pub(crate) handed_in: u64,
    /// The largest number of equal rosters in which everybody is present.
    pub(crate) right: u64,
}

impl RosterLedger {
    /// Adds a headset's roster as it is at this moment.
    pub(crate) fn hand_in(&self, roster: &Roster) {
        let entries = roster.iter().map(|peer| RosterEntry {
            peer: peer.id.0,
            slot: peer.slot.0,
            is_present: peer.presence == Presence::Present,
        });
        *lock(&self.0).entry(entries.collect()).or_default() += 1;
    }

    /// Returns the figures for a room of `members` peers.
    pub(crate) fn figures(&self, members: usize) -> RosterFigures {
        let handed_in = lock(&self.0);
        let is_right = |roster: &[RosterEntry]| {
            roster.len() == members && roster.iter().all(|entry| entry.is_present)
        };
        let right =
            handed_in.iter().filter(|(roster, _)| is_right(roster)).map(|(_, count)| *count).max();
        RosterFigures { handed_in: handed_in.values().sum(), right: right.unwrap_or(0) }
    }
}
