//! Key phases while the realtime port is blocked: the two ends must not drift apart.

use super::fallback::{BOTH, ON_REALTIME, Port, TwoPlanes};
use super::*;

const PHASE: Duration = Duration::from_secs(20);
const MILLI: Duration = Duration::from_millis(1);

/// Phases that change by time, as an hour passes.
fn by_time() -> PhaseLimits {
    PhaseLimits { time: PHASE, min_time: Duration::from_secs(1), ..PhaseLimits::default() }
}

/// Phases that change by packets, as often as their shortest duration permits.
fn by_packets() -> PhaseLimits {
    PhaseLimits { packets: 5, min_time: Duration::from_secs(2), ..PhaseLimits::default() }
}

#[test]
fn a_port_blocked_for_any_number_of_phases_is_back_within_three_seconds() {
    let every_20_ms = [Some(20 * MILLI); 2];
    for phases in 0..=7 {
        for port in [Port::Blocked, Port::BlockedUp, Port::BlockedDown] {
            let mut net = TwoPlanes::with_phases(7, 20, Planes::Both, by_time());
            net.run(3_000, BOTH);
            assert_eq!(net.planes(), ON_REALTIME);
            net.port = port;
            net.run_long(PHASE * phases, every_20_ms);
            net.port = Port::Open;
            net.run_long(Duration::from_secs(3), every_20_ms);
            assert_eq!(net.planes(), ON_REALTIME, "{port:?} for {phases} phases");
        }
    }
}

/// Phases of an hour, as in use, and a port that is blocked for a night.
#[test]
fn a_night_without_the_port() {
    for intervals in [[None; 2], [Some(Duration::from_secs(1)); 2]] {
        let mut net = TwoPlanes::new(1, 20);
        net.run(3_000, BOTH);
        net.port = Port::Blocked;
        net.run_long(Duration::from_secs(12 * 3_600), intervals);
        net.port = Port::Open;
        net.run_long(Duration::from_secs(16), intervals);
        net.run(3_000, BOTH);
        assert_eq!(net.planes(), ON_REALTIME);
        assert!(net.phases()[0] >= 1, "the client's phases go on: {:?}", net.phases());
    }
}

/// Random traffic of each end, kinds of blockage, limits of phases and planes.
#[test]
fn random_blockages_never_part_the_ends() {
    let mut phases = [0; 2];
    for seed in 0..1_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let planes = if rng.u8(0..4) == 0 { Planes::PortOnly } else { Planes::Both };
        let limits = if rng.bool() { by_time() } else { by_packets() };
        let mut net = TwoPlanes::with_phases(seed, rng.u64(1..100), planes, limits);
        for _ in 0..rng.u8(1..4) {
            let mut interval = || [None, Some(50), Some(300), Some(2_000)][rng.usize(0..4)];
            let intervals = [interval(), interval()].map(|millis| millis.map(|n| n * MILLI));
            net.run_long(Duration::from_millis(rng.u64(0..20_000)), intervals);
            net.port = [Port::Blocked, Port::BlockedUp, Port::BlockedDown][rng.usize(0..3)];
            net.run_long(PHASE.mul_f32(rng.f32() * 7.0), intervals);
            net.port = Port::Open;
            // An idle client, or one without a fallback, probes every 15 s. After a relapse a
            // client stays on the fallback for a while.
            net.run_long(Duration::from_secs(20), intervals);
            net.run_long(Duration::from_secs(3), [Some(20 * MILLI); 2]);
            assert_eq!(net.planes(), ON_REALTIME, "seed {seed}");
            let before = net.received();
            net.run_long(Duration::from_secs(1), [Some(20 * MILLI); 2]);
            for (before, after) in before.into_iter().zip(net.received()) {
                assert!(after - before >= 45, "seed {seed}: {} of 50 arrived", after - before);
            }
        }
        for (sum, phase) in phases.iter_mut().zip(net.phases()) {
            *sum += phase;
        }
    }
    assert!(phases[0] > 3_000 && phases[1] > 3_000, "phases go on: {phases:?}");
}

