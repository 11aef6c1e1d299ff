//! Tests of join tokens: which are accepted, and the error for each kind of bad token.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use nucleus_core::limits;
use proptest::prelude::*;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;

mod issuers;

const NOW: u64 = 1_800_000_000;
const SERVER_ID: &str = "0123456789abcdef0123456789abcdef";

/// A server with the key of its data directory.
struct Fixture {
    signing_key: Vec<u8>,
    issuers: Arc<ArcSwap<IssuerKeys>>,
    verifier: TokenVerifier,
}

fn fixture() -> Fixture {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let signing_key = pair.serialized_der().to_vec();
    let issuers = Arc::new(ArcSwap::from_pointee(IssuerKeys::default()));
    let verifier = verifier(None, &development(&signing_key), issuers.clone()).unwrap();
    Fixture { signing_key, issuers, verifier }
}

fn development(signing_key: &[u8]) -> DevelopmentKey<'_> {
    DevelopmentKey { signing_key, server_id: SERVER_ID }
}

fn verifier(
    tokens: Option<&TokenSettings>,
    key: &DevelopmentKey<'_>,
    issuers: Arc<ArcSwap<IssuerKeys>>,
) -> Result<TokenVerifier, TokenKeyError> {
    TokenVerifier::new(VerifierSettings {
        tokens,
        development: DevelopmentKey { ..*key },
        minted: true,
        products: vec![Product::ATOM, Product::ASSIST],
        issuers,
        read: |path| fs::read(path).map(Zeroizing::new),
    })
}

