//! The generator, which is the same for every system: one thread that sends by a schedule. A late
//! message keeps the time at which it was due, and does not delay the next one (open loop).

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

/// Longest time for all peers to join, µs.
const JOIN_TIMEOUT: u64 = 10_000_000;
/// How long all peers send before the window starts, µs.
const WARM_UP: u64 = 500_000;
/// The time that is left for the last messages to arrive after the window, µs.
const DRAIN: u64 = 300_000;
/// Time between two reads of a peer's socket, µs. The kernel stamps the arrival, so this costs no
/// accuracy. A longer time would be unfair to QUIC, because its client would acknowledge late.
const READ_INTERVAL: u64 = 5_000;
/// Smallest time between two reads of the same socket, µs for each peer of the run. Without this
/// limit, the generator would do nothing but read with hundreds of peers.
const READ_INTERVAL_PER_PEER: u64 = 20;
/// Largest number of sockets that are read in one turn. A message that becomes due then does not
/// wait long.
const READS_PER_TURN: u64 = 16;
/// The shortest sleep, µs. Shorter sleeps would cost a wake-up for every message.
const SHORTEST_SLEEP: u64 = 500;
/// The longest sleep, µs, because sockets must be read in between.
const LONGEST_SLEEP: u64 = 1_000;
/// Size of a peer's socket buffers, bytes. In no room does more arrive in a few ms.
const BUFFER: usize = 1 << 20;

/// The error of a failed measurement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    #[error("cannot open a socket for a peer: {0}")]
    Socket(io::Error),
    #[error("{missing} of {peers} peers did not join in time")]
    NotJoined { missing: usize, peers: usize },
    #[error("peer {0} cannot join: {1}")]
    Refused(usize, String),
    #[error("the server's CPU time cannot be read: {0}")]
    Cpu(io::Error),
}

/// The figures of one window.
pub(crate) struct Measurement {
    pub(crate) ledger: Ledger,
    /// CPU time of the server in the window, s.
    pub(crate) server_cpu: f64,
    /// CPU time of the generator in the window, s.
    pub(crate) own_cpu: f64,
    /// Datagrams that our own receive buffers dropped or our kernel did not accept.
    /// `None` if the system does not tell.
    pub(crate) drops: Option<u64>,
}

/// A peer with its socket.
struct GeneratorPeer {
    socket: UdpSocket,
    remote: SocketAddr,
    client: Box<dyn Client>,
}

/// Drives all peers of a system.
pub(crate) struct Generator {
    peers: Vec<GeneratorPeer>,
    clock: Clock,
    input: RecvBatch,
    output: SendBatch,
    bytes: Vec<u8>,
    /// The index of the peer whose socket is read next.
    cursor: usize,
    /// When credit for reads was last added, µs.
    credited_at: u64,
    /// The credit for reads, in sockets times µs.
    credit: u64,
    unsent: u64,
}

impl Generator {
    /// Opens a socket for each client.
    ///
    /// # Errors
    ///
    /// If a socket cannot be opened.
    pub(crate) fn new(clients: Vec<(SocketAddr, Box<dyn Client>)>) -> Result<Self, MeasureError> {
        let open = |(remote, client)| Ok(GeneratorPeer { socket: bind()?, remote, client });
        let peers: io::Result<Vec<GeneratorPeer>> = clients.into_iter().map(open).collect();
        Ok(Generator {
            peers: peers.map_err(MeasureError::Socket)?,
            clock: Clock::new(),
            input: RecvBatch::new(false),
            output: SendBatch::new(64 << 10, RECV_MESSAGES),
            bytes: Vec::new(),
            cursor: 0,
            credited_at: 0,
            credit: 0,
            unsent: 0,
        })
    }

    /// Lets all peers join and send, and measures the server with this process id.
    ///
    /// # Errors
    ///
    /// If a peer cannot join, or the CPU time cannot be read.
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
        let drops = |peer: &GeneratorPeer| peer.socket.kernel_drops().ok().map(u64::from);
        let drops = self.peers.iter().map(drops).sum::<Option<u64>>();
        Ok(Measurement {
            ledger,
            server_cpu: server_after - server_before,
            own_cpu: own_after - own_before,
            drops: drops.map(|drops| drops + self.unsent),
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
            sleep_until(now + READ_INTERVAL);
        }
    }

    fn run_until(&mut self, end: u64, ledger: &mut Ledger) {
        loop {
            let now = self.clock.now();
            if now >= end {
                return;
            }
            self.send_due(ledger);
            self.read_sockets(now, ledger);
            if self.credit < self.read_interval() {
                let next = ledger.schedule.next_due().unwrap_or(end);
                sleep_until(next.clamp(now + SHORTEST_SLEEP, now + LONGEST_SLEEP).min(end));
            }
        }
    }

    /// Sends all messages that are due.
    fn send_due(&mut self, ledger: &mut Ledger) {
        loop {
            let now = self.clock.now();
            let Some(claim) = ledger.schedule.take(now) else { return };
            ledger.record_sent(claim, now);
            self.bytes.clear();
            claim.encode(&mut self.bytes);
            let index = claim.sender as usize;
            self.peers[index].client.send_message(now, &self.bytes);
            self.send(index, now);
        }
    }

    /// Reads as many sockets as the credit allows.
    fn read_sockets(&mut self, now: u64, ledger: &mut Ledger) {
        let (peers, interval) = (self.peers.len() as u64, self.read_interval());
        let earned = now.saturating_sub(self.credited_at) * peers;
        self.credited_at = now;
        // The credit is limited, so that a turn reads each socket at most once.
        self.credit = (self.credit + earned).min(peers * interval);
        for _ in 0..(self.credit / interval).min(READS_PER_TURN) {
            self.credit -= interval;
            let index = self.cursor;
            self.cursor = (self.cursor + 1) % self.peers.len();
            self.visit(index, now, Some(ledger));
        }
    }

    fn read_interval(&self) -> u64 {
        READ_INTERVAL.max(self.peers.len() as u64 * READ_INTERVAL_PER_PEER)
    }

    /// Handles the datagrams that wait at a peer's socket, and sends the client's answers.
    fn visit(&mut self, index: usize, now: u64, mut ledger: Option<&mut Ledger>) {
        let GeneratorPeer { socket, client, .. } = &mut self.peers[index];
        while let Ok(count) = socket.recv(&mut self.input) {
            for datagram in self.input.iter_mut() {
                let arrival = datagram.received;
                let Some(ledger) = &mut ledger else {
                    client.handle_input(arrival, datagram.data, &mut |_| {});
                    continue;
                };
                ledger.record_datagram(arrival);
                client.handle_input(arrival, datagram.data, &mut |message| {
                    ledger.record_received(index as u32, arrival, message);
                });
            }
            if count < RECV_MESSAGES {
                break;
            }
        }
        client.handle_timeout(now);
        self.send(index, now);
    }

    /// Sends the datagrams that a client wants to send.
    fn send(&mut self, index: usize, now: u64) {
        let GeneratorPeer { socket, remote, client } = &mut self.peers[index];
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
