//! The server's side of a link: it answers over the plane it was request on, follows the client's choice
//! of plane, and reports what it withheld.

use super::path::Paths;
use super::phase::RecvKeys;
use super::route::Route;
use crate::limits;
use crate::realtime::control::{
    Ack, ClientReport, ClockReply, KeepAlive, Plane, PlaneChoice, SEND_TIME_FRAME, ServerReport,
};
use crate::time::Time;

/// Bytes of a clock reply's frame.
pub(super) const CLOCK_FRAME: usize = 30;
/// Bytes of the frames that may stand in front of the application's: the send time and one other.
pub(super) const FRONT_BYTES: usize = SEND_TIME_FRAME + CLOCK_FRAME;
const _: () = assert!(Ack::FRAME <= CLOCK_FRAME);
/// Bytes of a datagram that answers both a clock request and a keep-alive.
const ANSWER_DATAGRAM: usize =
    limits::HEADER + CLOCK_FRAME + KeepAlive::FRAME + Ack::FRAME + limits::TAG;
/// "As much as a datagram holds": the session's plane has proven its address itself.
const PROVEN: usize = usize::MAX;

/// A clock request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct PendingClockRequest {
    client_sent: u64,
    received: Time,
}

/// Answers that are pending on one plane.
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

/// Paths, pending and counts of a server.
pub(super) struct ServerSide {
    pub(super) paths: Paths,
    pub(super) clock_epoch: u32,
    pub(super) client_report: Option<ClientReport>,
    /// `largest` and `received` are filled in when it is written.
    pub(super) report: ServerReport,
    /// What the client chose last; `None`: it has no choice, or has not spoken.
    choice: Option<PlaneChoice>,
    pending: [PendingAnswers; 2],
    /// Messages came over the realtime port that are not acknowledged yet, the first of them then.
    unacked: Option<Time>,
    /// The next answer over the realtime port acknowledges.
    acknowledge: bool,
    last_report: Time,
    report_wanted: bool,
}

impl ServerSide {
    pub(super) fn new(now: Time, clock_epoch: u32, paths: Paths) -> Self {
        Self {
            paths,
            clock_epoch,
            client_report: None,
            report: ServerReport::default(),
            choice: None,
            pending: [PendingAnswers::default(); 2],
            unacked: None,
            acknowledge: false,
            last_report: now,
            report_wanted: false,
        }
    }

    /// Where data goes, and how many bytes of datagrams may; `None`: the client has not spoken.
    pub(super) fn route(&self) -> Option<(Route, usize)> {
        match self.choice {
            Some(PlaneChoice { plane: Plane::Session, .. }) => Some((Route::Session, PROVEN)),
            _ => self.paths.active().map(|(path, budget)| (Route::Realtime(path), budget)),
        }
    }

    /// The client wants to hear something, and may have chosen anew.
    pub(super) fn keep_alive(&mut self, plane: Plane, request: KeepAlive) {
        self.pending[plane as usize].keep_alive = Some(request);
        let Some(newest) = request.choice else { return };
        // Whoever asks may have missed the last acknowledgement.
        self.acknowledge |= plane == Plane::Realtime;
        let newer = |old: PlaneChoice| newest.change.wrapping_sub(old.change) as i16 > 0;
        if self.choice.is_none_or(newer) {
            self.choice = Some(newest);
        }
    }

    /// The client request for the time in a datagram that arrived at `received`.
    pub(super) fn clock_request(&mut self, plane: Plane, received: Time, client_sent: u64) {
        self.pending[plane as usize].clock = Some(PendingClockRequest { client_sent, received });
    }

    /// Messages came over the realtime port. Clients without a choice have no use for an answer.
    pub(super) fn messages_received(&mut self, now: Time) {
        if self.choice.is_some() {
            self.unacked.get_or_insert(now);
        }
    }

    /// Application data left.
    pub(super) fn sent_data(&mut self) {
        self.report_wanted = true;
    }

