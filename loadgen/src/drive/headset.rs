//! One headset's realtime side: its link, its socket, its session's datagrams, its schedules and its
//! network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_net::{BindOptions, RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket};
use nucleus_netsim::Pipe;
use nucleus_protocol::limits::MAX_BODY;
use nucleus_protocol::link::{Link, LinkConfig, Messages, Path, Rejected, Route};
use nucleus_protocol::time::Time;

use crate::check::ledger::Ledger;
use crate::check::withheld::WithheldCounts;
use crate::load::channel::DueMessage;
use crate::load::payload::{Source, Stream};
use crate::load::plan::Plan;
use crate::load::schedule::Schedule;
use crate::shared::RunShared;

/// Enough for a fifth of a second of the largest downlink, with what the kernel adds.
const SOCKET_BUFFER: usize = 1 << 20;
/// A message with its headers; a datagram that has no room for another is full.
const MESSAGE_ROOM: usize = 128;

/// A headset that has joined, or come back, and shall talk on the realtime plane.
pub(crate) struct HeadsetStart {
    pub(crate) headset: u32,
    /// Its slot in its room.
    pub(crate) slot: u16,
    pub(crate) link: LinkConfig,
    /// Carries the datagrams while the realtime port does not.
    pub(crate) connection: quinn::Connection,
}

/// Buffers that all headsets of a thread share, and what their sockets did.
pub(crate) struct Wire {
    output: SendBatch,
    plain: Vec<u8>,
    payload: Vec<u8>,
    pub(crate) datagrams_in: u64,
    /// Datagrams that our own kernel did not take.
    pub(crate) unsent: u64,
    /// Datagrams that are not from our server, or broken.
    pub(crate) rejected: u64,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Wire {
            output: SendBatch::new(64 << 10, RECV_MESSAGES),
            plain: Vec::new(),
            payload: Vec::new(),
            datagrams_in: 0,
            unsent: 0,
            rejected: 0,
        }
    }
}

type Parcel = (Path, Vec<u8>);

/// A simulated network in front of the socket.
struct SimNetwork {
    up: Pipe<Parcel>,
    down: Pipe<Parcel>,
    /// When the next source port is taken, and how often.
    next_address: Option<(Time, Duration)>,
    /// Moves of those whom they concern that it has made.
    moves: u32,
}

/// See the module.
pub(crate) struct Headset {
    source: Source,
    member: u32,
    link: Link,
    path: Path,
    socket: UdpSocket,
    connection: quinn::Connection,
    shared: Arc<RunShared>,
    /// A fault that concerns a share of the headsets concerns it.
    affected: bool,
    /// Its process has died.
    pub(crate) dead: bool,
    /// It had another address at least once.
    pub(crate) moved: bool,
    /// When it was heard from again over the realtime port after the last fault, µs.
    pub(crate) realtime_back_at: Option<u64>,
    /// Fallbacks of links it had before.
    earlier_fallbacks: u64,
    /// Drops of sockets it had before.
    earlier_drops: u32,
    schedule: Schedule,
    network: Option<SimNetwork>,
    /// What the server says it kept back.
    pub(crate) withheld: WithheldCounts,
    /// When the thread's queue looks at it next, µs.
    pub(crate) wake: u64,
}

impl Headset {
    /// Opens its socket; it speaks from `now` on. `member` is its number in the ledger.
    pub(crate) fn open(
        plan: &Plan,
        shared: Arc<RunShared>,
        start: HeadsetStart,
        member: u32,
        now: u64,
    ) -> io::Result<Self> {
        let source = plan.source(start.headset);
        let path = path_of(&start.link)?;
        let network = plan.network.as_ref().map(|conditions| SimNetwork {
            up: Pipe::new(source.mix(Stream::Up, 0), conditions.clone()),
            down: Pipe::new(source.mix(Stream::Down, 0), conditions.clone()),
            next_address: conditions
                .new_address_every
                .map(|every| (plan.next_address(source, now, every), every)),
            moves: shared.faults.address_changes(),
        });
        Ok(Headset {
            source,
            member,
            link: Link::new(Time::from_micros(now), start.link),
            path,
            socket: bind(path.remote)?,
            connection: start.connection,
            shared,
            affected: plan.is_affected(start.headset),
            dead: false,
            moved: false,
            realtime_back_at: None,
            earlier_fallbacks: 0,
            earlier_drops: 0,
            schedule: Schedule::new(
                source,
                &plan.traffic,
                plan.members(source.room),
                plan.schedule_epoch,
                now,
            ),
            network,
            withheld: WithheldCounts::new(now),
            wake: u64::MAX,
        })
    }

