//! Sessions over WebTransport, as browsers hold them. The client of these tests sends HTTP/3's bytes
//! itself, so it can also send what no browser would.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use nucleus_client::{Code, RoomEvent, To};
use nucleus_protocol::session::{
    self, Hello, Join, Joined, NO_REALTIME_PORT, Refuse, Schema, stream,
};
use nucleus_server::start::config::WebSettings;
use nucleus_server::token::{Product, TokenRequest};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;
use web_transport_proto::{Capsule, ConnectResponse, Http3CapsuleReader, Settings, error_to_http3};

use super::support::{TestServer, until};
use super::wire::message;

/// The origin of a page that development mode admits.
const LOCAL: &str = "http://localhost:8055";

/// A browser's connection. HTTP/3's own streams stay open as long as this lives.
struct Browser {
    connection: quinn::Connection,
    _settings: quinn::SendStream,
    /// The streams of the compression of headers. As in Chromium, they stay silent.
    compression: [quinn::SendStream; 2],
}

/// The halves of a session's control stream.
type ControlStream = (quinn::SendStream, quinn::RecvStream);

/// A WebTransport session.
struct WebSession {
    browser: Browser,
    request: (quinn::SendStream, quinn::RecvStream),
}

impl Browser {
    /// Connects as a browser does: by ALPN `h3`, with HTTP/3's settings.
    async fn connect(server: &TestServer) -> Self {
        Self::new(connect(server, server.on.session).await).await
    }

    async fn new(connection: quinn::Connection) -> Self {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut stream = connection.open_uni().await.unwrap();
        settings.write(&mut stream).await.unwrap();
        let encoder = connection.open_uni().await.unwrap();
        let compression = [encoder, connection.open_uni().await.unwrap()];
        Self { connection, _settings: stream, compression }
    }

    /// Asks for a session. Returns the status if it is refused.
    async fn open(self, path: &str, origins: &[&str]) -> Result<WebSession, u16> {
        let mut request = self.request(path, origins).await;
        // The library reads only statuses of success.
        match ConnectResponse::read(&mut request.1).await {
            Ok(_) => Ok(WebSession { browser: self, request }),
            Err(web_transport_proto::ConnectError::WrongStatus(status)) => {
                Err(status.unwrap().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn request(
        &self,
        path: &str,
        origins: &[&str],
    ) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, receive) = self.connection.open_bi().await.unwrap();
        let fields = [
            (":method", "CONNECT"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
            (":protocol", "webtransport"),
        ];
        let origins = origins.iter().map(|origin| ("origin", *origin));
        send.write_all(&headers(fields.into_iter().chain(origins))).await.unwrap();
        (send, receive)
    }
}

/// Makes a HEADERS frame whose fields are all literals (RFC 9204, 4.5.6). The library of the server
/// cannot write a field twice.
fn headers<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = vec![0, 0];
    for (name, value) in fields {
        match name.len() {
            short @ ..7 => block.push(0x20 | short as u8),
            long => block.extend([0x27, (long - 7) as u8]),
        }
        block.extend(name.bytes());
        block.push(value.len() as u8);
        block.extend(value.bytes());
    }
    let length = 0x4000 | block.len() as u16;
    [&[1], &length.to_be_bytes()[..], &block].concat()
}

/// Opens a connection with ALPN `h3`. Trusts the server's certificate as a root.
async fn connect(server: &TestServer, to: std::net::SocketAddr) -> quinn::Connection {
    let data = server.data();
    let pem = data.certificates().in_service().cert_pem();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, to, "localhost").unwrap().await.unwrap()
}

impl WebSession {
    /// Opens a session of a page of this machine.
    async fn open(server: &TestServer) -> Self {
        Browser::connect(server).await.open("/nucleus", &[LOCAL]).await.unwrap()
    }

    fn connection(&self) -> &quinn::Connection {
        &self.browser.connection
    }

    /// Opens the control stream and sends `opening`. Returns the stream, which must stay open, and the
    /// first two messages.
    async fn control(&self, opening: &[u8]) -> (ControlStream, [(Schema, Vec<u8>); 2]) {
        let (mut send, mut receive) = self.connection().open_bi().await.unwrap();
        send.write_all(&[&BIDIRECTIONAL[..], opening].concat()).await.unwrap();
        let first = message(&mut receive).await;
        let second = message(&mut receive).await;
        ((send, receive), [first, second])
    }

