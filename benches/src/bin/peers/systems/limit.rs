//! `limit`: what the machine allows. A bare relay on the server's own sockets, buffers, GSO and cipher,
//! coalescing at the same tick; no sessions, limits, reports, acknowledgements or clock. A peer is the
//! index in its datagrams' header and lives at the address of its newest one.

use std::io;
use std::net::SocketAddr;

use nucleus_net::{Clock, RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket, sleep_until};
use nucleus_protocol::limits::{HEADER, MAX_DATAGRAM, TAG};

use super::sealed::{self, Opener, Sealer, Way};
use crate::message::{FRAME, relayed};
use crate::relay::{self, DRAIN_INTERVAL, Task};

/// Bytes of one flush between two calls to the kernel.
const BATCH: usize = 1 << 20;
/// Entries likewise.
const ENTRIES: usize = 1 << 12;
/// Frames that a datagram of full size holds.
const FRAMES: usize = (MAX_DATAGRAM - HEADER - TAG) / FRAME;

/// A peer as the relay knows it.
pub(super) struct Peer {
    pub(super) address: Option<SocketAddr>,
    pub(super) sealer: Sealer,
    opener: Opener,
}

/// All peers by their index.
pub(super) struct Peers(pub(super) Vec<Peer>);

impl Peers {
    pub(super) fn new(count: u32) -> Self {
        let peer = |index| Peer {
            address: None,
            sealer: Sealer::new(index, Way::Down),
            opener: Opener::new(index, Way::Up),
        };
        Peers((0..count).map(peer).collect())
    }

    /// Whose datagram it is, and its body.
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

/// What was said in a room since the last flush: frames in a row, and whose each is.
#[derive(Default)]
struct Table {
    frames: Vec<u8>,
    senders: Vec<u32>,
}

/// Relays for ever.
pub(crate) fn serve(task: Task) -> io::Result<()> {
    let socket = relay::bind()?;
    relay::announce(socket.local_addr()?, "")?;
    let tables = (0..task.rooms.count()).map(|_| Table::default()).collect();
    Limit { task, socket, tables, peers: Peers::new(task.rooms.peers) }.run()
}

struct Limit {
    task: Task,
    socket: UdpSocket,
    peers: Peers,
    tables: Vec<Table>,
}

impl Limit {
    fn run(mut self) -> io::Result<()> {
        let clock = Clock::new();
        let (mut input, mut output) = (RecvBatch::new(false), SendBatch::new(BATCH, ENTRIES));
        let mut flush = self.task.next_flush(clock.now());
        loop {
            sleep_until(flush.min(clock.now() + DRAIN_INTERVAL));
            self.drain(&mut input)?;
            let now = clock.now();
            if now >= flush {
                self.flush(&mut output);
                flush = self.task.next_flush(now);
            }
        }
    }

    fn drain(&mut self, input: &mut RecvBatch) -> io::Result<()> {
        loop {
            let count = self.socket.recv(input)?;
            for datagram in input.iter_mut() {
                let opened = self.peers.open(datagram.remote, datagram.data);
                let Some((sender, frame)) = opened else { continue };
                let Some(frame) = relayed(frame, self.task.rooms.slot(sender)) else { continue };
                let table = &mut self.tables[self.task.rooms.of(sender) as usize];
                table.frames.extend_from_slice(frame);
                table.senders.push(sender);
            }
            // A batch that is not full has emptied the socket; asking again costs a call.
            if count < RECV_MESSAGES {
                return Ok(());
            }
        }
    }

    fn flush(&mut self, output: &mut SendBatch) {
        for (room, table) in self.tables.iter_mut().enumerate() {
            if table.senders.is_empty() {
                continue;
            }
            for member in self.task.rooms.members(room as u32) {
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

impl Table {
    /// What the others have said, sealed for one of them: one datagram, or several of equal size and a
    /// last that may be shorter, for one GSO send. `false` when it does not fit in.
    fn write(&self, member: u32, peer: &mut Peer, output: &mut SendBatch) -> bool {
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
