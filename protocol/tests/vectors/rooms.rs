//! Vectors of messages about finding and creating rooms.

use nucleus_protocol::session::*;
use serde_json::{Value as Json, json};

use super::fields::{Fields, all, archive, strings, text};
use super::hex;

impl Fields for RoomOptions {
    fn fields(&self) -> Json {
        json!({ "capacity": self.capacity, "flags": self.flags,
                "empty_ttl_ms": self.empty_ttl_ms, "listed": strings(&self.listed),
                "fields": all(&self.fields) })
    }
}

impl Fields for RoomField {
    fn fields(&self) -> Json {
        json!({ "key": hex(&self.key), "value": self.value.fields() })
    }
}

impl Fields for Filter {
    fn fields(&self) -> Json {
        json!({ "key": hex(&self.key), "kind": self.kind, "values": all(&self.values) })
    }
}

impl Fields for WatchRooms {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "version": hex(&self.version),
                "filters": all(&self.filters) })
    }
}

impl Fields for RoomList {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "total": self.total, "whole": self.whole,
                "rooms": all(&self.rooms), "gone": strings(&self.gone) })
    }
}

impl Fields for RoomInfo {
    fn fields(&self) -> Json {
        json!({ "room": hex(&self.room), "peers": self.peers, "capacity": self.capacity,
                "flags": self.flags, "fields": all(&self.fields) })
    }
}

fn level(level: i64) -> Value {
    Value { kind: value::INTEGER, bits: level.cast_unsigned(), bytes: Vec::new() }
}

fn map(name: &str) -> Value {
    Value { kind: value::TEXT, bits: 0, bytes: text(name) }
}

fn fields() -> Vec<RoomField> {
    vec![
        RoomField { key: text("level"), value: level(-3) },
        RoomField { key: text("map"), value: map("Werft") },
    ]
}

fn filters() -> Vec<Filter> {
    let one_of = vec![map("Werft"), map("Halle 4")];
    let range = vec![level(-5), Value::default()];
    vec![
        Filter { key: text("map"), kind: filter::ONE_OF, values: one_of },
        Filter { key: text("level"), kind: filter::RANGE, values: range },
    ]
}

/// Returns `join` with every field set that selects or creates a room.
pub(super) fn searching(join: Join) -> Join {
    let options = RoomOptions {
        capacity: 12,
        flags: room_flag::HIDDEN | room_flag::BY_INVITATION,
        empty_ttl_ms: 60_000,
        listed: vec![text("level"), text("map")],
        fields: fields(),
    };
    Join {
        mode: join_mode::MATCH_OR_CREATE,
        version: text("1.4"),
        password: text("sesame"),
        expected: vec![text("u-18"), text("u-19")],
        options,
        filters: filters(),
        ..join
    }
}

pub(super) fn messages() -> Vec<Json> {
    let flags = ROOM_LOCKED | ROOM_PASSWORD;
    let info = RoomInfo { room: text("Werft 1"), peers: 3, capacity: 12, flags, fields: fields() };
    let bare = RoomInfo { room: text("x"), peers: 0, capacity: 2, flags: 0, fields: Vec::new() };
    let changes = RoomList {
        request: 7,
        total: 501,
        whole: 0,
        rooms: vec![info, bare],
        gone: vec![text("y")],
    };
    let version = text("1.4");
    vec![
        archive!("watch rooms", WatchRooms { request: 7, version, filters: filters() }),
        archive!(
            "watch rooms, any",
            WatchRooms { request: 8, version: Vec::new(), filters: Vec::new() }
        ),
        archive!("room list, changes", changes),
        archive!("room list, empty", RoomList { whole: 1, ..RoomList::default() }),
    ]
}
