//! Tests of the shared state with sessions that send and read the protocol's messages themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::browser::{self, LOCAL};
use crate::support::TestServer;
use nucleus_client::session::client_config;
use nucleus_protocol::session::*;
use nucleus_server::token::{Product, TokenRequest};
use nucleus_webclient::{Browser, PATH, UNIDIRECTIONAL};
use quinn::{RecvStream, SendStream, TransportConfig, VarInt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// The rights in a join token.
struct TokenRights<'a> {
    role: &'a str,
    grants: &'a [&'a str],
}

/// A joined session without the client's state handling.
struct RawSession {
    connection: quinn::Connection,
    control: SendStream,
    answers: RecvStream,
    last_request: u32,
}

impl RawSession {
    /// Joins with a small receive window.
    async fn join(server: &TestServer, role: &str, grants: &[&str]) -> Self {
        Self::join_at(server, server.on.session, 64 << 10, TokenRights { role, grants }).await
    }

    async fn join_at(
        server: &TestServer,
        address: SocketAddr,
        window: u32,
        TokenRights { role, grants }: TokenRights<'_>,
    ) -> Self {
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut config = client_config(&server.trust()).unwrap();
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(window));
        config.transport_config(transport.into());
        endpoint.set_default_client_config(config);
        let connection = endpoint.connect(address, "localhost").unwrap().await.unwrap();
        let (mut control, mut answers) = connection.open_bi().await.unwrap();
        let token = server.token_with(TokenRequest {
            role: role.to_owned(),
            grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
            ..TokenRequest::new(Product::ATOM, "tenant", role)
        });
        let hello =
            Hello { oldest: 1, newest: 1, flags: 0, agent: b"raw".to_vec(), features: vec![7] };
        let join = Join {
            token: token.into_bytes(),
            room: b"lobby".to_vec(),
            suites: vec![1],
            largest_body: 1_150,
            ..Join::default()
        };
        let opening = [&[stream::CONTROL][..], &hello.encode(), &encode(&join)].concat();
        control.write_all(&opening).await.unwrap();
        assert_eq!(message(&mut answers).await.0, Schema::Welcome);
        assert_eq!(message(&mut answers).await.0, Schema::Joined);
        Self { connection, control, answers, last_request: 0 }
    }

    async fn send(&mut self, operations: Vec<Operation>) {
        self.last_request += 1;
        let request = StateRequest { request: self.last_request, operations };
        self.control.write_all(&encode(&request)).await.unwrap();
    }

    async fn reply(&mut self) -> StateReply {
        loop {
            match message(&mut self.answers).await {
                (Schema::StateReply, body) => return owned(&body).unwrap(),
                // `Throttled` says that the requests exceed their rate.
                (Schema::RosterUpdate | Schema::Throttled, _) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    /// Sends a request and returns code, failed operation and version of the reply.
    async fn request(&mut self, operations: Vec<Operation>) -> (u16, u16, u64) {
        self.send(operations).await;
        let reply = self.reply().await;
        assert_eq!(reply.request, self.last_request);
        (reply.code, reply.failed, reply.version)
    }

    /// Accepts the next stream of the server, which must have this type.
    async fn stream(&self, wanted: u8) -> RecvStream {
        let mut stream = self.connection.accept_uni().await.unwrap();
        let mut kind = [0];
        stream.read_exact(&mut kind).await.unwrap();
        assert_eq!(kind, [wanted]);
        stream
    }
}

async fn message(stream: &mut RecvStream) -> (Schema, Vec<u8>) {
    let mut header = [0; SESSION_HEADER_BYTES];
    stream.read_exact(&mut header).await.unwrap();
    let header = MessageHeader::parse(header, 2 << 20).unwrap();
    let mut body = vec![0; header.len as usize];
    stream.read_exact(&mut body).await.unwrap();
    (header.schema, body)
}

async fn snapshot(stream: &mut RecvStream) -> StateSnapshot {
    let (schema, body) = message(stream).await;
    assert_eq!(schema, Schema::StateSnapshot);
    owned(&body).unwrap()
}

async fn update(stream: &mut RecvStream) -> StateUpdate {
    let (schema, body) = message(stream).await;
    assert_eq!(schema, Schema::StateUpdate);
    owned(&body).unwrap()
}

fn op(kind: u8, scope: u8, id: u64) -> Operation {
    let (mode, peer, key, value, expected) = Default::default();
    Operation { kind, scope, id, mode, peer, key, value, expected }
}

fn create(id: u64) -> Operation {
    op(operation::CREATE, scope::OBJECT, id)
}

fn set(scope: u8, id: u64, key: &str, bytes: &[u8]) -> Operation {
    let value = Value { kind: value::BYTES, bits: 0, bytes: bytes.to_vec() };
    let (key, expected) = (key.into(), ANY_VERSION);
    Operation { key, value, expected, ..op(operation::SET, scope, id) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_everybody_and_who_comes_later() {
    let server = TestServer::start().await;
    let mut host = RawSession::join(&server, "host", &[]).await;
    let mut observer = RawSession::join(&server, "observer", &["state.room"]).await;
    let forbidden = Code::Forbidden as u16;
    assert_eq!(observer.request(vec![create(1)]).await, (forbidden, 0, 0));
    let both = vec![set(scope::ROOM, 0, "scene", b"lab"), create(1)];
    assert_eq!(observer.request(both).await, (forbidden, 1, 0));
    assert_eq!(observer.request(vec![set(scope::ROOM, 0, "scene", b"lab")]).await, (0, 0, 1));

    let mut state = host.stream(stream::STATE).await;
    assert_eq!(snapshot(&mut state).await, StateSnapshot::default());
    let first = update(&mut state).await;
    assert_eq!((first.version, first.peer, first.changes.len()), (1, 2, 1));
    assert_eq!(host.request(vec![create(7)]).await, (0, 0, 2));
    assert_eq!(update(&mut state).await.version, 2);

    let mut late = RawSession::join(&server, "participant", &[]).await;
    let mut copy = late.stream(stream::STATE).await;
    let whole = snapshot(&mut copy).await;
    let entities: Vec<_> = whole.entities.iter().map(|e| (e.scope, e.id, e.owner)).collect();
    assert_eq!((whole.version, &entities[..]), (2, &[(0, 0, 0), (2, 7, 1)][..]));

    host.connection.close(VarInt::from_u32(Code::Leaving as u32), b"");
    let last = update(&mut copy).await;
    assert_eq!((last.version, last.peer), (3, 0));
    assert_eq!(last.changes[0].kind, change::DELETED);

    // A session that refuses the stream stays joined.
    copy.stop(VarInt::from_u32(0)).unwrap();
    for version in 4..30 {
        let change = vec![set(scope::PEER, 3, "hand", b"up")];
        assert_eq!(late.request(change).await, (0, 0, version));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_ends_its_session() {
    let server = TestServer::start().await;
    let garbage = [&[12, 0, 0, 0, 1, 48, 0, 1][..], &[0xff; 12]].concat();
    let too_large = vec![1, 0x40, 0, 0, 1, 48, 0, 1];
    let reply = encode(&StateReply { request: 1, code: 0, failed: 0, version: 1 });
    for bytes in [garbage, too_large, reply] {
        let mut session = RawSession::join(&server, "host", &[]).await;
        session.control.write_all(&bytes).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = session.connection.closed().await
        else {
            panic!("lost");
        };
        assert_eq!(close.error_code, VarInt::from_u32(Code::Malformed as u32));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_rate_wait_and_are_answered_all() {
    let server = TestServer::start().await;
    let mut session = RawSession::join(&server, "host", &[]).await;
    let started = Instant::now();
    for _ in 0..80 {
        session.send(vec![set(scope::ROOM, 0, "n", b"")]).await;
    }
    for n in 1..=80 {
        let reply = session.reply().await;
        assert_eq!((reply.request, reply.code, reply.version), (n, 0, u64::from(n)));
    }
    // The limit admits 32 requests without delay, and then 30 a second.
    assert!(started.elapsed() > Duration::from_millis(1_500), "{:?}", started.elapsed());
}

/// Joins three sessions, which create 290 KiB of state.
async fn build_large_state(server: &TestServer) -> Vec<RawSession> {
    let mut builders = Vec::new();
    for n in 0..3_u64 {
        let mut builder = RawSession::join(server, "host", &[]).await;
        for part in 0..8 {
            let id = n * 8 + part;
            let fields = ["a", "b", "c"].map(|key| set(scope::OBJECT, id, key, &[7; 4_096]));
            let all = [vec![create(id)], fields.to_vec()].concat();
            assert_eq!(builder.request(all).await.0, 0);
        }
        builders.push(builder);
    }
    builders
}

fn event(number: u8, len: usize) -> Vec<u8> {
    let (target, channel, peers, payload) = (TO_OTHERS, 0, vec![], vec![number; len]);
    encode(&EventUp { target, channel, piece: 0, peers, payload })
}

/// A session that does not read the state still receives events, and is closed in the end.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_the_state_is_cut() {
    let server = TestServer::start().await;
    let builders = build_large_state(&server).await;
    let slow = RawSession::join(&server, "host", &[]).await;
    let _unread = slow.stream(stream::STATE).await;
    let mut events = builders[0].connection.open_uni().await.unwrap();
    events.write_all(&[&[stream::EVENTS][..], &event(0, 9_000)].concat()).await.unwrap();
    let received = async { message(&mut slow.stream(stream::EVENTS).await).await };
    let received = tokio::time::timeout(Duration::from_secs(1), received).await;
    assert_eq!(received.expect("the event is delayed").0, Schema::EventDown);
    let cut = tokio::time::timeout(Duration::from_secs(9), slow.connection.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(close) = cut.expect("the connection is open")
    else {
        panic!("lost");
    };
    assert_eq!(close.error_code, VarInt::from_u32(Code::SlowConsumer as u32));
}

/// A page that does not read the state is closed by its code. Its stream does not end before in the
/// middle of the snapshot, which the page would take for a broken protocol.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_read_the_state_finds_its_stream_reset() {
    let server = TestServer::start().await;
    let _builders = build_large_state(&server).await;
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(64 << 10));
    let mut config = browser::config(&server);
    config.transport_config(transport.into());
    let connection = browser::connect_with(config, server.on.session).await;
    let web = Browser::new(connection).await.unwrap().open(PATH, &[LOCAL]).await.unwrap();
    let (_control, _joined) = browser::join(&web, &server, server.token("web")).await;
    let mut streams = Vec::new();
    let mut state = loop {
        let mut stream = web.connection().accept_uni().await.unwrap();
        let mut kind = [0; 4];
        stream.read_exact(&mut kind[..1]).await.unwrap();
        if kind[0] == UNIDIRECTIONAL[0] {
            stream.read_exact(&mut kind[1..]).await.unwrap();
            assert_eq!(kind[3], stream::STATE);
            break stream;
        }
        streams.push(stream);
    };
    let (code, _) =
        tokio::time::timeout(Duration::from_secs(9), browser::closed(web)).await.unwrap();
    assert_eq!(code, Some(Code::SlowConsumer));
    let end = loop {
        match state.read_chunk(usize::MAX, true).await {
            Ok(Some(_)) => {}
            end => break end.map(|_| ()),
        }
    };
    assert_eq!(end, Err(quinn::ReadError::Reset(VarInt::from_u32(0))));
}

/// Returns an address from which datagrams reach the server over a simulated path. The path to the
/// client has 1 Mbit/s and a buffer of 0.2 s.
async fn slow_path(server: SocketAddr) -> SocketAddr {
    let bind = async || Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (front, back) = (bind().await, bind().await);
    let address = front.local_addr().unwrap();
    let (push, mut pop) = mpsc::channel::<(Vec<u8>, SocketAddr)>(20);
    let down = front.clone();
    tokio::spawn(async move {
        while let Some((datagram, to)) = pop.recv().await {
            tokio::time::sleep(Duration::from_micros(8 * datagram.len() as u64)).await;
            down.send_to(&datagram, to).await.unwrap();
        }
    });
    tokio::spawn(async move {
        let (mut up, mut down) = ([0; 2_048], [0; 2_048]);
        let mut client = None;
        loop {
            tokio::select! {
                received = front.recv_from(&mut up) => {
                    let (len, from) = received.unwrap();
                    client = Some(from);
                    back.send_to(&up[..len], server).await.unwrap();
                }
                received = back.recv_from(&mut down) => {
                    let (len, _) = received.unwrap();
                    // A full buffer drops the datagram.
                    let _lost = push.try_send((down[..len].to_vec(), client.unwrap()));
                }
            }
        }
    });
    address
}

/// A peer joins a room with a large state over a slow path. Events and replies overtake the
/// snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_snapshot_does_not_hold_up_the_rest() {
    let server = TestServer::start().await;
    let builders = build_large_state(&server).await;
    let path = slow_path(server.on.session).await;
    let rights = TokenRights { role: "host", grants: &[] };
    let mut late = RawSession::join_at(&server, path, 4 << 20, rights).await;
    let started = Instant::now();
    let mut state = late.stream(stream::STATE).await;
    let whole = tokio::spawn(async move {
        let whole = snapshot(&mut state).await;
        (whole.entities.len(), started.elapsed())
    });
    let mut up = builders[0].connection.open_uni().await.unwrap();
    up.write_all(&[stream::EVENTS]).await.unwrap();
    let (mut down, mut longest) = (None, Duration::ZERO);
    for n in 0..8 {
        let sent = Instant::now();
        up.write_all(&event(n, 100)).await.unwrap();
        let stream = match &mut down {
            Some(open) => open,
            None => down.insert(late.stream(stream::EVENTS).await),
        };
        message(stream).await;
        longest = longest.max(sent.elapsed());
        let sent = Instant::now();
        assert_eq!(late.request(vec![create(1_000 + u64::from(n))]).await.0, 0);
        longest = longest.max(sent.elapsed());
    }
    let (entities, took) = whole.await.unwrap();
    assert_eq!(entities, 24);
    // 290 KiB take 2.4 s. Events and replies wait for little more than the buffer of the path.
    assert!(took > Duration::from_secs(2), "the snapshot took only {took:?}");
    assert!(longest < took / 2, "delayed by {longest:?} during a snapshot of {took:?}");
}
