//! What the application does, as the runner tells it.

use std::time::Duration;

use nucleus_client::state::Ownership;
use nucleus_client::{
    Batch, CallId, ConnectOptions, EntityId, Group, ObjectId, ObjectMode, PeerId, Query,
    RenewError, Room, RoomOptions, RpcFault, RpcId, SendError, Social, SocialError, StateError,
    Status, To, Value,
};
use serde_json::{Value as Json, json};

use crate::reports;

/// Bit of an object's mode: the object outlives its owner.
const WITH_ROOM: u8 = 0x10;
/// Calls of the social session. All others are for the room.
const SOCIAL: [&str; 9] = [
    "watch_users",
    "set_status",
    "start_call",
    "accept",
    "reject",
    "cancel",
    "hang_up",
    "add",
    "leave_social",
];

pub(super) fn is_for_room(call: &str) -> bool {
    !SOCIAL.contains(&call)
}

/// Sets which room a join asks for.
pub(super) fn room_choice(options: ConnectOptions, call: &Json) -> ConnectOptions {
    let text = |name: &str| call[name].as_str().unwrap_or_default();
    let options = options
        .version(text("version"))
        .password(text("password"))
        .expect_users(texts(&call["expected"]))
        .options(room_options(&call["options"]));
    match u8_of(&call["mode"]) {
        1 => options.create(),
        2 => options.join_only(),
        3 => options.match_room(query(&call["filters"])),
        4 => options.match_or_create(query(&call["filters"])),
        _ => options,
    }
}

fn room_options(options: &Json) -> RoomOptions {
    let flags = u8_of(&options["flags"]);
    let mut room = RoomOptions::new()
        .capacity(u16::try_from(u64_of(&options["capacity"])).unwrap_or_default())
        .empty_ttl(Duration::from_millis(u64_of(&options["empty_ttl_ms"])))
        .listed(texts(&options["listed"]));
    if flags & 1 != 0 {
        room = room.hidden();
    }
    if flags & 2 != 0 {
        room = room.locked();
    }
    if flags & 4 != 0 {
        room = room.kept();
    }
    if flags & 8 != 0 {
        room = room.by_invitation();
    }
    let fields = options["fields"].as_array().into_iter().flatten();
    fields.fold(room, |room, field| match value(&field["value"]) {
        Some(value) => room.field(field["key"].as_str().unwrap_or_default(), value),
        None => room,
    })
}

fn query(filters: &Json) -> Query {
    let filters = filters.as_array().into_iter().flatten();
    filters.fold(Query::new(), |query, filter| {
        let key = filter["key"].as_str().unwrap_or_default();
        if let Some(values) = filter["one_of"].as_array() {
            return query.one_of(key, values.iter().filter_map(value));
        }
        match (value(&filter["low"]), value(&filter["high"])) {
            (Some(low), Some(high)) => query.between(key, low, high),
            (Some(low), None) => query.at_least(key, low),
            (None, Some(high)) => query.at_most(key, high),
            (None, None) => query,
        }
    })
}

pub(super) async fn in_room(room: &Room, name: &str, call: &Json) -> Json {
    let (to, channel) = (&call["to"], u8_of(&call["channel"]));
    let payload = call["payload"].as_str().unwrap_or_default().as_bytes();
    match name {
        "peers" => json!({ "me": room.me().0, "peers": reports::peers(room) }),
        "state" => reports::state(room),
        "send_event" => sent(room.send_event(recipients(to), channel, payload).await),
        "send_bulk" => sent(room.send_bulk(recipients(to), channel, payload).await),
        "send_typed_event" => {
            let event_type = call["type"].as_str().unwrap_or_default();
            sent(room.send_typed_event(recipients(to), event_type, payload).await)
        }
        "rpc" => {
            let method = call["method"].as_str().unwrap_or_default();
            let timeout = Duration::from_millis(u64_of(&call["timeout_ms"]));
            reports::rpc_result(room.rpc(peer(to), method, payload, timeout).await)
        }
        "answer_rpc" => answered(room, call, payload),
        "send_message" => {
            let key = u16::try_from(u64_of(&call["key"])).unwrap_or_default();
            sent(room.send_unreliable(target(to), channel, key, payload))
        }
        "change" => match room.change(batch(&call["operations"])).await {
            Ok(version) => json!({ "code": 0, "version": version }),
            Err(error) => state_error(&error),
        },
        "subscribe" => {
            let numbers = call["groups"].as_array().into_iter().flatten();
            let groups: Vec<Group> = numbers.filter_map(|n| Group::new(u8_of(n))).collect();
            done(&room.subscribe(groups).await)
        }
        "kick" => {
            let ban = Some(u64_of(&call["seconds"])).filter(|seconds| *seconds > 0);
            done(&room.kick(peer(&call["peer"]), ban.map(Duration::from_secs)).await)
        }
        "renew" => match room.renew(call["token"].as_str().unwrap_or_default()).await {
            Ok(()) => json!({ "code": 0 }),
            Err(RenewError::Refused { number, .. }) => json!({ "code": number }),
            Err(error) => json!({ "code": null, "why": error.to_string() }),
        },
        "leave" => {
            room.leave().await;
            json!({ "code": 0 })
        }
        _ => json!({ "why": "unknown call" }),
    }
}

