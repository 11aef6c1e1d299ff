//! The receiving half of a session: roster, events, the room's state, and the end of the session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    Audit, Code, EventAck, EventDown, Lane, Renewed, RosterUpdate, Schema, StateReply,
    StateSnapshot, StateUpdate, Throttled, TokenWanted, owned, stream,
};
use quinn::{ConnectionError, VarInt};
use tokio::time::{Instant, sleep_until};

use super::ProtocolError;
use super::sender::SessionShared;
use super::stream::{MessageReader, ReadFailure};
use crate::state::StateFault;

/// Largest message on the state stream, in bytes: the largest snapshot. The largest update, which
/// removes all peers and objects, is smaller.
const MAX_STATE_MESSAGE: usize = limits::MAX_STATE;

/// Longest time from the end of one of the server's streams to the close that gives the reason. The
/// server sends both at once, so this allows for lost packets.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A message that a session receives, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A change of the roster. Versions have no gaps.
    Roster(RosterUpdate),
    /// A reliable event. The roster is at least as new as when the sender sent the event.
    Event(EventDown),
    /// A piece of a message on the bulk lane. The roster is at least as new as when the sender sent
    /// it.
    Bulk(EventDown),
    /// The reply to a request ([`super::SessionSender::request_state`]). The changes themselves
    /// come in a separate [`SessionEvent::StateUpdate`], before or after the reply.
    StateReply(StateReply),
    /// The server acknowledges events of this client, for [`super::EventOutbox::acknowledge`].
    EventAck(EventAck),
    /// The server delays or drops messages of this client. The number is one of
    /// [`nucleus_protocol::session::throttled`].
    Throttled(u8),
    /// The reply to [`super::SessionSender::renew_with`].
    Renewed(Renewed),
    /// The server asks for a fresh token. The ticket admits to another instance of the room for so
    /// many seconds.
    TokenWanted(u32),
    /// A moderator has acted.
    Audit(Audit),
    /// The whole state of the room. Comes at most once a session and before all updates. Without a
    /// snapshot, the state is empty and has version 0.
    StateSnapshot(StateSnapshot),
    /// The next version of the state. Versions have no gaps.
    StateUpdate(StateUpdate),
    /// The session is closed. From now on, [`SessionReceiver::next`] returns this event only.
    Closed {
        /// The reason that the server or this client gave; `None` if the connection was lost
        /// without one.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
}

/// The receiving half of a session. Messages that the caller does not take stay at the server, and
/// QUIC's flow control makes the senders wait.
pub struct SessionReceiver {
    shared: Arc<SessionShared>,
    control: Option<MessageReader>,
    /// A stream whose type byte has not arrived yet.
    opening: Option<MessageReader>,
    lanes: [LaneStream; 2],
    roster_version: u32,
    state: StateStream,
    /// When the session counts as lost, because the server has ended a stream and does not close
    /// the connection.
    lost_at: Option<Instant>,
}

#[derive(Default)]
struct LaneStream {
    reader: Option<MessageReader>,
    /// An event that waits for a newer roster. Until then the stream is not read.
    waiting: Option<EventDown>,
    /// Largest sequence of a returned event.
    last_sequence: u64,
}

/// The stream of the shared state. The server opens it at most once, when the state is not empty.
enum StateStream {
    /// The server has not opened the stream.
    None,
    /// The snapshot has not arrived yet.
    Opened(MessageReader),
    /// The snapshot has arrived. The number is the version that was returned last.
    Following(MessageReader, u64),
    /// The stream has ended. The connection's close reason says why.
    Ended,
}

type Read = Result<Option<(Schema, Bytes)>, ReadFailure>;

/// An input from one of the session's streams.
enum ReceiverInput {
    Control(Read),
    Lane(Lane, Read),
    State(Read),
    StreamKind(Result<Option<u8>, ReadFailure>),
    Opened(quinn::RecvStream),
    Lost(ConnectionError),
    /// The server has ended a stream, and has not closed the connection in time.
    NotClosed,
}

impl SessionReceiver {
    pub(super) fn new(
        shared: Arc<SessionShared>,
        control: MessageReader,
        roster_version: u32,
        last_sequences: [u64; 2],
    ) -> Self {
        let (control, opening, state) = (Some(control), None, StateStream::None);
        let lanes = last_sequences
            .map(|last_sequence| LaneStream { last_sequence, ..LaneStream::default() });
        Self { shared, control, opening, lanes, roster_version, state, lost_at: None }
    }

    /// Returns the largest sequence of an event that [`Self::next`] has returned, in this session
    /// or in earlier ones. A resume continues with the next sequence.
    pub fn last_event(&self) -> u64 {
        self.lanes[Lane::Events.index()].last_sequence
    }

    /// Returns the largest sequence of a bulk piece that [`Self::next`] has returned, like
    /// [`Self::last_event`].
    pub fn last_bulk(&self) -> u64 {
        self.lanes[Lane::Bulk.index()].last_sequence
    }

