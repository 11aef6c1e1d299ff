//! The network between clients and servers. Each stream is reliable and in order, but the streams of
//! a connection overtake each other. A connection can break: then everything on its way is lost, and
//! each end notices at its own time.

use std::collections::BTreeMap;
use std::time::Duration;

use nucleus_client_core::session::{ConnectionEnd, StreamTarget};
use nucleus_protocol::time::Time;

/// The name of a connection. Names are never reused.
pub(crate) type ConnectionNumber = u64;

/// Something that happens at its time.
pub(crate) enum Happening {
    /// Something of a connection arrives at the server.
    AtServer(ConnectionNumber, ToServer),
    /// Something of a connection arrives at the client.
    AtClient(ConnectionNumber, ToClient),
    /// A device's try to connect ends.
    ConnectEnds { device: usize, attempt: u64, answers: bool },
    /// The application on a device does something.
    Act(usize),
    /// The caller or the application of a process answers that a token is wanted.
    TokenComes { device: usize, process: u64 },
    /// A device starts a process, if it runs none.
    Start(usize),
    /// A fault of this simulation.
    Fault,
    /// The connection of a device breaks.
    Break(usize),
    /// A server that was stopped is up again.
    ServerStarts,
    /// The server hears of a client on its realtime link.
    LinkSpeaks(ConnectionNumber),
    /// A device wakes up, or its application takes events again.
    Wake(usize),
    /// A client that leaves must be closed.
    MustBeClosed { device: usize, process: u64 },
}

/// What arrives at the server.
pub(crate) enum ToServer {
    Bytes(StreamTarget, Vec<u8>),
    /// The client has ended a stream.
    Finished(StreamTarget),
    /// The client has read bytes of one of the server's streams.
    Read(u8, usize),
    /// The client has closed the connection with this number.
    Closed(u64),
    /// The server has heard nothing of the client for too long.
    Silent,
}

/// What arrives at the client.
pub(crate) enum ToClient {
    Bytes(u8, Vec<u8>),
    /// The server has ended a stream.
    StreamEnds(u8),
    Written(StreamTarget),
    /// The server has everything of a stream that the client has ended.
    Finished(StreamTarget),
    Closed(ConnectionEnd),
}

/// A connection. The server's streams have numbers: 0 is the control stream.
struct Wire {
    device: usize,
    /// Whether nothing arrives any more.
    is_cut: bool,
    /// When the newest bytes of each stream arrive: the client's streams by [`target_index`], and
    /// the server's by number.
    upwards: [Time; 3],
    downwards: BTreeMap<u8, Time>,
}

/// The network, with everything that is still to happen.
pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) rng: fastrand::Rng,
    /// Whether delays are short and nothing is lost.
    pub(crate) is_healed: bool,
    /// The usual delay in one direction.
    pub(crate) delay: Duration,
    due: BTreeMap<(Time, u64), Happening>,
    /// Number of happenings so far. Those of the same time happen in this order.
    scheduled: u64,
    wires: BTreeMap<ConnectionNumber, Wire>,
    connections: ConnectionNumber,
}

/// Returns the index of one of the client's streams.
pub(crate) fn target_index(target: StreamTarget) -> usize {
    match target {
        StreamTarget::Control => 0,
        StreamTarget::Lane(lane) => 1 + lane.index(),
    }
}

