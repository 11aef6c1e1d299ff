//! What a [`RoomClient`] sends: events, requests, desired settings and fresh tokens.

use std::borrow::Cow;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::limits;
use nucleus_protocol::realtime::{TARGET_OTHERS, target_of_group};
use nucleus_protocol::session::{
    Lane, Moderate, Operation, Ping, RPC_CHANNEL, RPC_REQUEST_BYTES, Renew, SESSION_HEADER_BYTES,
    Schema, StateRequest, Subscribe, TYPED_EVENT_CHANNEL, TypedEvent, act, encode, is_event_name,
};
use nucleus_protocol::time::Time;

use super::desired::Desired;
use super::explain::RequestedAction;
use super::{RenewError, RenewalNumber, RequestResult, RoomClient, SettingNumber, StateError};
use crate::requests::RequestNumber;
use crate::roster::PeerId;
use crate::rpc::{AnswerError, RpcAnswer, RpcCall, RpcError, RpcId, RpcNumber, RpcResult};
use crate::session::backlog::{QueuedEvent, pieces};
use crate::session::{SendError, To, encode_event, may_be_token};
use crate::state::{BatchError, ObjectId};
use crate::token;

impl RoomClient {
    /// Sends a reliable, ordered event of at most 16 KiB.
    ///
    /// Events are kept until the server acknowledges them, at most 512 KiB of each lane. If the
    /// session is lost, the event is sent after the resume. If the client joins again as a new
    /// peer, events that were already written are lost.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`] if the lane has no capacity now; otherwise as `Room::send_event`.
    pub fn send_event(
        &mut self,
        now: Time,
        to: To,
        channel: u8,
        payload: &[u8],
    ) -> Result<(), SendError> {
        to.check(channel, payload.len(), self.largest_piece())?;
        self.check_capacity(Lane::Events)?;
        let event = QueuedEvent { to, channel, piece: 0, payload: payload.into() };
        self.outbox.queue(Lane::Events, vec![event]);
        self.send_waiting(now);
        Ok(())
    }

    /// Sends a message of at most [`limits::MAX_BULK_MESSAGE`] bytes on the bulk lane, in pieces.
    ///
    /// # Errors
    /// The same as for [`Self::send_event`], and [`SendError::NotKept`] for [`To::OthersAndLater`].
    pub fn send_bulk(
        &mut self,
        now: Time,
        to: To,
        channel: u8,
        payload: &[u8],
    ) -> Result<(), SendError> {
        to.check(channel, payload.len(), limits::MAX_BULK_MESSAGE)?;
        if to == To::OthersAndLater {
            return Err(SendError::NotKept);
        }
        self.check_capacity(Lane::Bulk)?;
        let size = self.largest_piece();
        let event = |(piece, payload): (u8, &[u8])| {
            let (to, payload) = (to.clone(), payload.into());
            QueuedEvent { to, channel, piece, payload }
        };
        self.outbox.queue(Lane::Bulk, pieces(payload, size).map(event).collect());
        self.send_waiting(now);
        Ok(())
    }

    /// Sends an event of this type, as [`Self::send_event`] does. Type and payload have at most 16,383
    /// bytes together.
    ///
    /// # Errors
    /// [`SendError::EventType`] if the type is not 1 to 64 bytes of text without control characters
    /// and invisible characters; otherwise as [`Self::send_event`].
    pub fn send_typed_event(
        &mut self,
        now: Time,
        to: To,
        event_type: &str,
        payload: &[u8],
    ) -> Result<(), SendError> {
        if !is_event_name(event_type) {
            return Err(SendError::EventType);
        }
        let mut bytes = Vec::with_capacity(1 + event_type.len() + payload.len());
        TypedEvent { event_type, data: payload }.encode(&mut bytes);
        self.queue_event(to, TYPED_EVENT_CHANNEL, bytes)?;
        self.send_waiting(now);
        Ok(())
    }

    /// Queues an event on a channel of the protocol.
    fn queue_event(&mut self, to: To, channel: u8, payload: Vec<u8>) -> Result<(), SendError> {
        to.check_size(payload.len(), self.largest_piece())?;
        self.check_capacity(Lane::Events)?;
        let event = QueuedEvent { to, channel, piece: 0, payload: payload.into() };
        self.outbox.queue(Lane::Events, vec![event]);
        Ok(())
    }

