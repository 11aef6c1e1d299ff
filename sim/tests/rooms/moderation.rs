//! Tests of moderation on the simulated network, of peers that are present, asleep or resuming.

use std::time::Duration;

use nucleus_core::room::RoomInput;
use nucleus_netsim::Conditions;
use nucleus_protocol::session::{
    ANY_VERSION, Audit, Code, MODERATOR, Moderate, Operation, Value, act, operation, scope, value,
};
use nucleus_sim::World;
use nucleus_sim::world::ROOM;

/// Indexes of the first four clients by their roles, which the world gives in turn.
pub(crate) const MEMBER: usize = 0;
pub(crate) const HOST: usize = 1;
pub(crate) const OBSERVER: usize = 2;
pub(crate) const PRESENTER: usize = 3;

/// Returns a world with four clients, one of each role.
pub(crate) fn four() -> World {
    let mut world = World::new(11, 8);
    for _ in 0..4 {
        world.join(Conditions::CLEAN, Conditions::CLEAN);
    }
    world.run(Duration::from_secs(1));
    world
}

/// Lets a client act as a moderator. Returns the reply, if there is one.
pub(crate) fn moderate(
    world: &mut World,
    from: usize,
    act: u8,
    whom: Option<usize>,
    seconds: u32,
) -> Option<Result<(), Code>> {
    let peer = whom.map_or(0, |whom| world.clients[whom].peer.unwrap().0);
    world.clients[from].requests += 1;
    let request = world.clients[from].requests;
    let asked = Moderate { request, act, peer, seconds };
    world.post_from(from, |from| RoomInput::Moderate { from, request: asked });
    world.run(Duration::from_millis(500));
    let replies = &world.clients[from].replies;
    let reply = replies.iter().find(|reply| reply.request == request)?;
    Some(if reply.code == 0 { Ok(()) } else { Err(Code::from_number(reply.code.into()).unwrap()) })
}

/// Returns true if the roster of client `one` names client `other`.
fn names(world: &World, one: usize, other: usize) -> bool {
    world.clients[one].roster.contains_key(&world.clients[other].peer.unwrap().0)
}

#[test]
fn a_lock_keeps_newcomers_out_and_nobody_who_has_a_place() {
    let mut world = four();
    world.sleep(PRESENTER, true);
    assert_eq!(moderate(&mut world, HOST, act::LOCK, None, 0), Some(Ok(())));
    world.wake(PRESENTER);
    let newcomer = world.join(Conditions::CLEAN, Conditions::CLEAN);
    let moderator = world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(1));
    assert!(names(&world, HOST, PRESENTER) && world.clients[PRESENTER].ended.is_none());
    assert_eq!(world.clients[newcomer].ended, Some(Code::RoomLocked));
    assert!(names(&world, HOST, moderator), "a moderator must be able to unlock the room");
}

#[test]
fn who_is_asleep_when_he_is_banned_has_no_place_to_come_back_to() {
    let mut world = four();
    world.sleep(MEMBER, true);
    assert_eq!(moderate(&mut world, HOST, act::KICK, Some(MEMBER), 60), Some(Ok(())));
    assert!(!names(&world, HOST, MEMBER));
    // Let the client continue as if it had not received the end of its session.
    world.clients[MEMBER].ended = None;
    world.wake(MEMBER);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[MEMBER].ended, Some(Code::TimedOut), "the ticket is void");
    // At the second kick, the peer is no longer in the room.
    let again = moderate(&mut world, HOST, act::KICK, Some(MEMBER), 60);
    assert_eq!(again, Some(Err(Code::NoSuchEntity)));
}

#[test]
fn who_may_not_or_is_not_there_moderates_nobody() {
    let mut world = four();
    for (from, expected) in [(OBSERVER, Code::Forbidden), (PRESENTER, Code::Forbidden)] {
        let outcome = moderate(&mut world, from, act::KICK, Some(MEMBER), 0);
        assert_eq!(outcome, Some(Err(expected)));
    }
    for (act, whom, seconds) in
        [(0, None, 0), (200, None, 0), (act::LOCK, Some(MEMBER), 0), (act::END, None, 1)]
    {
        let outcome = moderate(&mut world, HOST, act, whom, seconds);
        assert_eq!(outcome, Some(Err(Code::BadState)), "{act}");
    }
    // Requests of a replaced session, and of a session without a link, get no reply at all.
    let old = world.clients[HOST].session.unwrap();
    world.server.shards_are_late = true;
    let new = world.resume(HOST).unwrap();
    let peer = world.clients[MEMBER].peer.unwrap().0;
    let before = (world.clients.moderated.len(), world.clients[HOST].replies.len());
    for from in [old, new] {
        let asked = Moderate { request: 0, act: act::KICK, peer, seconds: 0 };
        world.post(ROOM, RoomInput::Moderate { from, request: asked });
    }
    world.run(Duration::from_millis(500));
    assert_eq!((world.clients.moderated.len(), world.clients[HOST].replies.len()), before);
    assert!(names(&world, OBSERVER, MEMBER));
}

