//! Assembles messages of the bulk lane from their pieces. Reads no clock and does no I/O.
//!
//! The pieces of one sender arrive in order; the pieces of several senders interleave. A message
//! whose first piece is missing is dropped: that piece was sent before this client joined, or was
//! lost with a session.

use std::collections::HashMap;

use nucleus_protocol::limits::MAX_BULK_MESSAGE;
use nucleus_protocol::session::{EventDown, PIECE_CONTINUES, PIECE_MORE};

use crate::event::RoomEvent;
use crate::roster::PeerId;

/// Senders with an incomplete message, together at most 4 MiB. Beyond the limit, the message that
/// started first is dropped: its sender has most likely left in the middle of it.
const MAX_INCOMPLETE: usize = 64;

/// The incomplete messages of all senders.
#[derive(Default)]
pub struct BulkAssembly {
    incomplete: HashMap<PeerId, IncompleteMessage>,
    /// Number of messages started so far.
    started: u64,
    dropped: u64,
}

struct IncompleteMessage {
    /// Position of this message in the order of all started messages.
    number: u64,
    /// Sequence of the first piece.
    first: u64,
    payload: Vec<u8>,
}

impl BulkAssembly {
    /// Adds a piece. Returns the message if the piece completes it.
    pub fn take(&mut self, piece: EventDown) -> Option<RoomEvent> {
        let from = PeerId(piece.peer);
        let last = piece.piece & PIECE_MORE == 0;
        let previous = self.incomplete.remove(&from);
        let mut message = if piece.piece & PIECE_CONTINUES == 0 {
            // The sender started a new message without finishing the previous one. Senders that use
            // this crate never do that.
            self.dropped += u64::from(previous.is_some());
            self.started += 1;
            IncompleteMessage { number: self.started, first: piece.sequence, payload: Vec::new() }
        } else {
            let Some(previous) = previous else {
                self.dropped += u64::from(last);
                return None;
            };
            previous
        };
        if message.payload.len() + piece.payload.len() > MAX_BULK_MESSAGE {
            // Drop the message. Its following pieces are dropped too, because the first piece is
            // missing. The last piece counts the dropped message.
            self.dropped += u64::from(last);
            return None;
        }
        message.payload.extend(piece.payload);
        if last {
            return Some(RoomEvent::Bulk {
                from,
                channel: piece.channel,
                payload: message.payload,
            });
        }
        self.insert(from, message);
        None
    }

    fn insert(&mut self, from: PeerId, message: IncompleteMessage) {
        if self.incomplete.len() >= MAX_INCOMPLETE
            && let Some((oldest, _)) = self.incomplete.iter().min_by_key(|(_, m)| m.number)
        {
            let oldest = *oldest;
            self.incomplete.remove(&oldest);
        }
        self.incomplete.insert(from, message);
    }

    /// Returns whether a message is incomplete whose first piece has this sequence or a smaller one.
    pub fn has_begun_by(&self, sequence: u64) -> bool {
        self.incomplete.values().any(|message| message.first <= sequence)
    }

    /// Forgets all incomplete messages: pieces were lost, or peer ids now mean other peers.
    pub fn clear(&mut self) {
        self.incomplete.clear();
    }

    /// Returns how many messages could not be assembled.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: u8 = PIECE_MORE | PIECE_CONTINUES;

    fn piece(peer: u32, piece: u8, payload: &[u8]) -> EventDown {
        let payload = payload.to_vec();
        EventDown { peer, roster_version: 1, sequence: 1, channel: 3, piece, payload }
    }

    fn message(from: u32, payload: &[u8]) -> Option<RoomEvent> {
        Some(RoomEvent::Bulk { from: PeerId(from), channel: 3, payload: payload.to_vec() })
    }

    #[test]
    fn pieces_of_several_senders_interleave() {
        let mut assembly = BulkAssembly::default();
        assert_eq!(assembly.take(piece(1, PIECE_MORE, b"a")), None);
        assert_eq!(assembly.take(piece(2, PIECE_MORE, b"x")), None);
        assert_eq!(assembly.take(piece(1, BOTH, b"b")), None);
        assert_eq!(assembly.take(piece(2, PIECE_CONTINUES, b"y")), message(2, b"xy"));
        assert_eq!(assembly.take(piece(3, 0, b"whole")), message(3, b"whole"));
        assert_eq!(assembly.take(piece(1, PIECE_CONTINUES, b"c")), message(1, b"abc"));
        assert_eq!((assembly.dropped(), assembly.incomplete.len()), (0, 0));
    }

    #[test]
    fn a_message_without_its_beginning_is_dropped_and_counted_once() {
        let mut assembly = BulkAssembly::default();
        assert_eq!(assembly.take(piece(1, BOTH, b"b")), None);
        assert_eq!(assembly.take(piece(1, PIECE_CONTINUES, b"c")), None);
        assert_eq!(assembly.take(piece(1, 0, b"next")), message(1, b"next"));
        // Pieces before a loss are not joined with pieces after it.
        assembly.take(piece(2, PIECE_MORE, b"a"));
        assembly.clear();
        assert_eq!(assembly.take(piece(2, PIECE_CONTINUES, b"c")), None);
        assert_eq!(assembly.dropped(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut assembly = BulkAssembly::default();
        let full = vec![0; MAX_BULK_MESSAGE / 4];
        let mut send = |kind| assembly.take(piece(1, kind, &full));
        assert_eq!([PIECE_MORE, BOTH, BOTH, BOTH, BOTH].map(&mut send), [const { None }; 5]);
        assert_eq!(send(PIECE_CONTINUES), None);
        assert_eq!(
            (assembly.dropped(), assembly.incomplete.len()),
            (1, 0),
            "the message is one byte too long"
        );
        for peer in 0..2 * MAX_INCOMPLETE as u32 {
            assembly.take(piece(peer, PIECE_MORE, b"a"));
        }
        assert_eq!(assembly.incomplete.len(), MAX_INCOMPLETE);
        assert_eq!(
            assembly.take(piece(0, PIECE_CONTINUES, b"b")),
            None,
            "the oldest message was dropped"
        );
        let newest = 2 * MAX_INCOMPLETE as u32 - 1;
        assert_eq!(assembly.take(piece(newest, PIECE_CONTINUES, b"b")), message(newest, b"ab"));
    }
}
