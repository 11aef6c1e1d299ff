//! The QUIC endpoints, one a shard: every limit of quinn's set, because its defaults are made for few
//! peers.

use std::sync::Arc;
use std::time::Duration;

use nucleus_core::limits;
use nucleus_protocol::congestion::SparseCubic;
use nucleus_protocol::session::Code;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, Runtime, ServerConfig, TransportConfig,
    VarInt,
};
use tokio::runtime::Handle;

use super::canonical::CanonicalSocket;
use super::connection::Connection;
use super::runtime::{Handshakes, OnSessions};
use crate::random::random;

/// Stateless resets go out this far apart: after a restart two thousand clients are told within half a
/// second. Each is shorter than what it answers, so it amplifies nothing. See
/// docs/decisions/reset-interval.md.
const RESET_INTERVAL: Duration = Duration::from_micros(250);
/// The server's QUIC configuration.
///
/// # Errors
///
/// The TLS configuration lacks the cipher suite that QUIC begins with.
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
        // One control stream; one a lane, and one more that is refused with a reason.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(3))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW))
        .send_window(limits::SEND_WINDOW)
        // For clients whose realtime port is blocked.
        .datagram_receive_buffer_size(Some(limits::SESSION_DATAGRAM_INBOX))
        .datagram_send_buffer_size(limits::SESSION_DATAGRAM_BYTES)
        .max_idle_timeout(Some(VarInt::from_u32(limits::SESSION_IDLE.as_millis() as u32).into()))
        // Clients keep the path alive; the server never opens one.
        .keep_alive_interval(None)
        // A memory of out-of-order pieces a peer could make us keep.
        .crypto_buffer_size(limits::CRYPTO_BUFFER)
        // XR traffic of a session is small; probing for a larger MTU costs 2 KiB and gains nothing.
        .mtu_discovery_config(None)
        .initial_rtt(Duration::from_millis(100))
        .congestion_controller_factory(Arc::new(SparseCubic::default()));
    transport
}

/// The QUIC endpoint of one shard.
#[derive(Clone)]
pub struct Endpoint(quinn::Endpoint);

impl Endpoint {
    /// Opens the endpoint of shard `index` on `socket`. The runtime in which this is called drives it.
    /// `reset_key` makes stateless resets.
    ///
    /// # Errors
    ///
    /// When the system refuses the socket.
    pub fn open(
        index: u8,
        socket: nucleus_net::UdpSocket,
        config: ServerConfig,
        reset_key: &[u8; 64],
    ) -> std::io::Result<Self> {
        let reset_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, reset_key);
        let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
        // 5056 tells QUIC from its own datagrams by the first byte, one day on one socket.
        endpoint.grease_quic_bit(false).min_reset_interval(RESET_INTERVAL);
        endpoint.cid_generator(move || Box::new(ShardIds(index)));
        let runtime = Arc::new(OnSessions(Handle::current()));
        let socket = CanonicalSocket::new(runtime.wrap_udp_socket(socket.into_std())?)?;
        let (config, socket) = (Some(config), Arc::new(socket));
        quinn::Endpoint::new_with_abstract_socket(endpoint, config, socket, runtime).map(Self)
    }

    /// The next client; `None` when the endpoint is closed.
    pub(crate) async fn accept(&self) -> Option<Incoming> {
        self.0.accept().await.map(Incoming)
    }

    /// Closes every connection and takes no more.
    pub fn close(&self, code: Code) {
        self.0.close((code as u32).into(), code.name().as_bytes());
    }

    /// Waits until every connection is gone.
    pub async fn wait_idle(&self) {
        self.0.wait_idle().await;
    }
}

/// A client that has said its first word.
pub struct Incoming(quinn::Incoming);

impl Incoming {
    /// The client has not proven its address, and may be asked to.
    pub(crate) fn is_unproven(&self) -> bool {
        !self.0.remote_address_validated() && self.0.may_retry()
    }

    /// Has the client prove its address, and come again.
    pub(crate) fn ask_for_proof(self) {
        // Fails only where `may_retry` says no.
        let _retried = self.0.retry();
    }

    /// Turns the client away.
    pub(crate) fn refuse(self) {
        self.0.refuse();
    }

    /// Goes through the TLS handshake, the server's answer being worked out by `handshakes`. `None`: it
    /// failed.
    pub(crate) async fn shake_hands(self, handshakes: &Handshakes) -> Option<Connection> {
        let answered = handshakes.run(|| self.0.accept()).await?;
        answered.ok()?.await.ok().map(Connection)
    }
}

/// Connection ids that name their shard in the first byte, where the kernel's steering looks: a
/// client that changes its address still lands on the endpoint that knows it.
struct ShardIds(u8);

/// Bytes of a connection id: the shard, and seven that nobody can guess.
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
