//! Datagrams that are sealed like those of the realtime plane, to measure the cost of the
//! cryptography. They are not safe to use: the keys are public, and replays are not detected.
//!
//! A datagram has a header of 13 bytes (form, the peer's index with space for a longer id, packet
//! number), the body under AES-128-GCM, and a tag of 16 bytes.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use nucleus_protocol::limits::{HEADER, TAG};

use crate::client::Client;
use crate::message::{ReceivedMessage, deliver_frames};

/// The first byte of a datagram, as on the realtime plane.
const FORM: u8 = 0b0000_1000;
/// The offset of the packet number in the header.
const NUMBER: usize = 9;

/// The direction that a key protects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    /// From the peer to the relay.
    Up = 0,
    /// From the relay to the peer.
    Down = 1,
}

/// Seals the datagrams of one peer in one direction.
pub(crate) struct Sealer {
    key: LessSafeKey,
    index: u32,
    number: u32,
}

impl Sealer {
    pub(crate) fn new(index: u32, direction: Direction) -> Self {
        Sealer { key: key(index, direction), index, number: 0 }
    }

    /// Appends the header of the next datagram, and returns where it starts. The caller appends the
    /// body.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        let mut header = [0; HEADER];
        header[0] = FORM;
        header[1..5].copy_from_slice(&self.index.to_le_bytes());
        header[NUMBER..].copy_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&header);
        start
    }

    /// Seals the datagram that began at `start` in place and appends its tag.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, start: usize) {
        let nonce = nonce(self.number);
        self.number = self.number.wrapping_add(1);
        let (header, body) = out[start..].split_at_mut(HEADER);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body);
        // Sealing fails only for bodies of gigabytes.
        out.extend_from_slice(tag.as_ref().map_or(&[0; TAG][..], AsRef::as_ref));
    }
}

/// Opens the datagrams of one peer in one direction.
pub(crate) struct Opener {
    key: LessSafeKey,
}

impl Opener {
    pub(crate) fn new(index: u32, direction: Direction) -> Self {
        Opener { key: key(index, direction) }
    }

    /// Returns the body; `None` if the datagram is not authentic.
    pub(crate) fn open<'d>(&self, datagram: &'d mut [u8]) -> Option<&'d mut [u8]> {
        let (header, sealed) = datagram.split_first_chunk_mut::<HEADER>()?;
        let number = u32::from_le_bytes(*header[NUMBER..].first_chunk()?);
        self.key.open_in_place(nonce(number), Aad::from(&*header), sealed).ok()
    }
}

/// Returns the peer's index in the header of a datagram.
pub(crate) fn index(datagram: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*datagram.get(1..)?.first_chunk()?))
}

fn key(index: u32, direction: Direction) -> LessSafeKey {
    let mut bytes = [direction as u8; 16];
    bytes[..4].copy_from_slice(&index.to_le_bytes());
    let key = UnboundKey::new(&AES_128_GCM, &bytes).expect("an AES-128 key has 16 bytes");
    LessSafeKey::new(key)
}

fn nonce(number: u32) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[8..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// A peer of a relay for such datagrams. The relay knows the peer by its index, so the peer need
/// not join.
pub(crate) struct SealedClient {
    slot: u16,
    sealer: Sealer,
    opener: Opener,
    pending: Vec<u8>,
}

impl SealedClient {
    pub(crate) fn new(index: u32, slot: u16) -> Self {
        let (sealer, opener) =
            (Sealer::new(index, Direction::Up), Opener::new(index, Direction::Down));
        SealedClient { slot, sealer, opener, pending: Vec::new() }
    }
}

impl Client for SealedClient {
    fn slot(&self) -> u16 {
        self.slot
    }

    fn is_ready(&self, _now: u64) -> Result<bool, String> {
        Ok(true)
    }

    fn send_message(&mut self, _now: u64, frame: &[u8]) {
        self.pending.extend_from_slice(frame);
    }

    fn handle_input(
        &mut self,
        _arrival: u64,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(ReceivedMessage<'_>),
    ) {
        if let Some(body) = self.opener.open(datagram) {
            deliver_frames(body, deliver);
        }
    }

    fn handle_timeout(&mut self, _now: u64) {}

    fn poll_output(&mut self, _now: u64, out: &mut Vec<u8>) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let start = self.sealer.begin(out);
        out.append(&mut self.pending);
        self.sealer.finish(out, start);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_was_sealed_for_it_and_nothing_else() {
        let mut sealer = Sealer::new(3, Direction::Down);
        let mut bytes = Vec::new();
        for body in [&b"one"[..], b"two"] {
            bytes.clear();
            let start = sealer.begin(&mut bytes);
            bytes.extend_from_slice(body);
            sealer.finish(&mut bytes, start);
            assert_eq!((bytes.len(), index(&bytes)), (HEADER + 3 + TAG, Some(3)));
            let open =
                |index, direction| Opener::new(index, direction).open(&mut bytes.clone()).is_some();
            assert!(!open(4, Direction::Down) && !open(3, Direction::Up));
            assert_eq!(Opener::new(3, Direction::Down).open(&mut bytes).as_deref(), Some(body));
        }
    }
}