impl TwoPlanes {
    /// Returns the phases in which the client and the server send.
    fn phases(&self) -> [u32; 2] {
        [self.client().send.phase(), self.server().send.phase()]
    }
}

/// A client alone in its room receives only acknowledgements and clock replies. A client whose
/// session carries no datagrams receives only clock replies.
#[test]
fn whoever_is_alone_changes_its_phase_too() {
    for planes in [Planes::Both, Planes::PortOnly] {
        let mut net = TwoPlanes::with_phases(1, 20, planes, by_time());
        net.run_long(Duration::from_secs(200), [None, Some(50 * MILLI)]);
        assert!(net.phases()[0] >= 8, "{planes:?}: {:?}", net.phases());
    }
}

#[test]
fn an_idle_link_changes_the_phases_of_both_ends() {
    for planes in [Planes::Both, Planes::PortOnly] {
        let mut net = TwoPlanes::new(1, 20);
        net.run_long(Duration::from_secs(5 * 3_600), [None; 2]);
        assert_eq!(net.phases(), [4, 4], "{planes:?}");
    }
}

/// Without an acknowledgement a link keeps its key, and stops at the limit of the key.
#[test]
fn a_phase_without_acknowledgement_never_passes_the_limit_of_its_key() {
    let max_packets = 1_000;
    let min_time = Duration::ZERO;
    let (mut client, _) = pair(PhaseLimits { packets: 100, min_time, max_packets, ..by_packets() });
    for n in 0..max_packets {
        data(&mut client, ms(u64::from(n) * 20_000), 0);
        // Numbers that were not sent acknowledge nothing.
        client.send.acknowledge(ms(0), max_packets + n);
    }
    assert_eq!(client.send.phase(), 0);
    let mut out = Vec::new();
    let start = client.begin(ms(0), &mut out);
    assert_eq!(client.finish(ms(0), &mut out, start), Err(Exhausted));
    assert!(out.is_empty());
}

/// A peer that begins a new phase with every datagram makes no work: a receiver derives keys at
/// most twice a minute.
#[test]
fn a_phase_in_every_datagram_costs_no_derivation() {
    let hasty = PhaseLimits { packets: 0, min_time: Duration::ZERO, ..PhaseLimits::default() };
    let (mut client, _) = pair(hasty);
    let (_, mut server) = pair(PhaseLimits::default());
    let sent: Vec<Vec<u8>> = (0..20_000u32)
        .map(|n| {
            client.send.acknowledge(ms(n.into()), n.saturating_sub(1));
            data(&mut client, ms(n.into()), n as u16)
        })
        .collect();
    assert_eq!(client.send.phase(), 19_999);
    let before = keys::derivations();
    let mut taken = 0;
    for (n, datagram) in (0..).zip(&sent) {
        taken += u32::from(give(&mut server, ms(n * 6), from(HOME), datagram).is_ok());
    }
    // Two minutes: at most four phases of three derivations each.
    assert!(keys::derivations() - before <= 12, "{}", keys::derivations() - before);
    assert!(taken <= 5, "{taken} taken");
}

#[test]
fn a_next_phase_needs_the_largest_number() {
    let (mut client, _) = pair(PhaseLimits { packets: 50, ..by_packets() });
    let (_, mut server) = pair(by_packets());
    let old: Vec<_> = (0..50).map(|n| data(&mut client, ms(0), n)).collect();
    client.send.acknowledge(ms(0), 0);
    let next: Vec<_> = (0..2).map(|n| data(&mut client, ms(2_000), 50 + n)).collect();
    give(&mut server, ms(2_000), from(HOME), &old[49]).unwrap();
    // The bits of the next phase on an old number.
    let mut forged = old[10].clone();
    forged[0] += 1;
    let before = keys::derivations();
    assert_eq!(give(&mut server, ms(2_000), from(HOME), &forged), Err(Rejected::Phase));
    assert_eq!(keys::derivations(), before);
    // Out of order, both of the next phase are taken.
    assert_eq!(give(&mut server, ms(2_000), from(HOME), &next[1]), Ok(vec![51]));
    assert_eq!(give(&mut server, ms(2_000), from(HOME), &next[0]), Ok(vec![50]));
}
