//! The client's side of a link: it always speaks first, keeps the path alive and asks for the time.

use std::time::Duration;

use super::Path;
use super::clock::ClockSync;
use super::liveness::{SilenceWatch, Unacked, backoff};
use super::phase::RecvKeys;
use super::route::{PlaneChooser, Route};
use crate::limits;
use crate::realtime::control::{ClientReport, ClockRequest, KeepAlive, Plane, ServerReport};
use crate::time::Time;

/// A new link asks this often ...
const HELLO_INTERVAL: Duration = Duration::from_millis(200);
/// ... so many times (two seconds), then as rarely as any probe.
const HELLO_ATTEMPTS: u32 = 10;
/// After the first clock sample so many more ...
const SETTLE_SAMPLES: u32 = 4;
/// ... this far apart, so that one queue on the path does not spoil them all.
const SETTLE_INTERVAL: Duration = Duration::from_millis(100);
/// There is application traffic when something of it moved within this time.
const TRAFFIC_TIME: Duration = Duration::from_secs(1);
/// A report or a regular clock request travels along with data when it is due this soon, so that it
/// seldom needs a datagram of its own.
const EARLY_TIME: Duration = Duration::from_millis(100);
/// A round trip of the realtime port that is not known yet, or longer, is taken for this.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(400);
/// Least time between two datagrams whose only purpose is to show the session where the client is.
const SESSION_PING: Duration = Duration::from_secs(1);

/// Frames that a client owes or wants.
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

/// Delay of received datagrams against their send times since the last report.
#[derive(Clone, Copy, Debug, Default)]
struct Delays {
    min: i32,
    sum: i64,
    count: i64,
}

impl Delays {
    fn add(&mut self, micros: i32) {
        self.min = if self.count == 0 { micros } else { self.min.min(micros) };
        self.sum += i64::from(micros);
        self.count += 1;
    }

    fn mean(&self) -> i32 {
        (self.sum / self.count.max(1)) as i32
    }
}

/// Timers and measurements of a client.
pub(super) struct ClientSide {
    pub(super) path: Option<Path>,
    pub(super) clock: ClockSync,
    pub(super) server_report: Option<ServerReport>,
    hello_at: Time,
    hello_attempts: u32,
    settle_samples_left: u32,
    clock_requested: Time,
    last_sent: Time,
    last_traffic: Option<Time>,
    keep_alive_wanted: bool,
    last_report: Time,
    report_wanted: bool,
    delays: Delays,
    congestion_marks: u32,
    silence: Option<SilenceWatch>,
    unacked: Unacked,
    pub(super) chooser: PlaneChooser,
    /// The address may have changed: the session shall see the new one too.
    session_ping: bool,
    /// When a datagram of ours went inside the session last.
    pub(super) session_last_sent: Time,
}

impl ClientSide {
    pub(super) fn new(now: Time, path: Option<Path>, fallback: bool) -> Self {
        Self {
            path,
            clock: ClockSync::default(),
            server_report: None,
            hello_at: now,
            hello_attempts: 0,
            settle_samples_left: SETTLE_SAMPLES,
            clock_requested: now,
            last_sent: now,
            last_traffic: None,
            keep_alive_wanted: false,
            last_report: now,
            report_wanted: false,
            delays: Delays::default(),
            congestion_marks: 0,
            silence: None,
            unacked: Unacked::default(),
            chooser: PlaneChooser::new(now, fallback),
            session_ping: false,
            session_last_sent: now,
        }
    }

    /// Where the application's datagrams go.
    pub(super) fn route(&self) -> Option<Route> {
        match self.chooser.plane() {
            Plane::Realtime => self.path.map(Route::Realtime),
            Plane::Session => Some(Route::Session),
        }
    }

    /// Something authentic came; `traffic`: it had messages for the application.
    pub(super) fn received(&mut self, now: Time, plane: Plane, ecn: u8, traffic: bool) {
        if ecn & ECN_MASK == ECN_CE {
            self.congestion_marks = self.congestion_marks.wrapping_add(1);
        }
        if traffic {
            self.last_traffic = Some(now);
            self.report_wanted = true;
        }
        if plane == Plane::Session || self.chooser.plane() == Plane::Session {
            return;
        }
        let fallback = self.fallback();
        if traffic {
            self.silence = Some(SilenceWatch::new(now, true, fallback));
        } else {
            // An answer ends the silence; anything else only says that the path lives until now.
            let fresh = self.silence.filter(SilenceWatch::is_fresh);
            self.silence = fresh.map(|_| SilenceWatch::new(now, true, fallback));
        }
    }

