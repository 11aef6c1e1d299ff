//! Tests of the shared state: each rule by itself here, form and limits in [`limits`], and all
//! rules together against a model in [`random`].

mod limits;
mod model;
mod random;
#[expect(unreachable_pub, reason = "nucleus-sim includes the same file and exports it")]
mod replica;

use nucleus_protocol::limits::{MAX_STATE_OPERATIONS, MAX_STATE_VALUE};
use nucleus_protocol::session::{
    ANY_VERSION, Operation, SESSION_HEADER_BYTES, Value, encode, operation, value,
};

use nucleus_protocol::time::Time;

use super::feed::StateFeed;
use super::*;
use model::PresentPeers;
use replica::Replica;

const OBJECT: u64 = 7;
/// An object number that only peer 1 may use.
const OF_ONE: u64 = (1 << 32) | 9;

impl RoomPeers for PresentPeers {
    fn presence(&self, peer: u32) -> Option<bool> {
        self.get(&peer).copied()
    }

    fn least_present(&self) -> u32 {
        self.iter().find(|(_, present)| **present).map_or(0, |(peer, _)| *peer)
    }

    fn user(&self, peer: u32) -> Option<&str> {
        self.contains_key(&peer).then(|| USERS[user_of(peer)])
    }
}

const USERS: [&str; 3] = ["cyd", "ada", "bob"];

/// Returns the index of a peer's user in [`USERS`]. The peers 1, 2 and 3 have different users, 4
/// has that of 1, and so on.
fn user_of(peer: u32) -> usize {
    peer as usize % USERS.len()
}

/// The state of a room with the peers 1, 2 and 3, all present, and a replica of it.
struct StateFixture {
    state: SharedState,
    replica: Replica,
    present: PresentPeers,
}

impl StateFixture {
    fn new() -> Self {
        let present = [1, 2, 3].map(|peer| (peer, true)).into();
        Self { state: SharedState::default(), replica: Replica::default(), present }
    }

    fn request(
        &mut self,
        peer: u32,
        rights: Rights,
        operations: Vec<Operation>,
    ) -> Result<(), RequestRefused> {
        let requester = Requester { peer, rights, peers: &self.present };
        let before = self.state.clone();
        match self.state.apply(&requester, operations) {
            Ok(update) => {
                assert_eq!(update.peer, peer);
                self.replica.apply(update);
                Ok(())
            }
            Err(refused) => {
                assert_eq!(self.state, before, "a refused request has changed the state");
                Err(refused)
            }
        }
    }

    /// Applies one operation as a peer with the rights of a participant.
    fn apply(&mut self, peer: u32, operation: Operation) -> Result<(), Code> {
        self.apply_as(peer, Rights::PARTICIPANT, operation)
    }

    fn apply_as(&mut self, peer: u32, rights: Rights, operation: Operation) -> Result<(), Code> {
        self.request(peer, rights, vec![operation]).map_err(|refused| refused.code)
    }

    fn leave(&mut self, peer: u32) -> Option<StateUpdate> {
        self.present.remove(&peer);
        let update = self.state.remove_peers(vec![peer])?;
        assert_eq!(update.peer, 0);
        self.replica.apply(update.clone());
        Some(update)
    }

    fn owner(&self, id: u64) -> Option<u32> {
        let id = EntityId { scope: scope::OBJECT, id };
        self.state.store.entity(id).map(|object| object.owner)
    }

    /// Returns how many objects count to the user of a peer.
    fn objects_of(&self, peer: u32) -> usize {
        self.state.store.objects_of(USERS[user_of(peer)])
    }

    fn check(&self) {
        let snapshot = self.state.snapshot();
        assert_eq!(self.replica.snapshot(), snapshot, "the replica differs");
        let bytes = encode(&snapshot).len() - SESSION_HEADER_BYTES;
        assert_eq!(self.state.store.bytes(), bytes, "the count of bytes is wrong");
    }
}

fn op(kind: u8, scope: u8, id: u64) -> Operation {
    let (mode, peer, key, value, expected) = Default::default();
    Operation { kind, scope, id, mode, peer, key, value, expected }
}

