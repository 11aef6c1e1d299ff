//! Tests of the shared state through [`Room`], against a scripted server.

use std::time::Duration;

use nucleus_client::state::{EntityId, StateChange};
use nucleus_client::{
    Batch, Code, ConnectOptions, ObjectMode, PeerId, Room, RoomEvent, StateError, Trust, Value,
    connect,
};
use nucleus_protocol::session::{
    Change, EventDown, Joined, NEW_PEER, PRESENT, Peer, RESUMED, RosterUpdate, StateReply,
    StateUpdate, change, encode, mode, operation, scope, stream,
};

use super::state::{empty, topic, update};
use super::support::{ScriptedServer, endpoint, joined};

fn peer(peer: u32) -> Peer {
    let (user, name, role) = (vec![], vec![], vec![]);
    Peer { peer, slot: peer as u16, presence: PRESENT, user, name, role }
}

pub(crate) fn with_roster(peers: &[u32]) -> Joined {
    Joined { roster: peers.iter().map(|number| peer(*number)).collect(), ..joined() }
}

pub(crate) async fn enter(server: &quinn::Endpoint, pin: [u8; 32]) -> Room {
    let options = ConnectOptions::new(server.local_addr().unwrap().to_string(), "t");
    connect(options.room("lobby").trust(Trust::Pins(vec![pin]))).await.unwrap()
}

fn success(request: u32, version: u64) -> Vec<u8> {
    encode(&StateReply { request, code: 0, failed: 0, version })
}

fn set_topic() -> Batch {
    Batch::new().set(EntityId::Room, "topic", "x")
}

fn topic_of(room: &Room) -> Option<Value> {
    room.field(EntityId::Room, "topic").map(|field| field.value)
}

/// Waits for the next change of the state.
async fn next_change(room: &Room) -> StateChange {
    loop {
        if let RoomEvent::State(change) = room.next().await.unwrap() {
            return change;
        }
    }
}

fn topic_change(text: Option<&str>, by: Option<u32>) -> StateChange {
    let (key, value) = ("topic".to_owned(), text.map(Value::from));
    StateChange::Field { entity: EntityId::Room, key, value, by: by.map(PeerId) }
}

#[tokio::test]
async fn a_change_can_be_read_once_it_is_answered() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = ScriptedServer::admit_as(endpoint.clone(), with_roster(&[1, 2])).await;
        let request = server.request().await;
        assert_eq!(request.operations[0].kind, operation::SET);
        // The reply comes long before the state.
        server.send(&success(request.request, 4)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut state = server.open_state(&encode(&empty(3))).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        state.write_all(&encode(&update(4))).await.unwrap();

        let request = server.request().await;
        let (code, failed) = (Code::Conflict as u16, 1);
        let refusal = StateReply { request: request.request, code, failed, version: 5 };
        server.send(&encode(&refusal)).await;
        state.write_all(&encode(&update(5))).await.unwrap();

        let request = server.request().await;
        let created = &request.operations[0];
        let by_1 = Change { peer: 1, ..change_of(change::CREATED, created.id) };
        let to_2 = Change { peer: 2, ..change_of(change::OWNER, created.id) };
        let host = Change { peer: 2, ..change_of(change::HOST, 0) };
        let update = StateUpdate { version: 6, peer: 1, changes: vec![by_1, to_2, host] };
        state.write_all(&encode(&update)).await.unwrap();
        server.send(&success(request.request, 6)).await;
        server.connection.closed().await;
    };
    let client = async {
        let room = enter(&endpoint, pin).await;
        assert_eq!(
            (topic_of(&room), room.state_version(), room.host()),
            (None, 0, Some(PeerId(1)))
        );
        assert_eq!(room.change(set_topic()).await, Ok(4));
        assert_eq!(topic_of(&room), Some("topic 4".into()));

        let refused = room.change(set_topic().compare_and_set(EntityId::Room, "a", 1, 2)).await;
        let code = Some(Code::Conflict);
        assert_eq!(
            refused,
            Err(StateError::Refused { code, number: 62, operation: 1, version: 5 })
        );
        assert_eq!(topic_of(&room), Some("topic 5".into()));

        let id = room.new_object_id();
        assert_eq!(id.maker(), Some(PeerId(1)));
        assert_ne!(id, room.new_object_id());
        let batch = Batch::new().create(id, ObjectMode::TAKE.with_room()).give(id, PeerId(2));
        assert_eq!(room.change(batch.host(PeerId(2))).await, Ok(6));
        assert_eq!(room.object(id).and_then(|object| object.owner), Some(PeerId(2)));
        assert_eq!((room.objects().len(), room.host()), (1, Some(PeerId(2))));

        let by = Some(PeerId(1));
        let (owner, mode) = (by, ObjectMode::TAKE.with_room());
        for expected in [
            topic_change(Some("topic 4"), Some(1)),
            topic_change(Some("topic 5"), Some(1)),
            StateChange::Created { object: id, owner, mode, by },
            StateChange::Owner { object: id, owner: Some(PeerId(2)), by },
            StateChange::Host { host: Some(PeerId(2)) },
        ] {
            assert_eq!(next_change(&room).await, expected);
        }
        room.leave().await;
        assert_eq!(room.change(set_topic()).await, Err(StateError::Closed));
    };
    tokio::join!(serve, client);
}

