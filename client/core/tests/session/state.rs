//! The shared state.

use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::StateError;
use nucleus_client_core::state::{Batch, BatchError, EntityId, ObjectMode, StateChange, Value};
use nucleus_protocol::ids::PeerId;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    self, Change, Code, Joined, NEW_PEER, Operation, RESUMED, RosterUpdate, Schema, StateReply,
    StateRequest, StateSnapshot, StateUpdate, change, encode, mode, operation, owned, scope,
    stream, value,
};

use super::support::{Script, answer};

/// A change of the room's topic.
fn topic(text: &str) -> Change {
    let value = session::Value { kind: value::TEXT, bits: 0, bytes: text.into() };
    let (kind, scope, key) = (change::SET, scope::ROOM, b"topic".to_vec());
    Change { kind, scope, id: 0, peer: 0, mode: 0, key, value }
}

fn update(version: u64) -> Vec<u8> {
    let changes = vec![topic(&format!("topic {version}"))];
    encode(&StateUpdate { version, peer: 1, changes })
}

fn empty(version: u64) -> Vec<u8> {
    encode(&StateSnapshot { version, ..Default::default() })
}

fn change_of(kind: u8, id: u64) -> Change {
    let mode = mode::TAKE | mode::WITH_ROOM;
    Change { kind, scope: scope::OBJECT, id, mode, key: vec![], ..topic("") }
}

fn set_topic() -> Vec<Operation> {
    Batch::new().set(EntityId::Room, "topic", "x").into_operations().unwrap()
}

fn topic_of(script: &Script) -> Option<Value> {
    let replica = script.client.replica();
    replica.field(EntityId::Room, "topic").map(|field| field.value.clone())
}

fn topic_change(text: Option<&str>, by: Option<u32>) -> RoomEvent {
    let (key, value) = ("topic".to_owned(), text.map(Value::from));
    RoomEvent::State(StateChange::Field { entity: EntityId::Room, key, value, by: by.map(PeerId) })
}

fn request(script: &mut Script) -> StateRequest {
    script.pump();
    let (schema, body) = script.control();
    assert_eq!(schema, Schema::StateRequest);
    owned(&body).unwrap()
}

fn success(request: u32, version: u64) -> Vec<u8> {
    encode(&StateReply { request, code: 0, failed: 0, version })
}

#[test]
fn a_change_can_be_read_once_it_is_answered() {
    let mut script = Script::joined(&answer(&[1, 2]));
    assert_eq!((topic_of(&script), script.client.host()), (None, Some(PeerId(1))));
    let change = script.client.change(script.now, set_topic()).unwrap();
    let sent = request(&mut script);
    assert_eq!(sent.operations[0].kind, operation::SET);
    // The reply comes long before the state.
    script.send(&success(sent.request, 4));
    assert_eq!(script.client.take_result(change), None);
    let state = script.open_state(&empty(3));
    assert_eq!(script.client.take_result(change), None);
    script.push(state, &update(4));
    assert_eq!(script.client.take_result(change), Some(Ok(4)));
    assert_eq!(topic_of(&script), Some("topic 4".into()));

    let change = script.client.change(script.now, set_topic()).unwrap();
    let (code, failed) = (Code::Conflict as u16, 1);
    let number = request(&mut script).request;
    script.push(state, &update(5));
    script.send(&encode(&StateReply { request: number, code, failed, version: 5 }));
    let (code, number) = (Some(Code::Conflict), code);
    let refused = script.client.take_result(change).unwrap().unwrap_err();
    assert!(
        matches!(refused, StateError::Refused { code: c, number: n, operation: 1, version: 5, .. }
            if (c, n) == (code, number))
    );

    let id = script.client.new_object_id();
    assert_eq!(id.maker(), Some(PeerId(1)));
    assert_ne!(id, script.client.new_object_id());
    let by_1 = Change { peer: 1, ..change_of(change::CREATED, id.0) };
    let to_2 = Change { peer: 2, ..change_of(change::OWNER, id.0) };
    let host = Change { peer: 2, ..change_of(change::HOST, 0) };
    let changes = vec![by_1, to_2, host];
    script.push(state, &encode(&StateUpdate { version: 6, peer: 1, changes }));
    let object = script.client.replica().object(id).copied();
    assert_eq!(object.and_then(|object| object.owner), Some(PeerId(2)));
    assert_eq!(script.client.host(), Some(PeerId(2)));
    let by = Some(PeerId(1));
    let (owner, mode) = (by, ObjectMode::TAKE.with_room());
    assert_eq!(
        script.events(),
        [
            topic_change(Some("topic 4"), Some(1)),
            topic_change(Some("topic 5"), Some(1)),
            RoomEvent::State(StateChange::Created { object: id, owner, mode, by }),
            RoomEvent::State(StateChange::Owner { object: id, owner: Some(PeerId(2)), by }),
            RoomEvent::State(StateChange::Host { host: Some(PeerId(2)) }),
        ]
    );
}

