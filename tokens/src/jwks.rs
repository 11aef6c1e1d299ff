//! Reads the keys that an issuer publishes (JWK Set, RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};
use thiserror::Error;

use super::key::VerificationKey;

/// Most keys that are taken of a set. An issuer has one, and two or three while it changes them.
const MAX_KEYS: usize = 16;
/// What is kept of a key. Sets may also have certificates, which are long.
const FIELDS: [&str; 9] = ["kty", "use", "alg", "kid", "crv", "x", "y", "n", "e"];
/// Most bytes of a key's id.
const MAX_KEY_ID: usize = 128;
/// Bytes of an RSA modulus of 2048 to 4096 bits. Shorter ones can be broken; longer ones are slow.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Why a text has no keys.
#[derive(Debug, Error)]
pub enum JwksError {
    /// It is no JSON.
    #[error("this is no JWK Set: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is something else than a set.
    #[error("this is no JWK Set: it has no list `keys`")]
    NotASet,
}

/// A public key that an issuer has published.
#[derive(Debug, Clone)]
pub struct PublishedKey {
    /// The id that tokens name as `kid`.
    pub id: Option<String>,
    /// The key.
    pub key: VerificationKey,
}

/// The keys of a set that can verify join tokens.
#[derive(Debug, Clone, Default)]
pub struct PublishedKeys {
    /// The keys. None: the issuer has withdrawn them all, or publishes keys for other purposes only.
    pub keys: Vec<PublishedKey>,
    /// A set with these keys alone, and of each only what a key needs, JSON.
    pub text: String,
}

/// Reads the public keys of a set that can verify join tokens. Others are left out: an issuer may publish
/// keys for other purposes.
///
/// # Errors
///
/// The text is no JWK Set.
pub fn read_jwks(set: &[u8]) -> Result<PublishedKeys, JwksError> {
    let mut set: Value = serde_json::from_slice(set)?;
    let list = set.get_mut("keys").and_then(Value::as_array_mut).ok_or(JwksError::NotASet)?;
    let mut kept = Vec::new();
    let mut keys = Vec::new();
    for mut key in std::mem::take(list) {
        if let Some(fields) = key.as_object_mut() {
            fields.retain(|name, _| FIELDS.contains(&name.as_str()));
        }
        let jwk = serde_json::from_value::<Jwk>(key.clone());
        if let Some(published) = jwk.ok().as_ref().and_then(of)
            && keys.len() < MAX_KEYS
        {
            keys.push(published);
            kept.push(key);
        }
    }
    Ok(PublishedKeys { keys, text: json!({ "keys": kept }).to_string() })
}

/// Takes a key if it is one for join tokens.
fn of(jwk: &Jwk) -> Option<PublishedKey> {
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
    let key = VerificationKey { algorithm, decoding };
    (agrees && is_short).then_some(PublishedKey { id, key })
}
