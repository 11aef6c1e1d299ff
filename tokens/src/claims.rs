//! Checks the claims of a token whose signature is valid.

use nucleus_core::ids::{Product, RoomPattern};
use nucleus_core::{limits, text};
use serde_json::{Map, Value};

use super::{DEFAULT_ROLE, LEEWAY_S, TokenError, VerifiedToken};

/// Maximum length of a tenant, a role and a grant, in bytes.
pub(super) const MAX_SHORT: usize = 64;
/// Maximum length of a user, a room and a display name, in bytes.
pub(super) const MAX_LONG: usize = 128;

/// How far in the future a time of a token may lie, in seconds: ten years. A time in milliseconds
/// lies fifty thousand years ahead, and such a token would never expire.
const MAX_TIME_AHEAD_S: u64 = 3_653 * 86_400;

/// The claims of a token before any of them is checked.
pub(super) type RawClaims = Map<String, Value>;

/// What a time must be.
const TIME: &str = "a number of seconds since 1970";
/// What `aud` must be.
const AUDIENCE: &str = "a text or a list of texts";
/// What `product` must be, in addition to one of the server's.
const PRODUCT: &str = "a text, and the same as `app` if there are both";
/// What `room` must be.
const ROOM: &str = "a room's name, or a beginning of names with a `*` at the end";
/// What `grants` must be.
const GRANTS: &str = "a list of at most 32 texts, each of 1 to 64 bytes";

/// Checks all claims at `now`, in seconds since 1970.
///
/// # Errors
///
/// A claim is missing or invalid, or the token is not valid at `now` or for `audience`.
pub(super) fn verify_claims(
    claims: &RawClaims,
    audience: &str,
    products: &[Product],
    now: u64,
) -> Result<VerifiedToken, TokenError> {
    check_times(claims, now)?;
    check_audience(claims, audience)?;
    let user = required_text(claims, "sub", MAX_LONG)?;
    Ok(VerifiedToken {
        name: text(claims, "name", MAX_LONG)?.unwrap_or_else(|| user.clone()),
        user,
        tenant: required_text(claims, "tenant", MAX_SHORT)?,
        product: product(claims, products)?,
        room: room(claims)?,
        role: text(claims, "role", MAX_SHORT)?.unwrap_or_else(|| DEFAULT_ROLE.to_owned()),
        grants: grants(claims)?,
    })
}

/// Checks `exp`, `nbf` and `iat`. A time of a wrong type is an error; it must not count as absent
/// (CVE-2026-25537).
pub(super) fn check_times(claims: &RawClaims, now: u64) -> Result<(), TokenError> {
    let latest = now.saturating_add(MAX_TIME_AHEAD_S);
    for key in ["exp", "nbf", "iat"] {
        if time(claims, key)?.is_some_and(|time| time > latest) {
            return Err(TokenError::ImplausibleTime(key));
        }
    }
    let exp = time(claims, "exp")?.ok_or(TokenError::MissingClaim("exp"))?;
    if exp.saturating_add(LEEWAY_S) <= now {
        return Err(TokenError::Expired);
    }
    let latest_start = now.saturating_add(LEEWAY_S);
    match time(claims, "nbf")? {
        Some(nbf) if nbf > latest_start => Err(TokenError::NotYetValid),
        _ => Ok(()),
    }
}

/// Reads a time in seconds since 1970. RFC 7519 allows a fraction, which is cut off.
fn time(claims: &RawClaims, key: &'static str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(key) else { return Ok(None) };
    let seconds = value.as_u64().or_else(|| {
        // A float represents every whole number up to 2^53, which is just above 9.0e15.
        let float = value.as_f64().filter(|float| (0.0..9.0e15).contains(float))?;
        Some(float as u64)
    });
    seconds.map(Some).ok_or(TokenError::BadClaim(key, TIME))
}

pub(super) fn check_audience(claims: &RawClaims, audience: &str) -> Result<(), TokenError> {
    let named = match claims.get("aud") {
        None => return Err(TokenError::MissingClaim("aud")),
        Some(Value::String(name)) => name == audience,
        Some(Value::Array(names)) => names.iter().any(|name| name.as_str() == Some(audience)),
        Some(_) => return Err(TokenError::BadClaim("aud", AUDIENCE)),
    };
    if named { Ok(()) } else { Err(TokenError::WrongAudience) }
}

/// Reads the claim `product`, or `app`, which is its older name. If a token has both, they must be
/// equal.
fn product(claims: &RawClaims, products: &[Product]) -> Result<Product, TokenError> {
    const BAD: TokenError = TokenError::BadClaim("product", PRODUCT);
    let named = match (claims.get("product"), claims.get("app")) {
        (None, None) => return Err(TokenError::MissingClaim("product")),
        (Some(product), Some(app)) if product != app => return Err(BAD),
        (Some(name), _) | (None, Some(name)) => name.as_str().ok_or(BAD)?,
    };
    products.iter().find(|product| product.name() == named).copied().ok_or_else(|| {
        let names: Vec<_> = products.iter().map(Product::name).collect();
        TokenError::UnknownProduct(names.join(", "))
    })
}

fn room(claims: &RawClaims) -> Result<RoomPattern, TokenError> {
    match text(claims, "room", MAX_LONG)? {
        None => Ok(RoomPattern::Any),
        Some(room) => RoomPattern::parse(&room).ok_or(TokenError::BadClaim("room", ROOM)),
    }
}

fn grants(claims: &RawClaims) -> Result<Vec<String>, TokenError> {
    const BAD: TokenError = TokenError::BadClaim("grants", GRANTS);
    match claims.get("grants") {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= limits::TOKEN_GRANTS => {
            let grant = |value: &Value| text::plain(value.as_str()?.as_bytes(), 1, MAX_SHORT).ok();
            list.iter().map(grant).collect::<Option<_>>().ok_or(BAD)
        }
        Some(_) => Err(BAD),
    }
}

pub(super) fn required_text(
    claims: &RawClaims,
    key: &'static str,
    max: usize,
) -> Result<String, TokenError> {
    text(claims, key, max)?.ok_or(TokenError::MissingClaim(key))
}

pub(super) fn text(
    claims: &RawClaims,
    key: &'static str,
    max: usize,
) -> Result<Option<String>, TokenError> {
    match claims.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => {
            let plain = text::plain(text.as_bytes(), 1, max);
            plain.map(Some).map_err(|why| TokenError::NotPlain(key, why))
        }
        Some(_) => Err(TokenError::BadClaim(key, "a text")),
    }
}
