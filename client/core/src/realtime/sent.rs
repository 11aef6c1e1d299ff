//! [`SentSequences`]: where another process continues the sequences of this client's messages.

use std::cmp::Reverse;

use nucleus_protocol::realtime::MessageKind;

use super::message::StreamKey;
use super::sequences::KEYS_PER_SENDER;

/// Bytes of one key in a ticket: kind, channel, key and the next sequence.
const ENTRY: usize = 6;
/// How many numbers are skipped: those of the messages that were sent after the export, for two
/// minutes at 120 Hz. A quarter of all numbers: receivers count the next one as newer if at most as
/// many were sent, and also if none was.
const SKIPPED: u16 = 1 << 14;

/// The messages of one key that this client has sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentStream {
    /// The sequence number of the next message.
    pub(super) next: u16,
    /// How many messages of all keys had been sent when this key was used last.
    pub(super) last_use: u64,
}

/// The next sequence number of each key of this client. Receivers drop a message as old if its
/// number is smaller than that of an earlier one of its key, so a process that continues the
/// session of another one must continue its numbers.
///
/// Holds at most as many keys as a receiver remembers: those that were used last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentSequences(Vec<(StreamKey, u16)>);

impl SentSequences {
    /// Most bytes of [`Self::encode`].
    pub(crate) const MAX_ENCODED: usize = 2 + KEYS_PER_SENDER * ENTRY;

    pub(super) fn of(streams: impl Iterator<Item = (StreamKey, SentStream)>) -> Self {
        let mut streams: Vec<_> = streams.collect();
        if streams.len() > KEYS_PER_SENDER {
            let last_use = |(_, stream): &(StreamKey, SentStream)| Reverse(stream.last_use);
            streams.select_nth_unstable_by_key(KEYS_PER_SENDER, last_use);
            streams.truncate(KEYS_PER_SENDER);
        }
        Self(streams.into_iter().map(|(key, stream)| (key, stream.next)).collect())
    }

    /// Iterates over each key with the number at which the other process begins.
    pub(super) fn continued(&self) -> impl Iterator<Item = (StreamKey, u16)> {
        self.0.iter().map(|(key, next)| (*key, next.wrapping_add(SKIPPED)))
    }

    /// Appends the number of keys and the keys.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend((self.0.len() as u16).to_le_bytes());
        for (StreamKey { kind, channel, key }, next) in &self.0 {
            out.extend([*kind as u8, *channel]);
            out.extend([key.to_le_bytes(), next.to_le_bytes()].concat());
        }
    }

    /// Reads what [`Self::encode`] has written, and returns the bytes after it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (count, rest) = bytes.split_first_chunk()?;
        let count = usize::from(u16::from_le_bytes(*count));
        let (entries, rest) = rest.split_at_checked(count * ENTRY)?;
        let (entries, _) = entries.as_chunks::<ENTRY>();
        let entry = |[kind, channel, k0, k1, n0, n1]: &[u8; ENTRY]| {
            let kind = MessageKind::ALL.into_iter().find(|known| *known as u8 == *kind)?;
            let key = StreamKey { kind, channel: *channel, key: u16::from_le_bytes([*k0, *k1]) };
            Some((key, u16::from_le_bytes([*n0, *n1])))
        };
        let entries: Option<Vec<_>> = entries.iter().map(entry).collect();
        Some((Self(entries.filter(|entries| entries.len() <= KEYS_PER_SENDER)?), rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: MessageKind, key: u16) -> StreamKey {
        StreamKey { kind, channel: 3, key }
    }

    #[test]
    fn the_keys_that_were_used_last_stay() {
        let stream = |number: u16| {
            let stream = SentStream { next: number, last_use: (number % 500).into() };
            (key(MessageKind::Unreliable, number), stream)
        };
        let sent = SentSequences::of((0..1_000).map(stream));
        assert_eq!(sent.0.len(), KEYS_PER_SENDER);
        assert!(sent.0.iter().all(|(key, next)| key.key % 500 >= 372 && *next == key.key));
        let mut bytes = Vec::new();
        sent.encode(&mut bytes);
        assert_eq!(bytes.len(), SentSequences::MAX_ENCODED);
        let decoded = SentSequences::decode(&[&bytes[..], b"rest"].concat()).map(|(sent, _)| sent);
        assert_eq!(decoded, Some(sent));
        for len in 0..bytes.len() {
            assert_eq!(SentSequences::decode(&bytes[..len]), None);
        }
        bytes[2] = 9;
        assert_eq!(SentSequences::decode(&bytes), None, "there is no such kind");
        let too_many = [(KEYS_PER_SENDER as u16 + 1).to_le_bytes().to_vec(), vec![1; 6 * 257]];
        assert_eq!(SentSequences::decode(&too_many.concat()), None);
    }

    /// A receiver counts the first number of the other process as newer, however many messages were
    /// sent after the export.
    #[test]
    fn the_other_process_is_ahead_of_what_was_sent_after_the_export() {
        let next = u16::MAX - 7;
        let sent = SentSequences(vec![(key(MessageKind::Pose, 0), next)]);
        let (_, first) = sent.continued().next().unwrap();
        for sent_after in [0, 1, SKIPPED - 1, SKIPPED] {
            let newest = next.wrapping_add(sent_after).wrapping_sub(1);
            assert!(first.wrapping_sub(newest) as i16 > 0, "{sent_after}");
        }
    }
}
