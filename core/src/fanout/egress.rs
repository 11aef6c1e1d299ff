//! Writes the datagrams of one flush for one recipient.

use nucleus_protocol::limits::{HEADER, MAX_BODY, TAG};
use nucleus_protocol::link::{Link, Route, Withheld};
use nucleus_protocol::time::Time;

use super::counters::FanoutCounters;
use super::frame_table::FrameEntry;
use super::outbox::{Destination, Outbox};
use crate::limits;

/// Writes the datagrams of one recipient.
///
/// On the realtime port several datagrams become one transmit of equal segments (GSO). All but the
/// last are therefore padded to the full size before they are sealed. Inside QUIC each datagram is
/// sent by itself.
pub(super) struct Egress<'a> {
    now: Time,
    to: Destination,
    link: &'a mut Link,
    outbox: &'a mut Outbox,
    counters: &'a mut FanoutCounters,
    /// Most bytes that may be written for this recipient.
    budget: usize,
    /// Index in the outbox at which the recipient's first datagram starts.
    first: usize,
    /// Index in the outbox at which the datagram that is being filled starts.
    open: Option<usize>,
    /// Messages in that datagram.
    messages: u64,
    /// Datagrams finished for the realtime port.
    datagrams: u64,
    /// Most bytes of frames in a datagram of this link.
    max_body: usize,
}

/// Bytes of a datagram besides its messages: header, tag, and the link's own frames.
const OVERHEAD: usize = HEADER + TAG + 128;
// The largest message fits the least burst.
const _: () = assert!(limits::EGRESS_BURST_LEAST as usize >= OVERHEAD + MAX_BODY);

impl<'a> Egress<'a> {
    pub(super) fn new(
        now: Time,
        to: Destination,
        link: &'a mut Link,
        outbox: &'a mut Outbox,
        counters: &'a mut FanoutCounters,
        budget: usize,
    ) -> Self {
        let (first, max_body) = (outbox.bytes.len(), link.max_body());
        let (open, messages, datagrams) = (None, 0, 0);
        Self { now, to, link, outbox, counters, budget, first, open, messages, datagrams, max_body }
    }

    /// Returns the bytes written so far.
    fn spent(&self) -> usize {
        self.outbox.bytes.len() - self.first
    }

    /// Returns true if `messages` bytes of messages are sure to fit the budget.
    pub(super) fn fits(&self, messages: usize) -> bool {
        // Two datagrams in a row hold at least one body together, because what does not fit the
        // first begins the second. Full datagrams are padded.
        let datagrams = 1 + 2 * messages / self.max_body;
        self.spent() + datagrams * (self.max_body + OVERHEAD) <= self.budget
    }

    /// Appends a message, or counts it as withheld.
    pub(super) fn put(&mut self, entry: &FrameEntry, message: &[u8]) {
        if self.now.since(entry.arrived) > limits::age_limit(entry.kind) {
            self.counters.superseded += 1;
            self.link.count_withheld(entry.kind, Withheld::Superseded, 1);
            return;
        }
        let len = self.outbox.bytes.len();
        let full = self.open.filter(|start| len + entry.len() > start + HEADER + self.max_body);
        // A full datagram is padded before the next one begins. The padding counts against the
        // budget.
        let end = full.map_or(len, |start| start + HEADER + self.max_body + TAG);
        if end - self.first + OVERHEAD + entry.len() > self.budget {
            self.counters.suppressed += 1;
            self.link.count_withheld(entry.kind, Withheld::Suppressed, 1);
            return;
        }
        if let Some(start) = full {
            if self.to.route != Route::Session {
                self.outbox.bytes.resize(start + HEADER + self.max_body, 0);
            }
            self.close(start);
        }
        if self.open.is_none() {
            self.open = Some(self.link.begin(self.now, &mut self.outbox.bytes));
        }
        self.outbox.bytes.extend_from_slice(message);
        self.counters.messages_out += 1;
        self.messages += 1;
    }

    /// Seals the datagram that starts at `start`.
    fn close(&mut self, start: usize) {
        self.open = None;
        let messages = std::mem::take(&mut self.messages);
        if self.link.finish(self.now, &mut self.outbox.bytes, start).is_err() {
            // The link has used up its packet numbers. Its peer must join again to get a new link.
            self.outbox.bytes.truncate(start);
            return;
        }
        self.counters.histograms.messages_per_datagram.observe(messages);
        if self.to.route == Route::Session {
            self.outbox.commit_one(self.to, start);
            self.counters.session_datagrams_out += 1;
        } else {
            self.datagrams += 1;
        }
    }

    /// Finishes the last datagram and returns the bytes written.
    pub(super) fn finish(mut self) -> usize {
        if let Some(start) = self.open {
            self.close(start);
        }
        if let Route::Realtime(path) = self.to.route
            && self.datagrams > 0
        {
            let segment = if self.datagrams > 1 { HEADER + self.max_body + TAG } else { 0 };
            self.outbox.commit(path, self.first, segment);
            self.counters.datagrams_out += self.datagrams;
        }
        self.spent()
    }
}
