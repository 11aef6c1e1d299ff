//! What a joined client receives on the session plane: roster, events, the room's state, the end.

use std::sync::Arc;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    Audit, Code, EventDown, Lane, RosterUpdate, Schema, StateReply, StateSnapshot, StateUpdate,
    Throttled, owned, stream,
};
use quinn::{ConnectionError, VarInt};

use super::ProtocolError;
use super::sender::SessionShared;
use super::stream::{MessageReader, ReadFailure};
use crate::state::StateFault;

/// Largest message on the state stream in bytes: the largest snapshot. The largest update, everybody's
/// end with all objects, is smaller.
const MAX_STATE_MESSAGE: usize = limits::MAX_STATE;

/// What happens in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The roster changed; versions follow each other without a gap.
    Roster(RosterUpdate),
    /// A reliable event; the roster is at least as new as when its sender sent it.
    Event(EventDown),
    /// A piece of a message of the bulk lane; the same holds.
    Bulk(EventDown),
    /// What became of a request ([`super::SessionSender::request_state`]). Its changes come by a
    /// [`SessionEvent::StateUpdate`] of their own, earlier or later.
    StateReply(StateReply),
    /// The server holds back or drops what this client says: one of
    /// [`nucleus_protocol::session::throttled`].
    Throttled(u8),
    /// A moderator has done something.
    Audit(Audit),
    /// The room's whole state, once a session and before every update. A session without it has an
    /// empty state of version 0.
    StateSnapshot(StateSnapshot),
    /// The state's next version; they follow each other without a gap.
    StateUpdate(StateUpdate),
    /// The session is over, and this is all that [`SessionReceiver::next`] will say from now on.
    Closed {
        /// Why, when the server or this client said so; `None` when the connection was lost.
        code: Option<Code>,
        /// The same for a person.
        text: String,
    },
}

/// The receiving half of a session. What is not taken from it stays at the server: QUIC's flow
/// control makes the senders wait.
pub struct SessionReceiver {
    shared: Arc<SessionShared>,
    control: Option<MessageReader>,
    /// A stream whose first byte has not come yet.
    opening: Option<MessageReader>,
    lanes: [LaneStream; 2],
    roster_version: u32,
    state: StateStream,
}

#[derive(Default)]
struct LaneStream {
    reader: Option<MessageReader>,
    /// Waits for a roster; until then the stream is not read.
    early: Option<EventDown>,
    /// Largest sequence of an event that was given out.
    last: u64,
}

/// The server opens it when there is a state to tell, at most once.
enum StateStream {
    None,
    /// The snapshot has not come yet.
    Opened(MessageReader),
    /// The version that was given out last stands beside it.
    Following(MessageReader, u64),
    /// Why, the connection's own end will say.
    Ended,
}

type Read = Result<Option<(Schema, Bytes)>, ReadFailure>;

enum ReceiverInput {
    Control(Read),
    Lane(Lane, Read),
    State(Read),
    StreamKind(Result<Option<u8>, ReadFailure>),
    Opened(quinn::RecvStream),
    Lost(ConnectionError),
}

impl SessionReceiver {
    pub(super) fn new(
        shared: Arc<SessionShared>,
        control: MessageReader,
        roster_version: u32,
        last: [u64; 2],
    ) -> Self {
        let (control, opening, state) = (Some(control), None, StateStream::None);
        let lanes = last.map(|last| LaneStream { last, ..LaneStream::default() });
        Self { shared, control, opening, lanes, roster_version, state }
    }

    /// Largest sequence of an event that [`Self::next`] has given out, in this session or the ones
    /// before it: what a resume goes on from.
    pub fn last_event(&self) -> u64 {
        self.lanes[Lane::Events.index()].last
    }

    /// The same of the bulk lane.
    pub fn last_bulk(&self) -> u64 {
        self.lanes[Lane::Bulk.index()].last
    }

    /// Waits for the next event. Cancel-safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> SessionEvent {
        loop {
            if let Some(event) = self.take_reached() {
                return event;
            }
            let step = self.step().await;
            match self.take(step) {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
        }
    }