#[test]
fn a_resume_ends_what_was_under_way_and_tells_the_difference() {
    let mut script = Script::joined(&answer(&[1]));
    script.open_state(&empty(3));
    // The first request gets a reply, but its update is lost with the session. The second gets
    // none.
    let first = script.client.change(script.now, set_topic()).unwrap();
    let second = script.client.change(script.now, set_topic()).unwrap();
    let number = request(&mut script).request;
    script.send(&success(number, 4));
    script.close(Code::Internal);
    assert_eq!(script.client.take_result(first), Some(Ok(4)));
    assert_eq!(script.client.take_result(second), Some(Err(StateError::Interrupted)));
    let meanwhile = script.client.change(script.now, set_topic());
    assert_eq!(meanwhile, Err(StateError::NotConnected));
    script.run(Duration::from_secs(1));
    script.admit(&Joined { resumed: RESUMED, ..answer(&[1]) });
    let state = script.open_state(&empty(8));
    script.push(state, &update(9));
    assert_eq!(script.events().last(), Some(&topic_change(Some("topic 9"), Some(1))));
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));

    // Another room instance, whose state is empty.
    let other = Joined { resumed: NEW_PEER, peer: 5, room_instance: [2; 8], ..answer(&[5]) };
    script.admit(&other);
    let events = script.events();
    let expected = [
        RoomEvent::Rejoined { me: PeerId(5) },
        topic_change(None, None),
        RoomEvent::State(StateChange::Host { host: Some(PeerId(5)) }),
    ];
    let found: Vec<_> = events.into_iter().filter(|event| expected.contains(event)).collect();
    assert_eq!(found, expected);
    assert_eq!((topic_of(&script), script.client.replica().version()), (None, 0));
}

/// Sends messages on one state stream, and expects a fault.
fn fault_of(messages: &[Vec<u8>], why: &str) -> Vec<RoomEvent> {
    let mut script = Script::joined(&answer(&[1]));
    let state = script.open(stream::STATE);
    for message in messages {
        script.push(state, message);
    }
    script.expect_fault(why)
}

#[test]
fn versions_follow_each_other() {
    for found in [4, 6, u64::MAX] {
        let events = fault_of(&[empty(3), update(4), update(found)], "expected 5");
        assert_eq!(events, [topic_change(Some("topic 4"), Some(1))]);
    }
}

#[test]
fn only_a_snapshot_opens_a_state_stream_and_only_updates_follow() {
    for messages in
        [vec![update(1)], vec![encode(&RosterUpdate::default())], vec![empty(3), empty(4)]]
    {
        fault_of(&messages, "does not belong there");
    }
    let mut garbage = empty(3);
    let end = garbage.len();
    garbage[end - 4..].fill(0xff);
    fault_of(&[garbage], "invalid archive");
    let mut long = empty(3);
    long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    fault_of(&[long], "over the limit");
}

#[test]
fn a_session_has_one_state_stream() {
    let mut script = Script::joined(&answer(&[1]));
    let first = script.open_state(&empty(1));
    script.end_stream(first);
    script.open(stream::STATE);
    script.expect_fault("a second");
}

#[test]
fn a_state_that_makes_no_sense_closes_the_room() {
    let nowhere = Change { peer: 1, ..change_of(change::OWNER, 77) };
    let nowhere = encode(&StateUpdate { version: 4, peer: 1, changes: vec![nowhere] });
    fault_of(&[empty(3), nowhere], "0.77");
}

#[test]
fn requests_are_bounded() {
    let mut script = Script::joined(&answer(&[1]));
    let large = session::Value { kind: value::BYTES, bits: 0, bytes: vec![0; 17_000] };
    let mut operations = set_topic();
    operations[0].value = large;
    let refused = script.client.change(script.now, operations);
    let limit = limits::MAX_STATE_REQUEST;
    assert!(
        matches!(refused, Err(StateError::Batch(BatchError::TooLarge { limit: l, .. })) if l == limit)
    );
    let pending: Vec<_> =
        (0..16).map(|_| script.client.change(script.now, set_topic()).unwrap()).collect();
    assert_eq!(script.client.change(script.now, set_topic()), Err(StateError::TooMany));
    // Nobody waits for the first, and the second is answered.
    script.client.forget(pending[0]);
    assert!(script.client.change(script.now, set_topic()).is_ok());
    script.pump();
    let numbers: Vec<u32> = (0..17).map(|_| request(&mut script).request).collect();
    script.send(&success(numbers[1], 0));
    script.send(&success(numbers[0], 0));
    assert_eq!(script.client.change(script.now, set_topic()), Err(StateError::TooMany));
    assert_eq!(script.client.take_result(pending[1]), Some(Ok(0)));
    assert!(script.client.change(script.now, set_topic()).is_ok());
}