    /// Sends a request to a peer, which answers it. [`Self::take_rpc_result`] returns the answer. If
    /// the session is lost, the request waits until it is resumed; the timeout goes on.
    ///
    /// # Errors
    /// See [`RpcError`]. Nothing is sent then. [`RpcError::TooMany`] and [`SendError::WouldBlock`]
    /// pass when other requests end, or when the server takes more events.
    pub fn rpc(&mut self, now: Time, call: &RpcCall<'_>) -> Result<RpcNumber, RpcError> {
        if self.is_closed() {
            return Err(RpcError::Closed);
        }
        if call.to == self.me {
            return Err(RpcError::ToSelf);
        }
        if !self.has_joined() || self.keeps_roster && self.roster.peer(call.to).is_none() {
            return Err(RpcError::UnknownPeer);
        }
        self.rpc.check(call)?;
        let to = To::Peer(call.to);
        let len = RPC_REQUEST_BYTES + call.method.len() + call.payload.len();
        to.check_size(len, self.largest_piece())?;
        self.check_capacity(Lane::Events)?;
        let (number, payload) = self.rpc.start(now, call);
        self.queue_event(to, RPC_CHANNEL, payload)?;
        self.send_waiting(now);
        Ok(number)
    }

    /// Takes the result of a request to a peer; `None` while there is none.
    pub fn take_rpc_result(&mut self, number: RpcNumber) -> Option<RpcResult> {
        self.rpc.take(number)
    }

    /// Forgets a request for whose answer nobody waits. The peer may still carry it out.
    pub fn forget_rpc(&mut self, number: RpcNumber) {
        self.rpc.forget(number);
    }

    /// Answers the request of a peer, [`RoomEvent::RpcRequest`](crate::event::RoomEvent::RpcRequest).
    /// An answer has at most 16,377 bytes.
    ///
    /// # Errors
    /// See [`AnswerError`]. Nothing is sent then.
    pub fn answer_rpc(
        &mut self,
        now: Time,
        id: RpcId,
        answer: RpcAnswer<'_>,
    ) -> Result<(), AnswerError> {
        let (to, payload) = self.rpc.answer(now, id, answer)?;
        self.queue_event(To::Peer(to), RPC_CHANNEL, payload)?;
        self.rpc.answered(id);
        self.send_waiting(now);
        Ok(())
    }

    /// Answers a request that is one too many. Without capacity there is no answer, and the caller's
    /// timeout ends the request: the backlog stays bounded whatever peers send.
    pub(super) fn answer_busy(&mut self, to: PeerId, payload: Vec<u8>) {
        let _blocked = self.queue_event(To::Peer(to), RPC_CHANNEL, payload);
    }

    /// Returns how many requests to peers wait for their answers, and how many requests of peers
    /// wait for an answer of this client.
    pub fn waiting_rpcs(&self, now: Time) -> (usize, usize) {
        self.rpc.waiting(now)
    }

    /// Returns how many malformed requests, answers and typed events were ignored.
    pub fn malformed_events(&self) -> u64 {
        self.rpc.malformed()
    }

    /// Returns the target of a realtime message, as [`OutgoingMessage`] wants it.
    ///
    /// # Errors
    /// [`SendError::UnknownPeer`] or [`SendError::RealtimeTarget`].
    ///
    /// [`OutgoingMessage`]: crate::realtime::OutgoingMessage
    pub fn realtime_target(&self, to: &To) -> Result<u16, SendError> {
        let slot =
            |id: PeerId| self.roster.peer(id).map(|peer| peer.slot.0).ok_or(SendError::UnknownPeer);
        match to {
            To::Others => Ok(TARGET_OTHERS),
            To::Peer(peer) => slot(*peer),
            To::Host => slot(self.host().ok_or(SendError::UnknownPeer)?),
            To::Group(group) => Ok(target_of_group(*group)),
            To::All | To::Peers(_) | To::OthersAndLater => Err(SendError::RealtimeTarget),
        }
    }

    fn check_capacity(&self, lane: Lane) -> Result<(), SendError> {
        if self.is_closed() {
            Err(SendError::Closed)
        } else if !self.can_send(lane) {
            Err(SendError::WouldBlock)
        } else {
            Ok(())
        }
    }

    /// Returns whether events of a lane may be sent now.
    pub fn can_send(&self, lane: Lane) -> bool {
        self.outbox.has_capacity(lane)
    }

