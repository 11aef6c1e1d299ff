//! The realtime side of one headset: its link, its socket, the datagrams of its session, its
//! schedule and its simulated network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_net::{BindOptions, RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket};
use nucleus_protocol::link::{Link, LinkConfig, Messages, Path, Rejected, Route};
use nucleus_protocol::time::Time;

use super::sim_network::{SimDatagram, SimNetwork};
use crate::check::ledger::Ledger;
use crate::check::outcome::SocketCounts;
use crate::check::withheld::WithheldCounts;
use crate::load::channel::{Channel, DueMessage};
use crate::load::payload::Source;
use crate::load::plan::Plan;
use crate::load::schedule::Schedule;
use crate::load::slot_plan::SlotPlan;
use crate::shared::{RunShared, Window};

/// Bytes of a socket buffer: a fifth of a second of the largest downlink, with the kernel's
/// overhead.
const SOCKET_BUFFER: usize = 1 << 20;
/// Largest size of a message with its headers, bytes. A datagram with less space left is full.
const MESSAGE_ROOM: usize = 128;

/// A headset that has a new session and can use the realtime plane.
pub(crate) struct HeadsetStart {
    pub(crate) headset: u32,
    /// The headset's slot in its room.
    pub(crate) slot: u16,
    pub(crate) link: LinkConfig,
    /// The session's connection, which carries the datagrams on the fallback.
    pub(crate) connection: quinn::Connection,
}

/// What all headsets of a thread share: the ledger of their messages, the buffers, and the counts of
/// their sockets.
pub(crate) struct Wire {
    pub(crate) ledger: Ledger,
    output: SendBatch,
    plain: Vec<u8>,
    payload: Vec<u8>,
    pub(crate) counts: SocketCounts,
    /// How the window is divided.
    slots: SlotPlan,
}

impl Wire {
    pub(crate) fn new(ledger: Ledger, slots: SlotPlan) -> Self {
        Wire {
            ledger,
            slots,
            output: SendBatch::new(64 << 10, RECV_MESSAGES),
            plain: Vec::new(),
            payload: Vec::new(),
            counts: SocketCounts { slots: vec![[0; 2]; slots.count], ..SocketCounts::default() },
        }
    }

    /// Sends a datagram at `now`, and counts it.
    fn send(&mut self, now: Time, socket: &mut UdpSocket, remote: SocketAddr, datagram: &[u8]) {
        let refused = send_datagram(socket, remote, datagram, &mut self.output);
        self.counts.unsent += refused;
        if refused == 0 && self.ledger.window.contains(now.as_micros()) {
            let bytes = wire_bytes(remote, datagram.len());
            self.counts.bytes_out += bytes;
            self.slot(now).into_iter().for_each(|[_, bytes_out]| *bytes_out += bytes);
        }
    }

    /// Counts a datagram that has arrived at a socket.
    fn count_arrival(&mut self, arrival: Time, remote: SocketAddr, len: usize) {
        self.counts.datagrams_in += 1;
        if self.ledger.window.contains(arrival.as_micros()) {
            let bytes = wire_bytes(remote, len);
            self.counts.bytes_in += bytes;
            self.slot(arrival).into_iter().for_each(|[bytes_in, _]| *bytes_in += bytes);
        }
    }

    /// Returns the counts over time of a moment; `None` if they are not recorded.
    fn slot(&mut self, moment: Time) -> Option<&mut [u64; 2]> {
        let slot = self.slots.slot(self.ledger.window, moment.as_micros())?;
        self.counts.slots.get_mut(slot)
    }

    /// Records the messages of a datagram that has arrived at a member of the ledger.
    fn record_messages(
        &mut self,
        messages: Result<Messages<'_>, Rejected>,
        member: u32,
        arrival: Time,
    ) {
        match messages {
            Ok(messages) => {
                for message in messages {
                    self.ledger.record_received(member, arrival.as_micros(), &message);
                }
            }
            // The network duplicated the datagram, or it was meant for an earlier link.
            Err(Rejected::Replayed | Rejected::ConnectionId) => {}
            Err(_) => self.counts.rejected += 1,
        }
    }
}