pub(super) async fn in_social_session(social: &Social, name: &str, call: &Json) -> Json {
    let id = CallId(u64_of(&call["call_id"]));
    let done = |result: Result<(), SocialError>| match result {
        Ok(()) => json!({ "code": 0 }),
        Err(error) => social_error(&error),
    };
    match name {
        "watch_users" => {
            let (roles, users) = (texts(&call["roles"]), texts(&call["users"]));
            done(social.watch_users(&roles, &users).await)
        }
        "set_status" => {
            social.set_status(status(u64_of(&call["status"])));
            json!({ "code": 0 })
        }
        "start_call" => {
            let text = call["text"].as_str().unwrap_or_default();
            match social.start(&texts(&call["users"]), text).await {
                Ok(CallId(number)) => json!({ "code": 0, "call_id": number }),
                Err(error) => social_error(&error),
            }
        }
        "accept" => done(social.accept(id).await),
        "reject" => done(social.reject(id).await),
        "cancel" => done(social.cancel(id).await),
        "hang_up" => done(social.hang_up(id).await),
        "add" => done(social.add(id, call["user"].as_str().unwrap_or_default()).await),
        "leave_social" => {
            social.leave().await;
            json!({ "code": 0 })
        }
        _ => json!({ "why": "unknown call" }),
    }
}

fn sent(result: Result<(), SendError>) -> Json {
    match result {
        Ok(()) => json!({ "code": 0 }),
        Err(error) => json!({ "code": null, "why": error.to_string() }),
    }
}

/// Answers a request of a peer: with the payload, or with a failure.
fn answered(room: &Room, call: &Json, payload: &[u8]) -> Json {
    let code = u16::try_from(u64_of(&call["code"])).unwrap_or_default();
    let fault = || RpcFault::new(code, String::from_utf8_lossy(payload));
    let answer = if code == 0 { Ok(payload) } else { Err(fault()) };
    match room.answer_rpc(RpcId(u64_of(&call["request"])), answer) {
        Ok(()) => json!({ "code": 0 }),
        Err(error) => json!({ "code": null, "why": error.to_string() }),
    }
}

fn done(result: &Result<(), StateError>) -> Json {
    match result {
        Ok(()) => json!({ "code": 0 }),
        Err(error) => state_error(error),
    }
}

fn state_error(error: &StateError) -> Json {
    match error {
        StateError::Refused { number, version, .. } => {
            json!({ "code": number, "version": version })
        }
        other => json!({ "code": null, "why": other.to_string() }),
    }
}

fn social_error(error: &SocialError) -> Json {
    match error {
        SocialError::Refused { number, .. } => json!({ "code": number }),
        other => json!({ "code": null, "why": other.to_string() }),
    }
}

fn recipients(to: &Json) -> To {
    match to.as_str() {
        Some("all") => To::All,
        Some("host") => To::Host,
        Some("later") => To::OthersAndLater,
        Some(_) => To::Others,
        None => match to["peers"].as_array() {
            Some(peers) => To::Peers(peers.iter().map(peer).collect()),
            None => Group::new(u8_of(&to["group"])).map_or(To::Others, To::Group),
        },
    }
}

fn target(to: &Json) -> To {
    match to.as_str() {
        Some("host") => To::Host,
        Some(_) => To::Others,
        None if to["peer"].is_u64() => To::Peer(peer(&to["peer"])),
        None => Group::new(u8_of(&to["group"])).map_or(To::Others, To::Group),
    }
}

/// Returns the operations that the runner names. Unknown ones are left out, so that the runner sees
/// a request that is not as expected.
fn batch(operations: &Json) -> Batch {
    let operations = operations.as_array().into_iter().flatten();
    operations.fold(Batch::new(), |batch, operation| {
        let object = ObjectId(u64_of(&operation["id"]));
        match operation["kind"].as_str() {
            Some("set") => set(batch, operation),
            Some("create") => batch.create(object, mode(u8_of(&operation["mode"]))),
            Some("delete") => batch.delete(object),
            Some("claim") => batch.claim(object),
            Some("give") => batch.give(object, peer(&operation["peer"])),
            Some("host") => batch.host(peer(&operation["peer"])),
            _ => batch,
        }
    })
}

fn set(batch: Batch, operation: &Json) -> Batch {
    let id = &operation["id"];
    let entity = match u8_of(&operation["scope"]) {
        0 => EntityId::Room,
        1 => EntityId::Peer(peer(id)),
        _ => EntityId::Object(ObjectId(u64_of(id))),
    };
    let key = operation["key"].as_str().unwrap_or_default();
    match (value(&operation["value"]), operation["expected"].as_u64()) {
        (Some(value), None) => batch.set(entity, key, value),
        (Some(value), Some(version)) => batch.compare_and_set(entity, key, version, value),
        (None, None) => batch.remove(entity, key),
        (None, Some(version)) => batch.compare_and_remove(entity, key, version),
    }
}

fn value(value: &Json) -> Option<Value> {
    let (kind, content) = value.as_object()?.iter().next()?;
    match kind.as_str() {
        "bool" => content.as_bool().map(Value::Bool),
        "integer" => content.as_i64().map(Value::Integer),
        "float" => content.as_f64().map(Value::Float),
        "text" => content.as_str().map(|text| Value::Text(text.to_owned())),
        _ => None,
    }
}

fn mode(mode: u8) -> ObjectMode {
    let ownership = match mode & !WITH_ROOM {
        0 => Ownership::Fixed,
        1 => Ownership::Ask,
        _ => Ownership::Take,
    };
    ObjectMode { ownership, with_room: mode & WITH_ROOM != 0 }
}

fn status(number: u64) -> Status {
    match number {
        1 => Status::Online,
        2 => Status::Busy,
        _ => Status::Away,
    }
}

fn texts(list: &Json) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

fn peer(number: &Json) -> PeerId {
    PeerId(u32::try_from(u64_of(number)).unwrap_or_default())
}

fn u8_of(number: &Json) -> u8 {
    u8::try_from(u64_of(number)).unwrap_or_default()
}

fn u64_of(number: &Json) -> u64 {
    number.as_u64().unwrap_or_default()
}
