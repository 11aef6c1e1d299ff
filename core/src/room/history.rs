//! What a room reports for the history: its start and end, and who was in it.

use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

#[cfg(doc)]
use super::RoomOutput;
use crate::moments::{LossCause, Moment, MomentKind, MomentLog};
use crate::plane_event::{RoomTotals, RoomVisitor, Visit};

/// Something that belongs into the history of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomReport {
    /// The room began: somebody has joined it, or it was created to be joined.
    Started,
    /// A participant has joined. A resume is not a join.
    Joined(Arc<RoomVisitor>),
    /// A participant has left for good. Comes before its [`RoomOutput::CloseLink`], so that the shell
    /// can ask the shard for the figures of its links.
    Left {
        /// Who has left.
        visitor: Arc<RoomVisitor>,
        /// The visit. The shell adds what the shard knows.
        visit: Box<Visit>,
        /// When the participant joined.
        joined: Time,
    },
    /// The room has ended. The last report of a room.
    Ended(RoomTotals),
}

/// What a participant's report at the end needs from its join.
pub(crate) struct VisitStart {
    /// When the participant joined.
    at: Time,
    visitor: Arc<RoomVisitor>,
    /// How often the participant has resumed.
    resumes: u32,
    /// Whether the newest session is lost, and no resume is complete since.
    is_lost: bool,
    moments: MomentLog,
}

impl VisitStart {
    /// Begins the visit of a participant that joins. `took` is the time since its client's first packet.
    pub(crate) fn new(now: Time, visitor: Arc<RoomVisitor>, took: Duration) -> Self {
        let (is_lost, moments) = (false, MomentLog::default());
        let mut visit = Self { at: now, visitor, resumes: 0, is_lost, moments };
        visit.note(now, MomentKind::Joined { took });
        visit
    }

    /// Notes what has happened at `now`.
    pub(crate) fn note(&mut self, now: Time, kind: MomentKind) {
        self.moments.push(Moment { after: now.since(self.at), kind });
    }

    /// Notes that the session is lost; or, if that is known, why.
    pub(crate) fn lose(&mut self, now: Time, cause: LossCause) {
        if std::mem::replace(&mut self.is_lost, true) {
            let unknown = MomentKind::Lost(LossCause::Broken);
            self.moments.correct(unknown, MomentKind::Lost(cause));
        } else {
            self.note(now, MomentKind::Lost(cause));
        }
    }

    /// Returns the time since the join.
    pub(crate) fn lasted(&self, now: Time) -> Duration {
        now.since(self.at)
    }

    /// Counts a resume whose link is open. `took` is the time since the first packet of the client's new
    /// connection.
    pub(crate) fn count_resume(&mut self, now: Time, took: Duration) {
        self.resumes += 1;
        self.is_lost = false;
        self.note(now, MomentKind::Resumed { took });
    }

    /// Makes the report of the participant's end.
    pub(crate) fn end(self, now: Time, code: Code) -> RoomReport {
        let lasted = self.lasted(now);
        let Self { at: joined, visitor, resumes, moments, .. } = self;
        let visit = Box::new(Visit { lasted, code, resumes, links: None, moments });
        RoomReport::Left { visitor, visit, joined }
    }
}

/// The figures of a room for the report of its end.
pub(super) struct RoomHistory {
    created: Time,
    /// Whether the start of the room must be reported although nobody has joined.
    made_to_be_joined: bool,
    started: bool,
    ended: bool,
    joins: u64,
    most_peers: u32,
}

impl RoomHistory {
    pub(super) fn new(now: Time, made_to_be_joined: bool) -> Self {
        Self {
            created: now,
            made_to_be_joined,
            started: false,
            ended: false,
            joins: 0,
            most_peers: 0,
        }
    }

    /// Returns the report of the start, if the room was made to be joined and has not begun yet.
    pub(super) fn start_unjoined(&mut self) -> Option<RoomReport> {
        if self.made_to_be_joined { self.start() } else { None }
    }

    /// Notes that the room has begun. Returns the report the first time.
    fn start(&mut self) -> Option<RoomReport> {
        (!std::mem::replace(&mut self.started, true)).then_some(RoomReport::Started)
    }

    /// Counts a join, with which the room has so many participants. Returns its report, behind that of
    /// the start if it is the first one.
    pub(super) fn join(
        &mut self,
        visitor: Arc<RoomVisitor>,
        peers: usize,
    ) -> impl Iterator<Item = RoomReport> + use<> {
        self.joins += 1;
        self.most_peers = self.most_peers.max(u32::try_from(peers).unwrap_or(u32::MAX));
        self.start().into_iter().chain([RoomReport::Joined(visitor)])
    }

    /// Notes that the room has ended. Returns the report the first time, if the room has begun.
    pub(super) fn end(&mut self, now: Time) -> Option<RoomReport> {
        if !self.started || std::mem::replace(&mut self.ended, true) {
            return None;
        }
        let Self { created, joins, most_peers, .. } = *self;
        Some(RoomReport::Ended(RoomTotals { lasted: now.since(created), joins, most_peers }))
    }
}
