//! The QUIC endpoints, one per shard. Sets every limit of quinn, whose defaults are made for few
//! peers.

use std::sync::Arc;
use std::time::Duration;

use nucleus_core::limits;
use nucleus_protocol::congestion::SparseCubic;
use nucleus_protocol::session::Code;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, ServerConfig, TransportConfig, VarInt,
};
use tokio::runtime::Handle;

use super::connection::QuicConnection;
use super::runtime::{Handshakes, SessionRuntime};
use super::socket::SessionSocket;
use crate::random::random;

/// Shortest time between two stateless resets: after a restart, two thousand clients get their
/// resets within half a second. A reset is shorter than the packet it answers, so resets cannot be
/// used for amplification. See docs/decisions/reset-interval.md.
const RESET_INTERVAL: Duration = Duration::from_micros(250);

/// Makes the server's QUIC configuration.
///
/// # Errors
///
/// The TLS configuration lacks the cipher suite of QUIC's first packets.
pub fn server_config(
    tls: rustls::ServerConfig,
    token_key: &[u8; 64],
) -> Result<ServerConfig, NoInitialCipherSuite> {
    let tls = Arc::new(QuicServerConfig::try_from(tls)?);
    let key = aws_lc_rs::hkdf::Salt::new(aws_lc_rs::hkdf::HKDF_SHA256, b"nucleus address token")
        .extract(token_key);
    let mut config = ServerConfig::new(tls, Arc::new(key));
    config
        .transport_config(Arc::new(transport()))
        .max_incoming(limits::INCOMING)
        .incoming_buffer_size(limits::STREAM_WINDOW.into())
        .incoming_buffer_size_total(limits::INCOMING_BYTES);
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        // The control stream, and one stream for each of the two lanes. The third unidirectional
        // stream lets the server refuse a surplus one with a code.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(3))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        // Raised when the client has joined.
        .receive_window(VarInt::from_u32(limits::UNJOINED_WINDOW))
        .send_window(limits::SEND_WINDOW)
        // Datagrams carry the realtime plane of clients whose realtime port is blocked.
        .datagram_receive_buffer_size(Some(limits::SESSION_DATAGRAM_INBOX))
        .datagram_send_buffer_size(limits::SESSION_DATAGRAM_BYTES)
        .max_idle_timeout(Some(VarInt::from_u32(limits::SESSION_IDLE.as_millis() as u32).into()))
        // The clients keep the path alive.
        .keep_alive_interval(None)
        // A peer could fill this buffer with pieces that arrive out of order.
        .crypto_buffer_size(limits::CRYPTO_BUFFER)
        // A session sends little data, so a larger MTU gains nothing, and probing for one costs 2
        // KiB.
        .mtu_discovery_config(None)
        .initial_rtt(Duration::from_millis(100))
        .congestion_controller_factory(Arc::new(SparseCubic::default()));
    transport
}

/// The QUIC endpoint of one shard.
#[derive(Clone)]
pub struct Endpoint(quinn::Endpoint);

impl Endpoint {
    /// Opens the endpoint of shard `index` on `socket`. Must be called in a tokio runtime, which
    /// then drives the endpoint. `reset_key` is the key of stateless resets.
    ///
    /// # Errors
    ///
    /// The system refuses the socket.
    pub fn open(
        index: u8,
        socket: nucleus_net::UdpSocket,
        config: ServerConfig,
        reset_key: &[u8; 64],
    ) -> std::io::Result<Self> {
        let reset_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, reset_key);
        let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
        // Keeps QUIC's first byte distinct from that of a realtime datagram, so that both planes
        // can share a socket later.
        endpoint.grease_quic_bit(false).min_reset_interval(RESET_INTERVAL);
        endpoint.cid_generator(move || Box::new(ShardIds(index)));
        let runtime = Arc::new(SessionRuntime(Handle::current()));
        let socket = SessionSocket::open(socket, runtime.as_ref())?;
        let (config, socket) = (Some(config), Arc::new(socket));
        quinn::Endpoint::new_with_abstract_socket(endpoint, config, socket, runtime).map(Self)
    }

    /// Waits for the next client. `None`: the endpoint is closed.
    pub(crate) async fn accept(&self) -> Option<Incoming> {
        self.0.accept().await.map(Incoming)
    }

    /// Closes every connection and accepts no more.
    pub fn close(&self, code: Code) {
        self.0.close((code as u32).into(), code.name().as_bytes());
    }

    /// Waits until all connections are closed.
    pub async fn wait_idle(&self) {
        self.0.wait_idle().await;
    }
}

/// A client whose first packet has arrived.
pub struct Incoming(quinn::Incoming);

impl Incoming {
    /// Whether the client has not proven its address yet and may be asked to.
    pub(crate) fn is_unproven(&self) -> bool {
        !self.0.remote_address_validated() && self.0.may_retry()
    }

    /// Returns the address from which the first packet came.
    pub(crate) fn remote(&self) -> std::net::SocketAddr {
        self.0.remote_address()
    }

    /// Sends a Retry packet: the client must connect again with a proof of its address.
    pub(crate) fn retry(self) {
        // Fails only if `may_retry` is false, and callers check `is_unproven` first.
        let _retried = self.0.retry();
    }

    /// Refuses the connection.
    pub(crate) fn refuse(self) {
        self.0.refuse();
    }

    /// Completes the TLS handshake. The threads of `handshakes` compute the server's answer.
    /// `None`: the handshake failed.
    pub(crate) async fn handshake(self, handshakes: &Handshakes) -> Option<QuicConnection> {
        let answered = handshakes.run(|| self.0.accept()).await?;
        answered.ok()?.await.ok().map(QuicConnection)
    }
}

/// Generates connection ids whose first byte is the shard's number. The kernel's steering reads
/// this byte, so the packets of a client whose address changes still reach the endpoint of its
/// connection.
struct ShardIds(u8);

/// Length of a connection id in bytes: the shard's number and seven random bytes.
const ID_LEN: usize = 8;

impl ConnectionIdGenerator for ShardIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_LEN];
        id[1..].copy_from_slice(&random::<{ ID_LEN - 1 }>());
        id[0] = self.0;
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
