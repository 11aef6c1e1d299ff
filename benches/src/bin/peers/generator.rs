//! The generator: open loop, one thread, the same for every system. A message that leaves late keeps
//! the time at which it was due.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use nucleus_net::{
    BindOptions, Clock, RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket, process_cpu_seconds,
    sleep_until,
};

use crate::client::Client;
use crate::ledger::Ledger;
use crate::rooms::Rooms;
use crate::schedule::Schedule;

/// How long everybody may take to join, µs.
const JOIN_TIMEOUT: u64 = 10_000_000;
/// Everybody is sending for so long before anything counts, µs.
const WARM_UP: u64 = 500_000;
/// What was said last has so long to arrive, µs.
const DRAIN: u64 = 300_000;
/// µs between two looks at a peer's socket. The kernel stamps what arrives, so this costs no
/// accuracy; but a QUIC client that acknowledges late is no fair one.
const LISTEN_INTERVAL: u64 = 5_000;
/// µs between two looks per peer, at least: beyond some hundreds of peers the looks would be all that
/// the generator does.
const LISTEN_COST: u64 = 20;
/// Sockets looked at in one turn, so that a send that has become due never waits long behind them.
const LISTENS_PER_TURN: u64 = 16;
/// Shortest sleep, µs: finer steps would cost a wake-up for every message.
const QUANTUM: u64 = 500;
/// Longest sleep, µs: sockets are looked at meanwhile.
const LONGEST_SLEEP: u64 = 1_000;
/// Receive buffer of a peer: what a few ms of any room bring.
const BUFFER: usize = 1 << 20;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    #[error("a peer has no socket: {0}")]
    Socket(io::Error),
    #[error("{missing} of {peers} peers did not join in time")]
    NotJoined { missing: usize, peers: usize },
    #[error("peer {0} cannot join: {1}")]
    Refused(usize, String),
    #[error("the server's CPU time cannot be read: {0}")]
    Cpu(io::Error),
}

/// What one window showed.
pub(crate) struct Measurement {
    pub(crate) ledger: Ledger,
    /// CPU that the server used in the window, s.
    pub(crate) server_cpu: f64,
    /// CPU that the generator used in the window, s.
    pub(crate) own_cpu: f64,
    /// Datagrams that our own sockets had no room for, and that our kernel did not take.
    pub(crate) drops: u64,
}

struct Peer {
    socket: UdpSocket,
    remote: SocketAddr,
    client: Box<dyn Client>,
}

/// See the module.
pub(crate) struct Generator {
    peers: Vec<Peer>,
    clock: Clock,
    input: RecvBatch,
    output: SendBatch,
    bytes: Vec<u8>,
    /// The socket to look at next, when looks were last earned, and those not yet spent, in sockets
    /// times µs.
    cursor: usize,
    listened: u64,
    credit: u64,
    unsent: u64,
}

impl Generator {
    /// Opens a socket for each client.
    pub(crate) fn new(clients: Vec<(SocketAddr, Box<dyn Client>)>) -> Result<Self, MeasureError> {
        let open = |(remote, client)| Ok(Peer { socket: bind()?, remote, client });
        let peers: io::Result<Vec<Peer>> = clients.into_iter().map(open).collect();
        Ok(Generator {
            peers: peers.map_err(MeasureError::Socket)?,
            clock: Clock::new(),
            input: RecvBatch::new(false),
            output: SendBatch::new(64 << 10, RECV_MESSAGES),
            bytes: Vec::new(),
            cursor: 0,
            listened: 0,
            credit: 0,
            unsent: 0,
        })
    }

    /// Joins everybody, lets them talk, and measures the server with this process id.
    pub(crate) fn measure(
        mut self,
        rooms: Rooms,
        hz: u32,
        seconds: f64,
        server: u32,
    ) -> Result<Measurement, MeasureError> {
        self.join()?;
        let slots = self.peers.iter().map(|peer| peer.client.slot()).collect();
        let start = self.clock.now() + 5_000;
        let mut ledger = Ledger::new(Schedule::new(rooms, hz, start, WARM_UP, seconds), slots);
        let window = ledger.schedule.window.clone();
        let cpu = |pid| process_cpu_seconds(pid).map_err(MeasureError::Cpu);
        self.run_until(window.start, &mut ledger);
        let (server_before, own_before) = (cpu(Some(server))?, cpu(None)?);
        self.run_until(window.end, &mut ledger);
        let (server_after, own_after) = (cpu(Some(server))?, cpu(None)?);
        self.run_until(window.end + DRAIN, &mut ledger);
        let drops = |peer: &Peer| u64::from(peer.socket.kernel_drops().unwrap_or(0));
        Ok(Measurement {
            ledger,
            server_cpu: server_after - server_before,
            own_cpu: own_after - own_before,
            drops: self.unsent + self.peers.iter().map(drops).sum::<u64>(),
        })
    }

