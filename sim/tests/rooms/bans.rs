//! Tests of the bans that a server keeps over a restart: which ones it keeps, and when they end with
//! their room.

use std::time::Duration;

use nucleus_core::control::RoomAct;
use nucleus_core::ids::RequestId;
use nucleus_core::room::{Ban, RoomInput, RoomOptions};
use nucleus_netsim::Conditions;
use nucleus_protocol::session::{Code, act};
use nucleus_sim::world::ROOM;
use nucleus_sim::{World, WorldConfig};

use super::moderation::{HOST, MEMBER, OBSERVER, four, moderate};

const TIME: Duration = Duration::from_secs(600);

/// Returns a world with four clients, one of which the host has banned.
fn with_a_ban() -> World {
    let mut world = four();
    assert_eq!(moderate(&mut world, HOST, act::KICK, Some(MEMBER), 600), Some(Ok(())));
    world
}

fn ban(user: usize) -> Ban {
    Ban { user: format!("user-{user}"), time: TIME }
}

/// Returns the bans that the server keeps for the next instance of the room.
fn kept(world: &World) -> Vec<Ban> {
    world.clients.bans.get(&ROOM).cloned().unwrap_or_default()
}

/// Returns a world after a restart, with the bans that the server has kept.
fn restarted(bans: Vec<Ban>, options: RoomOptions) -> World {
    World::with(12, WorldConfig { bans, options, ..WorldConfig::default() })
}

/// Lets one more device of a user join. Returns the code with which it was refused.
fn join(world: &mut World, user: usize) -> Option<Code> {
    let index = world.join_as(Conditions::CLEAN, user);
    world.run(Duration::from_millis(500));
    world.clients[index].ended
}

#[test]
fn a_ban_holds_in_the_instance_after_a_restart() {
    let mut world = with_a_ban();
    assert_eq!(kept(&world), [ban(MEMBER)]);
    world.shut_down(Code::ShuttingDown);
    world.run(Duration::from_secs(1));
    assert!(world.is_over());
    let mut next = restarted(kept(&world), RoomOptions::default());
    assert_eq!(join(&mut next, OBSERVER), None);
    assert_eq!(join(&mut next, MEMBER), Some(Code::Kicked));
    next.run(TIME);
    assert_eq!(join(&mut next, MEMBER), None, "the ban has ended");
}

#[test]
fn an_operator_lets_a_banned_user_in_again() {
    let mut world = with_a_ban();
    let unban =
        |user: usize| RoomInput::Operate(RequestId(1), RoomAct::Unban(format!("user-{user}")));
    world.post(ROOM, unban(OBSERVER));
    assert_eq!(join(&mut world, MEMBER), Some(Code::Kicked), "another user was meant");
    world.post(ROOM, unban(MEMBER));
    assert_eq!(join(&mut world, MEMBER), None);
    assert_eq!(kept(&world), [], "a restart does not bring the ban back");
}

#[test]
fn a_kick_without_a_ban_is_not_kept() {
    let mut world = four();
    assert_eq!(moderate(&mut world, HOST, act::KICK, Some(MEMBER), 0), Some(Ok(())));
    assert_eq!(kept(&world), []);
}

/// The refused join makes an instance that ends at once. The bans must not end with it: otherwise
/// the second try would succeed.
#[test]
fn a_banned_user_who_returns_first_does_not_end_its_ban() {
    let mut next = restarted(vec![ban(MEMBER)], RoomOptions::default());
    next.clients.bans.insert(ROOM, vec![ban(MEMBER)]);
    assert_eq!(join(&mut next, MEMBER), Some(Code::Kicked));
    assert!(next.is_over());
    assert_eq!(kept(&next), [ban(MEMBER)]);
}

#[test]
fn bans_end_with_a_room_that_a_moderator_ends_or_that_is_empty() {
    let mut ended = with_a_ban();
    assert_eq!(moderate(&mut ended, HOST, act::END, None, 0), Some(Ok(())));
    assert!(ended.is_over());
    assert_eq!(kept(&ended), []);

    let empty_ttl = Duration::from_secs(60);
    let options = RoomOptions { empty_ttl, ..RoomOptions::default() };
    let mut emptied = restarted(vec![ban(MEMBER)], options);
    emptied.clients.bans.insert(ROOM, vec![ban(MEMBER)]);
    assert_eq!(join(&mut emptied, OBSERVER), None);
    emptied.leave(0);
    emptied.run(Duration::from_secs(59));
    assert_eq!(kept(&emptied), [ban(MEMBER)], "the room is empty, and lives");
    emptied.run(Duration::from_secs(2));
    assert!(emptied.is_over());
    assert_eq!(kept(&emptied), []);
}

/// The only moderator bans itself: the ban comes first, and ends with the empty room.
#[test]
fn the_ban_that_empties_a_room_ends_with_it() {
    let mut world = four();
    for index in 0..4 {
        if index != HOST {
            world.leave(index);
        }
    }
    world.run(Duration::from_secs(1));
    moderate(&mut world, HOST, act::KICK, Some(HOST), 600);
    assert!(world.is_over());
    assert_eq!(kept(&world), []);
}
