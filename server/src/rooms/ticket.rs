//! Resume tickets: a participant's identity, encrypted by the server and kept by the client.
//!
//! A client with a ticket resumes its participant. A client of the same user without one is a
//! second device. The token cannot distinguish the two.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomInstanceId, RoomKey};
use nucleus_core::limits;
use nucleus_core::room::{Rights, Role, TicketClaim, TicketContent};
use nucleus_core::text;
use nucleus_protocol::codec::{Reader, put_string};
use zeroize::Zeroizing;

/// Version of the layout of a ticket's content. A ticket of another version is invalid, but for the one
/// before.
const VERSION: u8 = 3;
/// The version before, which knew two products, by these numbers. Its tickets outlive an update of the
/// server.
const NUMBERED: (u8, [Product; 2]) = (2, [Product::ATOM, Product::ASSIST]);
/// Length of the AES-GCM nonce in bytes.
const NONCE: usize = 12;
/// Length of the AES-GCM tag in bytes.
const TAG: usize = 16;

/// The content of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The room.
    pub room: RoomKey,
    /// The participant, and what its user may do there.
    pub content: TicketContent,
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
        let RoomKey { owner, name: room } = &self.room;
        let TicketContent { claim, user, name, role, end } = &self.content;
        let mut out = vec![VERSION];
        put_string(&mut out, owner.product.name().as_bytes());
        out.push(bits_of(role.rights));
        out.extend_from_slice(&claim.room_instance.0);
        out.extend_from_slice(&claim.peer.0.to_le_bytes());
        out.extend_from_slice(&claim.generation.to_le_bytes());
        out.extend_from_slice(&end.to_le_bytes());
        for text in [&owner.tenant, room, user, name, &role.name] {
            put_string(&mut out, text.as_bytes());
        }
        out
    }

    fn decode(content: &[u8]) -> Option<Ticket> {
        let mut r = Reader::new(content);
        let product = match r.u8().ok()? {
            VERSION => Product::parse(std::str::from_utf8(r.string().ok()?).ok()?)?,
            version if version == NUMBERED.0 => *NUMBERED.1.get(usize::from(r.u8().ok()?))?,
            _ => return None,
        };
        let rights = r.u8().ok()?;
        let claim = TicketClaim {
            room_instance: RoomInstanceId(r.array().ok()?),
            peer: PeerId(r.u32().ok()?),
            generation: r.u32().ok()?,
        };
        let end = r.u64().ok()?;
        // The ticket of an earlier version may have names that are not in NFC.
        let mut text = || Some(text::nfc(std::str::from_utf8(r.string().ok()?).ok()?));
        let (tenant, room, user, name, role) = (text()?, text()?, text()?, text()?, text()?);
        let role = Role { name: role, rights: rights_of(rights) };
        let room = RoomKey { owner: ProductKey { tenant, product }, name: room };
        let content = TicketContent { claim, user, name, role, end };
        Some(Ticket { room, content })
    }
}

/// Packs rights into bits: own, objects, room, moderate, from the lowest.
fn bits_of(rights: Rights) -> u8 {
    let Rights { own, objects, room, moderate } = rights;
    u8::from(own) | u8::from(objects) << 1 | u8::from(room) << 2 | u8::from(moderate) << 3
}

/// Unpacks the bits of [`bits_of`].
fn rights_of(bits: u8) -> Rights {
    let has = |bit: u8| bits >> bit & 1 == 1;
    Rights { own: has(0), objects: has(1), room: has(2), moderate: has(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            room: RoomKey {
                owner: ProductKey { tenant: "t".repeat(64), product: Product::ASSIST },
                name: "r".repeat(128),
            },
            content: TicketContent {
                claim: TicketClaim {
                    room_instance: RoomInstanceId([7; 8]),
                    peer: PeerId(5),
                    generation: 3,
                },
                user: "u".repeat(128),
                name: "n".repeat(128),
                role: Role { name: "r".repeat(64), rights: Rights::PRESENTER },
                end: u64::MAX,
            },
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

    /// A ticket that the version before has sealed: it names the product by a number.
    #[test]
    fn a_ticket_of_the_version_before_opens() {
        for (number, product) in [(0, Product::ATOM), (1, Product::ASSIST)] {
            let mut wanted = ticket();
            wanted.room.owner.product = product;
            let name = product.name().len();
            let mut content = wanted.encode();
            // The version, and the product as a text behind its length.
            let rest = content.split_off(1 + 2 + name);
            content = [&[2, number][..], &rest].concat();
            assert_eq!(Ticket::decode(&content), Some(wanted));
        }
        let unknown = [&[2, 2][..], &ticket().encode()[1 + 2 + 6..]].concat();
        assert_eq!(Ticket::decode(&unknown), None);
    }

    /// A ticket of an earlier version, whose names were not in NFC.
    #[test]
    fn names_come_back_in_nfc() {
        let key = TicketKey::new(&[7; 64]).unwrap();
        let mut early = ticket();
        early.room.name = "cafe\u{301}".to_owned();
        early.content.user = "rene\u{301}".to_owned();
        let opened = key.open(&key.seal(&early)).unwrap();
        assert_eq!((&*opened.room.name, &*opened.content.user), ("caf\u{e9}", "ren\u{e9}"));
    }

    #[test]
    fn all_rights_come_back() {
        for bits in 0..16 {
            assert_eq!(bits_of(rights_of(bits)), bits);
        }
        assert_eq!(rights_of(bits_of(Rights::ALL)), Rights::ALL);
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
