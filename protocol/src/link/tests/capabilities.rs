//! A client without a realtime port, datagrams of a chosen size, and the interval of reports.

use super::fallback::TwoPlanes;
use super::*;

#[test]
fn a_client_without_a_port_stays_in_the_session_and_never_probes() {
    for seed in 0..20 {
        let mut net = TwoPlanes::with_planes(seed, 20, Planes::SessionOnly);
        net.run(30_000, [true, true]);
        assert_eq!(net.port_datagrams(), 0, "seed {seed}");
        let [to_client, to_server] = net.received();
        // The server speaks once the client has said that it uses the session.
        assert!(to_client > 1_490 && to_server > 1_490, "seed {seed}: {to_client} {to_server}");
        assert_eq!(net.client().fallbacks(), 0);
        assert!(net.client().rtt().is_some(), "seed {seed}");
        assert!(net.server().client_report().is_some(), "seed {seed}");
        assert!(net.client().server_report().is_some(), "seed {seed}");
    }
}

#[test]
fn an_idle_client_without_a_port_keeps_its_session_alive() {
    let mut net = TwoPlanes::with_planes(1, 20, Planes::SessionOnly);
    net.run(30_000, [false, false]);
    let before = net.session_datagrams();
    net.run(60_000, [false, false]);
    assert_eq!(net.port_datagrams(), 0);
    // Keep-alive and session ping in turn, every 7.5 s, and the answers to the keep-alives.
    let sent = net.session_datagrams() - before;
    assert!((8..=12).contains(&sent), "{sent} datagrams a minute");
}

#[test]
fn control_datagrams_and_bodies_are_no_larger_than_allowed() {
    for max_body in [limits::MIN_BODY, 1_077, limits::MAX_BODY] {
        let link = |side| Link::new(Time::ZERO, LinkConfig { max_body, ..config(side) });
        let (client, mut server) = (link(LinkSide::Client), link(LinkSide::Server));
        assert_eq!((client.max_body(), server.max_body()), (max_body, max_body));
        let mut out = Vec::new();
        let start = server.begin(ms(1), &mut out);
        put_message(&mut out, 1, &[0; limits::MAX_PAYLOAD]);
        assert!(out.len() - start <= HEADER + max_body);
    }
    let link = Link::new(Time::ZERO, LinkConfig { max_body: 7, ..config(LinkSide::Server) });
    assert_eq!(link.max_body(), limits::MIN_BODY);
}

#[test]
fn the_server_steers_the_interval_of_reports() {
    let mut net = TwoPlanes::new(1, 20);
    net.run(10_000, [true, true]);
    let reports = |net: &mut TwoPlanes| {
        let before = net.frames_up(control::REPORT);
        net.run(10_000, [true, true]);
        net.frames_up(control::REPORT) - before
    };
    assert!((9..=12).contains(&reports(&mut net)), "one a second, as told at the join");
    net.server_mut().steer_reports(Duration::from_millis(100));
    net.run(1_000, [true, true]);
    let often = reports(&mut net);
    assert!((90..=120).contains(&often), "{often} in 10 s");
    net.server_mut().steer_reports(Duration::from_secs(7));
    net.run(1_000, [true, true]);
    assert!((9..=12).contains(&reports(&mut net)), "cut to a second");
}

#[test]
fn a_rising_delay_is_reported_at_once() {
    let mut net = TwoPlanes::new(1, 20);
    net.run(10_500, [true, true]);
    let before = net.frames_up(control::REPORT);
    net.set_delay(60);
    net.run(300, [true, true]);
    let early = net.frames_up(control::REPORT) - before;
    assert!((1..=2).contains(&early), "{early} reports in 300 ms");
    let report = net.server().client_report().unwrap().delay.unwrap();
    assert!(report.spread < 4_500, "{report:?}");
}

/// What reports cost at the interval of today, and at the one that congestion control will need.
#[test]
fn reports_ride_with_messages_and_cost_a_listener_datagrams() {
    // Datagrams and bytes of the client in 60 s, by interval in ms.
    let cost = |millis, speaks| {
        let mut net = TwoPlanes::new(1, 20);
        net.run(5_000, [true, speaks]);
        net.server_mut().steer_reports(Duration::from_millis(millis));
        net.run(2_000, [true, speaks]);
        let counters = |net: &TwoPlanes| net.client().counters();
        let before = counters(&net);
        net.run(60_000, [true, speaks]);
        let after = counters(&net);
        (after.datagrams_out - before.datagrams_out, after.bytes_out - before.bytes_out)
    };
    let ((often, often_bytes), (seldom, seldom_bytes)) = (cost(100, true), cost(1_000, true));
    println!("speaker: {seldom} datagrams, {seldom_bytes} bytes a minute; {often}, {often_bytes}");
    assert!(often <= seldom + seldom / 100, "{often} {seldom}: the reports ride");
    assert!(
        (20_000..23_000).contains(&(often_bytes - seldom_bytes)),
        "38 bytes, nine times a second"
    );
    let ((often, often_bytes), (seldom, seldom_bytes)) = (cost(100, false), cost(1_000, false));
    println!("listener: {seldom} datagrams, {seldom_bytes} bytes a minute; {often}, {often_bytes}");
    assert!((500..=560).contains(&(often - seldom)), "{often} {seldom}");
}
