//! The messages of a room between two flushes, encoded once in the form in which they are sent.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::realtime::{
    Message, MessageKind, TARGET_OTHERS, TARGET_RESERVED, group_of_target,
};
use nucleus_protocol::time::Time;

use crate::limits;

/// Encoded messages, each with its sender and its target.
#[derive(Default)]
pub(super) struct FrameTable {
    entries: Vec<FrameEntry>,
    bytes: Vec<u8>,
}

/// A message in the table.
pub(super) struct FrameEntry {
    /// The sender's slot.
    from: u16,
    /// A slot or another target, as on the wire.
    to: u16,
    pub(super) kind: MessageKind,
    pub(super) arrived: Time,
    start: u32,
    end: u32,
}

impl FrameEntry {
    /// Returns true if the message is for the peer with this slot and these groups. The groups are
    /// examined only for a message to a group.
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
    /// Adds a message. Returns false if its target is invalid or the table is full.
    ///
    /// Relays the capture time that the sender claims, if it lies before the arrival; without a
    /// claim the arrival counts.
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
        let age = message.time.map_or(0, |time| arrived.capture_age(time));
        let captured = arrived.as_wire_millis().wrapping_sub(age);
        let start = self.bytes.len() as u32;
        message.encode_relayed(from, captured, &mut self.bytes);
        let end = self.bytes.len() as u32;
        self.entries.push(FrameEntry { from, to, kind: message.kind, arrived, start, end });
        true
    }

    /// Returns true if the table is half full and should be flushed early.
    pub(super) fn is_filling_up(&self) -> bool {
        self.bytes.len() > limits::FRAME_TABLE_BYTES / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of messages.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Returns the messages for the peer with this slot and these groups, in order of arrival.
    pub(super) fn entries_for<'a>(
        &'a self,
        slot: u16,
        groups: &'a GroupSet,
    ) -> impl Iterator<Item = &'a FrameEntry> {
        self.entries.iter().filter(move |entry| entry.is_for(slot, groups))
    }

    /// Returns when each message arrived.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = Time> {
        self.entries.iter().map(|entry| entry.arrived)
    }

    /// Returns the encoded message.
    pub(super) fn bytes_of(&self, entry: &FrameEntry) -> &[u8] {
        &self.bytes[entry.start as usize..entry.end as usize]
    }
}

fn is_in(groups: &GroupSet, target: u16) -> bool {
    group_of_target(target).is_some_and(|group| groups.contains(group))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nucleus_protocol::realtime::frame::{NEWEST_WINS, RING};
    use nucleus_protocol::realtime::{Frame, Frames};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Relays a message that arrives at `arrived` with this capture time. Returns the relayed
    /// flags and capture time.
    fn relay(arrived: Time, time: Option<u16>, flags: u8) -> (u8, Option<u16>) {
        let mut table = FrameTable::default();
        let message = Message {
            kind: MessageKind::Pose,
            flags,
            peer: TARGET_OTHERS,
            channel: 0,
            key: 0,
            sequence: 1,
            time,
            payload: &[0; 15],
        };
        assert!(table.push(arrived, 7, &message));
        let entry = &table.entries[0];
        let Some(Ok(Frame::Message(relayed))) = Frames::new(table.bytes_of(entry)).next() else {
            panic!("no message");
        };
        assert_eq!((relayed.peer, relayed.payload), (7, &[0; 15][..]));
        (relayed.flags, relayed.time)
    }

    #[test]
    fn a_capture_time_is_clamped_to_the_second_before_the_arrival() {
        // Also where the field wraps.
        for arrived in [Time::from_millis(70_000), Time::from_millis(65_536 + 500)] {
            let at = |time: Time| Some(time.as_wire_millis());
            let relayed = |time| relay(arrived, time, NEWEST_WINS);
            let now = at(arrived);
            assert_eq!(relayed(None), (NEWEST_WINS, now), "without a claim");
            for age in [0, 1, 400, 999, 1_000] {
                let captured = at(arrived - age * MS);
                assert_eq!(relayed(captured), (NEWEST_WINS, captured), "{age} ms old");
            }
            for ahead in [1, 50, 4_000] {
                let captured = at(arrived + ahead * MS);
                assert_eq!(relayed(captured), (NEWEST_WINS, now), "{ahead} ms ahead");
            }
        }
    }

    #[test]
    fn a_client_cannot_set_the_flags_of_the_server() {
        let (flags, _) = relay(Time::from_millis(70_000), None, NEWEST_WINS | RING | 0xe0);
        assert_eq!(flags, NEWEST_WINS);
    }
}
