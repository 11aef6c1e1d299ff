//! The log of the messages that a sender sent lately, to compare them with the messages that
//! arrive.

use nucleus_protocol::realtime::Message;

use super::sequence;
use crate::load::channel::{Channel, DueMessage};
use crate::load::payload::{Source, VOICE_BYTES};

/// How many messages are logged with their payload. In a room of 300, a payload is compared 299
/// times, and computing it again each time would be slow. The log holds the messages of more than a
/// second, so that a generator that is late does not have to compute payloads and fall further
/// behind.
const PAYLOADS: usize = 64;
/// Bytes of the largest payload, which is voice, rounded up.
const PAYLOAD_BYTES: usize = 80;

const _: () = assert!(VOICE_BYTES <= PAYLOAD_BYTES);

/// The last messages that a sender sent on a channel.
#[derive(Clone, Debug)]
pub(crate) struct SentLog {
    /// When each message was due: twice the time in µs, plus one for the first message of a turn.
    /// The length is a power of two.
    times: Vec<u64>,
    next: u64,
    /// The newest messages with their payload, by number.
    newest: Vec<SentMessage>,
}

/// What a log knows of a message that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentLookup {
    /// Every byte is as the sender sent it.
    Sent(DueMessage),
    /// Every byte is as the sender sent it, but so long ago that the log no longer knows when the
    /// message was due.
    Forgotten,
    /// The sender did not send exactly these bytes.
    NotSent,
}

/// A message as it was sent. The alignment makes comparing a pose touch one cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct SentMessage {
    due: DueMessage,
    len: u8,
    payload: [u8; PAYLOAD_BYTES],
}

impl SentLog {
    /// Creates a log of the last `seconds` at `hz` messages a second, at least 256 messages.
    pub(crate) fn new(hz: f64, seconds: f64) -> Self {
        let len = ((hz * seconds) as usize).next_power_of_two().max(256);
        SentLog { times: vec![0; len], next: 0, newest: Vec::new() }
    }

    fn index(&self, number: u64) -> usize {
        number as usize & (self.times.len() - 1)
    }

    /// Logs a message. Its number must be that of the previous message plus one.
    pub(crate) fn record(&mut self, due: &DueMessage, payload: &[u8]) {
        let index = self.index(due.number);
        self.times[index] = due.scheduled << 1 | u64::from(due.first);
        self.next = due.number + 1;
        let sent = SentMessage::new(due, payload);
        match self.newest.get_mut(due.number as usize % PAYLOADS) {
            Some(index) => *index = sent,
            None => self.newest.push(sent),
        }
    }

    /// Compares every byte of `message` with what `source` sent. Does not check the sender's slot.
    pub(crate) fn find(
        &self,
        source: Source,
        channel: Channel,
        message: &Message<'_>,
    ) -> SentLookup {
        let sequence = message.sequence;
        let sent = self.newest.get(usize::from(sequence) % PAYLOADS);
        if let Some(sent) = sent.filter(|sent| sent.due.number as u16 == sequence) {
            let is_sent = matches(source, &sent.due, sent.payload(), message);
            return if is_sent { SentLookup::Sent(sent.due) } else { SentLookup::NotSent };
        }
        let number = self.newest_number().and_then(|newest| sequence::unwrap(newest, sequence));
        let Some(number) = number else { return SentLookup::NotSent };
        match self.due(channel, number) {
            Some(due) if is_genuine(source, &due, message) => SentLookup::Sent(due),
            None if is_genuine_whenever_due(source, channel, number, message) => {
                SentLookup::Forgotten
            }
            _ => SentLookup::NotSent,
        }
    }

    /// Returns the newest message; `None` before the first.
    pub(crate) fn newest(&self, channel: Channel) -> Option<DueMessage> {
        self.due(channel, self.newest_number()?)
    }

