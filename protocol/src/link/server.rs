//! The server's side of a link: it answers over the plane it was asked on, follows the client's choice
//! of plane, and reports what it withheld.

use super::path::Paths;
use super::phase::RecvKeys;
use super::route::Route;
use crate::limits;
use crate::realtime::control::{
    Ack, Choice, ClientReport, ClockReply, KeepAlive, Plane, SEND_TIME_FRAME, ServerReport,
};
use crate::time::Time;

/// Bytes of a clock reply's frame.
pub(super) const CLOCK_FRAME: usize = 30;
/// Bytes of the frames that may stand in front of the application's: the send time and one other.
pub(super) const FRONT: usize = SEND_TIME_FRAME + CLOCK_FRAME;
const _: () = assert!(Ack::FRAME <= CLOCK_FRAME);
/// Bytes of a datagram that answers both a clock request and a keep-alive.
const ANSWER_DATAGRAM: usize =
    limits::HEADER + CLOCK_FRAME + KeepAlive::FRAME + Ack::FRAME + limits::TAG;
/// "As much as a datagram holds": the session's plane has proven its address itself.
const PROVEN: usize = usize::MAX;

/// A clock request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct ClockAsked {
    client_sent: u64,
    received: Time,
}

/// Answers that are owed on one plane.
#[derive(Clone, Copy, Debug, Default)]
struct Debts {
    keep_alive: Option<KeepAlive>,
    clock: Option<ClockAsked>,
}

impl Debts {
    fn any(&self) -> bool {
        self.keep_alive.is_some() || self.clock.is_some()
    }
}

/// Paths, debts and counts of a server.
pub(super) struct Server {
    pub(super) paths: Paths,
    pub(super) clock_epoch: u32,
    pub(super) client_report: Option<ClientReport>,
    /// `largest` and `received` are filled in when it is written.
    pub(super) report: ServerReport,
    /// What the client chose last; `None`: it has no choice, or has not spoken.
    choice: Option<Choice>,
    debts: [Debts; 2],
    /// Messages came over the realtime port that are not acknowledged yet, the first of them then.
    unacked: Option<Time>,
    /// The next answer over the realtime port acknowledges.
    acknowledge: bool,
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
            choice: None,
            debts: [Debts::default(); 2],
            unacked: None,
            acknowledge: false,
            reported: now,
            report_wanted: false,
        }
    }

    /// Where data goes, and how many bytes of datagrams may; `None`: the client has not spoken.
    pub(super) fn route(&self) -> Option<(Route, usize)> {
        match self.choice {
            Some(Choice { plane: Plane::Session, .. }) => Some((Route::Session, PROVEN)),
            _ => self.paths.active().map(|(path, budget)| (Route::Realtime(path), budget)),
        }
    }

    /// The client wants to hear something, and may have chosen anew.
    pub(super) fn keep_alive(&mut self, plane: Plane, asked: KeepAlive) {
        self.debts[plane as usize].keep_alive = Some(asked);
        let Some(newest) = asked.choice else { return };
        // Whoever asks may have missed the last acknowledgement.
        self.acknowledge |= plane == Plane::Realtime;
        let newer = |old: Choice| newest.change.wrapping_sub(old.change) as i16 > 0;
        if self.choice.is_none_or(newer) {
            self.choice = Some(newest);
        }
    }

    /// The client asked for the time in a datagram that arrived at `received`.
    pub(super) fn clock_request(&mut self, plane: Plane, received: Time, client_sent: u64) {
        self.debts[plane as usize].clock = Some(ClockAsked { client_sent, received });
    }

    /// Messages came over the realtime port. Clients without a choice have no use for an answer.
    pub(super) fn heard_messages(&mut self, now: Time) {
        if self.choice.is_some() {
            self.unacked.get_or_insert(now);
        }
    }

    /// Application data left.
    pub(super) fn sent_data(&mut self) {
        self.report_wanted = true;
    }

    /// Appends what can travel in front of the application's data, at most [`FRONT`] bytes with the
    /// send time.
    pub(super) fn write_front(&mut self, now: Time, recv: &RecvKeys, out: &mut Vec<u8>) {
        let Some((route, budget)) = self.route() else { return };
        // An unproven path's few bytes belong to the application first.
        if budget < PROVEN {
            return;
        }
        let plane = route.plane();
        if self.debts[plane as usize].clock.is_some() {
            self.write_clock(now, plane, CLOCK_FRAME, out);
        } else if self.unacked.is_some_and(|since| since + limits::ACK_INTERVAL <= now) {
            self.write_ack(recv, out);
        }
    }

    /// Appends the answers that are owed on a plane, and what else is due there, as far as they fit
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
            && let Some(asked) = self.debts[plane as usize].keep_alive.take()
        {
            asked.encode(out);
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
        let owed = &mut self.debts[plane as usize].clock;
        let Some(asked) = owed.take_if(|_| room >= CLOCK_FRAME) else { return };
        let reply = ClockReply {
            client_sent: asked.client_sent,
            server_received: asked.received.as_micros(),
            server_sent: now.as_micros(),
            epoch: self.clock_epoch,
        };
        reply.encode(out);
    }

    fn write_report(&mut self, now: Time, room: usize, recv: &RecvKeys, out: &mut Vec<u8>) {
        if self.report_wanted && room >= ServerReport::FRAME {
            let (largest, received) = (recv.largest(), recv.received());
            ServerReport { largest, received, ..self.report }.encode(out);
            self.reported = now;
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
        (self.report_wanted && proven).then_some(self.reported + limits::REPORT_INTERVAL)
    }

    /// Answers that are owed, at once, and what else is due; the paths' own deadlines are theirs.
    pub(super) fn deadline(&self) -> Option<Time> {
        let [realtime, session] = &self.debts;
        let affordable = self.paths.active().is_some_and(|(_, budget)| budget >= ANSWER_DATAGRAM);
        if session.any() || affordable && realtime.any() {
            return Some(Time::ZERO);
        }
        let ack = self.unacked.filter(|_| affordable).map(|since| since + limits::ACK_LATEST);
        self.report_at().into_iter().chain(ack).min()
    }
}