/// The realtime side of a headset.
pub(crate) struct Headset {
    source: Source,
    /// The headset's index in the ledger.
    member: u32,
    link: Link,
    path: Path,
    socket: UdpSocket,
    connection: quinn::Connection,
    shared: Arc<RunShared>,
    /// Whether this headset is in the share of headsets that faults affect.
    is_affected: bool,
    /// Whether the headset's process is dead.
    pub(crate) dead: bool,
    /// Whether the headset's address changed at least once.
    pub(crate) moved: bool,
    /// When the headset used the realtime port again after the last fault, µs.
    pub(crate) realtime_back_at: Option<u64>,
    /// Fallbacks of the headset's earlier links.
    earlier_fallbacks: u64,
    /// Datagrams that the headset's earlier sockets dropped.
    earlier_drops: u64,
    schedule: Schedule,
    /// The schedule as it was at its start.
    whole_schedule: Schedule,
    network: Option<SimNetwork>,
    /// The messages that the server reports as withheld.
    pub(crate) withheld: WithheldCounts,
    /// When the thread's queue runs the headset next, µs.
    pub(crate) wake: u64,
}

impl Headset {
    /// Opens the socket and starts the schedule at `now` (µs). `member` is the headset's index in
    /// the ledger.
    ///
    /// # Errors
    ///
    /// If the server named no realtime address, or no socket can be opened.
    pub(crate) fn open(
        plan: &Plan,
        shared: Arc<RunShared>,
        start: HeadsetStart,
        member: u32,
        now: u64,
    ) -> io::Result<Self> {
        let source = plan.source(start.headset);
        let path = path_of(&start.link)?;
        let network = SimNetwork::new(plan, &shared, source, now);
        let schedule = Schedule::new(plan, source, now);
        Ok(Headset {
            source,
            member,
            link: Link::new(Time::from_micros(now), start.link),
            path,
            socket: bind(path.remote)?,
            connection: start.connection,
            shared,
            is_affected: plan.is_affected(start.headset),
            dead: false,
            moved: false,
            realtime_back_at: None,
            earlier_fallbacks: 0,
            earlier_drops: 0,
            whole_schedule: schedule.clone(),
            schedule,
            network,
            withheld: WithheldCounts::new(now),
            wake: u64::MAX,
        })
    }

    /// Replaces the link by the link of a new session.
    ///
    /// # Errors
    ///
    /// If the server named no realtime address.
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

    /// Returns whether messages travel inside the session because the realtime port does not
    /// answer.
    pub(crate) fn on_fallback(&self, now: u64) -> bool {
        self.link.on_fallback(Time::from_micros(now))
    }

    /// Returns the round-trip time that the link measures; `None` without a sample that arrived
    /// after `time` (µs). An older value says nothing about the path since then.
    pub(crate) fn round_trip_since(&self, time: u64) -> Option<Duration> {
        let sampled_at = self.link.rtt_sampled_at()?;
        self.link.rtt().filter(|_| sampled_at.as_micros() > time)
    }

    /// Returns how many messages of each channel were due in a window.
    pub(crate) fn scheduled(&self, window: Window) -> [u64; Channel::COUNT] {
        self.whole_schedule.clone().count(window.start..window.end)
    }

    /// Returns how often the realtime port stopped answering.
    pub(crate) fn fallbacks(&self) -> u64 {
        self.earlier_fallbacks + self.link.fallbacks()
    }

    /// Returns when the next message or timer is due, µs. Messages due at `end` or later do not
    /// count.
    pub(crate) fn next_due(&self, end: u64) -> u64 {
        let due = Some(self.schedule.due()).filter(|due| *due < end);
        let link = self.link.deadline();
        let network = self.network.as_ref().and_then(SimNetwork::deadline);
        let timers = link.into_iter().chain(network).map(Time::as_micros);
        timers.fold(due.unwrap_or(u64::MAX), u64::min)
    }

    /// Sends the messages that are due, and runs the timers of the link and of the network.
    pub(crate) fn run_due(&mut self, now: u64, wire: &mut Wire, input: &mut RecvBatch) {
        let time = Time::from_micros(now);
        if self.link.deadline().is_some_and(|at| at <= time) {
            // Read the socket first, so that the timer does not take a late read for silence.
            self.receive(now, wire, input);
        }
        self.link.handle_timeout(time);
        self.send_due(now, wire);
        self.flush_link(time, wire);
        self.run_network(time, wire);
    }

