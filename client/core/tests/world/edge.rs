//! The server's end of a connection: it cuts the client's bytes into messages, and queues the
//! server's messages for its streams. As in the real edge, a client that does not read is too slow.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nucleus_client_core::session::StreamTarget;
use nucleus_core::ids::{PeerId, SessionId};
use nucleus_core::limits;
use nucleus_core::room::{Event, EventTarget};
use nucleus_protocol::groups::Group;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{
    EventUp, Features, Lane, MessageHeader, SESSION_HEADER_BYTES, Schema, TO_ALL, TO_GROUP,
    TO_HOST, TO_LATER, TO_LISTED, TO_OTHERS, owned, stream,
};
use nucleus_protocol::time::Time;

use crate::network::target_index;

/// Bytes of a stream that the client has not read. Beyond it, the server's messages wait.
const STREAM_WINDOW: usize = 8 << 10;

/// The numbers of the server's streams.
pub(crate) const CONTROL: u8 = 0;
pub(crate) const STATE: u8 = 3;
/// A stream of a type that this version does not know.
pub(crate) const UNKNOWN: u8 = 4;

/// Returns the number of the server's stream of a lane.
pub(crate) fn lane_stream(lane: Lane) -> u8 {
    1 + lane.index() as u8
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgePhase {
    Hello,
    /// The client's `Hello` has come, with these features in common.
    Join(Features),
    Joined(SessionId, Features),
}

/// A stream on which the client writes.
#[derive(Default)]
struct ClientStream {
    bytes: Vec<u8>,
    /// Whether the type byte has come.
    has_kind: bool,
    has_ended: bool,
}

/// A stream on which the server writes.
#[derive(Default)]
struct ServerStream {
    /// Messages that wait, with the time at which they were queued.
    waiting: VecDeque<(Time, Bytes)>,
    waiting_bytes: usize,
    /// Bytes that are written and not read by the client.
    unread: usize,
    has_begun: bool,
}

/// The server's end of a connection.
pub(crate) struct Edge {
    pub(crate) phase: EdgePhase,
    pub(crate) accepted: Time,
    /// Whether the client has a realtime port.
    pub(crate) has_port: bool,
    /// When a client that leaves is gone at the latest.
    pub(crate) leaves_at: Option<Time>,
    client_streams: [ClientStream; 3],
    server_streams: [ServerStream; 4],
}

impl Edge {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            phase: EdgePhase::Hello,
            accepted: now,
            has_port: false,
            leaves_at: None,
            client_streams: Default::default(),
            server_streams: Default::default(),
        }
    }

    /// Returns the session, once the client has joined.
    pub(crate) fn session(&self) -> Option<SessionId> {
        if let EdgePhase::Joined(session, _) = self.phase { Some(session) } else { None }
    }

    /// Takes bytes of the client.
    pub(crate) fn push(&mut self, target: StreamTarget, bytes: &[u8]) {
        let stream = &mut self.client_streams[target_index(target)];
        assert!(!stream.has_ended, "the client writes to {target:?} behind its end");
        stream.bytes.extend_from_slice(bytes);
    }

    /// Notes that the client has ended a stream.
    pub(crate) fn finish(&mut self, target: StreamTarget) {
        let stream = &mut self.client_streams[target_index(target)];
        assert!(stream.bytes.is_empty(), "{target:?} ends in the middle of a message");
        stream.has_ended = true;
    }

    /// Returns whether a lane of the client has begun and not ended.
    pub(crate) fn has_open_lane(&self) -> bool {
        self.client_streams[1..].iter().any(|stream| stream.has_kind && !stream.has_ended)
    }

    /// Returns whether the client has sent more than the messages that were taken.
    pub(crate) fn has_rest(&self) -> bool {
        self.client_streams.iter().any(|stream| !stream.bytes.is_empty())
    }

    /// Takes the next message of a stream.
    pub(crate) fn next_message(&mut self, target: StreamTarget) -> Option<(Schema, Vec<u8>)> {
        let stream = &mut self.client_streams[target_index(target)];
        let (kind, limit) = match target {
            StreamTarget::Control => (stream::CONTROL, wire_limits::MAX_CLIENT_CONTROL_MESSAGE),
            StreamTarget::Lane(lane) => (lane.stream(), wire_limits::MAX_EVENT_MESSAGE),
        };
        if !stream.has_kind && !stream.bytes.is_empty() {
            assert_eq!(stream.bytes.remove(0), kind, "the type of {target:?}");
            stream.has_kind = true;
        }
        let header = MessageHeader::parse(*stream.bytes.first_chunk()?, limit).unwrap();
        let end = SESSION_HEADER_BYTES + header.len as usize;
        if stream.bytes.len() < end {
            return None;
        }
        let body = stream.bytes.drain(..end).skip(SESSION_HEADER_BYTES).collect();
        Some((header.schema, body))
    }

    /// Queues a message for one of the server's streams. Returns whether there was room for it.
    pub(crate) fn queue(&mut self, now: Time, stream: u8, message: Bytes) -> bool {
        let queue = &mut self.server_streams[usize::from(stream)];
        let (count, bytes) = match stream {
            CONTROL => (limits::CONTROL_QUEUE, usize::MAX),
            STATE => (limits::STATE_QUEUE, limits::STATE_BACKLOG_BYTES),
            1 => (limits::EVENT_QUEUE, limits::EVENT_BACKLOG_BYTES),
            _ => (limits::BULK_QUEUE, limits::BULK_BACKLOG_BYTES),
        };
        if queue.waiting.len() >= count || queue.waiting_bytes + message.len() > bytes {
            return false;
        }
        queue.waiting_bytes += message.len();
        queue.waiting.push_back((now, message));
        true
    }

    /// Notes that the client has read bytes of a stream.
    pub(crate) fn note_read(&mut self, stream: u8, len: usize) {
        if let Some(stream) = self.server_streams.get_mut(usize::from(stream)) {
            stream.unread -= len;
        }
    }

    /// Returns the next bytes to write, with their stream. They begin with the stream's type.
    pub(crate) fn next_write(&mut self) -> Option<(u8, Vec<u8>)> {
        for (number, stream) in (0..).zip(&mut self.server_streams) {
            if stream.unread >= STREAM_WINDOW {
                continue;
            }
            let Some((_, message)) = stream.waiting.pop_front() else { continue };
            stream.waiting_bytes -= message.len();
            let mut bytes = Vec::new();
            if !std::mem::replace(&mut stream.has_begun, true) {
                bytes.extend(kind_of(number));
            }
            bytes.extend_from_slice(&message);
            stream.unread += bytes.len();
            return Some((number, bytes));
        }
        None
    }

    /// Returns when the oldest waiting message is too old.
    pub(crate) fn slow_at(&self) -> Option<Time> {
        let oldest = |(number, stream): (u8, &ServerStream)| {
            let (queued, _) = stream.waiting.front()?;
            Some(*queued + longest_wait(number))
        };
        (0..).zip(&self.server_streams).filter_map(oldest).min()
    }
}