    /// Goes on over another link: its session was resumed or begun anew.
    pub(crate) fn replace_link(&mut self, start: HeadsetStart, now: u64) -> io::Result<()> {
        self.path = path_of(&start.link)?;
        self.earlier_fallbacks += self.link.fallbacks();
        self.link = Link::new(Time::from_micros(now), start.link);
        self.connection = start.connection;
        self.dead = false;
        self.withheld.start_new_link();
        self.change_address();
        Ok(())
    }

    /// Whether its messages travel inside the session because the realtime port does not answer.
    pub(crate) fn on_fallback(&self, now: u64) -> bool {
        self.link.on_fallback(Time::from_micros(now))
    }

    /// How often the realtime port went silent.
    pub(crate) fn fallbacks(&self) -> u64 {
        self.earlier_fallbacks + self.link.fallbacks()
    }

    /// When there is something to do, µs; messages due at `end` or later are none.
    pub(crate) fn next_due(&self, end: u64) -> u64 {
        let due = Some(self.schedule.due()).filter(|due| *due < end);
        let link = self.link.deadline();
        let network = self.network.as_ref().and_then(SimNetwork::deadline);
        let timers = link.into_iter().chain(network).map(Time::as_micros);
        timers.fold(due.unwrap_or(u64::MAX), u64::min)
    }

    /// Says what is due, and does what the link's timers and the network ask for.
    pub(crate) fn run_due(
        &mut self,
        now: u64,
        ledger: &mut Ledger,
        wire: &mut Wire,
        input: &mut RecvBatch,
    ) {
        let time = Time::from_micros(now);
        if self.link.deadline().is_some_and(|at| at <= time) {
            // Nobody is silent whose words are waiting at the socket.
            self.receive(now, ledger, wire, input);
        }
        self.link.handle_timeout(time);
        self.send_due(now, ledger, wire);
        self.flush_link(time, wire);
        self.run_network(time, ledger, wire);
    }

    /// Takes in what waits at the socket. The arrival is the kernel's stamp, so coming by rarely
    /// costs no accuracy, and one call takes several datagrams.
    pub(crate) fn receive(
        &mut self,
        now: u64,
        ledger: &mut Ledger,
        wire: &mut Wire,
        input: &mut RecvBatch,
    ) {
        while let Ok(count) = self.socket.recv(input) {
            if count > 0 {
                ledger.prefetch(self.member);
            }
            for datagram in input.iter_mut() {
                wire.datagrams_in += 1;
                let path = Path { remote: datagram.remote, local: None };
                let arrival = Time::from_micros(datagram.received);
                match &mut self.network {
                    Some(network) => {
                        let len = datagram.data.len();
                        network.down.handle_input(arrival, len, (path, datagram.data.to_vec()));
                    }
                    None => self.handle_datagram(
                        arrival,
                        path,
                        datagram.ecn,
                        datagram.data,
                        ledger,
                        wire,
                    ),
                }
            }
            if count < RECV_MESSAGES {
                break;
            }
        }
        let time = Time::from_micros(now);
        self.run_network(time, ledger, wire);
        self.flush_link(time, wire);
        if let Some(report) = self.link.server_report() {
            self.withheld.record(now, ledger.window.start, &report);
        }
    }

    /// Datagrams its sockets had no room for.
    pub(crate) fn kernel_drops(&self) -> u64 {
        u64::from(self.earlier_drops) + u64::from(self.socket.kernel_drops().unwrap_or(0))
    }

