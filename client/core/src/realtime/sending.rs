//! [`SendQueue`]: the messages that wait for the next datagram.
//!
//! On a network with losses, voice is sent twice. The second time is a while after the first, because
//! losses come in bursts. Recipients drop what they have: both messages have the same sequence number.

use std::collections::VecDeque;

use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::time::Time;

use super::message::OutgoingMessage;
use crate::playback::VOICE_AGAIN;

/// Messages that may wait to be sent: as many as the poses in eight full datagrams. When the queue
/// is full, the oldest message is dropped.
const MAX_QUEUED: usize = 256;
/// Buffers that are kept for payloads: an application sends a few messages a frame.
const MAX_SPARE: usize = 16;

/// Voice that may wait to be sent again: a speaker sends three packets in that time.
const MAX_AGAIN: usize = 8;

/// A message that is sent again, with the numbers that it had.
pub(super) struct SentMessage {
    pub(super) sequence: u16,
    /// The capture time as it was sent.
    pub(super) time: Option<u16>,
    pub(super) message: OutgoingMessage,
}

/// The messages that wait to be sent, oldest first, and the buffers of those that were sent.
#[derive(Default)]
pub(super) struct SendQueue {
    waiting: VecDeque<OutgoingMessage>,
    /// Messages that are sent again at these times.
    again: VecDeque<(Time, SentMessage)>,
    spare: Vec<Vec<u8>>,
    /// Messages that are never sent.
    dropped: u64,
}

impl SendQueue {
    /// Adds a message. It takes the position of a waiting one that it replaces.
    pub(super) fn push(&mut self, message: OutgoingMessage) {
        if message.is_too_large() {
            return self.drop_message(message);
        }
        if let Some(older) = self.waiting.iter_mut().find(|older| message.replaces(older)) {
            let older = std::mem::replace(older, message);
            return self.drop_message(older);
        }
        if self.waiting.len() >= MAX_QUEUED
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.drop_message(oldest);
        }
        self.waiting.push_back(message);
    }

    fn drop_message(&mut self, message: OutgoingMessage) {
        self.dropped += 1;
        self.reuse(message.payload);
    }

    pub(super) fn front(&self) -> Option<&OutgoingMessage> {
        self.waiting.front()
    }

    /// Removes the first message, which was sent at `now` with these numbers. Voice is kept to be sent
    /// again, if the network has losses.
    pub(super) fn pop(&mut self, now: Time, sequence: u16, time: Option<u16>, is_lossy: bool) {
        let Some(message) = self.waiting.pop_front() else { return };
        if is_lossy && message.kind == MessageKind::Voice && self.again.len() < MAX_AGAIN {
            self.again.push_back((now + VOICE_AGAIN, SentMessage { sequence, time, message }));
        } else {
            self.reuse(message.payload);
        }
    }

    /// Returns when a message is to be sent again.
    pub(super) fn again_at(&self) -> Option<Time> {
        self.again.front().map(|(due, _)| *due)
    }

    /// Returns the message that is to be sent again by now.
    pub(super) fn due_again(&self, now: Time) -> Option<&SentMessage> {
        let (due, sent) = self.again.front()?;
        (*due <= now).then_some(sent)
    }

    /// Removes the message that was sent again.
    pub(super) fn pop_again(&mut self) {
        let sent = self.again.pop_front();
        sent.into_iter().for_each(|(_, sent)| self.reuse(sent.message.payload));
    }

    /// Returns whether there is something to send now.
    pub(super) fn has_due(&self, now: Time) -> bool {
        !self.waiting.is_empty() || self.due_again(now).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.again.clear();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns an empty buffer for a payload, if possible that of a message that was sent.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    fn reuse(&mut self, mut payload: Vec<u8>) {
        if self.spare.len() < MAX_SPARE {
            payload.clear();
            self.spare.push(payload);
        }
    }
}
