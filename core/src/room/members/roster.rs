//! Changes of the roster. They are collected for a moment and sent as one update with one version.

use std::collections::BTreeMap;

use nucleus_protocol::session::{Code, Peer, PeerLeft, PeerPresence, RosterUpdate};
use nucleus_protocol::time::Time;

use crate::ids::PeerId;
use crate::limits;

/// The version of the roster, and the changes since.
#[derive(Default)]
pub(super) struct RosterLog {
    version: u32,
    joined: Vec<Peer>,
    left: Vec<PeerLeft>,
    /// The newest presence of each peer that has changed. All peers of a room may change at once.
    changed: BTreeMap<PeerId, u8>,
    due: Option<Time>,
}

impl RosterLog {
    /// Returns the version of the newest update. Every session has received this update, or the
    /// update is queued for it.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Returns when the collected changes are sent.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// Adds a newcomer.
    pub(super) fn joined(&mut self, now: Time, peer: Peer) {
        self.joined.push(peer);
        self.arm(now);
    }

    /// Adds the leave of a peer.
    pub(super) fn left(&mut self, now: Time, peer: PeerId, code: Code) {
        // A peer that joined and left within one batch is in both lists. Receivers read `joined`
        // first, then `left`.
        self.changed.remove(&peer);
        self.left.push(PeerLeft { peer: peer.0, code: code as u16 });
        self.arm(now);
    }

    /// Replaces the presence of a peer.
    pub(super) fn presence(&mut self, now: Time, peer: PeerId, presence: u8) {
        self.changed.insert(peer, presence);
        self.arm(now);
    }

    /// Returns the collected changes as the next version, once they are due.
    pub(super) fn take_due(&mut self, now: Time) -> Option<RosterUpdate> {
        self.due.filter(|at| *at <= now)?;
        self.due = None;
        self.version += 1;
        let changed = std::mem::take(&mut self.changed).into_iter();
        Some(RosterUpdate {
            version: self.version,
            joined: std::mem::take(&mut self.joined),
            left: std::mem::take(&mut self.left),
            changed: changed
                .map(|(PeerId(peer), presence)| PeerPresence { peer, presence })
                .collect(),
        })
    }

    /// Starts a batch, unless one is being collected.
    fn arm(&mut self, now: Time) {
        self.due.get_or_insert(now + limits::ROSTER_BATCH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moderator may mute and unmute a full room again and again; the update stays as large as
    /// the room.
    #[test]
    fn of_many_changes_each_peer_has_its_newest() {
        let (mut log, now) = (RosterLog::default(), Time::ZERO);
        let peers = 1..=4_000;
        for round in 0..200u8 {
            peers.clone().for_each(|peer| log.presence(now, PeerId(peer), round % 2));
        }
        log.left(now, PeerId(7), Code::Left);
        let update = log.take_due(now + limits::ROSTER_BATCH).unwrap();
        assert_eq!((update.version, update.changed.len(), update.left.len()), (1, 3_999, 1));
        assert!(update.changed.iter().all(|change| change.presence == 1));
        assert_eq!(log.take_due(now + limits::ROSTER_BATCH), None);
    }
}