    fn handle_datagram(
        &mut self,
        arrival: Time,
        path: Path,
        ecn: u8,
        data: &mut [u8],
        ledger: &mut Ledger,
        wire: &mut Wire,
    ) {
        if self.is_cut_off() {
            return;
        }
        let messages = self.link.handle_input(arrival, path, ecn, data);
        record_messages(messages, self.member, arrival, ledger, wire);
        self.record_return(arrival);
    }

    /// Takes in a datagram of its session.
    pub(crate) fn handle_session_datagram(
        &mut self,
        arrival: u64,
        data: &[u8],
        ledger: &mut Ledger,
        wire: &mut Wire,
    ) {
        let arrival = Time::from_micros(arrival);
        let messages = self.link.handle_session_input(arrival, data);
        record_messages(messages, self.member, arrival, ledger, wire);
        self.flush_link(arrival, wire);
    }

    /// Nothing of the realtime port gets through to it.
    fn is_cut_off(&self) -> bool {
        let faults = &self.shared.faults;
        self.dead || self.affected && (faults.in_outage() || faults.realtime_blocked())
    }

    /// Back after a fault is who is heard and hears over the realtime port.
    fn record_return(&mut self, arrival: Time) {
        let Some(over) = self.shared.faults.last_fault_end() else { return };
        let arrival = arrival.as_micros();
        let known = self.realtime_back_at.is_some_and(|realtime_back_at| realtime_back_at >= over);
        let carried = matches!(self.link.route(), Some((Route::Realtime(_), _)));
        if !known && arrival >= over && carried {
            self.realtime_back_at = Some(arrival);
        }
    }

    /// Everything that is due goes into one datagram, or into several when it has to.
    fn send_due(&mut self, now: u64, ledger: &mut Ledger, wire: &mut Wire) {
        let time = Time::from_micros(now);
        // What is due at the window's end or later is not sent.
        let until = now.min(ledger.window.end.saturating_sub(1));
        while let Some(first) = self.schedule.take(until) {
            wire.plain.clear();
            let start = self.link.begin(time, &mut wire.plain);
            let mut next = Some(first);
            while let Some(due) = next {
                self.append(&due, wire);
                ledger.record_sent(self.member, now, &due, &wire.payload);
                let room = start + MAX_BODY > wire.plain.len() + MESSAGE_ROOM;
                next = if room { self.schedule.take(until) } else { None };
            }
            let route = self.link.route().map_or(Route::Realtime(self.path), |(route, _)| route);
            match self.link.finish(time, &mut wire.plain, start) {
                Ok(()) => self.send(time, route, wire),
                Err(_) => wire.unsent += 1,
            }
        }
    }

    fn append(&self, due: &DueMessage, wire: &mut Wire) {
        wire.payload.clear();
        due.payload(self.source, &mut wire.payload);
        due.message(self.source, &wire.payload).encode(&mut wire.plain);
    }

    fn flush_link(&mut self, now: Time, wire: &mut Wire) {
        loop {
            wire.plain.clear();
            let Some(route) = self.link.poll_output(now, &mut wire.plain) else { break };
            self.send(now, route, wire);
        }
    }

    /// Sends `wire.plain`.
    fn send(&mut self, now: Time, route: Route, wire: &mut Wire) {
        let bytes = route.wire(&wire.plain);
        let cut_off = self.is_cut_off();
        match (route, &mut self.network) {
            // A session that is just being lost or does not keep up loses it, as a network would.
            (Route::Session, _) => {
                if !self.dead && self.connection.datagram_send_buffer_space() >= bytes.len() {
                    let _sent = self.connection.send_datagram(Bytes::copy_from_slice(bytes));
                }
            }
            _ if cut_off => {}
            (Route::Realtime(path), Some(network)) => {
                network.up.handle_input(now, bytes.len(), (path, bytes.to_vec()));
            }
            (Route::Realtime(path), None) => {
                send_datagram(
                    &mut self.socket,
                    path.remote,
                    bytes,
                    &mut wire.output,
                    &mut wire.unsent,
                );
            }
        }
    }

