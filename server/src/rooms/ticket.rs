//! Resume tickets: a participant's identity, encrypted by the server and kept by the client.
//!
//! A client with a ticket resumes its participant. A client of the same user without one is a
//! second device. The token cannot distinguish the two.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomKey};
use nucleus_core::limits;
use nucleus_core::room::TicketClaim;
use nucleus_protocol::codec::{Reader, put_string};
use zeroize::Zeroizing;

/// Version of the layout of a ticket's content. A ticket of another version is invalid.
const VERSION: u8 = 1;
/// Length of the AES-GCM nonce in bytes.
const NONCE: usize = 12;
/// Length of the AES-GCM tag in bytes.
const TAG: usize = 16;

/// The content of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The room.
    pub room: RoomKey,
    /// User id, from the token of the join.
    pub user: String,
    /// The server instance id. Rooms and participants do not survive their server instance.
    pub server_instance: u32,
    /// The participant in the room.
    pub claim: TicketClaim,
}

/// Seals and opens tickets.
pub struct TicketKey(RandomizedNonceKey);

impl TicketKey {
    /// Derives the key from the data directory's ticket key.
    ///
    /// # Errors
    ///
    /// The cryptographic library fails.
    pub fn new(key: &[u8; 64]) -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new([0; 32]);
        let derived = Salt::new(HKDF_SHA256, b"nucleus resume ticket").extract(key);
        derived.expand(&[], KeyLen)?.fill(&mut *bytes)?;
        Ok(Self(RandomizedNonceKey::new(&AES_256_GCM, &*bytes)?))
    }

    /// Encrypts a ticket for its client. Returns an empty ticket if the cryptographic library
    /// fails.
    pub fn seal(&self, ticket: &Ticket) -> Vec<u8> {
        let mut bytes = ticket.encode();
        match self.0.seal_in_place_append_tag(Aad::empty(), &mut bytes) {
            Ok(nonce) => [&nonce.as_ref()[..], &bytes].concat(),
            Err(_) => Vec::new(),
        }
    }

    /// Decrypts a client's ticket. Returns `None` if this server's key has not sealed it.
    pub fn open(&self, sealed: &[u8]) -> Option<Ticket> {
        if !(NONCE + TAG..=limits::TICKET_BYTES).contains(&sealed.len()) {
            return None;
        }
        let (nonce, bytes) = sealed.split_first_chunk::<NONCE>()?;
        let nonce = Nonce::from(nonce);
        let mut bytes = bytes.to_vec();
        let content = self.0.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
        Ticket::decode(content)
    }
}

/// The length of an AES-256 key.
struct KeyLen;

impl KeyType for KeyLen {
    fn len(&self) -> usize {
        32
    }
}

impl Ticket {
    fn encode(&self) -> Vec<u8> {
        let RoomKey { owner, name } = &self.room;
        let mut out = vec![VERSION, owner.product as u8];
        out.extend_from_slice(&self.server_instance.to_le_bytes());
        out.extend_from_slice(&self.claim.room_instance.to_le_bytes());
        out.extend_from_slice(&self.claim.peer.0.to_le_bytes());
        out.extend_from_slice(&self.claim.generation.to_le_bytes());
        for text in [&owner.tenant, name, &self.user] {
            put_string(&mut out, text.as_bytes());
        }
        out
    }

    fn decode(content: &[u8]) -> Option<Ticket> {
        let mut r = Reader::new(content);
        let (version, product) = (r.u8().ok()?, r.u8().ok()?);
        let product = Product::ALL.into_iter().find(|p| *p as u8 == product)?;
        let server_instance = r.u32().ok()?;
        let (room_instance, peer) = (r.u32().ok()?, PeerId(r.u32().ok()?));
        let claim = TicketClaim { room_instance, peer, generation: r.u32().ok()? };
        let mut text = || String::from_utf8(r.string().ok()?.to_vec()).ok();
        let (tenant, name, user) = (text()?, text()?, text()?);
        let room = RoomKey { owner: ProductKey { tenant, product }, name };
        (version == VERSION).then_some(Ticket { room, user, server_instance, claim })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            room: RoomKey {
                owner: ProductKey { tenant: "t".repeat(64), product: Product::Assist },
                name: "r".repeat(128),
            },
            user: "u".repeat(128),
            server_instance: 9,
            claim: TicketClaim { room_instance: 7, peer: PeerId(5), generation: 3 },
        }
    }

    #[test]
    fn a_ticket_comes_back_as_it_went() {
        let key = TicketKey::new(&[7; 64]).unwrap();
        let sealed = key.seal(&ticket());
        assert!(sealed.len() <= limits::TICKET_BYTES);
        assert_eq!(key.open(&sealed), Some(ticket()));
        assert_ne!(sealed, key.seal(&ticket()), "each ticket has a nonce of its own");
        assert_eq!(TicketKey::new(&[8; 64]).unwrap().open(&sealed), None);
    }

    #[test]
    fn a_changed_or_cut_ticket_is_none() {
        let key = TicketKey::new(&[7; 64]).unwrap();
        let sealed = key.seal(&ticket());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed), None);
            assert_eq!(key.open(&sealed[..at]), None);
        }
        assert_eq!(key.open(&vec![0; limits::TICKET_BYTES + 1]), None);
    }
}
