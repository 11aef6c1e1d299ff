//! Tokens of tenants' issuers: each signs for its own tenant alone.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use super::*;

/// A key of an issuer, with what its tokens say.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    public_pem: String,
    kid: Option<&'static str>,
}

fn signer(algorithm: Algorithm, kid: Option<&'static str>) -> Signer {
    let is_ed = algorithm == Algorithm::EdDSA;
    let kind = if is_ed { &PKCS_ED25519 } else { &PKCS_ECDSA_P256_SHA256 };
    let pair = KeyPair::generate_for(kind).unwrap();
    let der = pair.serialized_der();
    let key = if is_ed { EncodingKey::from_ed_der(der) } else { EncodingKey::from_ec_der(der) };
    Signer { algorithm, key, public_pem: pair.public_key_pem(), kid }
}

impl Signer {
    fn sign(&self, claims: &Value) -> String {
        let kid = self.kid.map(str::to_owned);
        encode(&Header { kid, ..Header::new(self.algorithm) }, claims, &self.key).unwrap()
    }

    fn issuer_key(&self) -> IssuerKey {
        let algorithm = match self.algorithm {
            Algorithm::EdDSA => TokenAlgorithm::EdDSA,
            _ => TokenAlgorithm::ES256,
        };
        let key = VerificationKey::from_public_pem(algorithm, self.public_pem.as_bytes()).unwrap();
        IssuerKey { id: self.kid.map(str::to_owned), key, audience: None }
    }
}

fn trust(f: &Fixture, keys: &[(&str, &Signer)]) {
    let mut all = IssuerKeys::default();
    keys.iter().for_each(|(tenant, signer)| all.add(tenant, signer.issuer_key()));
    f.issuers.store(Arc::new(all));
}

fn of_tenant(f: &Fixture, tenant: &str) -> Value {
    let mut claims = f.claims();
    claims["tenant"] = json!(tenant);
    claims
}

#[test]
fn an_issuer_signs_for_its_own_tenant_alone() {
    let f = fixture();
    for (one, other) in [(None, None), (Some("1"), Some("2")), (Some("same"), Some("same"))] {
        let acme = signer(Algorithm::EdDSA, one);
        let globex = signer(Algorithm::ES256, other);
        let third = signer(Algorithm::EdDSA, other);
        trust(&f, &[("acme", &acme), ("globex", &globex), ("globex", &third)]);
        for (signer, own) in [(&acme, "acme"), (&globex, "globex"), (&third, "globex")] {
            for tenant in ["acme", "globex", "nobody"] {
                let token = signer.sign(&of_tenant(&f, tenant));
                let verified = f.verifier.verify(&token, NOW);
                assert_eq!(verified.is_ok(), tenant == own, "{tenant}: {verified:?}");
            }
        }
        // The server's own web server signs for all.
        assert!(f.verifier.verify(&f.sign(&of_tenant(&f, "globex")), NOW).is_ok());
    }
}

#[test]
fn a_tenant_written_otherwise_is_the_same_or_another() {
    let f = fixture();
    let signer = signer(Algorithm::EdDSA, None);
    trust(&f, &[("caf\u{e9}", &signer)]);
    let verify = |tenant: &str| f.verifier.verify(&signer.sign(&of_tenant(&f, tenant)), NOW);
    assert_eq!(verify("cafe\u{301}").unwrap().tenant, "caf\u{e9}");
    for other in ["CAF\u{c9}", "caf\u{e9} ", "caf\u{e9}\u{200b}", "cafe"] {
        assert!(verify(other).is_err(), "{other}");
    }
    // A claim twice: the one that is verified is the one that counts.
    let mut text = of_tenant(&f, "caf\u{e9}").to_string();
    text.insert_str(1, "\"tenant\":\"globex\",");
    let payload = URL_SAFE_NO_PAD.encode(text);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
    let signed = format!("{header}.{payload}");
    let key = &signer.key;
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, Algorithm::EdDSA).unwrap();
    let verified = f.verifier.verify(&format!("{signed}.{signature}"), NOW).unwrap();
    assert_eq!(verified.tenant, "caf\u{e9}");
}

