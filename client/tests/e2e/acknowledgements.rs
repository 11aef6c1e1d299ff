//! Acknowledgements of events, on the wire.

use std::time::Duration;

use nucleus_client::session::{EventOutbox, SessionEvent, SessionReceiver, To};
use nucleus_protocol::limits::EVENT_ACK_COUNT;

use crate::reconnect::session;
use crate::support::TestServer;

/// Passes acknowledgements to the outbox until it keeps exactly `kept` events.
async fn until_kept(kept: usize, outbox: &EventOutbox, receiver: &mut SessionReceiver) {
    let receive = async {
        while outbox.unacknowledged() != kept {
            match receiver.next().await {
                SessionEvent::EventAck(ack) => outbox.acknowledge(&ack).unwrap(),
                SessionEvent::Closed { code, text } => panic!("closed: {code:?} {text}"),
                _ => {}
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), receive).await;
    assert!(in_time.is_ok(), "the outbox keeps {} events", outbox.unacknowledged());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_forgets_what_the_server_acknowledges() {
    let server = TestServer::start().await;
    let session = session(&server, &server.token("a"), None).await;
    let joined = session.joined().clone();
    let (sender, mut receiver) = session.split();
    let outbox = EventOutbox::default();
    outbox.attach(sender, &joined, true).unwrap();
    for n in 0..EVENT_ACK_COUNT + 8 {
        outbox.send(To::Others, 0, &n.to_le_bytes()).await.unwrap();
    }
    until_kept(8, &outbox, &mut receiver).await;
    // Four pieces of 16 KiB: each second one is acknowledged, and the events with it.
    outbox.send_bulk(To::Others, 0, &vec![7; 64 << 10]).await.unwrap();
    until_kept(0, &outbox, &mut receiver).await;
    outbox.leave().await;
}
