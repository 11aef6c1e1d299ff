//! Servers that clients are told of: after a refusal, and for the way back.

use std::time::Duration;

use nucleus_client::session::{ConnectError, JoinError, Trust};
use nucleus_client::{Code, ConnectOptions, EnterOptions, Room, connect, enter};
use nucleus_protocol::session::{Refuse, SESSION_HEADER_BYTES};

use super::support::TestServer;
use super::tickets::rejoined;
use super::wire::{hello, join_message, raw};

fn name(server: &TestServer) -> String {
    server.on.session.to_string()
}

/// Trusts the certificates of both servers.
fn both(a: &TestServer, b: &TestServer) -> Trust {
    let pins = |server: &TestServer| match server.trust() {
        Trust::Pins(pins) => pins,
        _ => panic!("no pins"),
    };
    Trust::Pins([pins(a), pins(b)].concat())
}

/// Connects to `a` with a token of `b`.
async fn join(a: &TestServer, b: &TestServer) -> Result<Room, ConnectError> {
    let options = ConnectOptions::new(name(a), b.token("guest")).room("lobby").trust(both(a, b));
    connect(options).await
}

fn code(result: Result<Room, ConnectError>) -> Option<Code> {
    match result {
        Err(ConnectError::Join(JoinError::Refused { code, .. })) => code,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("the join succeeded"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_server_sends_its_clients_on() {
    let new = TestServer::start().await;
    let to = name(&new);
    let old = TestServer::with(|config| config.servers.moved_to = vec![to]).await;
    let room = join(&old, &new).await.unwrap();
    assert_eq!(room.name(), "lobby");
    assert_eq!(new.metric("nucleus_sessions"), 1.0);
    let options = EnterOptions::new(name(&old), new.token("guest")).trust(both(&old, &new));
    let social = enter(options).await.unwrap();
    assert_eq!(social.user(), "guest");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_name_each_other_end_a_join() {
    let first = TestServer::start().await;
    let second = TestServer::with(|config| config.servers.moved_to = vec![name(&first)]).await;
    let to = name(&second);
    let first = first.restart_with(|config| config.servers.moved_to = vec![to]).await;
    let begun = std::time::Instant::now();
    assert_eq!(code(join(&first, &second).await), Some(Code::Moved));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_names_others() {
    let other = TestServer::start().await;
    let full = TestServer::with(|config| {
        config.limits.sessions = 1;
        config.servers.others = vec![name(&other)];
    })
    .await;
    let _first = full.join("first").await;
    let room = join(&full, &other).await.unwrap();
    assert_eq!(room.name(), "lobby");
    drop(other);
    // If the others cannot help, the first server's reason counts.
    let none = TestServer::with(|config| config.limits.sessions = 1).await;
    let _first = none.join("first").await;
    assert_eq!(code(connect(none.options(none.token("second"))).await), Some(Code::ServerFull));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_to_an_entry() {
    let second = TestServer::start().await;
    let mut first = TestServer::with(|config| {
        config.servers.entries = vec!["no.such.host.invalid:1".to_owned(), name(&second)];
    })
    .await;
    // Both servers accept the token: they are one service.
    let token = first.token("guest");
    let options =
        ConnectOptions::new(name(&first), token).room("lobby").trust(both(&first, &second));
    let room = connect(options).await.unwrap();
    room.renew(first.token("guest")).await.unwrap();
    first.stop().await.unwrap();
    // The second server has another key. Its refusal shows that the client has come to it.
    let closed = super::support::until(&room, |event| match event {
        nucleus_client::RoomEvent::Closed { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(closed.await, Some(Code::TokenSignature));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_entries_a_client_comes_back_to_where_it_was() {
    let server = TestServer::start().await;
    let room = server.join("guest").await;
    let _server = server.restart().await;
    rejoined(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_while_the_server_shuts_down_is_told_so() {
    let mut server =
        TestServer::with(|config| config.servers.others = vec!["relay.example.com:5055".into()])
            .await;
    let connection = raw(&server).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&hello(b"test")).await.unwrap();
    let join = join_message(&server);
    let stopping = server.stop();
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        send.write_all(&join).await.unwrap();
        receive.read_to_end(4_096).await.unwrap()
    };
    let (stopped, answer) = tokio::join!(stopping, late);
    stopped.unwrap();
    // `Welcome` stands in front of the refusal.
    let at = SESSION_HEADER_BYTES + answer[0] as usize;
    let refuse = Refuse::parse(&answer[at + SESSION_HEADER_BYTES..]).unwrap();
    assert_eq!(refuse.code, Code::ShuttingDown as u16);
    assert_eq!(refuse.endpoints, [b"relay.example.com:5055"]);
}