fn create(id: u64, mode: u8) -> Operation {
    Operation { mode, ..op(operation::CREATE, scope::OBJECT, id) }
}

fn delete(id: u64) -> Operation {
    op(operation::DELETE, scope::OBJECT, id)
}

fn claim(id: u64) -> Operation {
    op(operation::CLAIM, scope::OBJECT, id)
}

fn give(id: u64, peer: u32) -> Operation {
    Operation { peer, ..op(operation::GIVE, scope::OBJECT, id) }
}

fn host(peer: u32) -> Operation {
    Operation { peer, ..op(operation::HOST, scope::ROOM, 0) }
}

fn set(scope: u8, id: u64, value: Value) -> Operation {
    let (key, expected) = (b"key".to_vec(), ANY_VERSION);
    Operation { key, value, expected, ..op(operation::SET, scope, id) }
}

fn number(bits: u64) -> Value {
    Value { kind: value::INTEGER, bits, bytes: Vec::new() }
}

fn bytes(kind: u8, bytes: &[u8]) -> Value {
    Value { kind, bits: 0, bytes: bytes.to_vec() }
}

#[test]
fn a_request_is_one_version_and_all_or_nothing() {
    let mut fixture = StateFixture::new();
    let good = [create(OBJECT, 0), set(scope::OBJECT, OBJECT, number(1)), host(2)];
    assert_eq!(fixture.request(1, Rights::ALL, good.to_vec()), Ok(()));
    assert_eq!(fixture.state.version(), 1);
    // A request with one operation of each kind, and an invalid operation at its end.
    let mut bad = vec![
        set(scope::OBJECT, OBJECT, number(2)),
        set(scope::PEER, 1, number(3)),
        give(OBJECT, 3),
        claim(OBJECT),
        host(3),
        create(OF_ONE, mode::ASK),
        delete(OBJECT),
        delete(OBJECT),
    ];
    let refused = fixture.request(1, Rights::ALL, bad.clone());
    assert_eq!(refused, Err(RequestRefused { code: Code::Conflict, failed: 3 }));
    bad.remove(3);
    let refused = fixture.request(1, Rights::ALL, bad);
    assert_eq!(refused, Err(RequestRefused { code: Code::NoSuchEntity, failed: 6 }));
    assert_eq!(fixture.state.version(), 1);
    fixture.check();
}

#[test]
fn the_number_of_operations_is_limited() {
    let mut fixture = StateFixture::new();
    let refused = Err(RequestRefused { code: Code::BadState, failed: 0 });
    let many = |n| vec![set(scope::PEER, 1, number(1)); n];
    assert_eq!(fixture.request(1, Rights::ALL, many(0)), refused);
    assert_eq!(fixture.request(1, Rights::ALL, many(MAX_STATE_OPERATIONS + 1)), refused);
    assert_eq!(fixture.request(1, Rights::ALL, many(MAX_STATE_OPERATIONS)), Ok(()));
}

#[test]
fn a_field_is_compared_and_set_by_its_version() {
    let mut fixture = StateFixture::new();
    let field = |expected, value| Operation { expected, ..set(scope::PEER, 1, value) };
    assert_eq!(fixture.apply(1, field(1, number(1))), Err(Code::Conflict));
    assert_eq!(fixture.apply(1, field(0, number(1))), Ok(()));
    assert_eq!(fixture.apply(1, field(0, number(2))), Err(Code::Conflict));
    assert_eq!(fixture.apply(2, set(scope::PEER, 2, number(9))), Ok(()));
    // The field has version 1, the state version 2.
    assert_eq!(fixture.apply(1, field(2, number(2))), Err(Code::Conflict));
    assert_eq!(fixture.apply(1, field(1, number(2))), Ok(()));
    assert_eq!(fixture.apply(1, field(3, Value::default())), Ok(()));
    assert_eq!(fixture.apply(1, field(0, number(3))), Ok(()));
    fixture.check();
}

