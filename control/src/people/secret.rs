//! Texts that nobody else may know: random secrets of cookies and links, of which the database holds only a
//! hash, and what people type.

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::id::NoRandomness;

/// Random bytes of a secret.
const SECRET: usize = 32;
/// Characters of a secret's text: four for each three bytes.
const TEXT: usize = SECRET.div_ceil(3) * 4 - 1;

/// Makes a secret. Returns its text and the hash to store.
///
/// # Errors
///
/// [`NoRandomness`]
pub fn new_secret() -> Result<(String, String), NoRandomness> {
    let mut secret = [0; SECRET];
    rand::fill(&mut secret).map_err(|_| NoRandomness)?;
    let text = URL_SAFE_NO_PAD.encode(secret);
    let hash = hash_secret(&text);
    Ok((text, hash))
}

/// Returns the SHA-256 of a secret's text. A secret has 256 random bits, so a slow hash would protect it no
/// better, and the time of looking for its hash in the database tells nothing.
pub fn hash_secret(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// Whether a text has the form of a secret.
pub fn is_secret(text: &str) -> bool {
    text.len() == TEXT && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A secret that somebody has typed. It is never shown, and its memory is overwritten.
#[derive(Clone, Default)]
pub struct SecretText(Zeroizing<String>);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl std::ops::Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(from)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_its_hash() {
        let (one, hash) = new_secret().unwrap();
        let (other, _) = new_secret().unwrap();
        assert!(is_secret(&one) && one != other && !hash.contains(&one));
        assert_eq!(hash_secret(&one), hash);
        assert!(
            !is_secret("") && !is_secret(&one[1..]) && !is_secret(&one.replace(&one[..1], "%"))
        );
    }
}
