//! A line of the spool file: one event, as JSON.

use std::sync::Arc;
use std::time::Duration;

use nucleus_core::ids::{PeerId, Product, ProductKey};
use nucleus_core::plane_event::{
    CallRef, CallTotals, LinkTotals, PlaneEvent, RoomRef, RoomTotals, RoomVisitor, Visit,
};
use nucleus_protocol::session::Code;
use serde::{Deserialize, Serialize};

use super::stored_moments::StoredMoments;
use crate::events::{PlaneEventKind, RecordedEvent};
use crate::room_id::RoomAddress;
use crate::timestamp::Timestamp;

/// An event in the form of the file. Fields that the kind of event does not have are absent. Times are
/// in microseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SpoolLine {
    id: String,
    at: i64,
    kind: String,
    tenant: String,
    product: String,
    /// The room's id, or the call's number.
    of: String,
    room_name: String,
    peer: u32,
    /// The user, or the caller.
    user: String,
    name: String,
    role: String,
    lasted: u64,
    joins: u64,
    most_peers: u32,
    code: u16,
    resumes: u32,
    links: Option<SpoolLinks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moments: Option<StoredMoments>,
    talked: Option<u64>,
    members: Vec<String>,
    missed: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SpoolLinks {
    on_fallback: u64,
    rtt_p50: Option<u64>,
    rtt_p95: Option<u64>,
    loss_ppm: Option<u32>,
    withheld: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl From<&RecordedEvent> for SpoolLine {
    fn from(event: &RecordedEvent) -> Self {
        let line = Self {
            id: event.id.clone(),
            at: event.at.micros(),
            kind: event.kind().name().to_owned(),
            tenant: event.tenant().to_owned(),
            ..Self::default()
        };
        match &event.what {
            PlaneEvent::RoomStarted(room) => line.of_room(room),
            PlaneEvent::RoomEnded(room, totals) => Self {
                lasted: micros(totals.lasted),
                joins: totals.joins,
                most_peers: totals.most_peers,
                ..line.of_room(room)
            },
            PlaneEvent::PeerJoined(room, visitor) => line.of_room(room).of_visitor(visitor),
            PlaneEvent::PeerLeft(room, visitor, visit) => Self {
                lasted: micros(visit.lasted),
                code: visit.code as u16,
                resumes: visit.resumes,
                links: visit.links.as_ref().map(SpoolLinks::from),
                moments: Some(StoredMoments::from(&visit.moments)),
                ..line.of_room(room).of_visitor(visitor)
            },
            PlaneEvent::CallStarted(call) => line.of_call(call),
            PlaneEvent::CallEnded(call, totals) => Self {
                lasted: micros(totals.lasted),
                talked: totals.talked.map(micros),
                members: totals.members.clone(),
                missed: totals.missed.clone(),
                ..line.of_call(call)
            },
        }
    }
}

impl SpoolLine {
    fn of_room(self, room: &RoomRef) -> Self {
        Self {
            of: RoomAddress(room.instance).to_string(),
            product: room.key.owner.product.name().to_owned(),
            room_name: room.key.name.clone(),
            ..self
        }
    }

    fn of_visitor(self, visitor: &RoomVisitor) -> Self {
        Self {
            peer: visitor.peer.0,
            user: visitor.user.clone(),
            name: visitor.name.clone(),
            role: visitor.role.clone(),
            ..self
        }
    }

    fn of_call(self, call: &CallRef) -> Self {
        Self {
            of: format!("{:016x}", call.call),
            product: call.owner.product.name().to_owned(),
            user: call.caller.clone(),
            ..self
        }
    }

    /// Reads the event; `None`: the line is damaged.
    pub(super) fn event(self) -> Option<RecordedEvent> {
        let (id, at) = (self.id.clone(), Timestamp::from_micros(self.at));
        let kind = PlaneEventKind::parse(&self.kind).filter(|_| crate::id::is_id(&id))?;
        let owner =
            ProductKey { tenant: self.tenant.clone(), product: Product::parse(&self.product)? };
        let what = match kind {
            PlaneEventKind::CallStarted => PlaneEvent::CallStarted(self.call(owner)?),
            PlaneEventKind::CallEnded => {
                let call = self.call(owner)?;
                PlaneEvent::CallEnded(call, Box::new(self.call_totals()))
            }
            room => {
                let RoomAddress(instance) = self.of.parse().ok()?;
                let key = Arc::new(owner.room(self.room_name.clone()));
                self.room_event(room, RoomRef { instance, key })?
            }
        };
        Some(RecordedEvent { id, at, what })
    }

    fn room_event(self, kind: PlaneEventKind, room: RoomRef) -> Option<PlaneEvent> {
        let lasted = Duration::from_micros(self.lasted);
        let (joins, most_peers, resumes) = (self.joins, self.most_peers, self.resumes);
        let code = Code::from_number(self.code.into());
        let links = self.links.as_ref().map(LinkTotals::from);
        let moments = self.moments.unwrap_or_default().into();
        let visitor = Arc::new(RoomVisitor {
            peer: PeerId(self.peer),
            user: self.user,
            name: self.name,
            role: self.role,
        });
        Some(match kind {
            PlaneEventKind::RoomStarted => PlaneEvent::RoomStarted(room),
            PlaneEventKind::RoomEnded => {
                PlaneEvent::RoomEnded(room, RoomTotals { lasted, joins, most_peers })
            }
            PlaneEventKind::PeerJoined => PlaneEvent::PeerJoined(room, visitor),
            PlaneEventKind::PeerLeft => {
                let visit = Visit { lasted, code: code?, resumes, links, moments };
                PlaneEvent::PeerLeft(room, visitor, Box::new(visit))
            }
            PlaneEventKind::CallStarted | PlaneEventKind::CallEnded => return None,
        })
    }

    fn call(&self, owner: ProductKey) -> Option<CallRef> {
        let call = u64::from_str_radix(&self.of, 16).ok()?;
        Some(CallRef { call, owner: Arc::new(owner), caller: self.user.clone() })
    }

    fn call_totals(self) -> CallTotals {
        CallTotals {
            lasted: Duration::from_micros(self.lasted),
            talked: self.talked.map(Duration::from_micros),
            members: self.members,
            missed: self.missed,
        }
    }
}

impl From<&LinkTotals> for SpoolLinks {
    fn from(links: &LinkTotals) -> Self {
        Self {
            on_fallback: micros(links.on_fallback),
            rtt_p50: links.rtt_p50.map(micros),
            rtt_p95: links.rtt_p95.map(micros),
            loss_ppm: links.loss_ppm,
            withheld: links.withheld,
            bytes_in: links.bytes_in,
            bytes_out: links.bytes_out,
        }
    }
}

impl From<&SpoolLinks> for LinkTotals {
    fn from(links: &SpoolLinks) -> Self {
        Self {
            on_fallback: Duration::from_micros(links.on_fallback),
            rtt_p50: links.rtt_p50.map(Duration::from_micros),
            rtt_p95: links.rtt_p95.map(Duration::from_micros),
            loss_ppm: links.loss_ppm,
            withheld: links.withheld,
            bytes_in: links.bytes_in,
            bytes_out: links.bytes_out,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
