//! The ledger of rosters: whether everybody in the first room sees the same peers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use nucleus_client::roster::{Presence, Roster};

use crate::shared::lock;

/// A roster: of each peer its number, its slot and whether it is present.
type Names = Vec<(u32, u16, bool)>;

/// Rosters of the first room that were handed in at one moment: how many of each.
#[derive(Debug, Default)]
pub(crate) struct RosterLedger(Mutex<BTreeMap<Names, u64>>);

impl RosterLedger {
    /// A roster as it is at this moment.
    pub(crate) fn hand_in(&self, roster: &Roster) {
        let present = |presence| presence == Presence::Present;
        let peers = roster.iter().map(|peer| (peer.id.0, peer.slot.0, present(peer.presence)));
        *lock(&self.0).entry(peers.collect()).or_default() += 1;
    }

    /// How many were handed in, and how many of them were the same one of `everybody`, all present.
    pub(crate) fn figures(&self, everybody: usize) -> (u64, u64) {
        let handed_in = lock(&self.0);
        let whole = |roster: &[(u32, u16, bool)]| {
            roster.len() == everybody && roster.iter().all(|(.., present)| *present)
        };
        let right =
            handed_in.iter().filter(|(roster, _)| whole(roster)).map(|(_, count)| *count).max();
        (handed_in.values().sum(), right.unwrap_or(0))
    }
}
