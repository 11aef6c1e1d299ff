//! [`SendQueue`]: the messages that wait for the next datagram.

use std::collections::VecDeque;

use super::message::OutgoingMessage;

/// Messages that may wait to be sent: as many as the poses in eight full datagrams. When the queue
/// is full, the oldest message is dropped.
const MAX_QUEUED: usize = 256;
/// Buffers that are kept for payloads: an application sends a few messages a frame.
const MAX_SPARE: usize = 16;

/// The messages that wait to be sent, oldest first, and the buffers of those that were sent.
#[derive(Default)]
pub(super) struct SendQueue {
    waiting: VecDeque<OutgoingMessage>,
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

    /// Removes the first message, which was sent.
    pub(super) fn pop(&mut self) {
        let sent = self.waiting.pop_front();
        sent.into_iter().for_each(|sent| self.reuse(sent.payload));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
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
