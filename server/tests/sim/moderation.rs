//! Moderation on the simulated network: against peers who are there, asleep or on their way back.

use std::time::Duration;

use nucleus_protocol::netsim::Conditions;
use nucleus_protocol::session::{Code, Moderate, act};

use super::world::World;

/// Of the world's clients, by the roles it gives them in turn.
pub(crate) const MEMBER: usize = 0;
pub(crate) const HOST: usize = 1;
pub(crate) const OBSERVER: usize = 2;
pub(crate) const PRESENTER: usize = 3;

pub(crate) fn four() -> World {
    let mut world = World::new(11, 8);
    for _ in 0..4 {
        world.join(Conditions::CLEAN, Conditions::CLEAN);
    }
    world.run(Duration::from_secs(1));
    world
}

/// What became of it.
pub(crate) fn moderate(
    world: &mut World,
    from: usize,
    act: u8,
    whom: Option<usize>,
    seconds: u32,
) -> Option<Result<(), Code>> {
    let peer = whom.map_or(0, |whom| world.clients[whom].peer.unwrap().0);
    world.clients[from].asked += 1;
    let asked = Moderate { request: world.clients[from].asked, act, peer, seconds };
    let seat = world.clients[from].seat.unwrap();
    let outcome = world.room.handle_moderation(world.now, seat, &asked);
    world.run(Duration::from_millis(500));
    outcome
}

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
    assert!(names(&world, HOST, moderator), "somebody must be able to open it");
}

#[test]
fn who_is_asleep_when_he_is_banned_has_no_place_to_come_back_to() {
    let mut world = four();
    world.sleep(MEMBER, true);
    assert_eq!(moderate(&mut world, HOST, act::KICK, Some(MEMBER), 60), Some(Ok(())));
    assert!(!names(&world, HOST, MEMBER));
    // As if it had not heard of it.
    world.clients[MEMBER].ended = None;
    world.wake(MEMBER);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[MEMBER].ended, Some(Code::TimedOut), "its ticket is void");
    // Again, and the room has no such peer any more.
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
    for (act, whom, seconds) in [(0, None, 0), (200, None, 0), (act::LOCK, Some(MEMBER), 0)] {
        let outcome = moderate(&mut world, HOST, act, whom, seconds);
        assert_eq!(outcome, Some(Err(Code::BadState)), "{act}");
    }
    let old = world.clients[HOST].seat.unwrap();
    let new = world.resume_unanswered(HOST);
    let peer = world.clients[MEMBER].peer.unwrap().0;
    let asked = Moderate { request: 0, act: act::KICK, peer, seconds: 0 };
    for seat in [old, new] {
        assert_eq!(world.room.handle_moderation(world.now, seat, &asked), None, "{seat:?}");
    }
    assert!(names(&world, OBSERVER, MEMBER));
}