#[test]
fn an_issuer_may_have_an_audience_of_its_own() {
    let f = fixture();
    let signer = signer(Algorithm::ES256, None);
    let mut keys = IssuerKeys::default();
    let key = IssuerKey { audience: Some("theirs".to_owned()), ..signer.issuer_key() };
    keys.add("acme", key);
    f.issuers.store(Arc::new(keys));
    let verify = |aud: &str| {
        let mut claims = f.claims();
        claims["aud"] = json!(aud);
        f.verifier.verify(&signer.sign(&claims), NOW).map(drop)
    };
    assert_eq!(verify("theirs"), Ok(()));
    assert_eq!(verify(SERVER_ID), Err(TokenError::WrongAudience));
}

#[test]
fn a_key_under_two_audiences_admits_for_both() {
    let f = fixture();
    let signer = signer(Algorithm::ES256, Some("1"));
    let mut keys = IssuerKeys::default();
    for audience in ["one", "two"] {
        let key = IssuerKey { audience: Some(audience.to_owned()), ..signer.issuer_key() };
        keys.add("acme", key);
    }
    f.issuers.store(Arc::new(keys));
    for (aud, expected) in
        [("one", Ok(())), ("two", Ok(())), ("three", Err(TokenError::WrongAudience))]
    {
        let mut claims = f.claims();
        claims["aud"] = json!(aud);
        assert_eq!(f.verifier.verify(&signer.sign(&claims), NOW).map(drop), expected);
    }
}

#[test]
fn a_key_with_an_id_verifies_only_tokens_that_name_it() {
    let f = fixture();
    let named = signer(Algorithm::ES256, Some("1"));
    trust(&f, &[("acme", &named)]);
    for (kid, admits) in [(Some("1"), true), (Some("2"), false), (None, false)] {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(named.algorithm) };
        let token = encode(&header, &f.claims(), &named.key).unwrap();
        assert_eq!(f.verifier.verify(&token, NOW).is_ok(), admits, "{kid:?}");
    }
}

#[test]
fn an_unknown_key_is_told_only_where_there_may_be_a_newer_one() {
    let f = fixture();
    let known = signer(Algorithm::ES256, Some("1"));
    let new = signer(Algorithm::ES256, Some("2"));
    trust(&f, &[("acme", &known)]);
    let verify = |signer: &Signer| f.verifier.verify(&signer.sign(&f.claims()), NOW).map(drop);
    assert_eq!(verify(&new), Err(TokenError::WrongAlgorithm), "the server's own key has another");
    let mut keys = IssuerKeys::default();
    keys.add("acme", known.issuer_key());
    keys.publishes("acme");
    keys.publishes("globex");
    f.issuers.store(Arc::new(keys));
    assert_eq!(verify(&known), Ok(()));
    assert_eq!(verify(&new), Err(TokenError::UnknownKey));
    let forged = Signer { kid: Some("1"), ..signer(Algorithm::ES256, None) };
    assert_eq!(verify(&forged), Err(TokenError::BadSignature), "no fetch for a forged token");
    // Before the first fetch, every key is unknown.
    let mut claims = f.claims();
    claims["tenant"] = json!("globex");
    assert_eq!(f.verifier.verify(&known.sign(&claims), NOW), Err(TokenError::UnknownKey));
    assert_eq!(f.verifier.claimed_tenant(&known.sign(&claims)).as_deref(), Some("globex"));
}

#[test]
fn the_servers_own_tokens_verify_however_many_keys_a_tenant_has() {
    let f = fixture();
    let many: Vec<_> = (0..20).map(|_| signer(Algorithm::EdDSA, None)).collect();
    let keys: Vec<_> = many.iter().map(|signer| ("acme", signer)).collect();
    trust(&f, &keys);
    assert!(f.verifier.verify(&f.sign(&f.claims()), NOW).is_ok());
    // The server's and three of the tenant are the four that are tried.
    assert!(f.verifier.verify(&many[0].sign(&f.claims()), NOW).is_ok());
    let refused = f.verifier.verify(&many[19].sign(&f.claims()), NOW);
    assert_eq!(refused, Err(TokenError::BadSignature));
}

#[test]
fn what_the_api_mints_is_accepted_beside_the_configured_key() {
    let f = fixture();
    let dir = tempfile::tempdir().unwrap();
    let web = signer(Algorithm::ES256, None);
    let tokens = configured(dir.path(), TokenAlgorithm::ES256, web.public_pem.as_bytes());
    let verifier = f.configured(&tokens).unwrap();
    let request = || TokenRequest::new(Product::ATOM, "acme", "ada");
    let minted = Minter::for_api(&f.development(), CertificatePins::default());
    assert!(verifier.verify(&minted.mint(request(), NOW).unwrap(), NOW).is_ok());
    // That of `nucleus token` is for development mode.
    let printed = f.minter().mint(request(), NOW).unwrap();
    assert_eq!(verifier.verify(&printed, NOW), Err(TokenError::WrongAlgorithm));
}