    /// Waits for the next event. Cancel-safe: dropping the future loses no event.
    pub async fn next(&mut self) -> SessionEvent {
        loop {
            if let Some(event) = self.take_waiting_event() {
                return event;
            }
            let input = self.next_input().await;
            match self.handle(input) {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Takes a waiting event if the roster is new enough for it.
    fn take_waiting_event(&mut self) -> Option<SessionEvent> {
        for (kind, lane) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            if let Some(event) =
                lane.waiting.take_if(|e| is_roster_new_enough(self.roster_version, e))
            {
                lane.last_sequence = lane.last_sequence.max(event.sequence);
                return Some(match kind {
                    Lane::Events => SessionEvent::Event(event),
                    Lane::Bulk => SessionEvent::Bulk(event),
                });
            }
        }
        None
    }

    /// Waits for the next input. Streams come before the end of the connection, so that everything
    /// that arrived before the end is still returned.
    async fn next_input(&mut self) -> ReceiverInput {
        let accept = self.opening.is_none();
        let [events, bulk] = &mut self.lanes;
        tokio::select! {
            biased;
            read = next(&mut self.control, limits::MAX_CONTROL_MESSAGE) => ReceiverInput::Control(read),
            // Read the state before the events, which often refer to the state.
            read = self.state.next() => ReceiverInput::State(read),
            read = events.next() => ReceiverInput::Lane(Lane::Events, read),
            kind = stream_kind(&mut self.opening) => ReceiverInput::StreamKind(kind),
            // On an error, continue with the bulk lane. The connection's close reason says why.
            Ok(stream) = self.shared.connection.accept_uni(), if accept => ReceiverInput::Opened(stream),
            read = bulk.next() => ReceiverInput::Lane(Lane::Bulk, read),
            error = self.shared.connection.closed() => ReceiverInput::Lost(error),
            () = reached(self.lost_at) => ReceiverInput::NotClosed,
        }
    }

    fn handle(&mut self, input: ReceiverInput) -> Result<Option<SessionEvent>, ProtocolError> {
        match input {
            ReceiverInput::Control(read) => match message(read)? {
                Some((schema, _)) if !self.shared.allows(schema) => {
                    return Err(ProtocolError::Unexpected(schema));
                }
                Some((Schema::RosterUpdate, body)) => return self.roster(&body).map(Some),
                Some((Schema::StateReply, body)) => {
                    return Ok(Some(SessionEvent::StateReply(owned(&body)?)));
                }
                Some((Schema::Audit, body)) => {
                    return Ok(Some(SessionEvent::Audit(owned(&body)?)));
                }
                Some((Schema::EventAck, body)) => {
                    return Ok(Some(SessionEvent::EventAck(owned(&body)?)));
                }
                Some((Schema::Throttled, body)) => {
                    return Ok(Some(SessionEvent::Throttled(owned::<Throttled>(&body)?.what)));
                }
                Some((Schema::Renewed, body)) => {
                    return Ok(Some(SessionEvent::Renewed(owned(&body)?)));
                }
                Some((Schema::TokenWanted, body)) => {
                    let TokenWanted { within_s } = owned(&body)?;
                    return Ok(Some(SessionEvent::TokenWanted(within_s)));
                }
                Some((other, _)) => return Err(ProtocolError::Unexpected(other)),
                None => {
                    self.control = None;
                    self.expect_close();
                }
            },
            ReceiverInput::Lane(lane, read) => {
                let lane = &mut self.lanes[lane.index()];
                match message(read)? {
                    Some((Schema::EventDown, body)) => lane.waiting = Some(owned(&body)?),
                    Some((other, _)) => return Err(ProtocolError::Unexpected(other)),
                    None => {
                        lane.reader = None;
                        self.expect_close();
                    }
                }
            }
            ReceiverInput::State(read) => {
                let message = message(read)?;
                if message.is_none() {
                    self.expect_close();
                }
                return self.state.take(message);
            }
            ReceiverInput::StreamKind(kind) => self.opened(kind)?,
            ReceiverInput::Opened(stream) => self.opening = Some(MessageReader::new(stream)),
            ReceiverInput::Lost(error) => {
                let (code, text) = closed(error);
                return Ok(Some(SessionEvent::Closed { code, text }));
            }
            ReceiverInput::NotClosed => {
                let text = give_up(&self.shared);
                return Ok(Some(SessionEvent::Closed { code: None, text }));
            }
        }
        Ok(None)
    }

    /// Notes that the server has ended a stream. The connection's close should follow.
    fn expect_close(&mut self) {
        self.lost_at.get_or_insert_with(|| Instant::now() + CLOSE_TIMEOUT);
    }

    fn roster(&mut self, body: &[u8]) -> Result<SessionEvent, ProtocolError> {
        let update: RosterUpdate = owned(body)?;
        let expected = self.roster_version.wrapping_add(1);
        if update.version != expected {
            return Err(ProtocolError::RosterVersion { expected, found: update.version });
        }
        self.roster_version = update.version;
        Ok(SessionEvent::Roster(update))
    }

    /// Accepts a stream whose type is known. A second stream of a lane is refused like an unknown
    /// type, because the order between two streams is undefined.
    fn opened(&mut self, kind: Result<Option<u8>, ReadFailure>) -> Result<(), ProtocolError> {
        let Some(reader) = self.opening.take() else { return Ok(()) };
        let lane = kind.as_ref().ok().copied().flatten().and_then(Lane::of_stream);
        let lane = lane.map(|lane| &mut self.lanes[lane.index()].reader);
        match kind {
            _ if let Some(free @ None) = lane => *free = Some(reader),
            Ok(Some(stream::STATE)) if !self.shared.allows(Schema::StateUpdate) => {
                return Err(ProtocolError::Unexpected(Schema::StateSnapshot));
            }
            Ok(Some(stream::STATE)) if matches!(self.state, StateStream::None) => {
                self.state = StateStream::Opened(reader);
            }
            // A second state stream is an error, because the two could contradict each other.
            Ok(Some(stream::STATE)) => return Err(ProtocolError::SecondState),
            _ => reader.refuse(VarInt::from_u32(Code::Malformed as u32)),
        }
        Ok(())
    }

    /// Closes the session because the server broke the protocol, and returns the last event. The
    /// fault may be found here or by the caller that applies the messages.
    pub fn fail(&self, error: ProtocolError) -> SessionEvent {
        let text = error.to_string();
        self.shared.close(Code::Malformed, &text);
        SessionEvent::Closed { code: Some(Code::Malformed), text }
    }
}

impl LaneStream {
    /// Cancel-safe.
    async fn next(&mut self) -> Read {
        match &mut self.reader {
            Some(reader) if self.waiting.is_none() => reader.next(limits::MAX_EVENT_MESSAGE).await,
            _ => std::future::pending().await,
        }
    }
}

impl StateStream {
    /// Cancel-safe.
    async fn next(&mut self) -> Read {
        match self {
            StateStream::Opened(reader) | StateStream::Following(reader, _) => {
                reader.next(MAX_STATE_MESSAGE).await
            }
            StateStream::None | StateStream::Ended => std::future::pending().await,
        }
    }

    fn take(
        &mut self,
        message: Option<(Schema, Bytes)>,
    ) -> Result<Option<SessionEvent>, ProtocolError> {
        let event = match (std::mem::replace(self, StateStream::Ended), message) {
            (_, None) => return Ok(None),
            (StateStream::Opened(reader), Some((Schema::StateSnapshot, body))) => {
                let snapshot: StateSnapshot = owned(&body)?;
                *self = StateStream::Following(reader, snapshot.version);
                SessionEvent::StateSnapshot(snapshot)
            }
            (StateStream::Following(reader, version), Some((Schema::StateUpdate, body))) => {
                let update: StateUpdate = owned(&body)?;
                let (expected, found) = (version.wrapping_add(1), update.version);
                if found != expected {
                    return Err(StateFault::Version { expected, found }.into());
                }
                *self = StateStream::Following(reader, found);
                SessionEvent::StateUpdate(update)
            }
            (_, Some((other, _))) => return Err(ProtocolError::Unexpected(other)),
        };
        Ok(Some(event))
    }
}

/// Waits until `at`; for ever if that is `None`.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Closes a session in which the server has ended a stream, but not the connection. Returns the
/// reason as text. To the server, a close with code 0 is a lost session, so the client can resume.
pub(super) fn give_up(shared: &SessionShared) -> String {
    let text = "the server ended a stream without closing the session";
    shared.close(Code::Left, text);
    text.to_owned()
}

/// Returns whether a roster of `version` names all peers that `event` may refer to.
fn is_roster_new_enough(version: u32, event: &EventDown) -> bool {
    event.roster_version.wrapping_sub(version) as i32 <= 0
}

async fn next(reader: &mut Option<MessageReader>, limit: usize) -> Read {
    match reader {
        Some(reader) => reader.next(limit).await,
        None => std::future::pending().await,
    }
}

async fn stream_kind(reader: &mut Option<MessageReader>) -> Result<Option<u8>, ReadFailure> {
    match reader {
        Some(reader) => reader.kind().await,
        None => std::future::pending().await,
    }
}

/// Returns the message. A broken stream counts as ended; the connection's close reason says why.
fn message(read: Read) -> Result<Option<(Schema, Bytes)>, ProtocolError> {
    match read {
        Ok(message) => Ok(message),
        Err(ReadFailure::Gone(_)) => Ok(None),
        Err(ReadFailure::Protocol(error)) => Err(error),
    }
}

/// Returns why a connection has ended, as a code and as text for a person.
pub(super) fn closed(error: ConnectionError) -> (Option<Code>, String) {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = Code::from_number(close.error_code.into_inner());
            (code, String::from_utf8_lossy(&close.reason).into_owned())
        }
        ConnectionError::LocallyClosed => (Some(Code::Left), "closed by this client".to_owned()),
        other => (None, other.to_string()),
    }
}
