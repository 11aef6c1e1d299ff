//! Tests of a client's session on quinn, against a scripted server. The rules are tested without
//! sockets, in `client/core/tests/session`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod lost;
mod support;

use nucleus_client::session::{ConnectError, JoinError, RoomSessionStep, To, Trust, client_config};
use nucleus_client::{Code, PeerId, RoomEvent};
use nucleus_protocol::session::{EventDown, EventUp, Leave, TO_LISTED, encode, owned, stream};
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
        let mut session = join(&endpoint, pin).await.unwrap();
        let link = session.link_config().unwrap();
        assert_eq!(link.path.unwrap().remote.to_string(), "127.0.0.1:5056");
        for n in 0..3 {
            session
                .client()
                .change(|client, now| client.send_event(now, To::Peer(PeerId(9)), 0, &[n]))
                .unwrap();
        }
        session.leave().await;
        let closed = RoomEvent::Closed { code: Some(Code::Left), text: "bye".to_owned() };
        assert_eq!(session.client().take_event(), Some(closed));
    };
    tokio::join!(serve, client);
}

/// The server's streams end before the client reads them, and with them the connection.
#[tokio::test]
async fn what_had_arrived_before_the_end_is_given_out() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::admit(endpoint.clone()).await;
        for kind in [stream::BULK, stream::EVENTS] {
            let mut lane = server.connection.open_uni().await.unwrap();
            lane.write_all(&[kind]).await.unwrap();
            for sequence in 1..=3 {
                let (peer, channel, piece, payload) = (2, 0, 0, vec![]);
                let event =
                    EventDown { peer, roster_version: 4, sequence, channel, piece, payload };
                lane.write_all(&encode(&event)).await.unwrap();
            }
            lane.finish().unwrap();
            // Wait until the client has received everything.
            lane.stopped().await.unwrap();
        }
        server.connection.close(0u32.into(), b"bye");
    };
    let client = async {
        let mut session = join(&endpoint, pin).await.unwrap();
        session.connection().unwrap().clone().closed().await;
        let mut received = [0; 2];
        loop {
            match session.next().await {
                RoomSessionStep::Event(RoomEvent::Event { .. }) => received[0] += 1,
                RoomSessionStep::Event(RoomEvent::Bulk { .. }) => received[1] += 1,
                RoomSessionStep::Closed => break,
                _ => {}
            }
        }
        assert_eq!(received, [3, 3]);
    };
    tokio::join!(serve, client);
}

/// A stream of an unknown type is stopped, so that the server knows that nobody reads it.
#[tokio::test]
async fn an_unknown_stream_is_stopped() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::admit(endpoint.clone()).await;
        let mut unknown = server.connection.open_uni().await.unwrap();
        unknown.write_all(&[77]).await.unwrap();
        assert!(unknown.stopped().await.unwrap().is_some());
        server.connection.close(0u32.into(), b"bye");
    };
    let client = async {
        let mut session = join(&endpoint, pin).await.unwrap();
        while !matches!(session.next().await, RoomSessionStep::Closed) {}
    };
    tokio::join!(serve, client);
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