impl Network {
    pub(crate) fn new(seed: u64, now: Time) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let delay = Duration::from_millis(rng.u64(1..120));
        let (due, wires) = Default::default();
        Self { now, rng, is_healed: false, delay, due, scheduled: 0, wires, connections: 0 }
    }

    /// Lets something happen after a time.
    pub(crate) fn schedule(&mut self, after: Duration, what: Happening) {
        self.schedule_at(self.now + after, what);
    }

    pub(crate) fn schedule_at(&mut self, at: Time, what: Happening) {
        self.scheduled += 1;
        self.due.insert((at, self.scheduled), what);
    }

    /// Returns when the next thing happens.
    pub(crate) fn next_time(&self) -> Option<Time> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next thing that is due.
    pub(crate) fn take_due(&mut self) -> Option<Happening> {
        let is_due = self.next_time().is_some_and(|at| at <= self.now);
        is_due.then(|| self.due.pop_first()).flatten().map(|(_, what)| what)
    }

    /// Returns how much was scheduled so far.
    pub(crate) fn happenings(&self) -> u64 {
        self.scheduled
    }

    /// Returns true with a probability of `percent`.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    /// Returns a random time below `most`.
    pub(crate) fn random_time(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.rng.u64(..=most.as_micros() as u64))
    }

    /// Returns how long something is on its way: longer if a packet is lost and repeated.
    fn way(&mut self) -> Duration {
        let jitter = self.random_time(self.delay / 2);
        let repeated = match self.rng.u8(..100) {
            _ if self.is_healed => Duration::ZERO,
            0..3 => self.random_time(Duration::from_millis(2_000)),
            3..12 => self.random_time(Duration::from_millis(300)),
            _ => Duration::ZERO,
        };
        self.delay + jitter + repeated
    }

    /// Begins a connection of a device.
    pub(crate) fn connect(&mut self, device: usize) -> ConnectionNumber {
        self.connections += 1;
        let wire =
            Wire { device, is_cut: false, upwards: [Time::ZERO; 3], downwards: BTreeMap::new() };
        self.wires.insert(self.connections, wire);
        self.connections
    }

    /// Returns the device of a connection.
    pub(crate) fn device_of(&self, connection: ConnectionNumber) -> Option<usize> {
        self.wires.get(&connection).map(|wire| wire.device)
    }

    /// Returns whether bytes still arrive.
    pub(crate) fn is_whole(&self, connection: ConnectionNumber) -> bool {
        self.wires.get(&connection).is_some_and(|wire| !wire.is_cut)
    }

    /// Lets the client write to a stream. The bytes arrive in one or two parts, and the write ends
    /// before or after that.
    pub(crate) fn write(
        &mut self,
        connection: ConnectionNumber,
        target: StreamTarget,
        bytes: &[u8],
    ) {
        let cut = if self.chance(30) { self.rng.usize(..=bytes.len()) } else { 0 };
        for part in [&bytes[..cut], &bytes[cut..]] {
            if !part.is_empty() {
                self.send_up(connection, target, ToServer::Bytes(target, part.to_vec()));
            }
        }
        // Without acknowledgements, QUIC soon takes no further bytes.
        if !self.is_whole(connection) && self.rng.bool() {
            return;
        }
        let stall = match self.rng.u8(..100) {
            _ if self.is_healed => Duration::ZERO,
            0..3 => self.random_time(Duration::from_secs(4)),
            3..15 => self.random_time(Duration::from_millis(400)),
            _ => self.random_time(Duration::from_millis(2)),
        };
        self.schedule(stall, Happening::AtClient(connection, ToClient::Written(target)));
    }

    /// Lets the client end a stream.
    pub(crate) fn finish(&mut self, connection: ConnectionNumber, target: StreamTarget) {
        self.send_up(connection, target, ToServer::Finished(target));
    }

    fn send_up(&mut self, connection: ConnectionNumber, target: StreamTarget, what: ToServer) {
        let arrives = self.now + self.way();
        let Some(wire) = self.wires.get_mut(&connection) else { return };
        let newest = &mut wire.upwards[target_index(target)];
        *newest = arrives.max(*newest);
        let arrives = *newest;
        self.schedule_at(arrives, Happening::AtServer(connection, what));
    }

    /// Tells the server that the client has read bytes of a stream.
    pub(crate) fn report_read(&mut self, connection: ConnectionNumber, stream: u8, len: usize) {
        let way = self.way();
        self.schedule(way, Happening::AtServer(connection, ToServer::Read(stream, len)));
    }

    /// Tells the client that the server has everything of a stream.
    pub(crate) fn report_finished(&mut self, connection: ConnectionNumber, target: StreamTarget) {
        let way = self.way();
        self.schedule(way, Happening::AtClient(connection, ToClient::Finished(target)));
    }

    /// Lets the server write to a stream, or end it.
    pub(crate) fn send_down(&mut self, connection: ConnectionNumber, stream: u8, what: ToClient) {
        let arrives = self.now + self.way();
        let Some(wire) = self.wires.get_mut(&connection) else { return };
        let newest = wire.downwards.entry(stream).or_default();
        *newest = arrives.max(*newest);
        let arrives = *newest;
        self.schedule_at(arrives, Happening::AtClient(connection, what));
    }

    /// Breaks a connection. Each end notices within the time.
    pub(crate) fn break_connection(&mut self, connection: ConnectionNumber, notices: Duration) {
        let Some(wire) = self.wires.get_mut(&connection).filter(|wire| !wire.is_cut) else {
            return;
        };
        wire.is_cut = true;
        self.client_notices(connection, notices);
        self.server_notices(connection, notices);
    }

    fn client_notices(&mut self, connection: ConnectionNumber, within: Duration) {
        let end = match self.rng.bool() {
            true => ConnectionEnd::TimedOut,
            false => ConnectionEnd::Other("reset".to_owned()),
        };
        let after = self.random_time(within);
        self.schedule(after, Happening::AtClient(connection, ToClient::Closed(end)));
    }

    fn server_notices(&mut self, connection: ConnectionNumber, within: Duration) {
        let after = self.random_time(within);
        self.schedule(after, Happening::AtServer(connection, ToServer::Silent));
    }

    /// Lets the client close a connection. The close may get lost.
    pub(crate) fn close_by_client(&mut self, connection: ConnectionNumber, number: u64) {
        if !self.is_whole(connection) {
            return;
        }
        if self.is_healed || self.chance(85) {
            let way = self.way();
            self.schedule(way, Happening::AtServer(connection, ToServer::Closed(number)));
        }
        self.server_notices(connection, Duration::from_secs(8));
    }

    /// Lets the server close a connection with a number. The close may get lost, or overtake bytes.
    pub(crate) fn close_by_server(&mut self, connection: ConnectionNumber, number: u64) {
        if !self.is_whole(connection) {
            return;
        }
        if !self.is_healed && self.chance(10) {
            return self.client_notices(connection, Duration::from_secs(8));
        }
        let newest = self.wires[&connection].downwards.values().max().copied();
        let overtakes = self.chance(30);
        let sent = newest.filter(|_| !overtakes).unwrap_or(self.now).max(self.now);
        let end = ConnectionEnd::ByServer { number, text: "closed".to_owned() };
        let arrives = sent + self.way();
        self.schedule_at(arrives, Happening::AtClient(connection, ToClient::Closed(end)));
    }
}
