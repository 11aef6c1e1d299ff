//! The systems `naive` and `naive-drained`: relays on the same sockets and cipher as
//! [`limit`](super::limit) that send a datagram for every message and recipient. `naive` has no
//! tick and relays messages immediately; if several datagrams wait, one `recvmmsg` and one
//! `sendmmsg` handle them together. `naive-drained` reads its socket only every 2 ms, which saves
//! wake-ups.

use std::io;
use std::time::Duration;

use nucleus_net::{
    Clock, RECV_MESSAGES, ReceivedDatagram, RecvBatch, SendBatch, UdpSocket, sleep_until,
};

use super::limit::RelayPeers;
use crate::message::set_sender_slot;
use crate::relay::{self, DRAIN_INTERVAL, RelayTask};

/// Largest number of bytes that one call passes to the kernel.
const BATCH: usize = 1 << 20;
/// Largest number of entries (sends) that one call passes to the kernel.
const ENTRIES: usize = 1 << 12;

/// Longest wait for a datagram. The results do not depend on this time.
const IDLE: Duration = Duration::from_secs(1);

/// How the relay waits between two reads of the socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Until a datagram arrives.
    Readable,
    /// For [`DRAIN_INTERVAL`], like the other relays.
    Drain,
}

/// Relays until the process ends.
pub(crate) fn serve(task: RelayTask, wait: Wait) -> io::Result<()> {
    let socket = relay::bind()?;
    relay::announce(socket.local_addr()?, "")?;
    let (input, output) = (RecvBatch::new(false), SendBatch::new(BATCH, ENTRIES));
    let mut naive = Naive { task, socket, wait, peers: RelayPeers::new(task.rooms.peers), output };
    naive.run(input)
}

/// The relay.
struct Naive {
    task: RelayTask,
    wait: Wait,
    socket: UdpSocket,
    peers: RelayPeers,
    output: SendBatch,
}

impl Naive {
    fn run(&mut self, mut input: RecvBatch) -> io::Result<()> {
        let clock = Clock::new();
        loop {
            match self.wait {
                Wait::Readable => {
                    self.socket.wait_readable(None, IDLE)?;
                }
                Wait::Drain => sleep_until(clock.now() + DRAIN_INTERVAL),
            }
            loop {
                let count = self.socket.recv(&mut input)?;
                input.iter_mut().for_each(|datagram| self.relay(datagram));
                // A batch that is not full has emptied the socket, so another call would be wasted.
                if count < RECV_MESSAGES {
                    break;
                }
            }
            self.flush();
        }
    }

    fn relay(&mut self, datagram: ReceivedDatagram<'_>) {
        let Some((sender, frame)) = self.peers.open(datagram.remote, datagram.data) else { return };
        let rooms = self.task.rooms;
        let Some(frame) = set_sender_slot(frame, rooms.slot(sender)) else { return };
        for member in rooms.members(rooms.of(sender)).filter(|member| *member != sender) {
            if self.output.free_bytes() < 2 * frame.len() {
                self.flush();
            }
            let Some(peer) = self.peers.0.get_mut(member as usize) else { continue };
            let Some(address) = peer.address else { continue };
            let bytes = self.output.buffer();
            let start = peer.sealer.begin(bytes);
            bytes.extend_from_slice(frame);
            peer.sealer.finish(bytes, start);
            self.output.commit(address, None, 0, start);
        }
    }

    fn flush(&mut self) {
        self.socket.send(&self.output);
        self.output.clear();
    }
}
