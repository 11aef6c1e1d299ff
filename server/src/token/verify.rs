//! Verifies a join token: first the algorithm, then the signature, then the claims.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto};
use nucleus_core::limits;
use serde_json::Value;

use super::claims::{self, RawClaims};
use super::key::{TokenKeyError, VerificationKey};
use super::settings::{DevelopmentKey, TokenSettings};
use super::{TokenError, VerifiedToken};

/// Verifies join tokens with the key and the audience of this server.
pub struct TokenVerifier {
    key: RwLock<Arc<VerificationKey>>,
    audience: String,
    /// `None`: development mode.
    settings: Option<TokenSettings>,
}

impl TokenVerifier {
    /// Makes a verifier with the key of `[tokens]`; without it, with the development key.
    ///
    /// # Errors
    ///
    /// The key cannot be read, is of another kind, or is weak.
    pub fn new(
        tokens: Option<&TokenSettings>,
        development: &DevelopmentKey<'_>,
    ) -> Result<Self, TokenKeyError> {
        let (key, audience) = match tokens {
            Some(tokens) => (VerificationKey::configured(tokens)?, tokens.audience.clone()),
            None => (VerificationKey::development(development)?, None),
        };
        let audience = audience.unwrap_or_else(|| development.server_id.to_owned());
        Ok(Self { key: RwLock::new(Arc::new(key)), audience, settings: tokens.cloned() })
    }

    /// Reads the key of `[tokens]` again. Returns whether there is one; the development key never
    /// changes.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new). The key stays as it was.
    pub fn reload(&self) -> Result<bool, TokenKeyError> {
        let Some(settings) = &self.settings else { return Ok(false) };
        let key = VerificationKey::configured(settings)?;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        Ok(true)
    }

    /// Returns whether the key comes from a file of the operator.
    pub fn has_key_file(&self) -> bool {
        self.settings.is_some()
    }

    fn key(&self) -> Arc<VerificationKey> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies `token` at `now_unix`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The token is malformed, its signature is wrong, or a claim is missing or invalid.
    pub fn verify(&self, token: &str, now_unix: u64) -> Result<VerifiedToken, TokenError> {
        if token.len() > limits::TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let VerificationKey { algorithm, decoding } = &*self.key();
        check_header(header, *algorithm)?;
        // Verifies only the signature, because the library's checks of claims read the clock. Uses
        // the configured algorithm, whatever the header names.
        match crypto::verify(signature, signed.as_bytes(), decoding, *algorithm) {
            Ok(true) => claims::verify_claims(&object(payload)?, &self.audience, now_unix),
            Ok(false) => Err(TokenError::BadSignature),
            Err(_) => Err(TokenError::Malformed),
        }
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = self.key().algorithm;
        f.debug_struct("TokenVerifier").field("algorithm", &algorithm).finish_non_exhaustive()
    }
}

/// Checks that the header names the configured algorithm. Refuses critical extensions, of which
/// this server knows none (`crit`, RFC 7515, 4.1.11).
fn check_header(encoded: &str, algorithm: Algorithm) -> Result<(), TokenError> {
    let header = object(encoded)?;
    if header.contains_key("crit") {
        return Err(TokenError::Malformed);
    }
    match header.get("alg").and_then(Value::as_str) {
        Some(named) if named.parse::<Algorithm>() == Ok(algorithm) => Ok(()),
        Some(_) => Err(TokenError::WrongAlgorithm),
        None => Err(TokenError::Malformed),
    }
}

/// Decodes a part of a token: a JSON object, base64url.
fn object(encoded: &str) -> Result<RawClaims, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}
