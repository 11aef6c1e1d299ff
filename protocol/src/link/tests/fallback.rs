//! A link with two planes: the fallback, the return, and how fast each end reacts.

use super::*;
use crate::limits::{FALLBACK_AFTER, RETURN_PROBE};
use crate::realtime::control::KeepAlive;

/// The state of the realtime port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Open,
    /// Blocked in both directions.
    Blocked,
    /// Blocked from the client to the server.
    BlockedUp,
    /// Blocked from the server to the client.
    BlockedDown,
}

/// A datagram on its way on either plane.
struct PlaneDatagram {
    arrives: Time,
    /// Whether the client sent it.
    up: bool,
    route: Route,
    bytes: Vec<u8>,
}

/// Two links with both planes between them, in steps of a millisecond.
pub(super) struct TwoPlanes {
    client: Link,
    server: Link,
    now: Time,
    pub(super) port: Port,
    /// One-way delay.
    delay: Duration,
    /// Percentage of datagrams lost on the realtime port.
    loss: u32,
    in_flight: Vec<PlaneDatagram>,
    seed: u64,
    rng: fastrand::Rng,
    /// Arrival times and keys of the messages that each end received: [client, server].
    received: [Vec<(Time, u16)>; 2],
    /// Number of messages that each end sent: [server, client].
    sent: [u16; 2],
    /// Datagrams that were sent: [realtime port, session].
    datagrams: [usize; 2],
    /// The types of the client's frames in the session, and on the port.
    frames_up: Vec<u8>,
}

impl TwoPlanes {
    pub(super) fn new(seed: u64, delay: u64) -> Self {
        Self::with_planes(seed, delay, Planes::Both)
    }

    pub(super) fn with_planes(seed: u64, delay: u64, planes: Planes) -> Self {
        Self::with_phases(seed, delay, planes, PhaseLimits::default())
    }

    pub(super) fn with_phases(seed: u64, delay: u64, planes: Planes, limits: PhaseLimits) -> Self {
        let end = |side| {
            let config = LinkConfig { planes, ..config(side) };
            let path = config.path.filter(|_| planes != Planes::SessionOnly);
            Link::with_phase_limits(Time::ZERO, LinkConfig { path, ..config }, limits)
        };
        Self {
            client: end(LinkSide::Client),
            server: end(LinkSide::Server),
            now: Time::ZERO,
            port: Port::Open,
            delay: Duration::from_millis(delay),
            loss: 0,
            in_flight: Vec::new(),
            seed,
            rng: fastrand::Rng::with_seed(seed),
            received: [Vec::new(), Vec::new()],
            sent: [0; 2],
            datagrams: [0; 2],
            frames_up: Vec::new(),
        }
    }

    pub(super) fn client(&self) -> &Link {
        &self.client
    }

    pub(super) fn server(&self) -> &Link {
        &self.server
    }

    pub(super) fn server_mut(&mut self) -> &mut Link {
        &mut self.server
    }

    pub(super) fn set_delay(&mut self, millis: u64) {
        self.delay = Duration::from_millis(millis);
    }

    /// Returns the number of messages that the client and the server received.
    pub(super) fn received(&self) -> [usize; 2] {
        [self.received[0].len(), self.received[1].len()]
    }

    pub(super) fn port_datagrams(&self) -> usize {
        self.datagrams[0]
    }

    pub(super) fn session_datagrams(&self) -> usize {
        self.datagrams[1]
    }

    /// Returns how many frames of this type the server has received.
    pub(super) fn frames_up(&self, kind: u8) -> usize {
        self.frames_up.iter().filter(|frame| **frame == kind).count()
    }

    fn launch(&mut self, up: bool, route: Route, bytes: &[u8]) {
        let realtime = route.plane() == Plane::Realtime;
        self.datagrams[usize::from(!realtime)] += 1;
        let blocked = match self.port {
            Port::Open => false,
            Port::Blocked => true,
            Port::BlockedUp => up,
            Port::BlockedDown => !up,
        };
        if realtime && (blocked || self.rng.u32(0..100) < self.loss) {
            return;
        }
        let bytes = route.wire(bytes).to_vec();
        self.in_flight.push(PlaneDatagram { arrives: self.now + self.delay, up, route, bytes });
    }

    /// Sends a message from one end. The message's number is its key.
    fn send_message(&mut self, up: bool) {
        let link = if up { &mut self.client } else { &mut self.server };
        let Some((route, budget)) = link.route() else { return };
        if budget > 200 {
            let key = self.sent[usize::from(up)];
            self.sent[usize::from(up)] = key.wrapping_add(1);
            let bytes = data(link, self.now, key);
            self.launch(up, route, &bytes);
        }
    }

