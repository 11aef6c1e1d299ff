//! Tests of [`Replica`] and [`Batch`], with valid and invalid messages of a server.

use nucleus_protocol::limits::{MAX_STATE_FIELDS, MAX_STATE_OBJECTS, MAX_STATE_VALUE};
use nucleus_protocol::session::{
    self, AWAY, Change, PRESENT, Peer, StateSnapshot, StateUpdate, change, mode, operation, scope,
    value,
};

use super::*;
use crate::roster::{PeerId, Roster};

const CUP: ObjectId = ObjectId(1 << 32 | 7);

fn wire(kind: u8, bits: u64, bytes: &[u8]) -> session::Value {
    session::Value { kind, bits, bytes: bytes.to_vec() }
}

fn text(text: &str) -> session::Value {
    wire(value::TEXT, 0, text.as_bytes())
}

fn changed(kind: u8, entity: impl Into<EntityId>) -> Change {
    let (scope, id) = entity.into().parts();
    Change { kind, scope, id, peer: 0, mode: 0, key: vec![], value: session::Value::default() }
}

fn set(entity: impl Into<EntityId>, key: &str, value: session::Value) -> Change {
    Change { key: key.as_bytes().to_vec(), value, ..changed(change::SET, entity) }
}

fn by(kind: u8, object: ObjectId, peer: u32) -> Change {
    Change { peer, mode: mode::TAKE, ..changed(kind, object) }
}

fn update(version: u64, changes: Vec<Change>) -> StateUpdate {
    StateUpdate { version, peer: 1, changes }
}

fn field(key: &str, value: session::Value, version: u64) -> session::Field {
    session::Field { key: key.as_bytes().to_vec(), value, version }
}

fn entity(of: impl Into<EntityId>, fields: Vec<session::Field>) -> session::Entity {
    let (scope, id) = of.into().parts();
    session::Entity { scope, id, owner: 0, mode: 0, fields }
}

fn snapshot(version: u64, entities: Vec<session::Entity>) -> StateSnapshot {
    StateSnapshot { version, host: 0, entities }
}

fn empty(version: u64) -> Replica {
    let mut replica = Replica::new();
    replica.apply_snapshot(snapshot(version, vec![])).unwrap();
    replica
}

/// Returns the state of a room with a topic, a peer's field and an object.
fn example() -> Replica {
    let mut replica = Replica::new();
    let changes = vec![
        set(EntityId::Room, "topic", text("drill")),
        set(PeerId(2), "hand", wire(value::BOOL, 1, &[])),
        by(change::CREATED, CUP, 1),
        set(CUP, "color", text("red")),
    ];
    assert_eq!(replica.apply_update(update(1, changes)).unwrap().len(), 4);
    replica
}

/// Returns the snapshot that the server would send for `replica`.
fn as_snapshot(replica: &Replica) -> StateSnapshot {
    let fields = |of: EntityId| {
        let fields = replica.fields(of);
        fields.map(|(key, f)| field(key, f.value.clone().into(), f.version)).collect()
    };
    let mut entities = vec![
        entity(EntityId::Room, fields(EntityId::Room)),
        entity(PeerId(2), fields(PeerId(2).into())),
    ];
    entities.extend(replica.objects().map(|object| session::Entity {
        owner: object.owner.map_or(0, |peer| peer.0),
        mode: object.mode.to_wire(),
        ..entity(object.id, fields(object.id.into()))
    }));
    snapshot(replica.version(), entities)
}

#[test]
fn values_travel() {
    let values = [
        Value::Bool(true),
        Value::Integer(-3),
        Value::Float(-0.5),
        Value::Float(f64::INFINITY),
        Value::from("grün"),
        Value::from(vec![0, 255]),
        Value::from(String::new()),
    ];
    for value in values {
        let wire = session::Value::from(value.clone());
        assert_eq!(Value::from_wire(wire), Ok(Some(value)));
    }
    assert_eq!(Value::from_wire(session::Value::default()), Ok(None));
}

