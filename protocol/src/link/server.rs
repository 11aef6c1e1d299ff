//! The server's side of a link. The server answers a request on the plane on which it arrived,
//! follows the client's choice of plane, and reports undelivered messages.

use super::path::Paths;
use super::phase::RecvKeys;
use super::route::Route;
use crate::limits;
use crate::realtime::control::{Ack, ClockReply, KeepAlive, Plane, PlaneChoice, SEND_TIME_BYTES};
use crate::realtime::report::{ClientReport, ReportInterval, ServerReport};
use crate::time::Time;

/// Length of a clock reply's frame in bytes.
pub(super) const CLOCK_REPLY_BYTES: usize = 30;
/// Most bytes of control frames in front of the application's: the send time and one other frame.
pub(super) const FRONT_BYTES: usize = SEND_TIME_BYTES + CLOCK_REPLY_BYTES;
const _: () = assert!(Ack::FRAME_BYTES <= CLOCK_REPLY_BYTES);
/// Length in bytes of a datagram that answers both a clock request and a keep-alive.
const ANSWER_DATAGRAM: usize =
    limits::HEADER + CLOCK_REPLY_BYTES + KeepAlive::FRAME_BYTES + Ack::FRAME_BYTES + limits::TAG;
/// The budget of a proven path, and of the session plane, whose address QUIC has validated.
const UNLIMITED: usize = usize::MAX;

/// A clock request that the server has not answered yet.
#[derive(Clone, Copy, Debug)]
struct PendingClockRequest {
    client_sent: u64,
    received: Time,
}

/// Requests on one plane that the server has not answered yet.
#[derive(Clone, Copy, Debug, Default)]
struct PendingAnswers {
    keep_alive: Option<KeepAlive>,
    clock: Option<PendingClockRequest>,
}

impl PendingAnswers {
    fn any(&self) -> bool {
        self.keep_alive.is_some() || self.clock.is_some()
    }
}

/// The paths, pending answers and reports of a server.
pub(super) struct ServerSide {
    pub(super) paths: Paths,
    pub(super) clock_epoch: u32,
    pub(super) client_report: Option<ClientReport>,
    /// Reports that cannot be true, since they were last taken.
    pub(super) false_reports: u64,
    /// The next report. Its `largest` and `received` are filled in when the report is written.
    pub(super) report: ServerReport,
    /// The client's newest choice; `None` if the client has no choice, or has sent nothing yet.
    choice: Option<PlaneChoice>,
    /// The unanswered requests of each plane, indexed by [`Plane`].
    pending: [PendingAnswers; 2],
    /// When the first unacknowledged datagram with messages arrived on the realtime port.
    unacked: Option<Time>,
    /// Whether the next datagram on the realtime port acknowledges, even before it is due.
    acknowledge: bool,
    last_report: Time,
    report_wanted: bool,
    /// Most bytes of frames in a datagram.
    max_body: usize,
    /// The interval of the client's reports that the server asks for; `None`: the one that the
    /// client was told at the join. Every report of the server repeats it, because a frame may be
    /// lost.
    steered: Option<ReportInterval>,
}

impl ServerSide {
    pub(super) fn new(now: Time, clock_epoch: u32, paths: Paths, max_body: usize) -> Self {
        Self {
            paths,
            clock_epoch,
            client_report: None,
            false_reports: 0,
            report: ServerReport::default(),
            choice: None,
            pending: [PendingAnswers::default(); 2],
            unacked: None,
            acknowledge: false,
            last_report: now,
            report_wanted: false,
            max_body,
            steered: None,
        }
    }

    /// Asks the client for reports at this interval from now on.
    pub(super) fn steer_reports(&mut self, interval: ReportInterval) {
        if self.steered.replace(interval) != Some(interval) {
            // The next report is due at once.
            (self.report_wanted, self.last_report) = (true, Time::ZERO);
        }
    }

    /// Returns the route of data and the bytes that may be sent along it; `None` until the client
    /// has sent something.
    pub(super) fn route(&self) -> Option<(Route, usize)> {
        match self.choice {
            Some(PlaneChoice { plane: Plane::Session, .. }) => Some((Route::Session, UNLIMITED)),
            _ => self.paths.active().map(|(path, budget)| (Route::Realtime(path), budget)),
        }
    }

    /// Takes a report of the client, which has been sent packets up to the number before `next_number`.
    /// Counts and ignores a report that cannot be true. Ignores one that is older than the newest.
    pub(super) fn take_report(&mut self, report: ClientReport, next_number: u32) {
        if !report.may_be_true(next_number) {
            self.false_reports += 1;
            return;
        }
        // QUIC may deliver datagrams in another order. A figure that goes back would falsify sums.
        let is_older = |newest: ClientReport| {
            report.largest < newest.largest || report.received < newest.received
        };
        if !self.client_report.is_some_and(is_older) {
            self.client_report = Some(report);
        }
    }

    /// Takes a keep-alive, which may carry a new choice of plane.
    pub(super) fn keep_alive(&mut self, plane: Plane, request: KeepAlive) {
        self.pending[plane as usize].keep_alive = Some(request);
        let Some(newest) = request.choice else { return };
        // The client may have missed the last acknowledgement.
        self.acknowledge |= plane == Plane::Realtime;
        let newer = |old: PlaneChoice| newest.change.wrapping_sub(old.change) as i16 > 0;
        if self.choice.is_none_or(newer) {
            self.choice = Some(newest);
        }
    }