    fn newest_number(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Returns the message with this number, which has been sent; `None` if it is no longer in the
    /// log.
    fn due(&self, channel: Channel, number: u64) -> Option<DueMessage> {
        (self.next - number <= self.times.len() as u64).then_some(())?;
        let entry = self.times[self.index(number)];
        Some(DueMessage { channel, number, scheduled: entry >> 1, first: entry & 1 != 0 })
    }
}

impl SentMessage {
    fn new(due: &DueMessage, payload: &[u8]) -> Self {
        let mut sent =
            SentMessage { due: *due, len: payload.len() as u8, payload: [0; PAYLOAD_BYTES] };
        sent.payload[..payload.len()].copy_from_slice(payload);
        sent
    }

    fn payload(&self) -> &[u8] {
        &self.payload[..self.len.into()]
    }
}

/// Returns whether `message` is message `number` of `source`, whenever that was due. Computes the
/// payload again.
pub(crate) fn is_genuine_whenever_due(
    source: Source,
    channel: Channel,
    number: u64,
    message: &Message<'_>,
) -> bool {
    [false, true].into_iter().any(|first| {
        let due = DueMessage { channel, number, scheduled: 0, first };
        is_genuine(source, &due, message)
    })
}

fn is_genuine(source: Source, due: &DueMessage, message: &Message<'_>) -> bool {
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
    due.payload(source, &mut payload);
    matches(source, due, &payload, message)
}

/// Returns whether `message` is this one, with this payload.
pub(crate) fn matches(
    source: Source,
    due: &DueMessage,
    payload: &[u8],
    message: &Message<'_>,
) -> bool {
    // The server sets the capture time.
    Message { peer: message.peer, ..due.message(source, None, payload) }
        == Message { time: None, ..*message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source { seed: 3, room: 1, sender: 2 };

    fn due(number: u64) -> DueMessage {
        let first = number.is_multiple_of(3);
        DueMessage { channel: Channel::Voice, number, scheduled: 50 * number, first }
    }

    fn payload(due: &DueMessage) -> Vec<u8> {
        let mut payload = Vec::new();
        due.payload(SOURCE, &mut payload);
        payload
    }

    fn look_up(log: &SentLog, due: &DueMessage, payload: &[u8]) -> SentLookup {
        log.find(SOURCE, due.channel, &due.message(SOURCE, None, payload))
    }

    #[test]
    fn knows_what_was_sent_in_the_last_seconds() {
        let mut log = SentLog::new(30.0, 4.0);
        assert_eq!(look_up(&log, &due(0), &payload(&due(0))), SentLookup::NotSent);
        for number in 0..70_000 {
            log.record(&due(number), &payload(&due(number)));
        }
        for number in 70_000 - 256..70_000 {
            let due = due(number);
            assert_eq!(look_up(&log, &due, &payload(&due)), SentLookup::Sent(due));
        }
        for number in [70_000 - 257, 70_000 - 60_000] {
            let forgotten = due(number);
            let mut payload = payload(&forgotten);
            assert_eq!(look_up(&log, &forgotten, &payload), SentLookup::Forgotten);
            payload[20] ^= 1;
            assert_eq!(look_up(&log, &forgotten, &payload), SentLookup::NotSent, "other bytes");
        }
        let never = due(70_000);
        assert_eq!(look_up(&log, &never, &payload(&never)), SentLookup::NotSent);
    }

    #[test]
    fn every_byte_counts_whether_it_is_kept_or_worked_out_again() {
        let mut log = SentLog::new(30.0, 4.0);
        for number in 0..200 {
            log.record(&due(number), &payload(&due(number)));
        }
        for number in [0, 100, 135, 136, 199] {
            let due = due(number);
            let good = payload(&due);
            for index in 0..good.len() {
                let mut bad = good.clone();
                bad[index] ^= 1;
                assert_eq!(look_up(&log, &due, &bad), SentLookup::NotSent);
            }
            assert_eq!(look_up(&log, &due, &good[1..]), SentLookup::NotSent);
            assert_eq!(look_up(&log, &due, &good), SentLookup::Sent(due));
        }
    }
}