    /// Returns how many events the server has not acknowledged, those that wait to be written
    /// included. The pieces of a bulk message count separately.
    ///
    /// The server acknowledges within 16 s, and sooner if there are many. An event counts until
    /// then, although it may have arrived long before.
    pub fn unacknowledged(&self) -> usize {
        self.outbox.kept()
    }

    /// Returns how many events were dropped because the client came back to a server that takes
    /// only smaller ones.
    pub fn too_large_events(&self) -> u64 {
        self.too_large_events
    }

    fn largest_piece(&self) -> usize {
        match self.max_event {
            0 => limits::MAX_EVENT_PAYLOAD,
            limit => limit.min(limits::MAX_EVENT_PAYLOAD),
        }
    }

    /// Writes what can be written now: the next event of each lane, desired settings, the leave.
    pub(super) fn send_waiting(&mut self, now: Time) {
        for lane in Lane::ALL {
            while self.session.can_write(lane)
                && let Some(event) = self.outbox.begin_write(lane)
            {
                let QueuedEvent { to, channel, piece, payload } = event;
                let limit = self.largest_piece();
                let payload = match channel {
                    RPC_CHANNEL => self.rpc.refresh(now, &payload),
                    _ => Some(Cow::Borrowed(&payload[..])),
                };
                let Some(payload) = payload else {
                    // The caller of this request does not wait any more.
                    self.outbox.drop_unwritten(lane);
                    continue;
                };
                match encode_event(to, channel, piece, &payload, limit) {
                    Ok(message) => self.session.write(lane, &message),
                    // The server before took larger events.
                    Err(error) => {
                        self.outbox.drop_unwritten(lane);
                        self.too_large_events += 1;
                        if channel == RPC_CHANNEL {
                            self.rpc.fail(&payload, error.into());
                        }
                    }
                }
            }
        }
        if let Some(muted) = self.muted.unsent()
            && self.can_send_setting()
        {
            let act = if muted { act::MUTE_SELF } else { act::UNMUTE_SELF };
            let number = self.send_moderation(act, 0, 0);
            self.muted.sent(number);
        }
        if let Some(groups) = self.groups.unsent()
            && self.can_send_setting()
        {
            let number = self.requests.start(RequestedAction::Subscribe);
            self.session.send(encode(&Subscribe { request: number, groups: groups.0 }));
            self.groups.sent(number);
        }
        let has_flushed = |at: Time| at <= now || !self.outbox.has_waiting();
        if self.leaves_at.is_some_and(has_flushed) {
            // The outbox stays: acknowledgements may still come.
            self.session.leave(now);
        }
    }

    /// Returns whether a desired setting can be sent now. Results that their callers have not taken
    /// do not matter: at most one request of each setting is pending.
    fn can_send_setting(&self) -> bool {
        !self.is_closed() && !self.is_behind && self.session.can_send()
    }

    /// Requests changes of the state. [`Self::take_result`] returns the outcome: the version of the
    /// state that contains the changes.
    ///
    /// # Errors
    /// See [`StateError`]. Nothing is sent then.
    pub fn change(
        &mut self,
        now: Time,
        operations: Vec<Operation>,
    ) -> Result<RequestNumber, StateError> {
        self.can_request()?;
        if !self.session.allows(Schema::StateRequest) {
            return Err(StateError::NotOffered("the shared state"));
        }
        let number = self.requests.start(RequestedAction::change(&operations, self.me));
        let message = encode(&StateRequest { request: number, operations });
        let (len, limit) = (message.len() - SESSION_HEADER_BYTES, limits::MAX_STATE_REQUEST);
        if len > limit {
            self.requests.forget(number);
            return Err(BatchError::TooLarge { len, limit }.into());
        }
        self.session.send(message);
        self.advance(now);
        Ok(RequestNumber(number))
    }

    /// Requests an act of moderation, a number of [`act`].
    ///
    /// # Errors
    /// See [`StateError`]. Nothing is sent then.
    pub fn moderate(
        &mut self,
        now: Time,
        act: u8,
        peer: u32,
        seconds: u32,
    ) -> Result<RequestNumber, StateError> {
        self.can_request()?;
        let number = self.send_moderation(act, peer, seconds);
        self.advance(now);
        Ok(RequestNumber(number))
    }

    fn send_moderation(&mut self, act: u8, peer: u32, seconds: u32) -> u32 {
        let request = self.requests.start(RequestedAction::Act(act));
        self.session.send(encode(&Moderate { request, act, peer, seconds }));
        request
    }