#[test]
fn a_room_is_hidden_shown_and_ended() {
    let mut world = four();
    for (act, hidden) in [(act::HIDE, true), (act::SHOW, false)] {
        assert_eq!(moderate(&mut world, HOST, act, None, 0), Some(Ok(())));
        assert_eq!(world.listing().unwrap().hidden, hidden);
        assert_eq!(moderate(&mut world, PRESENTER, act, None, 0), Some(Err(Code::Forbidden)));
    }
    world.sleep(MEMBER, true);
    assert_eq!(moderate(&mut world, HOST, act::END, None, 0), Some(Ok(())));
    assert!(world.is_over());
    for index in [HOST, OBSERVER, PRESENTER] {
        assert_eq!(world.clients[index].ended, Some(Code::RoomEnded));
    }
}

fn set(scope: u8, id: u64) -> Operation {
    let value = Value { kind: value::INTEGER, bits: 1, bytes: Vec::new() };
    let key = b"key".to_vec();
    Operation {
        kind: operation::SET,
        scope,
        id,
        mode: 0,
        peer: 0,
        key,
        value,
        expected: ANY_VERSION,
    }
}

#[test]
fn a_clear_leaves_nothing_but_what_peers_say_of_themselves() {
    let mut world = four();
    let me = world.clients[MEMBER].peer.unwrap().0;
    let create = |id| Operation { kind: operation::CREATE, ..set(scope::OBJECT, id) };
    let objects = vec![create(1), set(scope::OBJECT, 1), create(2), set(scope::PEER, me.into())];
    world.request_state(MEMBER, objects);
    world.request_state(HOST, vec![set(scope::ROOM, 0)]);
    world.run(Duration::from_millis(500));
    let before = world.room().shared_state();
    assert_eq!(before.entities.len(), 4);
    assert_eq!(moderate(&mut world, MEMBER, act::CLEAR, None, 0), Some(Err(Code::Forbidden)));
    assert_eq!(moderate(&mut world, HOST, act::CLEAR, None, 0), Some(Ok(())));
    let after = world.room().shared_state();
    assert_eq!((after.version, after.entities.len()), (before.version + 1, 1));
    for client in world.clients.iter() {
        assert_eq!(client.replica.snapshot(), after);
    }
    assert_eq!(world.clients[HOST].replies.last().unwrap().version, after.version);
    // Clearing an empty state changes nothing.
    assert_eq!(moderate(&mut world, HOST, act::CLEAR, None, 0), Some(Ok(())));
    assert_eq!(world.room().shared_state().version, after.version);
}

#[test]
fn who_hands_over_moderates_no_more() {
    let mut world = four();
    let me = Some(HOST);
    assert_eq!(moderate(&mut world, HOST, act::HAND_OVER, me, 0), Some(Err(Code::BadState)));
    assert_eq!(moderate(&mut world, HOST, act::HAND_OVER, Some(MEMBER), 0), Some(Ok(())));
    let peer = |world: &World, one: usize| world.clients[one].peer.unwrap().0;
    assert_eq!(world.room().shared_state().host, peer(&world, MEMBER));
    let may = |world: &World, one: usize| {
        world.clients[OBSERVER].roster[&peer(world, one)].presence & MODERATOR != 0
    };
    assert_eq!((may(&world, HOST), may(&world, MEMBER)), (false, true));
    assert_eq!(moderate(&mut world, HOST, act::LOCK, None, 0), Some(Err(Code::Forbidden)));
    // The host keeps its other rights. The new moderator keeps the right to moderate over a resume.
    world.request_state(HOST, vec![set(scope::ROOM, 0)]);
    world.sleep(MEMBER, true);
    world.wake(MEMBER);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[HOST].replies.last().unwrap().code, 0);
    assert_eq!(moderate(&mut world, MEMBER, act::LOCK, None, 0), Some(Ok(())));
}

/// Every peer, including the affected peer, is told of each act that was carried out, and of no
/// other act.
#[test]
fn acts_are_told_to_everybody() {
    let mut world = four();
    let whom = world.clients[MEMBER].peer.unwrap().0;
    let by = world.clients[HOST].peer.unwrap().0;
    moderate(&mut world, OBSERVER, act::LOCK, None, 0);
    moderate(&mut world, MEMBER, act::MUTE_SELF, None, 0);
    let time = world.now().as_micros();
    moderate(&mut world, HOST, act::KICK, Some(MEMBER), 60);
    let user = b"user-0".to_vec();
    let kick = Audit { act: act::KICK, by, peer: whom, user, seconds: 60, time };
    for client in world.clients.iter() {
        assert_eq!(client.audits, std::slice::from_ref(&kick));
    }
    assert_eq!(world.clients[MEMBER].ended, Some(Code::Kicked));
}