#[test]
fn values_that_are_none_are_refused() {
    let long = vec![b'x'; MAX_STATE_VALUE + 1];
    for bad in [
        wire(6, 0, &[]),
        wire(255, 0, &[]),
        wire(value::BOOL, 2, &[]),
        wire(value::FLOAT, f64::NAN.to_bits(), &[]),
        wire(value::TEXT, 0, &[0xc3, 0x28]),
        wire(value::TEXT, 0, &long),
        wire(value::BYTES, 0, &long),
    ] {
        let fault = StateFault::Value(bad.kind);
        assert_eq!(Value::from_wire(bad), Err(fault));
    }
}

#[test]
fn modes_and_entities_travel() {
    for mode in [ObjectMode::FIXED, ObjectMode::ASK, ObjectMode::TAKE] {
        for mode in [mode, mode.with_room()] {
            assert_eq!(ObjectMode::from_wire(mode.to_wire()), Ok(mode));
        }
    }
    for unknown in [3, 0x20, 0x13, 0xff] {
        assert_eq!(ObjectMode::from_wire(unknown), Err(StateFault::ObjectMode(unknown)));
    }
    for of in [EntityId::Room, PeerId(9).into(), CUP.into(), ObjectId::scene(1).into()] {
        let (scope, id) = of.parts();
        assert_eq!(EntityId::from_wire(scope, id), Ok(of));
    }
    for (scope, id) in [(scope::ROOM, 1), (scope::PEER, 0), (scope::PEER, 1 << 32), (3, 0)] {
        assert_eq!(EntityId::from_wire(scope, id), Err(StateFault::Entity { scope, id }));
    }
    assert_eq!((CUP.maker(), CUP.to_string()), (Some(PeerId(1)), "1.7".to_owned()));
    assert_eq!(ObjectId::scene(7).maker(), None);
}

#[test]
fn updates_apply_in_order() {
    let mut replica = example();
    let color = replica.field(CUP.into(), "color").unwrap();
    assert_eq!((color.value.as_text(), color.version), (Some("red"), 1));
    let owner = Some(PeerId(1));
    assert_eq!(replica.object(CUP), Some(&Object { id: CUP, owner, mode: ObjectMode::TAKE }));

    let changes = vec![
        by(change::OWNER, CUP, 2),
        by(change::CLAIMED, CUP, 3),
        set(EntityId::Room, "topic", session::Value::default()),
        // Removing a field that does not exist is valid.
        set(EntityId::Room, "topic", session::Value::default()),
        changed(change::DELETED, PeerId(2)),
    ];
    let reported = replica.apply_update(update(2, changes)).unwrap();
    let requester = Some(PeerId(1));
    let topic = || StateChange::Field {
        entity: EntityId::Room,
        key: "topic".to_owned(),
        value: None,
        by: requester,
    };
    assert_eq!(
        reported,
        [
            StateChange::Owner { object: CUP, owner: Some(PeerId(2)), by: requester },
            StateChange::Claimed { object: CUP, by: PeerId(3) },
            topic(),
            topic(),
            StateChange::Deleted { entity: PeerId(2).into(), by: requester },
        ]
    );
    assert_eq!(replica.field(EntityId::Room, "topic"), None);
    let deleted = update(3, vec![changed(change::DELETED, CUP)]);
    replica.apply_update(deleted).unwrap();
    assert_eq!(replica, empty(3));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let nowhere = ObjectId(99);
    let bad_key = |key: &[u8]| Change { key: key.to_vec(), ..set(EntityId::Room, "", text("")) };
    let no_room = |kind| StateFault::Entity { scope: kind, id: 0 };
    for (bad, fault) in [
        (set(nowhere, "k", text("")), StateFault::Missing(nowhere)),
        (set(nowhere, "k", session::Value::default()), StateFault::Missing(nowhere)),
        (by(change::OWNER, nowhere, 1), StateFault::Missing(nowhere)),
        (by(change::CLAIMED, nowhere, 1), StateFault::Missing(nowhere)),
        (changed(change::DELETED, nowhere), StateFault::Missing(nowhere)),
        (by(change::CREATED, CUP, 1), StateFault::Duplicate),
        (Change { mode: 9, ..by(change::CREATED, nowhere, 1) }, StateFault::ObjectMode(9)),
        (changed(change::CREATED, EntityId::Room), no_room(scope::ROOM)),
        (changed(change::DELETED, EntityId::Room), no_room(scope::ROOM)),
        (changed(77, EntityId::Room), StateFault::Change(77)),
        (changed(0, EntityId::Room), StateFault::Change(0)),
        (Change { scope: 9, ..set(EntityId::Room, "k", text("")) }, no_room(9)),
        (set(EntityId::Room, "k", wire(8, 0, &[])), StateFault::Value(8)),
        (bad_key(&[]), StateFault::Key),
        (bad_key(&[0xff]), StateFault::Key),
        (bad_key(&[b'k'; 65]), StateFault::Key),
    ] {
        let refused = example().apply_update(update(2, vec![bad.clone()]));
        assert_eq!(refused, Err(fault), "{bad:?}");
    }
    assert!(example().apply_update(update(2, vec![by(change::CLAIMED, CUP, 0)])).is_err());
    for found in [0, 1, 3, u64::MAX] {
        let fault = StateFault::Version { expected: 2, found };
        assert_eq!(example().apply_update(update(found, vec![])), Err(fault));
    }
}