    /// Returns why no request can be made now.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn can_request(&self) -> Result<(), StateError> {
        if self.is_closed() {
            Err(StateError::Closed)
        } else if !self.session.is_running() {
            Err(StateError::NotConnected)
        } else if self.is_behind {
            Err(StateError::Behind)
        } else if !self.requests.has_capacity() || !self.session.can_send() {
            Err(StateError::TooMany)
        } else {
            Ok(())
        }
    }

    /// Keeps the session alive. Only a client without QUIC's own keep-alives and without a realtime
    /// link needs this, every 15 s.
    pub fn ping(&mut self) {
        if self.session.can_send() {
            self.session.send(Ping.encode());
        }
    }

    /// Takes the result of a request; `None` while there is none.
    pub fn take_result(&mut self, request: RequestNumber) -> Option<RequestResult> {
        self.requests.take(request.0)
    }

    /// Forgets a request for whose result nobody waits. The change may still be applied.
    pub fn forget(&mut self, request: RequestNumber) {
        self.requests.forget(request.0);
    }

    /// Mutes or unmutes this client at the server, now or when there is a session.
    pub fn set_muted(&mut self, now: Time, muted: bool) -> SettingNumber {
        let setting = self.muted.set(muted, &mut self.requests);
        self.advance(now);
        setting
    }

    /// Returns the outcome of [`Self::set_muted`]; `None`: the server has not answered.
    pub fn muted_outcome(&self, setting: SettingNumber) -> Option<Result<(), StateError>> {
        self.outcome(&self.muted, setting)
    }

    /// Subscribes to these groups and unsubscribes from all others, now or when there is a session.
    pub fn subscribe(&mut self, now: Time, groups: GroupSet) -> SettingNumber {
        let setting = self.groups.set(groups, &mut self.requests);
        self.advance(now);
        setting
    }

    /// Returns the outcome of [`Self::subscribe`]; `None`: the server has not answered.
    pub fn groups_outcome(&self, setting: SettingNumber) -> Option<Result<(), StateError>> {
        self.outcome(&self.groups, setting)
    }

    fn outcome<T: Copy>(
        &self,
        desired: &Desired<T>,
        setting: SettingNumber,
    ) -> Option<Result<(), StateError>> {
        let possible = self.can_request();
        if possible == Err(StateError::Closed) {
            return Some(possible);
        }
        // No request can be made until something else happens.
        let is_blocked = matches!(possible, Err(StateError::NotConnected | StateError::Behind));
        desired.outcome(setting, is_blocked)
    }

    /// Passes the results of desired settings on.
    pub(super) fn settle_desired(&mut self) {
        self.muted.settle(&mut self.requests);
        self.groups.settle(&mut self.requests);
    }

    /// Hands in a fresh token of the same user. The client uses it when it joins again.
    /// [`Self::take_renewal`] returns the outcome.
    ///
    /// # Errors
    /// See [`RenewError`].
    pub fn renew(&mut self, token: String) -> Result<RenewalNumber, RenewError> {
        let problem = if self.is_closed() {
            return Err(RenewError::Closed);
        } else if let Some(problem) = token::problem(&token).filter(|_| !may_be_token(&token)) {
            return Err(RenewError::Invalid(problem));
        } else if !self.session.is_running() {
            RenewError::Interrupted
        } else if self.is_behind {
            RenewError::Behind
        } else if !self.session.allows(Schema::Renew) {
            RenewError::NotOffered
        } else if !self.renewal.has_capacity() || !self.session.can_send() {
            return Err(RenewError::TooMany);
        } else {
            self.session.send(encode(&Renew { token: token.clone().into() }));
            return Ok(self.renewal.start(token));
        };
        self.renewal.keep(token);
        Err(problem)
    }

    /// Takes the outcome of [`Self::renew`]; `None` while there is none.
    pub fn take_renewal(&mut self, renewal: RenewalNumber) -> Option<Result<(), RenewError>> {
        self.renewal.take(renewal)
    }

    /// Forgets a token for whose outcome nobody waits.
    pub fn forget_renewal(&mut self, renewal: RenewalNumber) {
        self.renewal.forget(renewal);
    }

    /// Returns a new id for an object that this client will create.
    pub fn new_object_id(&mut self) -> ObjectId {
        let mut number = self.next_object;
        while self.replica.object(ObjectId::new(self.me, number)).is_some() {
            number = number.wrapping_add(1);
        }
        self.next_object = number.wrapping_add(1);
        ObjectId::new(self.me, number)
    }
}
