//! A browser on which a test sends HTTP/3's bytes itself, so it can also send what no browser would.

use std::sync::Arc;

use nucleus_client::Code;
use nucleus_protocol::session::{
    self, Hello, Join, Joined, NO_REALTIME_PORT, Refuse, Schema, stream,
};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use web_transport_proto::{Capsule, ConnectResponse, Http3CapsuleReader, Settings};

use super::support::TestServer;
use super::wire::message;

/// The origin of a page that development mode admits.
pub(crate) const LOCAL: &str = "http://localhost:8055";

/// A browser's connection. HTTP/3's own streams stay open as long as this lives.
pub(crate) struct Browser {
    pub(crate) connection: quinn::Connection,
    _settings: quinn::SendStream,
    /// The streams of the compression of headers. As in Chromium, they stay silent.
    pub(crate) compression: [quinn::SendStream; 2],
}

/// The halves of a session's control stream.
pub(crate) type ControlStream = (quinn::SendStream, quinn::RecvStream);

/// A WebTransport session.
pub(crate) struct WebSession {
    pub(crate) browser: Browser,
    pub(crate) request: (quinn::SendStream, quinn::RecvStream),
}

impl Browser {
    /// Connects as a browser does: by ALPN `h3`, with HTTP/3's settings.
    pub(crate) async fn connect(server: &TestServer) -> Self {
        Self::new(connect(server, server.on.session).await).await
    }

    pub(crate) async fn new(connection: quinn::Connection) -> Self {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut stream = connection.open_uni().await.unwrap();
        settings.write(&mut stream).await.unwrap();
        let encoder = connection.open_uni().await.unwrap();
        let compression = [encoder, connection.open_uni().await.unwrap()];
        Self { connection, _settings: stream, compression }
    }

    /// Asks for a session. Returns the status if it is refused.
    pub(crate) async fn open(self, path: &str, origins: &[&str]) -> Result<WebSession, u16> {
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

    pub(crate) async fn request(
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
pub(crate) async fn connect(server: &TestServer, to: std::net::SocketAddr) -> quinn::Connection {
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
    pub(crate) async fn open(server: &TestServer) -> Self {
        Browser::connect(server).await.open("/nucleus", &[LOCAL]).await.unwrap()
    }

    pub(crate) fn connection(&self) -> &quinn::Connection {
        &self.browser.connection
    }

    /// Opens the control stream and sends `opening`. Returns the stream, which must stay open, and the
    /// first two messages.
    pub(crate) async fn control(&self, opening: &[u8]) -> (ControlStream, [(Schema, Vec<u8>); 2]) {
        let (mut send, mut receive) = self.connection().open_bi().await.unwrap();
        send.write_all(&[&BIDIRECTIONAL[..], opening].concat()).await.unwrap();
        let first = message(&mut receive).await;
        let second = message(&mut receive).await;
        ((send, receive), [first, second])
    }

    /// Joins the lobby. Returns the control stream too, which must stay open.
    pub(crate) async fn join(&self, server: &TestServer, token: String) -> (ControlStream, Joined) {
        let (send, [welcome, joined]) = self.control(&opening(token, 1_150)).await;
        assert_eq!((welcome.0, joined.0), (Schema::Welcome, Schema::Joined));
        assert_eq!(server.metric("nucleus_session_pages_refused_total"), 0.0);
        (send, session::owned(&joined.1).unwrap())
    }

    /// Joins the lobby with a ticket. Returns the body of `Joined`, or the code of the refusal.
    pub(crate) async fn join_as(
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
    pub(crate) async fn closed(self) -> (Option<Code>, String) {
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
pub(crate) const BIDIRECTIONAL: [u8; 3] = [0x40, 0x41, 0];
pub(crate) const UNIDIRECTIONAL: [u8; 3] = [0x40, 0x54, 0];

/// The opening of a browser's session in the lobby.
pub(crate) fn opening(token: String, largest_body: u16) -> Vec<u8> {
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
