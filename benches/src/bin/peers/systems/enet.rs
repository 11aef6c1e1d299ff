//! `enet`: ENet in Rust (rusty_enet), unreliable unsequenced packets, serviced at the same tick; ENet
//! itself packs small packets together. It encrypts nothing, unlike all others here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use nucleus_net::{Clock, sleep_until};
use rusty_enet::consts::{PEER_PACKET_THROTTLE_INTERVAL, PEER_PACKET_THROTTLE_SCALE};
use rusty_enet::{Event, Host, HostSettings, MTU_MAX, Packet, PacketReceived, PeerID, Socket};

use super::StartError;
use crate::client::Client;
use crate::message::{Heard, hear_frames, relayed};
use crate::relay::{self, Task};

/// The most that ENet takes.
pub(super) const MAX_PEERS: u32 = 4_095;
const CHANNEL: u8 = 0;
/// Over which ENet measures round trips, ms: its default.
const THROTTLE_MS: u32 = PEER_PACKET_THROTTLE_INTERVAL;

fn settings(peers: usize) -> HostSettings {
    HostSettings { peer_limit: peers, channel_limit: 1, ..HostSettings::default() }
}

/// Relays for ever.
pub(crate) fn serve(task: Task) -> io::Result<()> {
    let socket = relay::bind()?.into_std();
    let address = socket.local_addr()?;
    let host = Host::new(socket, settings(task.rooms.peers as usize));
    let host = host.map_err(|error| io::Error::other(error.to_string()))?;
    relay::announce(address, "")?;
    let count = task.rooms.peers as usize;
    Relay { task, host, ids: vec![None; count], peers: vec![None; count] }.run()
}

struct Relay {
    task: Task,
    host: Host<UdpSocket>,
    /// ENet's number by ours, and ours by ENet's.
    ids: Vec<Option<PeerID>>,
    peers: Vec<Option<u32>>,
}

impl Relay {
    fn run(mut self) -> io::Result<()> {
        let clock = Clock::new();
        loop {
            sleep_until(self.task.next_flush(clock.now()));
            // Only the first call of a turn looks at the socket; it takes up to 256 datagrams.
            while let Some(event) = self.host.service()? {
                let mut next = Some(event.no_ref());
                while let Some(event) = next {
                    self.handle(event);
                    next = self.host.check_events().map(Event::no_ref);
                }
            }
            self.host.flush();
        }
    }

    fn handle(&mut self, event: rusty_enet::EventNoRef) {
        use rusty_enet::EventNoRef::{Connect, Disconnect, Receive};
        match event {
            Connect { peer, data } => {
                // Round trips vary with the tick, not with the load: nothing is to be held back.
                self.host.peer_mut(peer).set_throttle(THROTTLE_MS, PEER_PACKET_THROTTLE_SCALE, 0);
                if let Some(id) = self.ids.get_mut(data as usize) {
                    *id = Some(peer);
                    self.peers[peer.0] = Some(data);
                }
            }
            Disconnect { peer, .. } => {
                if let Some(gone) = self.peers[peer.0].take() {
                    self.ids[gone as usize] = None;
                }
            }
            Receive { peer, packet, .. } => {
                if let Some(sender) = self.peers[peer.0] {
                    self.relay(sender, packet.data());
                }
            }
        }
    }

    fn relay(&mut self, sender: u32, data: &[u8]) {
        let (rooms, mut frame) = (self.task.rooms, data.to_vec());
        if relayed(&mut frame, rooms.slot(sender)).is_none() {
            return;
        }
        // ENet counts references: its bytes are not copied for each recipient.
        let packet = Packet::always_unreliable_unsequenced(frame);
        for member in rooms.members(rooms.of(sender)).filter(|member| *member != sender) {
            if let Some(id) = self.ids[member as usize] {
                // A peer that is just going does not take it.
                let _ = self.host.peer_mut(id).send(CHANNEL, &packet);
            }
        }
    }
}

/// What a client's ENet takes for its socket; the generator has the real one.
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
        let Some(place) = buffer.get_mut(..datagram.len()) else {
            return Ok(Some((self.server, PacketReceived::Partial)));
        };
        place.copy_from_slice(&datagram);
        Ok(Some((self.server, PacketReceived::Complete(datagram.len()))))
    }
}

/// A peer.
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

    fn service(&mut self, hear: &mut dyn FnMut(Heard<'_>)) {
        while let Ok(Some(event)) = self.host.service() {
            match event {
                Event::Connect { .. } => self.connected = true,
                Event::Disconnect { .. } => self.lost = true,
                Event::Receive { packet, .. } => hear_frames(packet.data(), hear),
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

    fn say(&mut self, _now: u64, frame: &[u8]) {
        let packet = Packet::always_unreliable_unsequenced(frame);
        // A connection that was lost shows in what is delivered.
        let _ = self.host.peer_mut(self.server).send(CHANNEL, &packet);
        self.host.flush();
    }

    fn handle_input(
        &mut self,
        _arrival: u64,
        datagram: &mut [u8],
        hear: &mut dyn FnMut(Heard<'_>),
    ) {
        self.host.socket_mut().inbox.push_back(datagram.to_vec());
        self.service(hear);
    }

    fn handle_timeout(&mut self, _now: u64) {
        // What came was taken in when it came.
        self.service(&mut |_| {});
    }

    fn poll_output(&mut self, _now: u64, out: &mut Vec<u8>) -> bool {
        self.host.socket_mut().outbox.pop_front().is_some_and(|datagram| {
            out.extend_from_slice(&datagram);
            true
        })
    }
}
