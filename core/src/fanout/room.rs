//! A room's fan-out: who is in it, and what flows to whom at the next flush.
//!
//! Messages are encoded once into one table a room and copied into each recipient's datagrams at the
//! flush: a datagram costs the kernel microseconds whatever it holds, copying a message is nothing
//! beside that. A flush of a large room goes on over several turns, while its next messages gather.

use nucleus_protocol::link::Withheld;
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::time::Time;

use super::counters::FanoutCounters;
use super::egress::Egress;
use super::entry::{LinkEntry, Recipient};
use super::frame_table::FrameTable;
use super::outbox::Outbox;
use super::speakers::Speakers;
use crate::ids::{PeerId, RoomId};

/// What the flushes of one turn may do.
pub(super) struct FlushBudget {
    /// Bytes of the outbox at which they stop.
    pub(super) end: usize,
    /// Messages that may still be looked at, for any recipient.
    pub(super) checks: usize,
}

pub(super) struct RoomFanout {
    pub(super) id: RoomId,
    recipients: Vec<Recipient>,
    /// What has come since the flush under way began.
    gathering: FrameTable,
    /// When it is to be flushed; `Time::MAX` while it is empty.
    due: Time,
    speakers: Speakers,
    /// What is being flushed, to the recipients from `next` on.
    sending: FrameTable,
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
            sending: FrameTable::default(),
            next: 0,
        }
    }

    /// Becomes another room.
    pub(super) fn reset(&mut self, id: RoomId) {
        self.id = id;
        self.gathering.clear();
        self.speakers.clear();
        self.sending.clear();
        (self.due, self.next) = (Time::MAX, 0);
    }

    pub(super) fn add(&mut self, recipient: Recipient) {
        self.recipients.push(recipient);
    }

    pub(super) fn remove(&mut self, peer: PeerId) -> Option<Recipient> {
        let at = self.recipients.iter().position(|m| m.peer == peer)?;
        // In order: a flush under way still finds those behind.
        self.next -= usize::from(at < self.next);
        Some(self.recipients.remove(at))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }

    /// Whether the peer of `slot` may be heard now, with `most` speaking at once.
    pub(super) fn may_speak(&mut self, now: Time, slot: u16, most: u16) -> bool {
        self.speakers.admit(now, slot, most)
    }

    /// Takes a message; false when it has no valid target or there is no room for it.
    pub(super) fn push(&mut self, arrived: Time, from: u16, message: &Message<'_>) -> bool {
        self.gathering.push(arrived, from, message)
    }

    /// A message came that may wait until `at`; whether that brings the next flush forward.
    pub(super) fn flush_by(&mut self, at: Time) -> Option<Time> {
        let at = if self.gathering.is_filling_up() { Time::ZERO } else { at };
        let sooner = at < self.due;
        self.due = self.due.min(at);
        sooner.then_some(at)
    }

    /// When the next flush is due.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// Goes on with the flush, or begins one, up to the recipient with whom the budget is used up; whether
    /// it is through.
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
        self.sending.clear();
        true
    }

    fn flush_to(
        &self,
        now: Time,
        entry: &mut LinkEntry,
        outbox: &mut Outbox,
        counters: &mut FanoutCounters,
    ) {
        let LinkEntry { recipient, groups, link, egress, .. } = entry;
        let entries = || self.sending.entries_for(recipient.slot, groups);
        let wanted: usize = entries().map(|entry| entry.len()).sum();
        if wanted == 0 {
            return;
        }
        let Some((route, allowed)) = link.route() else {
            // Nothing has come from this peer yet: there is nowhere to send to.
            for entry in entries() {
                link.count_withheld(entry.kind, Withheld::Dropped, 1);
                counters.dropped += 1;
            }
            return;
        };
        let budget = (egress.available(now) as usize).min(allowed);
        let (to, table) = ((self.id, recipient.peer), &self.sending);
        let mut writer = Egress::new(now, (to, route), link, outbox, counters, budget);
        if writer.fits(wanted) {
            entries().for_each(|e| writer.put(e, table.bytes_of(e)));
        } else {
            // Too little for all: voice first.
            for voice in [true, false] {
                let first = entries().filter(|e| (e.kind == MessageKind::Voice) == voice);
                first.for_each(|entry| writer.put(entry, table.bytes_of(entry)));
            }
        }
        let spent = writer.finish();
        egress.take(spent as u64);
    }
}
