//! Join tokens: JWTs from the web server, from an issuer of a tenant, or from the server itself.
//!
//! A key has one algorithm, whatever a token says. Each claim is checked here, against a time that the
//! caller passes in. Roles and grants are only read here: the room enforces them. Tokens and keys are
//! never logged.

pub use nucleus_core::ids::Product;
use nucleus_core::ids::RoomPattern;
use nucleus_core::text::NotPlain;
use serde::Serialize;
use thiserror::Error;

mod claims;
mod id_token;
mod issuers;
mod jwks;
mod key;
mod mint;
mod settings;
mod verify;

pub use id_token::{ExpectedIdToken, IdToken, IdTokenError, verify_id_token};
pub use issuers::{IssuerKey, IssuerKeys};
pub use jwks::{JwksError, PublishedKey, PublishedKeys, read_jwks};
pub use key::{BadKey, TokenKeyError, VerificationKey};
pub use mint::{CertificatePins, MintError, Minter, TokenRequest};
pub use settings::{DevelopmentKey, ReadKeyFile, TokenAlgorithm, TokenSettings};
pub use verify::{TokenVerifier, VerifierSettings};

/// How much the clocks of the web server and this server may differ, in seconds.
pub const LEEWAY_S: u64 = 30;
/// The role of a token without the claim `role`.
pub const DEFAULT_ROLE: &str = "member";

/// The claims of a join token, as they are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The user, 1 to 128 bytes.
    pub sub: String,
    /// The customer that the user belongs to, 1 to 64 bytes.
    pub tenant: String,
    /// The product.
    pub product: Product,
    /// A room's name, or a prefix of names that ends with `*`; absent: every room of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Name of the user's role, 1 to 64 bytes.
    pub role: String,
    /// Rights in addition to the role's, each 1 to 64 bytes, at most
    /// [`nucleus_core::limits::TOKEN_GRANTS`].
    pub grants: Vec<String>,
    /// End of validity, seconds since 1970.
    pub exp: u64,
    /// Time of signing, seconds since 1970.
    pub iat: u64,
    /// The audience: the server that the token is for.
    pub aud: String,
    /// A random id of this token.
    pub jti: String,
    /// The display name, 1 to 128 bytes; absent: the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Development only: the SHA-256 digests of the certificates that the server has now and next,
    /// base64url without padding.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pin: Vec<String>,
}

/// The content of an accepted token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The token's subject.
    pub user: String,
    /// The display name: the token's `name`, or the subject if there is none.
    pub name: String,
    /// The tenant.
    pub tenant: String,
    /// The product.
    pub product: Product,
    /// The rooms of the tenant's product that the token admits to.
    pub room: RoomPattern,
    /// The user's role in these rooms.
    pub role: String,
    /// Rights in addition to the role's.
    pub grants: Vec<String>,
}

/// Why a token is refused. No text repeats a value of the token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The token is longer than [`nucleus_core::limits::TOKEN_BYTES`], or not a JWT.
    #[error("the join token is not a JWT of at most 4096 bytes: fetch a new one")]
    Malformed,
    /// The token names an algorithm for which there is no key.
    #[error(
        "the join token is signed with another algorithm than that of the keys which this server \
         trusts for the token's tenant"
    )]
    WrongAlgorithm,
    /// The token is signed with another key, or was changed after it was signed.
    #[error("the join token is not signed with a key that this server trusts for its tenant")]
    BadSignature,
    /// The token names a key (`kid`) that the tenant's issuer does not publish, as far as this server
    /// knows.
    #[error("the join token is signed with a key that its tenant's issuer does not publish")]
    UnknownKey,
    /// The token's validity has ended.
    #[error("the join token has expired: fetch a new one")]
    Expired,
    /// The token's validity has not begun.
    #[error(
        "the join token is not valid yet: compare the clocks of the web server and this server"
    )]
    NotYetValid,
    /// The token is for another server.
    #[error("the join token is for another server: the claim `aud` does not name this server")]
    WrongAudience,
    /// A required claim is missing.
    #[error("the join token lacks the claim `{0}`")]
    MissingClaim(&'static str),
    /// A claim has the wrong type or form.
    #[error("the join token's claim `{0}` must be {1}")]
    BadClaim(&'static str, &'static str),
    /// The server has no such product.
    #[error("the join token's claim `product` must be one of this server's products: {0}")]
    UnknownProduct(String),
    /// A time lies more than ten years after the server's clock.
    #[error(
        "the join token's claim `{0}` is more than ten years ahead of the server's clock: times \
         are in seconds since 1970, not in milliseconds; if this one is, set the server's clock"
    )]
    ImplausibleTime(&'static str),
    /// A claim is no plain text of the right length.
    #[error("the join token's claim `{0}` {1}")]
    NotPlain(&'static str, NotPlain),
}

#[cfg(test)]
mod tests;
