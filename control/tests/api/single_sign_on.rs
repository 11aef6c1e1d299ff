//! Single sign-on with a small provider on this machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use nucleus_control::api::single_sign_on_label;
use nucleus_control::people::{PersonRole, SignOnDomain, SingleSignOn};
use serde_json::{Value, json};

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

/// A provider of OpenID Connect, which signs in whoever comes.
struct Provider {
    url: String,
    key: Ed25519KeyPair,
    /// What its tokens say beside what belongs to the flow.
    claims: Mutex<Value>,
    /// By its code: the challenge and the nonce of a flow.
    flows: Mutex<HashMap<String, (String, String)>>,
}

type Shared = Arc<Provider>;

impl Provider {
    async fn start() -> Shared {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            key: Ed25519KeyPair::generate().unwrap(),
            claims: Mutex::new(json!({
                "sub": "42", "email": "Ada@example.com", "email_verified": true, "name": "Ada",
            })),
            flows: Mutex::default(),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        provider
    }

    fn say(&self, claim: &str, value: Value) {
        self.claims.lock().unwrap()[claim] = value;
    }

    /// What a person sees of the provider: nothing. Returns where the browser is sent back.
    fn authorize(&self, address: &str) -> String {
        let (path, query) = address.split_once('?').unwrap();
        assert_eq!(path, format!("{}/auth", self.url));
        let asked: HashMap<String, String> = serde_urlencoded::from_str(query).unwrap();
        assert_eq!(
            (asked["response_type"].as_str(), asked["client_id"].as_str()),
            ("code", "nucleus")
        );
        assert_eq!(asked["code_challenge_method"], "S256");
        let mut flows = self.flows.lock().unwrap();
        let code = format!("code {}", flows.len());
        let flow = (asked["code_challenge"].clone(), asked["nonce"].clone());
        flows.insert(code.clone(), flow);
        let back = asked["redirect_uri"].strip_prefix("http://nucleus.example.com").unwrap();
        let query = [("code", code.as_str()), ("state", asked["state"].as_str())];
        format!("{back}?{}", serde_urlencoded::to_string(query).unwrap())
    }
}

async fn describe(State(provider): State<Shared>) -> String {
    let url = |path: &str| format!("{}{path}", provider.url);
    json!({
        "issuer": provider.url, "authorization_endpoint": url("/auth"),
        "token_endpoint": url("/token"), "jwks_uri": url("/keys"),
    })
    .to_string()
}

async fn keys(State(provider): State<Shared>) -> String {
    let x = BASE64.encode(provider.key.public_key().as_ref());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1"}]}).to_string()
}