    /// An event for which the roster is new enough.
    fn take_reached(&mut self) -> Option<SessionEvent> {
        for (kind, lane) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            if let Some(event) = lane.early.take_if(|e| reached(self.roster_version, e)) {
                lane.last = lane.last.max(event.sequence);
                return Some(match kind {
                    Lane::Events => SessionEvent::Event(event),
                    Lane::Bulk => SessionEvent::Bulk(event),
                });
            }
        }
        None
    }

    /// Streams before the connection's end: what had arrived when it closed is still given out.
    async fn step(&mut self) -> ReceiverInput {
        let accept = self.opening.is_none();
        let [events, bulk] = &mut self.lanes;
        tokio::select! {
            biased;
            read = next(&mut self.control, limits::MAX_CONTROL_MESSAGE) => ReceiverInput::Control(read),
            // Before the events, which may well be about it.
            read = self.state.next() => ReceiverInput::State(read),
            read = events.next() => ReceiverInput::Lane(Lane::Events, read),
            kind = kind(&mut self.opening) => ReceiverInput::StreamKind(kind),
            // Why there are no more, the connection's end says, behind what has come of the bulk lane.
            Ok(stream) = self.shared.connection.accept_uni(), if accept => ReceiverInput::Opened(stream),
            read = bulk.next() => ReceiverInput::Lane(Lane::Bulk, read),
            error = self.shared.connection.closed() => ReceiverInput::Lost(error),
        }
    }

    fn take(&mut self, step: ReceiverInput) -> Result<Option<SessionEvent>, ProtocolError> {
        match step {
            ReceiverInput::Control(read) => match message(read)? {
                Some((Schema::RosterUpdate, body)) => return self.roster(&body).map(Some),
                Some((Schema::StateReply, body)) => {
                    return Ok(Some(SessionEvent::StateReply(owned(&body)?)));
                }
                Some((Schema::Audit, body)) => {
                    return Ok(Some(SessionEvent::Audit(owned(&body)?)));
                }
                Some((Schema::Throttled, body)) => {
                    return Ok(Some(SessionEvent::Throttled(owned::<Throttled>(&body)?.what)));
                }
                Some((other, _)) => return Err(ProtocolError::Unexpected(other)),
                None => self.control = None,
            },
            ReceiverInput::Lane(lane, read) => {
                let lane = &mut self.lanes[lane.index()];
                match message(read)? {
                    Some((Schema::EventDown, body)) => lane.early = Some(owned(&body)?),
                    Some((other, _)) => return Err(ProtocolError::Unexpected(other)),
                    None => lane.reader = None,
                }
            }
            ReceiverInput::State(read) => return self.state.take(message(read)?),
            ReceiverInput::StreamKind(kind) => self.opened(kind)?,
            ReceiverInput::Opened(stream) => self.opening = Some(MessageReader::new(stream)),
            ReceiverInput::Lost(error) => {
                let (code, text) = closed(error);
                return Ok(Some(SessionEvent::Closed { code, text }));
            }
        }
        Ok(None)
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

    /// A stream has shown its type. A second one of a lane is refused like an unknown type: order
    /// between two would be a guess.
    fn opened(&mut self, kind: Result<Option<u8>, ReadFailure>) -> Result<(), ProtocolError> {
        let Some(reader) = self.opening.take() else { return Ok(()) };
        let lane = kind.as_ref().ok().copied().flatten().and_then(Lane::of_stream);
        let lane = lane.map(|lane| &mut self.lanes[lane.index()].reader);
        match kind {
            _ if let Some(free @ None) = lane => *free = Some(reader),
            Ok(Some(stream::STATE)) if matches!(self.state, StateStream::None) => {
                self.state = StateStream::Opened(reader);
            }
            // Two histories of one state: neither can be believed.
            Ok(Some(stream::STATE)) => return Err(ProtocolError::SecondState),
            _ => reader.refuse(VarInt::from_u32(Code::Malformed as u32)),
        }
        Ok(())
    }

    /// Ends the session because what it says makes no sense, which is found here or by whoever
    /// applies it; returns what is left to say of it.
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
            Some(reader) if self.early.is_none() => reader.next(limits::MAX_EVENT_MESSAGE).await,
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

/// The roster of `version` names everybody that `event` may speak of.
fn reached(version: u32, event: &EventDown) -> bool {
    event.roster_version.wrapping_sub(version) as i32 <= 0
}

async fn next(reader: &mut Option<MessageReader>, limit: usize) -> Read {
    match reader {
        Some(reader) => reader.next(limit).await,
        None => std::future::pending().await,
    }
}

async fn kind(reader: &mut Option<MessageReader>) -> Result<Option<u8>, ReadFailure> {
    match reader {
        Some(reader) => reader.kind().await,
        None => std::future::pending().await,
    }
}

/// A stream that is gone is one that has ended: why, the connection's own end will say.
fn message(read: Read) -> Result<Option<(Schema, Bytes)>, ProtocolError> {
    match read {
        Ok(message) => Ok(message),
        Err(ReadFailure::Gone(_)) => Ok(None),
        Err(ReadFailure::Protocol(error)) => Err(error),
    }
}

/// Why a connection is over, as a code and for a person.
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
