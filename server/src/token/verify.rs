//! Checking a join token: algorithm, signature, then the claims.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde_json::Value;

use super::claims::{self, Raw};
use super::key::{Key, TokenKeyError};
use super::{Admission, MAX_TOKEN_BYTES, TokenError};
use crate::config::Config;
use crate::data_dir::DataDir;

/// Checks join tokens against the one key and audience this server trusts.
pub struct Verifier {
    key: Key,
    validation: Validation,
    audience: String,
}

impl Verifier {
    /// Trusts what `[tokens]` names, or in development the data directory's own key.
    pub fn new(config: &Config, data: &DataDir) -> Result<Self, TokenKeyError> {
        let (key, audience) = match &config.tokens {
            Some(tokens) => (Key::configured(tokens)?, tokens.audience.clone()),
            None => (Key::development(data)?, None),
        };
        let audience = audience.unwrap_or_else(|| data.server_id().to_string());
        Ok(Self { validation: signature_only(key.algorithm), key, audience })
    }

    /// What `token` admits to at `now_unix` (seconds since 1970).
    pub fn verify(&self, token: &str, now_unix: u64) -> Result<Admission, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        check_header(token, self.key.algorithm)?;
        let data = decode::<Raw>(token, &self.key.decoding, &self.validation)
            .map_err(|error| refusal(error.kind()))?;
        claims::admit(&data.claims, &self.audience, now_unix)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = &self.key.algorithm;
        f.debug_struct("Verifier").field("algorithm", algorithm).finish_non_exhaustive()
    }
}

/// The library checks algorithm and signature; it would read the clock itself and take some
/// wrongly typed claims for absent, so the claims are ours.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// Names the reason that the library would call a JSON error, and refuses extensions it does
/// not know (`crit`, RFC 7515, 4.1.11).
fn check_header(token: &str, algorithm: Algorithm) -> Result<(), TokenError> {
    let encoded = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
    let header: Raw = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    if header.contains_key("crit") {
        return Err(TokenError::Malformed);
    }
    match header.get("alg").and_then(Value::as_str) {
        Some(named) if named.parse::<Algorithm>() == Ok(algorithm) => Ok(()),
        Some(_) => Err(TokenError::WrongAlgorithm),
        None => Err(TokenError::Malformed),
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::WrongAlgorithm,
        _ => TokenError::Malformed,
    }
}