async fn token(
    State(provider): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> Result<String, StatusCode> {
    let secret = format!("Basic {}", STANDARD.encode("nucleus:a+secret"));
    let sent: HashMap<String, String> = serde_urlencoded::from_str(&body).unwrap();
    let flow = provider.flows.lock().unwrap().remove(&sent["code"]);
    let (challenge, nonce) = flow.ok_or(StatusCode::BAD_REQUEST)?;
    let digest = digest::digest(&digest::SHA256, sent["code_verifier"].as_bytes());
    if headers["authorization"] != secret || BASE64.encode(digest) != challenge {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let mut claims = provider.claims.lock().unwrap().clone();
    for (claim, value) in [
        ("iss", json!(provider.url)),
        ("aud", json!("nucleus")),
        ("nonce", json!(nonce)),
        ("exp", json!(1_800_003_600)),
        ("iat", json!(1_800_000_000)),
    ] {
        if claims.get(claim).is_none() {
            claims[claim] = value;
        }
    }
    let part = |value: &Value| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": "1"})), part(&claims));
    let token = format!("{signed}.{}", BASE64.encode(provider.key.sign(signed.as_bytes())));
    Ok(json!({"id_token": token, "access_token": "a", "token_type": "Bearer"}).to_string())
}

async fn world(provider: &Shared) -> World {
    let domain = |domain: &str, role, tenant: Option<&str>| SignOnDomain {
        domain: domain.to_owned(),
        role,
        tenant: tenant.map(str::to_owned),
    };
    let single_sign_on = SingleSignOn {
        issuer: provider.url.clone(),
        client_id: "nucleus".to_owned(),
        client_secret: serde_json::from_str("\"a secret\"").ok(),
        label: "Example".to_owned(),
        domains: vec![
            domain("example.com", PersonRole::Viewer, None),
            domain("acme.example", PersonRole::Operator, Some("acme")),
        ],
    };
    World::with(|settings| {
        let sign_in = settings.sign_in.as_mut().unwrap();
        sign_in.url = Some("http://nucleus.example.com".to_owned());
        sign_in.single_sign_on = Some(Arc::new(single_sign_on));
    })
    .await
}

/// Signs in, and returns where the browser goes on.
async fn sign_on(browser: &mut Browser<'_>, provider: &Shared) -> String {
    let away = browser.get("/signin/oidc?next=/rooms").await;
    assert_eq!(away.status, StatusCode::SEE_OTHER, "{away:?}");
    let back = provider.authorize(&away.location);
    // The provider's page has caused the request.
    browser.site = vec![("sec-fetch-site", "cross-site")];
    let location = browser.get(&back).await.location;
    browser.site = vec![("sec-fetch-site", "same-origin")];
    location
}

#[tokio::test]
async fn a_person_signs_in_at_the_provider() {
    let provider = Provider::start().await;
    let world = world(&provider).await;
    let acme = world.tenant("acme").await;
    assert_eq!(single_sign_on_label(&world.state).as_deref(), Some("Example"));
    let mut browser = Browser::new(&world);
    assert_eq!(sign_on(&mut browser, &provider).await, "/rooms");
    assert_eq!(browser.ask("GET", "/rooms", Value::Null).await.status, StatusCode::OK);
    let people = || async { world.get("/people", LOCAL).await.json()["items"].clone() };
    let made = people().await;
    assert_eq!(
        (&made[0]["email"], &made[0]["role"]),
        (&json!("ada@example.com"), &json!("viewer"))
    );
    assert_eq!((&made[0]["name"], &made[0]["has_password"]), (&json!("Ada"), &json!(false)));
    // Known by the subject, also with another email address.
    provider.say("email", json!("ada@new.example"));
    assert_eq!(sign_on(&mut browser, &provider).await, "/rooms");
    assert_eq!(people().await.as_array().unwrap().len(), 1);
    provider.say("sub", json!("43"));
    provider.say("email", json!("ben@acme.example"));
    assert_eq!(sign_on(&mut browser, &provider).await, "/rooms");
    let ben = people().await[1].clone();
    assert_eq!((&ben["tenant"], &ben["role"]), (&json!(acme), &json!("operator")));
    let disabled = json!({"disabled": true});
    let path = format!("/people/{}", ben["id"].as_str().unwrap());
    world.ask("PATCH", &path, LOCAL, disabled).await;
    assert_eq!(sign_on(&mut browser, &provider).await, "/signin?failed=sso_refused");
    let audit = world.get("/audit", LOCAL).await.text;
    assert!(audit.contains("by single sign-on"), "{audit}");
}

#[tokio::test]
async fn somebody_who_is_there_is_taken_by_a_verified_address_of_a_domain() {
    let provider = Provider::start().await;
    let world = world(&provider).await;
    person(&world, "ada@example.com", "operator", None).await;
    person(&world, "root@elsewhere.example", "super_admin", None).await;
    let mut browser = Browser::new(&world);
    provider.say("email_verified", json!(false));
    assert_eq!(sign_on(&mut browser, &provider).await, "/signin?failed=sso_refused");
    provider.say("email_verified", json!(true));
    assert_eq!(sign_on(&mut browser, &provider).await, "/rooms");
    let people = world.get("/people", LOCAL).await.json()["items"].clone();
    assert_eq!((people.as_array().unwrap().len(), &people[0]["role"]), (2, &json!("operator")));
    // The account belongs to this subject now.
    provider.say("sub", json!("a thief"));
    assert_eq!(sign_on(&mut browser, &provider).await, "/signin?failed=sso_refused");
    // The provider answers for its own domains alone.
    provider.say("email", json!("root@elsewhere.example"));
    assert_eq!(sign_on(&mut browser, &provider).await, "/signin?failed=sso_refused");
    assert_eq!(browser.sign_in("ada@example.com", PASSWORD, "").await, "/", "the password stays");
}

/// The provider answers for the people of a domain's tenant, and for no administrator of the server.
#[tokio::test]
async fn no_account_of_another_tenant_and_no_super_admin_is_taken() {
    let provider = Provider::start().await;
    let world = world(&provider).await;
    let acme = world.tenant("acme").await;
    let mut browser = Browser::new(&world);
    for (number, (email, role, tenant)) in [
        ("of.acme@example.com", "viewer", Some(acme.as_str())),
        ("of.server@acme.example", "viewer", None),
        ("root@example.com", "super_admin", None),
    ]
    .into_iter()
    .enumerate()
    {
        person(&world, email, role, tenant).await;
        provider.say("sub", json!(format!("subject {number}")));
        provider.say("email", json!(email));
        let taken = sign_on(&mut browser, &provider).await;
        assert_eq!(taken, "/signin?failed=sso_refused", "{email}");
        assert_eq!(browser.cookie, None, "{email}");
    }
}

#[tokio::test]
async fn another_browser_another_token_and_a_late_one_are_refused() {
    let provider = Provider::start().await;
    let world = world(&provider).await;
    let mut browser = Browser::new(&world);
    let away = browser.get("/signin/oidc").await.location;
    let back = provider.authorize(&away);
    let stranger = Browser::new(&world).get(&back).await.location;
    assert_eq!(stranger, "/signin?failed=sso_late", "it brings no flow");
    let other = back.replace("state=", "state=x");
    assert_eq!(browser.get(&other).await.location, "/signin?failed=sso_late");
    assert_eq!(browser.get(&back).await.location, "/signin?failed=sso_late", "the flow is used up");

    let away = browser.get("/signin/oidc").await.location;
    let denied = provider.authorize(&away).replace("code=", "error=access_denied&was=");
    assert_eq!(browser.get(&denied).await.location, "/signin?failed=sso_refused");
    for (ip, claim, value) in [
        ("198.51.100.1", "nonce", json!("another")),
        ("198.51.100.2", "aud", json!("another")),
        ("198.51.100.3", "iss", json!("https://evil.example.com")),
        ("198.51.100.4", "exp", json!(1_799_999_000)),
    ] {
        // Each from another network, or the browser would have to wait.
        browser.ip = ip;
        provider.say(claim, value);
        assert_eq!(sign_on(&mut browser, &provider).await, "/signin?failed=sso", "{claim}");
        provider.claims.lock().unwrap().as_object_mut().unwrap().remove(claim);
    }
    let away = browser.get("/signin/oidc").await.location;
    let back = provider.authorize(&away);
    *world.now.lock().unwrap() += 601;
    assert_eq!(browser.get(&back).await.location, "/signin?failed=sso_late");
    assert_eq!(world.get("/people", LOCAL).await.json()["items"], json!([]));
}

#[tokio::test]
async fn without_a_provider_the_page_says_so() {
    let world = World::new().await;
    assert_eq!(single_sign_on_label(&world.state), None);
    let answer = Browser::new(&world).get("/signin/oidc").await;
    assert_eq!(answer.location, "/signin?failed=sso");
}
