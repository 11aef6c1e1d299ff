//! The requests of other peers that wait for an answer of this client.

use std::collections::BTreeMap;
use std::time::Duration;

use nucleus_protocol::time::Time;

use super::RpcId;
use crate::roster::PeerId;

/// Requests of one peer that may wait: more than an application makes at a time. A peer that asks
/// more does not keep others from asking.
const MAX_OF_ONE_PEER: usize = 32;
/// Requests that may wait in all: 50 peers that ask a host at the same time, five times each. They
/// take 24 bytes each; their payloads wait in the queue of events, which has a limit of its own.
const MAX_INCOMING: usize = 256;

/// Requests in a second that the client answers with "busy" by itself: a twelfth of the events that a
/// peer may send. So a peer that asks without end does not use up what this client may send.
const MAX_BUSY: u32 = 16;
/// The time for [`MAX_BUSY`] answers.
const BUSY_TIME: Duration = Duration::from_secs(1);

/// A request that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitingRpc {
    pub(super) from: PeerId,
    /// The caller's number.
    pub(super) request: u32,
    ends: Time,
}

/// What becomes of a request that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RpcAdmission {
    /// It waits for an answer.
    Waits(RpcId),
    /// Too many requests wait, and the caller is told so.
    Busy,
    /// Too many requests wait, and too many callers were told so in this second.
    Ignored,
    /// A request with this number waits already.
    Repeated,
}

/// The requests that wait. Those whose timeout has passed count as gone, and are removed with the
/// next arrival.
#[derive(Default)]
pub(super) struct IncomingRpcs {
    /// Number of requests so far. An id is never used again, so the answer to a request that has
    /// ended cannot reach another one.
    admitted: u64,
    waiting: BTreeMap<RpcId, WaitingRpc>,
    /// When the newest [`BUSY_TIME`] began.
    busy_since: Time,
    /// Requests since then that were one too many.
    busy_count: u32,
}

impl IncomingRpcs {
    pub(super) fn admit(
        &mut self,
        now: Time,
        from: PeerId,
        request: u32,
        timeout: Duration,
    ) -> RpcAdmission {
        self.waiting.retain(|_, rpc| rpc.ends > now);
        let of_peer = || self.waiting.values().filter(|rpc| rpc.from == from);
        if of_peer().any(|rpc| rpc.request == request) {
            return RpcAdmission::Repeated;
        }
        if self.waiting.len() >= MAX_INCOMING || of_peer().count() >= MAX_OF_ONE_PEER {
            return self.refuse(now);
        }
        self.admitted += 1;
        let id = RpcId(self.admitted);
        self.waiting.insert(id, WaitingRpc { from, request, ends: now + timeout });
        RpcAdmission::Waits(id)
    }

    fn refuse(&mut self, now: Time) -> RpcAdmission {
        if now.since(self.busy_since) >= BUSY_TIME {
            (self.busy_since, self.busy_count) = (now, 0);
        }
        self.busy_count = self.busy_count.saturating_add(1);
        if self.busy_count > MAX_BUSY { RpcAdmission::Ignored } else { RpcAdmission::Busy }
    }

    /// Returns a request that waits.
    pub(super) fn get(&self, now: Time, id: RpcId) -> Option<WaitingRpc> {
        self.waiting.get(&id).copied().filter(|rpc| rpc.ends > now)
    }

    /// Returns how long the caller still waits; `None` if the request does not wait any more.
    pub(super) fn time_left(&self, now: Time, id: RpcId) -> Option<Duration> {
        self.get(now, id).map(|rpc| rpc.ends.since(now))
    }

    pub(super) fn remove(&mut self, id: RpcId) {
        self.waiting.remove(&id);
    }

    pub(super) fn peer_left(&mut self, peer: PeerId) {
        self.waiting.retain(|_, rpc| rpc.from != peer);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn waiting(&self, now: Time) -> usize {
        self.waiting.values().filter(|rpc| rpc.ends > now).count()
    }
}
