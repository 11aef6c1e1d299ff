//! The ids of rooms and peers in addresses and events.

use std::fmt;
use std::str::FromStr;

use nucleus_core::ids::{PeerId, RoomInstanceId};

/// A room instance: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoomAddress(pub(crate) RoomInstanceId);

impl fmt::Display for RoomAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for RoomAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(is_hex) {
            return Err(());
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| ())?;
        Ok(Self(RoomInstanceId(number.to_be_bytes())))
    }
}

/// A peer: its room, a hyphen and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    pub(crate) room: RoomAddress,
    pub(crate) peer: PeerId,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.room, self.peer.0)
    }
}

impl FromStr for PeerAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (room, peer) = text.split_once('-').ok_or(())?;
        if peer.len() > 10 || !peer.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        Ok(Self { room: room.parse()?, peer: PeerId(peer.parse().map_err(|_| ())?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_others_are_refused() {
        let room = RoomAddress(RoomInstanceId([0, 1, 2, 0xab, 0xcd, 0xef, 0xff, 9]));
        assert_eq!(room.to_string(), "000102abcdefff09");
        assert_eq!("000102abcdefff09".parse(), Ok(room));
        let peer = PeerAddress { room, peer: PeerId(42) };
        assert_eq!(peer.to_string().parse(), Ok(peer));
        for wrong in ["", "1", "000102ABCDEFFF09", "000102abcdefff0", "+00102abcdefff09"] {
            assert_eq!(wrong.parse::<RoomAddress>(), Err(()), "{wrong}");
        }
        for wrong in ["000102abcdefff09", "000102abcdefff09-", "000102abcdefff09-+1", "-1"] {
            assert_eq!(wrong.parse::<PeerAddress>(), Err(()), "{wrong}");
        }
    }
}
