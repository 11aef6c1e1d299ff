//! `[tokens]` of the configuration, and what stands in for it in development.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// `[tokens]`: which signature a join token must bear, and for whom it must be meant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// The one algorithm accepted.
    pub algorithm: TokenAlgorithm,
    /// PEM public key of the web server, for EdDSA and ES256.
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
    /// File of at least 32 random bytes, for HS256.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// What `aud` must name, 1 to 128 bytes; absent: the server's id.
    #[serde(default)]
    pub audience: Option<String>,
}

/// How join tokens are signed. Configured, never taken from a token's own header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TokenAlgorithm {
    /// Ed25519; what the development key uses.
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// HMAC with SHA-256: whoever can check a token can also make one.
    HS256,
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::HS256 => "HS256",
        })
    }
}

/// A server's own signing key, which signs the tokens of development.
pub struct DevelopmentKey<'a> {
    /// Ed25519, PKCS #8.
    pub signing_key: &'a [u8],
    /// What the tokens name as their audience.
    pub server_id: &'a str,
}
