//! The QUIC endpoints, one a shard: every limit of quinn's set, because its defaults are made for few
//! peers.

use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::congestion::SparseCubic;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Runtime, ServerConfig,
    TransportConfig, VarInt,
};
use tokio::runtime::Handle;

use super::canonical::CanonicalSocket;
use super::handshake::random;
use super::runtime::OnSessions;
use super::{SessionContext, handshake};
use crate::data_dir::DataDir;
use crate::limits;

/// A session that was silent for this long is lost, and its peer keeps its place from then on. Clients
/// keep it alive every 15 s, and QUIC asks again for what is lost: a dark quarter of a minute, at the
/// worst moment, costs nobody his session.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Stateless resets go out this far apart: after a restart two thousand clients are told within half a
/// second. Each is shorter than what it answers, so it amplifies nothing. See
/// docs/decisions/reset-interval.md.
const RESET_INTERVAL: Duration = Duration::from_micros(250);
/// Bytes a client may have in flight on one stream: a full join or four full events.
const STREAM_WINDOW: u32 = 64 << 10;
/// ... and on all of its streams: control, events and bulk, so that none that is not read stops another.
const CONNECTION_WINDOW: u32 = 3 * STREAM_WINDOW;
/// Bytes of ours in flight to one client, on top of the backlog that waits in front of QUIC.
const SEND_WINDOW: u64 = 128 << 10;
/// Incoming connections that wait for the accept loop.
const MAX_INCOMING: usize = 1_024;
/// Their early bytes together: the loop takes them within milliseconds.
const INCOMING_BUFFER: u64 = 4 << 20;

/// The server's QUIC configuration.
pub fn server_config(tls: Arc<QuicServerConfig>, token_key: &[u8; 64]) -> ServerConfig {
    let key = aws_lc_rs::hkdf::Salt::new(aws_lc_rs::hkdf::HKDF_SHA256, b"nucleus address token")
        .extract(token_key);
    let mut config = ServerConfig::new(tls, Arc::new(key));
    config
        .transport_config(Arc::new(transport()))
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(STREAM_WINDOW.into())
        .incoming_buffer_size_total(INCOMING_BUFFER);
    config
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        // One control stream; one a lane, and one more that is refused with a reason.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(3))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        // For clients whose realtime port is blocked.
        .datagram_receive_buffer_size(Some(limits::SESSION_DATAGRAM_INBOX))
        .datagram_send_buffer_size(limits::SESSION_DATAGRAM_BYTES)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into()))
        // Clients keep the path alive; the server never opens one.
        .keep_alive_interval(None)
        // A memory of out-of-order pieces a peer could make us keep.
        .crypto_buffer_size(16 << 10)
        // XR traffic of a session is small; probing for a larger MTU costs 2 KiB and gains nothing.
        .mtu_discovery_config(None)
        .initial_rtt(Duration::from_millis(100))
        .congestion_controller_factory(Arc::new(SparseCubic::default()));
    transport
}

/// The endpoint of shard `index` on `socket`, driven by the runtime that this is called in.
pub fn open(
    index: u8,
    socket: nucleus_net::UdpSocket,
    config: ServerConfig,
    data_dir: &DataDir,
) -> std::io::Result<Endpoint> {
    let reset_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, data_dir.reset_key());
    let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
    // 5056 tells QUIC from its own datagrams by the first byte, one day on one socket.
    endpoint.grease_quic_bit(false).min_reset_interval(RESET_INTERVAL);
    endpoint.cid_generator(move || Box::new(ShardIds(index)));
    let runtime = Arc::new(OnSessions(Handle::current()));
    let socket = CanonicalSocket::new(runtime.wrap_udp_socket(socket.into_std())?)?;
    Endpoint::new_with_abstract_socket(endpoint, Some(config), Arc::new(socket), runtime)
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

/// Accepts connections until the endpoint is closed.
pub async fn accept(endpoint: Endpoint, context: Arc<SessionContext>) {
    use std::sync::atomic::Ordering;
    let places = context.unjoined.available_permits();
    while let Some(incoming) = endpoint.accept().await {
        context.counters.attempts.fetch_add(1, Ordering::Relaxed);
        // Above half load an address must prove itself first, which costs us nothing to ask.
        let busy = context.unjoined.available_permits() < places / 2;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            // `retry` fails only where `may_retry` says no.
            let _retried = incoming.retry();
            continue;
        }
        let Ok(place) = context.unjoined.clone().try_acquire_owned() else {
            context.counters.turned_away.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
            continue;
        };
        tokio::spawn(handshake::serve(incoming, place, context.clone()));
    }
}
