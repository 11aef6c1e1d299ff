//! Requests of one peer to another and their answers (RPC). Both travel as events, so they are
//! reliable, and exactly once over resumes.
//!
//! `Rpcs` has both sides of a client: the requests that it has made, and those that it has to
//! answer. [`crate::room::RoomClient`] sends and receives the events.

mod error;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use nucleus_protocol::limits::MAX_RPC_TIMEOUT_MS;
use nucleus_protocol::session::{RpcMessage, is_event_name, rpc_code};
use nucleus_protocol::time::Time;

use crate::roster::PeerId;
pub use error::{AnswerError, RpcError, RpcFault};
use incoming::{IncomingRpcs, RpcAdmission};
use outgoing::OutgoingRpcs;

/// Names a request of this client to a peer. The caller asks for its result with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcNumber(pub(crate) u32);

/// Names a request of a peer to this client, in `RoomEvent::RpcRequest` and `Room::answer_rpc`. An id
/// is never used twice by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcId(pub u64);

/// The answer to a request, or why there is none.
pub type RpcResult = Result<Vec<u8>, RpcError>;

/// What an application answers to a request.
pub type RpcAnswer<'a> = Result<&'a [u8], &'a RpcFault>;

/// A request to another peer.
#[derive(Clone, Copy, Debug)]
pub struct RpcCall<'a> {
    /// The callee.
    pub to: PeerId,
    /// What the callee is to do: 1 to 64 bytes of text, without control characters and invisible
    /// characters.
    pub method: &'a str,
    /// The application's data. Together with the method at most 16,374 bytes.
    pub payload: &'a [u8],
    /// How long the caller waits: 1 ms to 60 s, in whole ms (rounded up).
    pub timeout: Duration,
}

/// What a client does about an RPC event that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RpcArrival {
    /// Nothing: an answer, or an event that is ignored.
    Nothing,
    /// The application is to answer a request.
    Request { id: RpcId, method: String, payload: Vec<u8> },
    /// The sender gets this answer.
    Answer(Vec<u8>),
}

/// The requests of a client to other peers, and theirs to this client.
pub(crate) struct Rpcs {
    outgoing: OutgoingRpcs,
    incoming: IncomingRpcs,
    malformed: u64,
}

impl Rpcs {
    /// Creates the tables of a client. `seed` is random: a process that resumes the session of an
    /// earlier one must not use that one's numbers.
    pub(crate) fn new(seed: u64) -> Self {
        // The bits of small seeds are spread.
        let first = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
        let (outgoing, incoming) = (OutgoingRpcs::new(first), IncomingRpcs::default());
        Self { outgoing, incoming, malformed: 0 }
    }

    /// Checks a request, except for its size and its callee.
    pub(crate) fn check(&self, call: &RpcCall<'_>) -> Result<(), RpcError> {
        if !is_event_name(call.method) {
            return Err(RpcError::Method);
        }
        if !(1..=MAX_RPC_TIMEOUT_MS.into()).contains(&millis(call.timeout)) {
            return Err(RpcError::Timeout);
        }
        if !self.outgoing.has_capacity() {
            return Err(RpcError::TooMany);
        }
        Ok(())
    }

    /// Adds a request that [`Self::check`] allows. Returns its number and the payload of its event.
    pub(crate) fn start(&mut self, now: Time, call: &RpcCall<'_>) -> (RpcNumber, Vec<u8>) {
        let RpcCall { to, method, payload, timeout } = *call;
        let number = self.outgoing.start(to, now + timeout);
        (number, request(number.0, timeout, method, payload))
    }

