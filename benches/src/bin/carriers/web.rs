//! A browser's client: WebTransport, and the protocol's bytes on it. It does as little as it can, so
//! that the generator has time for many.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nucleus_protocol::limits::LINK_ID;
use nucleus_protocol::realtime::control::{KeepAlive, Plane, PlaneChoice};
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{Message, MessageKind, TARGET_OTHERS};
use nucleus_protocol::session::{
    self, Hello, Join, Joined, MessageHeader, NO_REALTIME_PORT, SESSION_HEADER_BYTES, Schema,
    stream,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::watch;
use web_transport_proto::{ConnectRequest, ConnectResponse, Settings};

use crate::load::{HZ, JoinError, frames, pose};

/// What stands in front of a bidirectional stream of session 0.
const BIDIRECTIONAL: [u8; 3] = [0x40, 0x41, 0];
/// What stands in front of a datagram of session 0.
const DATAGRAM: u8 = 0;
/// The largest message that a join is answered with.
const MAX_ANSWER: usize = 1 << 20;
/// Frames between two keep-alives, which also choose the plane.
const KEEP_ALIVE_FRAMES: u32 = 60;

/// A client in a room.
pub(crate) struct WebClient {
    connection: Connection,
    link_id: [u8; LINK_ID],
    /// HTTP/3's and the session's streams, which must stay open.
    _streams: (SendStream, (SendStream, RecvStream), (SendStream, RecvStream)),
}

impl WebClient {
    /// Joins a room of a server that has the certificate `pem`.
    ///
    /// # Errors
    ///
    /// The server does not admit the client.
    pub(crate) async fn join(
        server: SocketAddr,
        pem: &str,
        token: &str,
        room: &str,
    ) -> Result<Self, JoinError> {
        let connection = connect(server, pem).await?;
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut http = connection.open_uni().await.map_err(JoinError::of)?;
        settings.write(&mut http).await.map_err(JoinError::of)?;
        let url = format!("https://{server}/nucleus").parse::<url::Url>().map_err(JoinError::of)?;
        let mut request = connection.open_bi().await.map_err(JoinError::of)?;
        ConnectRequest::new(url).write(&mut request.0).await.map_err(JoinError::of)?;
        ConnectResponse::read(&mut request.1).await.map_err(JoinError::of)?;

        let mut control = connection.open_bi().await.map_err(JoinError::of)?;
        let flags = NO_REALTIME_PORT;
        let hello = Hello { oldest: 1, newest: 1, flags, agent: b"web".to_vec(), features: vec![] };
        let join = Join {
            token: token.as_bytes().to_vec(),
            room: room.as_bytes().to_vec(),
            largest_body: 1_150,
            ..Join::default()
        };
        let (hello, join) = (hello.encode(), session::encode(&join));
        let opening = [&BIDIRECTIONAL[..], &[stream::CONTROL], &hello, &join].concat();
        control.0.write_all(&opening).await.map_err(JoinError::of)?;
        message(&mut control.1).await?;
        let (schema, body) = message(&mut control.1).await?;
        let Some(joined) = (schema == Schema::Joined).then(|| session::owned::<Joined>(&body))
        else {
            return Err(JoinError::of(format!("refused with {schema:?}")));
        };
        let link_id = joined.map_err(JoinError::of)?.link_id.to_le_bytes();
        Ok(Self { connection, link_id, _streams: (http, request, control) })
    }

    /// Runs the client until it is told to leave.
    pub(crate) async fn run(
        self,
        number: u32,
        mut stopped: watch::Receiver<bool>,
        gone: Arc<AtomicUsize>,
    ) {
        let (mut frames, mut frame) = (frames(), 0u32);
        loop {
            tokio::select! {
                _ = frames.tick() => {
                    // A datagram that does not fit is lost; a lost session ends below.
                    let _sent = self.connection.send_datagram(self.datagram(number, frame).into());
                    frame += 1;
                }
                datagram = self.connection.read_datagram() => {
                    if datagram.is_err() {
                        gone.fetch_add(1, Relaxed);
                        return;
                    }
                }
                _ = stopped.changed() => {
                    return self.connection.close(0x100u32.into(), b"");
                }
            }
        }
    }

    /// Makes the datagram of a frame: a pose, now and then behind a keep-alive.
    fn datagram(&self, number: u32, frame: u32) -> Vec<u8> {
        let mut bytes = vec![DATAGRAM];
        bytes.extend_from_slice(&self.link_id);
        if frame.is_multiple_of(KEEP_ALIVE_FRAMES) || frame < KEEP_ALIVE_FRAMES / 4 {
            let choice = Some(PlaneChoice { change: 0, plane: Plane::Session });
            KeepAlive { choice }.encode(&mut bytes);
        }
        let mut payload = Vec::new();
        pose(number, frame as f32 / HZ as f32).encode(&mut payload);
        let message = Message {
            kind: MessageKind::Pose,
            flags: NEWEST_WINS,
            peer: TARGET_OTHERS,
            channel: 0,
            key: 0,
            sequence: frame as u16,
            time: None,
            payload: &payload,
        };
        message.encode(&mut bytes);
        bytes
    }
}

async fn connect(server: SocketAddr, pem: &str) -> Result<Connection, JoinError> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(JoinError::of)?;
    roots.add(certificate).map_err(JoinError::of)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(JoinError::of)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(JoinError::of)?;
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).map_err(JoinError::of)?;
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let connecting = endpoint.connect_with(config, server, "localhost").map_err(JoinError::of)?;
    connecting.await.map_err(JoinError::of)
}

/// Reads the next message of a stream.
async fn message(receive: &mut RecvStream) -> Result<(Schema, Vec<u8>), JoinError> {
    let mut header = [0; SESSION_HEADER_BYTES];
    receive.read_exact(&mut header).await.map_err(JoinError::of)?;
    let header = MessageHeader::parse(header, MAX_ANSWER).map_err(JoinError::of)?;
    let mut body = vec![0; header.len as usize];
    receive.read_exact(&mut body).await.map_err(JoinError::of)?;
    Ok((header.schema, body))
}
