//! Verifies an ID token of OpenID Connect: who has signed in at a provider.

use serde_json::Value;
use thiserror::Error;

use super::TokenError;
use super::claims::{check_audience, check_times, required_text, text};
use super::jwks::PublishedKey;
use super::verify::SplitToken;

/// Most bytes of an ID token. Providers put groups into it, so it is longer than a join token.
const BYTES: usize = 16 << 10;
/// Most bytes of `sub` (OpenID Connect Core, 2).
const SUBJECT: usize = 255;
/// Most bytes of an email address.
const EMAIL: usize = 254;
/// Most bytes of a name.
const NAME: usize = 128;

/// What an ID token must say.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedIdToken<'a> {
    /// The provider, as `iss`.
    pub issuer: &'a str,
    /// The id by which the provider knows this server, as `aud`.
    pub client: &'a str,
    /// The random text that went to the provider with the browser.
    pub nonce: &'a str,
}

/// What an accepted ID token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdToken {
    /// The person at the provider. The same text at another provider is another person.
    pub subject: String,
    /// The email address, if the provider has verified it.
    pub email: Option<String>,
    /// The name.
    pub name: Option<String>,
}

/// Why an ID token is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdTokenError {
    /// It is no token, its time is over, or a claim has the wrong form.
    #[error("the ID token is refused: {0}")]
    Token(#[from] TokenError),
    /// It is not signed with a key that the provider publishes.
    #[error("the ID token is not signed with a key that the provider publishes")]
    Signature,
    /// A claim has another value than expected.
    #[error("the ID token has another `{0}` than expected")]
    Other(&'static str),
}

/// Verifies an ID token at `now_unix`, in seconds since 1970, with the keys that its provider publishes.
///
/// # Errors
///
/// [`IdTokenError`]
pub fn verify_id_token(
    token: &str,
    keys: &[PublishedKey],
    expected: &ExpectedIdToken<'_>,
    now_unix: u64,
) -> Result<IdToken, IdTokenError> {
    let token = SplitToken::read_within(token, BYTES)?;
    let kid = token.kid.as_deref();
    let may_have_signed = |key: &&PublishedKey| {
        // A key has one algorithm, whatever a token says.
        token.algorithm == Some(key.key.algorithm)
            && (kid.is_none() || key.id.is_none() || key.id.as_deref() == kid)
    };
    let mut is_signed = false;
    for key in keys.iter().filter(may_have_signed) {
        is_signed |= token.is_signed_by(&key.key)?;
    }
    if !is_signed {
        return Err(IdTokenError::Signature);
    }
    let claims = &token.claims;
    let is = |claim, value| claims.get(claim).and_then(Value::as_str) == Some(value);
    if !is("iss", expected.issuer) {
        return Err(IdTokenError::Other("iss"));
    }
    check_audience(claims, expected.client)?;
    // A token for several clients names the one that asked for it.
    if claims.contains_key("azp") && !is("azp", expected.client) {
        return Err(IdTokenError::Other("azp"));
    }
    if !is("nonce", expected.nonce) {
        return Err(IdTokenError::Other("nonce"));
    }
    check_times(claims, now_unix)?;
    let is_verified = match claims.get("email_verified") {
        Some(Value::Bool(is_verified)) => *is_verified,
        // Some providers write it as a text.
        Some(Value::String(text)) => text == "true",
        _ => false,
    };
    let email = if is_verified { text(claims, "email", EMAIL)? } else { None };
    // A name that is too long or has odd characters keeps nobody out.
    let name = text(claims, "name", NAME).ok().flatten();
    Ok(IdToken { subject: required_text(claims, "sub", SUBJECT)?, email, name })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    use serde_json::json;

    use super::*;
    use crate::read_jwks;

    const NOW: u64 = 1_800_000_000;
    const EXPECTED: ExpectedIdToken<'_> =
        ExpectedIdToken { issuer: "https://login.example.com", client: "nucleus", nonce: "n" };

    struct Provider(Ed25519KeyPair);

    impl Provider {
        fn new() -> Self {
            Self(Ed25519KeyPair::generate().unwrap())
        }

        fn keys(&self, kid: &str) -> Vec<PublishedKey> {
            let x = BASE64.encode(self.0.public_key().as_ref());
            let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid}]});
            read_jwks(set.to_string().as_bytes()).unwrap().keys
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| BASE64.encode(value.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            format!("{signed}.{}", BASE64.encode(self.0.sign(signed.as_bytes())))
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://login.example.com", "aud": "nucleus", "nonce": "n", "sub": "42",
            "exp": NOW + 60, "iat": NOW, "email": "ada@example.com", "email_verified": true,
            "name": "Ada",
        })
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "kid": "1"})
    }

    #[test]
    fn a_token_says_who_has_signed_in() {
        let provider = Provider::new();
        let keys = provider.keys("1");
        let verify = |claims: &Value| {
            verify_id_token(&provider.sign(&header(), claims), &keys, &EXPECTED, NOW)
        };
        let ada = verify(&claims()).unwrap();
        assert_eq!((ada.subject.as_str(), ada.name.as_deref()), ("42", Some("Ada")));
        assert_eq!(ada.email.as_deref(), Some("ada@example.com"));
        let mut unverified = claims();
        unverified["email_verified"] = json!(false);
        assert_eq!(verify(&unverified).unwrap().email, None);
        unverified["email_verified"] = json!("true");
        assert!(verify(&unverified).unwrap().email.is_some());
    }

    #[test]
    fn each_wrong_claim_is_refused() {
        let provider = Provider::new();
        let keys = provider.keys("1");
        for (claim, value) in [
            ("iss", json!("https://evil.example.com")),
            ("iss", json!(null)),
            ("aud", json!("another")),
            ("aud", json!(["another"])),
            ("azp", json!("another")),
            ("nonce", json!("other")),
            ("exp", json!(NOW - 60)),
            ("exp", json!("never")),
            ("nbf", json!(NOW + 3_600)),
            ("sub", json!("")),
            ("sub", json!(7)),
        ] {
            let mut wrong = claims();
            wrong[claim] = value.clone();
            let token = provider.sign(&header(), &wrong);
            let refused = verify_id_token(&token, &keys, &EXPECTED, NOW);
            assert!(refused.is_err(), "{claim} = {value}: {refused:?}");
        }
    }

    #[test]
    fn another_key_and_another_algorithm_are_refused() {
        let (provider, other) = (Provider::new(), Provider::new());
        let token = provider.sign(&header(), &claims());
        let refuse = |token: &str, keys: &[PublishedKey]| {
            verify_id_token(token, keys, &EXPECTED, NOW).unwrap_err()
        };
        assert_eq!(refuse(&token, &other.keys("1")), IdTokenError::Signature);
        assert_eq!(refuse(&token, &provider.keys("2")), IdTokenError::Signature);
        assert_eq!(refuse(&token, &[]), IdTokenError::Signature);
        for alg in ["none", "HS256", "RS256"] {
            let token = provider.sign(&json!({"alg": alg, "kid": "1"}), &claims());
            assert_eq!(refuse(&token, &provider.keys("1")), IdTokenError::Signature, "{alg}");
        }
        let (signed, _) = token.rsplit_once('.').unwrap();
        refuse(&format!("{signed}."), &provider.keys("1"));
        refuse("a.b.c", &provider.keys("1"));
        refuse(&"a".repeat(20_000), &provider.keys("1"));
    }
}
