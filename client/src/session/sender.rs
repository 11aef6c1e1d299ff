//! The sending half of a session: events, requests, and the leave.

use std::sync::Arc;
use std::time::Duration;

use nucleus_client_core::session::encode_event;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    Code, Features, Lane, Leave, Moderate, Ping, Renew, SESSION_HEADER_BYTES, Schema, StateRequest,
    Subscribe, encode, stream,
};
use quinn::VarInt;
use tokio::sync::Mutex;

use super::stream::MessageWriter;
use super::{SendError, To};

/// Priority of the bulk stream, below events and requests, which have priority 0.
const BULK_PRIORITY: i32 = -1;
/// Longest time that a leave waits for the server's confirmation.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Data that both halves of a session share.
///
/// When both halves are dropped, the connection closes, and the server treats the session as lost.
/// Only [`SessionSender::leave`] and [`SessionSender::close`] make the participant leave the room.
pub(super) struct SessionShared {
    pub(super) connection: quinn::Connection,
    control: Mutex<MessageWriter>,
    lanes: [Mutex<MessageWriter>; 2],
    max_event: usize,
    /// The features that client and server have in common.
    features: Features,
}

impl SessionShared {
    pub(super) fn new(
        connection: quinn::Connection,
        control: quinn::SendStream,
        max_event: usize,
        features: Features,
    ) -> Self {
        Self {
            connection,
            control: Mutex::new(MessageWriter::for_open_stream(stream::CONTROL, control)),
            lanes: [Lane::Events, Lane::Bulk].map(|lane| {
                let priority = if lane == Lane::Bulk { BULK_PRIORITY } else { 0 };
                Mutex::new(MessageWriter::new(lane.stream(), priority))
            }),
            max_event: limits::MAX_EVENT_PAYLOAD.min(max_event),
            features,
        }
    }

    /// Returns whether a message of this schema may travel in this session.
    pub(super) fn allows(&self, schema: Schema) -> bool {
        self.features.contains(Features::needed_for(schema))
    }

    /// Sends a message on the control stream.
    pub(super) async fn send(&self, message: Vec<u8>) -> Result<(), SendError> {
        let mut control = self.control.lock().await;
        control.write(&self.connection, message).await.map_err(|_| SendError::Closed)
    }

    /// Sends the message that the closure `message` returns on the control stream. The closure is
    /// called after all earlier messages are written.
    pub(super) async fn send_with(
        &self,
        message: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), SendError> {
        let mut control = self.control.lock().await;
        control.write_with(&self.connection, message).await.map_err(|_| SendError::Closed)
    }

    pub(super) fn close(&self, code: Code, reason: &str) {
        self.connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
    }
}

/// The sending half of a session. Clones send on the same streams, in the order of their calls.
#[derive(Clone)]
pub struct SessionSender(pub(super) Arc<SessionShared>);

impl SessionSender {
    /// Sends a reliable, ordered event. Waits while the server or the network is slower than the
    /// application.
    ///
    /// If the returned future is dropped before the first byte was sent, nothing is sent. If it is
    /// dropped later, the rest of the event is sent with the next event or the leave.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::TooManyPeers`] or [`SendError::Closed`].
    pub async fn send_event(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.send_piece(Lane::Events, to, channel, 0, payload).await
    }

    /// Sends an event, or a piece of a message on the bulk lane. A piece has at most the size of an
    /// event; `piece` is
    /// [`EventUp::piece`](nucleus_protocol::session::EventUp::piece). Otherwise works like [`Self::send_event`].
    ///
    /// # Errors
    /// The same as for [`Self::send_event`].
    pub async fn send_piece(
        &self,
        lane: Lane,
        to: To,
        channel: u8,
        piece: u8,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let message = encode_event(to, channel, piece, payload, self.0.max_event)?;
        let mut lane = self.0.lanes[lane.index()].lock().await;
        lane.write(&self.0.connection, message).await.map_err(|_| SendError::Closed)
    }

    /// Requests changes of the room's state. The result comes as a
    /// [`super::SessionEvent::StateReply`] with the number of `request`. [`crate::state::Batch`]
    /// creates operations within the limits.
    ///
    /// A dropped future has the same effect as in [`Self::send_event`].
    ///
    /// # Errors
    /// [`SendError::TooLarge`] or [`SendError::Closed`].
    pub async fn request_state(&self, request: &StateRequest) -> Result<(), SendError> {
        if !self.0.allows(Schema::StateRequest) {
            return Err(SendError::NotOffered("the shared state"));
        }
        let message = encode(request);
        let (len, limit) = (message.len() - SESSION_HEADER_BYTES, limits::MAX_STATE_REQUEST);
        if len > limit {
            return Err(SendError::TooLarge { len, limit });
        }
        self.0.send(message).await
    }

    /// Requests an act of moderation. The reply comes as in [`Self::request_state`].
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn moderate(&self, request: &Moderate) -> Result<(), SendError> {
        self.0.send(encode(request)).await
    }

    /// Hands in the fresh token that the closure returns; nothing if it returns `None`. The closure
    /// is called when all earlier messages are written; then the token is sent even if the future
    /// is dropped. The reply comes as a [`super::SessionEvent::Renewed`], in the order of the calls
    /// of the closures.
    ///
    /// # Errors
    /// [`SendError::NotOffered`] or [`SendError::Closed`].
    pub async fn renew_with(
        &self,
        token: impl FnOnce() -> Option<String>,
    ) -> Result<(), SendError> {
        if !self.0.allows(Schema::Renew) {
            return Err(SendError::NotOffered("fresh tokens in mid-session"));
        }
        let message =
            || token().map_or_else(Vec::new, |token| encode(&Renew { token: token.into() }));
        self.0.send_with(message).await
    }

    /// Keeps the session alive. Only a client without QUIC's own keep-alives and without a realtime
    /// link needs this, every 15 s.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn ping(&self) -> Result<(), SendError> {
        self.0.send(Ping.encode()).await
    }

    /// Replaces the set of subscribed groups. The reply comes as in [`Self::request_state`].
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn subscribe(&self, request: &Subscribe) -> Result<(), SendError> {
        self.0.send(encode(request)).await
    }

    /// Leaves the room. Events that were sent before still arrive, the other peers see the leave at
    /// once, and the connection closes. Takes at most 1 s.
    pub async fn leave(&self) {
        let left = async {
            // Each step fails only if the connection is closed, which is the purpose of this call.
            for lane in &self.0.lanes {
                let _ = lane.lock().await.finish().await;
            }
            let mut control = self.0.control.lock().await;
            let leave = encode(&Leave { code: Code::Left as u16 });
            let _ = control.write(&self.0.connection, leave).await;
            let _ = control.finish().await;
            self.0.connection.closed().await;
        };
        if tokio::time::timeout(LEAVE_TIMEOUT, left).await.is_err() {
            self.close();
        }
    }

    /// Waits until the connection is closed.
    pub async fn closed(&self) {
        self.0.connection.closed().await;
    }

    /// Leaves the room by closing the connection at once, without waiting for an answer.
    pub fn close(&self) {
        self.0.close(Code::Leaving, "");
    }
}