impl Fixture {
    fn claims(&self) -> Value {
        json!({
            "sub": "ada", "tenant": "acme", "product": "atom", "exp": NOW + 60,
            "aud": SERVER_ID,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let key = EncodingKey::from_ed_der(&self.signing_key);
        encode(&Header::new(Algorithm::EdDSA), claims, &key).unwrap()
    }

    fn development(&self) -> DevelopmentKey<'_> {
        development(&self.signing_key)
    }

    fn minter(&self) -> Minter {
        Minter::new(&self.development(), CertificatePins::new(vec!["a pin".to_owned()]))
    }

    fn configured(&self, tokens: &TokenSettings) -> Result<TokenVerifier, TokenKeyError> {
        verifier(Some(tokens), &self.development(), self.issuers.clone())
    }

    fn verify_with(&self, key: &str, value: Value) -> Result<VerifiedToken, TokenError> {
        let mut claims = self.claims();
        claims[key] = value;
        self.verifier.verify(&self.sign(&claims), NOW)
    }
}

fn forge(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[test]
fn what_is_minted_is_admitted() {
    let f = fixture();
    let request = TokenRequest {
        name: Some("Ada L.".to_owned()),
        room: Some("lab-*".to_owned()),
        role: "trainer".to_owned(),
        grants: vec!["kick".to_owned()],
        ..TokenRequest::new(Product::ASSIST, "acme", "ada")
    };
    let token = f.minter().mint(request, NOW).unwrap();
    let token = f.verifier.verify(&token, NOW).unwrap();
    assert_eq!((&*token.user, &*token.name), ("ada", "Ada L."));
    assert_eq!((&*token.tenant, token.product), ("acme", Product::ASSIST));
    assert_eq!(token.room, RoomPattern::Prefix("lab-".to_owned()));
    assert_eq!((&*token.role, &*token.grants), ("trainer", &["kick".to_owned()][..]));
}

#[test]
fn a_minted_token_carries_the_pins_of_its_time() {
    let f = fixture();
    let token = f.minter().mint(TokenRequest::new(Product::ATOM, "t", "u"), NOW).unwrap();
    let body = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(claims["pin"], json!(["a pin"]));
    assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    assert!(claims.get("room").is_none());
}

#[test]
fn the_least_token_has_defaults() {
    let f = fixture();
    let token = f.verifier.verify(&f.sign(&f.claims()), NOW).unwrap();
    assert_eq!((&*token.name, &*token.role), ("ada", DEFAULT_ROLE));
    assert_eq!((token.room, token.grants), (RoomPattern::Any, vec![]));
}

#[test]
fn each_required_claim_is_missed_by_name() {
    let f = fixture();
    for key in ["sub", "tenant", "product", "exp", "aud"] {
        let mut claims = f.claims();
        claims.as_object_mut().unwrap().remove(key);
        let result = f.verifier.verify(&f.sign(&claims), NOW);
        assert_eq!(result, Err(TokenError::MissingClaim(key)));
    }
}

#[test]
fn a_wrongly_typed_claim_is_never_absent() {
    let f = fixture();
    let far = (NOW + 60).to_string();
    for (key, value) in [
        ("exp", json!(far)),
        ("exp", json!(null)),
        ("exp", json!(-1)),
        ("exp", json!(1.0e300)),
        ("exp", json!([NOW + 60])),
        ("nbf", json!("0")),
        ("iat", json!("0")),
        ("aud", json!(7)),
        ("sub", json!(7)),
        ("product", json!(7)),
        ("room", json!(null)),
        ("grants", json!("kick")),
        ("grants", json!([1])),
        ("grants", json!(vec!["g"; limits::TOKEN_GRANTS + 1])),
    ] {
        let error = f.verify_with(key, value.clone()).unwrap_err();
        assert!(
            matches!(error, TokenError::BadClaim(claim, _) if claim == key),
            "{value}: {error}"
        );
        assert!(error.to_string().contains(" must be "), "{error}");
    }
    let unknown = f.verify_with("product", json!("vrtrain")).unwrap_err().to_string();
    assert!(unknown.ends_with("one of this server's products: atom, assist"), "{unknown}");
}

#[test]
fn the_product_may_be_called_app_but_not_two_things() {
    let f = fixture();
    let mut claims = f.claims();
    let product = claims.as_object_mut().unwrap().remove("product").unwrap();
    claims["app"] = product;
    let product =
        |claims: &Value| f.verifier.verify(&f.sign(claims), NOW).map(|token| token.product);
    assert_eq!(product(&claims), Ok(Product::ATOM));
    claims["product"] = json!("atom");
    assert_eq!(product(&claims), Ok(Product::ATOM));
    claims["product"] = json!("assist");
    assert!(matches!(product(&claims), Err(TokenError::BadClaim("product", _))));
}

#[test]
fn times_have_thirty_seconds_of_leeway() {
    let f = fixture();
    assert!(f.verify_with("exp", json!(NOW - LEEWAY_S + 1)).is_ok());
    assert_eq!(f.verify_with("exp", json!(NOW - LEEWAY_S)), Err(TokenError::Expired));
    assert_eq!(f.verify_with("exp", json!(0)), Err(TokenError::Expired));
    assert!(f.verify_with("exp", json!(NOW as f64 + 0.5)).is_ok());
    assert!(f.verify_with("nbf", json!(NOW + LEEWAY_S)).is_ok());
    assert_eq!(f.verify_with("nbf", json!(NOW + LEEWAY_S + 1)), Err(TokenError::NotYetValid));
}

#[test]
fn the_audience_must_name_this_server() {
    let f = fixture();
    assert!(f.verify_with("aud", json!(["other", SERVER_ID])).is_ok());
    for aud in [json!("other"), json!([]), json!(["other"]), json!("")] {
        assert_eq!(f.verify_with("aud", aud), Err(TokenError::WrongAudience));
    }
}

#[test]
fn lengths_and_characters() {
    let f = fixture();
    for (key, max) in [("sub", 128), ("room", 128), ("name", 128), ("tenant", 64), ("role", 64)] {
        assert!(f.verify_with(key, json!("x".repeat(max))).is_ok(), "{key}");
        let length = NotPlain::Length { min: 1, max };
        for (bad, why) in [
            ("x".repeat(max + 1), length),
            (String::new(), length),
            ("a\nb".into(), NotPlain::Control('\n')),
            ("a\u{9b}b".into(), NotPlain::Control('\u{9b}')),
            ("a\u{202e}b".into(), NotPlain::Invisible('\u{202e}')),
            ("\u{200b}".into(), NotPlain::Invisible('\u{200b}')),
            ("\u{200d}".into(), NotPlain::Blank),
        ] {
            assert_eq!(f.verify_with(key, json!(bad)), Err(TokenError::NotPlain(key, why)));
        }
        assert!(f.verify_with(key, json!("דנה\u{200f}")).is_ok(), "{key}");
    }
    assert!(f.verify_with("grants", json!(["a\u{202e}"])).is_err());
}

/// A token's names are compared with those of other tokens and clients.
#[test]
fn claims_are_read_in_nfc() {
    let f = fixture();
    let token = f.verify_with("sub", json!("rene\u{301}")).unwrap();
    assert_eq!((&*token.user, &*token.name), ("ren\u{e9}", "ren\u{e9}"));
    assert_eq!(f.verify_with("tenant", json!("cafe\u{301}")).unwrap().tenant, "caf\u{e9}");
    assert_eq!(f.verify_with("role", json!("e\u{301}")).unwrap().role, "\u{e9}");
    for room in ["cafe\u{301}", "cafe\u{301}*"] {
        let token = f.verify_with("room", json!(room)).unwrap();
        assert!(token.room.admits("caf\u{e9}"));
        assert!(!token.room.admits("cafe"));
    }
}

/// A time in milliseconds would make a token that never expires.
#[test]
fn an_implausible_time_is_refused_with_the_reason() {
    let f = fixture();
    let years = |years: u64| NOW + years * 365 * 86_400;
    for key in ["exp", "nbf", "iat"] {
        for time in [NOW * 1_000, years(11), u64::MAX] {
            let refused = f.verify_with(key, json!(time));
            assert_eq!(refused, Err(TokenError::ImplausibleTime(key)), "{time}");
        }
        let text = TokenError::ImplausibleTime(key).to_string();
        assert!(text.contains(key) && text.contains("milliseconds"), "{text}");
        // The clock of a machine without a battery starts in 1970, and all tokens are far ahead of it.
        assert!(text.contains("the server's clock"), "{text}");
    }
    assert!(f.verify_with("exp", json!(years(9))).is_ok());
    assert_eq!(f.verify_with("nbf", json!(years(9))), Err(TokenError::NotYetValid));
    // A web server whose clock is a little ahead.
    assert!(f.verify_with("iat", json!(NOW + 300)).is_ok());
}

#[test]
fn room_patterns() {
    let f = fixture();
    let room = |text: &str| f.verify_with("room", json!(text)).map(|token| token.room);
    assert!(RoomPattern::Any.admits("x"));
    assert!(room("lab-1").unwrap().admits("lab-1") && !room("lab-1").unwrap().admits("lab-12"));
    assert!(room("lab-*").unwrap().admits("lab-12") && !room("lab-*").unwrap().admits("lob-1"));
    assert!(room("*").unwrap().admits("anything"));
    for bad in ["a*b", "**", "*a"] {
        assert!(matches!(room(bad), Err(TokenError::BadClaim("room", _))));
    }
}

/// header {"alg":"none","typ":"JWT"}, claims {"sub":"ada","tenant":"acme","app":"atom",
/// "exp":4102444800,"aud":"any"}, no signature.
const ALG_NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZGEiLCJ0ZW5hbnQiOiJhY21lIiwiYXBwIjoiYXRvbSIsImV4cCI6NDEwMjQ0NDgwMCwiYXVkIjoiYW55In0.";

#[test]
fn alg_none_is_refused() {
    let f = fixture();
    assert_eq!(f.verifier.verify(ALG_NONE, NOW), Err(TokenError::WrongAlgorithm));
    for alg in ["none", "None", "NONE", "nOnE", "HS256", "ES256", "RS256"] {
        let token = forge(&json!({ "alg": alg }), &f.claims(), "");
        assert_eq!(f.verifier.verify(&token, NOW), Err(TokenError::WrongAlgorithm), "{alg}");
    }
    let unsigned = forge(&json!({ "alg": "EdDSA" }), &f.claims(), "");
    assert_eq!(f.verifier.verify(&unsigned, NOW), Err(TokenError::BadSignature));
}

#[test]
fn a_public_key_is_no_shared_secret() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let f = fixture();
    let pair = Ed25519KeyPair::from_pkcs8(&f.signing_key).unwrap();
    let key = EncodingKey::from_secret(pair.public_key().as_ref());
    let token = encode(&Header::new(Algorithm::HS256), &f.claims(), &key).unwrap();
    assert_eq!(f.verifier.verify(&token, NOW), Err(TokenError::WrongAlgorithm));
    let relabelled = {
        let mut parts: Vec<&str> = token.split('.').collect();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
        parts[0] = &header;
        parts.join(".")
    };
    assert_eq!(f.verifier.verify(&relabelled, NOW), Err(TokenError::BadSignature));
}

#[test]
fn strangers_and_changed_tokens_are_refused() {
    let (f, stranger) = (fixture(), fixture());
    let foreign = stranger.sign(&f.claims());
    assert_eq!(f.verifier.verify(&foreign, NOW), Err(TokenError::BadSignature));
    let valid = f.sign(&f.claims());
    let signature = valid.rsplit('.').next().unwrap();
    let mut claims = f.claims();
    claims["sub"] = json!("admin");
    let changed = forge(&json!({ "alg": "EdDSA", "typ": "JWT" }), &claims, signature);
    assert_eq!(f.verifier.verify(&changed, NOW), Err(TokenError::BadSignature));
}

#[test]
fn what_is_no_jwt_is_malformed() {
    let f = fixture();
    let valid = f.sign(&f.claims());
    let critical = forge(&json!({ "alg": "EdDSA", "crit": ["b64"] }), &f.claims(), "AA");
    let long = format!("{valid}{}", "A".repeat(limits::TOKEN_BYTES));
    let no_alg = forge(&json!({}), &f.claims(), "AA");
    let no_object = f.sign(&json!([1, 2]));
    let dots = format!("{valid}.AA");
    for token in ["", ".", "..", "a.b.c", "ü", &critical, &long, &no_alg, &no_object, &dots] {
        assert_eq!(f.verifier.verify(token, NOW), Err(TokenError::Malformed), "{token}");
    }
}

fn configured(dir: &Path, algorithm: TokenAlgorithm, key: &[u8]) -> TokenSettings {
    let path = dir.join("key");
    fs::write(&path, key).unwrap();
    let secret = algorithm == TokenAlgorithm::HS256;
    TokenSettings {
        algorithm,
        public_key_file: (!secret).then(|| path.clone()),
        secret_file: secret.then_some(path),
        audience: Some("relay.example".to_owned()),
    }
}

#[test]
fn a_configured_key_replaces_the_development_key() {
    let f = fixture();
    let dir = tempfile::tempdir().unwrap();
    for (algorithm, jwt, kind) in [
        (TokenAlgorithm::ES256, Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256),
        (TokenAlgorithm::EdDSA, Algorithm::EdDSA, &rcgen::PKCS_ED25519),
    ] {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let pem = format!("{}\r\n", pair.public_key_pem());
        let tokens = configured(dir.path(), algorithm, pem.as_bytes());
        let verifier = f.configured(&tokens).unwrap();
        let key = match jwt {
            Algorithm::ES256 => EncodingKey::from_ec_der(pair.serialized_der()),
            _ => EncodingKey::from_ed_der(pair.serialized_der()),
        };
        let mut claims = f.claims();
        claims["aud"] = json!("relay.example");
        let token = encode(&Header::new(jwt), &claims, &key).unwrap();
        assert!(verifier.verify(&token, NOW).is_ok());
        assert!(verifier.verify(&f.sign(&claims), NOW).is_err(), "development key still trusted");
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let f = fixture();
    let dir = tempfile::tempdir().unwrap();
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for (algorithm, pem) in [
        (TokenAlgorithm::ES256, ed.public_key_pem()),
        (TokenAlgorithm::ES256, p384.public_key_pem()),
        (TokenAlgorithm::EdDSA, p384.public_key_pem()),
        (TokenAlgorithm::EdDSA, ed.serialize_pem()),
        (TokenAlgorithm::EdDSA, "no key".to_owned()),
    ] {
        let tokens = configured(dir.path(), algorithm, pem.as_bytes());
        let error = f.configured(&tokens).unwrap_err();
        assert!(matches!(error, TokenKeyError::NotAPublicKey { .. }), "{error}");
    }
}

#[test]
fn guessable_secrets_are_refused() {
    let f = fixture();
    let dir = tempfile::tempdir().unwrap();
    let good = "k9X2vB7mQ4tL1zR8wN5cJ3hF6sD0pGyA\n";
    let tokens = configured(dir.path(), TokenAlgorithm::HS256, good.as_bytes());
    let verifier = f.configured(&tokens).unwrap();
    let mut claims = f.claims();
    claims["aud"] = json!("relay.example");
    let key = EncodingKey::from_secret(good.trim_end().as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    assert!(verifier.verify(&token, NOW).is_ok());
    // What editors add is no part of the secret.
    for file in [good.trim_end().to_owned(), good.replace('\n', "\r\n\n")] {
        let tokens = configured(dir.path(), TokenAlgorithm::HS256, file.as_bytes());
        let verifier = f.configured(&tokens).unwrap();
        assert!(verifier.verify(&token, NOW).is_ok(), "{file:?}");
    }
    for weak in [
        "",
        "k9X2vB7mQ4tL1zR8wN5cJ3hF6sD0pGy",
        "a-string-secret-at-least-256-bits-long",
        "ChangeMe-ChangeMe-0123456789-abcdef",
        "00000000000000000000000000000000",
    ] {
        let tokens = configured(dir.path(), TokenAlgorithm::HS256, weak.as_bytes());
        let error = f.configured(&tokens).unwrap_err();
        assert!(matches!(error, TokenKeyError::WeakSecret { .. }), "{weak}");
    }
}

#[test]
fn the_minter_makes_nothing_the_server_would_refuse() {
    let f = fixture();
    let minter = f.minter();
    let plain = || TokenRequest::new(Product::ATOM, "acme", "ada");
    for request in [
        TokenRequest { tenant: String::new(), ..plain() },
        TokenRequest { user: "a\tb".to_owned(), ..plain() },
        TokenRequest { user: "a\u{202e}b".to_owned(), ..plain() },
        TokenRequest { name: Some("\u{200b}".to_owned()), ..plain() },
        TokenRequest { room: Some("a*b".to_owned()), ..plain() },
        TokenRequest { role: "r".repeat(65), ..plain() },
        TokenRequest { ttl: Duration::ZERO, ..plain() },
        TokenRequest { ttl: Duration::from_secs(400 * 86_400), ..plain() },
        TokenRequest { grants: vec!["g".to_owned(); limits::TOKEN_GRANTS + 1], ..plain() },
    ] {
        let refused = minter.mint(request, NOW).unwrap_err();
        assert!(matches!(refused, MintError::Refused(_) | MintError::NotPlain(..)), "{refused}");
    }
}

#[test]
fn debug_shows_no_key() {
    let f = fixture();
    assert_eq!(format!("{:?}", f.verifier), "TokenVerifier { algorithm: EdDSA, .. }");
    assert!(format!("{:?}", f.minter()).len() < 80);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_text_admits_or_panics(text in "[ -~\\.]{0,200}") {
        let f = fixture_once();
        prop_assert!(f.verifier.verify(&text, NOW).is_err());
    }
}

fn fixture_once() -> &'static Fixture {
    static FIXTURE: std::sync::OnceLock<Fixture> = std::sync::OnceLock::new();
    FIXTURE.get_or_init(fixture)
}
