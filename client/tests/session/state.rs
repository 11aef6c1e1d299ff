//! Tests of the shared state in a session, against a scripted server.

use nucleus_client::session::{SendError, SessionEvent, SessionReceiver};
use nucleus_client::state::{Batch, EntityId};
use nucleus_client::{Code, PeerId};
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    Change, RosterUpdate, StateReply, StateRequest, StateSnapshot, StateUpdate, Value, change,
    encode, scope, value,
};

use super::support::{ScriptedServer, endpoint, join};

/// A change of the room's topic.
pub(crate) fn topic(text: &str) -> Change {
    let value = Value { kind: value::TEXT, bits: 0, bytes: text.into() };
    let (kind, scope, key) = (change::SET, scope::ROOM, b"topic".to_vec());
    Change { kind, scope, id: 0, peer: 0, mode: 0, key, value }
}

pub(crate) fn update(version: u64) -> StateUpdate {
    StateUpdate { version, peer: 1, changes: vec![topic(&format!("topic {version}"))] }
}

pub(crate) fn empty(version: u64) -> StateSnapshot {
    StateSnapshot { version, ..Default::default() }
}

/// Sends the messages on one state stream and returns the events of a client.
async fn events_of(messages: Vec<Vec<u8>>) -> Vec<SessionEvent> {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::admit(endpoint.clone()).await;
        let mut state = server.open_state(&[]).await;
        for message in messages {
            // Ignore an error: a client that has found a fault does not read the rest.
            let _ = state.write_all(&message).await;
        }
        server.connection.closed().await;
    };
    let listen = async {
        let (_sender, mut receiver) = join(&endpoint, pin).await.unwrap().split();
        events_until_closed(&mut receiver).await
    };
    tokio::join!(serve, listen).1
}

async fn events_until_closed(receiver: &mut SessionReceiver) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    while !matches!(events.last(), Some(SessionEvent::Closed { .. })) {
        events.push(receiver.next().await);
    }
    events
}

fn is_malformed(event: &SessionEvent, why: &str) -> bool {
    matches!(
        event,
        SessionEvent::Closed { code: Some(Code::Malformed), text } if text.contains(why)
    )
}

#[tokio::test]
async fn a_request_is_answered_and_its_update_follows() {
    let (endpoint, pin) = endpoint();
    let request = StateRequest {
        request: 7,
        operations: Batch::new().set(EntityId::Room, "topic", "x").into_operations().unwrap(),
    };
    let reply = StateReply { request: 7, code: 0, failed: 0, version: 5 };
    let serve = async {
        let mut server = ScriptedServer::admit(endpoint.clone()).await;
        let mut state = server.open_state(&encode(&empty(4))).await;
        assert_eq!(server.request().await, request);
        server.send(&encode(&reply)).await;
        state.write_all(&encode(&update(5))).await.unwrap();
        server.connection.closed().await;
    };
    let live = async {
        let (sender, mut receiver) = join(&endpoint, pin).await.unwrap().split();
        sender.request_state(&request).await.unwrap();
        let value = Value { kind: value::BYTES, bits: 0, bytes: vec![0; 17_000] };
        let mut large = request.clone();
        large.operations[0].value = value;
        let refused = sender.request_state(&large).await;
        let limit = limits::MAX_STATE_REQUEST;
        assert!(matches!(refused, Err(SendError::TooLarge { limit: l, .. }) if l == limit));
        let mut events = Vec::new();
        for _ in 0..3 {
            events.push(receiver.next().await);
        }
        // The reply and the state come on two streams, in any order.
        assert!(events.contains(&SessionEvent::StateReply(reply.clone())));
        events.retain(|event| !matches!(event, SessionEvent::StateReply(_)));
        let in_order =
            [SessionEvent::StateSnapshot(empty(4)), SessionEvent::StateUpdate(update(5))];
        assert_eq!(events, in_order);
        sender.close();
    };
    tokio::join!(serve, live);
}

#[tokio::test]
async fn versions_follow_each_other() {
    for found in [4, 6, u64::MAX] {
        let messages = vec![encode(&empty(3)), encode(&update(4)), encode(&update(found))];
        let events = events_of(messages).await;
        assert_eq!(events.len(), 3);
        assert_eq!(events[1], SessionEvent::StateUpdate(update(4)));
        assert!(is_malformed(&events[2], "expected 5"), "{events:?}");
    }
}

#[tokio::test]
async fn only_a_snapshot_opens_a_state_stream_and_only_updates_follow() {
    for messages in [
        vec![encode(&update(1))],
        vec![encode(&RosterUpdate::default())],
        vec![encode(&empty(3)), encode(&empty(4))],
    ] {
        let events = events_of(messages).await;
        assert!(is_malformed(events.last().unwrap(), "does not belong there"), "{events:?}");
    }
    let mut garbage = encode(&empty(3));
    let end = garbage.len();
    garbage[end - 4..].fill(0xff);
    assert!(is_malformed(&events_of(vec![garbage]).await[0], "invalid archive"));
    let mut long = encode(&empty(3));
    long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(is_malformed(&events_of(vec![long]).await[0], "over the limit"));
}

#[tokio::test]
async fn a_session_has_one_state_stream() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::admit(endpoint.clone()).await;
        let mut first = server.open_state(&encode(&empty(1))).await;
        first.finish().unwrap();
        let _second = server.open_state(&encode(&empty(1))).await;
        server.connection.closed().await;
    };
    let listen = async {
        let (_sender, mut receiver) = join(&endpoint, pin).await.unwrap().split();
        let events = events_until_closed(&mut receiver).await;
        assert_eq!(events[0], SessionEvent::StateSnapshot(empty(1)));
        assert!(is_malformed(&events[1], "a second"), "{events:?}");
    };
    tokio::join!(serve, listen);
}

#[tokio::test]
async fn a_dropped_request_does_not_spoil_the_next_one() {
    let (endpoint, pin) = endpoint();
    let filler = "x".repeat(3_900);
    let batch = (0..4).fold(Batch::new(), |batch, _| batch.set(PeerId(1), "k", filler.as_str()));
    let operations = batch.into_operations().unwrap();
    let request = |request| StateRequest { request, operations: operations.clone() };
    let serve = async {
        let mut server = ScriptedServer::admit(endpoint.clone()).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let mut last = None;
        loop {
            let StateRequest { request, operations } = server.request().await;
            assert_eq!((operations.len(), last.is_none_or(|last| request > last)), (4, true));
            last = Some(request);
            if request == u32::MAX {
                return server.connection.close(0u32.into(), &[]);
            }
        }
    };
    let live = async {
        let (sender, _receiver) = join(&endpoint, pin).await.unwrap().split();
        // Send more than QUIC accepts without waiting, so that some futures are dropped half-way.
        for n in 0..200 {
            let wait = std::time::Duration::from_millis(1);
            let request = request(n);
            let _ = tokio::time::timeout(wait, sender.request_state(&request)).await;
        }
        sender.request_state(&request(u32::MAX)).await.unwrap();
        sender.closed().await;
    };
    tokio::join!(serve, live);
}
