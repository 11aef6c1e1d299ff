//! Messages of the bulk lane, put together from the pieces in which they come. Pure.
//!
//! Pieces of one sender come in order; those of several in any. A message of which the beginning was not
//! heard is dropped: it was sent before this client joined, or lost with its session.

use std::collections::HashMap;

use nucleus_protocol::limits::MAX_BULK_MESSAGE;
use nucleus_protocol::session::{EventDown, PIECE_CONTINUES, PIECE_MORE};

use crate::event::RoomEvent;
use crate::roster::PeerId;

/// Senders of whom a message may be half there, 4 MiB together. A sender may leave in the middle of one,
/// while the rest of what another said is still on its way; so what was begun longest ago goes first.
const OPEN: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Assembly {
    open: HashMap<PeerId, Partial>,
    /// Messages begun.
    begun: u64,
    dropped: u64,
}

struct Partial {
    begun: u64,
    payload: Vec<u8>,
}

impl Assembly {
    /// Takes a piece; the message, when that was its last one.
    pub(super) fn take(&mut self, piece: EventDown) -> Option<RoomEvent> {
        let from = PeerId(piece.peer);
        let last = piece.piece & PIECE_MORE == 0;
        let before = self.open.remove(&from);
        let mut partial = if piece.piece & PIECE_CONTINUES == 0 {
            // One that begins anew has no end of the one before: none of ours does so.
            self.dropped += u64::from(before.is_some());
            self.begun += 1;
            Partial { begun: self.begun, payload: Vec::new() }
        } else {
            let Some(before) = before else {
                self.dropped += u64::from(last);
                return None;
            };
            before
        };
        if partial.payload.len() + piece.payload.len() > MAX_BULK_MESSAGE {
            // What follows of it has no beginning any more, and its last piece counts it.
            self.dropped += u64::from(last);
            return None;
        }
        partial.payload.extend(piece.payload);
        if last {
            return Some(RoomEvent::Bulk {
                from,
                channel: piece.channel,
                payload: partial.payload,
            });
        }
        self.keep(from, partial);
        None
    }

    fn keep(&mut self, from: PeerId, partial: Partial) {
        if self.open.len() >= OPEN
            && let Some(oldest) = self.open.iter().min_by_key(|(_, p)| p.begun).map(|(id, _)| *id)
        {
            self.open.remove(&oldest);
        }
        self.open.insert(from, partial);
    }

    /// Pieces have been lost, or what comes from now on is of other peers.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// Messages that were not put together.
    pub(super) fn dropped(&self) -> u64 {
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
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(piece(1, PIECE_MORE, b"a")), None);
        assert_eq!(assembly.take(piece(2, PIECE_MORE, b"x")), None);
        assert_eq!(assembly.take(piece(1, BOTH, b"b")), None);
        assert_eq!(assembly.take(piece(2, PIECE_CONTINUES, b"y")), message(2, b"xy"));
        assert_eq!(assembly.take(piece(3, 0, b"whole")), message(3, b"whole"));
        assert_eq!(assembly.take(piece(1, PIECE_CONTINUES, b"c")), message(1, b"abc"));
        assert_eq!((assembly.dropped(), assembly.open.len()), (0, 0));
    }

    #[test]
    fn a_message_without_its_beginning_is_dropped_and_counted_once() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(piece(1, BOTH, b"b")), None);
        assert_eq!(assembly.take(piece(1, PIECE_CONTINUES, b"c")), None);
        assert_eq!(assembly.take(piece(1, 0, b"next")), message(1, b"next"));
        // What was there is not joined to what came after a loss.
        assembly.take(piece(2, PIECE_MORE, b"a"));
        assembly.clear();
        assert_eq!(assembly.take(piece(2, PIECE_CONTINUES, b"c")), None);
        assert_eq!(assembly.dropped(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut assembly = Assembly::default();
        let full = vec![0; MAX_BULK_MESSAGE / 4];
        let mut send = |kind| assembly.take(piece(1, kind, &full));
        assert_eq!([PIECE_MORE, BOTH, BOTH, BOTH, BOTH].map(&mut send), [const { None }; 5]);
        assert_eq!(send(PIECE_CONTINUES), None);
        assert_eq!((assembly.dropped(), assembly.open.len()), (1, 0), "one byte is too much");
        for peer in 0..2 * OPEN as u32 {
            assembly.take(piece(peer, PIECE_MORE, b"a"));
        }
        assert_eq!(assembly.open.len(), OPEN);
        assert_eq!(assembly.take(piece(0, PIECE_CONTINUES, b"b")), None, "the oldest went");
        let newest = 2 * OPEN as u32 - 1;
        assert_eq!(assembly.take(piece(newest, PIECE_CONTINUES, b"b")), message(newest, b"ab"));
    }
}
