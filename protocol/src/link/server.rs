//! The server's side of a link: it answers, and it reports what it withheld.

use super::path::{Path, Paths};
use super::phase::RecvKeys;
use crate::limits;
use crate::realtime::control::{ClientReport, ClockReply, ServerReport};
use crate::realtime::frame;
use crate::time::Time;

/// Bytes of a clock reply's frame.
pub(super) const CLOCK_FRAME: usize = 30;
/// Bytes of a datagram that answers both a clock request and a keep-alive.
const ANSWER_DATAGRAM: usize = limits::HEADER + CLOCK_FRAME + 2 + limits::TAG;

/// A clock request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct ClockAsked {
    client_sent: u64,
    received: Time,
}

/// Paths, debts and counts of a server.
pub(super) struct Server {
    pub(super) paths: Paths,
    pub(super) clock_epoch: u32,
    pub(super) client_report: Option<ClientReport>,
    /// `largest` and `received` are filled in when it is written.
    pub(super) report: ServerReport,
    keep_alive_asked: bool,
    clock_asked: Option<ClockAsked>,
    reported: Time,
    report_wanted: bool,
}

impl Server {
    pub(super) fn new(now: Time, clock_epoch: u32, paths: Paths) -> Self {
        Self {
            paths,
            clock_epoch,
            client_report: None,
            report: ServerReport::default(),
            keep_alive_asked: false,
            clock_asked: None,
            reported: now,
            report_wanted: false,
        }
    }

    /// The client wants to hear something.
    pub(super) fn keep_alive(&mut self) {
        self.keep_alive_asked = true;
    }

    /// The client asked for the time in a datagram that arrived at `received`.
    pub(super) fn clock_request(&mut self, received: Time, client_sent: u64) {
        self.clock_asked = Some(ClockAsked { client_sent, received });
    }

    /// Application data left on the active path.
    pub(super) fn sent_data(&mut self) {
        self.report_wanted = true;
    }

    /// Appends the answers that are owed and the report that is due, as far as they fit `room`
    /// bytes; whether there were any.
    pub(super) fn write(
        &mut self,
        now: Time,
        room: usize,
        recv: &RecvKeys,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        self.write_clock(now, room, out);
        let left = room.saturating_sub(out.len() - start);
        if self.keep_alive_asked || self.report_at().is_some_and(|at| at <= now) {
            self.write_report(now, left, recv, out);
        }
        out.len() > start
    }

    /// Appends the clock's answer when it is owed and fits `room` bytes.
    pub(super) fn write_clock(&mut self, now: Time, room: usize, out: &mut Vec<u8>) {
        let Some(asked) = self.clock_asked.take_if(|_| room >= CLOCK_FRAME) else { return };
        let reply = ClockReply {
            client_sent: asked.client_sent,
            server_received: asked.received.as_micros(),
            server_sent: now.as_micros(),
            epoch: self.clock_epoch,
        };
        reply.encode(out);
    }

    /// A report, or where it does not fit (an unproven path) the least that answers a probe.
    fn write_report(&mut self, now: Time, room: usize, recv: &RecvKeys, out: &mut Vec<u8>) {
        if room >= ServerReport::FRAME {
            let (largest, received) = (recv.largest(), recv.received());
            ServerReport { largest, received, ..self.report }.encode(out);
            self.reported = now;
            self.report_wanted = false;
            self.keep_alive_asked = false;
        } else if self.keep_alive_asked && room >= 2 {
            frame::put(out, frame::KEEP_ALIVE, &[]);
            self.keep_alive_asked = false;
        }
    }

    /// When a report is due. An unproven path has no bytes for them.
    fn report_at(&self) -> Option<Time> {
        let proven = self.active().is_some_and(|(_, budget)| budget == usize::MAX);
        (self.report_wanted && proven).then_some(self.reported + limits::REPORT_INTERVAL)
    }

    fn active(&self) -> Option<(Path, usize)> {
        self.paths.active()
    }

    /// Answers that are owed, at once, and reports; the paths' own deadlines are theirs.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let asked = self.keep_alive_asked || self.clock_asked.is_some();
        let affordable = self.active().is_some_and(|(_, budget)| budget >= ANSWER_DATAGRAM);
        if asked && affordable { Some(Time::ZERO) } else { self.report_at() }
    }
}