    /// Joins the lobby. Returns the control stream too, which must stay open.
    async fn join(&self, server: &TestServer, token: String) -> (ControlStream, Joined) {
        let (send, [welcome, joined]) = self.control(&opening(token, 1_150)).await;
        assert_eq!((welcome.0, joined.0), (Schema::Welcome, Schema::Joined));
        assert_eq!(server.metric("nucleus_session_pages_refused_total"), 0.0);
        (send, session::owned(&joined.1).unwrap())
    }

    /// Joins the lobby with a ticket. Returns the body of `Joined`, or the code of the refusal.
    async fn join_as(
        &self,
        token: String,
        ticket: Vec<u8>,
    ) -> (ControlStream, Result<Vec<u8>, Option<Code>>) {
        let join =
            Join { token: token.into_bytes(), ticket, room: b"lobby".to_vec(), ..Join::default() };
        let hello = &opening(String::new(), 0);
        // The opening ends with a join of its own.
        let hello = &hello[..hello.len()
            - session::encode(&Join { room: b"lobby".to_vec(), ..Join::default() }).len()];
        let opening = [hello, &session::encode(&join)].concat();
        let (send, [_, (schema, body)]) = self.control(&opening).await;
        let answer = match schema {
            Schema::Joined => Ok(body),
            _ => Err(Code::from_number(Refuse::parse(&body).unwrap().code.into())),
        };
        (send, answer)
    }

