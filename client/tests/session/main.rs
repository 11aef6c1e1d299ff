//! A session against a server of a few lines, which says what the test wants it to say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use nucleus_client::session::{
    JoinError, SendError, Session, SessionEvent, SessionOptions, To, Trust, client_config,
};
use nucleus_client::{Code, PeerId};
use nucleus_protocol::session::{
    ALPN, EventDown, EventUp, GRANT_EXPORTER, Hello, Join, Joined, Leave, LinkGrant,
    MESSAGE_HEADER, MessageHeader, NEW_PEER, Refuse, RosterUpdate, Schema, TO_LISTED, Welcome,
    encode, owned, stream,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::rustls::pki_types::PrivateKeyDer;

/// The server's end of a session, after the opening was read.
struct Server {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
}

fn endpoint() -> (quinn::Endpoint, [u8; 32]) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let pin = digest::digest(&digest::SHA256, made.cert.der()).as_ref().try_into().unwrap();
    let provider = Arc::new(quinn::rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = quinn::rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&quinn::rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    (quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap(), pin)
}

async fn message(recv: &mut quinn::RecvStream) -> (Schema, Vec<u8>) {
    let mut header = [0; MESSAGE_HEADER];
    recv.read_exact(&mut header).await.unwrap();
    let header = MessageHeader::parse(header, 100_000).unwrap();
    let mut body = vec![0; header.len as usize];
    recv.read_exact(&mut body).await.unwrap();
    (header.schema, body)
}

impl Server {
    async fn accept(endpoint: quinn::Endpoint) -> Server {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (send, mut recv) = connection.accept_bi().await.unwrap();
        let mut kind = [0];
        recv.read_exact(&mut kind).await.unwrap();
        assert_eq!(kind, [stream::CONTROL]);
        let (schema, body) = message(&mut recv).await;
        assert!(schema == Schema::Hello && Hello::parse(&body).unwrap().has_exporter());
        let (_, body) = message(&mut recv).await;
        assert_eq!(owned::<Join>(&body).unwrap().room, b"lobby");
        Server { connection, send, recv }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    async fn admit(endpoint: quinn::Endpoint) -> Server {
        let mut server = Server::accept(endpoint).await;
        let welcome = Welcome { version: 1, flags: 0, server_id: vec![], agent: vec![] };
        server.say(&welcome.encode()).await;
        server.say(&encode(&joined())).await;
        server
    }
}

fn joined() -> Joined {
    Joined {
        peer_ttl_ms: 30_000,
        resumed: NEW_PEER,
        events_taken: 0,
        peer: 1,
        slot: 0,
        capacity: 10,
        room_epoch: 1,
        roster_version: 4,
        roster: vec![],
        grant: LinkGrant {
            link_id: 7,
            connection_id: [1; 8],
            spare: [2; 8],
            secret: [3; 32],
            suite: 2,
            flags: GRANT_EXPORTER,
            endpoints: vec![nucleus_protocol::session::Endpoint { ip: vec![], port: 5056 }],
        },
        server_time: 0,
        clock_epoch: 1,
        max_event: 1_000,
        ticket: vec![],
    }
}

async fn join(server: &quinn::Endpoint, pin: [u8; 32]) -> Result<Session, JoinError> {
    let client = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let options = SessionOptions {
        resume: None,
        server: server.local_addr().unwrap(),
        server_name: "127.0.0.1".to_owned(),
        token: "t".to_owned(),
        room: "lobby".to_owned(),
        name: String::new(),
        capacity: 0,
        agent: "test".to_owned(),
    };
    Session::join(&client, client_config(&Trust::Pin(pin)).unwrap(), options).await
}

#[tokio::test]
async fn joins_sends_and_leaves() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = Server::admit(endpoint.clone()).await;
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
    let live = async {
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
    tokio::join!(serve, live);
}

fn event(roster_version: u32) -> EventDown {
    let sequence = roster_version.into();
    EventDown { peer: 2, roster_version, sequence, channel: 0, payload: vec![] }
}

#[tokio::test]
async fn events_wait_for_their_roster() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = Server::admit(endpoint.clone()).await;
        let mut unknown = server.connection.open_uni().await.unwrap();
        unknown.write_all(&[77]).await.unwrap();
        assert!(unknown.stopped().await.unwrap().is_some(), "an unknown stream is refused");
        let mut events = server.connection.open_uni().await.unwrap();
        events.write_all(&[stream::EVENTS]).await.unwrap();
        for version in [4, 5] {
            events.write_all(&encode(&event(version))).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.say(&encode(&RosterUpdate { version: 5, ..Default::default() })).await;
        // A gap: the client goes.
        server.say(&encode(&RosterUpdate { version: 7, ..Default::default() })).await;
        server.connection.closed().await
    };
    let live = async {
        let (_sender, mut receiver) = join(&endpoint, pin).await.unwrap().split();
        // Dropped futures lose nothing.
        let mut heard = Vec::new();
        while heard.len() < 4 {
            let wait = tokio::time::timeout(Duration::from_millis(1), receiver.next());
            heard.extend(wait.await.ok());
        }
        assert_eq!(heard[0], SessionEvent::Event(event(4)));
        assert!(matches!(&heard[1], SessionEvent::Roster(update) if update.version == 5));
        assert_eq!(heard[2], SessionEvent::Event(event(5)));
        assert!(matches!(&heard[3], SessionEvent::Closed { code: Some(Code::Malformed), .. }));
    };
    let (closed, ()) = tokio::join!(serve, live);
    let code = Code::Malformed as u32;
    assert!(
        matches!(closed, quinn::ConnectionError::ApplicationClosed(c) if c.error_code == code.into())
    );
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let mut server = Server::accept(endpoint.clone()).await;
        let refuse = Refuse {
            code: Code::TokenExpired as u16,
            text: b"expired an hour ago".to_vec(),
            retry_after_ms: 0,
            oldest: 1,
            newest: 1,
            endpoints: vec![],
        };
        server.say(&refuse.encode()).await;
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
