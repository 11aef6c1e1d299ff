//! What a joined client sends on the session plane: events, requests for changes of the state, and its
//! leave.

use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::groups::Group;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    Code, EventUp, Lane, Leave, Moderate, SESSION_HEADER_BYTES, StateRequest, Subscribe, TO_ALL,
    TO_GROUP, TO_HOST, TO_LATER, TO_LISTED, TO_OTHERS, encode, stream,
};
use quinn::VarInt;
use tokio::sync::Mutex;

use super::SendError;
use super::stream::MessageWriter;
use crate::roster::PeerId;

/// Events and requests, at 0, go before it.
const BULK_PRIORITY: i32 = -1;
/// How long a leave waits for the server to confirm it.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Who gets an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody in the room, the sender included.
    All,
    /// Everybody but the sender.
    Others,
    /// These, as far as they are in the room; at most 1,024.
    Peers(Vec<PeerId>),
    /// The host, as the server sees it when it takes the event; nobody while there is none.
    Host,
    /// Whoever hears this group ([`crate::Room::subscribe`]) when the server takes the event, but for the
    /// sender, who need not be one of them.
    Group(Group),
    /// Everybody but the sender, and whoever comes later: newcomers are told the newest 256 of these
    /// events, and at most 64 KiB of them, by the server. Of a peer whose role may not make objects it is
    /// for the others alone. Not on the bulk lane.
    OthersAndLater,
}

/// What both halves of a session keep alive. When the last of them is dropped the connection closes,
/// which the server takes for a lost session: only [`SessionSender::leave`] and
/// [`SessionSender::close`] give the peer's place up.
pub(super) struct Shared {
    pub(super) connection: quinn::Connection,
    control: Mutex<MessageWriter>,
    lanes: [Mutex<MessageWriter>; 2],
    max_event: usize,
}

impl Shared {
    pub(super) fn new(
        connection: quinn::Connection,
        control: quinn::SendStream,
        max_event: u32,
    ) -> Self {
        Self {
            connection,
            control: Mutex::new(MessageWriter::over(stream::CONTROL, control)),
            lanes: [Lane::Events, Lane::Bulk].map(|lane| {
                let priority = if lane == Lane::Bulk { BULK_PRIORITY } else { 0 };
                Mutex::new(MessageWriter::new(lane.stream(), priority))
            }),
            max_event: limits::MAX_EVENT_PAYLOAD.min(max_event as usize),
        }
    }

    /// Sends a message on the control stream.
    pub(super) async fn send(&self, message: Vec<u8>) -> Result<(), SendError> {
        let mut control = self.control.lock().await;
        control.write(&self.connection, message).await.map_err(|_| SendError::Closed)
    }

    /// The same with a message that is made when it is its turn.
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

/// The sending half of a session; clones send on the same stream, in the order of their calls.
#[derive(Clone)]
pub struct SessionSender(pub(super) Arc<Shared>);

impl SessionSender {
    /// Sends a reliable, ordered event; waits while the server or the network is slower than the
    /// application.
    ///
    /// When the returned future is dropped after the first byte went out, the rest follows with the
    /// next event or the leave; before that, nothing is sent.
    pub async fn send_event(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.send_piece(Lane::Events, to, channel, 0, payload).await
    }

    /// Sends an event, or a piece of a larger message on the bulk lane, of at most the size of an event;
    /// `piece` as [`EventUp::piece`] has it. Else as [`Self::send_event`].
    pub async fn send_piece(
        &self,
        lane: Lane,
        to: To,
        channel: u8,
        piece: u8,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let message = event(to, channel, piece, payload, self.0.max_event)?;
        let mut lane = self.0.lanes[lane.index()].lock().await;
        lane.write(&self.0.connection, message).await.map_err(|_| SendError::Closed)
    }

    /// Asks for changes of the room's state; [`super::SessionEvent::StateReply`] tells what became of
    /// it, by `request`'s number. [`crate::state::Batch`] makes operations that keep the limits.
    ///
    /// When the returned future is dropped, as with [`Self::send_event`].
    pub async fn request_state(&self, request: &StateRequest) -> Result<(), SendError> {
        let message = encode(request);
        let (len, limit) = (message.len() - SESSION_HEADER_BYTES, limits::MAX_STATE_REQUEST);
        if len > limit {
            return Err(SendError::TooLarge { len, limit });
        }
        let mut control = self.0.control.lock().await;
        control.write(&self.0.connection, message).await.map_err(|_| SendError::Closed)
    }

    /// Acts as a moderator; answered like [`Self::request_state`].
    pub async fn moderate(&self, asked: &Moderate) -> Result<(), SendError> {
        let mut control = self.0.control.lock().await;
        control.write(&self.0.connection, encode(asked)).await.map_err(|_| SendError::Closed)
    }

    /// Says which groups this peer hears; answered like [`Self::request_state`].
    pub async fn subscribe(&self, asked: &Subscribe) -> Result<(), SendError> {
        let mut control = self.0.control.lock().await;
        control.write(&self.0.connection, encode(asked)).await.map_err(|_| SendError::Closed)
    }

    /// Leaves the room: events already sent arrive first, everybody is told at once, and the
    /// connection closes; at most 1 s.
    pub async fn leave(&self) {
        let left = async {
            // Each step fails only when the connection is gone, which is where all this leads.
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

    /// Waits until the connection is gone.
    pub async fn closed(&self) {
        self.0.connection.closed().await;
    }

    /// Gives the place up and closes the connection at once, without waiting for an answer.
    pub fn close(&self) {
        self.0.close(Code::Leaving, "");
    }
}

impl To {
    /// Whether an event with a payload of `len` bytes may go there.
    pub(super) fn check(&self, len: usize, limit: usize) -> Result<(), SendError> {
        if len > limit {
            return Err(SendError::TooLarge { len, limit });
        }
        match self {
            To::Peers(peers) if peers.len() > limits::MAX_EVENT_TARGETS => {
                let limit = limits::MAX_EVENT_TARGETS;
                Err(SendError::TooManyPeers { count: peers.len(), limit })
            }
            _ => Ok(()),
        }
    }
}

fn event(
    to: To,
    channel: u8,
    piece: u8,
    payload: &[u8],
    limit: usize,
) -> Result<Vec<u8>, SendError> {
    to.check(payload.len(), limit)?;
    let (target, peers) = match to {
        To::All => (TO_ALL, Vec::new()),
        To::Others => (TO_OTHERS, Vec::new()),
        To::Peers(peers) => (TO_LISTED, peers.into_iter().map(|peer| peer.0).collect()),
        To::Host => (TO_HOST, Vec::new()),
        To::Group(group) => (TO_GROUP, vec![group.number().into()]),
        To::OthersAndLater => (TO_LATER, Vec::new()),
    };
    Ok(encode(&EventUp { target, channel, piece, peers, payload: payload.to_vec() }))
}