    /// The server keep_alive_answered a keep-alive.
    pub(super) fn keep_alive_answered(&mut self, now: Time, plane: Plane, answer: KeepAlive) {
        if let Some(choice) = answer.choice {
            self.chooser.keep_alive_answered(now, plane, choice);
        }
    }

    /// The server has our messages up to this packet number.
    pub(super) fn acknowledged(&mut self, largest: u32) {
        self.unacked.acknowledged(largest);
    }

    /// The realtime port has doubts: it asks whether we are still where our datagrams came from, or
    /// is silent. The session shall see us, too, and announce us if it has forgotten us.
    pub(super) fn request_session_ping(&mut self) {
        self.session_ping = self.chooser.available();
    }

    /// Falls back when the realtime port has been silent for too long.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.lost_at().is_some_and(|at| at <= now) {
            self.chooser.fall_back(now);
            self.silence = None;
            self.unacked.clear();
        }
    }

    /// A datagram with the server's send time came, µs modulo 2^32.
    pub(super) fn send_time(&mut self, now: Time, micros: u32) {
        if let Some(arrival) = self.clock.server_time(now) {
            self.delays.add((arrival.as_micros() as u32).wrapping_sub(micros) as i32);
        }
    }

    /// The network has changed: network_changed at once, so that the server learns the new path.
    pub(super) fn network_changed(&mut self) {
        self.keep_alive_wanted = true;
        // What was not keep_alive_answered on the old network says nothing of the new one.
        self.silence = None;
        self.unacked.clear();
        self.request_session_ping();
    }

    /// A datagram left, on the realtime port with this packet number; `traffic`: it had messages.
    pub(super) fn sent(&mut self, now: Time, traffic: bool, number: Option<u32>) {
        // A probe of the other plane keeps nothing alive on this one.
        if number.is_some() == (self.chooser.plane() == Plane::Realtime) {
            self.last_sent = now;
        }
        if number.is_none() {
            self.session_last_sent = now;
        }
        if traffic {
            self.last_traffic = Some(now);
            if let Some(number) = number.filter(|_| self.chooser.available()) {
                self.unacked.sent(now, number);
            }
        }
    }

    /// The realtime port is asked although the session carries the messages.
    pub(super) fn wants_probe(&self, now: Time) -> bool {
        self.chooser.probe_at().is_some_and(|at| at <= now)
    }

    /// The session is to be shown where we are, whatever carries the messages.
    pub(super) fn wants_session_ping(&self, now: Time) -> bool {
        self.session_ping_at().is_some_and(|at| at <= now)
    }

    /// Appends a probe of the realtime port; a new link asks for the time with it.
    pub(super) fn write_probe(&mut self, now: Time, out: &mut Vec<u8>) {
        self.write_keep_alive(now, Plane::Realtime, out);
        if !self.clock.is_set() {
            ClockRequest { client_sent: now.as_micros() }.encode(out);
        }
    }

    /// Appends the least that shows the session where we are: a question where there are doubts, else
    /// nothing at all, for QUIC's own acknowledgement is answer enough.
    pub(super) fn write_session_ping(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.session_ping) {
            KeepAlive { choice: self.chooser.announced_choice() }.encode(out);
        }
    }

    pub(super) fn due(&self, now: Time) -> DueFrames {
        let idle = self.keep_alive_at() <= now;
        let hello = self.hello_due_at().is_some_and(|at| at <= now);
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let asks = is_due(self.probe_at())
            || is_due(self.chooser.announce_at())
            || is_due(self.unacked_probe_at());
        DueFrames {
            keep_alive: idle || hello || self.keep_alive_wanted || asks,
            clock: idle || hello || is_due(self.clock_at()),
            report: idle || is_due(self.report_at()),
        }
    }

    /// What a datagram of the application's takes along.
    pub(super) fn due_with_data(&self, now: Time) -> DueFrames {
        let soon = |at: Option<Time>| at.is_some_and(|at| at <= now + EARLY_TIME);
        let due = self.due(now);
        DueFrames {
            clock: due.clock || self.settle_samples_left == 0 && soon(self.clock_at()),
            report: due.report || soon(self.report_at()),
            ..due
        }
    }

    pub(super) fn deadline(&self) -> Time {
        let own = [self.hello_due_at(), self.probe_at(), self.clock_at(), self.report_at()];
        let (announce, probe) = (self.chooser.announce_at(), self.chooser.probe_at());
        let unacked = self.unacked_probe_at();
        let planes = [announce, probe, unacked, self.session_ping_at(), self.lost_at()];
        own.into_iter().chain(planes).flatten().fold(self.keep_alive_at(), Time::min)
    }

    /// Appends the frames that are due, and takes them as sent.
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
            silence.probe_sent(now, self.chooser.available());
            // A server that has restarted says so on the session's port alone.
            self.request_session_ping();
        }
    }

    fn write_report(&mut self, now: Time, recv: &RecvKeys, out: &mut Vec<u8>) {
        let report = ClientReport {
            largest: recv.largest(),
            received: recv.received(),
            delay_min: self.delays.min,
            delay_mean: self.delays.mean(),
            congestion_marks: self.congestion_marks,
        };
        report.encode(out);
        self.delays = Delays::default();
        self.last_report = now;
        self.report_wanted = false;
    }

    /// The server answers keep-alives and clock requests: from now on silence means something.
    fn await_answer(&mut self, now: Time) {
        if self.clock.is_set() {
            // QUIC watches its own path.
            if self.chooser.plane() == Plane::Realtime {
                let silence = SilenceWatch::new(now, false, self.fallback());
                self.silence.get_or_insert(silence);
            }
            return;
        }
        self.hello_attempts += 1;
        let rare = self.hello_attempts.saturating_sub(HELLO_ATTEMPTS);
        let wait =
            if rare == 0 { HELLO_INTERVAL } else { backoff(Duration::from_secs(1), rare - 1) };
        self.hello_at = now + wait;
    }

    /// Without a session that takes its turn the port must be received twice as often.
    fn keep_alive_at(&self) -> Time {
        let alone = !self.chooser.available();
        self.last_sent + if alone { limits::KEEP_ALIVE / 2 } else { limits::KEEP_ALIVE }
    }

    fn hello_due_at(&self) -> Option<Time> {
        (!self.clock.is_set()).then_some(self.hello_at)
    }

    fn probe_at(&self) -> Option<Time> {
        self.silence.as_ref().map(SilenceWatch::probe_at)
    }

    /// The session is kept alive like the port, and half a period apart from it while both are idle:
    /// so the server hears of a silent peer twice as often as each plane costs it something.
    fn session_ping_at(&self) -> Option<Time> {
        if self.session_ping {
            return Some(self.session_last_sent + SESSION_PING);
        }
        let between = self.last_sent + limits::KEEP_ALIVE / 2;
        let regular = self.session_last_sent + limits::KEEP_ALIVE;
        let at = if self.session_last_sent < between { regular.min(between) } else { regular };
        self.chooser.available().then_some(at)
    }

    fn unacked_probe_at(&self) -> Option<Time> {
        let carried = self.chooser.plane() == Plane::Realtime;
        self.unacked.probe_at(self.round_trip()).filter(|_| carried)
    }

    /// The longest that a round trip of the realtime port is waited for.
    fn round_trip(&self) -> Duration {
        self.clock.round_trip().unwrap_or(ROUND_TRIP_MAX).min(ROUND_TRIP_MAX)
    }

    /// The same where there is a fallback.
    fn fallback(&self) -> Option<Duration> {
        self.chooser.available().then(|| self.round_trip())
    }

    /// When the realtime port counts as lost, unless something is received before.
    fn lost_at(&self) -> Option<Time> {
        if !self.chooser.available() || self.chooser.plane() == Plane::Session {
            return None;
        }
        let round_trip = self.round_trip();
        let silent = self.silence.as_ref().map(|silence| silence.lost_at(round_trip));
        let unheard = self.unacked.lost_at(round_trip);
        silent.into_iter().chain(unheard).min()
    }

    fn report_at(&self) -> Option<Time> {
        self.report_wanted.then_some(self.last_report + limits::REPORT_INTERVAL)
    }

    fn clock_at(&self) -> Option<Time> {
        if !self.clock.is_set() {
            return None;
        }
        if self.settle_samples_left > 0 {
            return Some(self.clock_requested + SETTLE_INTERVAL);
        }
        let at = self.clock_requested + limits::CLOCK_INTERVAL;
        self.last_traffic.filter(|traffic| *traffic + TRAFFIC_TIME >= at).map(|_| at)
    }
}

/// The two ECN bits of an IP header's traffic class (RFC 3168).
const ECN_MASK: u8 = 3;
/// "Congestion experienced".
const ECN_CE: u8 = 3;
