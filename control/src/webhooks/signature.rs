//! The signature of a delivery, by [Standard Webhooks](https://www.standardwebhooks.com/): HMAC-SHA256
//! over the id, the time and the body.

use std::fmt::Write as _;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::timestamp::Timestamp;

/// How the text of a secret begins.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of the digest that names a key.
const NAME: usize = 8;

/// Makes the secrets of webhooks from one key of the data directory, so that the database holds none.
/// Servers that share a database share this key, too.
///
/// The same key seals what the database keeps for a while and nobody else may read.
#[derive(Clone)]
pub struct WebhookSigner {
    key: hmac::Key,
    name: String,
}

/// How a sealed text begins.
const SEALED_PREFIX: &str = "sealed1.";

impl std::fmt::Debug for WebhookSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSigner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl WebhookSigner {
    /// Makes a signer of 64 random bytes.
    pub fn new(key: &[u8; 64]) -> Self {
        let digest = digest::digest(&digest::SHA256, key);
        let mut name = String::new();
        for byte in digest.as_ref().iter().take(NAME) {
            let _written = write!(name, "{byte:02x}");
        }
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), name }
    }

    /// Returns the name of the key, by which servers know their webhooks.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text of a webhook's secret, which its receiver has to know.
    pub fn secret(&self, webhook: &str) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(self.secret_bytes(webhook)))
    }

    /// Returns the headers of a delivery that is sent at `now`.
    pub(super) fn headers(
        &self,
        webhook: &str,
        event: &str,
        now: Timestamp,
        body: &str,
    ) -> [(&'static str, String); 4] {
        let seconds = now.seconds();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret_bytes(webhook).as_ref());
        let tag = hmac::sign(&key, format!("{event}.{seconds}.{body}").as_bytes());
        [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", event.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", format!("v1,{}", STANDARD.encode(tag))),
        ]
    }

    /// Seals a text for the place `place` of the database. `None`: the system has no random bytes.
    pub(crate) fn seal(&self, place: &str, text: &str) -> Option<String> {
        let mut bytes = text.as_bytes().to_vec();
        let sealed = self.sealing_key()?.seal_in_place_append_tag(Aad::from(place), &mut bytes);
        let mut whole = sealed.ok()?.as_ref().to_vec();
        whole.append(&mut bytes);
        Some(format!("{SEALED_PREFIX}{}", STANDARD.encode(whole)))
    }

    /// Opens a text that was sealed for the place `place`. One that was never sealed is returned as it is: an
    /// older server has written it. `None`: a server with another key has sealed it, or somebody has changed
    /// it.
    pub(crate) fn unseal(&self, place: &str, text: &str) -> Option<String> {
        if text.starts_with(SEALED_PREFIX) { self.open(place, text) } else { Some(text.to_owned()) }
    }

    /// Opens a text that was sealed for the place `place`. `None`: it was not, a server with another key has
    /// sealed it, or somebody has changed it.
    pub(crate) fn open(&self, place: &str, text: &str) -> Option<String> {
        let sealed = text.strip_prefix(SEALED_PREFIX)?;
        let mut bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.sealing_key()?.open_in_place(nonce, Aad::from(place), sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }

    fn sealing_key(&self) -> Option<RandomizedNonceKey> {
        let key = hmac::sign(&self.key, b"sealing of texts in the database");
        RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok()
    }

    fn secret_bytes(&self, webhook: &str) -> hmac::Tag {
        hmac::sign(&self.key, format!("webhook {webhook}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_webhook_has_a_secret_of_its_own_that_signs_its_deliveries() {
        let signer = WebhookSigner::new(&[7; 64]);
        let (one, two) = (signer.secret("1"), signer.secret("2"));
        assert_ne!(one, two);
        assert_eq!(one, WebhookSigner::new(&[7; 64]).secret("1"), "after a restart");
        let other = WebhookSigner::new(&[8; 64]);
        assert!(one != other.secret("1") && signer.name() != other.name());

        let now = Timestamp::from_seconds(1_800_000_000);
        let headers = signer.headers("1", "event", now, "{}");
        let secret = STANDARD.decode(one.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let tag = headers[3].1.strip_prefix("v1,").unwrap();
        hmac::verify(&key, b"event.1800000000.{}", &STANDARD.decode(tag).unwrap()).unwrap();
        assert!(!format!("{signer:?}").contains("key"));
    }

    #[test]
    fn a_sealed_text_is_read_with_the_same_key_at_the_same_place_alone() {
        let signer = WebhookSigner::new(&[7; 64]);
        let sealed = signer.seal("one", "a secret").unwrap();
        assert!(!sealed.contains("secret") && sealed != signer.seal("one", "a secret").unwrap());
        assert_eq!(signer.unseal("one", &sealed).unwrap(), "a secret");
        assert!(signer.unseal("two", &sealed).is_none());
        assert!(WebhookSigner::new(&[8; 64]).unseal("one", &sealed).is_none());
        for end in 0..sealed.len() - SEALED_PREFIX.len() {
            assert!(signer.unseal("one", &sealed[..SEALED_PREFIX.len() + end]).is_none(), "{end}");
        }
        assert_eq!(signer.unseal("one", "{}").unwrap(), "{}", "of an older server");
    }
}
