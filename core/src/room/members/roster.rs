//! Roster changes on their way out: collected for a moment, then one update with one version.

use std::collections::BTreeMap;

use nucleus_protocol::session::{Code, Peer, PeerLeft, PeerPresence, RosterUpdate};
use nucleus_protocol::time::Time;

use crate::ids::PeerId;
use crate::limits;

#[derive(Default)]
pub(crate) struct RosterLog {
    version: u32,
    joined: Vec<Peer>,
    left: Vec<PeerLeft>,
    /// The newest presence of each; all of a room may change at once.
    changed: BTreeMap<PeerId, u8>,
    due: Option<Time>,
}

impl RosterLog {
    /// The version that everybody has or is about to get.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// When the collected changes go out.
    pub(crate) fn due(&self) -> Option<Time> {
        self.due
    }

    pub(crate) fn joined(&mut self, now: Time, peer: Peer) {
        self.joined.push(peer);
        self.arm(now);
    }

    pub(crate) fn left(&mut self, now: Time, peer: PeerId, code: Code) {
        // Who came and went within one batch was announced to nobody but those who joined in
        // between, and these read both lists: joined first, then left.
        self.changed.remove(&peer);
        self.left.push(PeerLeft { peer: peer.0, code: code as u16 });
        self.arm(now);
    }

    pub(crate) fn presence(&mut self, now: Time, peer: PeerId, presence: u8) {
        self.changed.insert(peer, presence);
        self.arm(now);
    }

    /// The collected changes, once they are due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<RosterUpdate> {
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

    fn arm(&mut self, now: Time) {
        self.due.get_or_insert(now + limits::ROSTER_BATCH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As cheap as it is for one, however many change: a moderator may mute a full room again and again.
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
