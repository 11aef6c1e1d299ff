//! `[tokens]` of the configuration, and the key that replaces it in development mode.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Reads a key file, at most some KiB.
pub type ReadKeyFile = fn(&Path) -> io::Result<Zeroizing<Vec<u8>>>;

/// `[tokens]`: the signature and the audience that a join token must have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// The only algorithm that is accepted.
    pub algorithm: TokenAlgorithm,
    /// The file of the web server's public key, PEM; for EdDSA, ES256 and RS256.
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
    /// The file of the secret, at least 32 random bytes; for HS256.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The audience that `aud` must name, 1 to 128 bytes; absent: the server id.
    #[serde(default)]
    pub audience: Option<String>,
}

/// The signature algorithm of join tokens. Each key has one, which is never taken from a token's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// Ed25519; also the algorithm of development mode.
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSA (PKCS #1 v1.5) with SHA-256, which many sign-in services use by default.
    RS256,
    /// HMAC with SHA-256. The secret that verifies tokens can also sign them.
    HS256,
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::HS256 => "HS256",
        })
    }
}

impl From<TokenAlgorithm> for Algorithm {
    fn from(algorithm: TokenAlgorithm) -> Self {
        match algorithm {
            TokenAlgorithm::EdDSA => Self::EdDSA,
            TokenAlgorithm::ES256 => Self::ES256,
            TokenAlgorithm::RS256 => Self::RS256,
            TokenAlgorithm::HS256 => Self::HS256,
        }
    }
}

/// The data directory's key, which signs the tokens of development mode and those of the API.
pub struct DevelopmentKey<'a> {
    /// Ed25519, PKCS #8.
    pub signing_key: &'a [u8],
    /// The server id, which the tokens name as their audience.
    pub server_id: &'a str,
}
