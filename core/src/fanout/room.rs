//! The fan-out of one room: its recipients, and the messages for the next flush.
//!
//! Each message is encoded once into the room's frame table. A flush copies it into the datagrams
//! of each recipient. This is cheap: a datagram costs the kernel microseconds whatever it holds,
//! and copying a message costs little in comparison. The flush of a large room takes several turns;
//! new messages gather in a second frame table meanwhile.

use nucleus_protocol::link::Withheld;
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::time::Time;

use super::counters::FanoutCounters;
use super::egress::Egress;
use super::entry::{LinkEntry, Recipient};
use super::frame_table::FrameTable;
use super::outbox::{Destination, Outbox};
use super::pose_watch::PoseWatch;
use super::speakers::Speakers;
use crate::ids::{PeerId, RoomId};

/// The bounds of the flushes of one turn.
pub(super) struct FlushBudget {
    /// Length of the outbox, in bytes, at which the flushes stop.
    pub(super) end: usize,
    /// Pairs of message and recipient that may still be examined.
    pub(super) checks: usize,
}

/// The fan-out of one room.
pub(super) struct RoomFanout {
    pub(super) id: RoomId,
    recipients: Vec<Recipient>,
    /// Messages that have arrived since the last flush began.
    gathering: FrameTable,
    /// When `gathering` is due for a flush; `Time::MAX` while it is empty.
    due: Time,
    speakers: Speakers,
    /// The newest poses; `None`: nobody looks at the room.
    pub(super) watch: Option<Box<PoseWatch>>,
    /// Messages that are being flushed.
    sending: FrameTable,
    /// Index of the next recipient of `sending`.
    next: usize,
}

impl RoomFanout {
    pub(super) fn new(id: RoomId) -> Self {
        Self {
            id,
            recipients: Vec::new(),
            gathering: FrameTable::default(),
            due: Time::MAX,
            speakers: Speakers::default(),
            watch: None,
            sending: FrameTable::default(),
            next: 0,
        }
    }

    /// Clears everything to use the memory for another room.
    pub(super) fn reset(&mut self, id: RoomId) {
        self.id = id;
        self.gathering.clear();
        self.speakers.clear();
        self.sending.clear();
        self.watch = None;
        (self.due, self.next) = (Time::MAX, 0);
    }

    pub(super) fn add(&mut self, recipient: Recipient) {
        self.recipients.push(recipient);
    }

    pub(super) fn remove(&mut self, peer: PeerId) -> Option<Recipient> {
        let at = self.recipients.iter().position(|m| m.peer == peer)?;
        // Keeps the order, so that a flush under way still reaches the remaining recipients.
        self.next -= usize::from(at < self.next);
        Some(self.recipients.remove(at))
    }

    pub(super) fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Returns whether the peer with this slot speaks at `now`.
    pub(super) fn is_speaking(&self, now: Time, slot: u16) -> bool {
        self.speakers.is_active(now, slot)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }

    /// Returns true if the peer with this slot may speak now, with at most `limit` speakers at
    /// once.
    pub(super) fn may_speak(&mut self, now: Time, slot: u16, limit: u16) -> bool {
        self.speakers.admit(now, slot, limit)
    }

    /// Adds a message. Returns false if its target is invalid or the frame table is full.
    pub(super) fn push(&mut self, arrived: Time, from: u16, message: &Message<'_>) -> bool {
        self.gathering.push(arrived, from, message)
    }

    /// Notes a pose for those who look at the room.
    #[cold]
    pub(super) fn note_pose(&mut self, now: Time, peer: PeerId, payload: &[u8]) {
        self.watch.take_if(|watch| !watch.note(now, peer, payload));
    }

    /// Makes a flush due at `at` at the latest, for a message that may wait until then. Returns the
    /// time of the next flush if this call made the flush earlier.
    pub(super) fn flush_by(&mut self, at: Time) -> Option<Time> {
        let at = if self.gathering.is_filling_up() { Time::ZERO } else { at };
        let sooner = at < self.due;
        self.due = self.due.min(at);
        sooner.then_some(at)
    }

    /// Returns the time at which the next flush is due.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// Continues the flush under way, or begins one. Returns false if the budget was used up before
    /// the last recipient.
    pub(super) fn flush(
        &mut self,
        now: Time,
        links: &mut [Option<LinkEntry>],
        outbox: &mut Outbox,
        counters: &mut FanoutCounters,
        budget: &mut FlushBudget,
    ) -> bool {
        if self.sending.is_empty() {
            std::mem::swap(&mut self.gathering, &mut self.sending);
            (self.due, self.next) = (Time::MAX, 0);
        }
        while let Some(recipient) = self.recipients.get(self.next) {
            if outbox.bytes.len() >= budget.end || budget.checks == 0 {
                return false;
            }
            budget.checks = budget.checks.saturating_sub(self.sending.len());
            self.next += 1;
            if let Some(entry) = links[recipient.link as usize].as_mut() {
                self.flush_to(now, entry, outbox, counters);
            }
        }
        // A peer that is alone in its room sends to nobody.
        if self.recipients.len() > 1 {
            outbox.relayed.extend(self.sending.arrivals());
        }
        self.sending.clear();
        true
    }

    /// Writes the datagrams of one recipient.
    fn flush_to(
        &self,
        now: Time,
        entry: &mut LinkEntry,
        outbox: &mut Outbox,
        counters: &mut FanoutCounters,
    ) {
        let suppressed = counters.suppressed;
        let LinkEntry { recipient, groups, link, egress_bytes, sums, .. } = entry;
        let entries = || self.sending.entries_for(recipient.slot, groups);
        let wanted: usize = entries().map(|entry| entry.len()).sum();
        if wanted == 0 {
            return;
        }
        let Some((route, allowed)) = link.route() else {
            // Nothing has arrived from this peer yet, so its address is unknown.
            for entry in entries() {
                link.count_withheld(entry.kind, Withheld::Dropped, 1);
                counters.dropped += 1;
            }
            return;
        };
        let budget = (egress_bytes.available(now) as usize).min(allowed);
        let to = Destination { room: self.id, peer: recipient.peer, route };
        let table = &self.sending;
        let mut egress = Egress::new(now, to, link, outbox, counters, budget);
        if egress.fits(wanted) {
            entries().for_each(|e| egress.put(e, table.bytes_of(e)));
        } else {
            // The budget is too small for all messages: voice comes first.
            for voice in [true, false] {
                let pass = entries().filter(|e| (e.kind == MessageKind::Voice) == voice);
                pass.for_each(|entry| egress.put(entry, table.bytes_of(entry)));
            }
        }
        let spent = egress.finish();
        egress_bytes.take(spent as u64);
        sums.withheld += counters.suppressed - suppressed;
    }
}