    fn pump(&mut self) {
        for up in [true, false] {
            let link = if up { &mut self.client } else { &mut self.server };
            link.handle_timeout(self.now);
            let mut out = Vec::new();
            let mut ready = Vec::new();
            while let Some(route) = link.poll_output(self.now, &mut out) {
                ready.push((route, std::mem::take(&mut out)));
                assert!(ready.len() < 100, "poll_output never returns None");
            }
            ready.iter().for_each(|(route, bytes)| self.launch(up, *route, bytes));
        }
    }

    fn arrive(&mut self) {
        let (arrived, rest): (Vec<_>, _) =
            self.in_flight.drain(..).partition(|datagram| datagram.arrives <= self.now);
        self.in_flight = rest;
        for PlaneDatagram { up, route, mut bytes, .. } in arrived {
            let (link, path) =
                if up { (&mut self.server, from(HOME)) } else { (&mut self.client, from(SERVER)) };
            let messages = match route {
                Route::Realtime(_) => link.handle_input(self.now, path, 0, &mut bytes),
                Route::Session => link.handle_session_input(self.now, &bytes),
            };
            let messages = messages
                .unwrap_or_else(|reason| panic!("seed {}, {:?}: {reason}", self.seed, self.now));
            if up {
                self.frames_up.extend(messages.clone().frame_types());
            }
            let keys = messages.map(|m| (self.now, m.key));
            self.received[usize::from(up)].extend(keys);
        }
    }

    /// Runs for `millis` ms. `senders` are the ends that send a message every 20 ms:
    /// [server, client].
    pub(super) fn run(&mut self, millis: u64, senders: [bool; 2]) {
        for _ in 0..millis {
            self.now += Duration::from_millis(1);
            self.arrive();
            if self.now.as_micros().is_multiple_of(20_000) {
                for up in [false, true] {
                    if senders[usize::from(up)] {
                        self.send_message(up);
                    }
                }
            }
            self.pump();
        }
    }

    /// Runs for `time`, from event to event instead of millisecond by millisecond: for hours.
    /// `intervals` are those of the messages of each end, [server, client].
    pub(super) fn run_long(&mut self, time: Duration, intervals: [Option<Duration>; 2]) {
        let end = self.now + time;
        let mut messages = intervals.map(|interval| interval.map_or(Time::MAX, |i| self.now + i));
        loop {
            self.pump();
            let arrivals = self.in_flight.iter().map(|datagram| datagram.arrives);
            let timers = [self.client.deadline(), self.server.deadline()].into_iter().flatten();
            let next = arrivals.chain(timers).chain(messages).fold(end, Time::min);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now + Duration::from_micros(1));
            self.arrive();
            for up in [false, true] {
                let at = &mut messages[usize::from(up)];
                if let Some(interval) = intervals[usize::from(up)]
                    && *at <= self.now
                {
                    *at += interval;
                    self.send_message(up);
                }
            }
        }
    }

    pub(super) fn planes(&self) -> [Option<Plane>; 2] {
        [&self.client, &self.server].map(|link| link.route().map(|(route, _)| route.plane()))
    }

    /// Returns the longest time without a message at an end since `since`, in ms. `up` is whether
    /// the end is the server.
    fn gap(&self, up: bool, since: Time) -> u64 {
        let times =
            self.received[usize::from(up)].iter().map(|(at, _)| *at).filter(|at| *at >= since);
        let times: Vec<Time> = [since].into_iter().chain(times).chain([self.now]).collect();
        times.windows(2).map(|w| w[1].since(w[0]).as_millis() as u64).max().unwrap_or(0)
    }

    fn assert_nothing_twice(&self) {
        for received in &self.received {
            let mut keys: Vec<u16> = received.iter().map(|(_, key)| *key).collect();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a message came twice");
        }
    }
}

pub(super) const BOTH: [bool; 2] = [true, true];
pub(super) const ON_REALTIME: [Option<Plane>; 2] = [Some(Plane::Realtime); 2];
const ON_SESSION: [Option<Plane>; 2] = [Some(Plane::Session); 2];

#[test]
fn a_link_begins_on_the_session_and_moves_to_the_port() {
    let mut net = TwoPlanes::new(1, 20);
    net.pump();
    assert_eq!(net.planes(), [Some(Plane::Session), None]);
    net.run(25, BOTH);
    assert_eq!(net.planes()[1], Some(Plane::Session), "the client has sent its choice");
    net.run(100, BOTH);
    assert_eq!(net.planes(), ON_REALTIME);
    assert!(!net.client.on_fallback(net.now) && net.client.fallbacks() == 0);
    net.run(5_000, BOTH);
    assert_eq!(net.received[1].len(), usize::from(net.sent[1]) - 1, "one message is on its way");
    net.assert_nothing_twice();
}

