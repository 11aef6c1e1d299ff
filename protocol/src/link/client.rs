//! The client's side of a link: it always speaks first, keeps the path alive and asks for the time.

use std::time::Duration;

use super::Path;
use super::clock::ClockSync;
use super::phase::RecvKeys;
use crate::limits;
use crate::realtime::control::{ClientReport, ClockRequest, ServerReport};
use crate::realtime::frame;
use crate::time::Time;

/// A new link asks this often ...
const HELLO_INTERVAL: Duration = Duration::from_millis(200);
/// ... so many times (two seconds), then as rarely as any probe.
const HELLO_TRIES: u32 = 10;
/// After the first clock sample so many more ...
const SETTLE_SAMPLES: u32 = 4;
/// ... this far apart, so that one queue on the path does not spoil them all.
const SETTLE_INTERVAL: Duration = Duration::from_millis(100);
/// There is application traffic when something of it moved within this time.
const TRAFFIC: Duration = Duration::from_secs(1);
/// A report or a regular clock request travels along with data when it is due this soon, so that it
/// seldom needs a datagram of its own.
const EARLY: Duration = Duration::from_millis(100);
/// Longest time between two probes.
const PROBE_MAX: Duration = limits::KEEP_ALIVE;

/// Frames that a client owes or wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    keep_alive: bool,
    clock: bool,
    report: bool,
}

