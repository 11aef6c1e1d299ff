//! Reads the keys that an issuer publishes (JWK Set, RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use thiserror::Error;

use super::key::VerificationKey;

/// Most keys that are taken of a set. An issuer has one, and two or three while it changes them.
const MAX_KEYS: usize = 16;
/// Most bytes of a key's id.
const MAX_KEY_ID: usize = 128;
/// Bytes of an RSA modulus of 2048 to 4096 bits. Shorter ones can be broken; longer ones are slow.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Why a set has no keys for join tokens.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JwksError {
    /// It is no JWK Set.
    #[error("this is no JWK Set: {0}")]
    NotASet(String),
    /// No key in it can verify join tokens.
    #[error("no key in it is for EdDSA (Ed25519), ES256 (P-256) or RS256 (2048 to 4096 bits)")]
    NoKey,
}

/// Reads the public keys of a set that can verify join tokens, each with its id. Others are left out:
/// an issuer may publish keys for other purposes.
///
/// # Errors
///
/// [`JwksError`]
pub fn read_jwks(set: &[u8]) -> Result<Vec<(Option<String>, VerificationKey)>, JwksError> {
    let set: Value =
        serde_json::from_slice(set).map_err(|error| JwksError::NotASet(error.to_string()))?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| JwksError::NotASet("it has no list `keys`".to_owned()))?;
    let read = |key: &Value| serde_json::from_value(key.clone()).ok().and_then(|jwk| of(&jwk));
    let keys: Vec<_> = keys.iter().filter_map(read).take(MAX_KEYS).collect();
    if keys.is_empty() { Err(JwksError::NoKey) } else { Ok(keys) }
}

/// Takes a key if it is one for join tokens.
fn of(jwk: &Jwk) -> Option<(Option<String>, VerificationKey)> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    let has = |bytes: usize| decoding.try_get_as_bytes().is_ok_and(|key| key.len() == bytes);
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair)
            if pair.curve == EllipticCurve::Ed25519 && has(32) =>
        {
            Algorithm::EdDSA
        }
        AlgorithmParameters::EllipticCurve(point)
            if point.curve == EllipticCurve::P256 && has(65) =>
        {
            Algorithm::ES256
        }
        // Three quarters of the length of base64 without padding.
        AlgorithmParameters::RSA(key) if RSA_BYTES.contains(&(key.n.len() * 3 / 4)) => {
            Algorithm::RS256
        }
        // A secret in a public list is none.
        _ => return None,
    };
    let agrees = jwk.common.key_algorithm.is_none_or(|named| named == algorithm.into());
    let id = jwk.common.key_id.clone();
    let is_short = id.as_ref().is_none_or(|id| id.len() <= MAX_KEY_ID);
    (agrees && is_short).then_some((id, VerificationKey { algorithm, decoding }))
}
