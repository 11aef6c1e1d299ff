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
/// Requests that a user may make: some at once, and on average a sixth of the events that a peer may
/// send. So the answers to a user that asks without end do not use up what this client may send.
const REQUESTS: Rate = Rate { at_once: 128, a_second: 32 };
/// Requests of a user that the client answers with "busy" by itself.
const REFUSALS: Rate = Rate { at_once: 32, a_second: 8 };
/// Users whose allowances are known: as many as peers in the largest rooms.
const MAX_USERS: usize = 1_024;
/// After this time an allowance is whole again.
const REFILLED: Duration = Duration::from_secs(4);

/// A request that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitingRpc {
    pub(super) from: PeerId,
    /// The caller's number.
    pub(super) request: u32,
    user: Arc<str>,
    ends: Time,
}

/// How often something may happen.
struct Rate {
    at_once: u32,
    a_second: u32,
}

/// What is left of a [`Rate`], in thousandths.
struct Allowance {
    left: u64,
    at: Time,
}

impl Allowance {
    fn new(now: Time, rate: &Rate) -> Self {
        Self { left: u64::from(rate.at_once) * 1_000, at: now }
    }

    /// Uses one. Returns whether there was one.
    fn take(&mut self, now: Time, rate: &Rate) -> bool {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(rate.a_second.into());
        self.left = self.left.saturating_add(more).min(u64::from(rate.at_once) * 1_000);
        self.at = self.at.max(now);
        let has_one = self.left >= 1_000;
        self.left -= if has_one { 1_000 } else { 0 };
        has_one
    }
}

/// What a user may still ask.
struct UserAllowances {
    requests: Allowance,
    refusals: Allowance,
}

/// What becomes of a request that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RpcAdmission {
    /// It waits for an answer.
    Waits(RpcId),
    /// Too many requests wait, or this user asks too often, and the caller is told so.
    Busy,
    /// The same, and this user was told so often enough.
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
    users: HashMap<Arc<str>, UserAllowances>,
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
        if self.users.len() >= MAX_USERS {
            self.users.retain(|_, user| now.since(user.requests.at) < REFILLED);
        }
        if self.users.len() >= MAX_USERS && !self.users.contains_key(user) {
            return RpcAdmission::Ignored;
        }
        let of_user = self.waiting.values().filter(|rpc| &*rpc.user == user).count();
        let is_full = self.waiting.len() >= MAX_INCOMING || of_user >= MAX_OF_ONE_USER;
        let user: Arc<str> = user.into();
        let allowances = self.users.entry(user.clone()).or_insert_with(|| UserAllowances {
            requests: Allowance::new(now, &REQUESTS),
            refusals: Allowance::new(now, &REFUSALS),
        });
        if !allowances.requests.take(now, &REQUESTS) || is_full {
            let is_told = allowances.refusals.take(now, &REFUSALS);
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
