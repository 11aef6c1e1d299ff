//! `history`: rooms, sessions and calls of the past.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use nucleus_control::events::EventFeed;
use nucleus_control::history::{HistoryRecorder, RecorderSettings};
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomInstanceId};
use nucleus_core::plane_event::{CallRef, CallTotals, PlaneEvent, RoomRef, RoomVisitor, Visit};
use nucleus_protocol::session::Code;

use crate::world::{LOCAL, World};

/// Records a room, a session and a call of each tenant "acme" and "beta", whose names say whose they
/// are.
pub(crate) async fn record(world: &World) {
    let database = &world.database;
    let dir = tempfile::tempdir().unwrap();
    let (feed, posted) = EventFeed::new();
    let spool = dir.path().join("spool");
    let (recorder, handle) =
        HistoryRecorder::new(RecorderSettings { feed: feed.clone(), posted, spool });
    let task = tokio::spawn(recorder.run(database.clone(), world.webhooks.clone()));
    for (number, tenant) in [(1, "acme"), (2, "beta")] {
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
        let visit = Visit { lasted, code: Code::TimedOut, resumes: 1, links: None };
        let call = CallRef { call: number.into(), owner, caller: user.clone() };
        let totals = CallTotals { members: vec![user], ..CallTotals::default() };
        feed.post(PlaneEvent::RoomStarted(room.clone()));
        feed.post(PlaneEvent::PeerJoined(room.clone(), visitor.clone()));
        feed.post(PlaneEvent::PeerLeft(room, visitor, Box::new(visit)));
        feed.post(PlaneEvent::CallStarted(call.clone()));
        feed.post(PlaneEvent::CallEnded(call, Box::new(totals)));
    }
    handle.finish(Duration::from_secs(60)).await;
    assert_eq!((handle.figures().spool_rows(), handle.figures().dropped()), (0, 0));
    task.abort();
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
