//! What the application sees, as JSON lines.

use nucleus_client::session::JoinError;
use nucleus_client::state::{Object, Ownership};
use nucleus_client::{
    Audit, Code, ConnectError, EntityId, ModerationAct, ObjectMode, PeerId, PeerInfo, Presence,
    Room, RoomEvent, RpcError, SocialEvent, StateChange, Status, Throttle, UserInfo, Value,
};
use serde_json::{Value as Json, json};

/// Bit of an object's mode: the object outlives its owner.
const WITH_ROOM: u8 = 0x10;

pub(super) fn joined(room: &Room) -> Json {
    json!({ "sees": "joined", "me": room.me().0, "room": room.name(), "peers": peers(room) })
}

/// Returns all peers of a room, this client included, in the order of their ids.
pub(super) fn peers(room: &Room) -> Vec<Json> {
    let mut peers = room.peers();
    peers.extend(room.peer(room.me()));
    peers.sort_by_key(|peer| peer.id);
    peers.iter().map(peer).collect()
}

pub(super) fn refused(kind: &str, error: &ConnectError) -> Json {
    let code = match error {
        ConnectError::Join(JoinError::Refused { number, .. }) => Some(*number),
        _ => None,
    };
    json!({ "sees": kind, "code": code, "why": error.to_string() })
}

pub(super) fn room_event(event: RoomEvent) -> Option<Json> {
    Some(match event {
        RoomEvent::PeerJoined(info) => with_kind("peer_joined", peer(&info)),
        RoomEvent::PeerLeft { peer, code } => {
            json!({ "sees": "peer_left", "peer": peer.id.0, "code": number(code) })
        }
        RoomEvent::PresenceChanged { peer, presence } => {
            json!({ "sees": "presence", "peer": peer.0, "away": presence == Presence::Away })
        }
        RoomEvent::PeerChanged(info) => with_kind("peer_changed", peer(&info)),
        RoomEvent::TokenWanted { within } => {
            let within_ms = within.map(|within| within.as_millis() as u64);
            json!({ "sees": "token_wanted", "within_ms": within_ms })
        }
        RoomEvent::Event { from, channel, payload, .. } => {
            message("event", from, channel, &payload)
        }
        RoomEvent::TypedEvent { from, event_type, payload, .. } => {
            let payload = String::from_utf8_lossy(&payload);
            json!({ "sees": "typed_event", "from": from.0, "type": event_type, "payload": payload })
        }
        RoomEvent::RpcRequest { id, from, method, payload, timeout } => json!({
            "sees": "rpc_request", "request": id.0, "from": from.0, "method": method,
            "payload": String::from_utf8_lossy(&payload),
            "timeout_ms": timeout.as_micros().div_ceil(1_000) as u64,
        }),
        RoomEvent::Bulk { from, channel, payload } => message("bulk", from, channel, &payload),
        RoomEvent::Message { from, channel, key, payload, .. } => {
            let mut report = message("message", from, channel, &payload);
            report["key"] = key.into();
            report
        }
        RoomEvent::Moderated(audit) => moderated(&audit),
        RoomEvent::Throttled(what) => json!({ "sees": "throttled", "what": throttle(what) }),
        RoomEvent::State(change) => state_change(change),
        RoomEvent::Interrupted { code, text } => end("interrupted", code, &text),
        RoomEvent::Resumed { missed_events } => {
            json!({ "sees": "resumed", "missed": missed_events })
        }
        RoomEvent::Rejoined { me } => json!({ "sees": "rejoined", "me": me.0 }),
        RoomEvent::Closed { code, text } => end("closed", code, &text),
        // No dialogue needs the others.
        _ => return None,
    })
}

