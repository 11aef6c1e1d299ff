//! Tests of a client's session against a scripted server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod events;
mod lost;
mod room;
mod state;
mod support;

use std::time::Duration;

use nucleus_client::session::{
    ConnectError, JoinError, SendError, SessionEvent, To, Trust, client_config,
};
use nucleus_client::{Code, PeerId};
use nucleus_protocol::session::{
    EventDown, EventUp, Leave, Refuse, RosterUpdate, TO_LISTED, encode, owned, stream,
};
use support::{ScriptedServer, endpoint, join, message};

#[tokio::test]
async fn joins_sends_and_leaves() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = ScriptedServer::admit(endpoint.clone()).await;
        let mut events = server.connection.accept_uni().await.unwrap();
        let mut kind = [0];
        events.read_exact(&mut kind).await.unwrap();
        assert_eq!(kind, [stream::EVENTS]);
        for n in 0..3 {
            let (_, body) = message(&mut events).await;
            let event: EventUp = owned(&body).unwrap();
            assert_eq!((event.target, event.peers, event.payload), (TO_LISTED, vec![9], vec![n]));
        }
        let (_, body) = message(&mut server.recv).await;
        assert_eq!(owned::<Leave>(&body).unwrap().code, 0);
        server.connection.close(0u32.into(), b"bye");
    };
    let client = async {
        let session = join(&endpoint, pin).await.unwrap();
        let link = session.link_config().unwrap();
        assert_eq!(link.path.unwrap().remote.to_string(), "127.0.0.1:5056");
        let (sender, mut receiver) = session.split();
        for n in 0..3 {
            sender.send_event(To::Peers(vec![PeerId(9)]), 0, &[n]).await.unwrap();
        }
        let too_large = sender.send_event(To::All, 0, &[0; 1_001]).await;
        assert_eq!(too_large, Err(SendError::TooLarge { len: 1_001, limit: 1_000 }));
        let many = sender.send_event(To::Peers(vec![PeerId(9); 1_025]), 0, &[]).await;
        assert_eq!(many, Err(SendError::TooManyPeers { count: 1_025, limit: 1_024 }));
        sender.leave().await;
        let closed = SessionEvent::Closed { code: Some(Code::Left), text: "bye".to_owned() };
        assert_eq!(receiver.next().await, closed);
        assert_eq!(sender.send_event(To::All, 0, &[]).await, Err(SendError::Closed));
    };
    tokio::join!(serve, client);
}

/// This includes the messages of the bulk lane, which the client reads last.
#[tokio::test]
async fn what_had_arrived_before_the_end_is_given_out() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::admit(endpoint.clone()).await;
        for kind in [stream::BULK, stream::EVENTS] {
            let mut lane = server.connection.open_uni().await.unwrap();
            lane.write_all(&[kind]).await.unwrap();
            for _ in 0..3 {
                lane.write_all(&encode(&event(4))).await.unwrap();
            }
            lane.finish().unwrap();
            // Wait until the client has received everything.
            lane.stopped().await.unwrap();
        }
        server.connection.close(0u32.into(), b"bye");
    };
    let client = async {
        let (sender, mut receiver) = join(&endpoint, pin).await.unwrap().split();
        sender.closed().await;
        let mut received = [0; 2];
        loop {
            match receiver.next().await {
                SessionEvent::Event(_) => received[0] += 1,
                SessionEvent::Bulk(_) => received[1] += 1,
                other => break assert!(matches!(other, SessionEvent::Closed { .. })),
            }
        }
        assert_eq!(received, [3, 3]);
    };
    tokio::join!(serve, client);
}

fn event(roster_version: u32) -> EventDown {
    let sequence = roster_version.into();
    EventDown { peer: 2, roster_version, sequence, channel: 0, piece: 0, payload: vec![] }
}

#[tokio::test]
async fn events_wait_for_their_roster() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = ScriptedServer::admit(endpoint.clone()).await;
        let mut unknown = server.connection.open_uni().await.unwrap();
        unknown.write_all(&[77]).await.unwrap();
        assert!(unknown.stopped().await.unwrap().is_some(), "an unknown stream is refused");
        let mut events = server.connection.open_uni().await.unwrap();
        events.write_all(&[stream::EVENTS]).await.unwrap();
        for version in [4, 5] {
            events.write_all(&encode(&event(version))).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.send(&encode(&RosterUpdate { version: 5, ..Default::default() })).await;
        // The version leaves a gap, so the client closes the session.
        server.send(&encode(&RosterUpdate { version: 7, ..Default::default() })).await;
        server.connection.closed().await
    };
    let client = async {
        let (_sender, mut receiver) = join(&endpoint, pin).await.unwrap().split();
        // Drop the future again and again: no event is lost.
        let mut events = Vec::new();
        while events.len() < 4 {
            let wait = tokio::time::timeout(Duration::from_millis(1), receiver.next());
            events.extend(wait.await.ok());
        }
        assert_eq!(events[0], SessionEvent::Event(event(4)));
        assert!(matches!(&events[1], SessionEvent::Roster(update) if update.version == 5));
        assert_eq!(events[2], SessionEvent::Event(event(5)));
        assert!(matches!(&events[3], SessionEvent::Closed { code: Some(Code::Malformed), .. }));
    };
    let (closed, ()) = tokio::join!(serve, client);
    let code = Code::Malformed as u32;
    assert!(
        matches!(closed, quinn::ConnectionError::ApplicationClosed(c) if c.error_code == code.into())
    );
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = ScriptedServer::accept(endpoint.clone()).await;
        let refuse = Refuse {
            code: Code::TokenExpired as u16,
            text: b"expired an hour ago".to_vec(),
            retry_after_ms: 0,
            oldest: 1,
            newest: 1,
            endpoints: vec![],
        };
        server.send(&refuse.encode()).await;
        server.connection.closed().await;
    };
    let (refused, ()) = tokio::join!(join(&endpoint, pin), serve);
    let error = refused.err().unwrap();
    assert!(matches!(error, JoinError::Refused { code: Some(Code::TokenExpired), .. }));
    let text = error.to_string();
    assert!(text.contains("expired an hour ago") && text.contains("new token"), "{text}");
}

#[tokio::test]
async fn a_wrong_pin_is_refused() {
    let (endpoint, pin) = endpoint();
    let accept = async {
        let incoming = endpoint.accept().await.unwrap();
        assert!(incoming.await.is_err());
    };
    let (refused, ()) = tokio::join!(join(&endpoint, pin.map(|byte| !byte)), accept);
    let error = refused.err().unwrap();
    assert!(matches!(error, JoinError::Tls(_)), "{error:?}");
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn an_empty_list_of_pins_is_refused() {
    let error = client_config(&Trust::Pins(Vec::new())).err().unwrap();
    assert!(matches!(error, ConnectError::Trust(_)), "{error:?}");
}
