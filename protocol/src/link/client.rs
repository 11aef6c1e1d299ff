//! The client's side of a link. The client sends first, keeps the path alive and asks for the time.

use std::net::SocketAddr;
use std::time::Duration;

use super::Path;
use super::client_paths::ClientPaths;
use super::clock::ClockSync;
use super::delays::Delays;
use super::liveness::{SilenceTimers, Unacked, Unanswered, backoff};
use super::phase::RecvKeys;
use super::route::{PlaneChooser, Planes, Route};
use crate::limits;
use crate::realtime::control::{ClockReply, ClockRequest, KeepAlive, Plane};
use crate::realtime::report::{ClientReport, ReportInterval, ServerReport};
use crate::time::Time;

/// Most bytes of control frames in front of the application's messages: keep-alive, clock request
/// and report.
pub(super) const FRONT_BYTES: usize =
    KeepAlive::FRAME_BYTES + ClockRequest::FRAME_BYTES + ClientReport::FRAME_BYTES;
/// Interval of the first hellos of a new link. A hello is a keep-alive and a clock request.
const HELLO_INTERVAL: Duration = Duration::from_millis(200);
/// Number of hellos at [`HELLO_INTERVAL`] on each path (two seconds). Further hellos back off like
/// probes.
const HELLO_ATTEMPTS: u32 = 10;
/// Interval of the first clock samples, so that one queue on the path does not affect all of them.
const SETTLE_INTERVAL: Duration = Duration::from_millis(100);
/// The client has traffic if it sent or received a message within this time.
const TRAFFIC_TIME: Duration = Duration::from_secs(1);
/// A regular clock request that is due within this time travels with data, so that it seldom needs
/// a datagram of its own.
const EARLY_TIME: Duration = Duration::from_millis(100);
/// Upper bound of the round trip in timers, used also while the round trip is unknown.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(400);
/// Shortest time between two datagrams that only show the session the client's current address.
const SESSION_PING: Duration = Duration::from_secs(1);

/// The control frames that are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DueFrames {
    keep_alive: bool,
    clock: bool,
    report: bool,
}

impl DueFrames {
    pub(super) fn any(self) -> bool {
        self != DueFrames::default()
    }
}

/// The timers and measurements of a client.
pub(super) struct ClientSide {
    pub(super) paths: ClientPaths,
    pub(super) clock: ClockSync,
    pub(super) server_report: Option<ServerReport>,
    /// When the next hello is due, until the clock has a sample.
    hello_at: Time,
    hello_attempts: u32,
    settle_samples_left: u32,
    clock_requested: Time,
    /// When the last datagram left on the chosen plane.
    last_sent: Time,
    last_traffic: Option<Time>,
    keep_alive_wanted: bool,
    last_report: Time,
    report_interval: Duration,
    /// How early a report may travel with data: a tenth of the interval.
    report_early: Duration,
    report_wanted: bool,
    delays: Delays,
    /// The send time of the newest datagram, in µs modulo 2^32; `None` if it has none.
    send_time: Option<u32>,
    /// Bytes of the datagrams that arrived on the realtime port, wrapping.
    port_bytes: u32,
    /// Datagrams that arrived with the ECN mark "congestion experienced", wrapping.
    ce: u32,
    /// Datagrams that arrived with any ECN mark, wrapping.
    ect: u32,
    silence: Option<SilenceTimers>,
    pub(super) unanswered: Unanswered,
    unacked: Unacked,
    pub(super) chooser: PlaneChooser,
    /// A session ping that asks for an answer is due, because the client's address may have changed
    /// or the server may have restarted.
    session_ping: bool,
    /// When the last datagram left inside the session.
    pub(super) session_last_sent: Time,
}