#[test]
fn snapshots_that_make_no_sense_are_refused() {
    let topic = || field("topic", text("x"), 1);
    let untyped = field("topic", session::Value::default(), 1);
    let room = || entity(EntityId::Room, vec![topic()]);
    let strange = session::Entity { scope: 5, ..room() };
    for (entities, fault) in [
        (vec![room(), room()], StateFault::Duplicate),
        (vec![entity(CUP, vec![]), entity(CUP, vec![])], StateFault::Duplicate),
        (vec![entity(EntityId::Room, vec![topic(), topic()])], StateFault::Duplicate),
        (vec![entity(EntityId::Room, vec![untyped])], StateFault::Value(0)),
        (vec![strange], StateFault::Entity { scope: 5, id: 0 }),
        (
            vec![entity(EntityId::Room, vec![field("k", text(""), 2)])],
            StateFault::Version { expected: 1, found: 2 },
        ),
    ] {
        let mut replica = example();
        assert_eq!(replica.apply_snapshot(snapshot(1, entities)), Err(fault));
        assert_eq!(replica, example());
    }
}

#[test]
fn what_is_kept_has_bounds() {
    let mut replica = Replica::new();
    let fields = |n| (0..n).map(|i| set(EntityId::Room, &i.to_string(), text(""))).collect();
    assert!(replica.apply_update(update(1, fields(MAX_STATE_FIELDS))).is_ok());
    let refused = replica.apply_update(update(2, fields(MAX_STATE_FIELDS + 1)));
    assert_eq!(refused, Err(StateFault::Full("fields")));

    let objects = |n| (0..n as u64).map(|i| by(change::CREATED, ObjectId(i), 1)).collect();
    assert!(Replica::new().apply_update(update(1, objects(MAX_STATE_OBJECTS))).is_ok());
    let refused = Replica::new().apply_update(update(1, objects(MAX_STATE_OBJECTS + 1)));
    assert_eq!(refused, Err(StateFault::Full("objects")));

    let large = wire(value::BYTES, 0, &[0; MAX_STATE_VALUE]);
    let mut many = 0;
    let mut replica = Replica::new();
    let full = loop {
        many += 1;
        let change = set(PeerId(many), "k", large.clone());
        if let Err(fault) = replica.apply_update(update(many.into(), vec![change])) {
            break fault;
        }
    };
    assert_eq!((full, many), (StateFault::Full("bytes"), 254));
}

#[test]
fn costs_add_up() {
    let mut replica = example();
    let changes = vec![
        set(CUP, "color", text("a much longer colour")),
        set(CUP, "color", session::Value::default()),
        set(CUP, "size", wire(value::INTEGER, 3, &[])),
        set(PeerId(2), "hand", session::Value::default()),
        set(EntityId::Room, "topic", session::Value::default()),
        changed(change::DELETED, CUP),
    ];
    replica.apply_update(update(2, changes)).unwrap();
    assert_eq!(replica, empty(2));
}

