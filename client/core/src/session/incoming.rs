//! The streams that a server writes: which messages may come on them, and in which order they are
//! handed on.

use std::collections::VecDeque;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    EventDown, Features, Lane, Schema, StateSnapshot, StateUpdate, owned, stream,
};

use super::ProtocolError;
use super::buffer::{MessageBuffer, NextMessage};
use crate::state::StateFault;

/// Largest message on the state stream, in bytes: the largest snapshot. The largest update, which
/// removes all peers and objects, is smaller.
const MAX_STATE_MESSAGE: usize = limits::MAX_STATE;

/// A stream on which the server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamSource {
    /// The server's half of the control stream.
    Control,
    /// A stream that the server has opened, with a number that the caller has chosen.
    Opened(u64),
}

/// A message from the server. Without `Debug`: a fresh ticket is a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum ReceivedItem {
    /// A message on the control stream: schema and body.
    Control(Schema, Bytes),
    /// An event, or a piece of a bulk message. The roster is at least as new as when the sender
    /// sent it.
    Event(Lane, EventDown),
    /// The whole state of the room. Comes at most once a session and before all updates. Without a
    /// snapshot, the state is empty and has version 0.
    Snapshot(StateSnapshot),
    /// The next version of the state. Versions have no gaps.
    Update(StateUpdate),
}

/// The use of a stream that the server has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamUse {
    /// The type byte has not come yet.
    Unknown,
    Lane(Lane),
    /// The state. Holds the version that was handed on last; `None` before the snapshot.
    State(Option<u64>),
}

struct OpenedStream {
    number: u64,
    used_as: StreamUse,
    buffer: MessageBuffer,
}

/// The server's streams of one session.
pub(super) struct IncomingStreams {
    /// The features that client and server have in common.
    pub(super) features: Features,
    /// The version of the client's roster.
    pub(super) roster_version: u32,
    pub(super) control: MessageBuffer,
    /// At most three used streams and one whose use is unknown.
    opened: Vec<OpenedStream>,
    /// Whether the server has opened the stream of a lane. It may do so once.
    has_lane: [bool; 2],
    has_state: bool,
    /// The event of each lane that waits for a newer roster. Until then the lane is not read.
    waiting: [Option<EventDown>; 2],
    /// Largest sequence of an event that was handed on, by lane.
    pub(super) last_sequences: [u64; 2],
    /// Streams that the caller must stop.
    refused: VecDeque<u64>,
    /// Whether the server has ended a stream. The connection's close should follow.
    pub(super) has_ended_stream: bool,
}

impl IncomingStreams {
    pub(super) fn new() -> Self {
        Self {
            features: Features::NONE,
            roster_version: 0,
            control: MessageBuffer::default(),
            opened: Vec::new(),
            has_lane: [false; 2],
            has_state: false,
            waiting: [None, None],
            last_sequences: [0; 2],
            refused: VecDeque::new(),
            has_ended_stream: false,
        }
    }

    /// Returns whether bytes of the stream are wanted now.
    pub(super) fn wants(&self, source: StreamSource) -> bool {
        match source {
            StreamSource::Control => !self.control.has_ended(),
            StreamSource::Opened(number) => self.opened.iter().any(|stream| {
                let is_paused = match stream.used_as {
                    StreamUse::Lane(lane) => self.waiting[lane.index()].is_some(),
                    StreamUse::Unknown | StreamUse::State(_) => false,
                };
                stream.number == number && !stream.buffer.has_ended() && !is_paused
            }),
        }
    }

    /// Returns whether another stream may be accepted: one at a time has an unknown use.
    pub(super) fn wants_stream(&self) -> bool {
        self.opened.iter().all(|stream| stream.used_as != StreamUse::Unknown)
    }

    /// Returns how soon a stream is read: those with a smaller number come first. The state comes
    /// before the events, which often refer to it; bulk messages come last.
    pub(super) fn rank(&self, source: StreamSource) -> u8 {
        let StreamSource::Opened(number) = source else { return 0 };
        let used_as = self.opened.iter().find(|stream| stream.number == number);
        match used_as.map(|stream| stream.used_as) {
            Some(StreamUse::State(_)) => 1,
            Some(StreamUse::Lane(Lane::Bulk)) => 3,
            _ => 2,
        }
    }

    pub(super) fn open(&mut self, number: u64) {
        let buffer = MessageBuffer::default();
        self.opened.push(OpenedStream { number, used_as: StreamUse::Unknown, buffer });
    }

    pub(super) fn push(&mut self, source: StreamSource, bytes: &[u8]) {
        if let Some(buffer) = self.buffer(source) {
            buffer.push(bytes);
        }
    }

    pub(super) fn end(&mut self, source: StreamSource, is_broken: bool) {
        if let Some(buffer) = self.buffer(source) {
            buffer.end(is_broken);
        }
    }

    fn buffer(&mut self, source: StreamSource) -> Option<&mut MessageBuffer> {
        match source {
            StreamSource::Control => Some(&mut self.control),
            StreamSource::Opened(number) => self
                .opened
                .iter_mut()
                .find(|stream| stream.number == number)
                .map(|stream| &mut stream.buffer),
        }
    }

    /// Returns a stream that the caller must stop: its type is unknown, or the second of its kind.
    pub(super) fn take_refused(&mut self) -> Option<u64> {
        self.refused.pop_front()
    }

