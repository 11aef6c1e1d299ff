//! `history`: rooms, sessions and calls of the past.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use nucleus_control::events::EventFeed;
use nucleus_control::history::{HistoryRecorder, RecorderHandle, RecorderSettings};
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomInstanceId};
use nucleus_core::moments::{LossCause, Moment, MomentActor, MomentKind, MomentLog};
use nucleus_core::plane_event::{CallRef, CallTotals, PlaneEvent, RoomRef, RoomVisitor, Visit};
use nucleus_protocol::session::Code;
use tokio::task::JoinHandle;

use crate::world::{LOCAL, World};

/// Records a room, a session and a call of each tenant "acme" and "beta", whose names say whose they
/// are.
pub(crate) async fn record(world: &World) {
    let recording = Recording::new(world);
    recording.post(&["acme", "beta"]);
    recording.finish().await;
}

/// A recorder whose events the streams of a world get.
pub(crate) struct Recording {
    pub(crate) feed: EventFeed,
    handle: RecorderHandle,
    tasks: [JoinHandle<()>; 2],
    _dir: tempfile::TempDir,
}

impl Recording {
    pub(crate) fn new(world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (feed, posted) = EventFeed::new();
        let spool = dir.path().join("spool");
        let (recorder, handle) =
            HistoryRecorder::new(RecorderSettings { feed: feed.clone(), posted, spool });
        let (ring, batches) = (world.events.clone(), handle.subscribe());
        let tasks = [
            tokio::spawn(recorder.run(world.database.clone(), world.webhooks.clone())),
            tokio::spawn(async move { ring.follow(batches).await }),
        ];
        Self { feed, handle, tasks, _dir: dir }
    }

    /// Waits until everything that was posted is recorded.
    pub(crate) async fn finish(&self) {
        self.handle.finish(Duration::from_secs(60)).await;
        let figures = self.handle.figures();
        assert_eq!((figures.spool_rows(), figures.dropped()), (0, 0));
    }

    /// Posts a room, a session and a call of each tenant.
    pub(crate) fn post(&self, tenants: &[&str]) {
        for (number, tenant) in (1..).zip(tenants) {
            post(&self.feed, number, tenant);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn post(feed: &EventFeed, number: u8, tenant: &str) {
    let owner = Arc::new(ProductKey { tenant: tenant.to_owned(), product: Product::ATOM });
    let instance = RoomInstanceId([number; 8]);
    let room = RoomRef { instance, key: Arc::new(owner.room(format!("{tenant} lobby"))) };
    let user = format!("{tenant}-user");
    let visitor = Arc::new(RoomVisitor {
        peer: PeerId(7),
        user: user.clone(),
        name: user.clone(),
        role: "trainer".to_owned(),
    });
    let lasted = Duration::from_secs(60);
    let moderator = MomentActor::Peer(PeerId(7));
    let moments = [
        (0, MomentKind::Joined { took: Duration::from_millis(240) }),
        (5, MomentKind::Realtime(([192, 0, 2, 7], 4_000).into())),
        (9, MomentKind::Muted(moderator)),
        (20, MomentKind::Lost(LossCause::Closed)),
    ];
    let at = |(seconds, kind)| Moment { after: Duration::from_secs(seconds), kind };
    let moments = MomentLog::stored(moments.map(at), 3);
    let visit = Visit { lasted, code: Code::TimedOut, resumes: 1, links: None, moments };
    let call = CallRef { call: number.into(), owner, caller: user.clone() };
    let totals = CallTotals { members: vec![user], ..CallTotals::default() };
    feed.post(PlaneEvent::RoomStarted(room.clone()));
    feed.post(PlaneEvent::PeerJoined(room.clone(), visitor.clone()));
    feed.post(PlaneEvent::PeerLeft(room, visitor, Box::new(visit)));
    feed.post(PlaneEvent::CallStarted(call.clone()));
    feed.post(PlaneEvent::CallEnded(call, Box::new(totals)));
}

#[tokio::test]
async fn the_past_is_listed_and_a_tenant_sees_its_own() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    record(&world).await;
    let key = world.key(Some(&acme), &["read"]).await;
    let of_room = world.get("/history/calls?room=x", LOCAL).await;
    assert_eq!(of_room.status, StatusCode::BAD_REQUEST, "{of_room:?}");
    for list in ["rooms", "sessions", "calls"] {
        let items = |answer: serde_json::Value| answer["items"].as_array().unwrap().clone();
        let path = format!("/history/{list}");
        let all = items(world.get(&path, LOCAL).await.json());
        assert_eq!((all.len(), &all[0]["tenant"]), (2, &"beta".into()), "{list}: the newest first");
        let own = items(world.get(&path, &key).await.json());
        assert_eq!((own.len(), &own[0]["tenant"]), (1, &"acme".into()), "{list}");
        let of_user = world.get(&format!("{path}?user=acme-user&tenant=acme"), LOCAL).await.json();
        assert_eq!(items(of_user), own, "{list}");
        let later = world.get(&format!("{path}?from=2999-01-01T00:00:00Z"), LOCAL).await.json();
        assert!(items(later).is_empty(), "{list}");
        let first = world.get(&format!("{path}?limit=1"), LOCAL).await.json();
        let next = first["next"].as_str().unwrap();
        let second = world.get(&format!("{path}?limit=1&cursor={next}"), LOCAL).await.json();
        assert_eq!(items(second), own, "{list}");
        let long = "x".repeat(129);
        for wrong in [
            "from=yesterday",
            "limit=0",
            "limit=201",
            "cursor=1",
            "other=1",
            &format!("user={long}"),
        ] {
            let answer = world.get(&format!("{path}?{wrong}"), LOCAL).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{list} {wrong}: {answer:?}");
        }
    }
    let session = &world.get("/history/sessions", &key).await.json()["items"][0];
    assert_eq!(
        (&session["peer"], &session["code"]),
        (&"0101010101010101-7".into(), &"timed_out".into())
    );
    assert!(
        session["rtt_p50_us"].is_null() && session["bytes_in"].is_null(),
        "not measured: {session}"
    );
}

#[tokio::test]
async fn live_calls_are_listed_and_a_tenant_sees_its_own() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["read"]).await;
    let all = world.get("/calls", LOCAL).await.json();
    assert_eq!(all["total"], 2);
    let own = world.get("/calls", &key).await.json();
    assert_eq!((&own["total"], &own["items"][0]["caller"]), (&1.into(), &"acme-user".into()));
    assert_eq!(own["items"][0]["call"], "0000000000000007");
    assert_eq!(world.get("/calls?tenant=acme", LOCAL).await.json(), own);
    assert_eq!(world.get("/calls?tenant=beta", &key).await.json()["total"], 0);
}

