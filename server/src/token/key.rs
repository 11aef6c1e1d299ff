//! The key that join tokens are checked with, read once and refused when it is weak.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use super::settings::{DevelopmentKey, TokenAlgorithm, TokenSettings};

/// Shortest HS256 secret (bytes): shorter than the hash, it could be guessed (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// Words of documentation and default installations.
const DEFAULT_SECRETS: [&str; 5] = ["secret", "changeme", "change-me", "password", "example"];
/// Random bytes repeat themselves less than this.
const MIN_DISTINCT_BYTES: usize = 12;

/// Why there is no key to check tokens with; one line each.
#[derive(Debug, Error)]
pub enum TokenKeyError {
    /// The key file can't be read.
    #[error("tokens: cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No file is configured; the configuration is refused for that before.
    #[error("tokens: no key file is configured for {0}")]
    Missing(TokenAlgorithm),
    /// The file holds something else.
    #[error("tokens: {path} is not a public key for {algorithm} (PEM, BEGIN PUBLIC KEY)", path = path.display())]
    NotAPublicKey {
        /// The file.
        path: PathBuf,
        /// What it should be for.
        algorithm: TokenAlgorithm,
    },
    /// A secret that can be guessed.
    #[error(
        "tokens: {path} is too short or a known default: write at least 32 random bytes to it, as openssl rand -base64 48 does",
        path = path.display()
    )]
    WeakSecret {
        /// The file.
        path: PathBuf,
    },
    /// The data directory's own key, which is refused for that before.
    #[error("tokens: the data directory's signing key is not an Ed25519 key")]
    Development,
}

pub(super) struct VerificationKey {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

impl VerificationKey {
    pub(super) fn development(own: &DevelopmentKey<'_>) -> Result<Self, TokenKeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8(own.signing_key).map_err(|_| TokenKeyError::Development)?;
        let decoding = DecodingKey::from_ed_der(pair.public_key().as_ref());
        Ok(Self { algorithm: Algorithm::EdDSA, decoding })
    }

    pub(super) fn configured(tokens: &TokenSettings) -> Result<Self, TokenKeyError> {
        let algorithm = tokens.algorithm;
        let file = match algorithm {
            TokenAlgorithm::HS256 => &tokens.secret_file,
            TokenAlgorithm::EdDSA | TokenAlgorithm::ES256 => &tokens.public_key_file,
        };
        let path = file.as_deref().ok_or(TokenKeyError::Missing(algorithm))?;
        let bytes = fs::read(path)
            .map(Zeroizing::new)
            .map_err(|source| TokenKeyError::Read { path: path.to_owned(), source })?;
        match algorithm {
            TokenAlgorithm::HS256 => secret(path, &bytes),
            TokenAlgorithm::EdDSA | TokenAlgorithm::ES256 => public_key(path, &bytes, algorithm),
        }
    }
}

fn secret(path: &Path, bytes: &[u8]) -> Result<VerificationKey, TokenKeyError> {
    // Editors and `openssl rand -base64` end the line; the web server's secret has no line end.
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
    let holds = |word: &&str| lower.windows(word.len()).any(|part| part == word.as_bytes());
    secret.len() < MIN_SECRET_BYTES
        || distinct < MIN_DISTINCT_BYTES
        || DEFAULT_SECRETS.iter().any(holds)
}

fn public_key(
    path: &Path,
    pem: &[u8],
    algorithm: TokenAlgorithm,
) -> Result<VerificationKey, TokenKeyError> {
    let refused = || TokenKeyError::NotAPublicKey { path: path.to_owned(), algorithm };
    // A private key does not belong on this machine, a certificate is not what was asked for.
    if !pem.trim_ascii_start().starts_with(b"-----BEGIN PUBLIC KEY-----") {
        return Err(refused());
    }
    // An Ed25519 point, or an uncompressed point of P-256.
    let (parsed, algorithm, length) = match algorithm {
        TokenAlgorithm::ES256 => (DecodingKey::from_ec_pem(pem), Algorithm::ES256, 65),
        _ => (DecodingKey::from_ed_pem(pem), Algorithm::EdDSA, 32),
    };
    let decoding = parsed.map_err(|_| refused())?;
    match decoding.try_get_as_bytes() {
        Ok(point) if point.len() == length => Ok(VerificationKey { algorithm, decoding }),
        _ => Err(refused()),
    }
}