    /// Returns the code and the text with which the server closes the session.
    async fn closed(self) -> (Option<Code>, String) {
        let mut capsules = Http3CapsuleReader::new(self.request.1);
        match capsules.read().await.unwrap().unwrap() {
            Capsule::CloseWebTransportSession { code, reason } => {
                (Code::from_number(u64::from(code)), reason)
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What stands in front of a bidirectional stream of session 0, and of a unidirectional one.
const BIDIRECTIONAL: [u8; 3] = [0x40, 0x41, 0];
const UNIDIRECTIONAL: [u8; 3] = [0x40, 0x54, 0];

/// The opening of a browser's session in the lobby.
fn opening(token: String, largest_body: u16) -> Vec<u8> {
    let flags = NO_REALTIME_PORT;
    let hello = Hello { oldest: 1, newest: 1, flags, agent: b"web".to_vec(), features: vec![7] };
    let join = Join {
        token: token.into_bytes(),
        room: b"lobby".to_vec(),
        largest_body,
        ..Join::default()
    };
    [&[stream::CONTROL][..], &hello.encode(), &session::encode(&join)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_and_a_headset_exchange_events_and_datagrams() {
    let server = TestServer::start().await;
    let headset = server.join("headset").await;
    let web = WebSession::open(&server).await;
    let (_control, joined) = web.join(&server, server.token("web")).await;
    assert!(joined.grant.is_empty(), "a browser has no realtime port");

    // An event up, behind WebTransport's prefix.
    let mut events = web.connection().open_uni().await.unwrap();
    let event = super::wire::event_up(b"from the browser");
    let bytes = [&UNIDIRECTIONAL[..], &[stream::EVENTS], &event].concat();
    events.write_all(&bytes).await.unwrap();
    let payload = until(&headset, |event| match event {
        RoomEvent::Event { payload, .. } => Some(payload),
        _ => None,
    });
    assert_eq!(&payload.await[..], b"from the browser");

    // An event down. The server's first stream is HTTP/3's control stream.
    headset.send_event(To::Others, 0, b"from the headset").await.unwrap();
    let payload = loop {
        let mut stream = web.connection().accept_uni().await.unwrap();
        let mut kind = [0; 4];
        let read = timeout(Duration::from_millis(200), stream.read_exact(&mut kind)).await;
        if read.is_ok() && kind[..3] == UNIDIRECTIONAL && kind[3] == stream::EVENTS {
            let (schema, body) = message(&mut stream).await;
            assert_eq!(schema, Schema::EventDown);
            break session::owned::<session::EventDown>(&body).unwrap().payload;
        }
    };
    assert_eq!(payload, b"from the headset");

    // Datagrams, behind the session's prefix. A keep-alive chooses the plane.
    let keep_alive = [&[0][..], &joined.link_id.to_le_bytes(), &[9, 3, 0, 0, 1]].concat();
    web.connection().send_datagram(keep_alive.into()).unwrap();
    let got = async {
        loop {
            headset.send_unreliable(To::Others, 0, 0, &[7; 900]).unwrap();
            let read = timeout(Duration::from_millis(50), web.connection().read_datagram());
            match read.await {
                Ok(datagram) if datagram.as_ref().is_ok_and(|d| d.len() > 900) => {
                    break datagram.unwrap();
                }
                _ => {}
            }
        }
    };
    let got = timeout(Duration::from_secs(5), got).await.unwrap();
    assert_eq!(got[0], 0, "the session's prefix");
    assert_eq!(got[1..5], joined.link_id.to_le_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_or_with_another_path_gets_no_session() {
    let server = TestServer::start().await;
    let open = async |path: &str, origins: &[&str]| {
        Browser::connect(&server).await.open(path, origins).await.map(|_| ())
    };
    assert_eq!(open("/nucleus", &[LOCAL]).await, Ok(()));
    assert_eq!(open("/nucleus", &[]).await, Ok(()), "a program that is no browser");
    let refused = [
        ("/nucleus", &["https://evil.com"][..], 403),
        ("/nucleus", &["null"], 403),
        ("/nucleus", &["http://localhost.evil.com"], 403),
        ("/", &[LOCAL], 404),
        ("/nucleus/x", &[LOCAL], 404),
        ("/other", &["https://evil.com"], 404),
    ];
    for (path, origins, status) in refused {
        assert_eq!(open(path, origins).await, Err(status), "{path} {origins:?}");
    }
    let counted = async {
        let refused = refused.len() as f64;
        // The two that were not refused have not joined.
        while server.metric("nucleus_session_pages_refused_total") != refused
            || server.metric("nucleus_sessions_unjoined") > 2.0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), counted).await.expect("all are counted and keep no place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_sessions_of_the_tenants_that_admit_its_origin() {
    let server = TestServer::with(|config| {
        config.web = WebSettings {
            origins: Some(vec!["https://all.example".to_owned()]),
            tenants: [("acme".to_owned(), vec!["https://acme.example".to_owned()])].into(),
        };
    })
    .await;
    let token = |tenant: &str| server.token_with(TokenRequest::new(Product::Atom, tenant, "ada"));
    for (origin, tenant, admitted) in [
        ("https://all.example", "tenant", true),
        ("https://acme.example", "acme", true),
        ("https://all.example", "acme", false),
        ("https://acme.example", "tenant", false),
    ] {
        let browser = Browser::connect(&server).await;
        let session = browser.open("/nucleus", &[origin]).await.unwrap();
        let (_control, [_, (schema, body)]) = session.control(&opening(token(tenant), 0)).await;
        match admitted {
            true => assert_eq!(schema, Schema::Joined, "{origin} {tenant}"),
            false => {
                let refuse = Refuse::parse(&body).unwrap();
                assert_eq!(refuse.code, Code::Forbidden as u16, "{origin} {tenant}");
                assert_eq!(session.closed().await.0, Some(Code::Forbidden));
            }
        }
    }
    // A ticket is bound to the tenant's origins as the token is.
    let session = Browser::connect(&server).await.open("/nucleus", &["https://all.example"]).await;
    let session = session.unwrap();
    let (_control, joined) = session.join_as(token("tenant"), Vec::new()).await;
    let ticket = session::owned::<Joined>(&joined.unwrap()).unwrap().ticket;
    let other = Browser::connect(&server).await.open("/nucleus", &["https://acme.example"]).await;
    let (_control, refused) = other.unwrap().join_as(token("tenant"), ticket).await;
    assert_eq!(refused, Err(Some(Code::Forbidden)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_closes_a_session_with_its_code_and_its_reason() {
    let server = TestServer::start().await;
    let web = WebSession::open(&server).await;
    let ((mut control, _receive), _) = web.join(&server, server.token("web")).await;
    control.write_all(&[0xff; 8]).await.unwrap();
    let (code, text) = web.closed().await;
    assert_eq!(code, Some(Code::Malformed));
    assert!(!text.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_closes_its_session_leaves_or_is_lost() {
    let away_after = Duration::from_secs(1);
    let server = TestServer::with(|config| config.limits.away_after = away_after).await;
    let headset = server.join("headset").await;
    for (code, leaves) in [(Code::Leaving as u32, true), (0, false)] {
        let mut web = WebSession::open(&server).await;
        let (_control, joined) = web.join(&server, server.token("web")).await;
        // A peer that is gone at once is not reported at all.
        let is_here =
            |event| matches!(event, RoomEvent::PeerJoined(peer) if peer.id.0 == joined.peer);
        until(&headset, |event| is_here(event).then_some(())).await;
        let mut capsule = BytesMut::new();
        let reason = "over".to_owned();
        Capsule::CloseWebTransportSession { code, reason }.encode(&mut capsule);
        let frame = [&[0, capsule.len() as u8][..], &capsule].concat();
        web.request.0.write_all(&frame).await.unwrap();
        web.request.0.finish().unwrap();
        let how = until(&headset, |event| match event {
            RoomEvent::PeerLeft { peer, code } if peer.id.0 == joined.peer => {
                Some(code == Some(Code::Left))
            }
            RoomEvent::PresenceChanged { peer, .. } if peer.0 == joined.peer => Some(false),
            _ => None,
        });
        assert_eq!(how.await, leaves, "code {code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_page_harms_only_itself() {
    let server = TestServer::start().await;
    let headset = server.join("headset").await;
    let web = WebSession::open(&server).await;
    // A second session on the connection is refused.
    let (second, mut answer) = web.browser.request("/nucleus", &[LOCAL]).await;
    let refused = answer.read(&mut [0; 8]).await.unwrap_err();
    assert!(matches!(refused, quinn::ReadError::Reset(code) if u64::from(code) == 0x10b));
    assert_eq!(second.stopped().await.unwrap().map(u64::from), Some(0x10b));
    drop((second, answer));
    let (_control, joined) = web.join(&server, server.token("web")).await;
    // Streams of other sessions and of unknown types are refused, each with a code. The client has two
    // streams left beside its silent ones.
    for (bytes, code) in
        [(&[0x40, 0x54, 4, 2][..], 0x3994_bd84), (&[0x21, 0][..], 0x103), (&[0x01, 0][..], 0x103)]
    {
        let mut stream = web.connection().open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let stopped = timeout(Duration::from_secs(5), stream.stopped()).await.unwrap();
        assert_eq!(stopped.unwrap().map(u64::from), Some(code), "{bytes:?}");
    }
    // A surplus stream of the session is refused with the session's code, in HTTP/3's range.
    let mut stream = web.connection().open_uni().await.unwrap();
    stream.write_all(&[&UNIDIRECTIONAL[..], &[9]].concat()).await.unwrap();
    let stopped = timeout(Duration::from_secs(5), stream.stopped()).await.unwrap();
    let malformed = error_to_http3(Code::Malformed as u32);
    assert_eq!(stopped.unwrap().map(u64::from), Some(malformed));
    // Datagrams of other sessions and nonsense are ignored.
    for bytes in [&[1, 2, 3][..], &[], &[0xff; 20], &[0x40], &[0]] {
        web.connection().send_datagram(bytes.to_vec().into()).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(web.connection().close_reason().is_none(), "it has harmed nobody");
    assert!(headset.peers().iter().any(|peer| peer.id.0 == joined.peer));
    // A flood of capsules ends the session, and nothing else.
    let WebSession { browser, request: (mut send, _receive) } = web;
    let junk = [&[0, 0x44, 0][..], &[0x21; 1_024]].concat();
    for _ in 0..64 {
        if send.write_all(&junk).await.is_err() {
            break;
        }
    }
    timeout(Duration::from_secs(5), browser.connection.closed()).await.unwrap();
    headset.send_event(To::All, 0, b"still here").await.unwrap();
    let heard = until(&headset, |event| match event {
        RoomEvent::Event { payload, .. } => Some(payload),
        _ => None,
    });
    assert_eq!(&heard.await[..], b"still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_comes_with_the_leave_is_read_first() {
    let server = TestServer::start().await;
    let headset = server.join("headset").await;
    for _ in 0..20 {
        let web = WebSession::open(&server).await;
        let ((mut control, _receive), _) = web.join(&server, server.token("web")).await;
        let mut events = web.connection().open_uni().await.unwrap();
        let event = super::wire::event_up(b"the last word");
        let bytes = [&UNIDIRECTIONAL[..], &[stream::EVENTS], &event].concat();
        events.write_all(&bytes).await.unwrap();
        events.finish().unwrap();
        let leave = session::encode(&session::Leave { code: Code::Left as u16 });
        control.write_all(&leave).await.unwrap();
        let heard = until(&headset, |event| match event {
            RoomEvent::Event { payload, .. } => Some(payload),
            _ => None,
        });
        assert_eq!(&heard.await[..], b"the last word");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_learns_that_the_server_shuts_down() {
    let mut server = TestServer::start().await;
    let web = WebSession::open(&server).await;
    let (_control, _joined) = web.join(&server, server.token("web")).await;
    let (stopped, (code, _)) = tokio::join!(server.stop(), web.closed());
    stopped.unwrap();
    assert_eq!(code, Some(Code::ShuttingDown));
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_a_client_announces_take_no_memory() {
    let server = TestServer::start().await;
    let mut web = WebSession::open(&server).await;
    // A frame of 1 MiB, of which 10 bytes come: more than the server reads of this stream.
    let frame = [&[0, 0x80, 0x10, 0, 0][..], &[0; 10]].concat();
    web.request.0.write_all(&frame).await.unwrap();
    let (_control, joined) = web.join(&server, server.token("web")).await;
    assert!(joined.peer > 0, "it waits for the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_stands_still_is_lost_although_its_browser_acknowledges() {
    let server = TestServer::start().await;
    let web = WebSession::open(&server).await;
    let (_control, _joined) = web.join(&server, server.token("web")).await;
    let closed = web.connection().closed();
    let waited = tokio::time::Instant::now();
    timeout(Duration::from_secs(50), closed).await.expect("after 30 s");
    assert!(waited.elapsed() > Duration::from_secs(25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_page_is_woken_and_its_silent_streams_stay() {
    let server = TestServer::start().await;
    let web = WebSession::open(&server).await;
    let (_control, _joined) = web.join(&server, server.token("web")).await;
    // The session's stream, which makes the silent streams before it exist.
    let mut events = web.connection().open_uni().await.unwrap();
    events.write_all(&[&UNIDIRECTIONAL[..], &[stream::EVENTS]].concat()).await.unwrap();
    let wake = timeout(Duration::from_secs(6), web.connection().read_datagram()).await;
    assert_eq!(wake.expect("after 5 s").unwrap()[..], [0, 0]);
    for silent in &web.browser.compression {
        let stopped = timeout(Duration::from_millis(50), silent.stopped()).await;
        assert!(stopped.is_err(), "a browser closes a connection whose stream is refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_breaks_http3_is_a_failed_handshake() {
    let server = TestServer::start().await;
    // No request, and no settings.
    let silent = connect(&server, server.on.session).await;
    // A request without settings, and garbage on each stream.
    for bytes in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0; 100], &[0xff; 100], &[1, 0x40]] {
        let connection = connect(&server, server.on.session).await;
        let mut settings = connection.open_uni().await.unwrap();
        let _written = settings.write_all(bytes).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        let _written = send.write_all(bytes).await;
        let _finished = settings.finish();
        timeout(Duration::from_secs(8), connection.closed()).await.unwrap();
    }
    timeout(Duration::from_secs(8), silent.closed()).await.expect("within the time of a join");
    assert_eq!(server.metric("nucleus_session_failed_handshakes_total"), 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_and_browsers_reach_further_addresses_too() {
    let server = TestServer::with(|config| {
        config.session_also = vec!["127.0.0.1:0".parse().unwrap(); 2];
        config.shards = 2;
    })
    .await;
    let also = server.on.session_also.clone();
    assert_eq!(also.len(), 2);
    for address in also {
        let options = nucleus_client::ConnectOptions::new(address.to_string(), server.token("p"));
        let room = nucleus_client::connect(options.room("lobby")).await.unwrap();
        let browser = Browser::new(connect(&server, address).await).await;
        let web = browser.open("/nucleus", &[LOCAL]).await.unwrap();
        let (_control, joined) = web.join(&server, server.token("web")).await;
        let is_here =
            |event| matches!(event, RoomEvent::PeerJoined(peer) if peer.id.0 == joined.peer);
        until(&room, |event| is_here(event).then_some(())).await;
        room.leave().await;
    }
}
