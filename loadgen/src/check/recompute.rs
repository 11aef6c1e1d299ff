//! Verifies messages without a log of what was sent: computes each payload again and compares it.

use std::collections::HashMap;

use nucleus_protocol::realtime::Message;

use super::sent_log::{is_genuine_whenever_due, matches};
use crate::load::channel::{Channel, DueMessage};
use crate::load::payload::Source;

/// The number of the headset, inside its room, that sends with each slot.
pub(crate) type SenderSlots = HashMap<u16, u32>;

/// How many messages of a sender and channel are remembered. A thousand late joiners receive the
/// same message within a tick, and its payload is then computed once.
const REMEMBERED: usize = 64;

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageVerdict {
    /// The headset with this slot sent exactly these bytes.
    Genuine(Channel),
    /// The headset with this slot did not send these bytes.
    Corrupt,
    /// No headset has this slot.
    Misrouted,
}

/// Verifies the messages of one room's headsets. Sequence numbers have 16 bits and are taken as
/// numbers, so this is for runs of at most half an hour at 30 messages a second.
#[derive(Debug)]
pub(crate) struct Recomputer {
    seed: u64,
    room: u32,
    remembered: HashMap<(u32, u8), Vec<Option<RecomputedMessage>>>,
}

#[derive(Clone, Debug)]
struct RecomputedMessage {
    number: u64,
    payload: Vec<u8>,
}

impl Recomputer {
    pub(crate) fn new(seed: u64, room: u32) -> Self {
        Recomputer { seed, room, remembered: HashMap::new() }
    }

    /// Verifies a message that arrived at a receiver which knows these slots.
    pub(crate) fn verify(
        &mut self,
        senders: &SenderSlots,
        message: &Message<'_>,
    ) -> MessageVerdict {
        let Some(sender) = senders.get(&message.peer).copied() else {
            return MessageVerdict::Misrouted;
        };
        let Some(channel) = Channel::of(message.kind) else { return MessageVerdict::Corrupt };
        let source = Source { seed: self.seed, room: self.room, sender };
        let number = u64::from(message.sequence);
        let due = DueMessage { channel, number, scheduled: 0, first: false };
        let is_genuine = matches(source, &due, self.payload(source, &due), message)
            // The first voice packet of a turn has another payload.
            || is_genuine_whenever_due(source, channel, number, message);
        if is_genuine { MessageVerdict::Genuine(channel) } else { MessageVerdict::Corrupt }
    }

    fn payload(&mut self, source: Source, due: &DueMessage) -> &[u8] {
        let key = (source.sender, due.channel as u8);
        let messages = self.remembered.entry(key).or_insert_with(|| vec![None; REMEMBERED]);
        let place = &mut messages[due.number as usize % REMEMBERED];
        let is_other = place.as_ref().is_none_or(|message| message.number != due.number);
        if is_other {
            let mut payload = Vec::new();
            due.payload(source, &mut payload);
            *place = Some(RecomputedMessage { number: due.number, payload });
        }
        place.as_ref().map_or(&[], |message| &message.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_each_headset_of_the_room_sent() {
        let mut recomputer = Recomputer::new(1, 0);
        let senders: SenderSlots = [(7, 0), (9, 1)].into();
        let source = |room, sender| Source { seed: 1, room, sender };
        for (channel, number, first) in [
            (Channel::Pose, 5, false),
            (Channel::Pose, 5 + REMEMBERED as u64, false),
            (Channel::Pose, 5, false),
            (Channel::Voice, 5, true),
            (Channel::Voice, 6, false),
        ] {
            let due = DueMessage { channel, number, scheduled: 1, first };
            let mut payload = Vec::new();
            due.payload(source(0, 1), &mut payload);
            let message = |peer| Message { peer, ..due.message(source(0, 1), None, &payload) };
            let mut verify = |message| recomputer.verify(&senders, &message);
            assert_eq!(verify(message(9)), MessageVerdict::Genuine(channel));
            assert_eq!(verify(message(7)), MessageVerdict::Corrupt, "another headset's slot");
            assert_eq!(verify(message(8)), MessageVerdict::Misrouted, "nobody's slot");
            let other = Message { sequence: 4, ..message(9) };
            assert_eq!(verify(other), MessageVerdict::Corrupt, "another number");
            let mut elsewhere = Vec::new();
            due.payload(source(3, 1), &mut elsewhere);
            let elsewhere = Message { payload: &elsewhere, ..message(9) };
            assert_eq!(verify(elsewhere), MessageVerdict::Corrupt, "another room's");
            assert_eq!(verify(Message { key: 3, ..message(9) }), MessageVerdict::Corrupt);
        }
    }
}