#[test]
fn a_snapshot_tells_what_changed_meanwhile() {
    let mut replica = example();
    assert_eq!(replica.apply_snapshot(as_snapshot(&example())), Ok(vec![]));

    let mut later = example();
    let (ball, box_) = (ObjectId::scene(1), ObjectId::new(PeerId(2), 1));
    let changes = vec![
        by(change::CREATED, ball, 0),
        set(ball, "size", wire(value::INTEGER, 3, &[])),
        by(change::CREATED, box_, 2),
        by(change::OWNER, CUP, 0),
        set(CUP, "color", text("blue")),
        set(EntityId::Room, "topic", session::Value::default()),
        changed(change::DELETED, PeerId(2)),
    ];
    later.apply_update(update(2, changes)).unwrap();
    let reported = replica.apply_snapshot(as_snapshot(&later)).unwrap();
    let field = |entity: EntityId, key: &str, value: Option<Value>| StateChange::Field {
        entity,
        key: key.to_owned(),
        value,
        by: None,
    };
    let created =
        |object, owner| StateChange::Created { object, owner, mode: ObjectMode::TAKE, by: None };
    assert_eq!(
        reported,
        [
            StateChange::Deleted { entity: PeerId(2).into(), by: None },
            field(EntityId::Room, "topic", None),
            created(ball, None),
            field(ball.into(), "size", Some(Value::Integer(3))),
            StateChange::Owner { object: CUP, owner: None, by: None },
            field(CUP.into(), "color", Some(Value::from("blue"))),
            created(box_, Some(PeerId(2))),
        ]
    );
    assert_eq!(replica, later);

    let changes = replica.clear();
    assert_eq!(replica, Replica::new());
    let deleted = |change: &StateChange| matches!(change, StateChange::Deleted { .. });
    assert!(changes.len() == 3 && changes.iter().all(deleted));
}

#[test]
fn digests_tell_states_apart() {
    let digest = example().digest();
    let mut copy = Replica::new();
    copy.apply_snapshot(as_snapshot(&example())).unwrap();
    assert_eq!(copy.digest(), digest);

    let mut seen = vec![digest, Replica::new().digest()];
    for change in [
        set(CUP, "color", text("Red")),
        set(CUP, "colour", text("red")),
        set(CUP, "color", wire(value::BYTES, 0, b"red")),
        set(PeerId(2), "hand", wire(value::BOOL, 0, &[])),
        by(change::OWNER, CUP, 2),
        Change { peer: 1, ..changed(change::HOST, EntityId::Room) },
        by(change::CLAIMED, CUP, 2),
    ] {
        let mut other = example();
        other.apply_update(update(2, vec![change])).unwrap();
        assert!(!seen.contains(&other.digest()));
        seen.push(other.digest());
    }
}

/// Returns a random change, valid or not, mostly of existing entities.
fn random_change(rng: &mut fastrand::Rng) -> Change {
    let pick = |rng: &mut fastrand::Rng, of: &[u8]| of[rng.usize(..of.len())];
    let entities: [EntityId; 4] =
        [EntityId::Room, PeerId(2).into(), CUP.into(), ObjectId(rng.u64(0..3)).into()];
    let (scope, id) = entities[rng.usize(..4)].parts();
    let bytes = (0..rng.usize(..3)).map(|_| rng.u8(b'a'..b'd')).collect();
    Change {
        kind: pick(rng, &[1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7]),
        scope: if rng.u8(..) == 0 { rng.u8(..) } else { scope },
        id,
        peer: rng.u32(0..4),
        mode: pick(rng, &[0, 1, 2, 0x10, 0x12, 3]),
        key: (0..rng.usize(0..4)).map(|_| rng.u8(b'a'..b'c')).collect(),
        value: session::Value { kind: rng.u8(0..7), bits: rng.u64(0..3), bytes },
    }
}

#[test]
fn whatever_comes_copies_agree_or_refuse_it_alike() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut replica, mut late) = (Replica::new(), Replica::new());
        let (mut version, mut host) = (0, 0);
        for _ in 0..200 {
            let update = update(version + 1, vec![random_change(&mut rng)]);
            let mut next = replica.clone();
            let applied = next.apply_update(update.clone());
            assert_eq!(late.clone().apply_update(update.clone()), applied, "seed {seed}");
            if applied.is_err() {
                continue;
            }
            let hosts = update.changes.iter().filter(|change| change.kind == change::HOST);
            host = hosts.map(|change| change.peer).next_back().unwrap_or(host);
            late.apply_update(update).unwrap();
            (replica, version) = (next, version + 1);
            if rng.u8(0..10) == 0 {
                late = Replica::new();
                late.apply_snapshot(StateSnapshot { host, ..as_snapshot(&replica) }).unwrap();
            }
            // The comparison includes the costs.
            assert_eq!(late, replica, "seed {seed}");
            assert_eq!(late.digest(), replica.digest(), "seed {seed}");
        }
        assert!(version > 20, "seed {seed}: {version}");
    }
}

