//! The key schedule, which derives the key of one phase in one direction from a grant's secret.
//!
//! Every secret is erased when it is dropped, and no `Debug` output shows one.

use std::fmt;

use aws_lc_rs::aead::{self, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::limits::{HEADER, TAG};

const SALT: &[u8] = b"nucleus link v1";

/// The AEAD of a link. The discriminant is its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suite {
    /// AES-128-GCM.
    Aes128Gcm = 1,
    /// ChaCha20-Poly1305, for devices without AES instructions.
    ChaCha20Poly1305 = 2,
}

impl Suite {
    /// Returns the suite with this number on the wire, or `None` if it is unknown.
    pub fn from_wire(number: u8) -> Option<Suite> {
        [Suite::Aes128Gcm, Suite::ChaCha20Poly1305].into_iter().find(|s| *s as u8 == number)
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// The secret from which the keys of both directions of one link are derived. Use a root secret for
/// one link only: a second link with the same root, link id and suite would repeat nonces.
#[derive(Clone)]
pub struct RootSecret(Zeroizing<[u8; 32]>);

impl RootSecret {
    /// Computes HKDF-Extract (RFC 5869, SHA-256) of the grant's secret and, if both ends have it,
    /// the output of the TLS exporter.
    pub fn new(secret: &[u8; 32], exporter: Option<&[u8; 32]>) -> RootSecret {
        // Extract is a single HMAC. aws-lc's own function does not expose the result.
        let mut extract = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, SALT));
        extract.update(secret);
        if let Some(exporter) = exporter {
            extract.update(exporter);
        }
        let mut root = Zeroizing::new([0; 32]);
        root.copy_from_slice(extract.sign().as_ref());
        RootSecret(root)
    }
}

impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootSecret(..)")
    }
}

/// The direction that a key protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Direction {
    /// Client to server.
    Up = 0,
    /// Server to client.
    Down = 1,
}

/// The secret of one phase in one direction.
pub(super) struct PhaseSecret {
    suite: Suite,
    phase: u32,
    secret: Zeroizing<[u8; 32]>,
}

impl PhaseSecret {
    /// Derives the secret of phase 0.
    pub(super) fn first(
        root: &RootSecret,
        link_id: u32,
        direction: Direction,
        suite: Suite,
    ) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        let which = [direction as u8, suite as u8];
        expand(&root.0, &[b"nucleus secret", &link_id.to_le_bytes(), &which], &mut secret[..]);
        Self { suite, phase: 0, secret }
    }

    /// Derives the secret of the phase after this one.
    pub(super) fn next(&self) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        expand(&self.secret, &[b"nucleus next", &self.phase.to_le_bytes()], &mut secret[..]);
        // 2^32 phases of at least a minute are eight thousand years.
        Self { suite: self.suite, phase: self.phase.wrapping_add(1), secret }
    }

    /// Returns the phase, counted from 0.
    pub(super) fn phase(&self) -> u32 {
        self.phase
    }

    /// Derives the key that protects this phase's packets.
    pub(super) fn key(&self) -> PacketKey {
        let algorithm = self.suite.algorithm();
        let phase = self.phase.to_le_bytes();
        let mut key = Zeroizing::new([0; 32]);
        let key = &mut key[..algorithm.key_len()];
        expand(&self.secret, &[b"nucleus key", &phase], key);
        let mut iv = Zeroizing::new([0; aead::NONCE_LEN]);
        expand(&self.secret, &[b"nucleus iv", &phase], &mut iv[..]);
        // Fails only for a key of the wrong length.
        let key = UnboundKey::new(algorithm, key).expect("key of the algorithm's length");
        PacketKey { key: LessSafeKey::new(key), iv }
    }
}