/// Returns how a request to a peer has ended.
pub(super) fn rpc_result(result: Result<Vec<u8>, RpcError>) -> Json {
    let ended = |end: &str| json!({ "end": end, "code": null, "payload": "" });
    let failed = |code: u16, text: &str| json!({ "end": "failed", "code": code, "payload": text });
    match result {
        Ok(payload) => {
            let payload = String::from_utf8_lossy(&payload);
            json!({ "end": "answered", "code": 0, "payload": payload })
        }
        Err(RpcError::NoSuchMethod) => failed(1, ""),
        Err(RpcError::Busy) => failed(2, ""),
        Err(RpcError::Fault(fault)) => failed(fault.code, &fault.text),
        Err(RpcError::TimedOut) => ended("timed_out"),
        Err(RpcError::PeerLeft) => ended("peer_left"),
        Err(RpcError::Interrupted) => ended("interrupted"),
        Err(RpcError::Closed) => ended("closed"),
        // Nothing was sent.
        Err(_) => ended("refused"),
    }
}

pub(super) fn social_event(event: SocialEvent) -> Option<Json> {
    Some(match event {
        SocialEvent::Incoming { call, from, name, text } => {
            json!({ "sees": "incoming", "call": call.0, "from": from, "name": name, "text": text })
        }
        SocialEvent::RingingEnded { call, code } => {
            json!({ "sees": "ringing_ended", "call": call.0, "code": number(code) })
        }
        SocialEvent::Calling { call, users } => {
            json!({ "sees": "calling", "call": call.0, "users": users })
        }
        SocialEvent::Accepted { call, room, members, this_device } => json!({
            "sees": "accepted", "call": call.0, "room": room, "members": members,
            "this_device": this_device,
        }),
        SocialEvent::MemberJoined { call, user, name } => {
            json!({ "sees": "member_joined", "call": call.0, "user": user, "name": name })
        }
        SocialEvent::MemberLeft { call, user, code } => {
            json!({ "sees": "member_left", "call": call.0, "user": user, "code": number(code) })
        }
        SocialEvent::Passed { call, user, code } => {
            json!({ "sees": "passed", "call": call.0, "user": user, "code": number(code) })
        }
        SocialEvent::Ended { call, code } => {
            json!({ "sees": "ended", "call": call.0, "code": number(code) })
        }
        SocialEvent::Users { changed, gone, total } => {
            let changed: Vec<Json> = changed.iter().map(user).collect();
            json!({ "sees": "users", "changed": changed, "gone": gone, "total": total })
        }
        SocialEvent::Rooms { changed, gone, total } => {
            json!({ "sees": "rooms", "changed": changed, "gone": gone, "total": total })
        }
        SocialEvent::Interrupted { code, text } => end("social_interrupted", code, &text),
        SocialEvent::Returned => json!({ "sees": "returned" }),
        SocialEvent::Closed { code, text } => end("social_closed", code, &text),
        // No dialogue needs the others.
        _ => return None,
    })
}

/// Returns the room's state as the application can read it.
pub(super) fn state(room: &Room) -> Json {
    let objects = room.objects();
    let mut entities = vec![EntityId::Room];
    let mut known: Vec<PeerId> = room.peers().iter().map(|peer| peer.id).collect();
    known.push(room.me());
    known.sort();
    entities.extend(known.into_iter().map(EntityId::Peer));
    entities.extend(objects.iter().map(|object| EntityId::Object(object.id)));
    let fields_of = |entity| {
        let (scope, id) = parts(entity);
        let fields = room.fields(entity).into_iter();
        fields.map(move |(key, field)| {
            json!({ "scope": scope, "id": id, "key": key, "value": value(&field.value) })
        })
    };
    let fields: Vec<Json> = entities.into_iter().flat_map(fields_of).collect();
    let object = |Object { id, owner, mode: kind }: &Object| json!({ "id": id.0, "owner": owner.map_or(0, |owner| owner.0), "mode": mode(*kind) });
    let objects: Vec<Json> = objects.iter().map(object).collect();
    let host = room.host().map(|host| host.0);
    json!({ "version": room.state_version(), "host": host, "objects": objects, "fields": fields })
}

/// Returns a code's number; null if this client does not know the code, or if there is none.
pub(super) fn number(code: Option<Code>) -> Option<u16> {
    code.map(|code| code as u16)
}

fn with_kind(kind: &str, mut report: Json) -> Json {
    report["sees"] = kind.into();
    report
}

