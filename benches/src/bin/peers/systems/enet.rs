//! The system `enet`: ENet in Rust (rusty_enet) with unreliable unsequenced packets, gathered
//! by the same rule as in the other systems. ENet itself packs small packets together. Unlike all other
//! systems here it does not encrypt.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use nucleus_net::{Clock, sleep_until};
use rusty_enet::consts::{PEER_PACKET_THROTTLE_INTERVAL, PEER_PACKET_THROTTLE_SCALE};
use rusty_enet::{Event, Host, HostSettings, MTU_MAX, Packet, PacketReceived, PeerID, Socket};

use super::StartError;
use crate::client::Client;
use crate::gathering::Gathering;
use crate::message::{ReceivedMessage, deliver_frames, set_sender_slot};
use crate::relay::{self, RelayTask};

/// Largest number of peers that ENet allows.
pub(super) const MAX_PEERS: u32 = 4_095;
const CHANNEL: u8 = 0;
/// The interval over which ENet measures round trips, ms; ENet's default.
const THROTTLE_MS: u32 = PEER_PACKET_THROTTLE_INTERVAL;

fn settings(peers: usize) -> HostSettings {
    HostSettings { peer_limit: peers, channel_limit: 1, ..HostSettings::default() }
}

/// Relays until the process ends.
pub(crate) fn serve(task: RelayTask) -> io::Result<()> {
    let socket = relay::bind()?.into_std();
    let address = socket.local_addr()?;
    let host = Host::new(socket, settings(task.rooms.peers as usize));
    let host = host.map_err(|error| io::Error::other(error.to_string()))?;
    relay::announce(address, "")?;
    let count = task.rooms.peers as usize;
    let waiting = (0..task.rooms.count()).map(|_| Vec::new()).collect();
    let (ids, peers) = (vec![None; count], vec![None; count]);
    EnetRelay { task, host, ids, peers, waiting, gathering: Gathering::new(task) }.run()
}

/// The relay.
struct EnetRelay {
    task: RelayTask,
    host: Host<UdpSocket>,
    /// ENet's peer id, by our peer number.
    ids: Vec<Option<PeerID>>,
    /// Our peer number, by ENet's peer id.
    peers: Vec<Option<u32>>,
    /// The messages that wait in each room, each with its sender.
    waiting: Vec<Vec<(u32, Packet)>>,
    gathering: Gathering,
}

impl EnetRelay {
    fn run(mut self) -> io::Result<()> {
        let clock = Clock::new();
        loop {
            let began = clock.now();
            // Only `service` reads the socket, up to 256 datagrams; `check_events` does not.
            while let Some(event) = self.host.service()? {
                let mut next = Some(event.no_ref());
                while let Some(event) = next {
                    self.handle(event, began);
                    next = self.host.check_events().map(Event::no_ref);
                }
            }
            self.send_due(clock.now());
            self.host.flush();
            sleep_until(self.gathering.next_wake(began));
        }
    }

    fn handle(&mut self, event: rusty_enet::EventNoRef, now: u64) {
        use rusty_enet::EventNoRef::{Connect, Disconnect, Receive};
        match event {
            Connect { peer, data } => {
                // Switch the throttle off: round trips vary with the tick, not with the load.
                self.host.peer_mut(peer).set_throttle(THROTTLE_MS, PEER_PACKET_THROTTLE_SCALE, 0);
                if let Some(id) = self.ids.get_mut(data as usize) {
                    *id = Some(peer);
                    self.peers[peer.0] = Some(data);
                }
            }
            Disconnect { peer, .. } => {
                if let Some(number) = self.peers[peer.0].take() {
                    self.ids[number as usize] = None;
                }
            }
            Receive { peer, packet, .. } => {
                if let Some(sender) = self.peers[peer.0] {
                    self.gather(sender, packet.data(), now);
                }
            }
        }
    }

