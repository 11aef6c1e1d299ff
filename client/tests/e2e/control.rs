//! The control plane with real clients: what an operator sees and does.

use std::time::Duration;

use nucleus_client::{Code, ConnectError, EntityId, JoinError, Room, RoomEvent, Voice, connect};
use nucleus_control::fetch::{Fetch, fetch};
use nucleus_server::local_access::LocalApi;
use nucleus_server::start::config::HttpAddr;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{TestServer, until};

/// The API of a server, with the key of commands on its machine.
pub(crate) struct Api(LocalApi);

impl Api {
    pub(crate) fn of(server: &TestServer) -> Self {
        Self(LocalApi::read(server.dir.path()).unwrap())
    }

    /// Sends a request. Returns the status and the body, null if there is none.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let LocalApi { url, key } = &self.0;
        let mut headers = vec![("authorization", format!("Bearer {key}"))];
        let mut bytes = Vec::new();
        if !body.is_null() {
            headers.push(("content-type", "application/json".to_owned()));
            bytes = body.to_string().into_bytes();
        }
        let url = format!("{url}/api/v1{path}");
        let answer = fetch(Fetch {
            method,
            url: &url,
            headers: &headers,
            body: bytes,
            time: Duration::from_secs(10),
            max_answer: 1 << 20,
            public_only: false,
            tls: None,
        });
        let answer = answer.await.unwrap();
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, body)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) {
        let (status, answer) = self.send("POST", path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }

    /// Waits until a list of rooms is as `wanted` says. Rooms publish their figures a moment late.
    async fn rooms(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let rooms = self.get("/rooms").await;
            if wanted(&rooms) {
                return rooms;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the rooms stay {}", self.get("/rooms").await);
    }
}

/// The code and the text of a refused join.
fn refusal(joined: Result<Room, ConnectError>) -> (Option<Code>, String) {
    match joined.map(drop) {
        Err(ConnectError::Join(JoinError::Refused { code, text, .. })) => (code, text),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn closed(room: &Room) -> Option<Code> {
    until(room, |event| match event {
        RoomEvent::Closed { code, .. } => Some(code),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_a_room_and_acts_on_it() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let (ada, bob) = (server.join("ada").await, server.join("bob").await);
    let rooms = api.rooms(|rooms| rooms["items"][0]["peers"] == 2).await;
    let room = &rooms["items"][0];
    assert_eq!((&room["tenant"], &room["name"]), (&json!("tenant"), &json!("lobby")));
    let path = format!("/rooms/{}", room["id"].as_str().unwrap());
    let shown = api.get(&path).await;
    let peer = |user: &str| {
        let members = shown["members"].as_array().unwrap();
        let member = members.iter().find(|member| member["user"] == user).unwrap();
        format!("/peers/{}", member["id"].as_str().unwrap())
    };

    api.post(&format!("{}/mute", peer("bob")), json!({"on": true})).await;
    until(&ada, |event| match event {
        RoomEvent::PeerChanged(peer) if peer.id == bob.me() && peer.muted => Some(()),
        _ => None,
    })
    .await;

    api.post(&format!("{path}/lock"), json!({"on": true})).await;
    let refused = refusal(connect(server.options(server.token("eve"))).await);
    assert_eq!(refused.0, Some(Code::RoomLocked));

    api.post(&format!("{}/kick", peer("bob")), json!({"ban_seconds": 60})).await;
    assert_eq!(closed(&bob).await, Some(Code::Kicked));
    let banned = refusal(connect(server.options(server.token("bob"))).await);
    assert_eq!(banned.0, Some(Code::Kicked));
    let bans = api.get(&path).await["bans"].clone();
    assert_eq!(bans[0]["user"], "bob");
    let (status, _) = api.send("POST", &format!("{}/kick", peer("bob")), json!({})).await;
    assert_eq!(status, 404, "bob has gone");

    api.post(&format!("{path}/close"), Value::Null).await;
    assert_eq!(closed(&ada).await, Some(Code::RoomEnded));
    api.rooms(|rooms| rooms["total"] == 0).await;
    let audit = api.get("/audit").await.to_string();
    for act in ["peer.mute", "room.lock", "peer.kick", "room.close"] {
        assert!(audit.contains(act), "{act}: {audit}");
    }
}

/// The figures of a room come from the room, the shard and QUIC together.
#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_room_are_those_of_its_clients() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let (ada, bob) = (server.join("ada").await, server.join("bob").await);
    let rooms = api.rooms(|rooms| rooms["items"][0]["peers"] == 2).await;
    let path = format!("/rooms/{}/stats", rooms["items"][0]["id"].as_str().unwrap());
    let talk = async {
        loop {
            let voice = Voice { level: 33, speaking: true, flags: 0, opus: &[1; 60] };
            ada.send_voice(&voice).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let look = async {
        for _ in 0..200 {
            let stats = api.get(&path).await;
            let peer = |user: &str| {
                let peers = stats["peers"].as_array().unwrap();
                peers.iter().find(|peer| peer["user"] == user).unwrap().clone()
            };
            if peer("ada")["speaking"] == true && peer("bob")["datagrams_out"].as_u64() > Some(20) {
                return (stats["total"].clone(), peer("ada"), peer("bob"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing is counted: {}", api.get(&path).await);
    };
    let (total, speaker, listener) = tokio::select! {
        never = talk => never,
        seen = look => seen,
    };
    assert_eq!((&total["peers"], &total["speaking"]), (&json!(2), &json!(1)), "{total}");
    assert_eq!(listener["speaking"], false);
    for peer in [&speaker, &listener] {
        assert!(["realtime", "fallback"].contains(&peer["plane"].as_str().unwrap()), "{peer}");
        assert!(peer["client"].as_str().is_some_and(|client| client.contains('/')), "{peer}");
        let rtt = peer["rtt_us"].as_u64().unwrap();
        assert!((1..5_000_000).contains(&rtt), "{peer}");
        assert_eq!((&peer["lost"], &peer["withheld"]), (&json!(false), &json!(0)), "{peer}");
    }
    bob.leave().await;
    for _ in 0..400 {
        let past = api.get("/history/sessions?user=bob").await["items"][0].clone();
        if past["left_at"].is_string() {
            let [p50, p95] = ["rtt_p50_us", "rtt_p95_us"].map(|key| past[key].as_u64().unwrap());
            assert!((1..5_000_000).contains(&p50) && p50 <= p95, "{past}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("bob's session has no end");
}

/// Clients see what an operator sets as an ordinary change of the room's fields.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_properties_of_a_room() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let ada = server.join("ada").await;
    let rooms = api.rooms(|rooms| rooms["items"][0]["peers"] == 1).await;
    let path = format!("/rooms/{}/properties", rooms["items"][0]["id"].as_str().unwrap());
    let set = async |body: Value| api.send("PATCH", &path, body).await.0;
    let version = async |wanted: u64| {
        let reached = async {
            while ada.state_version() < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached).await.expect("no update came");
    };
    assert_eq!(api.get(&path).await, json!({}));
    assert_eq!(set(json!({"score": 5, "title": "Grüße", "raw": {"base64": "AAH/"}})).await, 204);
    version(1).await;
    let field = |key: &str| ada.field(EntityId::Room, key).map(|field| field.value);
    assert_eq!(field("score").unwrap().as_integer(), Some(5));
    assert!(field("title").is_some() && field("raw").is_some());
    assert_eq!(set(json!({"score": 6.5, "title": null})).await, 204);
    version(2).await;
    assert_eq!((field("score").unwrap().as_float(), field("title")), (Some(6.5), None));
    let shown = api.get(&path).await;
    assert_eq!(shown, json!({"score": 6.5, "raw": {"base64": "AAH/"}}));
    // All or nothing: with these there would be too many.
    let many: serde_json::Map<_, _> = (0..64).map(|n| (format!("key {n}"), json!(n))).collect();
    let (status, problem) = api.send("PATCH", &path, many.into()).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!((api.get(&path).await, ada.state_version()), (shown, 2));
}

/// An event reaches a stream of a running server, and figures come each second.
#[tokio::test(flavor = "multi_thread")]
async fn streams_tell_what_happens() {
    let server = TestServer::start().await;
    let LocalApi { url, key } = Api::of(&server).0;
    let open = async |path: &str| {
        let mut client = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        let request =
            format!("GET /api/v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        client
    };
    let (mut events, mut live) = (open("/events").await, open("/live").await);
    let until = async |stream: &mut TcpStream, wanted: &str| {
        let mut text = String::new();
        let reading = async {
            while !text.contains(wanted) {
                text.push(char::from(stream.read_u8().await.unwrap()));
            }
        };
        let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
        assert!(read.is_ok(), "no {wanted}: {text}");
    };
    until(&mut events, "\nid: ").await;
    let _ada = server.join("ada").await;
    until(&mut events, "event: room.started").await;
    until(&mut events, "\"user\":\"ada\"").await;
    until(&mut live, "\"sessions\":1,").await;
    until(&mut live, "\"rates\":{").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_ends_refuses_new_joins_and_leaves_sessions_alone() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let ada = server.join("ada").await;
    let (status, tenant) = api.send("POST", "/tenants", json!({"name": "tenant"})).await;
    assert_eq!(status, 201, "{tenant}");
    let path = format!("/tenants/{}", tenant["id"].as_str().unwrap());
    let set = async |body: Value| {
        let (status, answer) = api.send("PUT", &path, body).await;
        assert_eq!(status, 200, "{answer}");
    };
    set(json!({"name": "tenant", "ends_at": "2020-01-01T00:00:00Z"})).await;
    let (code, text) = refusal(connect(server.options(server.token("bob"))).await);
    assert_eq!(code, Some(Code::Forbidden));
    assert!(text.contains("licence has ended"), "{text}");
    set(json!({"name": "tenant", "products": ["assist"]})).await;
    let (_, text) = refusal(connect(server.options(server.token("bob"))).await);
    assert!(text.contains("does not include this product"), "{text}");
    set(json!({"name": "tenant", "max_sessions": 1})).await;
    let (code, _) = refusal(connect(server.options(server.token("bob"))).await);
    assert_eq!(code, Some(Code::TenantFull));
    set(json!({"name": "tenant", "max_sessions": 2})).await;
    let _bob = server.join("bob").await;
    until(&ada, |event| match event {
        RoomEvent::PeerJoined(peer) if peer.user == "bob" => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(ada.peers().len(), 1, "the session stayed through all of it");
}

/// What an operator has set holds after a restart, and a key that was revoked stays revoked.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_and_keys_survive_a_restart() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    api.post("/tenants", json!({"name": "tenant", "active": false})).await;
    let (_, key) = api.send("POST", "/keys", json!({"name": "k", "scopes": ["read"]})).await;
    let id = key["id"].as_str().unwrap();
    api.send("DELETE", &format!("/keys/{id}"), Value::Null).await;
    let server = server.restart().await;
    let refused = refusal(connect(server.options(server.token("ada"))).await);
    assert_eq!(refused.0, Some(Code::Forbidden));
    let mut stolen = Api::of(&server);
    stolen.0.key = key["key"].as_str().unwrap().to_owned();
    assert_eq!(stolen.send("GET", "/rooms", Value::Null).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_stops_the_server() {
    let mut server = TestServer::start().await;
    let api = Api::of(&server);
    let ada = server.join("ada").await;
    let status = api.get("/server").await;
    assert_eq!((&status["accepts"], &status["sessions"]), (&json!(true), &json!(1)));
    api.post("/drain", Value::Null).await;
    until(&ada, |event| match event {
        RoomEvent::Interrupted { .. } | RoomEvent::Closed { .. } => Some(()),
        _ => None,
    })
    .await;
    server.ended().await.unwrap();
}

/// A key in the clear must not leave the machine, and nobody else gets tokens of the demo.
#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_plain_http_has_neither_api_nor_demo() {
    let everywhere = HttpAddr::At("0.0.0.0:0".parse().unwrap());
    let server = TestServer::with(|config| config.http = everywhere).await;
    assert!(!server.on.demo);
    assert!(LocalApi::read(server.dir.path()).is_err());
    assert!(server.http("/health/ready").starts_with("HTTP/1.1 200"));
    for path in ["/api/v1/rooms", "/Api/v1/rooms", "/demo"] {
        assert!(server.http(path).starts_with("HTTP/1.1 404"), "{path}");
    }
}
