//! Roster changes on their way out: collected for a moment, then one update with one version.

use nucleus_protocol::session::{Code, Peer, PeerLeft, PeerPresence, RosterUpdate};
use nucleus_protocol::time::Time;

use crate::limits;
use crate::shard::PeerId;

#[derive(Default)]
pub(super) struct RosterLog {
    version: u32,
    pending: RosterUpdate,
    due: Option<Time>,
}

impl RosterLog {
    /// The version that everybody has or is about to get.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// When the collected changes go out.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    pub(super) fn joined(&mut self, now: Time, peer: Peer) {
        self.pending.joined.push(peer);
        self.arm(now);
    }

    pub(super) fn left(&mut self, now: Time, peer: PeerId, code: Code) {
        // Who came and went within one batch was announced to nobody but those who joined in
        // between, and these read both lists: joined first, then left.
        self.pending.changed.retain(|c| c.peer != peer.0);
        self.pending.left.push(PeerLeft { peer: peer.0, code: code as u16 });
        self.arm(now);
    }

    pub(super) fn presence(&mut self, now: Time, peer: PeerId, presence: u8) {
        self.pending.changed.retain(|c| c.peer != peer.0);
        self.pending.changed.push(PeerPresence { peer: peer.0, presence });
        self.arm(now);
    }

    /// The collected changes, once they are due.
    pub(super) fn take_due(&mut self, now: Time) -> Option<RosterUpdate> {
        self.due.filter(|at| *at <= now)?;
        self.due = None;
        self.version += 1;
        let update = RosterUpdate { version: self.version, ..std::mem::take(&mut self.pending) };
        Some(update)
    }

    fn arm(&mut self, now: Time) {
        self.due.get_or_insert(now + limits::ROSTER_BATCH);
    }
}
