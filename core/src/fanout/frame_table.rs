//! The messages of a room between two flushes: encoded once, as their recipients will see them.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::realtime::{
    Message, MessageKind, TARGET_OTHERS, TARGET_RESERVED, group_of_target,
};
use nucleus_protocol::time::Time;

use crate::limits;

/// Messages, each with whom it is from and for.
#[derive(Default)]
pub(super) struct FrameTable {
    entries: Vec<FrameEntry>,
    bytes: Vec<u8>,
}

/// A message in the table.
pub(super) struct FrameEntry {
    from: u16,
    to: u16,
    pub(super) kind: MessageKind,
    pub(super) arrived: Time,
    start: u32,
    end: u32,
}

impl FrameEntry {
    /// The groups are looked at for a message to one alone.
    fn is_for(&self, slot: u16, groups: &GroupSet) -> bool {
        self.from != slot
            && (self.to == TARGET_OTHERS
                || self.to == slot
                || self.to >= TARGET_RESERVED && is_in(groups, self.to))
    }

    pub(super) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

impl FrameTable {
    /// Takes a message; false when it has no valid target or there is no room for it.
    pub(super) fn push(&mut self, arrived: Time, from: u16, message: &Message<'_>) -> bool {
        let to = message.peer;
        let valid = match to {
            TARGET_OTHERS => true,
            TARGET_RESERVED.. => group_of_target(to).is_some(),
            slot => slot != from,
        };
        if !valid || self.bytes.len() + message.encoded_len() > limits::FRAME_TABLE_BYTES {
            return false;
        }
        let start = self.bytes.len() as u32;
        message.encode_from(from, &mut self.bytes);
        let end = self.bytes.len() as u32;
        self.entries.push(FrameEntry { from, to, kind: message.kind, arrived, start, end });
        true
    }

    /// Filled so far that it should not wait for its time.
    pub(super) fn is_filling_up(&self) -> bool {
        self.bytes.len() > limits::FRAME_TABLE_BYTES / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Messages in it.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// The messages for the peer of `slot`, who hears these groups, in the order they came.
    pub(super) fn entries_for<'a>(
        &'a self,
        slot: u16,
        groups: &'a GroupSet,
    ) -> impl Iterator<Item = &'a FrameEntry> {
        self.entries.iter().filter(move |entry| entry.is_for(slot, groups))
    }

    /// A message as it goes on the wire.
    pub(super) fn bytes_of(&self, entry: &FrameEntry) -> &[u8] {
        &self.bytes[entry.start as usize..entry.end as usize]
    }
}

fn is_in(groups: &GroupSet, target: u16) -> bool {
    group_of_target(target).is_some_and(|group| groups.contains(group))
}
