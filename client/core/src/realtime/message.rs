//! Messages of the realtime plane as the application sends and receives them.

use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::time::Time;

use crate::roster::PeerId;

/// Step in which the buffer of a received message grows, in bytes: a pose with two hands fits one.
const PAYLOAD_STEP: usize = 64;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Kind of the message.
    pub kind: MessageKind,
    /// Whether the message replaces older ones of the same kind, channel and key.
    pub newest_wins: bool,
    /// The recipient's slot, or [`nucleus_protocol::realtime::TARGET_OTHERS`].
    pub target: u16,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// At most [`limits::MAX_PAYLOAD`] bytes. Callers check the size; a larger message is dropped
    /// and counted.
    pub payload: Vec<u8>,
}

impl OutgoingMessage {
    pub(super) fn stream(&self) -> StreamKey {
        StreamKey { kind: self.kind, channel: self.channel, key: self.key }
    }

    pub(super) fn replaces(&self, older: &OutgoingMessage) -> bool {
        let stream = |m: &OutgoingMessage| (m.newest_wins, m.target, m.stream());
        self.newest_wins && stream(self) == stream(older)
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.payload.len() > limits::MAX_PAYLOAD
    }
}

/// Identifies a stream of one sender's messages that share one sequence of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StreamKey {
    pub(super) kind: MessageKind,
    pub(super) channel: u8,
    pub(super) key: u16,
}

/// A received message whose payload is borrowed from the buffer in which it waited.
/// [`ReceivedMessage`] is the owned form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageView<'a> {
    /// The sender.
    pub from: PeerId,
    /// Kind of the message.
    pub kind: MessageKind,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// Sequence number of the sender's messages of this kind, channel and key. 65,535 is followed
    /// by 0.
    pub sequence: u16,
    /// Time from capture to arrival, in steps of 1 ms, at most 2 s; `None` until the clocks are
    /// synchronized.
    pub age: Option<Duration>,
    /// When the message was captured, in steps of 1 ms on the server's clock, which is the same for
    /// all peers of the room. `None` until the clocks are synchronized.
    pub captured: Option<Time>,
    /// When the message arrived, on the clock of the caller of
    /// [`Realtime`](super::Realtime).
    pub arrived: Time,
    /// The application's data.
    pub payload: &'a [u8],
}

impl MessageView<'_> {
    pub(super) fn stream(&self) -> StreamKey {
        StreamKey { kind: self.kind, channel: self.channel, key: self.key }
    }

    /// Copies the message into a new buffer.
    pub fn to_message(&self) -> ReceivedMessage {
        let mut message = ReceivedMessage::default();
        self.copy_to(&mut message);
        message
    }

    /// Copies the message into an existing one, whose buffer is reused. Allocates only if the
    /// buffer is too small, so a caller that keeps one message for all calls soon allocates
    /// nothing.
    pub fn copy_to(&self, message: &mut ReceivedMessage) {
        let mut payload = std::mem::take(&mut message.payload);
        payload.clear();
        // Not doubled, so that many buffers stay small. A few bytes more are for a next payload
        // that is slightly longer.
        payload.reserve_exact(self.payload.len().next_multiple_of(PAYLOAD_STEP));
        payload.extend_from_slice(self.payload);
        let Self { from, kind, channel, key, sequence, age, captured, arrived, payload: _ } = *self;
        *message =
            ReceivedMessage { from, kind, channel, key, sequence, age, captured, arrived, payload };
    }
}

/// A received message. [`MessageView`] is the borrowed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The sender.
    pub from: PeerId,
    /// Kind of the message.
    pub kind: MessageKind,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// See [`MessageView::sequence`].
    pub sequence: u16,
    /// See [`MessageView::age`].
    pub age: Option<Duration>,
    /// See [`MessageView::captured`].
    pub captured: Option<Time>,
    /// See [`MessageView::arrived`].
    pub arrived: Time,
    /// The application's data.
    pub payload: Vec<u8>,
}

impl ReceivedMessage {
    /// Returns the borrowed form.
    pub fn view(&self) -> MessageView<'_> {
        let Self { from, kind, channel, key, sequence, age, captured, arrived, ref payload } =
            *self;
        MessageView { from, kind, channel, key, sequence, age, captured, arrived, payload }
    }
}

/// An empty message of no peer, as a buffer for [`MessageView::copy_to`].
impl Default for ReceivedMessage {
    fn default() -> Self {
        Self {
            from: PeerId(0),
            kind: MessageKind::Unreliable,
            channel: 0,
            key: 0,
            sequence: 0,
            age: None,
            captured: None,
            arrived: Time::ZERO,
            payload: Vec::new(),
        }
    }
}

/// The newest pose of a peer, returned by [`Realtime::poses`](super::Realtime::poses).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerPose<'a> {
    /// The sender.
    pub from: PeerId,
    /// The application's channel; 0 unless the sender chose another one.
    pub channel: u8,
    /// The application's key within the channel, for example a tracked body's number; 0 unless the
    /// sender chose another one.
    pub key: u16,
    /// Head and hands.
    pub pose: Pose,
    /// Bytes that the sender added after the pose, for example buttons and fingers.
    pub rest: &'a [u8],
    /// See [`MessageView::captured`]. Interpolate by this time: it is free of the network's jitter.
    pub captured: Option<Time>,
    /// See [`MessageView::arrived`]. Tells how long the peer has been silent.
    pub arrived: Time,
    /// Sequence number of the sender's poses of this channel and key. 65,535 is followed by 0. A
    /// pose with the same number as in the last frame is the same pose.
    pub sequence: u16,
}

impl<'a> PeerPose<'a> {
    /// Reads a pose. Returns `None` if the payload is shorter than the pose.
    pub(super) fn parse(message: MessageView<'a>) -> Option<Self> {
        let MessageView { from, channel, key, captured, arrived, sequence, payload, .. } = message;
        let (pose, rest) = Pose::parse(payload).ok()?;
        Some(Self { from, channel, key, pose, rest, captured, arrived, sequence })
    }
}

/// Counters of messages that were not delivered to the application or not sent, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealtimeCounters {
    /// Received messages that were duplicates, or older than one that replaced them.
    pub superseded: u64,
    /// Received messages that were captured more than two seconds before.
    pub too_old: u64,
    /// Received messages whose sender the roster did not name in time.
    pub unknown_sender: u64,
    /// Messages that were replaced by a newer one before they were sent, that did not fit into the
    /// queue, or that were too large.
    pub unsent: u64,
    /// Received datagrams that were forged or duplicates.
    pub rejected: u64,
    /// Received newest-wins messages that a newer one replaced before the application took them.
    /// This is normal: an application that draws 72 frames a second takes no more poses than that.
    pub replaced: u64,
    /// Received messages that were dropped because the application did not take them before their
    /// queue was full: voice packets, keys of one sender, or other messages.
    pub not_taken: u64,
    /// Received voice packets that were dropped because they had waited for more than 400 ms when
    /// the application asked for them.
    pub stale_voice: u64,
}
