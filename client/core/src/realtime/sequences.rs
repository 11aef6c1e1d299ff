//! The sequence numbers that were received from one peer: finds duplicates, and messages that are
//! older than one that replaced them.

use std::time::Duration;

use nucleus_protocol::time::Time;

use super::message::{MessageView, StreamKey};
use super::recent::RecentMap;
use crate::roster::PeerId;

/// Smallest number of keys of one sender whose newest sequence is kept. A user moves fewer objects
/// than this within [`KEY_MEMORY`].
pub(super) const KEYS_PER_SENDER: usize = 256;
/// How long the newest sequence of a key is compared with later messages. The server relays no
/// message that is as old as this, so none can still arrive late. The limit is for a sender whose
/// messages were not relayed for minutes: its sequence may have wrapped meanwhile, and without the
/// limit its next messages would be dropped as old.
const KEY_MEMORY: Duration = Duration::from_secs(5);

/// The newest sequence numbers that were received from one peer, by key.
pub(super) struct SenderHistory {
    pub(super) peer: PeerId,
    newest: RecentMap<StreamKey, Option<NewestSequence>>,
}

#[derive(Clone, Copy)]
struct NewestSequence {
    sequence: u16,
    at: Time,
    /// One bit for each of the 64 sequence numbers up to `sequence`, set if the number was
    /// received. The lowest bit stands for `sequence`.
    received: u64,
}

impl SenderHistory {
    pub(super) fn new(peer: PeerId) -> Self {
        Self { peer, newest: RecentMap::new(KEYS_PER_SENDER) }
    }

    /// Returns whether the message is to be delivered: it is no duplicate, and, with `newest_wins`,
    /// not older than the newest message of its key.
    pub(super) fn is_fresh(
        &mut self,
        now: Time,
        newest_wins: bool,
        message: &MessageView<'_>,
    ) -> bool {
        let slot = self.newest.get_or(message.stream(), || None);
        let first = NewestSequence { sequence: message.sequence, at: now, received: 1 };
        let Some(newest) = slot.as_mut().filter(|n| now.since(n.at) < KEY_MEMORY) else {
            *slot = Some(first);
            return true;
        };
        // Serial number arithmetic, RFC 1982: half of the numbers are ahead, half are behind.
        let ahead = message.sequence.wrapping_sub(newest.sequence) as i16;
        if ahead > 0 {
            let shifted = newest.received.checked_shl(ahead.unsigned_abs().into()).unwrap_or(0);
            *newest = NewestSequence { received: shifted | 1, ..first };
            return true;
        }
        // Messages more than 63 numbers behind are too late to be useful and count as duplicates.
        let Some(bit) = 1u64.checked_shl(ahead.unsigned_abs().into()) else { return false };
        let repeated = newest.received & bit != 0;
        newest.received |= bit;
        !newest_wins && !repeated
    }
}
