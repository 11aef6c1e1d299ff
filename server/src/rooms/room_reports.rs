//! Tells the control plane what a room reports for the history.

use nucleus_control::events::EventFeed;
use nucleus_core::ids::RoomId;
use nucleus_core::plane_event::{LinkTotals, PeerLinks, PlaneEvent, RoomRef};
use nucleus_core::room::RoomReport;
use nucleus_core::round_trips::RoundTrips;
use nucleus_protocol::time::Time;

use crate::shard::{ShardHandle, ShardMail};

/// Where the reports of a room go.
pub(super) struct RoomReports {
    pub(super) feed: EventFeed,
    pub(super) room: RoomRef,
}

impl RoomReports {
    /// Posts a report. The end of a visit, and the end of the room behind it, pass through the shard,
    /// which adds the figures of the participant's links. The room does not wait for the shard's answer.
    /// `trips` are those of the visit.
    pub(super) async fn post(
        &self,
        report: RoomReport,
        trips: RoundTrips,
        id: RoomId,
        shard: &ShardHandle,
    ) {
        let (feed, room) = (self.feed.clone(), self.room.clone());
        match report {
            RoomReport::Started => feed.post(PlaneEvent::RoomStarted(room)),
            RoomReport::Joined(visitor) => feed.post(PlaneEvent::PeerJoined(room, visitor)),
            RoomReport::Left { visitor, mut visit, joined } => {
                let peer = visitor.peer;
                let take = Box::new(move |links: Option<PeerLinks>| {
                    if let Some(PeerLinks { totals, moments }) = links {
                        let (rtt_p50, rtt_p95) = (trips.percentile(50), trips.percentile(95));
                        visit.links = Some(LinkTotals { rtt_p50, rtt_p95, ..totals });
                        visit.moments.merge(&moments, joined.since(Time::ZERO));
                    }
                    feed.post(PlaneEvent::PeerLeft(room, visitor, visit));
                });
                shard.post(ShardMail::PeerLinks(id, peer, take)).await;
            }
            RoomReport::Ended(totals) => {
                let call = Box::new(move || feed.post(PlaneEvent::RoomEnded(room, totals)));
                shard.post(ShardMail::Afterwards(call)).await;
            }
        }
    }
}
