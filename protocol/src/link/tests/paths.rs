//! Following a peer from address to address, and not being led astray.

use super::*;
use crate::limits::TAG;

const THIEF: u16 = 6_666;

/// A link whose first path is proven, and has no traffic.
fn settled() -> World {
    let mut world = World::new(1);
    world.offset = Duration::ZERO;
    world.run_until(ms(1_990));
    assert_eq!(world.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    world
}

fn bytes_to(sent: &[(Path, Vec<u8>)], port: u16) -> usize {
    sent.iter().filter(|(path, _)| *path == from(port)).map(|(_, bytes)| bytes.len()).sum()
}

/// Everything the server would send for `seconds`, data as fast as the path allows.
fn everything(server: &mut Link, start: Time, seconds: u64) -> Vec<(Path, Vec<u8>)> {
    let mut sent = Vec::new();
    for tick in 0..seconds * 100 {
        let now = start + Duration::from_millis(10 * tick);
        server.handle_timeout(now);
        sent.extend(drain(server, now));
        while let Some((route, budget)) = server.route().filter(|(_, b)| (80..9_999).contains(b)) {
            let mut out = Vec::new();
            let begun = server.begin(now, &mut out);
            let room = budget.min(1_000) - TAG;
            put_message(&mut out, 1, &vec![0; room.saturating_sub(HEADER + 6 + 13)]);
            server.finish(now, &mut out, begun).unwrap();
            assert!(out.len() <= budget, "{} of {budget}", out.len());
            sent.push((path(route), out));
        }
    }
    sent
}

#[test]
fn an_unproven_first_address_gets_at_most_three_times_its_bytes() {
    for key in 0..20 {
        let (mut client, mut server) = pair(PhaseLimits::default());
        let mut hello = drain(&mut client, ms(0)).remove(0).1;
        if key > 0 {
            hello = data(&mut client, ms(0), key);
        }
        give(&mut server, ms(0), from(THIEF), &hello).unwrap();
        let sent = everything(&mut server, ms(0), 10);
        let bytes = bytes_to(&sent, THIEF);
        assert!(bytes > hello.len() && bytes <= 3 * hello.len(), "{bytes} for {}", hello.len());
    }
}

#[test]
fn a_thief_who_forwards_datagrams_gets_three_times_their_bytes_at_most() {
    let mut world = settled();
    let stolen = data(&mut world.client, world.now, 1);
    give(&mut world.server, world.now, from(THIEF), &stolen).unwrap();
    let sent = everything(&mut world.server, world.now, 10);
    let bytes = bytes_to(&sent, THIEF);
    assert!(bytes > 0 && bytes <= 3 * stolen.len(), "{bytes} for {}", stolen.len());
    assert_eq!(world.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    assert_eq!(world.server.counters().path_changes, 0);
}

#[test]
fn a_new_binding_is_followed() {
    let mut world = settled();
    world.run_with_traffic_until(ms(3_000));
    world.port = 2_000;
    let moved = world.now;
    world.run_with_traffic_until(ms(3_100));
    assert_eq!(world.server.route(), Some((Route::Realtime(from(2_000)), usize::MAX)));
    assert_eq!(world.server.counters().path_changes, 1);
    assert!(world.now.since(moved) <= Duration::from_millis(100));
    let heard = world.client.last_heard();
    world.run_with_traffic_until(ms(3_200));
    assert!(world.client.last_heard() > heard);
}

#[test]
fn a_replayed_or_late_datagram_from_elsewhere_starts_nothing() {
    let mut world = settled();
    let late = data(&mut world.client, world.now, 1);
    let newest = data(&mut world.client, world.now, 2);
    let now = world.now;
    give(&mut world.server, now, from(HOME), &newest).unwrap();
    assert_eq!(give(&mut world.server, now, from(THIEF), &newest), Err(Rejected::Replayed));
    assert_eq!(give(&mut world.server, now, from(THIEF), &late), Ok(vec![1]));
    assert!(drain(&mut world.server, now).is_empty());
}

/// A stolen datagram comes first from the thief; the challenges that go out: (old, candidate).
fn stolen(world: &mut World) -> (Vec<u8>, Vec<u8>) {
    let stolen = data(&mut world.client, world.now, 1);
    give(&mut world.server, world.now, from(THIEF), &stolen).unwrap();
    let mut sent = drain(&mut world.server, world.now);
    assert_eq!(sent.iter().map(|(p, _)| *p).collect::<Vec<_>>(), [from(HOME), from(THIEF)]);
    let candidate = sent.pop().unwrap().1;
    (sent.pop().unwrap().1, candidate)
}

/// The client's answer to a challenge.
fn answer(world: &mut World, challenge: &[u8]) -> Vec<u8> {
    give(&mut world.client, world.now, from(SERVER), challenge).unwrap();
    drain(&mut world.client, world.now).remove(0).1
}

#[test]
fn the_old_path_wins_when_it_answers() {
    let mut world = settled();
    let (old, candidate) = stolen(&mut world);
    let (first, second) = (answer(&mut world, &old), answer(&mut world, &candidate));
    let now = world.now;
    give(&mut world.server, now, from(HOME), &first).unwrap();
    // Even the right answer comes too late now, from anywhere.
    give(&mut world.server, now, from(THIEF), &second).unwrap();
    assert_eq!(world.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    assert_eq!(world.server.counters().path_changes, 0);
}

#[test]
fn an_answer_counts_only_from_the_path_that_was_asked() {
    let mut world = settled();
    let (old, candidate) = stolen(&mut world);
    let (of_old, of_candidate) = (answer(&mut world, &old), answer(&mut world, &candidate));
    let now = world.now;
    give(&mut world.server, now, from(THIEF), &of_old).unwrap();
    give(&mut world.server, now, from(HOME), &of_candidate).unwrap();
    assert_eq!(world.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    // The candidate is still open: neither answer was one.
    let next = now + Duration::from_millis(400);
    assert!(drain(&mut world.server, next).iter().any(|(path, _)| *path == from(THIEF)));
}

#[test]
fn the_candidate_wins_when_it_answers_first() {
    let mut world = settled();
    let (_, candidate) = stolen(&mut world);
    let answer = answer(&mut world, &candidate);
    let now = world.now;
    give(&mut world.server, now, from(THIEF), &answer).unwrap();
    assert_eq!(world.server.route(), Some((Route::Realtime(from(THIEF)), usize::MAX)));
}

#[test]
fn challenges_are_few_and_a_silent_candidate_is_forgotten() {
    let mut world = settled();
    let start = world.now;
    let mut challenges = 0;
    for n in 0..500u16 {
        let now = start + Duration::from_millis(20 * u64::from(n));
        world.server.handle_timeout(now);
        let datagram = data(&mut world.client, now, n);
        give(&mut world.server, now, from(7_000 + n), &datagram).unwrap();
        let sent = drain(&mut world.server, now);
        challenges += sent.iter().filter(|(_, bytes)| bytes.len() == HEADER + 10 + TAG).count();
    }
    assert!((20..=51).contains(&challenges), "{challenges} challenges in ten seconds");
    let end = start + Duration::from_secs(13);
    world.server.handle_timeout(end);
    assert!(drain(&mut world.server, end).is_empty());
    assert_eq!(world.server.deadline(), None);
}