/// Returns the type byte of one of the server's streams. The control stream has none: the client has
/// opened it.
fn kind_of(stream: u8) -> Option<u8> {
    match stream {
        CONTROL => None,
        1 => Some(Lane::Events.stream()),
        2 => Some(Lane::Bulk.stream()),
        _ => Some(stream::STATE),
    }
}

fn longest_wait(stream: u8) -> Duration {
    match stream {
        CONTROL => Duration::from_secs(3_600),
        1 => limits::EVENT_BACKLOG_AGE,
        2 => limits::BULK_BACKLOG_AGE,
        _ => limits::STATE_PIECE_TIME,
    }
}

/// Reads an event of the client, with the real edge's rules.
pub(crate) fn event(lane: Lane, body: &[u8]) -> Event {
    let EventUp { target, channel, piece, peers, payload } = owned(body).unwrap();
    assert!(lane == Lane::Bulk || piece == 0, "an event is a piece");
    let target = match target {
        TO_ALL => EventTarget::All,
        TO_OTHERS => EventTarget::Others,
        TO_LISTED => EventTarget::Listed(peers.into_iter().map(PeerId).collect()),
        TO_HOST => EventTarget::Host,
        TO_LATER if lane == Lane::Events => EventTarget::OthersAndLater,
        TO_GROUP => EventTarget::Group(Group::new(peers[0] as u8).unwrap()),
        other => panic!("the unknown target {other}"),
    };
    Event { lane, target, channel, piece, payload }
}
