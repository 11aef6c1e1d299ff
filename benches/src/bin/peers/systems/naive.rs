//! `naive`: the same sockets, cipher and cadence as [`limit`](super::limit), but a datagram for every
//! message and recipient, sent by `sendmmsg` as soon as the socket has been drained.

use std::io;

use nucleus_net::{Clock, RECV_MESSAGES, Received, RecvBatch, SendBatch, UdpSocket, sleep_until};

use super::limit::Peers;
use crate::message::relayed;
use crate::relay::{self, DRAIN_INTERVAL, Task};

/// Bytes between two calls to the kernel.
const BATCH: usize = 1 << 20;
/// Entries likewise.
const ENTRIES: usize = 1 << 12;

/// Relays for ever.
pub(crate) fn serve(task: Task) -> io::Result<()> {
    let socket = relay::bind()?;
    relay::announce(socket.local_addr()?, "")?;
    let (input, output) = (RecvBatch::new(false), SendBatch::new(BATCH, ENTRIES));
    let mut naive = Naive { task, socket, peers: Peers::new(task.rooms.peers), output };
    naive.run(input)
}

struct Naive {
    task: Task,
    socket: UdpSocket,
    peers: Peers,
    output: SendBatch,
}

impl Naive {
    fn run(&mut self, mut input: RecvBatch) -> io::Result<()> {
        let clock = Clock::new();
        loop {
            sleep_until(clock.now() + DRAIN_INTERVAL);
            loop {
                let count = self.socket.recv(&mut input)?;
                input.iter_mut().for_each(|datagram| self.relay(datagram));
                // A batch that is not full has emptied the socket; asking again costs a call.
                if count < RECV_MESSAGES {
                    break;
                }
            }
            self.flush();
        }
    }

    fn relay(&mut self, datagram: Received<'_>) {
        let Some((sender, frame)) = self.peers.open(datagram.remote, datagram.data) else { return };
        let rooms = self.task.rooms;
        let Some(frame) = relayed(frame, rooms.slot(sender)) else { return };
        for member in rooms.members(rooms.of(sender)).filter(|member| *member != sender) {
            if self.output.room() < 2 * frame.len() {
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
