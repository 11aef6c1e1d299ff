//! Key phases on a bad network, and packet numbers, which must never repeat under a key.

use std::collections::HashSet;

use super::*;

fn quick() -> PhaseLimits {
    PhaseLimits {
        packets: 50,
        time: Duration::from_secs(3_600),
        min_time: Duration::from_secs(1),
        overlap: Duration::from_millis(500),
        max_packets: u32::MAX,
    }
}

fn phase(datagram: &[u8]) -> u8 {
    Header::parse(datagram).unwrap().phase
}

#[test]
fn phases_survive_loss_and_reordering() {
    for seed in 0..50 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut client, mut server) = pair(quick());
        // (arrival in ms, key, datagram): delayed by less than the overlap, a fifth lost, a tenth
        // duplicated.
        let mut in_flight: Vec<(u64, u16, Vec<u8>)> = Vec::new();
        for n in 0..1_000u16 {
            let at = u64::from(n) * 10;
            let datagram = acknowledged(&mut client, ms(at), n);
            let copies = if rng.u8(0..5) == 0 { 0 } else { 1 + usize::from(rng.u8(0..10) == 0) };
            for _ in 0..copies {
                in_flight.push((at + rng.u64(0..400), n, datagram.clone()));
            }
        }
        in_flight.sort_by_key(|(at, ..)| *at);
        let mut seen = HashSet::new();
        for (at, n, datagram) in in_flight {
            server.handle_timeout(ms(at));
            let expected = if seen.insert(n) { Ok(vec![n]) } else { Err(Rejected::Replayed) };
            assert_eq!(give(&mut server, ms(at), from(HOME), &datagram), expected, "seed {seed}");
        }
        assert!(server.recv_phase() >= 9, "seed {seed}: {}", server.recv_phase());
    }
}

/// Returns a datagram that the peer has acknowledged: the sender may begin the next phase.
fn acknowledged(link: &mut Link, now: Time, key: u16) -> Vec<u8> {
    let datagram = data(link, now, key);
    link.send.acknowledge(now, link.send.next_number() - 1);
    datagram
}

impl Link {
    fn recv_phase(&self) -> u32 {
        self.recv.phase()
    }
}

#[test]
fn the_old_key_lives_for_the_overlap_and_is_then_erased() {
    let (mut client, mut server) = pair(quick());
    let old: Vec<_> = (0..60).map(|n| acknowledged(&mut client, ms(0), n)).collect();
    let new = data(&mut client, ms(1_000), 100);
    assert_eq!((phase(&old[59]), phase(&new)), (0, 1));
    give(&mut server, ms(1_000), from(HOME), &old[0]).unwrap();
    give(&mut server, ms(1_000), from(HOME), &new).unwrap();
    client.send.acknowledge(ms(500), 60);
    assert_eq!(server.recv.deadline(), Some(ms(1_500)));
    // The old phase keeps its own window.
    assert_eq!(give(&mut server, ms(1_499), from(HOME), &old[0]), Err(Rejected::Replayed));
    assert_eq!(give(&mut server, ms(1_499), from(HOME), &old[1]), Ok(vec![1]));
    // The overlap ends even if the timer runs late.
    assert_eq!(give(&mut server, ms(1_500), from(HOME), &old[2]), Err(Rejected::Phase));
    server.handle_timeout(ms(1_500));
    assert_eq!(server.recv.deadline(), None);
    assert_eq!(give(&mut server, ms(1_001), from(HOME), &old[2]), Err(Rejected::Phase));
    let next = data(&mut client, ms(1_600), 101);
    assert_eq!(give(&mut server, ms(1_600), from(HOME), &next), Ok(vec![101]));
}

#[test]
fn garbage_in_the_next_phase_commits_nothing() {
    let (mut client, mut server) = pair(quick());
    data(&mut client, ms(0), 0);
    for n in 0..200u16 {
        let mut forged = data(&mut client, ms(0), n);
        forged[0] = forged[0] & !3 | 1;
        assert_eq!(give(&mut server, ms(1_000), from(HOME), &forged), Err(Rejected::Tag));
        forged[0] = forged[0] & !3 | 2;
        assert_eq!(give(&mut server, ms(1_000), from(HOME), &forged), Err(Rejected::Phase));
        forged[0] |= 3;
        assert_eq!(give(&mut server, ms(1_000), from(HOME), &forged), Err(Rejected::Phase));
    }
    assert_eq!(server.recv_phase(), 0);
    let good = acknowledged(&mut client, ms(0), 5);
    assert_eq!(give(&mut server, ms(0), from(HOME), &good), Ok(vec![5]));
    let next = data(&mut client, ms(2_000), 6);
    assert_eq!((phase(&next), give(&mut server, ms(2_000), from(HOME), &next)), (1, Ok(vec![6])));
}

#[test]
fn time_alone_moves_a_phase_and_never_too_soon() {
    let (mut client, _) = pair(PhaseLimits { packets: 10, ..PhaseLimits::default() });
    let mut at_phase = |seconds: u64| phase(&acknowledged(&mut client, ms(seconds * 1_000), 0));
    assert_eq!(at_phase(0), 0);
    assert!((0..100).all(|_| at_phase(59) == 0));
    assert_eq!(at_phase(60), 1);
    assert!((0..100).all(|_| at_phase(119) == 1));
    assert_eq!(at_phase(120), 2);
    assert_eq!((at_phase(120 + 3_599), at_phase(120 + 7_200)), (2, 3));
}

#[test]
fn an_hour_moves_a_phase_without_packets() {
    let (mut client, _) = pair(PhaseLimits::default());
    assert_eq!(phase(&acknowledged(&mut client, ms(0), 0)), 0);
    assert_eq!(phase(&data(&mut client, ms(3_599_999), 0)), 0);
    assert_eq!(phase(&data(&mut client, ms(3_600_000), 0)), 1);
}

#[test]
fn no_key_meets_a_number_twice() {
    let max_packets = 100_000;
    let limits = PhaseLimits { packets: 1_000, min_time: Duration::ZERO, max_packets, ..quick() };
    let (mut client, _) = pair(limits);
    let (mut seen, mut phases) = (HashSet::new(), HashSet::new());
    let mut last = None;
    for n in 0..max_packets {
        // The link's own datagrams and the application's share one sequence of numbers.
        let now = ms(u64::from(n) * 7);
        let mut out = Vec::new();
        if client.poll_output(now, &mut out).is_none() {
            out = data(&mut client, now, 0);
        }
        client.send.acknowledge(now, client.send.next_number() - 1);
        let header = Header::parse(&out).unwrap();
        let phase = client.send.phase();
        assert_eq!(phase as u8 & 3, header.phase);
        assert!(last.is_none_or(|last| header.number > last));
        assert!(seen.insert((phase, header.number)));
        phases.insert(phase);
        last = Some(header.number);
    }
    assert_eq!(phases.len(), 100);
    let mut out = vec![1, 2];
    let start = client.begin(ms(1 << 30), &mut out);
    put_message(&mut out, 1, b"secret");
    assert_eq!(client.finish(ms(1 << 30), &mut out, start), Err(Exhausted));
    // The unsealed datagram was cut off, and no timer is due.
    assert_eq!(out, [1, 2]);
    assert_eq!((client.poll_output(ms(1 << 30), &mut out), client.deadline()), (None, None));
}
