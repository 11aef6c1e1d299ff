//! Clients that lie about what they have received or sent.

use std::time::Duration;

use nucleus_core::limits::{Limits, datagram_rate};
use nucleus_core::traffic::LinkLosses;
use nucleus_netsim::Conditions;
use nucleus_protocol::limits::RETURN_PROBE;
use nucleus_protocol::realtime::report::ClientReport;
use nucleus_sim::World;

/// Two peers on the realtime port that send poses to each other.
fn pair() -> World {
    let mut world = World::new(2, 8);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(2 * RETURN_PROBE);
    assert_eq!(world.shard().on_fallback(), 0);
    talk(&mut world);
    world
}

fn talk(world: &mut World) {
    for _ in 0..50 {
        world.send_pose(0);
        world.send_pose(1);
        world.run(Duration::from_millis(20));
    }
}

fn losses(world: &World) -> LinkLosses {
    let slice = world.shard().traffic(world.now(), 0);
    let mut losses = slice.left;
    slice.links.iter().for_each(|link| losses.add(link.losses));
    losses
}

#[test]
fn a_report_of_datagrams_that_were_not_sent_changes_no_figure() {
    let mut world = pair();
    let before = losses(&world);
    assert_eq!((before.lost_in, before.lost_out), (0, 0), "{before:?}");
    let now = world.now();
    let report = ClientReport { largest: 1 << 28, received: 1, ..ClientReport::default() };
    world.clients[0].send_report(now, report);
    world.run(Duration::from_millis(100));
    assert_eq!(losses(&world).lost_out, 0);
    assert_eq!(world.shard().counters.false_figures, 1);
    // A client that first tells the truth, and then less than before.
    let less = ClientReport { largest: 1, received: 1, ..ClientReport::default() };
    let now = world.now();
    world.clients[0].send_report(now, less);
    world.run(Duration::from_millis(100));
    let after = losses(&world);
    assert!(after.sent_out >= before.sent_out && after.lost_out == 0, "{before:?} {after:?}");
    assert_eq!(world.shard().counters.false_figures, 1);
}

#[test]
fn numbers_that_were_left_out_count_as_lost_only_as_far_as_a_client_may_send() {
    let mut world = pair();
    let now = world.now();
    world.clients[0].leave_out_numbers(now, 30_000);
    talk(&mut world);
    let rate = datagram_rate(&Limits::default()).per_second;
    let after = losses(&world);
    assert!((1..=7 * rate).contains(&after.lost_in), "{after:?}");
    assert_eq!(world.shard().counters.false_figures, 1);
}
