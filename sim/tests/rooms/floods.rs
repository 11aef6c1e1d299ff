//! Peers that send more than they may: they cost their shard no more than the most that is allowed.

use std::time::Duration;

use nucleus_core::limits::{Limits, datagram_rate, message_rate};
use nucleus_netsim::Conditions;
use nucleus_protocol::limits::{MAX_PAYLOAD, RETURN_PROBE};
use nucleus_protocol::link::Path;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_sim::world::STEP;
use nucleus_sim::{World, WorldConfig};

/// Creates a world with two peers whose links use the realtime port.
fn pair(limits: Limits) -> World {
    let mut world = World::with(2, WorldConfig { limits, ..WorldConfig::default() });
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(2 * RETURN_PROBE);
    assert_eq!(world.shard().on_fallback(), 0);
    world
}

#[test]
fn a_flood_is_dropped_before_it_is_opened() {
    let limits = Limits::default();
    let mut world = pair(limits);
    let (before, seconds) = (world.shard().counters, 4);
    let steps = seconds * 1_000 / STEP.as_millis() as u64;
    for _ in 0..steps {
        for _ in 0..40 {
            world.send(0, MessageKind::Unreliable, TARGET_OTHERS, 20);
        }
        world.step();
    }
    let after = world.shard().counters;
    let sent = 40 * steps;
    let arrived = after.datagrams_in - before.datagrams_in;
    let dropped = after.datagrams_over_rate - before.datagrams_over_rate;
    assert!(arrived >= sent, "{arrived} of {sent}");
    // The other peer sends a few keep-alives.
    let rate = datagram_rate(&limits);
    let most = rate.burst + seconds * rate.per_second + 20;
    assert!(arrived - dropped <= most, "{} opened, {most} allowed", arrived - dropped);
}

/// A peer that resumes again and again has no more messages than one that stays.
#[test]
fn a_resume_fills_no_budget_of_messages() {
    let limits = Limits::default();
    let mut world = pair(limits);
    let (before, start) = (world.shard().counters, world.now());
    for _ in 0..20 {
        for _ in 0..600 {
            world.send(0, MessageKind::Unreliable, TARGET_OTHERS, 20);
        }
        world.run(Duration::from_millis(60));
        world.lose(0);
        assert!(world.resume(0).is_some());
        world.run(Duration::from_millis(60));
    }
    let after = world.shard().counters;
    let taken = after.messages_in - after.over_rate - (before.messages_in - before.over_rate);
    let rate = message_rate(&limits);
    let most = rate.burst + rate.per_second * world.now().since(start).as_millis() as u64 / 1_000;
    assert!(taken <= most, "{taken} messages taken, {most} allowed");
    assert!(taken > most / 2, "only {taken} of {most}: the test sends too few");
}

/// Forged datagrams from elsewhere do not use up what the client may send.
#[test]
fn forged_datagrams_from_elsewhere_drop_none_of_the_client() {
    let mut world = pair(Limits::default());
    let id = world.clients[0].joined.as_ref().unwrap().grant[0].connection_id;
    let path = Path { remote: "203.0.113.9:9".parse().unwrap(), local: None };
    let (before, steps) = (world.shard().counters, 800);
    for step in 0..steps {
        let now = world.now();
        for number in 0..100u32 {
            let mut forged = vec![0; 60];
            forged[0] = 8;
            forged[1..9].copy_from_slice(&id);
            forged[9..13].copy_from_slice(&(step * 100 + number).to_le_bytes());
            world.shard_mut().handle_datagram(now, path, 0, &mut forged);
        }
        world.send_pose(0);
        world.step();
    }
    super::settle(&mut world);
    let after = world.shard().counters;
    assert_eq!(after.messages_in - before.messages_in, u64::from(steps));
    let rate = datagram_rate(&Limits::default());
    let most = rate.burst + 5 * rate.per_second;
    assert!(after.rejected - before.rejected <= most, "{} opened", after.rejected);
}

/// As many messages as a peer may send, each in a datagram of its own, and the link's own datagrams.
#[test]
fn the_honest_maximum_is_never_dropped() {
    for peer_messages_per_s in [10, 200, 1_000, 4_000] {
        let mut world = pair(Limits { peer_messages_per_s, ..Limits::default() });
        let before = world.shard().counters;
        let mut sent = 0;
        for step in 1..=2_000u64 {
            let due = step * STEP.as_millis() as u64 * u64::from(peer_messages_per_s) / 1_000;
            for _ in sent..due {
                world.send(0, MessageKind::Unreliable, TARGET_OTHERS, 20);
            }
            sent = due;
            world.step();
        }
        let after = world.shard().counters;
        assert_eq!(after.datagrams_over_rate, before.datagrams_over_rate);
        assert_eq!(after.over_rate, before.over_rate, "{peer_messages_per_s} a second");
    }
}

/// A network that holds back everything for a moment: the burst is as long as that of messages.
#[test]
fn what_a_network_held_back_for_a_moment_is_not_dropped() {
    let mut world = pair(Limits::default());
    let before = world.shard().counters;
    for _ in 0..20 {
        for _ in 0..(500 / 2) {
            world.send(0, MessageKind::Unreliable, TARGET_OTHERS, 20);
        }
        world.run(Duration::from_millis(250));
    }
    let after = world.shard().counters;
    assert_eq!(after.datagrams_over_rate, before.datagrams_over_rate);
}

/// The least budget of a recipient lets the largest message through, also beside other traffic.
#[test]
fn the_largest_message_passes_every_least_limit() {
    for kind in MessageKind::ALL {
        for blocked in [false, true] {
            let limits = Limits { room_capacity: 8, ..Limits::least() };
            let mut world = pair(limits);
            world.join(Conditions::CLEAN, Conditions::CLEAN);
            world.clients[1].blocked = blocked;
            // A client without traffic notices the blocked port late.
            for _ in 0..50 {
                world.send_pose(1);
                world.run(Duration::from_millis(100));
            }
            assert_eq!(world.shard().on_fallback(), usize::from(blocked));
            let from = world.clients[0].peer.unwrap().0;
            for _ in 0..10 {
                world.send(0, kind, TARGET_OTHERS, MAX_PAYLOAD);
                for _ in 0..10 {
                    world.run(Duration::from_millis(200));
                    world.send_pose(2);
                }
            }
            let messages = &world.clients[1].messages;
            let received = messages.iter().filter(|(peer, _)| *peer == from).count();
            assert_eq!(received, 10, "{kind:?}, blocked: {blocked}");
        }
    }
}
