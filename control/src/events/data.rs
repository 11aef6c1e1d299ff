//! What webhooks and event streams say of an event.

use std::time::Duration;

use nucleus_core::ids::ProductKey;
use nucleus_core::plane_event::{
    CallRef, CallTotals, LinkTotals, PlaneEvent, RoomRef, RoomVisitor, Visit,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::room_id::{PeerAddress, RoomAddress};

/// What webhooks and event streams say of an event. What is absent is not known.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EventData {
    /// Of `room.started` and `room.ended`.
    Room(RoomEventData),
    /// Of `peer.joined` and `peer.left`.
    Peer(PeerEventData),
    /// Of `call.started` and `call.ended`.
    Call(CallEventData),
}

/// A room that has begun or ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RoomEventData {
    /// The room's id, for `rooms/{id}`.
    pub room: String,
    /// The tenant's name.
    pub tenant: String,
    /// The product.
    pub product: String,
    /// The name that clients join by.
    pub name: String,
    /// How long the room existed, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Joins, without resumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joins: Option<u64>,
    /// Most participants at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_peers: Option<u32>,
}

/// A participant who has joined or left.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PeerEventData {
    /// The peer's id, for `peers/{id}`.
    pub peer: String,
    /// The room's id.
    pub room: String,
    /// The tenant's name.
    pub tenant: String,
    /// The product.
    pub product: String,
    /// The name of the room.
    pub room_name: String,
    /// The user id.
    pub user: String,
    /// The display name.
    pub name: String,
    /// The role.
    pub role: String,
    /// The time from the join to the end, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Why it ended, as in the protocol: `left`, `timed_out` and others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How often the participant has resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<u32>,
    /// How long the realtime messages went through QUIC instead of UDP 5056, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_ms: Option<u64>,
    /// The median round trip of the session, in microseconds, within an eighth. QUIC measures it in the
    /// server: over UDP 5056 it may be another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_p50_us: Option<u64>,
    /// The round trip that 95 of 100 measurements do not exceed, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_p95_us: Option<u64>,
    /// Lost datagrams of the client, in parts per million.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ppm: Option<u32>,
    /// Messages that were not sent because the receiver's budget was used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<u64>,
    /// Bytes of realtime datagrams from the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Bytes of realtime datagrams to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
}

/// A call that has begun or ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CallEventData {
    /// The call's id: 16 hexadecimal digits.
    pub call: String,
    /// The tenant's name.
    pub tenant: String,
    /// The product.
    pub product: String,
    /// The user id of who called.
    pub caller: String,
    /// The time from the start to the end, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// The time from the first acceptance to the end, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub talked_seconds: Option<u64>,
    /// The user ids of all who were members, the caller first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// The user ids of those who were called and never became members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
}

impl EventData {
    pub(super) fn of(event: &PlaneEvent) -> Self {
        match event {
            PlaneEvent::RoomStarted(room) => Self::Room(room_data(room)),
            PlaneEvent::RoomEnded(room, totals) => Self::Room(RoomEventData {
                seconds: Some(totals.lasted.as_secs()),
                joins: Some(totals.joins),
                most_peers: Some(totals.most_peers),
                ..room_data(room)
            }),
            PlaneEvent::PeerJoined(room, visitor) => Self::Peer(peer_data(room, visitor)),
            PlaneEvent::PeerLeft(room, visitor, visit) => {
                Self::Peer(left_data(room, visitor, visit))
            }
            PlaneEvent::CallStarted(call) => Self::Call(call_data(call)),
            PlaneEvent::CallEnded(call, totals) => Self::Call(ended_call_data(call, totals)),
        }
    }
}

fn room_data(room: &RoomRef) -> RoomEventData {
    let ProductKey { tenant, product } = &room.key.owner;
    RoomEventData {
        room: RoomAddress(room.instance).to_string(),
        tenant: tenant.clone(),
        product: product.name().to_owned(),
        name: room.key.name.clone(),
        seconds: None,
        joins: None,
        most_peers: None,
    }
}

fn peer_data(room: &RoomRef, visitor: &RoomVisitor) -> PeerEventData {
    let ProductKey { tenant, product } = &room.key.owner;
    let address = RoomAddress(room.instance);
    PeerEventData {
        peer: PeerAddress { room: address, peer: visitor.peer }.to_string(),
        room: address.to_string(),
        tenant: tenant.clone(),
        product: product.name().to_owned(),
        room_name: room.key.name.clone(),
        user: visitor.user.clone(),
        name: visitor.name.clone(),
        role: visitor.role.clone(),
        seconds: None,
        code: None,
        resumes: None,
        fallback_ms: None,
        rtt_p50_us: None,
        rtt_p95_us: None,
        loss_ppm: None,
        withheld: None,
        bytes_in: None,
        bytes_out: None,
    }
}

fn left_data(room: &RoomRef, visitor: &RoomVisitor, visit: &Visit) -> PeerEventData {
    let links = visit.links.as_ref();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let figure = |read: fn(&LinkTotals) -> u64| links.map(read);
    PeerEventData {
        seconds: Some(visit.lasted.as_secs()),
        code: Some(visit.code.name().to_owned()),
        resumes: Some(visit.resumes),
        fallback_ms: links.map(|links| millis(links.on_fallback)),
        rtt_p50_us: links.and_then(|links| links.rtt_p50).map(micros),
        rtt_p95_us: links.and_then(|links| links.rtt_p95).map(micros),
        loss_ppm: links.and_then(|links| links.loss_ppm),
        withheld: figure(|links| links.withheld),
        bytes_in: figure(|links| links.bytes_in),
        bytes_out: figure(|links| links.bytes_out),
        ..peer_data(room, visitor)
    }
}

fn call_data(call: &CallRef) -> CallEventData {
    let ProductKey { tenant, product } = call.owner.as_ref();
    CallEventData {
        call: format!("{:016x}", call.call),
        tenant: tenant.clone(),
        product: product.name().to_owned(),
        caller: call.caller.clone(),
        seconds: None,
        talked_seconds: None,
        members: Vec::new(),
        missed: Vec::new(),
    }
}

fn ended_call_data(call: &CallRef, totals: &CallTotals) -> CallEventData {
    CallEventData {
        seconds: Some(totals.lasted.as_secs()),
        talked_seconds: totals.talked.map(|time| time.as_secs()),
        members: totals.members.clone(),
        missed: totals.missed.clone(),
        ..call_data(call)
    }
}