    /// Returns the payload of an RPC event that is written now: a request says how long its caller
    /// still waits. `None` if it is a request whose caller does not wait any more.
    pub(crate) fn refresh<'a>(&mut self, now: Time, payload: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match RpcMessage::parse(payload) {
            Some(RpcMessage::Request { request: number, method, payload, .. }) => {
                let left = self.outgoing.time_left(now, number)?;
                Some(Cow::Owned(request(number, left, method, payload)))
            }
            _ => Some(Cow::Borrowed(payload)),
        }
    }

    /// Ends the request of an event that cannot be sent.
    pub(crate) fn fail(&mut self, payload: &[u8], error: RpcError) {
        if let Some(RpcMessage::Request { request, .. }) = RpcMessage::parse(payload) {
            self.outgoing.end(request, Err(error));
        }
    }

    /// Handles an RPC event of another peer, which is one of this user.
    pub(crate) fn receive(
        &mut self,
        now: Time,
        (from, user): (PeerId, &str),
        payload: &[u8],
    ) -> RpcArrival {
        match RpcMessage::parse(payload) {
            Some(RpcMessage::Request { request, timeout_ms, method, payload }) => {
                let timeout = Duration::from_millis(timeout_ms.into());
                match self.incoming.admit(now, (from, user), request, timeout) {
                    RpcAdmission::Waits(id) => {
                        let (method, payload) = (method.to_owned(), payload.to_vec());
                        return RpcArrival::Request { id, method, payload };
                    }
                    RpcAdmission::Busy => {
                        return RpcArrival::Answer(answer(request, Err(&RpcFault::busy())));
                    }
                    RpcAdmission::Ignored => {}
                    RpcAdmission::Repeated => self.malformed += 1,
                }
            }
            Some(RpcMessage::Answer { request, code, payload }) => {
                let is_right = self.outgoing.answer(from, request, code, payload);
                self.malformed += u64::from(!is_right);
            }
            None => self.malformed += 1,
        }
        RpcArrival::Nothing
    }

    /// Returns the caller of a request that waits, and the payload of the event that answers it.
    pub(crate) fn answer(
        &self,
        now: Time,
        id: RpcId,
        result: RpcAnswer<'_>,
    ) -> Result<(PeerId, Vec<u8>), AnswerError> {
        if let Err(fault) = result
            && !may_be_sent(fault.code)
        {
            return Err(AnswerError::ReservedCode(fault.code));
        }
        let rpc = self.incoming.get(now, id).ok_or(AnswerError::NotWaiting)?;
        Ok((rpc.from, answer(rpc.request, result)))
    }

    /// Notes that a request is answered.
    pub(crate) fn answered(&mut self, id: RpcId) {
        self.incoming.remove(id);
    }

    /// Returns how long the caller of a request still waits; `None` if it does not.
    pub(crate) fn time_left(&self, now: Time, id: RpcId) -> Option<Duration> {
        self.incoming.time_left(now, id)
    }

    /// Ends the requests whose timeout has passed.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.outgoing.expire(now);
    }

    /// Returns when [`Self::handle_timeout`] must be called next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.outgoing.deadline()
    }

    /// Ends the requests to a peer that has left, and forgets those of that peer.
    pub(crate) fn peer_left(&mut self, peer: PeerId) {
        self.outgoing.peer_left(peer);
        self.incoming.peer_left(peer);
    }

    /// Ends all requests: this client is a new peer, or closed.
    pub(crate) fn end_all(&mut self, error: &RpcError) {
        self.outgoing.end_all(error);
        self.incoming.clear();
    }

    pub(crate) fn take(&mut self, number: RpcNumber) -> Option<RpcResult> {
        self.outgoing.take(number)
    }

    pub(crate) fn forget(&mut self, number: RpcNumber) {
        self.outgoing.forget(number);
    }

    /// Counts a malformed event.
    pub(crate) fn count_malformed(&mut self) {
        self.malformed += 1;
    }

    /// Returns how many events were malformed.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Returns how many requests of this client wait, and how many to this client.
    pub(crate) fn waiting(&self, now: Time) -> (usize, usize) {
        (self.outgoing.waiting(), self.incoming.waiting(now))
    }
}

/// Returns a time in ms, rounded up.
fn millis(time: Duration) -> u128 {
    time.as_micros().div_ceil(1_000)
}

/// Returns whether an application may answer with this code.
fn may_be_sent(code: u16) -> bool {
    code >= rpc_code::APPLICATION || matches!(code, rpc_code::NO_SUCH_METHOD | rpc_code::BUSY)
}

fn request(request: u32, timeout: Duration, method: &str, payload: &[u8]) -> Vec<u8> {
    let timeout_ms = u32::try_from(millis(timeout)).unwrap_or(u32::MAX).min(MAX_RPC_TIMEOUT_MS);
    let mut out = Vec::new();
    RpcMessage::Request { request, timeout_ms, method, payload }.encode(&mut out);
    out
}

fn answer(request: u32, result: RpcAnswer<'_>) -> Vec<u8> {
    let (code, payload) = match result {
        Ok(payload) => (rpc_code::ANSWERED, payload),
        Err(fault) => (fault.code, fault.sent_text()),
    };
    let mut out = Vec::new();
    RpcMessage::Answer { request, code, payload }.encode(&mut out);
    out
}
