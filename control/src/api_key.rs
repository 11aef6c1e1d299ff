//! The text of an API key: `nuk_<id>_<secret>`. The database holds a hash of the secret.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::id::NoRandomness;

/// How a key begins, so that scanners for leaked secrets can find it.
const PREFIX: &str = "nuk_";
/// Bytes of a secret.
const SECRET: usize = 32;
/// Most bytes of a key's text.
const MAX_TEXT: usize = 128;

/// Makes a key for the row with this id. Returns its text, which is shown once, and the hash to store.
///
/// # Errors
///
/// [`NoRandomness`]
pub(crate) fn generate(id: &str) -> Result<(String, String), NoRandomness> {
    let mut secret = [0; SECRET];
    rand::fill(&mut secret).map_err(|_| NoRandomness)?;
    let secret = URL_SAFE_NO_PAD.encode(secret);
    Ok((format!("{PREFIX}{id}_{secret}"), hash(&secret)))
}

/// Returns the id and the secret of a key's text. `None`: it is no API key.
pub(crate) fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (text.len() <= MAX_TEXT && crate::id::is_id(id)).then_some((id, secret))
}

/// Whether a secret has this hash. The time taken does not depend on where they differ.
pub(crate) fn matches(secret: &str, stored: &str) -> bool {
    verify_slices_are_equal(hash(secret).as_bytes(), stored.as_bytes()).is_ok()
}

/// The SHA-256 of a secret. A secret has 256 random bits, so a slow hash would protect it no better.
fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_another_secret_is_refused() {
        let id = crate::id::new(crate::Timestamp::now()).unwrap();
        let (text, stored) = generate(&id).unwrap();
        let (read, secret) = parse(&text).unwrap();
        assert_eq!(read, id);
        assert!(matches(secret, &stored));
        let (other, _) = generate(&id).unwrap();
        assert!(!matches(parse(&other).unwrap().1, &stored));
        assert!(!matches("", &stored) && !matches(secret, ""));
        assert!(!stored.contains(secret));
    }

    #[test]
    fn other_texts_are_no_keys() {
        let long = format!("nuk_{}_{}", "0".repeat(36), "a".repeat(100));
        for text in ["", "nuk_", "nuk__", "nuk_x_y", "Nuk_1_2", "eyJhbGciOi.a.b", &long] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