#[test]
fn the_chosen_host_leads_while_it_is_present() {
    let peer = |peer, presence| Peer {
        peer,
        slot: peer as u16,
        presence,
        user: vec![],
        name: vec![],
        role: vec![],
    };
    let mut replica = Replica::new();
    let roster = Roster::new(0, [peer(1, AWAY), peer(2, PRESENT), peer(3, PRESENT)]).unwrap();
    assert_eq!(replica.host(&roster), Some(PeerId(2)));
    let host = |peer| Change { peer, ..changed(change::HOST, EntityId::Room) };
    for (version, (chosen, host_now)) in (1..).zip([(3, 3), (1, 2), (9, 2), (3, 3), (0, 2)]) {
        assert_eq!(replica.apply_update(update(version, vec![host(chosen)])), Ok(vec![]));
        assert_eq!(replica.host(&roster), Some(PeerId(host_now)), "{chosen}");
    }
    assert_eq!(replica.host(&Roster::new(0, []).unwrap()), None);
}

#[test]
fn batches_become_operations() {
    let batch = Batch::new()
        .set(EntityId::Room, "topic", "drill")
        .compare_and_set(PeerId(2), "hand", 4, true)
        .remove(CUP, "color")
        .compare_and_remove(CUP, "size", 0)
        .create(CUP, ObjectMode::ASK.with_room())
        .claim(CUP)
        .give(CUP, PeerId(5))
        .host(PeerId(6))
        .delete(CUP);
    let operations = batch.into_operations().unwrap();
    let kinds: Vec<u8> = operations.iter().map(|operation| operation.kind).collect();
    assert_eq!(kinds, [1, 1, 1, 1, 2, 4, 5, 6, 3]);
    assert_eq!(operations[0].value, text("drill"));
    assert_eq!((operations[0].expected, operations[1].expected), (session::ANY_VERSION, 4));
    assert_eq!((operations[1].scope, operations[1].id), (scope::PEER, 2));
    assert_eq!((&operations[2].value, operations[3].expected), (&session::Value::default(), 0));
    assert_eq!((operations[4].mode, operations[4].id), (mode::ASK | mode::WITH_ROOM, CUP.0));
    assert_eq!((operations[6].peer, operations[7].peer), (5, 6));
    assert_eq!((operations[7].kind, operations[7].scope), (operation::HOST, scope::ROOM));
}

#[test]
fn a_mistake_is_told_at_its_operation() {
    let room = EntityId::Room;
    let ok = || Batch::new().set(room, "k", 1);
    let full = (0..64).fold(Batch::new(), |batch, _| batch.set(room, "k", 1));
    let long = "x".repeat(MAX_STATE_VALUE + 1);
    assert_eq!(Batch::new().into_operations(), Err(BatchError::Count(0)));
    assert_eq!(full.clone().into_operations().map(|operations| operations.len()), Ok(64));
    assert_eq!(full.claim(CUP).into_operations(), Err(BatchError::Count(65)));
    for (batch, error) in [
        (ok().set(room, "", 1), BatchError::Key { operation: 1, len: 0 }),
        (ok().remove(room, &"k".repeat(65)), BatchError::Key { operation: 1, len: 65 }),
        (ok().set(room, "k", long), BatchError::Value { operation: 1, len: MAX_STATE_VALUE + 1 }),
        (ok().set(room, "k", f64::NAN).set(room, "", 1), BatchError::NotANumber { operation: 1 }),
    ] {
        assert_eq!(batch.into_operations(), Err(error));
    }
    // A person counts from 1.
    let text = BatchError::NotANumber { operation: 1 }.to_string();
    assert_eq!(text, "operation 2: the float is NaN");
}