#[test]
fn a_port_that_never_opens_leaves_the_session() {
    let mut net = TwoPlanes::new(1, 20);
    net.port = Port::Blocked;
    net.run(10_000, BOTH);
    assert_eq!(net.planes(), ON_SESSION);
    assert!(net.client.on_fallback(net.now) && net.server.on_fallback(net.now));
    assert!(net.client.server_time(net.now).is_some(), "the session carries the clock requests");
    assert!(net.gap(false, ms(100)) <= 40 && net.gap(true, ms(100)) <= 40);
    net.port = Port::Open;
    net.run(RETURN_PROBE.as_millis() as u64 + 200, BOTH);
    assert_eq!(net.planes(), ON_REALTIME);
}

/// Blocks the port for eight seconds and opens it again.
fn blocked(port: Port, senders: [bool; 2], delay: u64) -> TwoPlanes {
    let mut net = TwoPlanes::new(7, delay);
    net.run(3_000, senders);
    assert_eq!(net.planes(), ON_REALTIME);
    net.port = port;
    net.run(8_000, senders);
    assert_eq!(net.planes(), ON_SESSION);
    assert_eq!(net.client.fallbacks(), 1);
    net.port = Port::Open;
    net.run(3_000, senders);
    assert_eq!(net.planes(), ON_REALTIME, "back within three seconds");
    net.assert_nothing_twice();
    net
}

#[test]
fn a_blocked_port_leaves_a_gap_of_less_than_a_second() {
    for delay in [1, 20, 60] {
        let net = blocked(Port::Blocked, BOTH, delay);
        let most = FALLBACK_AFTER.as_millis() as u64 + 3 * delay + 40;
        let (down, up) = (net.gap(false, ms(2_000)), net.gap(true, ms(2_000)));
        assert!(down <= most && up <= most, "{down} and {up} ms with {delay} ms of delay");
    }
}

#[test]
fn a_listener_notices_a_silent_port_within_700_ms() {
    for delay in [1, 20, 60] {
        let net = blocked(Port::Blocked, [true, false], delay);
        let down = net.gap(false, ms(2_000));
        // The gap begins with the last message before the block. After the fallback the server has
        // to learn of the change, and its next message has to arrive.
        assert!(down <= FALLBACK_AFTER.as_millis() as u64 + 2 * delay + 25, "{down} ms");
    }
}

#[test]
fn a_speaker_notices_that_nobody_hears_him() {
    for delay in [1, 20, 60] {
        for senders in [[false, true], BOTH] {
            let net = blocked(Port::BlockedUp, senders, delay);
            let up = net.gap(true, ms(2_000));
            assert!(up <= FALLBACK_AFTER.as_millis() as u64 + 8 * delay + 60, "{up} ms, {delay}");
        }
    }
}

#[test]
fn a_flapping_port_does_not_make_the_session_flap() {
    let mut net = TwoPlanes::new(1, 20);
    net.run(3_000, BOTH);
    for _ in 0..60 {
        net.port = Port::Blocked;
        net.run(1_000, BOTH);
        net.port = Port::Open;
        net.run(1_500, BOTH);
    }
    assert!(net.client.fallbacks() < 12, "{} times in 150 s", net.client.fallbacks());
    net.run(60_000, BOTH);
    assert_eq!(net.planes(), ON_REALTIME, "the client returns to the port");
    net.assert_nothing_twice();
}

#[test]
fn loss_on_the_port_seldom_makes_a_link_fall_back_and_loses_nothing_twice() {
    let mut fallbacks = 0;
    for seed in 0..20 {
        let mut net = TwoPlanes::new(seed, 150);
        net.loss = 10;
        net.run(60_000, BOTH);
        net.assert_nothing_twice();
        fallbacks += net.client.fallbacks();
    }
    assert!(fallbacks <= 10, "{fallbacks} fallbacks in twenty minutes of 10 % loss");
}

#[test]
fn a_pause_of_the_others_is_no_fall_however_long_the_way() {
    for delay in [1, 60, 125, 180] {
        let mut net = TwoPlanes::new(1, delay);
        for _ in 0..10 {
            net.run(2_000, BOTH);
            net.run(3_000, [false, false]);
        }
        assert_eq!(net.client.fallbacks(), 0, "with {delay} ms one way");
    }
}

#[test]
fn a_long_way_is_not_asked_for_all_the_time() {
    for delay in [1, 60, 125, 180] {
        let mut net = TwoPlanes::new(1, delay);
        net.run(5_000, BOTH);
        let before = [net.client.counters().datagrams_out, net.server.counters().datagrams_out];
        net.run(20_000, BOTH);
        let after = [net.client.counters().datagrams_out, net.server.counters().datagrams_out];
        // Each end has sent a thousand datagrams with messages, a few reports and clock requests,
        // and no probes.
        for (before, after) in before.into_iter().zip(after) {
            assert!(
                (1_000..=1_040).contains(&(after - before)),
                "{} at {delay} ms",
                after - before
            );
        }
    }
}

