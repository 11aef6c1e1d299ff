//! [`SentSequences`]: where another process continues the sequences of this client's messages.

use nucleus_protocol::realtime::MessageKind;

use super::message::StreamKey;
use super::sequences::KEYS_PER_SENDER;

/// Bytes of one key on the wire: kind, channel, key and the next sequence.
const ENTRY: usize = 6;
/// How many numbers are skipped: those of the messages that were sent after the export, at 72 Hz for
/// nearly four minutes. It is a quarter of all numbers, so the receivers still count the next one as
/// newer if nothing was sent.
const SKIPPED: u16 = 1 << 14;

/// The next sequence number of each key of this client. Receivers drop a message as old if its
/// number is smaller than that of an earlier one of its key, so a process that continues the
/// session of another one must continue its numbers.
///
/// At most as many keys as a receiver remembers; poses and voice are kept first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentSequences(Vec<(StreamKey, u16)>);

impl SentSequences {
    /// Most bytes of [`Self::encode`].
    pub(crate) const MAX_ENCODED: usize = 2 + KEYS_PER_SENDER * ENTRY;

    pub(super) fn of(next: impl Iterator<Item = (StreamKey, u16)>) -> Self {
        let mut next: Vec<_> = next.collect();
        next.sort_unstable_by_key(|(key, _)| (key.kind as u8, key.channel, key.key));
        next.truncate(KEYS_PER_SENDER);
        Self(next)
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
    fn poses_and_voice_stay_when_there_are_too_many_keys() {
        let objects = (0..1_000).map(|number| (key(MessageKind::Unreliable, number), number));
        let own = [(key(MessageKind::Voice, 0), 7), (key(MessageKind::Pose, 0), u16::MAX)];
        let sent = SentSequences::of(objects.chain(own));
        assert_eq!(sent.0.len(), KEYS_PER_SENDER);
        let begin: Vec<_> = sent.continued().take(3).map(|(_, number)| number).collect();
        assert_eq!(begin, [SKIPPED - 1, SKIPPED + 7, SKIPPED]);
        let mut bytes = Vec::new();
        sent.encode(&mut bytes);
        assert_eq!(
            SentSequences::decode(&[&bytes[..], b"rest"].concat()),
            Some((sent, &b"rest"[..]))
        );
        for len in 0..bytes.len() {
            assert_eq!(SentSequences::decode(&bytes[..len]), None);
        }
        bytes[2] = 9;
        assert_eq!(SentSequences::decode(&bytes), None, "there is no such kind");
        let too_many = [(KEYS_PER_SENDER as u16 + 1).to_le_bytes().to_vec(), vec![1; 6 * 257]];
        assert_eq!(SentSequences::decode(&too_many.concat()), None);
    }
}
