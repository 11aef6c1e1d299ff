//! Tests of the shared state on the simulated network: after random requests, all clients have the
//! same state.

use std::time::Duration;

use nucleus_core::ids::RoomId;
use nucleus_netsim::Conditions;
use nucleus_protocol::session::{
    ANY_VERSION, Code, Operation, Value, mode, operation, scope, value,
};
use nucleus_sim::World;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::ROOM;

use super::settle;

/// Lets a client request a few operations of any kind, on few objects, so that peers conflict.
pub(crate) fn request_something(world: &mut World, from: usize) {
    let operations = (0..world.rng.usize(1..4)).map(|_| random(world, from)).collect();
    world.request_state(from, operations);
}

fn random(world: &mut World, from: usize) -> Operation {
    let me = world.clients[from].peer.unwrap().0;
    let rng = &mut world.rng;
    let kind = rng.u8(operation::SET..=operation::HOST);
    let scope = if kind == operation::SET { rng.u8(..3) } else { scope::OBJECT };
    let id = match scope {
        scope::ROOM => 0,
        scope::PEER => u64::from(me),
        _ => rng.u64(..4),
    };
    let modes = [mode::FIXED, mode::ASK, mode::TAKE, mode::TAKE | mode::WITH_ROOM];
    let value = Value { kind: value::INTEGER, bits: rng.u64(..), bytes: Vec::new() };
    Operation {
        kind,
        scope,
        id,
        mode: modes[rng.usize(..4)],
        peer: rng.u32(1..8),
        key: vec![b'a' + rng.u8(..3)],
        value: if rng.u8(..5) == 0 { Value::default() } else { value },
        expected: if rng.u8(..5) == 0 { 0 } else { ANY_VERSION },
    }
}

/// Checks that every client has the room's state and a reply to each request of its session, and
/// that the state contains nothing of peers that have left.
pub(crate) fn check(world: &World, room: RoomId) {
    let state = world.server.room(room).shared_state();
    let members = world.members_of(room);
    let is_present =
        |peer: u64| members.iter().any(|one| world.clients[*one].peer.unwrap().0 == peer as u32);
    assert!(state.host == 0 || is_present(state.host.into()), "the host has left");
    for entity in &state.entities {
        assert!(
            entity.scope != scope::PEER || is_present(entity.id),
            "fields of a peer that has left"
        );
        assert!(entity.owner == 0 || is_present(entity.owner.into()), "an owner that has left");
    }
    for one in members.iter().copied() {
        let client = &world.clients[one];
        assert_eq!(client.replica.snapshot(), state, "client {one} has another state");
        assert_eq!(client.replies.len(), client.requests as usize, "client {one} lacks a reply");
        assert!(client.replies.iter().all(|reply| reply.version <= state.version));
    }
}

fn create(id: u64, mode: u8) -> Operation {
    let (peer, key, value, expected) = Default::default();
    Operation {
        kind: operation::CREATE,
        scope: scope::OBJECT,
        id,
        mode,
        peer,
        key,
        value,
        expected,
    }
}

/// The loss of a session changes nothing in the state. When the participant ends, its own objects
/// are removed, and all peers are told without delay.
#[test]
fn what_is_a_peers_own_lives_as_long_as_its_place() {
    for_seeds(20, |seed| {
        let mut world = World::new(seed, 4);
        let (stays, goes) = (world.join(Conditions::CLEAN, Conditions::CLEAN), 1);
        world.join(Conditions::CLEAN, Conditions::CLEAN);
        world.run(Duration::from_secs(1));
        world.request_state(
            goes,
            vec![create(1, mode::FIXED), create(2, mode::TAKE | mode::WITH_ROOM)],
        );
        settle(&mut world);
        let before = world.clients[stays].replica.snapshot();
        assert_eq!(before.entities.len(), 2);
        world.sleep(goes, true);
        world.run(Duration::from_secs(20));
        assert_eq!(world.clients[stays].replica.snapshot(), before);
        if world.rng.bool() {
            world.wake(goes);
            world.run(Duration::from_secs(1));
            assert_eq!(
                world.clients[goes].replica.snapshot(),
                before,
                "the state changed before the resume"
            );
            world.leave(goes);
        } else {
            world.run(Duration::from_secs(15));
        }
        settle(&mut world);
        let after = world.clients[stays].replica.snapshot();
        assert_eq!(after.version, before.version + 1);
        let left: Vec<_> = after.entities.iter().map(|e| (e.id, e.owner)).collect();
        assert_eq!(left, [(2, 0)]);
        check(&world, ROOM);
    });
}

/// A request that the role does not allow is refused, and no peer gets an update.
#[test]
fn an_observer_changes_nothing() {
    let mut world = World::new(1, 4);
    for _ in 0..3 {
        world.join(Conditions::CLEAN, Conditions::CLEAN);
    }
    world.run(Duration::from_secs(1));
    world.request_state(2, vec![create(1, mode::FIXED)]);
    settle(&mut world);
    let reply = &world.clients[2].replies[0];
    assert_eq!((reply.code, reply.failed, reply.version), (Code::Forbidden as u16, 0, 0));
    // A client without any state message has an empty state.
    check(&world, ROOM);
}
