//! Keys that verify join tokens. Weak ones are refused.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use super::settings::{DevelopmentKey, ReadKeyFile, TokenAlgorithm, TokenSettings};

/// Minimum length of an HS256 secret in bytes: the length of the hash (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// Words of documentation and default installations. A secret that contains one is refused.
const DEFAULT_SECRETS: [&str; 5] = ["secret", "changeme", "change-me", "password", "example"];
/// Minimum number of distinct bytes in a secret. Random secrets have more.
const MIN_DISTINCT_BYTES: usize = 12;
/// Length of an RSA key of 2048 to 4096 bits as DER: the modulus, the exponent and their heads.
/// Shorter ones can be broken; longer ones are slow to verify.
const RSA_DER_BYTES: RangeInclusive<usize> = 256 + 8..=512 + 32;

/// Why the verification key cannot be used. Each text is one line.
#[derive(Debug, Error)]
pub enum TokenKeyError {
    /// The key file cannot be read.
    #[error("tokens: cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// No key file is configured. The configuration's own check refuses this before.
    #[error("tokens: no key file is configured for {0}")]
    Missing(TokenAlgorithm),
    /// The file does not contain a public key of the algorithm.
    #[error(
        "tokens: {path} is not a public key for {algorithm}: a PEM file with BEGIN PUBLIC KEY is expected",
        path = path.display()
    )]
    NotAPublicKey {
        /// The file.
        path: PathBuf,
        /// The configured algorithm.
        algorithm: TokenAlgorithm,
    },
    /// The secret can be guessed.
    #[error(
        "tokens: the secret in {path} is too short or easy to guess: at least 32 random bytes are expected, as openssl rand -base64 48 prints",
        path = path.display()
    )]
    WeakSecret {
        /// The file.
        path: PathBuf,
    },
    /// The data directory's key is not an Ed25519 key. Opening the directory refuses this before.
    #[error("tokens: the data directory's signing key is not an Ed25519 key")]
    Development,
}

/// A key has not the form of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a public key for {0} is expected, PEM with BEGIN PUBLIC KEY{1}")]
pub struct BadKey(pub TokenAlgorithm, pub(crate) &'static str);

/// A key that verifies join tokens, with its algorithm.
#[derive(Clone)]
pub struct VerificationKey {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

impl VerificationKey {
    /// Makes the key of a data directory.
    pub(super) fn development(key: &DevelopmentKey<'_>) -> Result<Self, TokenKeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8(key.signing_key).map_err(|_| TokenKeyError::Development)?;
        let decoding = DecodingKey::from_ed_der(pair.public_key().as_ref());
        Ok(Self { algorithm: Algorithm::EdDSA, decoding })
    }

    /// Reads the key file that `[tokens]` names.
    pub(super) fn configured(
        tokens: &TokenSettings,
        read: ReadKeyFile,
    ) -> Result<Self, TokenKeyError> {
        let algorithm = tokens.algorithm;
        let file = match algorithm {
            TokenAlgorithm::HS256 => &tokens.secret_file,
            _ => &tokens.public_key_file,
        };
        let path = file.as_deref().ok_or(TokenKeyError::Missing(algorithm))?;
        let bytes =
            read(path).map_err(|source| TokenKeyError::Read { path: path.to_owned(), source })?;
        match algorithm {
            TokenAlgorithm::HS256 => secret(path, &bytes),
            _ => Self::from_public_pem(algorithm, &bytes)
                .map_err(|_| TokenKeyError::NotAPublicKey { path: path.to_owned(), algorithm }),
        }
    }

    /// Reads a public key, PEM.
    ///
    /// # Errors
    ///
    /// The text is no public key of this algorithm, or a weak one.
    pub fn from_public_pem(algorithm: TokenAlgorithm, pem: &[u8]) -> Result<Self, BadKey> {
        let refused = || BadKey(algorithm, "");
        // Refuses a private key, which must not be on this machine, and a certificate.
        if !pem.trim_ascii_start().starts_with(b"-----BEGIN PUBLIC KEY-----") {
            return Err(refused());
        }
        // The length of an Ed25519 key is 32 bytes; of an uncompressed P-256 point, 65.
        let (parsed, lengths) = match algorithm {
            TokenAlgorithm::EdDSA => (DecodingKey::from_ed_pem(pem), 32..=32),
            TokenAlgorithm::ES256 => (DecodingKey::from_ec_pem(pem), 65..=65),
            TokenAlgorithm::RS256 => (DecodingKey::from_rsa_pem(pem), RSA_DER_BYTES),
            TokenAlgorithm::HS256 => return Err(refused()),
        };
        let decoding = parsed.map_err(|_| refused())?;
        match decoding.try_get_as_bytes() {
            Ok(key) if lengths.contains(&key.len()) => {
                Ok(Self { algorithm: algorithm.into(), decoding })
            }
            Ok(_) if algorithm == TokenAlgorithm::RS256 => {
                Err(BadKey(algorithm, ", of 2048 to 4096 bits"))
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn secret(path: &Path, bytes: &[u8]) -> Result<VerificationKey, TokenKeyError> {
    // Editors and `openssl rand -base64` add a line end, which is not part of the secret.
    let bytes = bytes.trim_ascii_end();
    if is_weak(bytes) {
        return Err(TokenKeyError::WeakSecret { path: path.to_owned() });
    }
    Ok(VerificationKey { algorithm: Algorithm::HS256, decoding: DecodingKey::from_secret(bytes) })
}

fn is_weak(secret: &[u8]) -> bool {
    let mut seen = [false; 256];
    secret.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    let lower = Zeroizing::new(secret.to_ascii_lowercase());
    let contains = |word: &&str| lower.windows(word.len()).any(|part| part == word.as_bytes());
    secret.len() < MIN_SECRET_BYTES
        || distinct < MIN_DISTINCT_BYTES
        || DEFAULT_SECRETS.iter().any(contains)
}