impl ClientSide {
    pub(super) fn new(
        now: Time,
        path: Option<Path>,
        planes: Planes,
        report_interval: Duration,
    ) -> Self {
        let report_interval =
            report_interval.clamp(limits::REPORT_INTERVAL_MIN, limits::REPORT_INTERVAL_MAX);
        Self {
            paths: ClientPaths::new(path),
            clock: ClockSync::default(),
            server_report: None,
            hello_at: now,
            hello_attempts: 0,
            settle_samples_left: limits::SETTLE_SAMPLES,
            clock_requested: now,
            last_sent: now,
            last_traffic: None,
            keep_alive_wanted: false,
            last_report: now,
            report_interval,
            report_early: report_interval / 10,
            report_wanted: false,
            delays: Delays::default(),
            send_time: None,
            port_bytes: 0,
            ce: 0,
            ect: 0,
            silence: None,
            unanswered: Unanswered::default(),
            unacked: Unacked::default(),
            chooser: PlaneChooser::new(now, planes),
            session_ping: false,
            session_last_sent: now,
        }
    }

    /// Returns whether the client can send anything: it knows its path to the realtime port, or
    /// needs none.
    pub(super) fn is_usable(&self) -> bool {
        self.paths.current().is_some() || !self.chooser.has_port()
    }

    /// Takes the path on which an authentic datagram came, while the client looks for one that
    /// answers.
    pub(super) fn answered_on(&mut self, remote: SocketAddr) {
        if self.chooser.plane() == Plane::Session || !self.clock.is_set() {
            self.paths.choose(remote);
        }
    }

    /// Changes to the next path if a probe or a hello on this one has had no answer.
    pub(super) fn try_next_path(&mut self) {
        let is_probing = self.chooser.plane() == Plane::Session;
        if if is_probing { self.chooser.awaits_answer() } else { self.hello_attempts > 0 } {
            self.paths.rotate();
        }
    }

    /// Returns the route of the application's datagrams.
    pub(super) fn route(&self) -> Option<Route> {
        match self.chooser.plane() {
            Plane::Realtime => self.paths.current().map(Route::Realtime),
            Plane::Session => Some(Route::Session),
        }
    }

    /// Notes that an authentic datagram of `bytes` bytes arrived; `traffic` is whether it had
    /// messages.
    pub(super) fn received(&mut self, now: Time, plane: Plane, ecn: u8, bytes: u64, traffic: bool) {
        self.send_time = None;
        self.unanswered = Unanswered::default();
        if plane == Plane::Realtime {
            self.port_bytes = self.port_bytes.wrapping_add(bytes as u32);
            self.ce = self.ce.wrapping_add(u32::from(ecn & ECN_MASK == ECN_CE));
            self.ect = self.ect.wrapping_add(u32::from(ecn & ECN_MASK != 0));
        }
        if traffic {
            self.last_traffic = Some(now);
            self.report_wanted = true;
        }
        if plane == Plane::Session || self.chooser.plane() == Plane::Session {
            return;
        }
        let fallback = self.fallback_round_trip();
        if traffic {
            self.silence = Some(SilenceTimers::new(now, true, fallback));
        } else {
            // If the silence follows messages and no probe was sent, the silence begins anew.
            // Otherwise the datagram answers a probe or a request, and ends the silence.
            let fresh = self.silence.filter(SilenceTimers::is_fresh);
            self.silence = fresh.map(|_| SilenceTimers::new(now, true, fallback));
        }
    }

    /// Takes the server's answer to a keep-alive.
    pub(super) fn keep_alive_answered(&mut self, now: Time, plane: Plane, answer: KeepAlive) {
        if let Some(choice) = answer.choice {
            self.chooser.keep_alive_answered(now, plane, choice);
        }
    }

    /// Notes that the server has received the client's messages up to this packet number.
    pub(super) fn acknowledged(&mut self, largest: u32) {
        self.unacked.acknowledged(largest);
    }

    /// Requests a session ping, because the realtime port challenges the client's address or is
    /// silent. The ping shows the server's session the client's address. The client learns whether
    /// the server has lost the session.
    pub(super) fn request_session_ping(&mut self) {
        self.session_ping = self.chooser.has_session();
    }

