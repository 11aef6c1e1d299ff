//! What happens in the planes, as the history, webhooks and dashboards know it.
//!
//! The planes post events to a bounded [feed](EventFeed) and never wait.

mod data;
mod feed;

pub use data::{CallEventData, EventData, PeerEventData, RoomEventData};
pub use feed::{EventFeed, PostedEvent, PostedEvents};

use nucleus_core::plane_event::PlaneEvent;

use crate::timestamp::Timestamp;

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The id. The ids of one process sort in the order of the events.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: PlaneEvent,
}

impl RecordedEvent {
    /// Returns the name of the kind, as `room.started`.
    pub fn kind(&self) -> PlaneEventKind {
        match &self.what {
            PlaneEvent::RoomStarted(_) => PlaneEventKind::RoomStarted,
            PlaneEvent::RoomEnded(..) => PlaneEventKind::RoomEnded,
            PlaneEvent::PeerJoined(..) => PlaneEventKind::PeerJoined,
            PlaneEvent::PeerLeft(..) => PlaneEventKind::PeerLeft,
            PlaneEvent::CallStarted(_) => PlaneEventKind::CallStarted,
            PlaneEvent::CallEnded(..) => PlaneEventKind::CallEnded,
        }
    }

    /// Returns the name of the tenant that it belongs to.
    pub fn tenant(&self) -> &str {
        match &self.what {
            PlaneEvent::RoomStarted(room)
            | PlaneEvent::RoomEnded(room, _)
            | PlaneEvent::PeerJoined(room, _)
            | PlaneEvent::PeerLeft(room, ..) => &room.key.owner.tenant,
            PlaneEvent::CallStarted(call) | PlaneEvent::CallEnded(call, _) => &call.owner.tenant,
        }
    }

    /// Returns what webhooks and event streams say of it.
    pub fn data(&self) -> EventData {
        EventData::of(&self.what)
    }
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaneEventKind {
    /// A room began.
    RoomStarted,
    /// A room has ended.
    RoomEnded,
    /// A participant has joined a room.
    PeerJoined,
    /// A participant has left a room for good.
    PeerLeft,
    /// A user calls others.
    CallStarted,
    /// A call is over.
    CallEnded,
}

impl PlaneEventKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::RoomStarted,
        Self::RoomEnded,
        Self::PeerJoined,
        Self::PeerLeft,
        Self::CallStarted,
        Self::CallEnded,
    ];

    /// Returns the name in webhooks, streams and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoomStarted => "room.started",
            Self::RoomEnded => "room.ended",
            Self::PeerJoined => "peer.joined",
            Self::PeerLeft => "peer.left",
            Self::CallStarted => "call.started",
            Self::CallEnded => "call.ended",
        }
    }

    /// Returns the kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