/// A client that sends a message a second. If a message or its acknowledgement is lost, the client
/// probes before it counts the port as lost.
#[test]
fn a_lost_word_is_no_lost_port() {
    let mut fallbacks = 0;
    for seed in 0..20 {
        let mut net = TwoPlanes::new(seed, 20);
        net.run(1_000, [false, false]);
        net.loss = 10;
        for _ in 0..60 {
            net.send_message(true);
            net.run(1_000, [false, false]);
        }
        fallbacks += net.client.fallbacks();
    }
    assert!(fallbacks <= 10, "{fallbacks} fallbacks for 1,200 messages with 10 % loss each way");
}

#[test]
fn random_blocking_never_strands_a_link() {
    for seed in 0..200 {
        let mut net = TwoPlanes::new(seed, 1 + seed % 80);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..12 {
            net.port = [Port::Open, Port::Blocked, Port::BlockedUp][rng.usize(0..3)];
            net.loss = [0, 5][rng.usize(0..2)];
            net.run(rng.u64(50..2_500), [rng.bool(), rng.bool()]);
        }
        (net.port, net.loss) = (Port::Open, 0);
        net.run(62_000, BOTH);
        assert_eq!(net.planes(), ON_REALTIME, "seed {seed}");
        let since = net.now - Duration::from_secs(1);
        assert!(net.gap(true, since) <= 60 && net.gap(false, since) <= 60, "seed {seed}");
        net.assert_nothing_twice();
    }
}

#[test]
fn an_old_choice_that_arrives_late_changes_nothing() {
    let (_, mut server) = pair(PhaseLimits::default());
    let choose = |server: &mut Link, change, plane| {
        let mut bytes = 3u32.to_le_bytes().to_vec();
        let choice = Some(control::PlaneChoice { change, plane });
        KeepAlive { choice }.encode(&mut bytes);
        server.handle_session_input(ms(1), &bytes).map(drop)
    };
    assert_eq!(choose(&mut server, 65_535, Plane::Session), Ok(()));
    assert_eq!(server.route(), Some((Route::Session, usize::MAX)));
    assert_eq!(choose(&mut server, 0, Plane::Realtime), Ok(()));
    assert_eq!(server.route(), None, "no path yet");
    assert_eq!(choose(&mut server, 65_535, Plane::Session), Ok(()));
    assert_eq!(server.route(), None);
    // A datagram of another link, and malformed ones.
    assert_eq!(
        server.handle_session_input(ms(1), &[9, 0, 0, 0, 9, 0]).err(),
        Some(Rejected::ConnectionId)
    );
    assert_eq!(server.handle_session_input(ms(1), &[3, 0]).err(), Some(Rejected::Header));
    assert_eq!(
        server.handle_session_input(ms(1), &[3, 0, 0, 0, 1, 9]).err(),
        Some(Rejected::Malformed)
    );
    let huge = [&3u32.to_le_bytes()[..], &[0; MAX_BODY + 1]].concat();
    assert_eq!(server.handle_session_input(ms(1), &huge).err(), Some(Rejected::Header));
}

/// Keep-alives, which are answered, and session pings in turn, eight a minute together. Probes of
/// the blocked port come in addition.
#[test]
fn an_idle_link_on_the_fallback_is_heard_and_keeps_its_clock() {
    let mut net = TwoPlanes::new(1, 20);
    net.port = Port::Blocked;
    net.run(20_000, [false; 2]);
    let answers = net.server.counters().datagrams_out;
    let mut longest = Duration::ZERO;
    for _ in 0..60_000 {
        net.run(1, [false; 2]);
        longest = longest.max(net.now.since(net.server.last_received().unwrap()));
    }
    assert!(longest <= Duration::from_millis(7_550), "{longest:?}");
    assert_eq!(net.server.counters().datagrams_out - answers, 4);
}

/// The two planes take turns, with four datagrams a minute each, however long ago the last message
/// was.
#[test]
fn an_idle_link_is_heard_on_both_planes_in_turn() {
    for traffic in [0, 100, 9_000, 20_020] {
        let mut net = TwoPlanes::new(1, 20);
        net.run(5_000 + traffic, [true, true]);
        let mut longest = Duration::ZERO;
        net.run(15_000, [false; 2]);
        let before = [net.client.counters().datagrams_out, net.server.counters().datagrams_out];
        for _ in 0..60_000 {
            net.run(1, [false; 2]);
            longest = longest.max(net.now.since(net.server.last_received().unwrap()));
        }
        let after = [net.client.counters().datagrams_out, net.server.counters().datagrams_out];
        assert!(longest <= Duration::from_millis(7_550), "{longest:?}");
        assert_eq!(net.planes(), ON_REALTIME);
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            [8, 4],
            "after {traffic} ms of traffic"
        );
    }
}
