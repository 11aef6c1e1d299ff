//! Join tokens: JWTs from the web server, or from `nucleus token` in development.
//!
//! The algorithm comes from the configuration and never from a token; the claims are checked
//! here, one by one, against a time that the caller passes in. A token only admits: what it
//! grants in a room is the room's business. No token and no key is ever logged.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod claims;
mod key;
mod mint;
mod verify;

pub use key::TokenKeyError;
pub use mint::{MintError, Minter, TokenRequest};
pub use verify::Verifier;

/// A longer token is refused unread (bytes).
pub const MAX_TOKEN_BYTES: usize = 4096;
/// Clocks of web server and relay may differ by this much (seconds).
pub const LEEWAY_S: u64 = 30;
/// What a token without a `role` gets.
pub const DEFAULT_ROLE: &str = "member";
/// Most grants in one token.
pub const MAX_GRANTS: usize = 32;

/// The product a peer belongs to; rooms of different products never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum App {
    /// Immersive meetings and training.
    Atom,
    /// Remote assistance.
    Assist,
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Atom => "atom",
            Self::Assist => "assist",
        })
    }
}

/// What a join token says, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The user, 1 to 128 bytes.
    pub sub: String,
    /// The customer whose rooms these are, 1 to 64 bytes.
    pub tenant: String,
    /// The product.
    pub app: App,
    /// A room, a prefix with `*` at its end, or absent for every room of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Name of the user's role, 1 to 64 bytes.
    pub role: String,
    /// Single rights beyond the role, each 1 to 64 bytes, at most [`MAX_GRANTS`].
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
pub struct Admission {
    /// The token's subject.
    pub user: String,
    /// How to show the user: the token's `name`, or else the subject.
    pub name: String,
    /// Whose rooms.
    pub tenant: String,
    /// Which product's rooms.
    pub app: App,
    /// Which of them.
    pub room: RoomPattern,
    /// The user's role in them.
    pub role: String,
    /// Single rights beyond the role.
    pub grants: Vec<String>,
}

/// The rooms of a tenant that a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomPattern {
    /// Every one.
    Any,
    /// The one of this name.
    Exact(String),
    /// Those whose name starts so.
    Prefix(String),
}

impl RoomPattern {
    /// Whether a room of this name may be entered.
    #[must_use]
    pub fn admits(&self, room: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => room == name,
            Self::Prefix(prefix) => room.starts_with(prefix.as_str()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        // A star elsewhere would look like a pattern and not be one.
        if name.contains('*') {
            return None;
        }
        Some(if prefix { Self::Prefix(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }
}

/// Why a token was refused; nothing in it repeats what the token said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`], or no JWT at all.
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
