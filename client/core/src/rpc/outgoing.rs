//! The requests of this client to other peers.

use std::time::Duration;

use nucleus_protocol::session::rpc_code;
use nucleus_protocol::time::Time;

use super::{RpcError, RpcNumber, RpcResult};
use crate::requests::Requests;
use crate::roster::PeerId;

/// Requests that may wait at the same time, with the results that nobody has taken. Twice as many as
/// one callee lets wait.
const MAX_OUTGOING: usize = 64;

/// A request that waits for its answer.
struct OutgoingRpc {
    to: PeerId,
    ends: Time,
}

/// The requests of this client over all of its sessions. Each gets exactly one result.
pub(super) struct OutgoingRpcs(Requests<OutgoingRpc, RpcResult>);

impl OutgoingRpcs {
    /// Creates an empty table whose first request has this number.
    pub(super) fn new(first: u32) -> Self {
        Self(Requests::starting_at(first, MAX_OUTGOING))
    }

    pub(super) fn has_capacity(&self) -> bool {
        self.0.has_capacity()
    }

    pub(super) fn start(&mut self, to: PeerId, ends: Time) -> RpcNumber {
        RpcNumber(self.0.start(OutgoingRpc { to, ends }))
    }

    /// Takes an answer. Returns whether it may have come: it is ignored if the request does not wait
    /// any more, and is wrong if another peer was asked.
    pub(super) fn answer(&mut self, from: PeerId, request: u32, code: u16, payload: &[u8]) -> bool {
        match self.0.get_mut(request) {
            None => return true,
            Some(asked) if asked.to != from => return false,
            Some(_) => {}
        }
        let result = match code {
            rpc_code::ANSWERED => Ok(payload.to_vec()),
            code => Err(RpcError::from_answer(code, payload)),
        };
        self.end(request, result);
        true
    }

    /// Ends a request that waits.
    pub(super) fn end(&mut self, request: u32, result: RpcResult) {
        if self.0.remove(request).is_some() {
            self.0.keep(request, result);
        }
    }

    fn end_if(&mut self, error: &RpcError, is_over: impl FnMut(&OutgoingRpc) -> bool) {
        for (request, _) in self.0.finish_if(is_over) {
            self.0.keep(request, Err(error.clone()));
        }
    }

    pub(super) fn expire(&mut self, now: Time) {
        self.end_if(&RpcError::TimedOut, |rpc| rpc.ends <= now);
    }

    pub(super) fn peer_left(&mut self, peer: PeerId) {
        self.end_if(&RpcError::PeerLeft, |rpc| rpc.to == peer);
    }

    pub(super) fn end_all(&mut self, error: &RpcError) {
        self.end_if(error, |_| true);
    }

    /// Returns how long a request still waits; `None` if it does not.
    pub(super) fn time_left(&mut self, now: Time, request: u32) -> Option<Duration> {
        let left = self.0.get_mut(request)?.ends.since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Returns when the first timeout passes.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.0.pending().map(|(_, rpc)| rpc.ends).min()
    }

    pub(super) fn take(&mut self, number: RpcNumber) -> Option<RpcResult> {
        self.0.take(number.0)
    }

    pub(super) fn forget(&mut self, number: RpcNumber) {
        self.0.remove(number.0);
        self.0.forget_result(number.0);
    }

    /// Gives the next request this number.
    #[cfg(test)]
    pub(super) fn start_again_at(&mut self, next: u32) {
        self.0.start_again_at(next);
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.pending().count()
    }
}