    fn run_network(&mut self, now: Time, ledger: &mut Ledger, wire: &mut Wire) {
        let moves = if self.affected { self.shared.faults.address_changes() } else { 0 };
        if self.network.as_mut().is_some_and(|network| network.wants_address(now, moves)) {
            self.moved = true;
            self.change_address();
        }
        while let Some((path, data)) = self.network.as_mut().and_then(|n| n.up.poll_output(now)) {
            send_datagram(&mut self.socket, path.remote, &data, &mut wire.output, &mut wire.unsent);
        }
        while let Some((due, (path, mut data))) =
            self.network.as_mut().and_then(|network| network.arrived(now))
        {
            self.handle_datagram(due, path, 0, &mut data, ledger, wire);
        }
    }

    /// A new source port; what was on its way to the old one is lost, as behind a NAT.
    fn change_address(&mut self) {
        if let Ok(socket) = bind(self.path.remote) {
            self.earlier_drops = self.kernel_drops() as u32;
            self.socket = socket;
        }
    }
}

impl SimNetwork {
    fn deadline(&self) -> Option<Time> {
        let address = self.next_address.map(|(at, _)| at);
        let pipes = self.up.deadline().into_iter().chain(self.down.deadline());
        pipes.chain(address).min()
    }

    /// What has come down by `now`, with the moment it did: that is its arrival.
    fn arrived(&mut self, now: Time) -> Option<(Time, Parcel)> {
        let due = self.down.deadline().filter(|due| *due <= now)?;
        Some((due, self.down.poll_output(due)?))
    }

    fn wants_address(&mut self, now: Time, moves: u32) -> bool {
        if moves > self.moves {
            self.moves = moves;
            return true;
        }
        match &mut self.next_address {
            Some((at, every)) if *at <= now => {
                *at += *every;
                true
            }
            _ => false,
        }
    }
}

pub(crate) fn path_of(link: &LinkConfig) -> io::Result<Path> {
    link.path.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Enters the messages of a datagram into the ledger.
fn record_messages(
    messages: Result<Messages<'_>, Rejected>,
    member: u32,
    arrival: Time,
    ledger: &mut Ledger,
    wire: &mut Wire,
) {
    match messages {
        Ok(messages) => {
            for message in messages {
                ledger.record_received(member, arrival.as_micros(), &message);
            }
        }
        // What the network sent twice, or what was on its way to an earlier link.
        Err(Rejected::Replayed | Rejected::ConnectionId) => {}
        Err(_) => wire.rejected += 1,
    }
}

/// A socket for one headset's link to `remote`.
pub(crate) fn bind(remote: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(&BindOptions {
        addr: local_address(remote),
        recv_buffer: SOCKET_BUFFER,
        send_buffer: SOCKET_BUFFER,
        only_v6: true,
        // What the server sends as one piece arrives as one: otherwise the loopback device would
        // make the server's core cut it up, which on a real network is the card's work.
        gro: true,
        ..BindOptions::default()
    })
}

/// Loopback's own address where the server is there: a socket with one address is told nothing of it with
/// every datagram. Elsewhere all of them, because a machine's address may change under a headset.
fn local_address(remote: SocketAddr) -> SocketAddr {
    let ip = match (remote, remote.ip().is_loopback()) {
        (SocketAddr::V4(_), true) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (SocketAddr::V4(_), false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (SocketAddr::V6(_), true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (SocketAddr::V6(_), false) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// Sends one datagram; counts it in `unsent` when the kernel does not take it.
pub(crate) fn send_datagram(
    socket: &mut UdpSocket,
    remote: SocketAddr,
    datagram: &[u8],
    batch: &mut SendBatch,
    unsent: &mut u64,
) {
    batch.clear();
    batch.push(remote, None, 0, datagram);
    let report = socket.send(batch);
    *unsent += report.dropped + report.failed;
}