    /// Returns the next message.
    ///
    /// # Errors
    /// If the server has broken the protocol. The session must then be closed.
    pub(super) fn next(&mut self) -> Result<Option<ReceivedItem>, ProtocolError> {
        loop {
            if let Some(event) = self.take_waiting() {
                return Ok(Some(event));
            }
            match self.control.next(limits::MAX_CONTROL_MESSAGE)? {
                NextMessage::Message(schema, _) if !self.allows(schema) => {
                    return Err(ProtocolError::Unexpected(schema));
                }
                NextMessage::Message(schema, body) => {
                    return Ok(Some(ReceivedItem::Control(schema, body)));
                }
                NextMessage::Incomplete => {}
                NextMessage::Ended => self.has_ended_stream = true,
            }
            self.classify()?;
            if let Some(item) = self.next_of_state()? {
                return Ok(Some(item));
            }
            if !self.read_lane(Lane::Events)? && !self.read_lane(Lane::Bulk)? {
                return Ok(None);
            }
        }
    }

    /// Returns whether a message of this schema may travel in this session.
    fn allows(&self, schema: Schema) -> bool {
        self.features.contains(Features::needed_for(schema))
    }

    /// Takes a waiting event if the roster is new enough for it.
    fn take_waiting(&mut self) -> Option<ReceivedItem> {
        let version = self.roster_version;
        Lane::ALL.into_iter().find_map(|lane| {
            let event =
                self.waiting[lane.index()].take_if(|event| is_roster_new_enough(version, event))?;
            let last = &mut self.last_sequences[lane.index()];
            *last = event.sequence.max(*last);
            Some(ReceivedItem::Event(lane, event))
        })
    }

    /// Finds out the use of a new stream. A second stream of a lane is refused like an unknown type,
    /// because the order between two streams is undefined.
    fn classify(&mut self) -> Result<(), ProtocolError> {
        let unknown = self.opened.iter().position(|stream| stream.used_as == StreamUse::Unknown);
        let Some(at) = unknown else { return Ok(()) };
        let kind = self.opened[at].buffer.take_kind();
        if kind.is_none() && !self.opened[at].buffer.has_ended() {
            return Ok(());
        }
        let lane = kind.and_then(Lane::of_stream);
        if let Some(lane) = lane.filter(|lane| !self.has_lane[lane.index()]) {
            self.has_lane[lane.index()] = true;
            self.opened[at].used_as = StreamUse::Lane(lane);
        } else if kind == Some(stream::STATE) {
            if !self.allows(Schema::StateUpdate) {
                return Err(ProtocolError::Unexpected(Schema::StateSnapshot));
            }
            // A second state stream is an error, because the two could contradict each other.
            if std::mem::replace(&mut self.has_state, true) {
                return Err(ProtocolError::SecondState);
            }
            self.opened[at].used_as = StreamUse::State(None);
        } else {
            self.refused.push_back(self.opened.remove(at).number);
        }
        Ok(())
    }

    fn next_of_state(&mut self) -> Result<Option<ReceivedItem>, ProtocolError> {
        let is_state = |stream: &OpenedStream| matches!(stream.used_as, StreamUse::State(_));
        let Some(at) = self.opened.iter().position(is_state) else { return Ok(None) };
        let OpenedStream { used_as, buffer, .. } = &mut self.opened[at];
        let (schema, body) = match buffer.next(MAX_STATE_MESSAGE)? {
            NextMessage::Incomplete => return Ok(None),
            NextMessage::Ended => {
                self.has_ended_stream = true;
                self.opened.remove(at);
                return Ok(None);
            }
            NextMessage::Message(schema, body) => (schema, body),
        };
        match (*used_as, schema) {
            (StreamUse::State(None), Schema::StateSnapshot) => {
                let snapshot: StateSnapshot = owned(&body)?;
                *used_as = StreamUse::State(Some(snapshot.version));
                Ok(Some(ReceivedItem::Snapshot(snapshot)))
            }
            (StreamUse::State(Some(version)), Schema::StateUpdate) => {
                let update: StateUpdate = owned(&body)?;
                let (expected, found) = (version.wrapping_add(1), update.version);
                if found != expected {
                    return Err(StateFault::Version { expected, found }.into());
                }
                *used_as = StreamUse::State(Some(found));
                Ok(Some(ReceivedItem::Update(update)))
            }
            (_, other) => Err(ProtocolError::Unexpected(other)),
        }
    }

    /// Reads the next event of a lane. Returns whether there was one.
    fn read_lane(&mut self, lane: Lane) -> Result<bool, ProtocolError> {
        if self.waiting[lane.index()].is_some() {
            return Ok(false);
        }
        let is_lane = |stream: &OpenedStream| stream.used_as == StreamUse::Lane(lane);
        let Some(at) = self.opened.iter().position(is_lane) else { return Ok(false) };
        match self.opened[at].buffer.next(limits::MAX_EVENT_MESSAGE)? {
            NextMessage::Incomplete => Ok(false),
            NextMessage::Ended => {
                self.has_ended_stream = true;
                self.opened.remove(at);
                Ok(false)
            }
            NextMessage::Message(Schema::EventDown, body) => {
                self.waiting[lane.index()] = Some(owned(&body)?);
                Ok(true)
            }
            NextMessage::Message(other, _) => Err(ProtocolError::Unexpected(other)),
        }
    }
}

/// Returns whether a roster of `version` names all peers that `event` may refer to.
fn is_roster_new_enough(version: u32, event: &EventDown) -> bool {
    event.roster_version.wrapping_sub(version) as i32 <= 0
}
