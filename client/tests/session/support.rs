//! A scripted server for the tests. It sends what a test tells it to send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use nucleus_client::RoomSelection;
use nucleus_client::session::{
    Capabilities, ClientOptions, JoinError, ResolvedServer, RoomJoin, RoomSession, ServerNames,
    SessionNetwork, SessionSockets, Trust, client_config, offered_suites,
};
use nucleus_protocol::session::{
    ALPN, Features, GRANT_EXPORTER, Hello, Join, Joined, LinkGrant, MessageHeader, NEW_PEER,
    SESSION_HEADER_BYTES, Schema, SessionSetting, Welcome, encode, owned, stream,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::rustls::pki_types::PrivateKeyDer;

/// The server's end of a session, after the client's opening was read.
pub(crate) struct ScriptedServer {
    pub(crate) connection: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    pub(crate) recv: quinn::RecvStream,
}

pub(crate) fn endpoint() -> (quinn::Endpoint, [u8; 32]) {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let pin = digest::digest(&digest::SHA256, certificate.cert.der()).as_ref().try_into().unwrap();
    let provider = Arc::new(quinn::rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = quinn::rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&quinn::rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    (quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap(), pin)
}

pub(crate) async fn message(recv: &mut quinn::RecvStream) -> (Schema, Vec<u8>) {
    let mut header = [0; SESSION_HEADER_BYTES];
    recv.read_exact(&mut header).await.unwrap();
    let header = MessageHeader::parse(header, 100_000).unwrap();
    let mut body = vec![0; header.len as usize];
    recv.read_exact(&mut body).await.unwrap();
    (header.schema, body)
}

impl ScriptedServer {
    pub(crate) async fn accept(endpoint: quinn::Endpoint) -> ScriptedServer {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (send, mut recv) = connection.accept_bi().await.unwrap();
        let mut kind = [0];
        recv.read_exact(&mut kind).await.unwrap();
        assert_eq!(kind, [stream::CONTROL]);
        let (schema, body) = message(&mut recv).await;
        assert!(schema == Schema::Hello && Hello::parse(&body).unwrap().has_exporter());
        let (_, body) = message(&mut recv).await;
        assert_eq!(owned::<Join>(&body).unwrap().room, b"lobby");
        ScriptedServer { connection, send, recv }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn admit(endpoint: quinn::Endpoint) -> ScriptedServer {
        ScriptedServer::admit_as(endpoint, joined()).await
    }

    pub(crate) async fn admit_as(endpoint: quinn::Endpoint, joined: Joined) -> ScriptedServer {
        let mut server = ScriptedServer::accept(endpoint).await;
        let welcome = Welcome {
            version: 1,
            flags: 0,
            server_id: vec![],
            agent: vec![],
            features: Features::SUPPORTED.to_bytes(),
        };
        server.send(&welcome.encode()).await;
        server.send(&encode(&joined)).await;
        server
    }
}

pub(crate) fn joined() -> Joined {
    Joined {
        resumed: NEW_PEER,
        events_taken: 0,
        room: b"lobby".to_vec(),
        bulk_taken: 0,
        peer: 1,
        slot: 0,
        room_instance: [1; 8],
        server_instance: [1; 8],
        roster_version: 4,
        roster: vec![],
        link_id: 7,
        grant: vec![LinkGrant {
            connection_id: [1; 8],
            spare: [2; 8],
            secret: [3; 32],
            suite: 2,
            flags: GRANT_EXPORTER,
            endpoints: vec![nucleus_protocol::session::RealtimeEndpoint { ip: vec![], port: 5056 }],
        }],
        server_time: 0,
        clock_epoch: 1,
        settings: vec![SessionSetting { key: 7, value: 1_000 }],
        ticket: vec![],
        entries: vec![],
    }
}

pub(crate) async fn join(
    server: &quinn::Endpoint,
    pin: [u8; 32],
) -> Result<RoomSession, JoinError> {
    join_at(vec![server.local_addr().unwrap()], pin).await
}

/// Joins at a server with these addresses. The session does not come back after a loss.
pub(crate) async fn join_at(
    addresses: Vec<SocketAddr>,
    pin: [u8; 32],
) -> Result<RoomSession, JoinError> {
    let network = SessionNetwork {
        sockets: SessionSockets::New,
        trust: client_config(&Trust::Pins(vec![pin])).unwrap(),
        names: ServerNames::fixed(ResolvedServer { name: "127.0.0.1".to_owned(), addresses }),
    };
    let config = ClientOptions::new(Duration::ZERO, 1);
    RoomSession::join(network, "server", options(), config).await
}

/// A text that has the form of a token.
pub(crate) const TOKEN: &str = "e30.e30.c2ln";

pub(crate) fn options() -> RoomJoin {
    RoomJoin {
        token: TOKEN.to_owned(),
        room: "lobby".to_owned(),
        name: String::new(),
        selection: RoomSelection::default(),
        agent: "test".to_owned(),
        capabilities: Capabilities::default(),
        suites: offered_suites(),
        ticket: None,
    }
}