    /// Runs the clients until all of them have joined.
    fn join(&mut self) -> Result<(), MeasureError> {
        let deadline = self.clock.now() + JOIN_TIMEOUT;
        loop {
            let now = self.clock.now();
            (0..self.peers.len()).for_each(|index| self.visit(index, now, None));
            let mut missing = 0;
            for (index, peer) in self.peers.iter().enumerate() {
                let ready = peer.client.is_ready(now);
                let ready = ready.map_err(|text| MeasureError::Refused(index, text))?;
                missing += usize::from(!ready);
            }
            if missing == 0 {
                return Ok(());
            }
            if now > deadline {
                return Err(MeasureError::NotJoined { missing, peers: self.peers.len() });
            }
            sleep_until(now + LISTEN_INTERVAL);
        }
    }

    fn run_until(&mut self, end: u64, ledger: &mut Ledger) {
        loop {
            let now = self.clock.now();
            if now >= end {
                return;
            }
            self.speak(ledger);
            self.listen(now, ledger);
            if self.credit < self.listen_interval() {
                let next = ledger.schedule.next_due().unwrap_or(end);
                sleep_until(next.clamp(now + QUANTUM, now + LONGEST_SLEEP).min(end));
            }
        }
    }

    /// Says all that is due.
    fn speak(&mut self, ledger: &mut Ledger) {
        loop {
            let now = self.clock.now();
            let Some(claim) = ledger.schedule.take(now) else { return };
            ledger.say(claim, now);
            self.bytes.clear();
            claim.encode(&mut self.bytes);
            let index = claim.sender as usize;
            self.peers[index].client.say(now, &self.bytes);
            self.send(index, now);
        }
    }

    /// Looks at as many sockets as the time since the last look has earned.
    fn listen(&mut self, now: u64, ledger: &mut Ledger) {
        let (peers, interval) = (self.peers.len() as u64, self.listen_interval());
        let earned = now.saturating_sub(self.listened) * peers;
        self.listened = now;
        // Nobody is looked at twice in one turn.
        self.credit = (self.credit + earned).min(peers * interval);
        for _ in 0..(self.credit / interval).min(LISTENS_PER_TURN) {
            self.credit -= interval;
            let index = self.cursor;
            self.cursor = (self.cursor + 1) % self.peers.len();
            self.visit(index, now, Some(ledger));
        }
    }

    fn listen_interval(&self) -> u64 {
        LISTEN_INTERVAL.max(self.peers.len() as u64 * LISTEN_COST)
    }

    /// Takes in what waits at a peer's socket; sends what the client has to say to it.
    fn visit(&mut self, index: usize, now: u64, mut ledger: Option<&mut Ledger>) {
        let Peer { socket, client, .. } = &mut self.peers[index];
        while let Ok(count) = socket.recv(&mut self.input) {
            for datagram in self.input.iter_mut() {
                let arrival = datagram.received;
                let Some(ledger) = &mut ledger else {
                    client.handle_input(arrival, datagram.data, &mut |_| {});
                    continue;
                };
                ledger.datagram(arrival);
                client.handle_input(arrival, datagram.data, &mut |heard| {
                    ledger.hear(index as u32, arrival, heard);
                });
            }
            if count < RECV_MESSAGES {
                break;
            }
        }
        client.handle_timeout(now);
        self.send(index, now);
    }

    /// Sends what a client has to say.
    fn send(&mut self, index: usize, now: u64) {
        let Peer { socket, remote, client } = &mut self.peers[index];
        loop {
            self.bytes.clear();
            if !client.poll_output(now, &mut self.bytes) {
                return;
            }
            self.output.clear();
            self.output.push(*remote, None, 0, &self.bytes);
            let report = socket.send(&self.output);
            self.unsent += report.dropped + report.failed;
        }
    }
}

fn bind() -> io::Result<UdpSocket> {
    UdpSocket::bind(&BindOptions {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        recv_buffer: BUFFER,
        send_buffer: BUFFER,
        ..BindOptions::default()
    })
}
