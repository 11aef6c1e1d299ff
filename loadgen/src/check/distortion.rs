//! A test of the load generator itself: one received message in 10,000 is lost, given to the wrong
//! receiver, or delayed. The report must then say so, by number.

use std::collections::VecDeque;

use nucleus_protocol::realtime::Message;

use crate::faults::Distortion;

/// One of so many received messages is distorted.
const EVERY: u64 = 10_000;
/// How long a message is delayed, µs.
const DELAY: u64 = 100_000;
/// Delayed messages that wait at the same time: 100 ms of a hundred million messages a second.
const MAX_HELD: usize = 1_000;

/// Chooses the messages that are distorted, and holds those that are delayed.
#[derive(Debug)]
pub(super) struct Distorter {
    distortion: Distortion,
    /// The messages received in the window so far.
    received: u64,
    /// The delayed messages, in the order of their new arrival.
    held: VecDeque<HeldMessage>,
}

/// A message that is delayed.
#[derive(Debug)]
pub(super) struct HeldMessage {
    pub(super) receiver: u32,
    /// When it arrives, µs.
    pub(super) arrival: u64,
    /// Without its payload.
    message: Message<'static>,
    payload: Vec<u8>,
}

impl HeldMessage {
    pub(super) fn message(&self) -> Message<'_> {
        Message { payload: &self.payload, ..self.message }
    }
}

impl Distorter {
    pub(super) fn new(distortion: Distortion) -> Self {
        Distorter { distortion, received: 0, held: VecDeque::new() }
    }

    /// Counts a message that was received in the window. Returns what happens to it if it is one of
    /// those that are distorted.
    pub(super) fn next(&mut self) -> Option<Distortion> {
        self.received += 1;
        let is_chosen = self.received.is_multiple_of(EVERY) && self.held.len() < MAX_HELD;
        is_chosen.then_some(self.distortion)
    }

    /// Delays a message that arrived at `arrival` (µs).
    pub(super) fn hold(&mut self, receiver: u32, arrival: u64, message: &Message<'_>) {
        self.held.push_back(HeldMessage {
            receiver,
            arrival: arrival + DELAY,
            message: Message { payload: &[], ..*message },
            payload: message.payload.to_vec(),
        });
    }

    /// Takes the next delayed message that arrives at `now` (µs) or before.
    pub(super) fn take_due(&mut self, now: u64) -> Option<HeldMessage> {
        self.held.pop_front_if(|held| held.arrival <= now)
    }
}
