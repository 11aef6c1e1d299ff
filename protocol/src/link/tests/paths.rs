//! How a server follows a client from address to address, and resists an attacker who forwards
//! datagrams.

use super::*;
use crate::limits::TAG;

const THIEF: u16 = 6_666;

/// Returns two links whose first path is proven, without traffic.
fn settled() -> LinkNetwork {
    let mut net = LinkNetwork::new(1);
    net.offset = Duration::ZERO;
    net.run_until(ms(1_990));
    assert_eq!(net.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    net
}

fn bytes_to(sent: &[(Path, Vec<u8>)], port: u16) -> usize {
    sent.iter().filter(|(path, _)| *path == from(port)).map(|(_, bytes)| bytes.len()).sum()
}

/// Returns every datagram that the server sends within `seconds`, with as much data as the path's
/// budget permits.
fn everything(server: &mut Link, start: Time, seconds: u64) -> Vec<(Path, Vec<u8>)> {
    let mut sent = Vec::new();
    for tick in 0..seconds * 100 {
        let now = start + Duration::from_millis(10 * tick);
        server.handle_timeout(now);
        sent.extend(drain(server, now));
        while let Some((route, budget)) = server.route().filter(|(_, b)| (80..9_999).contains(b)) {
            let mut out = Vec::new();
            let begun = server.begin(now, &mut out);
            let len = budget.min(1_000) - TAG;
            put_message(&mut out, 1, &vec![0; len.saturating_sub(HEADER + 6 + 13)]);
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
    let mut net = settled();
    let stolen = data(&mut net.client, net.now, 1);
    give(&mut net.server, net.now, from(THIEF), &stolen).unwrap();
    let sent = everything(&mut net.server, net.now, 10);
    let bytes = bytes_to(&sent, THIEF);
    assert!(bytes > 0 && bytes <= 3 * stolen.len(), "{bytes} for {}", stolen.len());
    assert_eq!(net.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    assert_eq!(net.server.counters().path_changes, 0);
}

#[test]
fn a_new_binding_is_followed() {
    let mut net = settled();
    net.run_with_traffic_until(ms(3_000));
    net.port = 2_000;
    let moved = net.now;
    net.run_with_traffic_until(ms(3_100));
    assert_eq!(net.server.route(), Some((Route::Realtime(from(2_000)), usize::MAX)));
    assert_eq!(net.server.counters().path_changes, 1);
    assert!(net.now.since(moved) <= Duration::from_millis(100));
    let received_at = net.client.last_received();
    net.run_with_traffic_until(ms(3_200));
    assert!(net.client.last_received() > received_at);
}

#[test]
fn a_replayed_or_late_datagram_from_elsewhere_starts_nothing() {
    let mut net = settled();
    let late = data(&mut net.client, net.now, 1);
    let newest = data(&mut net.client, net.now, 2);
    let now = net.now;
    give(&mut net.server, now, from(HOME), &newest).unwrap();
    assert_eq!(give(&mut net.server, now, from(THIEF), &newest), Err(Rejected::Replayed));
    assert_eq!(give(&mut net.server, now, from(THIEF), &late), Ok(vec![1]));
    assert!(drain(&mut net.server, now).is_empty());
}

/// The challenges of two paths.
struct TwoChallenges {
    old: Vec<u8>,
    candidate: Vec<u8>,
}

/// Delivers a stolen datagram from the thief's address first. Returns the resulting challenges.
fn stolen(net: &mut LinkNetwork) -> TwoChallenges {
    let stolen = data(&mut net.client, net.now, 1);
    give(&mut net.server, net.now, from(THIEF), &stolen).unwrap();
    let mut sent = drain(&mut net.server, net.now);
    assert_eq!(sent.iter().map(|(p, _)| *p).collect::<Vec<_>>(), [from(HOME), from(THIEF)]);
    let candidate = sent.pop().unwrap().1;
    TwoChallenges { old: sent.pop().unwrap().1, candidate }
}

/// Returns the client's answer to a challenge.
fn answer(net: &mut LinkNetwork, challenge: &[u8]) -> Vec<u8> {
    give(&mut net.client, net.now, from(SERVER), challenge).unwrap();
    drain(&mut net.client, net.now).remove(0).1
}

#[test]
fn the_old_path_wins_when_it_answers() {
    let mut net = settled();
    let TwoChallenges { old, candidate } = stolen(&mut net);
    let (first, second) = (answer(&mut net, &old), answer(&mut net, &candidate));
    let now = net.now;
    give(&mut net.server, now, from(HOME), &first).unwrap();
    // The candidate's own answer is now too late.
    give(&mut net.server, now, from(THIEF), &second).unwrap();
    assert_eq!(net.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    assert_eq!(net.server.counters().path_changes, 0);
}

#[test]
fn an_answer_counts_only_from_the_path_that_was_asked() {
    let mut net = settled();
    let TwoChallenges { old, candidate } = stolen(&mut net);
    let (of_old, of_candidate) = (answer(&mut net, &old), answer(&mut net, &candidate));
    let now = net.now;
    give(&mut net.server, now, from(THIEF), &of_old).unwrap();
    give(&mut net.server, now, from(HOME), &of_candidate).unwrap();
    assert_eq!(net.server.route(), Some((Route::Realtime(from(HOME)), usize::MAX)));
    // Neither answer counted, so the candidate is still challenged.
    let next = now + Duration::from_millis(400);
    assert!(drain(&mut net.server, next).iter().any(|(path, _)| *path == from(THIEF)));
}

#[test]
fn the_candidate_wins_when_it_answers_first() {
    let mut net = settled();
    let TwoChallenges { candidate, .. } = stolen(&mut net);
    let answer = answer(&mut net, &candidate);
    let now = net.now;
    give(&mut net.server, now, from(THIEF), &answer).unwrap();
    assert_eq!(net.server.route(), Some((Route::Realtime(from(THIEF)), usize::MAX)));
}

#[test]
fn challenges_are_few_and_a_silent_candidate_is_forgotten() {
    let mut net = settled();
    let start = net.now;
    let mut challenges = 0;
    for n in 0..500u16 {
        let now = start + Duration::from_millis(20 * u64::from(n));
        net.server.handle_timeout(now);
        let datagram = data(&mut net.client, now, n);
        give(&mut net.server, now, from(7_000 + n), &datagram).unwrap();
        let sent = drain(&mut net.server, now);
        challenges += sent.iter().filter(|(_, bytes)| bytes.len() == HEADER + 10 + TAG).count();
    }
    assert!((20..=51).contains(&challenges), "{challenges} challenges in ten seconds");
    let end = start + Duration::from_secs(13);
    net.server.handle_timeout(end);
    assert!(drain(&mut net.server, end).is_empty());
    assert_eq!(net.server.deadline(), None);
}
