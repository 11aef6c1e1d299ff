//! Checks what rooms report for the history: each start has one end, and each join one leave.

use std::collections::{BTreeMap, BTreeSet};

use nucleus_core::ids::{PeerId, RoomId};
use nucleus_core::plane_event::{RoomTotals, Visit};
use nucleus_core::room::RoomReport;

use crate::visit_check::check_visit;

/// The history of the rooms of a server, checked report by report.
#[derive(Debug, Default)]
pub struct HistoryCheck {
    rooms: BTreeMap<RoomId, ReportedRoom>,
    /// Numbers of all reports: starts, ends, joins, leaves, and the resumes of those who left.
    pub counts: ReportCounts,
    /// The visits that have ended.
    pub visits: BTreeMap<(RoomId, PeerId), Visit>,
}

/// How often rooms have reported each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportCounts {
    /// Rooms that began.
    pub started: u64,
    /// Rooms that ended.
    pub ended: u64,
    /// Joins.
    pub joined: u64,
    /// Leaves.
    pub left: u64,
    /// Resumes of those who left.
    pub resumes: u64,
}

#[derive(Debug, Default)]
struct ReportedRoom {
    present: BTreeSet<PeerId>,
    joins: u64,
    most: usize,
    ended: bool,
    /// Whether a test has shut the room down, which nobody in it or outside has caused.
    is_shut_down: bool,
}

impl HistoryCheck {
    /// Takes a report.
    pub(crate) fn take(&mut self, room: RoomId, report: &RoomReport) {
        let counts = &mut self.counts;
        if *report == RoomReport::Started {
            counts.started += 1;
            let earlier = self.rooms.insert(room, ReportedRoom::default());
            return assert!(earlier.is_none_or(|earlier| earlier.ended), "{room:?} began twice");
        }
        let reported = self.rooms.get_mut(&room).expect("the room has begun");
        assert!(!reported.ended, "{room:?} had ended before {report:?}");
        match report {
            RoomReport::Started => {}
            RoomReport::Joined(visitor) => {
                counts.joined += 1;
                reported.joins += 1;
                assert!(reported.present.insert(visitor.peer), "{visitor:?} joined twice");
                reported.most = reported.most.max(reported.present.len());
            }
            RoomReport::Left { visitor, visit, .. } => {
                check_visit(visitor, visit, reported.is_shut_down);
                self.visits.insert((room, visitor.peer), (**visit).clone());
                counts.left += 1;
                counts.resumes += u64::from(visit.resumes);
                assert!(reported.present.remove(&visitor.peer), "{visitor:?} had left or not come");
            }
            RoomReport::Ended(RoomTotals { joins, most_peers, .. }) => {
                counts.ended += 1;
                reported.ended = true;
                assert!(reported.present.is_empty(), "somebody is in a room that has ended");
                assert_eq!((*joins, *most_peers as usize), (reported.joins, reported.most));
            }
        }
    }

    /// Notes that a test shuts a room down.
    pub(crate) fn shut_down(&mut self, room: RoomId) {
        if let Some(reported) = self.rooms.get_mut(&room) {
            reported.is_shut_down = true;
        }
    }

    /// Checks a room whose task has ended.
    pub(crate) fn room_over(&self, room: RoomId) {
        let open = self.rooms.get(&room).is_some_and(|reported| !reported.ended);
        assert!(!open, "{room:?} has ended without a report");
    }
}
