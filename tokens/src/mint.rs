//! Signs join tokens with the data directory's key: for development, and for the API.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use nucleus_core::ids::{Product, RoomPattern};
use nucleus_core::limits;
use nucleus_core::text::{self, NotPlain};
use thiserror::Error;

use super::claims::{MAX_LONG, MAX_SHORT};
use super::settings::DevelopmentKey;
use super::{Claims, DEFAULT_ROLE};

/// The `kid` of tokens that the API has minted.
pub(super) const MINTED_KEY_ID: &str = "minted";
/// Longest validity of a token from a [`Minter`].
const MAX_TTL: Duration = Duration::from_secs(366 * 86_400);

/// Signs join tokens that the server of the same data directory accepts in development mode, or those of
/// the API.
pub struct Minter {
    key: EncodingKey,
    audience: String,
    pins: CertificatePins,
    /// The `kid` of the tokens.
    kid: Option<&'static str>,
}

/// The SHA-256 digests of the certificates that a server has now and next, base64url without padding.
/// The clones are one list, which follows the certificates while a server runs.
#[derive(Debug, Clone, Default)]
pub struct CertificatePins(Arc<RwLock<Vec<String>>>);

impl CertificatePins {
    /// Makes a list.
    #[must_use]
    pub fn new(pins: Vec<String>) -> Self {
        Self(Arc::new(RwLock::new(pins)))
    }

    /// Replaces the pins.
    pub fn set(&self, pins: Vec<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pins;
    }

    /// Returns the pins.
    #[must_use]
    pub fn get(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The content of a join token to sign. The minter adds the audience, the times, the token's id and
/// the pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The product.
    pub product: Product,
    /// The tenant, 1 to 64 bytes.
    pub tenant: String,
    /// The user, 1 to 128 bytes.
    pub user: String,
    /// The display name, 1 to 128 bytes; absent: the user.
    pub name: Option<String>,
    /// A room's name, or a prefix of names that ends with `*`, 1 to 128 bytes; absent: every room
    /// of the tenant.
    pub room: Option<String>,
    /// The role, 1 to 64 bytes.
    pub role: String,
    /// Rights in addition to the role's.
    pub grants: Vec<String>,
    /// The token's validity, 1 s to 366 days.
    pub ttl: Duration,
}

impl TokenRequest {
    /// Makes a request for a token with the default role for every room of `tenant`, valid for an
    /// hour.
    pub fn new(product: Product, tenant: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            product,
            tenant: tenant.into(),
            user: user.into(),
            name: None,
            room: None,
            role: DEFAULT_ROLE.to_owned(),
            grants: Vec::new(),
            ttl: Duration::from_secs(3600),
        }
    }
}

/// Why a token could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MintError {
    /// The server would refuse the token.
    #[error("token: {0}")]
    Refused(&'static str),
    /// A flag is no plain text of the right length.
    #[error("token: {0} {1}")]
    NotPlain(&'static str, NotPlain),
    /// The cryptographic library failed.
    #[error("token: the token could not be signed")]
    Signing,
}

impl Minter {
    /// Makes a minter that signs with a server's key. Its tokens name the `pins` of their time.
    #[must_use]
    pub fn new(development: &DevelopmentKey<'_>, pins: CertificatePins) -> Self {
        let key = EncodingKey::from_ed_der(development.signing_key);
        Self { key, audience: development.server_id.to_owned(), pins, kid: None }
    }

    /// Makes the minter of the API, whose tokens are accepted beside those of `[tokens]`.
    #[must_use]
    pub fn for_api(development: &DevelopmentKey<'_>, pins: CertificatePins) -> Self {
        Self { kid: Some(MINTED_KEY_ID), ..Self::new(development, pins) }
    }

    /// Signs a token that is valid from `now_unix`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The server would refuse the token, or the cryptographic library fails.
    pub fn mint(&self, request: TokenRequest, now_unix: u64) -> Result<String, MintError> {
        check(&request)?;
        let claims = Claims {
            exp: now_unix.saturating_add(request.ttl.as_secs()),
            iat: now_unix,
            aud: self.audience.clone(),
            jti: random_id()?,
            pin: self.pins.get(),
            sub: request.user,
            tenant: request.tenant,
            product: request.product,
            room: request.room,
            role: request.role,
            grants: request.grants,
            name: request.name,
        };
        let header = Header { kid: self.kid.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims, &self.key).map_err(|_| MintError::Signing)?;
        ensure(
            token.len() <= limits::TOKEN_BYTES,
            "the token would be longer than 4096 bytes: give fewer grants",
        )?;
        Ok(token)
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter").field("audience", &self.audience).finish_non_exhaustive()
    }
}

fn check(request: &TokenRequest) -> Result<(), MintError> {
    let plain = |flag, text: &str, max| match text::plain(text.as_bytes(), 1, max) {
        Ok(_) => Ok(()),
        Err(why) => Err(MintError::NotPlain(flag, why)),
    };
    plain("the tenant", &request.tenant, MAX_SHORT)?;
    plain("the user", &request.user, MAX_LONG)?;
    plain("the role", &request.role, MAX_SHORT)?;
    request.name.iter().try_for_each(|name| plain("the name", name, MAX_LONG))?;
    request.room.iter().try_for_each(|room| plain("the room", room, MAX_LONG))?;
    let pattern = |room: &String| RoomPattern::parse(room).is_some();
    ensure(request.room.as_ref().is_none_or(pattern), "the room may have a `*` only at its end")?;
    ensure(request.grants.len() <= limits::TOKEN_GRANTS, "there may be 32 grants")?;
    request.grants.iter().try_for_each(|grant| plain("a grant", grant, MAX_SHORT))?;
    let ttl = Duration::from_secs(1)..=MAX_TTL;
    ensure(ttl.contains(&request.ttl), "the validity (--ttl) must be 1s to 366d")
}

fn ensure(holds: bool, refusal: &'static str) -> Result<(), MintError> {
    if holds { Ok(()) } else { Err(MintError::Refused(refusal)) }
}

fn random_id() -> Result<String, MintError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| MintError::Signing)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
