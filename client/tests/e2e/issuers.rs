//! Issuers of tenants: their tokens admit to their own tenant, and their keys change while clients join.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nucleus_client::{Code, ConnectError, JoinError, Room, connect};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::control::Api;
use crate::support::{TestServer, now_unix};

/// An issuer with one key.
struct Issuer {
    pair: KeyPair,
    kid: String,
}

impl Issuer {
    fn new(kid: &str) -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ED25519).unwrap(), kid: kid.to_owned() }
    }

    /// The key as its issuer publishes it.
    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.der_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.kid, "x": x})
    }

    /// A token of this issuer, as a web server makes it.
    fn token(&self, tenant: &str, user: &str, audience: &str) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid}));
        let claims = part(json!({
            "sub": user, "tenant": tenant, "product": "atom", "exp": now_unix() + 600,
            "aud": audience,
        }));
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    }
}

/// The web server of an issuer. `None`: it is down.
#[derive(Clone, Default)]
struct WebServer {
    keys: Arc<Mutex<Option<Value>>>,
    /// How often it was asked.
    asked: Arc<Mutex<u32>>,
}

impl WebServer {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let web = self.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4_096];
                let _read = stream.read(&mut head).await;
                *web.asked.lock().unwrap() += 1;
                let keys = web.keys.lock().unwrap().clone();
                let (status, body) = match keys {
                    Some(keys) => ("200 OK", keys.to_string()),
                    None => ("503 Busy", String::new()),
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                let _written = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    fn publish(&self, issuers: &[&Issuer]) {
        let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        *self.keys.lock().unwrap() = Some(json!({"keys": keys}));
    }

    fn go_down(&self) {
        *self.keys.lock().unwrap() = None;
    }
}

async fn tenant(api: &Api, name: &str) -> String {
    let (status, made) = api.send("POST", "/tenants", json!({"name": name})).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// Joins with a token of an issuer, which names no certificate.
async fn join(server: &TestServer, token: String) -> Result<Room, Option<Code>> {
    match connect(server.options(token).trust(server.trust())).await {
        Ok(room) => Ok(room),
        Err(ConnectError::Join(JoinError::Refused { code, .. })) => Err(code),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_while_clients_join() {
    let server = TestServer::with(|config| config.control.private_addresses = true).await;
    let api = Api::of(&server);
    let server_id = server.data().server_id().to_owned();
    let (acme, _other) = (tenant(&api, "acme").await, tenant(&api, "other").await);
    let web = WebServer::default();
    let mut issuer = Issuer::new("key 0");
    web.publish(&[&issuer]);
    let url = format!("http://{}/keys", web.start().await);
    let made = json!({"name": "web", "tenant": acme, "jwks_url": url});
    api.post("/issuers", made).await;
    until_joins(&server, || issuer.token("acme", "first", &server_id), true).await;

    for round in 1..=2 {
        let mut joins = JoinSet::new();
        for user in 0..8 {
            let token = issuer.token("acme", &format!("u{user}"), &server_id);
            joins.spawn(connect(server.options(token).trust(server.trust())));
        }
        while let Some(joined) = joins.join_next().await {
            assert!(joined.unwrap().is_ok(), "round {round}");
        }
        // For another tenant its tokens are worth nothing.
        let foreign = join(&server, issuer.token("other", "eve", &server_id)).await;
        assert_eq!(foreign.err(), Some(Some(Code::TokenSignature)));
        let next = Issuer::new(&format!("key {round}"));
        web.publish(&[&issuer, &next]);
        issuer = next;
    }
    // A key that is gone verifies until the keys are fetched again, for example for a new one.
    let gone = std::mem::replace(&mut issuer, Issuer::new("the last"));
    assert!(join(&server, gone.token("acme", "ada", &server_id)).await.is_ok());
    web.publish(&[&issuer]);
    assert!(join(&server, issuer.token("acme", "ada", &server_id)).await.is_ok());
    let refused = join(&server, gone.token("acme", "bob", &server_id)).await;
    assert_eq!(refused.err(), Some(Some(Code::TokenSignature)));

    // While the address is down, known keys hold, and strangers cannot make the server ask for ever.
    web.go_down();
    let before = *web.asked.lock().unwrap();
    let stranger = Issuer::new("a stranger");
    for user in 0..20 {
        let token = stranger.token("acme", &format!("s{user}"), &server_id);
        assert_eq!(join(&server, token).await.err(), Some(Some(Code::TokenSignature)));
    }
    assert!(join(&server, issuer.token("acme", "ada", &server_id)).await.is_ok());
    let asked = *web.asked.lock().unwrap() - before;
    assert!(asked <= 4, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_with_a_key_signs_until_it_is_deleted() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let acme = tenant(&api, "acme").await;
    let issuer = Issuer::new("any");
    let body = json!({
        "name": "web", "tenant": acme, "algorithm": "EdDSA", "audience": "ours",
        "public_key": issuer.pair.public_key_pem(),
    });
    let (status, made) = api.send("POST", "/issuers", body).await;
    assert_eq!(status, 201, "{made}");
    let token = || issuer.token("acme", "ada", "ours");
    until_joins(&server, token, true).await;
    let other = issuer.token("acme", "ada", "another audience");
    assert_eq!(join(&server, other).await.err(), Some(Some(Code::TokenAudience)));
    let id = made["id"].as_str().unwrap();
    assert_eq!(api.send("DELETE", &format!("/issuers/{id}"), Value::Null).await.0, 204);
    until_joins(&server, token, false).await;
}

/// Waits until joins are admitted, or until they are not.
async fn until_joins(server: &TestServer, token: impl Fn() -> String, admitted: bool) {
    for _ in 0..100 {
        if join(server, token()).await.is_ok() == admitted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("after 5 s, admitted is not {admitted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_api_admits() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let body = json!({"product": "atom", "tenant": "acme", "user": "ada"});
    let (status, made) = api.send("POST", "/tokens", body).await;
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(join(&server, token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn products_are_those_of_the_configuration() {
    let listed =
        ["training", "atom"].map(|name| nucleus_server::token::Product::parse(name).unwrap());
    let server = TestServer::with(|config| config.products = listed.to_vec()).await;
    let request = |product: &str| {
        let product = nucleus_server::token::Product::parse(product).unwrap();
        server.token_with(nucleus_server::token::TokenRequest::new(product, "acme", "ada"))
    };
    assert!(join(&server, request("training")).await.is_ok());
    let token = request("assist");
    match connect(server.options(token)).await.map(drop) {
        Err(ConnectError::Join(JoinError::Refused { code, text, .. })) => {
            assert_eq!(code, Some(Code::TokenMalformed));
            assert!(text.contains("training, atom"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