    /// Handles the datagrams that wait at the socket. The kernel stamps their arrival, so rare
    /// reads cost no accuracy, and one call reads several datagrams.
    pub(crate) fn receive(&mut self, now: u64, wire: &mut Wire, input: &mut RecvBatch) {
        while let Ok(count) = self.socket.recv(input) {
            if count > 0 {
                wire.ledger.prefetch(self.member);
            }
            for datagram in input.iter_mut() {
                let remote = datagram.remote;
                let arrival = Time::from_micros(datagram.received);
                wire.count_arrival(arrival, remote, datagram.data.len());
                match &mut self.network {
                    Some(network) => {
                        let len = datagram.data.len();
                        let datagram = SimDatagram { remote, data: datagram.data.to_vec() };
                        network.down.handle_input(arrival, len, datagram);
                    }
                    None => {
                        self.handle_datagram(arrival, remote, datagram.ecn, datagram.data, wire)
                    }
                }
            }
            if count < RECV_MESSAGES {
                break;
            }
        }
        let time = Time::from_micros(now);
        self.run_network(time, wire);
        self.flush_link(time, wire);
        if let Some(report) = self.link.server_report() {
            self.withheld.record(now, wire.ledger.window.start, &report);
        }
    }

    /// Returns how many datagrams the kernel dropped because a receive buffer was full; `None` if the
    /// system does not tell.
    pub(crate) fn kernel_drops(&self) -> Option<u64> {
        Some(self.earlier_drops + u64::from(self.socket.kernel_drops().ok()?))
    }

    fn handle_datagram(
        &mut self,
        arrival: Time,
        remote: SocketAddr,
        ecn: u8,
        data: &mut [u8],
        wire: &mut Wire,
    ) {
        if self.is_cut_off() {
            return;
        }
        let path = Path { remote, local: None };
        let messages = self.link.handle_input(arrival, path, ecn, data);
        wire.record_messages(messages, self.member, arrival);
        self.record_return(arrival);
    }

    /// Handles a datagram that arrived inside the session.
    pub(crate) fn handle_session_datagram(&mut self, arrival: u64, data: &[u8], wire: &mut Wire) {
        let arrival = Time::from_micros(arrival);
        let messages = self.link.handle_session_input(arrival, data);
        wire.record_messages(messages, self.member, arrival);
        self.flush_link(arrival, wire);
    }

    /// Returns whether a fault stops all datagrams between this headset and the realtime port.
    fn is_cut_off(&self) -> bool {
        let faults = &self.shared.faults;
        self.dead || self.is_affected && (faults.in_outage() || faults.realtime_blocked())
    }

    /// Records the return to the realtime port after a fault: a datagram arrived over that port,
    /// and the link sends over it.
    fn record_return(&mut self, arrival: Time) {
        let Some(fault_end) = self.shared.faults.last_fault_end() else { return };
        let arrival = arrival.as_micros();
        let is_recorded =
            self.realtime_back_at.is_some_and(|realtime_back_at| realtime_back_at >= fault_end);
        let uses_realtime_port = matches!(self.link.route(), Some((Route::Realtime(_), _)));
        if !is_recorded && arrival >= fault_end && uses_realtime_port {
            self.realtime_back_at = Some(arrival);
        }
    }

    /// Sends the messages that are due, in as few datagrams as possible.
    fn send_due(&mut self, now: u64, wire: &mut Wire) {
        let time = Time::from_micros(now);
        // Messages due at the window's end or later are not sent.
        let until = now.min(wire.ledger.window.end.saturating_sub(1));
        while let Some(first) = self.schedule.take(until) {
            wire.plain.clear();
            let start = self.link.begin(time, &mut wire.plain);
            let mut next = Some(first);
            while let Some(due) = next {
                self.append(&due, wire);
                wire.ledger.record_sent(self.member, now, &due, &wire.payload);
                let room = start + self.link.max_body() > wire.plain.len() + MESSAGE_ROOM;
                next = if room { self.schedule.take(until) } else { None };
            }
            let route = self.link.route().map_or(Route::Realtime(self.path), |(route, _)| route);
            match self.link.finish(time, &mut wire.plain, start) {
                Ok(()) => self.send(time, route, wire),
                Err(_) => wire.counts.unsent += 1,
            }
        }
    }

    fn append(&self, due: &DueMessage, wire: &mut Wire) {
        wire.payload.clear();
        due.payload(self.source, &mut wire.payload);
        let captured = self.link.server_time(Time::from_micros(due.scheduled));
        due.message(self.source, captured, &wire.payload).encode(&mut wire.plain);
    }