fn change_of(kind: u8, id: u64) -> Change {
    let mode = mode::TAKE | mode::WITH_ROOM;
    Change { kind, scope: scope::OBJECT, id, mode, key: vec![], ..topic("") }
}

#[tokio::test]
async fn a_resume_ends_what_was_under_way_and_tells_the_difference() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = ScriptedServer::admit_as(endpoint.clone(), with_roster(&[1])).await;
        let _state = server.open_state(&encode(&empty(3))).await;
        // The first request gets a reply, but its update is lost with the session. The second gets
        // none.
        let first = server.request().await;
        server.request().await;
        server.send(&success(first.request, 4)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.connection.close((Code::Internal as u32).into(), b"on purpose");

        let again = Joined { resumed: RESUMED, ..with_roster(&[1]) };
        let server = ScriptedServer::admit_as(endpoint.clone(), again).await;
        let mut state = server.open_state(&encode(&empty(8))).await;
        state.write_all(&encode(&update(9))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.connection.close((Code::Internal as u32).into(), b"on purpose");

        // Another room instance, whose state is empty.
        let again =
            Joined { resumed: NEW_PEER, peer: 5, room_instance: [2; 8], ..with_roster(&[5]) };
        let server = ScriptedServer::admit_as(endpoint.clone(), again).await;
        server.connection.closed().await;
    };
    let client = async {
        let room = enter(&endpoint, pin).await;
        let (first, second) = tokio::join!(room.change(set_topic()), room.change(set_topic()));
        assert_eq!((first, second), (Ok(4), Err(StateError::Interrupted)));
        assert_eq!(room.change(set_topic()).await, Err(StateError::NotConnected));
        assert_eq!(next_change(&room).await, topic_change(Some("topic 9"), Some(1)));
        assert_eq!(topic_of(&room), Some("topic 9".into()));
        loop {
            match room.next().await.unwrap() {
                RoomEvent::Rejoined { me } => break assert_eq!(me, PeerId(5)),
                RoomEvent::Interrupted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(next_change(&room).await, topic_change(None, None));
        assert_eq!(next_change(&room).await, StateChange::Host { host: Some(PeerId(5)) });
        assert_eq!((topic_of(&room), room.state_version()), (None, 0));
        room.leave().await;
    };
    tokio::join!(serve, client);
}

#[tokio::test]
async fn a_state_that_makes_no_sense_closes_the_room() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::admit_as(endpoint.clone(), with_roster(&[1])).await;
        let mut state = server.open_state(&encode(&empty(3))).await;
        let nowhere = StateUpdate {
            version: 4,
            peer: 1,
            changes: vec![Change { peer: 1, ..change_of(change::OWNER, 77) }],
        };
        state.write_all(&encode(&nowhere)).await.unwrap();
        server.connection.closed().await
    };
    let client = async {
        let room = enter(&endpoint, pin).await;
        let closed = room.next().await.unwrap();
        assert!(
            matches!(&closed, RoomEvent::Closed { code: Some(Code::Malformed), text }
                if text.contains("0.77")),
            "{closed:?}"
        );
        assert_eq!(room.next().await, None);
    };
    let (closed, ()) = tokio::join!(serve, client);
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)));
}

#[tokio::test]
async fn an_application_that_is_behind_hears_answers_up_to_a_bound() {
    let (endpoint, pin) = endpoint();
    let payload = vec![0; 1_000];
    let event = |sequence| {
        let payload = payload.clone();
        encode(&EventDown { peer: 1, roster_version: 4, sequence, channel: 0, piece: 0, payload })
    };
    let serve = async {
        let mut server = ScriptedServer::admit_as(endpoint.clone(), with_roster(&[1])).await;
        let mut events = server.connection.open_uni().await.unwrap();
        events.write_all(&[stream::EVENTS]).await.unwrap();
        // Send more events than the application's channel holds, and then the reply.
        let request = server.request().await;
        for sequence in 1..=200 {
            events.write_all(&event(sequence)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.send(&success(request.request, 0)).await;
        // Now send more events than the backlog accepts.
        server.request().await;
        for sequence in 201..=600 {
            events.write_all(&event(sequence)).await.unwrap();
        }
        let last = RosterUpdate { version: 5, joined: vec![peer(2)], ..Default::default() };
        server.send(&encode(&last)).await;
        server.connection.closed().await;
    };
    let client = async {
        let room = enter(&endpoint, pin).await;
        assert_eq!(room.change(set_topic()).await, Ok(0));
        assert_eq!(room.change(set_topic()).await, Err(StateError::Interrupted));
        assert_eq!(room.change(set_topic()).await, Err(StateError::Behind));
        // No reliable event is lost.
        let (mut events, mut joined) = (0, false);
        while events < 600 || !joined {
            match room.next().await.unwrap() {
                RoomEvent::Event { .. } => events += 1,
                RoomEvent::PeerJoined(_) => joined = true,
                other => panic!("{other:?}"),
            }
        }
        room.leave().await;
    };
    tokio::join!(serve, client);
}
