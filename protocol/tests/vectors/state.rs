//! Vectors of messages of the shared state, and of moderation.

use nucleus_protocol::session::*;
use serde_json::{Value as Json, json};

use super::fields::{Fields, all, archive, text};
use super::hex;

impl Fields for Value {
    fn fields(&self) -> Json {
        json!({ "kind": self.kind, "bits": self.bits, "bytes": hex(&self.bytes) })
    }
}

impl Fields for Operation {
    fn fields(&self) -> Json {
        json!({ "kind": self.kind, "scope": self.scope, "id": self.id, "mode": self.mode,
                "peer": self.peer, "key": hex(&self.key), "value": self.value.fields(),
                "expected": self.expected })
    }
}

impl Fields for StateRequest {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "operations": all(&self.operations) })
    }
}

impl Fields for StateReply {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "code": self.code, "failed": self.failed,
                "version": self.version })
    }
}

impl Fields for Moderate {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "act": self.act, "peer": self.peer,
                "seconds": self.seconds })
    }
}

impl Fields for Field {
    fn fields(&self) -> Json {
        json!({ "key": hex(&self.key), "value": self.value.fields(), "version": self.version })
    }
}

impl Fields for Entity {
    fn fields(&self) -> Json {
        json!({ "scope": self.scope, "id": self.id, "owner": self.owner, "mode": self.mode,
                "fields": all(&self.fields) })
    }
}

impl Fields for StateSnapshot {
    fn fields(&self) -> Json {
        json!({ "version": self.version, "host": self.host, "entities": all(&self.entities) })
    }
}

impl Fields for Change {
    fn fields(&self) -> Json {
        json!({ "kind": self.kind, "scope": self.scope, "id": self.id, "peer": self.peer,
                "mode": self.mode, "key": hex(&self.key), "value": self.value.fields() })
    }
}

impl Fields for StateUpdate {
    fn fields(&self) -> Json {
        json!({ "version": self.version, "peer": self.peer, "changes": all(&self.changes) })
    }
}

fn number(kind: u8, bits: u64) -> Value {
    Value { kind, bits, bytes: Vec::new() }
}

fn bytes(kind: u8, bytes: Vec<u8>) -> Value {
    Value { kind, bits: 0, bytes }
}

/// Returns a value of each type.
fn values() -> Vec<Value> {
    vec![
        Value::default(),
        number(value::BOOL, 1),
        number(value::INTEGER, (-3_i64) as u64),
        number(value::FLOAT, 0.25_f64.to_bits()),
        bytes(value::TEXT, text("Zoë")),
        bytes(value::BYTES, vec![0, 0xff]),
    ]
}

const SCENE: u64 = 12;
const OF_PEER: u64 = (70_000 << 32) | 1;

fn operation(kind: u8, scope: u8, id: u64) -> Operation {
    let (mode, peer, key, value, expected) = Default::default();
    Operation { kind, scope, id, mode, peer, key, value, expected }
}

fn set(scope: u8, id: u64, value: Value, expected: u64) -> Operation {
    Operation { key: text("color"), value, expected, ..operation(operation::SET, scope, id) }
}

fn requests() -> Vec<Json> {
    let object = |kind| operation(kind, scope::OBJECT, OF_PEER);
    let each = values().into_iter().map(|value| set(scope::PEER, 70_000, value, ANY_VERSION));
    let every_kind = vec![
        Operation { mode: mode::TAKE | mode::WITH_ROOM, ..object(operation::CREATE) },
        set(scope::OBJECT, OF_PEER, number(value::BOOL, 0), 0),
        object(operation::CLAIM),
        Operation { peer: 2, ..object(operation::GIVE) },
        object(operation::DELETE),
        Operation { peer: 2, ..operation(operation::HOST, scope::ROOM, 0) },
    ];
    let compare = vec![set(scope::ROOM, 0, bytes(value::TEXT, text("on")), 1 << 40)];
    vec![
        archive!("state request", StateRequest { request: 1, operations: compare }),
        archive!(
            "state request, every type",
            StateRequest { request: 2, operations: each.collect() }
        ),
        archive!("state request, every kind", StateRequest { request: 3, operations: every_kind }),
        archive!("state request, empty list", StateRequest { request: 4, operations: Vec::new() }),
        archive!(
            "moderate, kick",
            Moderate { request: 5, act: act::KICK, peer: 70_000, seconds: 86_400 }
        ),
        archive!("moderate, lock", Moderate { request: 6, act: act::LOCK, peer: 0, seconds: 0 }),
    ]
}

fn replies() -> Vec<Json> {
    let accepted = StateReply { request: 1, code: 0, failed: 0, version: 1 << 33 };
    let code = Code::Conflict as u16;
    let refused = StateReply { request: u32::MAX, code, failed: 63, version: 7 };
    vec![archive!("state reply", accepted), archive!("state reply, refused", refused)]
}

fn snapshots() -> Vec<Json> {
    let fields = |values: Vec<Value>| {
        let field = |(n, value): (u64, Value)| Field {
            key: format!("key-{n}").into(),
            value,
            version: 3 + n,
        };
        (0..).zip(values).map(field).collect()
    };
    let entity = |scope, id, owner, mode, values| {
        let fields = fields(values);
        Entity { scope, id, owner, mode, fields }
    };
    let flag = || vec![number(value::BOOL, 1)];
    let entities = vec![
        entity(scope::ROOM, 0, 0, 0, values().split_off(1)),
        entity(scope::PEER, 70_000, 0, 0, flag()),
        entity(scope::OBJECT, SCENE, 0, mode::ASK | mode::WITH_ROOM, flag()),
        entity(scope::OBJECT, OF_PEER, 2, mode::TAKE, Vec::new()),
    ];
    vec![
        archive!("state snapshot", StateSnapshot { version: 1 << 33, host: 2, entities }),
        archive!("state snapshot, empty", StateSnapshot::default()),
    ]
}

fn updates() -> Vec<Json> {
    let change = |kind, scope, id, peer| {
        let (mode, key, value) = Default::default();
        Change { kind, scope, id, peer, mode, key, value }
    };
    let object = |kind, peer| change(kind, scope::OBJECT, OF_PEER, peer);
    let set = |value| Change { key: text("color"), value, ..object(change::SET, 0) };
    let requested = vec![
        Change { mode: mode::TAKE, ..object(change::CREATED, 70_000) },
        set(bytes(value::TEXT, text("red"))),
        set(Value::default()),
        object(change::CLAIMED, 3),
        object(change::OWNER, 2),
        change(change::HOST, scope::ROOM, 0, 2),
    ];
    let after_leave = vec![
        change(change::DELETED, scope::PEER, 70_000, 0),
        change(change::OWNER, scope::OBJECT, SCENE, 0),
        object(change::DELETED, 0),
        change(change::HOST, scope::ROOM, 0, 0),
    ];
    vec![
        archive!(
            "state update",
            StateUpdate { version: 1 << 33, peer: 70_000, changes: requested }
        ),
        archive!(
            "state update, a peer gone",
            StateUpdate { version: 9, peer: 0, changes: after_leave }
        ),
        archive!("state update, empty list", StateUpdate { version: 1, peer: 1, changes: vec![] }),
    ]
}

/// Returns all vectors of this module.
pub(super) fn messages() -> Vec<Json> {
    [requests(), replies(), snapshots(), updates()].concat()
}