#[test]
fn published_keys_of_other_kinds_are_left_out() {
    let ed = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let ec = r#"{"kty":"EC","crv":"P-256","kid":"ec","use":"sig","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    let rsa = |bytes: usize| {
        let n = URL_SAFE_NO_PAD.encode(vec![0xc5; bytes]);
        format!(r#"{{"kty":"RSA","kid":"rsa","n":"{n}","e":"AQAB"}}"#)
    };
    let ids = |keys: &[&str]| -> Vec<String> {
        let set = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        let read = read_jwks(set.as_bytes()).unwrap();
        // What is kept is read again after a restart.
        assert_eq!(read_jwks(read.text.as_bytes()).unwrap().keys.len(), read.keys.len());
        assert!(!read.text.contains("x5c"), "certificates are not kept");
        read.keys.into_iter().map(|key| key.id.unwrap()).collect()
    };
    let certified = ed.replace("{", r#"{"x5c":["MIIC"],"#);
    assert_eq!(ids(&[&certified, ec, &rsa(256), &rsa(512)]), ["ed", "ec", "rsa", "rsa"]);
    for other in [
        rsa(128),
        rsa(1_024),
        ec.replace("sig", "enc"),
        ec.replace("ES256", "ES384"),
        ec.replace("P-256", "P-384"),
        ed.replace("Ed25519", "Ed448"),
        ed.replace("URo", ""),
        r#"{"kty":"oct","kid":"secret","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}"#.to_owned(),
        r#"{"kty":"new"}"#.to_owned(),
        "7".to_owned(),
    ] {
        assert!(ids(&[&other]).is_empty(), "{other}");
        assert_eq!(ids(&[&other, ed]), ["ed"]);
    }
    for none in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        assert!(read_jwks(none.as_bytes()).is_err(), "{none}");
    }
    let many = vec![ed; 100];
    assert_eq!(ids(&many).len(), 16);
}

#[test]
fn weak_or_other_keys_are_no_issuers() {
    for (algorithm, pem) in [
        (TokenAlgorithm::EdDSA, signer(Algorithm::ES256, None).public_pem),
        (TokenAlgorithm::RS256, signer(Algorithm::ES256, None).public_pem),
        (TokenAlgorithm::HS256, signer(Algorithm::EdDSA, None).public_pem),
        (TokenAlgorithm::EdDSA, KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem()),
        (TokenAlgorithm::EdDSA, String::new()),
    ] {
        let refused = VerificationKey::from_public_pem(algorithm, pem.as_bytes()).unwrap_err();
        assert!(refused.to_string().contains("BEGIN PUBLIC KEY"), "{refused}");
    }
}

/// Tokens of any issuer for any tenant, with any `kid`: ten thousand, from a seed.
#[test]
fn no_token_of_another_tenants_issuer_is_admitted() {
    let seed = std::env::var("NUCLEUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut state: u64 = seed | 1;
    // xorshift64
    let mut below = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % most as u64) as usize
    };
    let f = fixture();
    let tenants = ["acme", "globex", "initech", "caf\u{e9}"];
    let kids = [None, Some("1"), Some("2"), Some("minted")];
    let algorithms = [Algorithm::EdDSA, Algorithm::ES256];
    let signers: Vec<_> = (0..12)
        .map(|at| (tenants[at / 3], signer(algorithms[below(2)], kids[below(kids.len())])))
        .collect();
    let trusted: Vec<_> = signers.iter().map(|(tenant, signer)| (*tenant, signer)).collect();
    trust(&f, &trusted);
    let mut admitted = 0;
    for call in 0..10_000 {
        let (own, signer) = &signers[below(signers.len())];
        let names = ["acme", "globex", "initech", "cafe\u{301}", "Acme", "nobody"];
        let tenant = names[below(names.len())];
        let kid = kids[below(kids.len())].map(str::to_owned);
        let header = Header { kid, ..Header::new(signer.algorithm) };
        let token = encode(&header, &of_tenant(&f, tenant), &signer.key).unwrap();
        if let Ok(verified) = f.verifier.verify(&token, NOW) {
            assert_eq!(verified.tenant, *own, "seed {seed}, call {call}: {tenant}");
            admitted += 1;
        }
    }
    assert!(admitted > 500, "its own tokens are admitted: {admitted}");
}