#[test]
fn what_has_no_fields_is_in_no_snapshot() {
    let mut fixture = StateFixture::new();
    assert_eq!(fixture.apply(1, set(scope::PEER, 1, number(1))), Ok(()));
    assert_eq!(fixture.apply(1, create(OBJECT, 0)), Ok(()));
    assert_eq!(fixture.apply(1, set(scope::PEER, 1, Value::default())), Ok(()));
    // A peer may remove a field that does not exist.
    assert_eq!(fixture.apply(1, set(scope::PEER, 1, Value::default())), Ok(()));
    let entities = fixture.state.snapshot().entities;
    assert_eq!(entities.iter().map(|e| (e.scope, e.id)).collect::<Vec<_>>(), [(2, OBJECT)]);
    fixture.check();
}

#[test]
fn rights_are_asked_for_every_entity() {
    let rights = Rights::NONE;
    let own = Rights { own: true, ..rights };
    let objects = Rights { objects: true, ..rights };
    let room = Rights { room: true, ..rights };
    let moderate = Rights { moderate: true, ..rights };
    let mut fixture = StateFixture::new();
    let cases = [
        (set(scope::PEER, 1, number(1)), vec![own, moderate]),
        (set(scope::PEER, 2, number(1)), vec![moderate]),
        (set(scope::ROOM, 0, number(1)), vec![room]),
        (create(OBJECT, 0), vec![objects]),
        (set(scope::OBJECT, OBJECT, number(1)), vec![objects]),
        (claim(OBJECT), vec![objects]),
        (give(OBJECT, 1), vec![objects, moderate]),
        (host(1), vec![own, moderate]),
        (delete(OBJECT), vec![objects]),
    ];
    for (operation, enough) in cases {
        for right in [Rights::NONE, own, objects, room, moderate] {
            let may = fixture.apply_as(1, right, operation.clone());
            let expected = if enough.contains(&right) { Ok(()) } else { Err(Code::Forbidden) };
            let not_tested = operation.kind == operation::DELETE && right == moderate;
            assert!(may == expected || not_tested, "{operation:?} with {right:?}: {may:?}");
        }
    }
    fixture.check();
}

#[test]
fn only_peers_with_a_place_have_fields() {
    let mut fixture = StateFixture::new();
    for peer in [0, 4, u64::from(u32::MAX) + 2] {
        let operation = set(scope::PEER, peer, number(1));
        assert_eq!(fixture.apply_as(1, Rights::ALL, operation), Err(Code::NoSuchEntity));
    }
}

#[test]
fn an_objects_number_is_its_makers_or_the_scenes() {
    let mut fixture = StateFixture::new();
    assert_eq!(fixture.apply(2, create(OF_ONE, 0)), Err(Code::BadState));
    assert_eq!(fixture.apply(1, create(OF_ONE, 0)), Ok(()));
    assert_eq!(fixture.apply(2, create(OBJECT, 0)), Ok(()));
    assert_eq!(fixture.apply(1, create(OBJECT, 0)), Err(Code::NoSuchEntity));
    assert_eq!((fixture.owner(OF_ONE), fixture.owner(OBJECT)), (Some(1), Some(2)));
}

#[test]
fn only_its_owner_changes_an_object() {
    let mut fixture = StateFixture::new();
    assert_eq!(fixture.apply(1, create(OBJECT, mode::WITH_ROOM)), Ok(()));
    let change = set(scope::OBJECT, OBJECT, number(1));
    assert_eq!(fixture.apply(1, change.clone()), Ok(()));
    // A moderator must give the object to itself first.
    assert_eq!(fixture.apply_as(2, Rights::ALL, change.clone()), Err(Code::Conflict));
    assert_eq!(fixture.apply_as(2, Rights::ALL, give(OBJECT, 2)), Ok(()));
    assert_eq!(fixture.apply_as(2, Rights::ALL, change.clone()), Ok(()));
    assert_eq!(fixture.apply(1, change.clone()), Err(Code::Conflict));
    fixture.leave(2);
    assert_eq!(fixture.owner(OBJECT), Some(0));
    assert_eq!(fixture.apply(1, change.clone()), Err(Code::Conflict));
    assert_eq!(fixture.apply(1, delete(OBJECT)), Err(Code::Conflict));
    assert_eq!(fixture.apply(1, claim(OBJECT)), Ok(()));
    assert_eq!(fixture.apply(1, change), Ok(()));
    assert_eq!(fixture.apply(1, set(scope::OBJECT, 8, number(1))), Err(Code::NoSuchEntity));
    fixture.check();
}

