//! `quinn`: a relay on quinn's QUIC datagrams, encrypted like ours. The application coalesces what is
//! for a recipient until the same tick.
//!
//! Tuned: AES-128-GCM, GSO, no search for the path's MTU (1,200 bytes fit from the start), rare
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

use crate::message::{FRAME, relayed};
use crate::relay::{self, DRAIN_INTERVAL, HOST, Task};

/// Bytes of a datagram's frames: as many as fit a QUIC packet of 1,200 bytes, 38 of which QUIC needs.
const BODY: usize = 1_162 / FRAME * FRAME;
/// What the runtime gets to pass on what has come or is to be sent: its sockets, the endpoint, the
/// connections, and once more for what that brings.
const TURNS: usize = 4;
/// Tasks between two looks at the sockets: each look is a call to the kernel.
const TASKS_PER_LOOK: u32 = 1_024;
/// Datagram buffers of a connection, bytes.
const BUFFER: usize = 1 << 20;
/// IPv4 on Ethernet. Nothing is that long, but 1,200 bytes must fit with what QUIC adds.
const MTU: u16 = 1_452;
/// Packets that the other side may leave without an acknowledgement.
const UNACKNOWLEDGED: u32 = 30;

/// For both ends.
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

/// How a client reaches a server whose certificate has this hash.
pub(super) fn config(pin: &str) -> Option<quinn::ClientConfig> {
    let pin = URL_SAFE_NO_PAD.decode(pin).ok()?.try_into().ok()?;
    let mut config = client_config(&Trust::Pin(pin)).ok()?;
    config.transport_config(transport());
    Some(config)
}

/// The name by which a client reaches the server; it says which peer it is.
pub(super) fn server_name(peer: u32) -> String {
    format!("p{peer}.{HOST}")
}

/// Relays for ever.
pub(crate) fn serve(task: Task) -> io::Result<()> {
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
        let (tell, accepted) = mpsc::channel();
        tokio::spawn(accept(endpoint, tell));
        let rooms = (0..task.rooms.count()).map(|_| Room::default()).collect();
        Relay { task, accepted, rooms }.run().await;
        Ok(())
    })
}

fn server_config() -> Result<(quinn::ServerConfig, String), Box<dyn std::error::Error + Send + Sync>>
{
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let pin = URL_SAFE_NO_PAD.encode(digest(&SHA256, made.cert.der()));
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let mut provider = default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport()).migration(false);
    Ok((config, pin))
}

/// Hands on every connection that has come about, with its peer.
async fn accept(endpoint: Endpoint, tell: mpsc::Sender<(u32, Connection)>) {
    while let Some(incoming) = endpoint.accept().await {
        let tell = tell.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            if let Some(peer) = peer_of(&connection) {
                // Nobody listens any more at the end of the process only.
                let _ = tell.send((peer, connection));
            }
        });
    }
}

fn peer_of(connection: &Connection) -> Option<u32> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    data.server_name?.split('.').next()?.strip_prefix('p')?.parse().ok()
}

#[derive(Default)]
struct Room {
    members: Vec<(u32, Connection)>,
    /// What was said since the last flush: frames in a row, and whose each is.
    frames: Vec<u8>,
    senders: Vec<u32>,
}

struct Relay {
    task: Task,
    accepted: mpsc::Receiver<(u32, Connection)>,
    rooms: Vec<Room>,
}

impl Relay {
    /// The thread sleeps instead of waiting for its socket: to be woken by what comes cost 7 % more,
    /// and a millisecond of latency.
    async fn run(mut self) {
        let clock = Clock::new();
        let mut flush = self.task.next_flush(clock.now());
        loop {
            sleep_until(flush.min(clock.now() + DRAIN_INTERVAL));
            pass_on().await;
            let now = clock.now();
            if now < flush {
                continue;
            }
            for (peer, connection) in self.accepted.try_iter() {
                if let Some(room) = self.rooms.get_mut(self.task.rooms.of(peer) as usize) {
                    room.members.push((peer, connection));
                }
            }
            for room in &mut self.rooms {
                room.gather(self.task);
                room.flush();
            }
            pass_on().await;
            flush = self.task.next_flush(now);
        }
    }
}

/// Lets everything run that has something to do.
async fn pass_on() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

impl Room {
    /// Takes in what the members have said.
    fn gather(&mut self, task: Task) {
        for (sender, connection) in &self.members {
            while let Some(datagram) = waiting(connection) {
                let mut frame = [0; FRAME];
                if datagram.len() == FRAME {
                    frame.copy_from_slice(&datagram);
                    if let Some(frame) = relayed(&mut frame, task.rooms.slot(*sender)) {
                        self.frames.extend_from_slice(frame);
                        self.senders.push(*sender);
                    }
                }
            }
        }
    }

    /// Sends everybody what the others have said.
    fn flush(&mut self) {
        if self.senders.is_empty() {
            return;
        }
        for (member, connection) in &self.members {
            let mut body = BytesMut::with_capacity(self.frames.len().min(BODY));
            for (frame, sender) in self.frames.as_chunks::<FRAME>().0.iter().zip(&self.senders) {
                if sender == member {
                    continue;
                }
                body.extend_from_slice(frame);
                if body.len() == BODY {
                    // What a lost connection does not take is its own affair.
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

/// A datagram that has already come; asking does not wait.
fn waiting(connection: &Connection) -> Option<Bytes> {
    match pin!(connection.read_datagram()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(datagram)) => Some(datagram),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}
