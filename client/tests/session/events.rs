//! Acknowledgements of events, against a scripted server.

use std::time::Duration;

use nucleus_client::session::{EventOutbox, ProtocolError, SessionEvent};
use nucleus_client::{Code, RoomEvent, To};
use nucleus_protocol::session::{EventAck, EventUp, Joined, Lane, RESUMED, encode, owned};
use tokio::time::timeout;

use super::room::{enter, with_roster};
use super::support::{ScriptedServer, endpoint, join, message};

/// Reads events from the client's event stream, and returns their payloads.
async fn events(stream: &mut quinn::RecvStream, count: usize) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for _ in 0..count {
        let (_, body) = message(stream).await;
        payloads.push(owned::<EventUp>(&body).unwrap().payload);
    }
    payloads
}

/// Takes the client's event stream.
async fn event_stream(server: &ScriptedServer) -> quinn::RecvStream {
    let mut stream = server.connection.accept_uni().await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    stream
}

fn ack(events_taken: u32) -> Vec<u8> {
    encode(&EventAck { events_taken, bulk_taken: 0 })
}

/// A server that acknowledges what was never sent, or goes backwards, ends the session with a
/// reason. Before, it only has the client forget what it sent.
#[tokio::test]
async fn impossible_acknowledgements_end_the_session() {
    for impossible in [2, 0] {
        let (endpoint, pin) = endpoint();
        let serve = async {
            let mut server = ScriptedServer::admit(endpoint.clone()).await;
            let mut stream = event_stream(&server).await;
            events(&mut stream, 1).await;
            for events_taken in [1, 1, impossible] {
                server.send(&ack(events_taken)).await;
            }
            server.connection.closed().await
        };
        let client = async {
            let session = join(&endpoint, pin).await.unwrap();
            let joined = session.joined().clone();
            let (sender, mut receiver) = session.split();
            let outbox = EventOutbox::default();
            outbox.attach(sender, &joined, true).unwrap();
            outbox.send(To::All, 0, b"one").await.unwrap();
            for _ in 0..2 {
                let SessionEvent::EventAck(ack) = receiver.next().await else { unreachable!() };
                outbox.acknowledge(&ack).unwrap();
                assert_eq!(outbox.unacknowledged(), 0);
            }
            let SessionEvent::EventAck(ack) = receiver.next().await else { unreachable!() };
            let fault = outbox.acknowledge(&ack).unwrap_err();
            let (lane, taken, least, most) = (Lane::Events, impossible, 1, 1);
            assert_eq!(fault, ProtocolError::EventCount { lane, taken, least, most });
            receiver.fail(fault)
        };
        let (closed, last) = tokio::join!(serve, client);
        let quinn::ConnectionError::ApplicationClosed(closed) = closed else { unreachable!() };
        assert_eq!(closed.error_code, (Code::Malformed as u32).into());
        let SessionEvent::Closed { code, text } = last else { unreachable!() };
        assert!(code == Some(Code::Malformed) && text.contains("possible are 1 to 1"), "{text}");
    }
}

/// A client forgets what is acknowledged, and writes the rest again after a resume.
#[tokio::test]
async fn what_is_not_acknowledged_is_written_again() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = ScriptedServer::admit_as(endpoint.clone(), with_roster(&[1])).await;
        let mut stream = event_stream(&server).await;
        assert_eq!(events(&mut stream, 4).await, [[0], [1], [2], [3]]);
        // QUIC has acknowledged all of them. Only this message counts.
        server.send(&ack(2)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.connection.close((Code::Internal as u32).into(), b"on purpose");

        let again = Joined { resumed: RESUMED, events_taken: 3, ..with_roster(&[1]) };
        let mut server = ScriptedServer::admit_as(endpoint.clone(), again).await;
        let mut stream = event_stream(&server).await;
        assert_eq!(events(&mut stream, 2).await, [[3], [4]]);
        server.send(&ack(5)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.connection.close((Code::Internal as u32).into(), b"on purpose");

        // Less than was acknowledged: event 4 would be lost.
        let again = Joined { resumed: RESUMED, events_taken: 4, ..with_roster(&[1]) };
        let server = ScriptedServer::admit_as(endpoint.clone(), again).await;
        server.connection.closed().await
    };
    let client = async {
        let room = enter(&endpoint, pin).await;
        for n in 0..4 {
            room.send_event(To::All, 0, &[n]).await.unwrap();
        }
        let mut interruptions = 0;
        loop {
            match room.next().await.unwrap() {
                RoomEvent::Interrupted { .. } => {
                    interruptions += 1;
                    if interruptions == 1 {
                        room.send_event(To::All, 0, &[4]).await.unwrap();
                    }
                }
                RoomEvent::Closed { code, text } => {
                    assert_eq!((code, interruptions), (Some(Code::Malformed), 2));
                    break assert!(text.contains("took 4") && text.contains("5 to 5"), "{text}");
                }
                _ => {}
            }
        }
    };
    let (closed, ()) = tokio::join!(serve, client);
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)));
}

/// A server that acknowledges nothing makes the sender wait, and gets no more than the client
/// keeps. With the acknowledgement the sender goes on.
#[tokio::test]
async fn a_sender_waits_for_acknowledgements() {
    let (endpoint, pin) = endpoint();
    let (size, count) = (1_000, 1_200);
    let serve = async {
        let mut server = ScriptedServer::admit_as(endpoint.clone(), with_roster(&[1])).await;
        let mut stream = event_stream(&server).await;
        let mut read = 0;
        while timeout(Duration::from_secs(1), message(&mut stream)).await.is_ok() {
            read += 1;
        }
        let kept = read as usize * size;
        assert!(kept > 400 << 10 && kept < 600 << 10, "{kept} bytes");
        server.send(&ack(read)).await;
        while timeout(Duration::from_secs(1), message(&mut stream)).await.is_ok() {
            read += 1;
        }
        server.send(&ack(read)).await;
        events(&mut stream, count - read as usize).await;
        server.connection.closed().await;
    };
    let client = async {
        let room = enter(&endpoint, pin).await;
        for _ in 0..count {
            room.send_event(To::All, 0, &vec![0; size]).await.unwrap();
        }
        room.leave().await;
    };
    tokio::join!(serve, client);
}
