//! Tests of the shared state through the client's API.

use std::time::Duration;

use nucleus_client::state::{Object, StateChange};
use nucleus_client::{
    Batch, Code, EntityId, ObjectId, ObjectMode, PeerId, Room, RoomEvent, StateError, connect,
};
use nucleus_server::token::{Product, TokenRequest};

use crate::support::{TestServer, until};

async fn join_as(server: &TestServer, user: &str, role: &str) -> Room {
    let request =
        TokenRequest { role: role.into(), ..TokenRequest::new(Product::ATOM, "tenant", user) };
    connect(server.options(server.token_with(request))).await.unwrap()
}

async fn wait_for_version(room: &Room, version: u64) {
    let reached = async {
        while room.state_version() < version {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached)
        .await
        .expect("the version did not arrive in 10 s");
}

fn refused(outcome: Result<u64, StateError>) -> (Code, usize) {
    match outcome {
        Err(StateError::Refused { code: Some(code), operation, .. }) => (code, operation),
        other => panic!("{other:?}"),
    }
}

/// Increments a field of the room, while others do the same. Returns the number of conflicts.
async fn increment(room: &Room, times: usize) -> usize {
    let mut conflicts = 0;
    for _ in 0..times {
        loop {
            let field = room.field(EntityId::Room, "count");
            let version = field.as_ref().map_or(0, |field| field.version);
            let count = field.and_then(|field| field.value.as_integer()).unwrap_or(0);
            let next = Batch::new().compare_and_set(EntityId::Room, "count", version, count + 1);
            match room.change(next).await {
                Ok(_) => break,
                Err(StateError::Refused { code: Some(Code::Conflict), .. }) => conflicts += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    conflicts
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_count_and_everybody_has_the_same_state() {
    let server = TestServer::start().await;
    let (a, b, c) = tokio::join!(
        join_as(&server, "a", "host"),
        join_as(&server, "b", "presenter"),
        join_as(&server, "c", "presenter")
    );
    let (x, y, z) = tokio::join!(increment(&a, 10), increment(&b, 10), increment(&c, 10));
    assert!(x + y + z > 0, "there was no conflict");
    let late = join_as(&server, "late", "observer").await;
    for room in [&a, &b, &c, &late] {
        wait_for_version(room, 30).await;
        let field = room.field(EntityId::Room, "count").unwrap();
        assert_eq!((field.value.as_integer(), field.version), (Some(30), 30));
        assert_eq!(room.state_digest(), a.state_digest());
    }
    let outcome = late.change(Batch::new().set(EntityId::Room, "count", 0)).await;
    assert_eq!(refused(outcome), (Code::Forbidden, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_change_hands_and_go_with_their_owners() {
    let server = TestServer::start().await;
    let teacher = join_as(&server, "teacher", "host").await;
    let pupil = join_as(&server, "pupil", "participant").await;
    let (me, other) = (teacher.me(), pupil.me());
    // The host depends on the roster, which arrives a little later.
    until(&teacher, |event| matches!(event, RoomEvent::PeerJoined(_)).then_some(())).await;
    let (cup, lamp) = (teacher.new_object_id(), teacher.new_object_id());
    let key = ObjectId::scene(7);
    let batch = Batch::new()
        .create(cup, ObjectMode::ASK)
        .set(cup, "color", "red")
        .create(lamp, ObjectMode::FIXED)
        .create(key, ObjectMode::TAKE.with_room())
        .host(other);
    let created = teacher.change(batch).await.unwrap();
    wait_for_version(&pupil, created).await;
    assert_eq!((teacher.host(), pupil.host()), (Some(other), Some(other)));

    // The server applies a batch completely or not at all.
    let both = Batch::new().claim(key).claim(lamp);
    assert_eq!(refused(pupil.change(both).await), (Code::Conflict, 1));
    assert_eq!(pupil.object(key).unwrap().owner, Some(me));
    pupil.change(Batch::new().claim(key).claim(cup)).await.unwrap();
    let claim = until(&teacher, |event| match event {
        RoomEvent::State(StateChange::Claimed { object, by }) => Some((object, by)),
        _ => None,
    });
    assert_eq!(claim.await, (cup, other));
    let given = teacher.change(Batch::new().give(cup, other)).await.unwrap();
    wait_for_version(&pupil, given).await;
    pupil.change(Batch::new().set(cup, "color", "blue").set(other, "hand", true)).await.unwrap();

    pupil.leave().await;
    let deleted = until(&teacher, |event| match event {
        RoomEvent::State(StateChange::Deleted { entity, .. }) if entity == cup.into() => Some(()),
        _ => None,
    });
    deleted.await;
    let owner_of = |id| teacher.object(id).map(|object: Object| object.owner);
    assert_eq!([cup, lamp, key].map(owner_of), [None, Some(Some(me)), Some(None)]);
    assert!(teacher.fields(EntityId::Peer(other)).is_empty());
    let hosted = until(&teacher, |event| match event {
        RoomEvent::State(StateChange::Host { host }) => (host != Some(other)).then_some(host),
        _ => None,
    });
    assert_eq!(hosted.await, Some::<PeerId>(me));
    assert_eq!(teacher.host(), Some(me));
}
