//! Acknowledgements of events, on the wire.

use std::time::Duration;

use nucleus_client::session::{ClientHandle, RoomClient};
use nucleus_protocol::limits::EVENT_ACK_COUNT;

use crate::client::{LobbyJoin, send_bulk, send_event};
use crate::support::TestServer;

/// Waits until the client keeps exactly `kept` events.
async fn until_kept(kept: usize, client: &ClientHandle<RoomClient>) {
    let acknowledged = client.wait_for(|client, _| (client.unacknowledged() == kept).then_some(()));
    let in_time = tokio::time::timeout(Duration::from_secs(10), acknowledged).await;
    assert!(in_time.is_ok(), "the client keeps {} events", client.read().unacknowledged());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_forgets_what_the_server_acknowledges() {
    let server = TestServer::start().await;
    let session = LobbyJoin::new(&server.token("a")).driven(&server).await;
    for n in 0..EVENT_ACK_COUNT + 8 {
        send_event(&session.client, &n.to_le_bytes()).await;
    }
    until_kept(8, &session.client).await;
    // Four pieces of 16 KiB: each second one is acknowledged, and the events with it.
    send_bulk(&session.client, &vec![7; 64 << 10]).await;
    until_kept(0, &session.client).await;
    session.leave().await;
}