    fn flush_link(&mut self, now: Time, wire: &mut Wire) {
        loop {
            wire.plain.clear();
            let Some(route) = self.link.poll_output(now, &mut wire.plain) else { break };
            self.send(now, route, wire);
        }
    }

    /// Sends the datagram in `wire.plain`.
    fn send(&mut self, now: Time, route: Route, wire: &mut Wire) {
        // Taken out, so that the wire can be borrowed to send; it returns below.
        let plain = std::mem::take(&mut wire.plain);
        let bytes = route.wire(&plain);
        let cut_off = self.is_cut_off();
        match (route, &mut self.network) {
            // If the session is ending or cannot keep up, the datagram is lost, as on a network.
            (Route::Session, _) => {
                if !self.dead && self.connection.datagram_send_buffer_space() >= bytes.len() {
                    let _sent = self.connection.send_datagram(Bytes::copy_from_slice(bytes));
                }
            }
            _ if cut_off => {}
            (Route::Realtime(path), Some(network)) => {
                let datagram = SimDatagram { remote: path.remote, data: bytes.to_vec() };
                network.up.handle_input(now, bytes.len(), datagram);
            }
            (Route::Realtime(path), None) => {
                wire.send(now, &mut self.socket, path.remote, bytes);
            }
        }
        wire.plain = plain;
    }

    fn run_network(&mut self, now: Time, wire: &mut Wire) {
        let Some(network) = &mut self.network else { return };
        if network.address_changes.take(now) {
            self.moved = true;
            self.change_address();
        }
        while let Some(SimDatagram { remote, data }) =
            self.network.as_mut().and_then(|network| network.up.poll_output(now))
        {
            wire.send(now, &mut self.socket, remote, &data);
        }
        while let Some((arrival, SimDatagram { remote, mut data })) =
            self.network.as_mut().and_then(|network| network.arrived(now))
        {
            self.handle_datagram(arrival, remote, 0, &mut data, wire);
        }
    }

    /// Changes the source port. Datagrams on their way to the old port are lost, as behind a NAT.
    fn change_address(&mut self) {
        if let Ok(socket) = bind(self.path.remote) {
            // Where the system does not tell, the drops stay unknown with the new socket too.
            self.earlier_drops = self.kernel_drops().unwrap_or(0);
            self.socket = socket;
        }
    }
}

/// Returns the path of a link's realtime datagrams.
///
/// # Errors
///
/// If the server named no realtime address.
pub(crate) fn path_of(link: &LinkConfig) -> io::Result<Path> {
    link.path.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Opens a socket for one headset's link to `remote`.
///
/// # Errors
///
/// If no socket can be opened.
pub(crate) fn bind(remote: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(&BindOptions {
        addr: local_address(remote),
        recv_buffer: SOCKET_BUFFER,
        send_buffer: SOCKET_BUFFER,
        only_v6: true,
        // Receive a GSO batch of the server in one piece. Without GRO, the loopback device would
        // split the batch on the server's core. In a real network, the network card does that work.
        gro: true,
        ..BindOptions::default()
    })
}

/// Returns the local address to bind. For a server on loopback, returns the loopback address: a
/// socket that is bound to one address need not choose a source address for every datagram. For
/// other servers, returns the wildcard address, because a machine's address may change during a
/// run.
fn local_address(remote: SocketAddr) -> SocketAddr {
    let ip = match (remote, remote.ip().is_loopback()) {
        (SocketAddr::V4(_), true) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (SocketAddr::V4(_), false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (SocketAddr::V6(_), true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (SocketAddr::V6(_), false) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// Returns the bytes of a datagram of `len` bytes in an IP network: with the headers of UDP (8 bytes)
/// and of IPv4 (20 bytes) or IPv6 (40 bytes).
fn wire_bytes(remote: SocketAddr, len: usize) -> u64 {
    let headers = if remote.is_ipv4() { 28 } else { 48 };
    len as u64 + headers
}

/// Sends one datagram. Returns how many datagrams the kernel did not accept: 0 or 1.
pub(crate) fn send_datagram(
    socket: &mut UdpSocket,
    remote: SocketAddr,
    datagram: &[u8],
    batch: &mut SendBatch,
) -> u64 {
    batch.clear();
    batch.push(remote, None, 0, datagram);
    let report = socket.send(batch);
    report.dropped + report.failed
}
