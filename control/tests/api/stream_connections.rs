//! Streams over real connections: clients that take nothing, the places for requests, the end of the server.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleus_control::Timestamp;
use nucleus_control::events::RecordedEvent;
use nucleus_control::history::RecordedBatch;
use nucleus_control::http::{HttpServer, Listener, Serving};
use nucleus_core::ids::{Product, ProductKey};
use nucleus_core::limits::{
    HTTP_CONNECTIONS, STREAMS, STREAMS_OF_OPERATORS, STREAMS_OF_TENANT, STREAMS_OF_TENANTS,
};
use nucleus_core::plane_event::{CallRef, PlaneEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::broadcast;

use crate::world::{LOCAL, World};

/// Longest time in which a client may take nothing, and some slack for a busy machine.
const WRITE_TIME: Duration = Duration::from_secs(10 + 50);

/// A world behind a server.
async fn serve(world: &World) -> (HttpServer, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let router = world.router();
    let setup = async move {
        let listeners = vec![Listener { socket, tls: None, router }];
        Ok::<_, std::io::Error>(Serving { listeners, ..Serving::default() })
    };
    (HttpServer::start(setup).await.unwrap(), addr)
}

/// Connects a client with a small buffer, asks, and returns the head of the answer.
async fn ask(addr: SocketAddr, path: &str, key: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut client = socket.connect(addr).await.unwrap();
    let request =
        format!("GET /api/v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    (client, String::from_utf8(head).unwrap())
}

fn large_events(count: u64) -> RecordedBatch {
    let owner = Arc::new(ProductKey { tenant: "acme".to_owned(), product: Product::ATOM });
    let event = |call: u64| {
        let caller = "x".repeat(4_000);
        let what = PlaneEvent::CallStarted(CallRef { call, owner: owner.clone(), caller });
        RecordedEvent { id: format!("{call:036}"), at: Timestamp::from_seconds(1), what }
    };
    (0..count).map(event).collect()
}

/// The buffers of both systems take some megabytes. Then nothing moves, and the connection is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_off() {
    let world = World::new().await;
    let (_server, addr) = serve(&world).await;
    let (recorder, batches) = broadcast::channel(2);
    let ring = world.events.clone();
    tokio::spawn(async move { ring.follow(batches).await });
    let mut reading = Vec::new();
    for _ in 1..STREAMS_OF_OPERATORS {
        reading.push(world.stream("/events", LOCAL, None).await);
    }
    let (_silent, head) = ask(addr, "/events", LOCAL).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(recorder.send(large_events(3_000)).is_ok());
    let begun = Instant::now();
    let is_free = async || world.ask_stream("/events", LOCAL, None).await.status() == 200;
    assert!(!is_free().await, "all places are taken");
    while !is_free().await {
        assert!(begun.elapsed() < WRITE_TIME, "it still has its place");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(5), "it was cut off at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_most_connections_to_requests() {
    let world = World::new().await;
    let (_server, addr) = serve(&world).await;
    let mut keys = vec![LOCAL.to_owned(); STREAMS - STREAMS_OF_TENANTS];
    for number in 0..STREAMS_OF_TENANTS / STREAMS_OF_TENANT {
        let tenant = world.tenant(&format!("tenant {number}")).await;
        let key = world.key(Some(&tenant), &["read"]).await;
        keys.extend(vec![key; STREAMS_OF_TENANT]);
    }
    let mut streams = Vec::new();
    for key in &keys {
        let (client, head) = ask(addr, "/events", key).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        streams.push(client);
    }
    assert_eq!(streams.len(), STREAMS);
    let (_, head) = ask(addr, "/events", LOCAL).await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    let mut others = Vec::new();
    for _ in 0..HTTP_CONNECTIONS {
        others.push(TcpStream::connect(addr).await.unwrap());
    }
    let (_, head) = ask(addr, "/rooms", LOCAL).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (recorder, batches) = broadcast::channel(2);
    let ring = world.events.clone();
    tokio::spawn(async move { ring.follow(batches).await });
    assert!(recorder.send(large_events(1)).is_ok());
    // Those of the operator, which see all tenants.
    for stream in &mut streams[..STREAMS - STREAMS_OF_TENANTS] {
        let mut text = String::new();
        while !text.contains("event: call.started") {
            text.push(char::from(stream.read_u8().await.unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_server_waits_for_no_stream() {
    let world = World::new().await;
    let (server, addr) = serve(&world).await;
    let (mut client, _) = ask(addr, "/events", LOCAL).await;
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _end = client.read_to_end(&mut rest).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "the client sees the end at once");
}