    /// Falls back if the realtime port has been silent for too long.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.lost_at().is_some_and(|at| at <= now) {
            self.chooser.fall_back(now);
            self.silence = None;
            self.unacked.clear();
        }
    }

    /// Takes the server's send time of a datagram that arrived now, in µs modulo 2^32.
    pub(super) fn send_time(&mut self, now: Time, micros: u32) {
        self.send_time = Some(micros);
        if self.delays.add(now, micros) {
            // The next clock requests are due as soon as after the first reply.
            self.settle_samples_left = limits::SETTLE_SAMPLES;
        }
    }

    /// Takes a clock reply.
    pub(super) fn clock_reply(&mut self, now: Time, reply: &ClockReply) {
        if self.clock.handle_reply(now, reply) {
            self.settle_samples_left = limits::SETTLE_SAMPLES;
        }
    }

    /// Returns how long ago the server sent the newest datagram, by the estimate of its clock.
    /// `None` if the datagram has no send time, or the clock is not set.
    pub(super) fn datagram_age(&self, now: Time) -> Option<Duration> {
        let server_time = self.clock.server_time(now)?.as_micros() as u32;
        let micros = server_time.wrapping_sub(self.send_time?);
        // The estimate may be a little behind.
        Some(Duration::from_micros(if micros as i32 >= 0 { micros.into() } else { 0 }))
    }

    /// Takes the interval at which the server wants reports.
    pub(super) fn steer_reports(&mut self, interval: ReportInterval) {
        self.report_interval = interval.duration();
        self.report_early = self.report_interval / 10;
    }

    /// Requests a datagram at once, because the client's network has changed and the server must
    /// learn the new path.
    pub(super) fn network_changed(&mut self) {
        self.keep_alive_wanted = true;
        self.clock.forget_round_trip();
        self.delays = Delays::default();
        // Missing answers on the old network say nothing about the new one.
        self.silence = None;
        self.unacked.clear();
        self.request_session_ping();
    }

    /// Notes that a datagram left; `traffic` is whether it had messages. `number` is its packet
    /// number on the realtime port, or `None` inside the session.
    pub(super) fn sent(&mut self, now: Time, traffic: bool, number: Option<u32>) {
        // A probe of the other plane does not keep the chosen plane alive.
        if number.is_some() == (self.chooser.plane() == Plane::Realtime) {
            self.last_sent = now;
        }
        if number.is_none() {
            self.session_last_sent = now;
        }
        if traffic {
            self.last_traffic = Some(now);
            if let Some(number) = number.filter(|_| self.chooser.has_session()) {
                self.unacked.sent(now, number);
            }
        }
    }

    /// Returns whether a probe of the realtime port is due while the session carries the messages.
    pub(super) fn wants_probe(&self, now: Time) -> bool {
        self.chooser.probe_at().is_some_and(|at| at <= now)
    }

    /// Returns whether a session ping is due, whichever plane carries the messages.
    pub(super) fn wants_session_ping(&self, now: Time) -> bool {
        self.session_ping_at().is_some_and(|at| at <= now)
    }

    /// Appends a probe of the realtime port. Until the clock has a sample, the probe also asks for
    /// the time.
    pub(super) fn write_probe(&mut self, now: Time, out: &mut Vec<u8>) {
        self.write_keep_alive(now, Plane::Realtime, out);
        if !self.clock.is_set() {
            ClockRequest { client_sent: now.as_micros() }.encode(out);
        }
    }

    /// Appends the body of a session ping: a keep-alive if an answer is wanted, else nothing, since
    /// QUIC's acknowledgement of the datagram suffices.
    pub(super) fn write_session_ping(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.session_ping) {
            KeepAlive { choice: self.chooser.announced_choice() }.encode(out);
        }
    }

    /// Returns the control frames that are due on the chosen plane.
    pub(super) fn due(&self, now: Time) -> DueFrames {
        let idle = self.keep_alive_at() <= now;
        let hello = self.hello_due_at().is_some_and(|at| at <= now);
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let probe = is_due(self.probe_at())
            || is_due(self.chooser.announce_at())
            || is_due(self.unacked_probe_at());
        DueFrames {
            keep_alive: idle || hello || self.keep_alive_wanted || probe,
            clock: idle || hello || is_due(self.clock_at()),
            report: idle || is_due(self.report_at()),
        }
    }

    /// Returns the control frames that travel with a datagram of the application.
    pub(super) fn due_with_data(&self, now: Time) -> DueFrames {
        let soon_enough = |at: Option<Time>, early| at.is_some_and(|at| at <= now + early);
        let soon = |at| soon_enough(at, EARLY_TIME);
        let due = self.due(now);
        DueFrames {
            clock: due.clock || self.settle_samples_left == 0 && soon(self.clock_at()),
            report: due.report
                || !self.delays.has_risen() && soon_enough(self.report_at(), self.report_early),
            ..due
        }
    }

    /// Returns when the next control frame or the fallback is due.
    pub(super) fn deadline(&self) -> Time {
        let own = [self.hello_due_at(), self.probe_at(), self.clock_at(), self.report_at()];
        let (announce, probe) = (self.chooser.announce_at(), self.chooser.probe_at());
        let unacked = self.unacked_probe_at();
        let planes = [announce, probe, unacked, self.session_ping_at(), self.lost_at()];
        own.into_iter().chain(planes).flatten().fold(self.keep_alive_at(), Time::min)
    }

    /// Appends the frames that are due, and updates their timers as if they were sent.
    pub(super) fn write(&mut self, now: Time, due: DueFrames, recv: &RecvKeys, out: &mut Vec<u8>) {
        if due.keep_alive {
            self.write_keep_alive(now, self.chooser.plane(), out);
        }
        if due.clock {
            ClockRequest { client_sent: now.as_micros() }.encode(out);
            self.clock_requested = now;
            self.settle_samples_left =
                self.settle_samples_left.saturating_sub(u32::from(self.clock.is_set()));
        }
        if due.report {
            self.write_report(now, recv, out);
        }
        if due.keep_alive || due.clock {
            self.unanswered.requested(now);
            self.await_answer(now);
        }
    }

    fn write_keep_alive(&mut self, now: Time, plane: Plane, out: &mut Vec<u8>) {
        KeepAlive { choice: self.chooser.announced_choice() }.encode(out);
        let traffic = self.last_traffic.is_some_and(|at| now.since(at) < TRAFFIC_TIME);
        self.chooser.keep_alive_sent(now, plane, traffic);
        if plane != self.chooser.plane() {
            return;
        }
        self.keep_alive_wanted = false;
        if self.unacked_probe_at().is_some_and(|at| at <= now) {
            self.unacked.probe_sent(now);
        }
        if let Some(silence) = self.silence.as_mut().filter(|w| w.probe_at() <= now) {
            silence.probe_sent(now, self.chooser.has_session());
            // A restarted server is silent on the realtime port; only QUIC tells the client of it.
            self.request_session_ping();
        }
    }

    fn write_report(&mut self, now: Time, recv: &RecvKeys, out: &mut Vec<u8>) {
        let report = ClientReport {
            largest: recv.largest(),
            received: recv.received(),
            bytes: self.port_bytes,
            ce: self.ce,
            ect: self.ect,
            delay: self.delays.take(now),
        };
        report.encode(out);
        self.last_report = now;
        self.report_wanted = false;
    }

    /// Starts the timers that watch for an answer to a keep-alive or a clock request.
    fn await_answer(&mut self, now: Time) {
        if self.clock.is_set() {
            // QUIC itself detects whether the session's path is lost.
            if self.chooser.plane() == Plane::Realtime {
                let silence = SilenceTimers::new(now, false, self.fallback_round_trip());
                self.silence.get_or_insert(silence);
            }
            return;
        }
        self.hello_attempts += 1;
        let rare = self.hello_attempts.saturating_sub(HELLO_ATTEMPTS * self.paths.count());
        let wait =
            if rare == 0 { HELLO_INTERVAL } else { backoff(Duration::from_secs(1), rare - 1) };
        self.hello_at = now + wait;
    }

    /// Returns when the next keep-alive is due. With a fallback the two planes take turns; a single
    /// plane sends keep-alives twice as often.
    fn keep_alive_at(&self) -> Time {
        let single_plane = !self.chooser.has_session();
        self.last_sent + if single_plane { limits::KEEP_ALIVE / 2 } else { limits::KEEP_ALIVE }
    }

    /// Returns whether a hello is due.
    pub(super) fn wants_hello(&self, now: Time) -> bool {
        self.hello_due_at().is_some_and(|at| at <= now)
    }

    fn hello_due_at(&self) -> Option<Time> {
        (!self.clock.is_set()).then_some(self.hello_at)
    }

    fn probe_at(&self) -> Option<Time> {
        self.silence.as_ref().map(SilenceTimers::probe_at)
    }

    /// Returns when the next session ping is due. While both planes are idle, the session's pings
    /// fall halfway between the port's keep-alives, so that the server receives something twice as
    /// often as on one plane.
    fn session_ping_at(&self) -> Option<Time> {
        if self.session_ping {
            return Some(self.session_last_sent + SESSION_PING);
        }
        let between = self.last_sent + limits::KEEP_ALIVE / 2;
        let regular = self.session_last_sent + limits::KEEP_ALIVE;
        let at = if self.session_last_sent < between { regular.min(between) } else { regular };
        self.chooser.has_session().then_some(at)
    }

    fn unacked_probe_at(&self) -> Option<Time> {
        let carried = self.chooser.plane() == Plane::Realtime;
        self.unacked.probe_at(self.round_trip()).filter(|_| carried)
    }

    /// Returns the round trip to expect on the realtime port, at most [`ROUND_TRIP_MAX`].
    fn round_trip(&self) -> Duration {
        self.clock.round_trip().unwrap_or(ROUND_TRIP_MAX).min(ROUND_TRIP_MAX)
    }

    /// Returns [`round_trip`](Self::round_trip) if there is a fallback.
    fn fallback_round_trip(&self) -> Option<Duration> {
        self.chooser.has_session().then(|| self.round_trip())
    }

    /// Returns when the realtime port counts as lost, unless something is received before.
    fn lost_at(&self) -> Option<Time> {
        if !self.chooser.has_session() || self.chooser.plane() == Plane::Session {
            return None;
        }
        let round_trip = self.round_trip();
        let silent = self.silence.as_ref().map(|silence| silence.lost_at(round_trip));
        let unacked = self.unacked.lost_at(round_trip);
        silent.into_iter().chain(unacked).min()
    }

    fn report_at(&self) -> Option<Time> {
        if !self.report_wanted {
            return None;
        }
        let risen = self.delays.has_risen();
        Some(
            self.last_report
                + if risen { limits::EARLY_REPORT_AFTER } else { self.report_interval },
        )
    }

    fn clock_at(&self) -> Option<Time> {
        if !self.clock.is_set() {
            return None;
        }
        if self.settle_samples_left > 0 {
            return Some(self.clock_requested + SETTLE_INTERVAL);
        }
        // The realtime port has probes of its own.
        let again = self.unanswered.again_at().filter(|_| self.chooser.plane() == Plane::Session);
        let at = self.clock_requested + limits::CLOCK_INTERVAL;
        again.or(self.last_traffic.filter(|traffic| *traffic + TRAFFIC_TIME >= at).map(|_| at))
    }
}

/// The two ECN bits in the traffic class of an IP header (RFC 3168).
const ECN_MASK: u8 = 3;
/// The ECN mark "congestion experienced".
const ECN_CE: u8 = 3;