#[tokio::test]
async fn live_calls_have_pages_in_the_order_of_their_begin() {
    let world = World::new().await;
    // Some begin at the same moment.
    let begun: Vec<_> = (0..450).map(|number| (100 + number, 5_000 - number / 3)).collect();
    let mut expected: Vec<_> = begun[2..].iter().map(|(call, at)| (*at, *call)).collect();
    expected.sort_unstable();
    *world.planes.calls.lock().unwrap() = begun;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/calls?limit=200{cursor}"), LOCAL).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 200 && page["total"].as_u64().unwrap() > 449, "{page}");
        seen.extend(items.iter().map(|call| call["call"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // One of the newest calls ends meanwhile.
        world.planes.calls.lock().unwrap().remove(0);
    }
    let expected: Vec<_> = expected.iter().map(|(_, call)| format!("{call:016x}")).collect();
    // The two calls of each world began before all others.
    assert_eq!(seen[..2], ["0000000000000007", "0000000000000007"]);
    assert_eq!(seen[2..], expected, "each call once, and none is left out");
    for wrong in ["limit=0", "limit=201", "cursor=1", "cursor=0000000000000007"] {
        let answer = world.get(&format!("/calls?{wrong}"), LOCAL).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn an_operator_ends_a_call_and_a_tenant_its_own_alone() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["operate"]).await;
    world.planes.calls.lock().unwrap().push((100, 5));
    let end = async |id: &str, key: &str| {
        world.ask("POST", &format!("/calls/{id}/end"), key, serde_json::Value::Null).await.status
    };
    assert_eq!(end("0000000000000007", &key).await, StatusCode::NO_CONTENT);
    assert_eq!(end("0000000000000064", LOCAL).await, StatusCode::NO_CONTENT);
    for absent in ["0000000000000065", "7", "x", "00000000000000007"] {
        assert_eq!(end(absent, LOCAL).await, StatusCode::NOT_FOUND, "{absent}");
    }
    let ended = world.planes.ended_calls.lock().unwrap().clone();
    assert_eq!(ended, [("acme".to_owned(), 7), ("acme".to_owned(), 100)]);
    let audit = world.get("/audit", LOCAL).await.json()["items"].clone();
    let entry = &audit[1];
    assert_eq!((&entry["action"], &entry["tenant"]), (&"call.end".into(), &acme.as_str().into()));
    assert_eq!(entry["detail"], "call of: acme-user");
    // Both tenants of the tests have a call of this number: the other one's is out of reach.
    let beta = world.tenant("beta").await;
    let betas = world.key(Some(&beta), &["operate"]).await;
    assert_eq!(end("0000000000000064", &betas).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_tells_what_happened_and_why_it_ended() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    record(&world).await;
    let key = world.key(Some(&acme), &["read"]).await;
    let row = world.get("/history/sessions", &key).await.json()["items"][0].clone();
    let id = row["id"].as_str().unwrap();
    let session = world.get(&format!("/history/sessions/{id}"), &key).await.json();
    for field in ["id", "peer", "user", "joined_at", "left_at", "code"] {
        assert_eq!(session[field], row[field], "{field}: as in the list");
    }
    let of_peer = world.get("/history/sessions/0101010101010101-7", &key).await.json();
    assert_eq!(of_peer, session, "by the id of the peer, too");
    let moments = session["moments"].as_array().unwrap();
    let kinds: Vec<_> = moments.iter().map(|moment| moment["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["joined", "realtime", "muted", "lost", "left"], "{session}");
    assert_eq!(
        (&session["moments_known"], &session["moments_left_out"]),
        (&true.into(), &3.into())
    );
    assert_eq!(moments[0]["took_ms"], 240);
    assert_eq!(moments[1]["address"], "192.0.2.7:4000");
    let muted = &moments[2];
    let by = (&muted["by"], &muted["by_peer"], &muted["by_user"]);
    assert_eq!(by, (&"peer".into(), &"0101010101010101-7".into(), &"acme-user".into()));
    assert_eq!(muted["text"], "muted by acme-user");
    assert_eq!(moments[3]["cause"], "closed");
    let reason = session["reason"].as_str().unwrap();
    assert!(reason.starts_with("the client closed the connection without leaving"), "{reason}");
    assert_eq!(moments[4]["text"], reason);
    assert_eq!(moments[4]["at"], session["left_at"]);

    let betas = world.key(Some(&beta), &["read"]).await;
    for (key, id) in [
        (&betas, id),
        (&betas, "0101010101010101-7"),
        (&key, "0101010101010101-8"),
        (&key, "0101010101010101"),
        (&key, "00000000-0000-7000-8000-000000000000"),
        (&key, "x"),
    ] {
        let answer = world.get(&format!("/history/sessions/{id}"), key).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}: {answer:?}");
    }
}

/// A moderator who is forgotten is no longer named in the sessions of others, and what happened in its own
/// session is gone.
#[tokio::test]
async fn who_is_forgotten_is_in_no_moment() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let recording = Recording::new(&world);
    recording.post(&["acme"]);
    let owner = ProductKey { tenant: "acme".to_owned(), product: Product::ATOM };
    let key = Arc::new(owner.room("acme lobby"));
    let room = RoomRef { instance: RoomInstanceId([1; 8]), key };
    let (user, name) = ("eve".to_owned(), "Eve".to_owned());
    let visitor = RoomVisitor { peer: PeerId(8), user, name, role: "member".to_owned() };
    let kind = MomentKind::Removed(MomentActor::Peer(PeerId(7)));
    let moments = MomentLog::stored([Moment { after: Duration::from_secs(3), kind }], 0);
    let lasted = Duration::from_secs(3);
    let visit = Visit { lasted, code: Code::Kicked, resumes: 0, links: None, moments };
    recording.feed.post(PlaneEvent::PeerLeft(room, Arc::new(visitor), Box::new(visit)));
    recording.finish().await;
    let reason = async || {
        let session = world.get("/history/sessions/0101010101010101-8", LOCAL).await.json();
        session["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason().await, "removed by acme-user");
    let body = serde_json::json!({"tenant": acme, "user": "acme-user"});
    let forgotten = world.ask("POST", "/forget", LOCAL, body).await.json();
    assert_eq!(forgotten["sessions"], 1);
    assert_eq!(reason().await, "removed by a moderator, peer 7, of whom nothing is kept");
    let own = world.get("/history/sessions/0101010101010101-7", LOCAL).await;
    assert_eq!(own.status, StatusCode::NOT_FOUND, "{own:?}");
}
