//! The system `limit`: a bare relay, whose CPU time is the least that a relay can need on this
//! machine. It uses the sockets, buffers, GSO and cipher of Nucleus, and gathers by the
//! same rule. It has no sessions, limits, reports, acknowledgements or clock. A datagram's header holds
//! the index of its peer. The relay answers to the address of the peer's newest datagram.

use std::io;
use std::net::SocketAddr;

use nucleus_net::{Clock, RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket, sleep_until};
use nucleus_protocol::limits::{HEADER, MAX_DATAGRAM, TAG};

use super::sealed::{self, Direction, Opener, Sealer};
use crate::gathering::Gathering;
use crate::message::{FRAME, set_sender_slot};
use crate::relay::{self, RelayTask};

/// Largest number of bytes of a flush that one call passes to the kernel.
const BATCH: usize = 1 << 20;
/// Largest number of entries (sends) that such a call passes to the kernel.
const ENTRIES: usize = 1 << 12;
/// Frames in a datagram of full size.
const FRAMES: usize = (MAX_DATAGRAM - HEADER - TAG) / FRAME;

/// The relay's data about one peer.
pub(super) struct RelayPeer {
    pub(super) address: Option<SocketAddr>,
    pub(super) sealer: Sealer,
    opener: Opener,
}

/// All peers by their index.
pub(super) struct RelayPeers(pub(super) Vec<RelayPeer>);

impl RelayPeers {
    pub(super) fn new(count: u32) -> Self {
        let peer = |index| RelayPeer {
            address: None,
            sealer: Sealer::new(index, Direction::Down),
            opener: Opener::new(index, Direction::Up),
        };
        RelayPeers((0..count).map(peer).collect())
    }

    /// Opens a datagram. Returns the index of its peer, and its body.
    pub(super) fn open<'d>(
        &mut self,
        remote: SocketAddr,
        datagram: &'d mut [u8],
    ) -> Option<(u32, &'d mut [u8])> {
        let index = sealed::index(datagram)?;
        let peer = self.0.get_mut(index as usize)?;
        let body = peer.opener.open(datagram)?;
        peer.address = Some(remote);
        Some((index, body))
    }
}

/// The frames that a room's members have sent since the last flush.
#[derive(Default)]
struct RoomFrames {
    /// All frames, one after the other.
    frames: Vec<u8>,
    /// The sender of each frame.
    senders: Vec<u32>,
}

/// Relays until the process ends.
pub(crate) fn serve(task: RelayTask) -> io::Result<()> {
    let socket = relay::bind()?;
    relay::announce(socket.local_addr()?, "")?;
    let tables = (0..task.rooms.count()).map(|_| RoomFrames::default()).collect();
    let (gathering, peers) = (Gathering::new(task), RelayPeers::new(task.rooms.peers));
    Limit { task, socket, tables, gathering, peers }.run()
}

/// The relay.
struct Limit {
    task: RelayTask,
    socket: UdpSocket,
    peers: RelayPeers,
    tables: Vec<RoomFrames>,
    gathering: Gathering,
}

impl Limit {
    fn run(mut self) -> io::Result<()> {
        let clock = Clock::new();
        let (mut input, mut output) = (RecvBatch::new(false), SendBatch::new(BATCH, ENTRIES));
        loop {
            let began = clock.now();
            self.drain(&mut input, began)?;
            self.flush(&mut output, clock.now());
            sleep_until(self.gathering.next_wake(began));
        }
    }

    fn drain(&mut self, input: &mut RecvBatch, now: u64) -> io::Result<()> {
        loop {
            let count = self.socket.recv(input)?;
            for datagram in input.iter_mut() {
                let opened = self.peers.open(datagram.remote, datagram.data);
                let Some((sender, frame)) = opened else { continue };
                let Some(frame) = set_sender_slot(frame, self.task.rooms.slot(sender)) else {
                    continue;
                };
                let room = self.task.rooms.of(sender);
                self.gathering.add(room, now);
                let table = &mut self.tables[room as usize];
                table.frames.extend_from_slice(frame);
                table.senders.push(sender);
            }
            // A batch that is not full has emptied the socket, so another call would be wasted.
            if count < RECV_MESSAGES {
                return Ok(());
            }
        }
    }

    fn flush(&mut self, output: &mut SendBatch, now: u64) {
        for room in self.gathering.take_due(now) {
            let table = &mut self.tables[room as usize];
            for member in self.task.rooms.members(room) {
                let Some(peer) = self.peers.0.get_mut(member as usize) else { continue };
                if !table.write(member, peer, output) {
                    self.socket.send(output);
                    output.clear();
                    table.write(member, peer, output);
                }
            }
            table.frames.clear();
            table.senders.clear();
        }
        self.socket.send(output);
        output.clear();
    }
}

impl RoomFrames {
    /// Appends the other members' frames, sealed for one member. One GSO send takes all the
    /// datagrams, which have the same size except for the last. Returns `false` if `output` has no
    /// space left.
    fn write(&self, member: u32, peer: &mut RelayPeer, output: &mut SendBatch) -> bool {
        let Some(address) = peer.address else { return true };
        let bytes = output.buffer();
        let begin = bytes.len();
        let (mut start, mut held) = (begin, 0);
        for (frame, sender) in self.frames.as_chunks::<FRAME>().0.iter().zip(&self.senders) {
            if *sender == member {
                continue;
            }
            if held == FRAMES {
                peer.sealer.finish(bytes, start);
                held = 0;
            }
            if held == 0 {
                start = peer.sealer.begin(bytes);
            }
            bytes.extend_from_slice(frame);
            held += 1;
        }
        if held == 0 {
            return true;
        }
        peer.sealer.finish(bytes, start);
        output.commit(address, None, HEADER + FRAMES * FRAME + TAG, begin)
    }
}