fn peer(info: &PeerInfo) -> Json {
    json!({
        "peer": info.id.0, "user": info.user, "name": info.name, "role": info.role,
        "away": info.presence == Presence::Away, "muted": info.muted,
        "self_muted": info.self_muted, "moderator": info.moderator,
    })
}

fn message(kind: &str, from: PeerId, channel: u8, payload: &[u8]) -> Json {
    let payload = String::from_utf8_lossy(payload);
    json!({ "sees": kind, "from": from.0, "channel": channel, "payload": payload })
}

fn end(kind: &str, code: Option<Code>, text: &str) -> Json {
    json!({ "sees": kind, "code": number(code), "why": text })
}

fn moderated(audit: &Audit) -> Json {
    let act = match audit.act {
        ModerationAct::Kick => 1,
        ModerationAct::Lock => 2,
        ModerationAct::Unlock => 3,
        ModerationAct::Hide => 4,
        ModerationAct::Show => 5,
        ModerationAct::Mute => 6,
        ModerationAct::Unmute => 7,
        ModerationAct::MuteAll => 8,
        ModerationAct::UnmuteAll => 9,
        ModerationAct::Clear => 12,
        ModerationAct::HandOver => 13,
        ModerationAct::End => 20,
        ModerationAct::Other(number) => number,
    };
    let peer = audit.peer.map_or(0, |peer| peer.0);
    json!({
        "sees": "moderated", "act": act, "by": audit.by.0, "peer": peer, "user": audit.user,
        "seconds": audit.ban.as_secs(),
    })
}

fn throttle(what: Throttle) -> u8 {
    match what {
        Throttle::Events => 1,
        Throttle::Bulk => 2,
        Throttle::Requests => 3,
        Throttle::Realtime => 4,
        Throttle::SpeakerLimit => 5,
        Throttle::Muted => 6,
        // A kind of a later version.
        _ => 0,
    }
}

fn state_change(change: StateChange) -> Json {
    let owner_of = |owner: Option<PeerId>| owner.map_or(0, |owner| owner.0);
    match change {
        StateChange::Field { entity, key, value: new, .. } => {
            let (scope, id) = parts(entity);
            let new = new.as_ref().map(value);
            json!({ "sees": "field", "scope": scope, "id": id, "key": key, "value": new })
        }
        StateChange::Created { object, owner, mode: kind, .. } => {
            json!({ "sees": "created", "id": object.0, "owner": owner_of(owner), "mode": mode(kind) })
        }
        StateChange::Deleted { entity, .. } => {
            let (scope, id) = parts(entity);
            json!({ "sees": "deleted", "scope": scope, "id": id })
        }
        StateChange::Owner { object, owner, .. } => {
            json!({ "sees": "owner", "id": object.0, "owner": owner_of(owner) })
        }
        StateChange::Claimed { object, by } => {
            json!({ "sees": "claimed", "id": object.0, "by": by.0 })
        }
        StateChange::Host { host } => json!({ "sees": "host", "host": host.map(|host| host.0) }),
    }
}

fn parts(entity: EntityId) -> (u8, u64) {
    match entity {
        EntityId::Room => (0, 0),
        EntityId::Peer(peer) => (1, peer.0.into()),
        EntityId::Object(object) => (2, object.0),
    }
}

fn value(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!({ "bool": value }),
        Value::Integer(value) => json!({ "integer": value }),
        Value::Float(value) => json!({ "float": value }),
        Value::Text(value) => json!({ "text": value }),
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "bytes": hex })
        }
    }
}

fn mode(mode: ObjectMode) -> u8 {
    let ownership = match mode.ownership {
        Ownership::Fixed => 0,
        Ownership::Ask => 1,
        Ownership::Take => 2,
    };
    ownership | if mode.with_room { WITH_ROOM } else { 0 }
}

fn user(user: &UserInfo) -> Json {
    let status = match user.status {
        Status::Online => 1,
        Status::Busy => 2,
        Status::Away => 3,
    };
    json!({ "user": user.user, "name": user.name, "role": user.role, "status": status })
}