impl Due {
    pub(super) fn any(self) -> bool {
        self != Due::default()
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

/// Silence that is being watched, because something was to come.
#[derive(Clone, Copy, Debug)]
struct Watch {
    /// The silence, or the last probe, began here.
    since: Time,
    /// Application traffic was flowing; otherwise an answer is awaited.
    traffic: bool,
    probes: u32,
}

impl Watch {
    fn new(since: Time, traffic: bool) -> Self {
        Self { since, traffic, probes: 0 }
    }

    fn probe_at(&self) -> Time {
        self.since + backoff(limits::PROBE_AFTER, self.probes)
    }
}

/// `first` doubled `times` times, at most [`PROBE_MAX`].
fn backoff(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(PROBE_MAX)
}

/// Timers and measurements of a client.
pub(super) struct Client {
    pub(super) path: Option<Path>,
    pub(super) clock: ClockSync,
    pub(super) server_report: Option<ServerReport>,
    hello_at: Time,
    hello_tries: u32,
    settling: u32,
    clock_asked: Time,
    last_sent: Time,
    last_traffic: Option<Time>,
    keep_alive_wanted: bool,
    reported: Time,
    report_wanted: bool,
    delays: Delays,
    congestion_marks: u32,
    watch: Option<Watch>,
}

impl Client {
    pub(super) fn new(now: Time, path: Option<Path>) -> Self {
        Self {
            path,
            clock: ClockSync::default(),
            server_report: None,
            hello_at: now,
            hello_tries: 0,
            settling: SETTLE_SAMPLES,
            clock_asked: now,
            last_sent: now,
            last_traffic: None,
            keep_alive_wanted: false,
            reported: now,
            report_wanted: false,
            delays: Delays::default(),
            congestion_marks: 0,
            watch: None,
        }
    }

    /// Something authentic came; `traffic`: it had messages for the application.
    pub(super) fn heard(&mut self, now: Time, ecn: u8, traffic: bool) {
        if ecn & ECN_MASK == ECN_CE {
            self.congestion_marks = self.congestion_marks.wrapping_add(1);
        }
        if traffic {
            self.last_traffic = Some(now);
            self.report_wanted = true;
            self.watch = Some(Watch::new(now, true));
        } else {
            // An answer ends the watch; anything else only says that the path lives until now.
            self.watch = self.watch.filter(|w| w.traffic && w.probes == 0);
            self.watch = self.watch.map(|_| Watch::new(now, true));
        }
    }

    /// A datagram with the server's send time came, µs modulo 2^32.
    pub(super) fn send_time(&mut self, now: Time, micros: u32) {
        if let Some(arrival) = self.clock.server_time(now) {
            self.delays.add((arrival.as_micros() as u32).wrapping_sub(micros) as i32);
        }
    }

    /// The network has changed: speak at once, so that the server learns the new path.
    pub(super) fn speak(&mut self) {
        self.keep_alive_wanted = true;
        // What was not answered on the old network says nothing of the new one.
        self.watch = None;
    }

    /// A datagram left; `traffic`: it was the application's.
    pub(super) fn sent(&mut self, now: Time, traffic: bool) {
        self.last_sent = now;
        if traffic {
            self.last_traffic = Some(now);
        }
    }

    pub(super) fn due(&self, now: Time) -> Due {
        let idle = self.keep_alive_at() <= now;
        let hello = self.hello_due_at().is_some_and(|at| at <= now);
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        Due {
            keep_alive: idle || hello || self.keep_alive_wanted || is_due(self.probe_at()),
            clock: idle || hello || is_due(self.clock_at()),
            report: idle || is_due(self.report_at()),
        }
    }

    /// What a datagram of the application's takes along.
    pub(super) fn due_with_data(&self, now: Time) -> Due {
        let soon = |at: Option<Time>| at.is_some_and(|at| at <= now + EARLY);
        let due = self.due(now);
        Due {
            clock: due.clock || self.settling == 0 && soon(self.clock_at()),
            report: due.report || soon(self.report_at()),
            ..due
        }
    }

    pub(super) fn poll_timeout(&self) -> Time {
        let others = [self.hello_due_at(), self.probe_at(), self.clock_at(), self.report_at()];
        others.into_iter().flatten().fold(self.keep_alive_at(), Time::min)
    }

    /// Appends the frames that are due, and takes them as sent.
    pub(super) fn write(&mut self, now: Time, due: Due, recv: &RecvKeys, out: &mut Vec<u8>) {
        if due.keep_alive {
            self.write_keep_alive(now, out);
        }
        if due.clock {
            ClockRequest { client_sent: now.as_micros() }.encode(out);
            self.clock_asked = now;
            self.settling = self.settling.saturating_sub(u32::from(self.clock.is_set()));
        }
        if due.report {
            self.write_report(now, recv, out);
        }
        if due.keep_alive || due.clock {
            self.await_answer(now);
        }
    }

    fn write_keep_alive(&mut self, now: Time, out: &mut Vec<u8>) {
        frame::put(out, frame::KEEP_ALIVE, &[]);
        self.keep_alive_wanted = false;
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.probe_at() <= now) {
            watch.since = now;
            watch.probes += 1;
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
        self.reported = now;
        self.report_wanted = false;
    }

    /// The server answers keep-alives and clock requests: from now on silence means something.
    fn await_answer(&mut self, now: Time) {
        if self.clock.is_set() {
            self.watch.get_or_insert(Watch::new(now, false));
            return;
        }
        self.hello_tries += 1;
        let rare = self.hello_tries.saturating_sub(HELLO_TRIES);
        let wait =
            if rare == 0 { HELLO_INTERVAL } else { backoff(Duration::from_secs(1), rare - 1) };
        self.hello_at = now + wait;
    }

    fn keep_alive_at(&self) -> Time {
        self.last_sent + limits::KEEP_ALIVE
    }

    fn hello_due_at(&self) -> Option<Time> {
        (!self.clock.is_set()).then_some(self.hello_at)
    }

    fn probe_at(&self) -> Option<Time> {
        self.watch.as_ref().map(Watch::probe_at)
    }

    fn report_at(&self) -> Option<Time> {
        self.report_wanted.then_some(self.reported + limits::REPORT_INTERVAL)
    }

    fn clock_at(&self) -> Option<Time> {
        if !self.clock.is_set() {
            return None;
        }
        if self.settling > 0 {
            return Some(self.clock_asked + SETTLE_INTERVAL);
        }
        let at = self.clock_asked + limits::CLOCK_INTERVAL;
        self.last_traffic.filter(|traffic| *traffic + TRAFFIC >= at).map(|_| at)
    }
}

/// The two ECN bits of an IP header's traffic class (RFC 3168).
const ECN_MASK: u8 = 3;
/// "Congestion experienced".
const ECN_CE: u8 = 3;
