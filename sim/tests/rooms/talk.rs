//! Tests of groups, targets of events, and throttling, on the simulated network.

use std::time::Duration;

use nucleus_core::limits::Limits;
use nucleus_core::room::{Event, EventTarget, RoomInput};
use nucleus_netsim::Conditions;
use nucleus_protocol::groups::Group;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS, target_of_group};
use nucleus_protocol::session::{Code, Lane, PIECE_CONTINUES, PIECE_MORE, throttled};
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::{World, WorldConfig};

use super::settle;

fn room_of(seed: u64, count: usize) -> World {
    let mut world = World::new(seed, 16);
    for _ in 0..count {
        world.join(Conditions::CLEAN, Conditions::CLEAN);
    }
    world.run(Duration::from_secs(1));
    world
}

fn group(number: u8) -> Group {
    Group::new(number).unwrap()
}

/// Returns how many messages of `from` each client has received.
fn received(world: &World, from: usize) -> Vec<usize> {
    let sender = world.clients[from].peer.unwrap().0;
    let count = |messages: &std::collections::HashSet<(u32, u16)>| {
        messages.iter().filter(|(peer, _)| *peer == sender).count()
    };
    world.clients.iter().map(|client| count(&client.messages)).collect()
}

/// The subscribers of a group get all messages to the group, and no other peer gets any. Meanwhile
/// peers change their subscriptions and lose their sessions.
#[test]
fn a_group_is_heard_by_whoever_wants_it() {
    for_seeds(100, |seed| {
        let count = 5;
        let mut world = room_of(seed, count);
        let mut expected = vec![0; count];
        for _ in 0..60 {
            let one = world.rng.usize(..count);
            match world.rng.u8(..4) {
                0 => {
                    let groups: Vec<u8> = (0..3).map(|_| world.rng.u8(236..240)).collect();
                    world.subscribe(one, &groups);
                }
                1 if one != 0 => {
                    world.sleep(one, true);
                    world.wake(one);
                    world.run(Duration::from_secs(1));
                }
                _ => {}
            }
            let wanted = group(world.rng.u8(236..240));
            world.send_pose_to(0, target_of_group(wanted));
            settle(&mut world);
            for (to, messages) in expected.iter_mut().enumerate().skip(1) {
                *messages += usize::from(world.clients[to].groups.contains(wanted));
            }
        }
        assert_eq!(received(&world, 0), expected);
        assert!(expected.iter().sum::<usize>() > 0, "no message was received");
    });
}

#[test]
fn reserved_targets_and_the_own_slot_are_refused() {
    let mut world = room_of(1, 2);
    world.subscribe(1, &(0..240).collect::<Vec<_>>());
    let own = world.clients[0].joined.as_ref().unwrap().slot;
    let before = world.shard().counters.refused_messages;
    (0xfff0..=0xfffe).chain([own]).for_each(|target| world.send_pose_to(0, target));
    settle(&mut world);
    assert_eq!(world.shard().counters.refused_messages, before + 16);
    assert_eq!(received(&world, 0), [0, 0]);
}

/// A peer that subscribed to a group when an event was sent to the group gets the event after a
/// resume, even if the subscriptions have changed meanwhile.
#[test]
fn events_to_a_group_are_kept_for_those_who_were_in_it() {
    let mut world = room_of(2, 4);
    world.subscribe(1, &[7]);
    world.subscribe(2, &[7]);
    settle(&mut world);
    world.sleep(1, true);
    let to_group = EventTarget::Group(group(7));
    world.event(0, &to_group, b"one".to_vec());
    world.subscribe(3, &[7]);
    world.subscribe(2, &[8]);
    world.event(2, &to_group, b"two".to_vec());
    world.wake(1);
    world.run(Duration::from_secs(1));
    let events: Vec<Vec<&[u8]>> =
        world.clients.iter().map(|c| c.events.iter().map(Vec::as_slice).collect()).collect();
    assert_eq!(events, [vec![], vec![&b"one"[..], b"two"], vec![b"one"], vec![b"two"]]);
}

/// An event to the host goes to the peer that is the host when the server takes the event.
#[test]
fn the_host_is_found_by_the_server() {
    let mut world = room_of(3, 3);
    world.event(2, &EventTarget::Host, b"first".to_vec());
    world.leave(0);
    world.event(1, &EventTarget::Host, b"to myself".to_vec());
    settle(&mut world);
    assert_eq!(world.clients[1].events, [b"to myself"]);
    assert!(world.clients[2].events.is_empty());
    assert_eq!(world.clients[0].expected[0], [b"first"]);
}

/// A peer that sends too much, or speaks over the speaker limit, is told so once a second.
#[test]
fn who_is_throttled_is_told() {
    let limits = Limits { speakers: 1, ..Limits::default() };
    let mut world = World::with(4, WorldConfig { capacity: 4, limits, ..WorldConfig::default() });
    for _ in 0..3 {
        world.join(Conditions::CLEAN, Conditions::CLEAN);
    }
    world.run(Duration::from_secs(1));
    for tick in 0..1_000 {
        // Clients 0 and 1 speak all the time. Client 2 sends twenty poses in each step of five
        // milliseconds.
        if tick % 4 == 0 {
            world.send(0, MessageKind::Voice, TARGET_OTHERS, 60);
            world.send(1, MessageKind::Voice, TARGET_OTHERS, 60);
        }
        (0..20).for_each(|_| world.send_pose(2));
        world.step();
    }
    settle(&mut world);
    let throttled_at = |one: usize| &world.clients[one].throttled;
    assert!(throttled_at(0).is_empty());
    for (one, what) in [(1, throttled::SPEAKERS), (2, throttled::REALTIME)] {
        assert!((4..=6).contains(&throttled_at(one).len()), "{:?}", throttled_at(one));
        assert!(
            throttled_at(one).iter().all(|(_, reason)| *reason == what),
            "{:?}",
            throttled_at(one)
        );
    }
}

/// A bulk message over the size limit is refused even if events are sent between its pieces.
#[test]
fn a_message_of_pieces_has_its_limit() {
    let mut world = room_of(5, 2);
    let mut send = |lane, piece| {
        let (target, payload) = (EventTarget::Others, vec![0; 16 << 10]);
        let event = Event { lane, target, channel: 0, piece, payload };
        world.post_from(0, |from| RoomInput::Event { from, event });
    };
    send(Lane::Bulk, PIECE_MORE);
    for _ in 0..3 {
        send(Lane::Bulk, PIECE_MORE | PIECE_CONTINUES);
        send(Lane::Events, 0);
    }
    send(Lane::Bulk, PIECE_CONTINUES);
    settle(&mut world);
    assert_eq!(world.clients[0].ended, Some(Code::EventTooLarge));
}
