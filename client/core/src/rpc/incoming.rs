//! The requests of other peers that wait for an answer of this client.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::time::Time;

use super::RpcId;
use crate::roster::PeerId;

/// Requests of one user that may wait: more than an application makes at a time. A user that asks
/// more, with however many peers, does not keep others from asking.
const MAX_OF_ONE_USER: usize = 32;
/// Requests that may wait in all: 50 users that ask a host at the same time, five times each. They
/// take 40 bytes each; their payloads wait in the queue of events, which has a limit of its own.
const MAX_INCOMING: usize = 256;
/// Requests of one user in a second: a sixth of the events that a peer may send, so that the answers
/// to a user that asks without end do not use up what this client may send.
const MAX_A_SECOND: u32 = 32;
/// Requests of one user in a second that the client answers with "busy" by itself.
const MAX_BUSY: u32 = 4;
/// Users whose rates are known. More have not asked within one second in the largest rooms.
const MAX_USERS: usize = 1_024;
const SECOND: Duration = Duration::from_secs(1);

/// A request that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitingRpc {
    pub(super) from: PeerId,
    /// The caller's number.
    pub(super) request: u32,
    user: Arc<str>,
    ends: Time,
}

/// What a user has asked in this second.
struct UserRate {
    since: Time,
    requests: u32,
    refused: u32,
}

/// What becomes of a request that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RpcAdmission {
    /// It waits for an answer.
    Waits(RpcId),
    /// Too many requests wait, or this user asks too often, and the caller is told so.
    Busy,
    /// The same, and this user was told so often enough in this second.
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
    rates: HashMap<Arc<str>, UserRate>,
}

impl IncomingRpcs {
    /// Takes a request of a peer of this user.
    pub(super) fn admit(
        &mut self,
        now: Time,
        (from, user): (PeerId, &str),
        request: u32,
        timeout: Duration,
    ) -> RpcAdmission {
        self.waiting.retain(|_, rpc| rpc.ends > now);
        if self.waiting.values().any(|rpc| rpc.from == from && rpc.request == request) {
            return RpcAdmission::Repeated;
        }
        if self.rates.len() >= MAX_USERS {
            self.rates.retain(|_, rate| now.since(rate.since) < SECOND);
        }
        if self.rates.len() >= MAX_USERS && !self.rates.contains_key(user) {
            return RpcAdmission::Ignored;
        }
        let of_user = self.waiting.values().filter(|rpc| &*rpc.user == user).count();
        let is_full = self.waiting.len() >= MAX_INCOMING || of_user >= MAX_OF_ONE_USER;
        let user: Arc<str> = user.into();
        let new = || UserRate { since: now, requests: 0, refused: 0 };
        let rate = self.rates.entry(user.clone()).or_insert_with(new);
        if now.since(rate.since) >= SECOND {
            *rate = new();
        }
        rate.requests = rate.requests.saturating_add(1);
        if is_full || rate.requests > MAX_A_SECOND {
            rate.refused = rate.refused.saturating_add(1);
            let is_told = rate.refused <= MAX_BUSY;
            return if is_told { RpcAdmission::Busy } else { RpcAdmission::Ignored };
        }
        self.admitted += 1;
        let id = RpcId(self.admitted);
        self.waiting.insert(id, WaitingRpc { from, request, user, ends: now + timeout });
        RpcAdmission::Waits(id)
    }

    /// Returns a request that waits.
    pub(super) fn get(&self, now: Time, id: RpcId) -> Option<&WaitingRpc> {
        self.waiting.get(&id).filter(|rpc| rpc.ends > now)
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