    /// Takes a clock request from a datagram that arrived at `received`.
    pub(super) fn clock_request(&mut self, plane: Plane, received: Time, client_sent: u64) {
        self.pending[plane as usize].clock = Some(PendingClockRequest { client_sent, received });
    }

    /// Notes that messages arrived on the realtime port. A client without a choice of plane needs
    /// no acknowledgement.
    pub(super) fn messages_received(&mut self, now: Time) {
        if self.choice.is_some() {
            self.unacked.get_or_insert(now);
        }
    }

    /// Notes that a datagram of the application was sent.
    pub(super) fn sent_data(&mut self) {
        self.report_wanted = true;
    }

    /// Appends a due control frame in front of the application's data: at most [`FRONT_BYTES`]
    /// together with the send time.
    pub(super) fn write_front(&mut self, now: Time, recv: &RecvKeys, out: &mut Vec<u8>) {
        let Some((route, budget)) = self.route() else { return };
        // On an unproven path the application's data has priority.
        if budget < UNLIMITED {
            return;
        }
        let plane = route.plane();
        if self.pending[plane as usize].clock.is_some() {
            self.write_clock(now, plane, CLOCK_REPLY_BYTES, out);
        } else if self.unacked.is_some_and(|since| since + limits::ACK_INTERVAL <= now) {
            self.write_ack(recv, out);
        }
    }

    /// Appends the pending answers and other due frames of a plane, as far as they fit its budget.
    /// Returns their route, or `None` if there are none.
    pub(super) fn write(
        &mut self,
        now: Time,
        plane: Plane,
        recv: &RecvKeys,
        out: &mut Vec<u8>,
    ) -> Option<Route> {
        let (route, budget) = match plane {
            Plane::Session => (Route::Session, UNLIMITED),
            Plane::Realtime => {
                let (path, budget) = self.paths.active()?;
                (Route::Realtime(path), budget)
            }
        };
        let body = budget.saturating_sub(limits::HEADER + limits::TAG).min(self.max_body);
        let (start, end) = (out.len(), out.len() + body);
        self.write_clock(now, plane, end - out.len(), out);
        let carrying = self.is_carrying(plane);
        let mut report = self.report_at().is_some_and(|at| at <= now);
        if end - out.len() >= KeepAlive::FRAME_BYTES
            && let Some(request) = self.pending[plane as usize].keep_alive.take()
        {
            request.encode(out);
            // A client sends a keep-alive when it receives little else, so a report fits in.
            (self.report_wanted, report) = (self.report_wanted || carrying, true);
        }
        if carrying && report {
            self.write_report(now, end - out.len(), recv, out);
        }
        let late = self.unacked.is_some_and(|since| since + limits::ACK_LATEST <= now);
        if (late || self.acknowledge)
            && plane == Plane::Realtime
            && end - out.len() >= Ack::FRAME_BYTES
        {
            self.write_ack(recv, out);
        }
        (out.len() > start).then_some(route)
    }

    fn write_clock(&mut self, now: Time, plane: Plane, free: usize, out: &mut Vec<u8>) {
        let pending = &mut self.pending[plane as usize].clock;
        let Some(request) = pending.take_if(|_| free >= CLOCK_REPLY_BYTES) else { return };
        let reply = ClockReply {
            client_sent: request.client_sent,
            server_received: request.received.as_micros(),
            server_sent: now.as_micros(),
            epoch: self.clock_epoch,
        };
        reply.encode(out);
    }

    fn write_report(&mut self, now: Time, free: usize, recv: &RecvKeys, out: &mut Vec<u8>) {
        let steering = self.steered.map_or(0, |_| ReportInterval::FRAME_BYTES);
        if self.report_wanted && free >= ServerReport::FRAME_BYTES + steering {
            let (largest, received) = (recv.largest(), recv.received());
            ServerReport { largest, received, ..self.report }.encode(out);
            if let Some(interval) = self.steered {
                interval.encode(out);
            }
            self.last_report = now;
            self.report_wanted = false;
        }
    }

    fn write_ack(&mut self, recv: &RecvKeys, out: &mut Vec<u8>) {
        (self.unacked, self.acknowledge) = (None, false);
        Ack { largest: recv.largest() }.encode(out);
    }

    /// Returns whether this plane carries the data.
    fn is_carrying(&self, plane: Plane) -> bool {
        self.route().is_some_and(|(route, _)| route.plane() == plane)
    }

    /// Returns when a report is due; `None` on an unproven path, whose budget is small.
    fn report_at(&self) -> Option<Time> {
        let proven = self.route().is_some_and(|(_, budget)| budget == UNLIMITED);
        (self.report_wanted && proven).then_some(self.last_report + limits::SERVER_REPORT_INTERVAL)
    }

    /// Returns when the next frame is due; pending answers are due at once. The deadlines of the
    /// paths are separate.
    pub(super) fn deadline(&self) -> Option<Time> {
        let [realtime, session] = &self.pending;
        let affordable = self.paths.active().is_some_and(|(_, budget)| budget >= ANSWER_DATAGRAM);
        if session.any() || affordable && realtime.any() {
            return Some(Time::ZERO);
        }
        let ack = self.unacked.filter(|_| affordable).map(|since| since + limits::ACK_LATEST);
        self.report_at().into_iter().chain(ack).min()
    }
}
