//! Tests of muting on the simulated network: the server drops the voice messages of a muted peer,
//! even if its client still sends them.

use std::time::Duration;

use nucleus_netsim::Conditions;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_protocol::session::{Code, MODERATOR, MUTED, SELF_MUTED, act, throttled};
use nucleus_sim::World;

use super::moderation::{HOST, MEMBER, OBSERVER, PRESENTER, four, moderate};
use super::settle;

/// Lets each of the first four clients send a voice message, and returns how many others hear it.
fn listeners(world: &mut World) -> [usize; 4] {
    let before: Vec<_> = world.clients.iter().map(|c| c.messages.clone()).collect();
    (0..4).for_each(|one| world.send(one, MessageKind::Voice, TARGET_OTHERS, 40));
    settle(world);
    let from = |one: usize| {
        let peer = world.clients[one].peer.unwrap().0;
        let new = world.clients.iter().zip(&before).flat_map(|(c, b)| c.messages.difference(b));
        new.filter(|(sender, _)| *sender == peer).count()
    };
    [0, 1, 2, 3].map(from)
}

fn flags(world: &World, of: usize) -> u8 {
    world.clients[HOST].roster[&world.clients[of].peer.unwrap().0].presence & !1
}

#[test]
fn a_muted_peer_is_not_heard_until_it_is_unmuted() {
    let mut world = four();
    assert_eq!(listeners(&mut world), [3; 4]);
    assert_eq!(moderate(&mut world, HOST, act::MUTE, Some(MEMBER), 0), Some(Ok(())));
    assert_eq!((flags(&world, MEMBER), flags(&world, HOST)), (MUTED, MODERATOR));
    assert_eq!(listeners(&mut world), [0, 3, 3, 3]);
    assert_eq!(
        world.clients[MEMBER].throttled.last().map(|(_, reason)| *reason),
        Some(throttled::MUTED)
    );
    // Other messages of the muted peer are relayed.
    world.send_pose(MEMBER);
    settle(&mut world);
    assert_eq!(world.shard().counters.muted, 1);
    // A new link of a resumed session is muted as well.
    world.sleep(MEMBER, true);
    world.wake(MEMBER);
    world.run(Duration::from_secs(1));
    assert_eq!(listeners(&mut world), [0, 3, 3, 3]);
    assert_eq!(moderate(&mut world, HOST, act::UNMUTE, Some(MEMBER), 0), Some(Ok(())));
    assert_eq!((flags(&world, MEMBER), listeners(&mut world)), (0, [3; 4]));
}

#[test]
fn a_muted_user_comes_back_muted() {
    let mut world = four();
    assert_eq!(moderate(&mut world, HOST, act::MUTE, Some(MEMBER), 0), Some(Ok(())));
    world.leave(MEMBER);
    let again = world.join_as(Conditions::CLEAN, MEMBER);
    world.run(Duration::from_secs(1));
    assert_eq!(flags(&world, again), MUTED);
    let before = world.shard().counters.muted;
    world.send(again, MessageKind::Voice, TARGET_OTHERS, 40);
    settle(&mut world);
    assert_eq!(world.shard().counters.muted, before + 1);
}

#[test]
fn all_are_muted_but_moderators_and_those_who_come_too() {
    let mut world = four();
    assert_eq!(moderate(&mut world, HOST, act::MUTE_ALL, None, 0), Some(Ok(())));
    let newcomer = world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(1));
    assert_eq!(listeners(&mut world), [0, 4, 0, 0]);
    assert_eq!(flags(&world, newcomer), MUTED);
    assert_eq!(moderate(&mut world, HOST, act::UNMUTE, Some(OBSERVER), 0), Some(Ok(())));
    assert_eq!(listeners(&mut world), [0, 4, 4, 0]);
    assert_eq!(moderate(&mut world, HOST, act::UNMUTE_ALL, None, 0), Some(Ok(())));
    assert_eq!((listeners(&mut world), flags(&world, newcomer)), ([4; 4], 0));
}

#[test]
fn muting_oneself_needs_no_right_and_no_moderator_undoes_it() {
    let mut world = four();
    assert_eq!(moderate(&mut world, OBSERVER, act::MUTE_SELF, None, 0), Some(Ok(())));
    assert_eq!(moderate(&mut world, HOST, act::UNMUTE_ALL, None, 0), Some(Ok(())));
    assert_eq!((flags(&world, OBSERVER), listeners(&mut world)), (SELF_MUTED, [3, 3, 0, 3]));
    assert_eq!(moderate(&mut world, OBSERVER, act::UNMUTE_SELF, None, 0), Some(Ok(())));
    assert_eq!(listeners(&mut world), [3; 4]);
    for (act, whom) in [(act::MUTE, Some(MEMBER)), (act::MUTE_ALL, None), (act::UNMUTE_ALL, None)] {
        let refused = moderate(&mut world, PRESENTER, act, whom, 0);
        assert_eq!(refused, Some(Err(Code::Forbidden)), "{act}");
    }
    let refused = moderate(&mut world, PRESENTER, act::MUTE_SELF, Some(MEMBER), 0);
    assert_eq!(refused, Some(Err(Code::BadState)));
}