    /// Appends what can travel in front of the application's data, at most [`FRONT_BYTES`] bytes with the
    /// send time.
    pub(super) fn write_front(&mut self, now: Time, recv: &RecvKeys, out: &mut Vec<u8>) {
        let Some((route, budget)) = self.route() else { return };
        // An unproven path's few bytes belong to the application first.
        if budget < PROVEN {
            return;
        }
        let plane = route.plane();
        if self.pending[plane as usize].clock.is_some() {
            self.write_clock(now, plane, CLOCK_FRAME, out);
        } else if self.unacked.is_some_and(|since| since + limits::ACK_INTERVAL <= now) {
            self.write_ack(recv, out);
        }
    }

    /// Appends the answers that are pending on a plane, and what else is due there, as far as they fit
    /// what the plane may take; where they go.
    pub(super) fn write(
        &mut self,
        now: Time,
        plane: Plane,
        recv: &RecvKeys,
        out: &mut Vec<u8>,
    ) -> Option<Route> {
        let (route, budget) = match plane {
            Plane::Session => (Route::Session, PROVEN),
            Plane::Realtime => {
                let (path, budget) = self.paths.active()?;
                (Route::Realtime(path), budget)
            }
        };
        let room = budget.saturating_sub(limits::HEADER + limits::TAG).min(limits::MAX_BODY);
        let (start, end) = (out.len(), out.len() + room);
        self.write_clock(now, plane, end - out.len(), out);
        let carrying = self.is_carrying(plane);
        let mut report = self.report_at().is_some_and(|at| at <= now);
        if end - out.len() >= KeepAlive::FRAME
            && let Some(request) = self.pending[plane as usize].keep_alive.take()
        {
            request.encode(out);
            // Whoever asks has nothing else to hear: it may as well be a report.
            (self.report_wanted, report) = (self.report_wanted || carrying, true);
        }
        if carrying && report {
            self.write_report(now, end - out.len(), recv, out);
        }
        let late = self.unacked.is_some_and(|since| since + limits::ACK_LATEST <= now);
        if (late || self.acknowledge) && plane == Plane::Realtime && end - out.len() >= Ack::FRAME {
            self.write_ack(recv, out);
        }
        (out.len() > start).then_some(route)
    }

    fn write_clock(&mut self, now: Time, plane: Plane, room: usize, out: &mut Vec<u8>) {
        let pending = &mut self.pending[plane as usize].clock;
        let Some(request) = pending.take_if(|_| room >= CLOCK_FRAME) else { return };
        let reply = ClockReply {
            client_sent: request.client_sent,
            server_received: request.received.as_micros(),
            server_sent: now.as_micros(),
            epoch: self.clock_epoch,
        };
        reply.encode(out);
    }

    fn write_report(&mut self, now: Time, room: usize, recv: &RecvKeys, out: &mut Vec<u8>) {
        if self.report_wanted && room >= ServerReport::FRAME {
            let (largest, received) = (recv.largest(), recv.received());
            ServerReport { largest, received, ..self.report }.encode(out);
            self.last_report = now;
            self.report_wanted = false;
        }
    }

    fn write_ack(&mut self, recv: &RecvKeys, out: &mut Vec<u8>) {
        (self.unacked, self.acknowledge) = (None, false);
        Ack { largest: recv.largest() }.encode(out);
    }

    /// Whether data goes over this plane.
    fn is_carrying(&self, plane: Plane) -> bool {
        self.route().is_some_and(|(route, _)| route.plane() == plane)
    }

    /// When a report is due. An unproven path has no bytes for them.
    fn report_at(&self) -> Option<Time> {
        let proven = self.route().is_some_and(|(_, budget)| budget == PROVEN);
        (self.report_wanted && proven).then_some(self.last_report + limits::REPORT_INTERVAL)
    }

    /// Answers that are pending, at once, and what else is due; the paths' own deadlines are theirs.
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
