//! When a link sends by itself, and what it measures.

use super::*;
use crate::limits::{CLOCK_INTERVAL, SERVER_REPORT_INTERVAL};

/// Returns the times (ms) at which the client sent a frame of this type.
fn moments(net: &LinkNetwork, kind: u8) -> Vec<u64> {
    let mut reader = Link::new(Time::ZERO, config(LinkSide::Server));
    let mut sent = Vec::new();
    for SentDatagram { at, bytes, .. } in net.log.iter().filter(|datagram| datagram.up) {
        if types(&mut reader, *at, bytes).contains(&kind) {
            sent.push(at.as_micros() / 1_000);
        }
    }
    sent
}

#[test]
fn an_idle_link_without_a_fallback_sends_eight_datagrams_a_minute() {
    let mut net = LinkNetwork::new(1);
    net.run_until(ms(60_000));
    for minute in 2..20 {
        let before = (net.sent(true), net.sent(false));
        net.run_until(ms(minute * 60_000));
        let sent = (net.sent(true) - before.0, net.sent(false) - before.1);
        assert_eq!(sent, (8, 8), "minute {minute}");
    }
    let report = net.server.client_report().unwrap();
    assert_eq!(u64::from(report.received), net.sent(false) as u64 - 1);
}

#[test]
fn a_new_link_asks_until_it_is_answered() {
    let mut net = LinkNetwork::new(1);
    net.cut = true;
    net.run_until(ms(50_000));
    let mut expected: Vec<u64> = (0..=10).map(|n| n * 200).collect();
    expected.extend([3_000, 5_000, 9_000, 16_500, 24_000, 31_500, 39_000, 46_500]);
    assert_eq!(moments(&net, control::KEEP_ALIVE), expected);
    assert_eq!(moments(&net, control::CLOCK), expected);
}

#[test]
fn an_answered_link_takes_four_more_samples() {
    let mut net = LinkNetwork::new(1);
    net.run_until(ms(7_000));
    assert_eq!(moments(&net, control::CLOCK), [0, 100, 200, 300, 400]);
    assert_eq!(moments(&net, control::KEEP_ALIVE), [0]);
}

#[test]
fn silence_after_traffic_is_probed() {
    let mut net = LinkNetwork::new(1);
    net.run_with_traffic_until(ms(2_000));
    net.run_until(ms(2_040));
    let received_at = net.client.last_received().unwrap().as_micros() / 1_000;
    net.cut = true;
    net.log.clear();
    net.run_until(ms(60_000));
    let probes: Vec<u64> =
        moments(&net, control::KEEP_ALIVE).iter().map(|at| at - received_at).collect();
    // Probes after 0.5, 1.5, 3.5 s and so on, at most 15 s apart, and keep-alives every 7.5 s.
    let expected =
        [500, 1_500, 3_500, 7_500, 15_000, 15_500, 23_000, 30_500, 38_000, 45_500, 53_000];
    assert_eq!(probes, expected);
}

#[test]
fn a_quiet_room_is_probed_once() {
    let mut net = LinkNetwork::new(1);
    net.run_with_traffic_until(ms(2_000));
    net.log.clear();
    net.run_until(ms(9_000));
    assert_eq!(moments(&net, control::KEEP_ALIVE).len(), 1);
}

#[test]
fn the_clock_and_the_reports_travel_with_traffic() {
    let mut net = LinkNetwork::new(1);
    net.run_with_traffic_until(ms(2_000));
    net.log.clear();
    net.run_with_traffic_until(ms(32_000));
    // The client sends 30 s of data, and no further datagrams.
    assert_eq!(net.sent(true), 1_500);
    // Frames that are due soon travel with data, so the client sends them a little more often than
    // once in their interval.
    let wanted = |every: Duration| (30 / every.as_secs()) as usize;
    let near = |count: usize, every| (wanted(every)..=wanted(every) + 4).contains(&count);
    let (count, every) = (moments(&net, control::CLOCK).len(), CLOCK_INTERVAL);
    assert!(near(count, every), "{count}");
    let (count, every) = (moments(&net, control::REPORT).len(), SERVER_REPORT_INTERVAL);
    assert!(near(count, every), "{count}");
    // The server sends a report in a datagram of its own, and does not delay a clock reply for
    // data.
    let expected = 1_500 + wanted(SERVER_REPORT_INTERVAL) + wanted(CLOCK_INTERVAL);
    assert!(net.sent(false).abs_diff(expected) <= 3, "{}", net.sent(false));
}

#[test]
fn clocks_agree_to_half_the_jitter() {
    for seed in 0..50 {
        let mut net = LinkNetwork::new(seed);
        net.jitter = Duration::from_millis(30);
        net.run_until(ms(1_500));
        let estimate = net.client.server_time(net.now).unwrap();
        let error = estimate.as_micros().abs_diff((net.now + net.offset).as_micros());
        assert!(error <= 15_000, "seed {seed}: {error} us");
        let rtt = net.client.rtt().unwrap().as_millis();
        assert!((40..=100).contains(&rtt), "seed {seed}: {rtt} ms");
        assert_eq!(net.client.clock_epoch(), Some(9));
    }
}

#[test]
fn reports_say_what_was_received_withheld_and_how_late() {
    let mut net = LinkNetwork::new(1);
    net.server.count_withheld(MessageKind::Voice, Withheld::Dropped, 2);
    net.server.count_withheld(MessageKind::Voice, Withheld::Dropped, 3);
    net.server.count_withheld(MessageKind::Pose, Withheld::Superseded, 1);
    net.run_with_traffic_until(ms(5_000));
    let report = net.server.client_report().unwrap();
    let expected = net.sent(false) as u32;
    assert!(report.received <= expected && report.received + 60 >= expected);
    let delay = report.delay.unwrap();
    // The client's clock is behind by the offset, which the raw delay contains.
    let raw = 20_000u32.wrapping_sub(net.offset.as_micros() as u32);
    assert!((delay.delay_min.wrapping_sub(raw) as i32).abs() <= 1_000, "{report:?}");
    assert!(delay.spread <= 100 && report.bytes > 0, "{report:?}");
    let report = net.server_report();
    assert_eq!(report.kinds[MessageKind::Voice.index()].dropped, 5);
    assert_eq!(report.kinds[MessageKind::Pose.index()].superseded, 1);
    assert!(report.largest > 0 && report.received > 0);
}

impl LinkNetwork {
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
    assert_eq!((report.ce, report.ect, report.received, report.largest), (1, 3, 4, 3));
}

#[test]
fn a_changed_network_is_told_at_once() {
    let mut net = LinkNetwork::new(1);
    net.run_until(ms(5_000));
    net.port = 2_000;
    assert!(net.client.use_spare());
    net.run_until(ms(5_100));
    assert_eq!(net.server.route(), Some((Route::Realtime(from(2_000)), usize::MAX)));
}

/// A device that sleeps stops its clock. Its capture times would be wrong, and the server would
/// drop all that it sends.
#[test]
fn a_clock_that_stood_still_is_right_again_at_once() {
    for slept in [1, 5, 29] {
        let mut net = LinkNetwork::new(slept);
        net.run_with_traffic_until(ms(30_000));
        net.offset += Duration::from_secs(slept);
        let now = net.now;
        net.run_with_traffic_until(now + Duration::from_millis(300));
        let estimate = net.client.server_time(net.now).unwrap();
        let error = estimate.as_micros().abs_diff((net.now + net.offset).as_micros());
        assert!(error <= 15_000, "{slept} s: {error} us");
    }
}
