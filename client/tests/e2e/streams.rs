//! What arrives too early, and what the end of each stream means.

use std::time::Duration;

use nucleus_client::{Code, RoomEvent};
use nucleus_protocol::session::{self, Enter, Joined, Ping, RESUMED, Schema, Subscribe, stream};

use super::support::{TestServer, until};
use super::wire::{WireSession, WireTicket, event_up, message};
use super::wire::{close_of, hello, join_message, raw};

/// How often a case is tried whose outcome must not be a matter of chance.
const TRIES: usize = 30;

async fn joined(server: &TestServer) -> WireSession {
    WireSession::join(server, &server.token("early"), WireTicket::default()).await
}

/// Resumes the session of `joined` as the same peer, and leaves.
async fn resume_and_leave(server: &TestServer, joined: &Joined) {
    let token = server.token("early");
    let again = WireSession::join(server, &token, WireTicket::of(joined)).await;
    assert_eq!((again.joined.resumed, again.joined.peer), (RESUMED, joined.peer));
    again.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_before_joined_is_refused_every_time() {
    let server = TestServer::start().await;
    let subscribe = session::encode(&Subscribe { request: 1, groups: [0; 30] });
    for _ in 0..TRIES {
        let connection = raw(&server).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        let opening = [hello(b"test"), join_message(&server), subscribe.clone()].concat();
        send.write_all(&opening).await.unwrap();
        let expected = "the client has sent a message before it received Joined";
        assert_eq!(close_of(&connection).await, (Some(Code::Malformed), expected.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_before_joined_is_refused_every_time() {
    let server = TestServer::start().await;
    for _ in 0..TRIES {
        let connection = raw(&server).await;
        // The event is there before the join is.
        let mut events = connection.open_uni().await.unwrap();
        events.write_all(&[&[stream::EVENTS][..], &event_up(b"hi")].concat()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&[hello(b"test"), join_message(&server)].concat()).await.unwrap();
        let expected = "the client has opened a stream before it received Joined";
        assert_eq!(close_of(&connection).await, (Some(Code::Malformed), expected.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_control_stream_ends_the_session_and_keeps_the_participant() {
    let server = TestServer::start().await;
    let witness = server.join("witness").await;
    for reset in [false, true] {
        let WireSession { connection, mut send, receive: _receive, joined, .. } =
            joined(&server).await;
        // The participant is used, so it outlives its session.
        let mut events = connection.open_uni().await.unwrap();
        events.write_all(&[&[stream::EVENTS][..], &event_up(b"hi")].concat()).await.unwrap();
        until(&witness, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
        if reset {
            send.reset(7u32.into()).unwrap()
        } else {
            send.finish().unwrap()
        }
        let expected = "the client has ended the control stream".to_owned();
        assert_eq!(close_of(&connection).await, (Some(Code::Malformed), expected));
        resume_and_leave(&server, &joined).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_refuses_its_events_loses_its_session() {
    let server = TestServer::start().await;
    let witness = server.join("witness").await;
    let WireSession { connection, send: _send, receive: _receive, .. } = joined(&server).await;
    witness.send_event(nucleus_client::To::Others, 0, b"first").await.unwrap();
    let mut events = connection.accept_uni().await.unwrap();
    events.stop(1u32.into()).unwrap();
    for _ in 0..10 {
        witness.send_event(nucleus_client::To::Others, 0, b"next").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let expected = "the client has ended the stream of events or of the bulk lane".to_owned();
    assert_eq!(close_of(&connection).await, (Some(Code::Malformed), expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_of_a_lane_is_refused_and_the_session_goes_on() {
    let server = TestServer::start().await;
    let witness = server.join("witness").await;
    let WireSession { connection, .. } = &joined(&server).await;
    let mut first = connection.open_uni().await.unwrap();
    first.write_all(&[&[stream::EVENTS][..], &event_up(b"hi")].concat()).await.unwrap();
    for kind in [stream::EVENTS, stream::STATE, 99] {
        let mut second = connection.open_uni().await.unwrap();
        second.write_all(&[kind]).await.unwrap();
        let code = second.stopped().await.unwrap().unwrap();
        assert_eq!(code, quinn::VarInt::from_u32(Code::Malformed as u32), "type {kind}");
    }
    // The client may end its lane.
    first.write_all(&event_up(b"hi")).await.unwrap();
    first.finish().unwrap();
    for _ in 0..2 {
        until(&witness, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
    }
    assert!(connection.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_keeps_both_kinds_of_session() {
    let server = TestServer::start().await;
    let mut room = joined(&server).await;
    let connection = raw(&server).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let token = server.token("social").into_bytes();
    let enter = session::encode(&Enter { token, name: Vec::new(), status: 1 });
    send.write_all(&[hello(b"test"), enter].concat()).await.unwrap();
    assert_eq!(message(&mut receive).await.0, Schema::Welcome);
    assert_eq!(message(&mut receive).await.0, Schema::Entered);
    for _ in 0..3 {
        room.send.write_all(&Ping.encode()).await.unwrap();
        send.write_all(&Ping.encode()).await.unwrap();
    }
    // A request behind the pings is answered.
    let subscribe = session::encode(&Subscribe { request: 5, groups: [0; 30] });
    room.send.write_all(&subscribe).await.unwrap();
    while message(&mut room.receive).await.0 != Schema::StateReply {}
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(connection.close_reason().is_none() && room.connection.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ping_makes_a_ticket_resume() {
    let server = TestServer::start().await;
    for _ in 0..TRIES {
        let WireSession { connection, mut send, receive: _receive, joined, .. } =
            joined(&server).await;
        send.write_all(&Ping.encode()).await.unwrap();
        send.finish().unwrap();
        assert_eq!(close_of(&connection).await.0, Some(Code::Malformed));
        resume_and_leave(&server, &joined).await;
    }
}
