//! A room's half on the shard: who is on it, and what flows to whom in the next tick.
//!
//! Messages are encoded once, as their recipients will see them, into one table a room, and copied
//! into each recipient's datagrams at the flush: a datagram costs the kernel microseconds whatever
//! it holds, copying a message is nothing beside that.

use nucleus_protocol::limits::{HEADER, MAX_BODY, TAG};
use nucleus_protocol::link::{Link, Route, Withheld};
use nucleus_protocol::realtime::{Kind, Message, TARGET_OTHERS, TARGET_RESERVED};
use nucleus_protocol::time::Time;

use super::{LinkEntry, Outbox, PeerId, RoomId, ShardCounters};
use crate::limits;

/// A peer on the stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) slot: u16,
    pub(super) peer: PeerId,
    pub(super) link: u32,
}

/// A message in the table.
struct Entry {
    from: u16,
    to: u16,
    kind: Kind,
    arrived: Time,
    start: u32,
    end: u32,
}

pub(super) struct Stage {
    pub(super) room: RoomId,
    members: Vec<Member>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    dirty: bool,
}

impl Stage {
    pub(super) fn new(room: RoomId) -> Self {
        Self { room, members: Vec::new(), entries: Vec::new(), bytes: Vec::new(), dirty: false }
    }

    /// Becomes the stage of another room. It may still stand in the list of dirty ones.
    pub(super) fn reset(&mut self, room: RoomId) {
        self.room = room;
        self.clear();
    }

    pub(super) fn add(&mut self, member: Member) {
        self.members.push(member);
    }

    pub(super) fn remove(&mut self, peer: PeerId) -> Option<Member> {
        let at = self.members.iter().position(|m| m.peer == peer)?;
        Some(self.members.swap_remove(at))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes a message; false when it has no valid target or there is no room for it.
    pub(super) fn push(&mut self, now: Time, from: u16, message: &Message<'_>) -> bool {
        let to = message.peer;
        let valid = to == TARGET_OTHERS || (to < TARGET_RESERVED && to != from);
        if !valid || self.bytes.len() + message.encoded_len() > limits::TABLE_BYTES {
            return false;
        }
        let start = self.bytes.len() as u32;
        message.encode_from(from, &mut self.bytes);
        let end = self.bytes.len() as u32;
        self.entries.push(Entry { from, to, kind: message.kind, arrived: now, start, end });
        true
    }

    /// Whether it has just become dirty.
    pub(super) fn mark_dirty(&mut self) -> bool {
        let new = !self.dirty && !self.entries.is_empty();
        self.dirty |= new;
        new
    }

    /// Sends what is in the table to everyone it is for, and empties it.
    pub(super) fn flush(
        &mut self,
        now: Time,
        links: &mut [Option<LinkEntry>],
        outbox: &mut Outbox,
        counters: &mut ShardCounters,
    ) {
        self.dirty = false;
        for member in &self.members {
            if let Some(recipient) = links[member.link as usize].as_mut() {
                self.flush_to(now, recipient, outbox, counters);
            }
        }
        self.clear();
    }

    fn flush_to(
        &self,
        now: Time,
        recipient: &mut LinkEntry,
        outbox: &mut Outbox,
        counters: &mut ShardCounters,
    ) {
        let slot = recipient.member.slot;
        let mine = || self.entries.iter().filter(|e| e.is_for(slot));
        let wanted: usize = mine().map(Entry::len).sum();
        if wanted == 0 {
            return;
        }
        let Some((route, allowed)) = recipient.link.route() else {
            // Nothing has come from this peer yet: there is nowhere to send to.
            for entry in mine() {
                recipient.link.count_withheld(entry.kind, Withheld::Dropped, 1);
                counters.dropped += 1;
            }
            return;
        };
        let budget = (recipient.egress.available(now) as usize).min(allowed);
        let to = (self.room, recipient.member.peer);
        let link = &mut recipient.link;
        let mut writer = Writer::new(now, (to, route), link, outbox, counters, budget);
        if writer.fits(wanted) {
            mine().for_each(|entry| writer.put(entry, &self.bytes));
        } else {
            // Too little for all: voice first.
            mine().filter(|e| e.kind == Kind::Voice).for_each(|e| writer.put(e, &self.bytes));
            mine().filter(|e| e.kind != Kind::Voice).for_each(|e| writer.put(e, &self.bytes));
        }
        let spent = writer.finish();
        recipient.egress.take(spent as u64);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }
}

impl Entry {
    fn is_for(&self, slot: u16) -> bool {
        self.from != slot && (self.to == TARGET_OTHERS || self.to == slot)
    }

    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Fills one recipient's datagrams. Several on the realtime port become one transmit of equal
/// segments (GSO), so all but the last are padded to the full size inside the seal; inside QUIC each
/// stands alone.
struct Writer<'a> {
    now: Time,
    to: (RoomId, PeerId),
    route: Route,
    link: &'a mut Link,
    outbox: &'a mut Outbox,
    counters: &'a mut ShardCounters,
    budget: usize,
    first: usize,
    open: Option<usize>,
    datagrams: u64,
}

/// Bytes around the messages of a datagram: header, tag, and the link's own frames in front.
const OVERHEAD: usize = HEADER + TAG + 128;

impl<'a> Writer<'a> {
    fn new(
        now: Time,
        (to, route): ((RoomId, PeerId), Route),
        link: &'a mut Link,
        outbox: &'a mut Outbox,
        counters: &'a mut ShardCounters,
        budget: usize,
    ) -> Self {
        let (first, open) = (outbox.bytes.len(), None);
        Self { now, to, route, link, outbox, counters, budget, first, open, datagrams: 0 }
    }

    fn spent(&self) -> usize {
        self.outbox.bytes.len() - self.first
    }

    fn fits(&self, messages: usize) -> bool {
        let datagrams = 1 + messages / (MAX_BODY - 256);
        self.spent() + messages + datagrams * OVERHEAD <= self.budget
    }

    fn put(&mut self, entry: &Entry, table: &[u8]) {
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
        let frame = &table[entry.start as usize..entry.end as usize];
        self.outbox.bytes.extend_from_slice(frame);
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

    fn finish(mut self) -> usize {
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