#[cfg(test)]
std::thread_local! {
    /// Calls of [`expand`] on this thread.
    static DERIVATIONS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Returns how often this thread has derived something. The next phase takes three derivations: its
/// secret, its key and its IV.
#[cfg(test)]
pub(super) fn derivations() -> u32 {
    DERIVATIONS.get()
}

/// Computes HKDF-Expand (RFC 5869, SHA-256).
fn expand(secret: &[u8; 32], info: &[&[u8]], out: &mut [u8]) {
    struct OutputLength(usize);
    impl hkdf::KeyType for OutputLength {
        fn len(&self) -> usize {
            self.0
        }
    }
    #[cfg(test)]
    DERIVATIONS.set(DERIVATIONS.get() + 1);
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
    // Fails only for more than 255 blocks of output; all callers ask for at most one block. Panics,
    // because continuing after a failure would use a key of zeros.
    prk.expand(info, OutputLength(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("at most 32 bytes of output");
}

/// The key and IV of one phase in one direction.
pub(super) struct PacketKey {
    key: LessSafeKey,
    iv: Zeroizing<[u8; aead::NONCE_LEN]>,
}

impl PacketKey {
    /// Encrypts `body` in place and returns its tag. Returns `None` only if `body` exceeds the
    /// algorithm's limit of gigabytes.
    pub(super) fn seal(
        &self,
        number: u32,
        header: &[u8; HEADER],
        body: &mut [u8],
    ) -> Option<[u8; TAG]> {
        let aad = aead::Aad::from(header);
        let tag = self.key.seal_in_place_separate_tag(self.nonce(number), aad, body).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts `sealed`, a body and its tag, in place and returns the body. Returns `None` if they
    /// are not authentic; the bytes are then destroyed.
    pub(super) fn open<'d>(
        &self,
        number: u32,
        header: &[u8; HEADER],
        sealed: &'d mut [u8],
    ) -> Option<&'d mut [u8]> {
        let aad = aead::Aad::from(header);
        self.key.open_in_place(self.nonce(number), aad, sealed).ok()
    }

    fn nonce(&self, number: u32) -> Nonce {
        let mut nonce = *self.iv;
        for (byte, n) in nonce[8..].iter_mut().zip(number.to_le_bytes()) {
            *byte ^= n;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// A deterministic source of challenge bytes, seeded by the caller: HMAC-SHA256 over a counter, so
/// that one challenge does not reveal the next.
pub(super) struct Challenges {
    /// Kept instead of the prepared HMAC key, which takes a kilobyte and is seldom needed.
    seed: Zeroizing<[u8; 32]>,
    drawn: u64,
}

impl Challenges {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self { seed: Zeroizing::new(*seed), drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> [u8; 8] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.seed[..]);
        let tag = hmac::sign(&key, &self.drawn.to_le_bytes());
        self.drawn += 1;
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(secret: &PhaseSecret) -> [u8; TAG] {
        secret.key().seal(7, &[0; HEADER], &mut [1, 2, 3]).unwrap()
    }

    #[test]
    fn everything_named_changes_the_key() {
        let root = RootSecret::new(&[1; 32], None);
        let first = |root: &RootSecret, id, direction, suite| {
            PhaseSecret::first(root, id, direction, suite)
        };
        let base = first(&root, 5, Direction::Up, Suite::Aes128Gcm);
        let others = [
            first(&RootSecret::new(&[2; 32], None), 5, Direction::Up, Suite::Aes128Gcm),
            first(&RootSecret::new(&[1; 32], Some(&[0; 32])), 5, Direction::Up, Suite::Aes128Gcm),
            first(&root, 6, Direction::Up, Suite::Aes128Gcm),
            first(&root, 5, Direction::Down, Suite::Aes128Gcm),
            first(&root, 5, Direction::Up, Suite::ChaCha20Poly1305),
            base.next(),
            base.next().next(),
        ];
        assert_eq!(sealed(&base), sealed(&first(&root, 5, Direction::Up, Suite::Aes128Gcm)));
        let mut tags: Vec<_> = others.iter().map(sealed).collect();
        tags.push(sealed(&base));
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), others.len() + 1);
    }

    #[test]
    fn extract_and_expand_are_hkdf() {
        // The library's Extract must lead to the same secret as the HMAC in `RootSecret::new`.
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&[9; 32]);
        let mut expected = [0; 32];
        let info: [&[u8]; 3] = [b"nucleus secret", &5u32.to_le_bytes(), &[1, 2]];
        prk.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut expected)).unwrap();
        let root = RootSecret::new(&[9; 32], None);
        let secret = PhaseSecret::first(&root, 5, Direction::Down, Suite::ChaCha20Poly1305);
        assert_eq!(*secret.secret, expected);
        assert_eq!(secret.phase(), 0);
    }

    #[test]
    fn the_root_hides_its_bytes() {
        assert_eq!(format!("{:?}", RootSecret::new(&[7; 32], None)), "RootSecret(..)");
    }
}
