//! When a link speaks by itself, and what it learns from it.

use super::*;
use crate::limits::{CLOCK_INTERVAL, REPORT_INTERVAL};

/// Moments (ms) at which the client sent a frame of this type.
fn moments(world: &World, kind: u8) -> Vec<u64> {
    let mut reader = Link::new(Time::ZERO, config(LinkSide::Server));
    let mut sent = Vec::new();
    for (_, at, bytes) in world.log.iter().filter(|(up, ..)| *up) {
        if types(&mut reader, *at, bytes).contains(&kind) {
            sent.push(at.as_micros() / 1_000);
        }
    }
    sent
}

#[test]
fn an_idle_link_without_a_fallback_sends_eight_datagrams_a_minute() {
    let mut world = World::new(1);
    world.run_until(ms(60_000));
    for minute in 2..20 {
        let before = (world.sent(true), world.sent(false));
        world.run_until(ms(minute * 60_000));
        let sent = (world.sent(true) - before.0, world.sent(false) - before.1);
        assert_eq!(sent, (8, 8), "minute {minute}");
    }
    let report = world.server.client_report().unwrap();
    assert_eq!(u64::from(report.received), world.sent(false) as u64 - 1);
}

#[test]
fn a_new_link_asks_until_it_is_answered() {
    let mut world = World::new(1);
    world.cut = true;
    world.run_until(ms(50_000));
    let mut expected: Vec<u64> = (0..=10).map(|n| n * 200).collect();
    expected.extend([3_000, 5_000, 9_000, 16_500, 24_000, 31_500, 39_000, 46_500]);
    assert_eq!(moments(&world, frame::KEEP_ALIVE), expected);
    assert_eq!(moments(&world, frame::CLOCK), expected);
}

#[test]
fn an_answered_link_takes_four_more_samples() {
    let mut world = World::new(1);
    world.run_until(ms(7_000));
    assert_eq!(moments(&world, frame::CLOCK), [0, 100, 200, 300, 400]);
    assert_eq!(moments(&world, frame::KEEP_ALIVE), [0]);
}

#[test]
fn silence_after_traffic_is_probed() {
    let mut world = World::new(1);
    world.run_with_traffic_until(ms(2_000));
    world.run_until(ms(2_040));
    let heard = world.client.last_heard().unwrap().as_micros() / 1_000;
    world.cut = true;
    world.log.clear();
    world.run_until(ms(60_000));
    let probes: Vec<u64> = moments(&world, frame::KEEP_ALIVE).iter().map(|at| at - heard).collect();
    // Probes in 1, 2, 4, 8, 15 s, and the keep-alives of a link that is alone.
    let expected =
        [500, 1_500, 3_500, 7_500, 15_000, 15_500, 23_000, 30_500, 38_000, 45_500, 53_000];
    assert_eq!(probes, expected);
}

#[test]
fn a_quiet_room_is_probed_once() {
    let mut world = World::new(1);
    world.run_with_traffic_until(ms(2_000));
    world.log.clear();
    world.run_until(ms(9_000));
    assert_eq!(moments(&world, frame::KEEP_ALIVE).len(), 1);
}

#[test]
fn the_clock_and_the_reports_travel_with_traffic() {
    let mut world = World::new(1);
    world.run_with_traffic_until(ms(2_000));
    world.log.clear();
    world.run_with_traffic_until(ms(32_000));
    // 30 s of data, and nothing beside it.
    assert_eq!(world.sent(true), 1_500);
    // A little more often than alone: what is due soon is taken along early.
    let wanted = |every: Duration| (30 / every.as_secs()) as usize;
    let near = |count: usize, every| (wanted(every)..=wanted(every) + 4).contains(&count);
    let (count, every) = (moments(&world, frame::CLOCK).len(), CLOCK_INTERVAL);
    assert!(near(count, every), "{count}");
    let (count, every) = (moments(&world, frame::REPORT).len(), REPORT_INTERVAL);
    assert!(near(count, every), "{count}");
    // Downwards a report is a datagram of its own, and the clock's answer does not wait for data.
    let expected = 1_500 + wanted(REPORT_INTERVAL) + wanted(CLOCK_INTERVAL);
    assert!(world.sent(false).abs_diff(expected) <= 3, "{}", world.sent(false));
}

#[test]
fn clocks_agree_to_half_the_jitter() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.jitter = Duration::from_millis(30);
        world.run_until(ms(1_500));
        let estimate = world.client.server_time(world.now).unwrap();
        let error = estimate.as_micros().abs_diff((world.now + world.offset).as_micros());
        assert!(error <= 15_000, "seed {seed}: {error} us");
        let rtt = world.client.rtt().unwrap().as_millis();
        assert!((40..=100).contains(&rtt), "seed {seed}: {rtt} ms");
        assert_eq!(world.client.clock_epoch(), Some(9));
    }
}

#[test]
fn reports_say_what_was_received_withheld_and_how_late() {
    let mut world = World::new(1);
    world.server.count_withheld(MessageKind::Voice, Withheld::Dropped, 2);
    world.server.count_withheld(MessageKind::Voice, Withheld::Dropped, 3);
    world.server.count_withheld(MessageKind::Pose, Withheld::Superseded, 1);
    world.run_with_traffic_until(ms(5_000));
    let report = world.server.client_report().unwrap();
    let expected = world.sent(false) as u32;
    assert!(report.received <= expected && report.received + 60 >= expected);
    assert!(report.delay_min.abs_diff(20_000) <= 1_000, "{report:?}");
    assert!(report.delay_mean.abs_diff(20_000) <= 1_000, "{report:?}");
    let report = world.server_report();
    assert_eq!(report.kinds[MessageKind::Voice.index()].dropped, 5);
    assert_eq!(report.kinds[MessageKind::Pose.index()].superseded, 1);
    assert!(report.largest > 0 && report.received > 0);
}

impl World {
    fn server_report(&self) -> ServerReport {
        self.client.server_report().unwrap()
    }
}

#[test]
fn congestion_marks_are_counted() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    for ecn in 0..4 {
        let mut down = data(&mut server, ms(0), 1);
        assert_eq!(client.handle_input(ms(1), from(SERVER), ecn, &mut down).unwrap().count(), 1);
    }
    let up = data(&mut client, ms(2_000), 1);
    give(&mut server, ms(2_000), from(HOME), &up).unwrap();
    let report = server.client_report().unwrap();
    assert_eq!((report.congestion_marks, report.received, report.largest), (1, 4, 3));
}

#[test]
fn a_changed_network_is_told_at_once() {
    let mut world = World::new(1);
    world.run_until(ms(5_000));
    world.port = 2_000;
    assert!(world.client.use_spare());
    world.run_until(ms(5_100));
    assert_eq!(world.server.route(), Some((Route::Realtime(from(2_000)), usize::MAX)));
}
