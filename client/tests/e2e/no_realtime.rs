//! Sessions of clients that have no realtime port, and cannot or do not use QUIC's datagrams.

use std::sync::Arc;
use std::time::Duration;

use nucleus_client::session::client_config;
use nucleus_client::{Capabilities, Code, To};
use nucleus_protocol::session::{self, Hello, Join, Joined, NO_REALTIME_PORT, Schema, stream};

use super::support::TestServer;
use super::wire::message;
use super::wire::{close_of, raw};

/// The opening of a client without a realtime port, whose datagrams have at most `largest_body`
/// bytes of frames.
fn opening(server: &TestServer, largest_body: u16) -> Vec<u8> {
    let hello = Hello {
        oldest: 1,
        newest: 1,
        flags: NO_REALTIME_PORT,
        agent: b"test".to_vec(),
        features: vec![],
    };
    let join = session::encode(&Join {
        token: server.token("plain").into_bytes(),
        room: b"lobby".to_vec(),
        largest_body,
        ..Join::default()
    });
    [&[stream::CONTROL][..], &hello.encode(), &join].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_cannot_arrive_are_refused_at_the_join() {
    let server = TestServer::start().await;
    let mut config = client_config(&server.trust()).unwrap();
    let mut transport = quinn::TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    for (largest_body, expected) in [(0, Schema::Joined), (1_000, Schema::Refuse)] {
        let connecting = endpoint.connect_with(config.clone(), server.on.session, "localhost");
        let connection = connecting.unwrap().await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&opening(&server, largest_body)).await.unwrap();
        assert_eq!(message(&mut receive).await.0, Schema::Welcome);
        assert_eq!(message(&mut receive).await.0, expected, "largest_body {largest_body}");
        if expected == Schema::Refuse {
            assert_eq!(close_of(&connection).await.0, Some(Code::Malformed));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_realtime_plane_neither_sends_nor_gets_datagrams() {
    let server = TestServer::start().await;
    let options = server.options(server.token("headset"));
    let options = options.capabilities(Capabilities { realtime_port: false, ..Default::default() });
    let headset = nucleus_client::connect(options).await.unwrap();
    let connection = raw(&server).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&opening(&server, 0)).await.unwrap();
    assert_eq!(message(&mut receive).await.0, Schema::Welcome);
    let (schema, body) = message(&mut receive).await;
    assert_eq!(schema, Schema::Joined);
    let joined: Joined = session::owned(&body).unwrap();
    // A keep-alive that chooses the fallback, which would make the server send.
    let keep_alive = [&joined.link_id.to_le_bytes()[..], &[9, 3, 0, 0, 1]].concat();
    connection.send_datagram(keep_alive.into()).unwrap();
    for _ in 0..10 {
        headset.send_unreliable(To::Others, 0, 0, &[7; 800]).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let got = tokio::time::timeout(Duration::from_millis(300), connection.read_datagram()).await;
    assert!(got.is_err(), "the server has sent {got:?}");
}
