//! One recipient's datagrams of a flush.

use nucleus_protocol::limits::{HEADER, MAX_BODY, TAG};
use nucleus_protocol::link::{Link, Route, Withheld};
use nucleus_protocol::time::Time;

use super::counters::FanoutCounters;
use super::frame_table::FrameEntry;
use super::outbox::Outbox;
use crate::ids::{PeerId, RoomId};
use crate::limits;

/// Fills one recipient's datagrams. Several on the realtime port become one transmit of equal
/// segments (GSO), so all but the last are padded to the full size inside the seal; inside QUIC each
/// stands alone.
pub(super) struct Egress<'a> {
    now: Time,
    to: (RoomId, PeerId),
    route: Route,
    link: &'a mut Link,
    outbox: &'a mut Outbox,
    counters: &'a mut FanoutCounters,
    budget: usize,
    first: usize,
    open: Option<usize>,
    datagrams: u64,
}

/// Bytes around the messages of a datagram: header, tag, and the link's own frames in front.
const OVERHEAD: usize = HEADER + TAG + 128;

impl<'a> Egress<'a> {
    pub(super) fn new(
        now: Time,
        (to, route): ((RoomId, PeerId), Route),
        link: &'a mut Link,
        outbox: &'a mut Outbox,
        counters: &'a mut FanoutCounters,
        budget: usize,
    ) -> Self {
        let (first, open) = (outbox.bytes.len(), None);
        Self { now, to, route, link, outbox, counters, budget, first, open, datagrams: 0 }
    }

    fn spent(&self) -> usize {
        self.outbox.bytes.len() - self.first
    }

    pub(super) fn fits(&self, messages: usize) -> bool {
        let datagrams = 1 + messages / (MAX_BODY - 256);
        self.spent() + messages + datagrams * OVERHEAD <= self.budget
    }

    pub(super) fn put(&mut self, entry: &FrameEntry, message: &[u8]) {
        if self.now.since(entry.arrived) > limits::age_limit(entry.kind) {
            self.counters.superseded += 1;
            self.link.count_withheld(entry.kind, Withheld::Superseded, 1);
            return;
        }
        let len = self.outbox.bytes.len();
        let full = self.open.filter(|start| len + entry.len() > start + HEADER + MAX_BODY);
        // A full datagram is padded before the next begins, and that counts too.
        let before = full.map_or(len, |start| start + HEADER + MAX_BODY + TAG);
        if before - self.first + OVERHEAD + entry.len() > self.budget {
            self.counters.suppressed += 1;
            self.link.count_withheld(entry.kind, Withheld::Suppressed, 1);
            return;
        }
        if let Some(start) = full {
            if self.route != Route::Session {
                self.outbox.bytes.resize(start + HEADER + MAX_BODY, 0);
            }
            self.close(start);
        }
        if self.open.is_none() {
            self.open = Some(self.link.begin(self.now, &mut self.outbox.bytes));
        }
        self.outbox.bytes.extend_from_slice(message);
        self.counters.messages_out += 1;
    }

    fn close(&mut self, start: usize) {
        self.open = None;
        if self.link.finish(self.now, &mut self.outbox.bytes, start).is_err() {
            // The link has used up its packet numbers, until its peer joins again.
            self.outbox.bytes.truncate(start);
        } else if self.route == Route::Session {
            self.outbox.commit_one(self.to, self.route, start);
            self.counters.session_datagrams_out += 1;
        } else {
            self.datagrams += 1;
        }
    }

    pub(super) fn finish(mut self) -> usize {
        if let Some(start) = self.open {
            self.close(start);
        }
        if let Route::Realtime(path) = self.route
            && self.datagrams > 0
        {
            let segment = if self.datagrams > 1 { HEADER + MAX_BODY + TAG } else { 0 };
            self.outbox.commit(path, self.first, segment);
            self.counters.datagrams_out += self.datagrams;
        }
        self.spent()
    }
}
