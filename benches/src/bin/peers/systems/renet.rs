//! The system `renet`: renet with its netcode transport, encrypted (ChaCha20-Poly1305), with an
//! unreliable channel, gathered by the same rule as in the other systems. renet itself packs
//! small messages together. The server runs as renet's documentation shows. The client consists of the
//! same two state machines on the generator's sockets.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nucleus_net::{Clock, sleep_until};
use renet::{ChannelConfig, ConnectionConfig, RenetClient, RenetServer, SendType};
use renet_netcode::{NetcodeServerTransport, ServerAuthentication, ServerConfig};
use renetcode::{ClientAuthentication, ConnectToken, NetcodeClient};

use super::StartError;
use crate::client::Client;
use crate::gathering::Gathering;
use crate::message::{ReceivedMessage, deliver_frames, set_sender_slot};
use crate::relay::{self, RelayTask};

/// Largest number of peers that netcode allows.
pub(super) const MAX_PEERS: u32 = 1_024;
const PROTOCOL: u64 = 1;
/// A fixed key: only the cost of the cryptography counts.
const KEY: [u8; 32] = [7; 32];
const CHANNEL: u8 = 0;
/// Largest number of bytes that wait in a channel, and that one update sends to a peer. No room
/// needs more.
const CHANNEL_BYTES: usize = 5 << 20;
/// How long a token is valid, s: longer than any run.
const TOKEN_TTL: u64 = 3_600;
/// The time without datagrams after which a connection is lost, s.
const TIMEOUT: i32 = 15;

/// Returns the connection settings of both ends.
fn connection() -> ConnectionConfig {
    let channel = ChannelConfig {
        channel_id: CHANNEL,
        max_memory_usage_bytes: CHANNEL_BYTES,
        send_type: SendType::Unreliable,
    };
    ConnectionConfig {
        available_bytes_per_tick: CHANNEL_BYTES as u64,
        server_channels_config: vec![channel.clone()],
        client_channels_config: vec![channel],
    }
}

/// Relays until the process ends.
pub(crate) fn serve(task: RelayTask) -> io::Result<()> {
    let socket = relay::bind()?.into_std();
    let (clock, address) = (Clock::new(), socket.local_addr()?);
    let mut last = clock.now();
    let config = ServerConfig {
        current_time: Duration::from_micros(last),
        max_clients: task.rooms.peers as usize,
        protocol_id: PROTOCOL,
        public_addresses: vec![address],
        authentication: ServerAuthentication::Secure { private_key: KEY },
    };
    let mut transport = NetcodeServerTransport::new(config, socket)?;
    let mut server = RenetServer::new(connection());
    relay::announce(address, "")?;
    let waiting = (0..task.rooms.count()).map(|_| Vec::new()).collect();
    let mut relay = RenetRelay { task, waiting, gathering: Gathering::new(task) };
    loop {
        let now = clock.now();
        let passed = Duration::from_micros(now - last);
        last = now;
        server.update(passed);
        // Ignore errors, such as the system's error about a peer that has closed its socket.
        let _ = transport.update(passed, &mut server);
        relay.gather(&mut server, now);
        if relay.send_due(&mut server, clock.now()) {
            transport.send_packets(&mut server);
        }
        sleep_until(relay.gathering.next_wake(now));
    }
}

/// The messages that wait.
struct RenetRelay {
    task: RelayTask,
    /// The messages that wait in each room, each with its sender.
    waiting: Vec<Vec<(u32, bytes::Bytes)>>,
    gathering: Gathering,
}

impl RenetRelay {
    fn gather(&mut self, server: &mut RenetServer, now: u64) {
        // Drain the events of peers that connect and disconnect, so that they do not pile up.
        while server.get_event().is_some() {}
        for sender in server.clients_id() {
            while let Some(message) = server.receive_message(sender, CHANNEL) {
                let (peer, mut frame) = (sender as u32, message.to_vec());
                if set_sender_slot(&mut frame, self.task.rooms.slot(peer)).is_none() {
                    continue;
                }
                let room = self.task.rooms.of(peer);
                self.waiting[room as usize].push((peer, frame.into()));
                self.gathering.add(room, now);
            }
        }
    }

    /// Passes the messages of all rooms that are due to renet. Returns whether there were any.
    fn send_due(&mut self, server: &mut RenetServer, now: u64) -> bool {
        let mut any = false;
        for room in self.gathering.take_due(now) {
            for (peer, frame) in self.waiting[room as usize].drain(..) {
                for member in self.task.rooms.members(room).filter(|member| *member != peer) {
                    server.send_message(member.into(), CHANNEL, frame.clone());
                }
                any = true;
            }
        }
        any
    }
}

/// A peer of the relay.
pub(super) struct NetcodePeer {
    slot: u16,
    netcode: NetcodeClient,
    renet: RenetClient,
    /// When both state machines were last updated, µs.
    last: u64,
    outbox: VecDeque<Vec<u8>>,
}

impl NetcodePeer {
    pub(super) fn new(peer: u32, slot: u16, server: SocketAddr) -> Result<Self, StartError> {
        let now = Clock::new().now();
        let time = Duration::from_micros(now);
        let (client, servers) = (peer.into(), vec![server]);
        let connect_token =
            ConnectToken::generate(time, PROTOCOL, TOKEN_TTL, client, TIMEOUT, servers, None, &KEY);
        let connect_token = connect_token.map_err(StartError::client)?;
        let netcode = NetcodeClient::new(time, ClientAuthentication::Secure { connect_token });
        let netcode = netcode.map_err(StartError::client)?;
        let renet = RenetClient::new(connection());
        Ok(NetcodePeer { slot, netcode, renet, last: now, outbox: VecDeque::new() })
    }
}

impl Client for NetcodePeer {
    fn slot(&self) -> u16 {
        self.slot
    }

    fn is_ready(&self, _now: u64) -> Result<bool, String> {
        match self.netcode.disconnect_reason() {
            Some(reason) => Err(reason.to_string()),
            None => Ok(self.netcode.is_connected()),
        }
    }

    /// Sends a message, and with it renet's pending acknowledgements, like an application that
    /// calls renet once for each pose.
    fn send_message(&mut self, _now: u64, frame: &[u8]) {
        self.renet.send_message(CHANNEL, frame.to_vec());
        for packet in self.renet.get_packets_to_send() {
            if let Ok((_, datagram)) = self.netcode.generate_payload_packet(&packet) {
                self.outbox.push_back(datagram.to_vec());
            }
        }
    }

    fn handle_input(
        &mut self,
        _arrival: u64,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(ReceivedMessage<'_>),
    ) {
        if let Some(packet) = self.netcode.process_packet(datagram) {
            self.renet.process_packet(packet);
        }
        while let Some(message) = self.renet.receive_message(CHANNEL) {
            deliver_frames(&message, deliver);
        }
    }

    fn handle_timeout(&mut self, now: u64) {
        let passed = Duration::from_micros(now.saturating_sub(self.last));
        self.last = now;
        self.renet.update(passed);
        if let Some((datagram, _)) = self.netcode.update(passed) {
            self.outbox.push_back(datagram.to_vec());
        }
        if self.netcode.is_connected() {
            self.renet.set_connected();
        }
    }

    fn poll_output(&mut self, _now: u64, out: &mut Vec<u8>) -> bool {
        self.outbox.pop_front().is_some_and(|datagram| {
            out.extend_from_slice(&datagram);
            true
        })
    }
}