    fn gather(&mut self, sender: u32, data: &[u8], now: u64) {
        let (rooms, mut frame) = (self.task.rooms, data.to_vec());
        if set_sender_slot(&mut frame, rooms.slot(sender)).is_none() {
            return;
        }
        let room = rooms.of(sender);
        // ENet counts references, so the bytes are not copied for each recipient.
        let packet = Packet::always_unreliable_unsequenced(frame);
        self.waiting[room as usize].push((sender, packet));
        self.gathering.add(room, now);
    }

    fn send_due(&mut self, now: u64) {
        for room in self.gathering.take_due(now) {
            for (sender, packet) in self.waiting[room as usize].drain(..) {
                let members = self.task.rooms.members(room).filter(|member| *member != sender);
                for id in members.filter_map(|member| self.ids[member as usize]) {
                    // A peer that is disconnecting does not accept the packet.
                    let _ = self.host.peer_mut(id).send(CHANNEL, &packet);
                }
            }
        }
    }
}

/// Two queues that a client's ENet uses as its socket. The generator has the real socket.
struct Mailboxes {
    server: SocketAddr,
    inbox: VecDeque<Vec<u8>>,
    outbox: VecDeque<Vec<u8>>,
}

impl Socket for Mailboxes {
    type Address = SocketAddr;
    type Error = Infallible;

    fn send(&mut self, _address: SocketAddr, buffer: &[u8]) -> Result<usize, Infallible> {
        self.outbox.push_back(buffer.to_vec());
        Ok(buffer.len())
    }

    fn receive(
        &mut self,
        buffer: &mut [u8; MTU_MAX],
    ) -> Result<Option<(SocketAddr, PacketReceived)>, Infallible> {
        let Some(datagram) = self.inbox.pop_front() else { return Ok(None) };
        let Some(target) = buffer.get_mut(..datagram.len()) else {
            return Ok(Some((self.server, PacketReceived::Partial)));
        };
        target.copy_from_slice(&datagram);
        Ok(Some((self.server, PacketReceived::Complete(datagram.len()))))
    }
}

/// A peer of the relay.
pub(super) struct EnetClient {
    slot: u16,
    host: Host<Mailboxes>,
    server: PeerID,
    connected: bool,
    lost: bool,
}

impl EnetClient {
    pub(super) fn new(peer: u32, slot: u16, server: SocketAddr) -> Result<Self, StartError> {
        let mailboxes = Mailboxes { server, inbox: VecDeque::new(), outbox: VecDeque::new() };
        let mut host = Host::new(mailboxes, settings(1)).map_err(StartError::client)?;
        let server = host.connect(server, 1, peer).map_err(StartError::client)?.id();
        Ok(EnetClient { slot, host, server, connected: false, lost: false })
    }

    fn service(&mut self, deliver: &mut dyn FnMut(ReceivedMessage<'_>)) {
        while let Ok(Some(event)) = self.host.service() {
            match event {
                Event::Connect { .. } => self.connected = true,
                Event::Disconnect { .. } => self.lost = true,
                Event::Receive { packet, .. } => deliver_frames(packet.data(), deliver),
            }
        }
    }
}

impl Client for EnetClient {
    fn slot(&self) -> u16 {
        self.slot
    }

    fn is_ready(&self, _now: u64) -> Result<bool, String> {
        if self.lost { Err("disconnected".into()) } else { Ok(self.connected) }
    }

    fn send_message(&mut self, _now: u64, frame: &[u8]) {
        let packet = Packet::always_unreliable_unsequenced(frame);
        // Ignore an error: messages that are lost with the connection count as not delivered.
        let _ = self.host.peer_mut(self.server).send(CHANNEL, &packet);
        self.host.flush();
    }

    fn handle_input(
        &mut self,
        _arrival: u64,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(ReceivedMessage<'_>),
    ) {
        self.host.socket_mut().inbox.push_back(datagram.to_vec());
        self.service(deliver);
    }

    fn handle_timeout(&mut self, _now: u64) {
        // `handle_input` has already delivered all messages.
        self.service(&mut |_| {});
    }

    fn poll_output(&mut self, _now: u64, out: &mut Vec<u8>) -> bool {
        self.host.socket_mut().outbox.pop_front().is_some_and(|datagram| {
            out.extend_from_slice(&datagram);
            true
        })
    }
}
