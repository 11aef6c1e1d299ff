//! The system `quinn`: a relay on quinn's QUIC datagrams, encrypted with the same cipher as
//! Nucleus. The application coalesces the frames for a recipient by the same rule.
//!
//! The relay is tuned: AES-128-GCM, GSO, no MTU discovery (1,200 bytes fit from the start), rare
//! acknowledgements, large buffers, one thread, and at most one wake-up in 2 ms.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use nucleus_client::session::{Trust, client_config};
use nucleus_net::{Clock, sleep_until};
use nucleus_protocol::session::ALPN;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{AckFrequencyConfig, Connection, Endpoint, EndpointConfig, TransportConfig, VarInt};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::gathering::Gathering;
use crate::message::{FRAME, set_sender_slot};
use crate::relay::{self, HOST, RelayTask};

/// Bytes of the frames in a datagram: as many frames as fit a QUIC packet of 1,200 bytes, of which
/// QUIC needs 38.
const BODY: usize = 1_162 / FRAME * FRAME;
/// How often the runtime runs all its tasks in one turn: once each for the socket, the endpoint and
/// the connections, and once more for the tasks that these wake.
const TURNS: usize = 4;
/// Tasks that the runtime polls between two reads of the sockets. Each read is a call to the
/// kernel.
const TASKS_PER_LOOK: u32 = 1_024;
/// Size of a connection's datagram buffers, bytes.
const BUFFER: usize = 1 << 20;
/// The MTU of IPv4 on Ethernet, bytes. No datagram is that long, but 1,200 bytes must fit with the
/// bytes that QUIC adds.
const MTU: u16 = 1_452;
/// Packets that the other side may receive before it must acknowledge them.
const UNACKNOWLEDGED: u32 = 30;

/// Returns the transport settings of both ends.
pub(super) fn transport() -> Arc<TransportConfig> {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(UNACKNOWLEDGED));
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(MTU)
        .mtu_discovery_config(None)
        .ack_frequency_config(Some(acks))
        .datagram_receive_buffer_size(Some(BUFFER))
        .datagram_send_buffer_size(BUFFER)
        .send_fairness(false)
        .allow_spin(false);
    Arc::new(transport)
}

/// Returns the settings of a client for a server whose certificate has this hash.
pub(super) fn config(pin: &str) -> Option<quinn::ClientConfig> {
    let pin = URL_SAFE_NO_PAD.decode(pin).ok()?.try_into().ok()?;
    let mut config = client_config(&Trust::Pins(vec![pin])).ok()?;
    config.transport_config(transport());
    Some(config)
}

/// Returns the server name that a client asks for. The name contains the peer's number.
pub(super) fn server_name(peer: u32) -> String {
    format!("p{peer}.{HOST}")
}

/// Relays until the process ends.
pub(crate) fn serve(task: RelayTask) -> io::Result<()> {
    let (config, pin) = server_config().map_err(io::Error::other)?;
    let socket = relay::bind()?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_PER_LOOK)
        .build()?;
    runtime.block_on(async {
        let quinn = Arc::new(quinn::TokioRuntime);
        let endpoint = EndpointConfig::default();
        let endpoint = Endpoint::new(endpoint, Some(config), socket.into_std(), quinn)?;
        relay::announce(address, &pin)?;
        let (accepted_sender, accepted) = mpsc::channel();
        tokio::spawn(accept(endpoint, accepted_sender));
        let rooms = (0..task.rooms.count()).map(|_| QuinnRoom::default()).collect();
        QuinnRelay { task, accepted, rooms, gathering: Gathering::new(task) }.run().await;
        Ok(())
    })
}

fn server_config() -> Result<(quinn::ServerConfig, String), Box<dyn std::error::Error + Send + Sync>>
{
    let certificate = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let pin = URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate.cert.der()));
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der()).into();
    let mut provider = default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport()).migration(false);
    Ok((config, pin))
}

/// Accepts connections, and sends each with its peer's number to the relay.
async fn accept(endpoint: Endpoint, accepted: mpsc::Sender<(u32, Connection)>) {
    while let Some(incoming) = endpoint.accept().await {
        let accepted = accepted.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            if let Some(peer) = peer_of(&connection) {
                // Ignore an error: the receiver is dropped only when the process ends.
                let _ = accepted.send((peer, connection));
            }
        });
    }
}

fn peer_of(connection: &Connection) -> Option<u32> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    data.server_name?.split('.').next()?.strip_prefix('p')?.parse().ok()
}

/// A room of the relay.
#[derive(Default)]
struct QuinnRoom {
    members: Vec<(u32, Connection)>,
    /// The frames since the last flush, one after the other.
    frames: Vec<u8>,
    /// The sender of each frame.
    senders: Vec<u32>,
}

/// The relay.
struct QuinnRelay {
    task: RelayTask,
    accepted: mpsc::Receiver<(u32, Connection)>,
    rooms: Vec<QuinnRoom>,
    gathering: Gathering,
}

impl QuinnRelay {
    /// Relays until the process ends. The thread sleeps instead of waiting for its socket, because
    /// waking up for every datagram needed 7 % more CPU time and added a millisecond of latency.
    async fn run(mut self) {
        let clock = Clock::new();
        loop {
            let began = clock.now();
            run_tasks().await;
            for (peer, connection) in self.accepted.try_iter() {
                if let Some(room) = self.rooms.get_mut(self.task.rooms.of(peer) as usize) {
                    room.members.push((peer, connection));
                }
            }
            for (number, room) in self.rooms.iter_mut().enumerate() {
                if room.gather(self.task) {
                    self.gathering.add(number as u32, began);
                }
            }
            let mut flushed = false;
            for room in self.gathering.take_due(clock.now()) {
                self.rooms[room as usize].flush();
                flushed = true;
            }
            if flushed {
                run_tasks().await;
            }
            sleep_until(self.gathering.next_wake(began));
        }
    }
}

/// Lets all ready tasks run.
async fn run_tasks() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

impl QuinnRoom {
    /// Collects the frames that the members have sent. Returns whether there were any.
    fn gather(&mut self, task: RelayTask) -> bool {
        let before = self.senders.len();
        for (sender, connection) in &self.members {
            while let Some(datagram) = try_read(connection) {
                let mut frame = [0; FRAME];
                if datagram.len() == FRAME {
                    frame.copy_from_slice(&datagram);
                    if let Some(frame) = set_sender_slot(&mut frame, task.rooms.slot(*sender)) {
                        self.frames.extend_from_slice(frame);
                        self.senders.push(*sender);
                    }
                }
            }
        }
        self.senders.len() > before
    }

    /// Sends the frames of all other members to each member.
    fn flush(&mut self) {
        for (member, connection) in &self.members {
            let mut body = BytesMut::with_capacity(self.frames.len().min(BODY));
            for (frame, sender) in self.frames.as_chunks::<FRAME>().0.iter().zip(&self.senders) {
                if sender == member {
                    continue;
                }
                body.extend_from_slice(frame);
                if body.len() == BODY {
                    // Ignore an error: if the connection is lost, the datagram is lost too.
                    let _ = connection.send_datagram(body.split().freeze());
                }
            }
            if !body.is_empty() {
                let _ = connection.send_datagram(body.freeze());
            }
        }
        self.frames.clear();
        self.senders.clear();
    }
}

/// Returns a datagram that has already arrived. Does not wait.
fn try_read(connection: &Connection) -> Option<Bytes> {
    match pin!(connection.read_datagram()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(datagram)) => Some(datagram),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}
