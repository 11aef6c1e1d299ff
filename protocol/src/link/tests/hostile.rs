//! Datagrams from an attacker or a faulty peer.

use proptest::prelude::*;

use super::*;

/// Returns the state that a datagram with an effect would change.
fn state(link: &Link) -> impl PartialEq + std::fmt::Debug + use<> {
    let counters = LinkCounters { rejected: [0; Rejected::ALL.len()], ..link.counters() };
    let recv = (link.recv.largest(), link.recv.received(), link.recv.phase());
    (link.deadline(), link.route(), link.last_received(), counters, recv, link.id)
}

#[test]
fn a_change_of_any_byte_is_refused_and_has_no_effect() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    let first = data(&mut client, ms(0), 1);
    give(&mut server, ms(0), from(HOME), &first).unwrap();
    drain(&mut server, ms(0));
    let good = data(&mut client, ms(1), 2);
    let before = state(&server);
    let mut refused = 0;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(give(&mut server, ms(1), from(HOME), &bad).is_err(), "byte {at} bit {bit}");
            refused += 1;
        }
    }
    for len in 0..good.len() {
        assert!(give(&mut server, ms(1), from(HOME), &good[..len]).is_err(), "length {len}");
        refused += 1;
    }
    assert_eq!(state(&server), before);
    assert!(drain(&mut server, ms(1)).is_empty());
    let replayed = server.counters().replayed();
    assert_eq!(server.counters().rejected.iter().sum::<u64>(), refused);
    assert_eq!(give(&mut server, ms(1), from(HOME), &good), Ok(vec![2]));
    assert_eq!(give(&mut server, ms(1), from(HOME), &good), Err(Rejected::Replayed));
    assert_eq!(server.counters().replayed(), replayed + 1);
}

#[test]
fn a_forged_number_does_not_move_the_window() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    let good = data(&mut client, ms(0), 1);
    for number in [1, 5_000, u32::MAX - 1, u32::MAX] {
        let mut forged = good.clone();
        forged[9..13].copy_from_slice(&u32::to_le_bytes(number));
        assert_eq!(give(&mut server, ms(0), from(HOME), &forged), Err(Rejected::Tag));
    }
    assert_eq!(give(&mut server, ms(0), from(HOME), &good), Ok(vec![1]));
}

#[test]
fn keys_of_another_link_and_the_own_direction_do_not_open() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    let others = [
        LinkConfig { root: RootSecret::new(&[9; 32], None), ..config(LinkSide::Client) },
        LinkConfig { root: RootSecret::new(&[4; 32], Some(&[1; 32])), ..config(LinkSide::Client) },
        LinkConfig { link_id: 4, ..config(LinkSide::Client) },
        LinkConfig { suite: Suite::ChaCha20Poly1305, ..config(LinkSide::Client) },
    ];
    for other in others {
        let datagram = data(&mut Link::new(Time::ZERO, other), ms(0), 1);
        assert_eq!(give(&mut server, ms(0), from(HOME), &datagram), Err(Rejected::Tag));
    }
    let own = data(&mut client, ms(0), 1);
    assert_eq!(give(&mut client, ms(0), from(SERVER), &own), Err(Rejected::Tag));
    assert!(server.route().is_none() && server.last_received().is_none());
}

#[test]
fn a_client_hears_only_its_server_and_only_its_ids() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    let down = data(&mut server, ms(0), 1);
    assert_eq!(give(&mut client, ms(0), from(SERVER + 1), &down), Err(Rejected::Path));
    let mut other = down.clone();
    other[1] ^= 1;
    assert_eq!(give(&mut client, ms(0), from(SERVER), &other), Err(Rejected::ConnectionId));
    assert_eq!(give(&mut client, ms(0), from(SERVER), &down), Ok(vec![1]));
}

#[test]
fn a_malformed_body_has_no_effect_but_its_number() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    let first = data(&mut client, ms(0), 1);
    give(&mut server, ms(0), from(HOME), &first).unwrap();
    drain(&mut server, ms(0));
    let mut out = Vec::new();
    let start = client.begin(ms(1), &mut out);
    frame::put(&mut out, control::KEEP_ALIVE, &[]);
    frame::put(&mut out, control::CLOCK, &[1, 2, 3]);
    client.finish(ms(1), &mut out, start).unwrap();
    // The datagram comes from another address, to check that the server does not follow this
    // address.
    assert_eq!(give(&mut server, ms(1), from(7), &out), Err(Rejected::Malformed));
    assert!(drain(&mut server, ms(1)).is_empty());
    assert_eq!(give(&mut server, ms(1), from(7), &out), Err(Rejected::Replayed));
    assert_eq!(server.last_received(), Some(ms(0)));
}

#[test]
fn unknown_frames_are_skipped() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    let mut out = Vec::new();
    let start = client.begin(ms(1), &mut out);
    frame::put(&mut out, 200, &[1, 2, 3]);
    put_message(&mut out, 8, &[]);
    client.finish(ms(1), &mut out, start).unwrap();
    assert_eq!(give(&mut server, ms(1), from(HOME), &out), Ok(vec![8]));
}

fn sealed(client: &mut Link, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = client.begin(ms(0), &mut out);
    out.extend_from_slice(body);
    client.finish(ms(0), &mut out, start).unwrap();
    out
}

proptest! {
    #[test]
    fn noise_never_panics(mut noise in prop::collection::vec(any::<u8>(), 0..1_300), header: bool) {
        let (mut client, mut server) = pair(PhaseLimits::default());
        if header && noise.len() > HEADER {
            noise[0] = 8 | noise[0] & 3;
            noise[1..9].copy_from_slice(&[1; 8]);
        }
        prop_assert!(give(&mut server, ms(0), from(HOME), &noise).is_err());
        prop_assert!(give(&mut client, ms(0), from(SERVER), &noise).is_err());
        prop_assert!(server.route().is_none());
    }

    #[test]
    fn a_broken_peer_never_panics(
        body in prop::collection::vec(any::<u8>(), 0..600),
        kind in 1u8..16,
        len in 0u8..100,
    ) {
        let (mut client, mut server) = pair(PhaseLimits::default());
        let mut framed = vec![kind, len];
        framed.extend_from_slice(&body);
        for body in [&body, &framed] {
            let up = sealed(&mut client, body);
            let answer = give(&mut server, ms(0), from(HOME), &up);
            prop_assert!(answer.is_ok() || answer == Err(Rejected::Malformed));
            let down = sealed(&mut server, body);
            let answer = give(&mut client, ms(0), from(SERVER), &down);
            prop_assert!(answer.is_ok() || answer == Err(Rejected::Malformed));
            drain(&mut client, ms(0));
            drain(&mut server, ms(0));
        }
        let good = data(&mut client, ms(0), 1);
        prop_assert_eq!(give(&mut server, ms(0), from(HOME), &good), Ok(vec![1]));
    }
}