#[test]
fn a_claim_is_answered_by_the_objects_mode() {
    let mut fixture = StateFixture::new();
    for (id, mode) in [(1, mode::FIXED), (2, mode::ASK), (3, mode::TAKE)] {
        assert_eq!(fixture.apply(1, create(id, mode)), Ok(()));
        assert_eq!(fixture.apply(1, claim(id)), Ok(()), "its owner may claim it again");
    }
    assert_eq!(fixture.apply(2, claim(1)), Err(Code::Conflict));
    assert_eq!(fixture.apply(2, claim(3)), Ok(()));
    assert_eq!(fixture.apply(2, claim(2)), Ok(()));
    assert_eq!([1, 2, 3].map(|id| fixture.owner(id)), [Some(1), Some(1), Some(2)]);
    let requester = Requester { peer: 2, rights: Rights::PARTICIPANT, peers: &fixture.present };
    let update = fixture.state.apply(&requester, vec![claim(2)]).unwrap();
    let [Change { kind: change::CLAIMED, scope: scope::OBJECT, id: 2, peer: 2, .. }] =
        &update.changes[..]
    else {
        panic!("{update:?}");
    };
    fixture.replica.apply(update);
    assert_eq!(fixture.apply(2, give(2, 2)), Err(Code::Conflict));
    assert_eq!(fixture.apply(1, give(2, 4)), Err(Code::NoSuchEntity));
    assert_eq!(fixture.apply(1, give(2, 2)), Ok(()));
    assert_eq!(fixture.owner(2), Some(2));
    assert_eq!(fixture.apply(1, claim(4)), Err(Code::NoSuchEntity));
    fixture.check();
}

#[test]
fn a_moderator_deletes_what_is_others() {
    let mut fixture = StateFixture::new();
    assert_eq!(fixture.apply(1, create(OBJECT, 0)), Ok(()));
    assert_eq!(fixture.apply(2, delete(OBJECT)), Err(Code::Conflict));
    assert_eq!(
        fixture.apply_as(2, Rights { moderate: true, ..Rights::NONE }, delete(OBJECT)),
        Ok(())
    );
    assert_eq!(fixture.apply(1, delete(OBJECT)), Err(Code::NoSuchEntity));
}

#[test]
fn the_host_is_whom_it_is_given_to_while_present() {
    let mut fixture = StateFixture::new();
    let hosts = |fixture: &StateFixture| fixture.state.host(&fixture.present);
    assert_eq!(hosts(&fixture), 1);
    assert_eq!(fixture.apply(2, host(2)), Err(Code::Forbidden));
    assert_eq!(fixture.apply_as(1, Rights::NONE, host(2)), Err(Code::Forbidden), "an observer");
    assert_eq!(fixture.apply(1, host(4)), Err(Code::NoSuchEntity));
    assert_eq!(fixture.apply(1, host(3)), Ok(()));
    assert_eq!(hosts(&fixture), 3);
    fixture.present.insert(3, false);
    assert_eq!(hosts(&fixture), 1);
    fixture.present.insert(1, false);
    assert_eq!(hosts(&fixture), 2);
    fixture.present.insert(3, true);
    assert_eq!(hosts(&fixture), 3);
    fixture.leave(3);
    assert_eq!((hosts(&fixture), fixture.state.host), (2, 0));
    assert_eq!(
        fixture.apply_as(1, Rights::ALL, host(1)),
        Ok(()),
        "a peer that is away can be chosen"
    );
    assert_eq!(hosts(&fixture), 2);
    fixture.present.insert(2, false);
    assert_eq!(hosts(&fixture), 0);
    fixture.check();
}

