//! [`ReturnTicket`]: what a client needs to resume a session, also in another process.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nucleus_protocol::limits;

use crate::realtime::SentSequences;

/// The format of [`ReturnTicket::to_text`], for whole and for partial tickets.
const FORMATS: [u8; 2] = [3, 4];
/// Bytes before the room's name: the format, two sequences, and the length of the name.
const HEAD: usize = 1 + 2 * 8 + 1;
/// Most bytes of the sequences of the realtime messages.
const MAX_SENT: usize = SentSequences::MAX_ENCODED;
/// Most bytes of a ticket. The server's are far smaller.
const MAX_TICKET: usize = limits::MAX_TOKEN;

/// The ticket of a session in a room, and how far its events were received. It is as secret as a
/// password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ReturnTicket {
    /// The room's name.
    pub room: String,
    /// Where the sequences of the realtime messages continue: [`Realtime::sent_sequences`].
    ///
    /// [`Realtime::sent_sequences`]: crate::realtime::Realtime::sent_sequences
    pub sent: SentSequences,
    /// The ticket, opaque to the client. Empty: no session is resumed.
    pub(crate) ticket: Vec<u8>,
    /// Largest sequence that the application has taken, by lane.
    pub(crate) last_sequences: [u64; 2],
    /// Whether pieces of an incomplete bulk message are before that.
    pub(crate) is_partial: bool,
}

/// Returns the 32-bit FNV-1a hash, which finds damage but no forgery.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let add = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, add).to_le_bytes()
}

impl fmt::Debug for ReturnTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReturnTicket").field("room", &self.room).finish_non_exhaustive()
    }
}

impl ReturnTicket {
    /// Writes the ticket as text, for a file or another process. The text has letters, digits, `-`
    /// and `_`.
    pub fn to_text(&self) -> String {
        let [events, bulk] = self.last_sequences.map(u64::to_le_bytes);
        let room = self.room.as_bytes();
        let room = &room[..room.len().min(limits::MAX_ROOM_NAME)];
        let format = FORMATS[usize::from(self.is_partial)];
        let head = [&[format][..], &events, &bulk, &[room.len() as u8]].concat();
        let mut bytes = [&head[..], room].concat();
        self.sent.encode(&mut bytes);
        bytes.extend_from_slice(&self.ticket);
        bytes.extend(checksum(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Self::to_text`] has written. Returns `None` for any other text.
    pub fn from_text(text: &str) -> Option<Self> {
        if text.len() > 2 * (HEAD + limits::MAX_ROOM_NAME + MAX_SENT + MAX_TICKET + 4) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok()?;
        let (bytes, sum) = bytes.split_last_chunk()?;
        if *sum != checksum(bytes) {
            return None;
        }
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let number = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let (room, rest) = rest.split_at_checked(usize::from(*head.last()?))?;
        let (sent, ticket) = SentSequences::decode(rest)?;
        let is_valid =
            FORMATS.contains(&head[0]) && !ticket.is_empty() && ticket.len() <= MAX_TICKET;
        let is_partial = head[0] == FORMATS[1];
        let room = String::from_utf8(room.to_vec()).ok().filter(|_| is_valid)?;
        let (ticket, last_sequences) = (ticket.to_vec(), [number(1)?, number(9)?]);
        Some(Self { room, sent, ticket, last_sequences, is_partial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_as_text_and_no_other_text_is_one() {
        let ticket = ReturnTicket {
            room: "Konferenz ü".to_owned(),
            sent: SentSequences::default(),
            ticket: (0..80).collect(),
            last_sequences: [7, u64::MAX],
            is_partial: true,
        };
        let text = ticket.to_text();
        assert_eq!(ReturnTicket::from_text(&format!(" {text}\n")), Some(ticket.clone()));
        for at in 0..text.len() {
            assert_eq!(ReturnTicket::from_text(&text[..at]), None, "{at}");
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let damaged = [&text[..at], other, &text[at + 1..]].concat();
            assert_eq!(ReturnTicket::from_text(&damaged), None, "{at}");
        }
        for other in ["", "ü", "AAAA", &text.replace('A', "!"), &"A".repeat(100_000)] {
            assert_eq!(ReturnTicket::from_text(other), None, "{other}");
        }
        assert!(!format!("{ticket:?}").contains("79"));
    }
}
