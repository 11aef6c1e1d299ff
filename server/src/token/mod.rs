//! Join tokens: JWTs from the web server, or from `nucleus token` in development.
//!
//! The algorithm comes from the configuration and never from a token; the claims are checked
//! here, one by one, against a time that the caller passes in. A token only admits: what it
//! grants in a room is the room's business. No token and no key is ever logged.

pub use nucleus_core::ids::Product;
use nucleus_core::ids::RoomPattern;
use serde::Serialize;
use thiserror::Error;

mod claims;
mod key;
mod mint;
mod settings;
mod verify;

pub use key::TokenKeyError;
pub use mint::{MintError, Minter, TokenRequest};
pub use settings::{DevelopmentKey, TokenAlgorithm, TokenSettings};
pub use verify::TokenVerifier;

/// Clocks of web server and relay may differ by this much (seconds).
pub const LEEWAY_S: u64 = 30;
/// What a token without a `role` gets.
pub const DEFAULT_ROLE: &str = "member";

/// What a join token says, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The user, 1 to 128 bytes.
    pub sub: String,
    /// The customer whose rooms these are, 1 to 64 bytes.
    pub tenant: String,
    /// The product.
    pub product: Product,
    /// A room, a prefix with `*` at its end, or absent for every room of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Name of the user's role, 1 to 64 bytes.
    pub role: String,
    /// Single rights beyond the role, each 1 to 64 bytes, at most [`nucleus_core::limits::TOKEN_GRANTS`].
    pub grants: Vec<String>,
    /// End of validity, seconds since 1970.
    pub exp: u64,
    /// Time of signing, seconds since 1970.
    pub iat: u64,
    /// The server this is for.
    pub aud: String,
    /// Random name of this token.
    pub jti: String,
    /// How the user is shown to others, 1 to 128 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Development only: base64url SHA-256 of the certificate, handed over with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
}

/// What an accepted token admits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The token's subject.
    pub user: String,
    /// How to show the user: the token's `name`, or else the subject.
    pub name: String,
    /// Whose rooms.
    pub tenant: String,
    /// Which product's rooms.
    pub product: Product,
    /// Which of them.
    pub room: RoomPattern,
    /// The user's role in them.
    pub role: String,
    /// Single rights beyond the role.
    pub grants: Vec<String>,
}

/// Why a token was refused; nothing in it repeats what the token said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Longer than [`nucleus_core::limits::TOKEN_BYTES`], or no JWT at all.
    #[error("the join token is not a JWT of at most 4096 bytes: fetch a new one")]
    Malformed,
    /// Signed, or claiming to be, with another algorithm than the configured one.
    #[error("the join token is signed with another algorithm than this server is configured for")]
    WrongAlgorithm,
    /// Signed by somebody else, or changed since.
    #[error("the join token's signature is not by the key this server trusts")]
    BadSignature,
    /// Its time is over.
    #[error("the join token has expired: fetch a new one")]
    Expired,
    /// Its time has not come.
    #[error("the join token is not valid yet: compare the clocks of web server and relay")]
    NotYetValid,
    /// For another server.
    #[error("the join token is for another server: its `aud` is not this server's")]
    WrongAudience,
    /// A required claim is not there.
    #[error("the join token lacks the claim `{0}`")]
    MissingClaim(&'static str),
    /// A claim has the wrong type, length or characters.
    #[error("the join token's claim `{0}` has a wrong type, length or character")]
    BadClaim(&'static str),
}

#[cfg(test)]
mod tests;