#[test]
fn whose_place_ends_takes_along_what_was_its_own() {
    let mut fixture = StateFixture::new();
    let operations = vec![
        set(scope::PEER, 1, number(1)),
        create(OF_ONE, mode::TAKE),
        create(OBJECT, mode::TAKE | mode::WITH_ROOM),
        create(8, mode::FIXED),
        set(scope::OBJECT, 8, number(1)),
        give(8, 2),
        host(1),
    ];
    assert_eq!(fixture.request(1, Rights::ALL, operations), Ok(()));
    let update = fixture.leave(1).unwrap();
    let changes: Vec<_> = update.changes.iter().map(|c| (c.kind, c.scope, c.id, c.peer)).collect();
    let expected = [
        (change::DELETED, scope::PEER, 1, 0),
        (change::OWNER, scope::OBJECT, OBJECT, 0),
        (change::DELETED, scope::OBJECT, OF_ONE, 0),
        (change::HOST, scope::ROOM, 0, 0),
    ];
    assert_eq!((update.version, &changes[..]), (2, &expected[..]));
    assert_eq!((fixture.owner(OBJECT), fixture.owner(8)), (Some(0), Some(2)));
    assert_eq!(fixture.leave(3), None);
    assert_eq!(fixture.state.version(), 2);
    fixture.check();
}

#[test]
fn places_that_end_together_are_one_update() {
    let mut fixture = StateFixture::new();
    for peer in [3, 1, 2] {
        assert_eq!(fixture.apply(peer, create(peer.into(), 0)), Ok(()));
    }
    let update = fixture.state.remove_peers(vec![3, 1]).unwrap();
    assert_eq!((update.version, update.changes.len()), (4, 2));
    assert_eq!([1, 2, 3].map(|id| fixture.owner(id)), [None, Some(2), None]);
}

#[test]
fn who_comes_soon_after_gets_the_same_snapshot_and_what_followed() {
    let mut fixture = StateFixture::new();
    let mut feed = StateFeed::default();
    let at = |millis: u64| Time::from_micros(millis * 1_000);
    assert!(feed.snapshot(at(0), &fixture.state).is_empty());
    let change = |fixture: &mut StateFixture, feed: &mut StateFeed| {
        let requester = Requester { peer: 1, rights: Rights::ALL, peers: &fixture.present };
        let operations = vec![set(scope::ROOM, 0, bytes(value::BYTES, &[1; MAX_STATE_VALUE]))];
        let update = fixture.state.apply(&requester, operations).unwrap();
        feed.update(&update)
    };
    assert_eq!(
        change(&mut fixture, &mut feed).len(),
        2,
        "a snapshot of the empty state, and the update"
    );
    let first = feed.snapshot(at(0), &fixture.state);
    assert_eq!(change(&mut fixture, &mut feed).len(), 1);
    let second = feed.snapshot(at(0), &fixture.state);
    assert_eq!((first.len(), second.len()), (1, 2));
    assert_eq!(first[0].as_ptr(), second[0].as_ptr(), "the snapshot was encoded twice");
    // These updates are more than the cache keeps: the next snapshot is encoded anew.
    (0..20).for_each(|_| drop(change(&mut fixture, &mut feed)));
    assert_eq!(feed.snapshot(at(0), &fixture.state).len(), 1);
    change(&mut fixture, &mut feed);
    // The snapshot is still being sent to a session: it stays cached, with the updates since.
    let held = feed.snapshot(at(0), &fixture.state);
    assert_eq!((feed.deadline(), held.len()), (Some(at(100)), 2));
    feed.handle_timeout(at(99));
    feed.handle_timeout(at(100));
    assert_eq!((feed.deadline(), feed.snapshot(at(100), &fixture.state).len()), (Some(at(200)), 2));
    drop(held);
    feed.handle_timeout(at(200));
    assert_eq!(feed.deadline(), None);
    assert_eq!(feed.snapshot(at(200), &fixture.state).len(), 1);
}
