//! Voice that is sent again on a network with losses.

use super::*;
use crate::playback::VOICE_AGAIN;

/// Lets the client miss every twentieth datagram for ten seconds.
fn lossy_pair() -> Pair {
    let mut pair = Pair::new();
    for number in 0..1_000u16 {
        let messages = [message(number, b"p")];
        let mut datagram = pair.sealed(&messages);
        if number % 20 > 0 {
            pair.client.handle_input(pair.now, path(5056), 0, &mut datagram);
        }
        pair.exchange();
        pair.advance(10 * MS);
    }
    let loss = pair.client.connection().loss_down.unwrap();
    assert!((0.01..0.2).contains(&loss), "{loss}");
    pair
}

fn voice(payload: &[u8]) -> OutgoingMessage {
    OutgoingMessage { kind: MessageKind::Voice, newest_wins: false, ..pose(payload) }
}

#[test]
fn with_losses_voice_is_sent_twice_and_poses_are_not() {
    let mut pair = lossy_pair();
    pair.client.send(voice(b"v"));
    pair.client.send(pose(b"p"));
    let first = pair.exchange().concat();
    assert_eq!(first.len(), 2);
    let due = pair.now + VOICE_AGAIN;
    assert!(pair.client.deadline().is_some_and(|deadline| deadline <= due));
    pair.advance(VOICE_AGAIN - MS);
    assert_eq!(pair.exchange().concat(), []);
    pair.advance(MS);
    assert_eq!(pair.exchange().concat(), [(0, b"v".to_vec())], "with the number that it had");
    pair.advance(VOICE_AGAIN);
    assert_eq!(pair.exchange().concat(), []);
    // The next packet has its own number, and others travel with what is sent again.
    pair.client.send(voice(b"w"));
    pair.exchange();
    pair.advance(VOICE_AGAIN);
    pair.client.send(voice(b"x"));
    let together = pair.exchange();
    assert_eq!(together, [[(2, b"x".to_vec()), (1, b"w".to_vec())]]);
}

#[test]
fn without_losses_nothing_is_sent_again_and_what_waits_is_bounded() {
    let mut pair = Pair::new();
    pair.client.send(voice(b"v"));
    assert_eq!(pair.exchange().concat().len(), 1);
    pair.advance(VOICE_AGAIN);
    assert_eq!(pair.exchange().concat(), []);

    let mut pair = lossy_pair();
    (0..200).for_each(|n| pair.client.send(voice(&[n])));
    assert_eq!(pair.exchange().concat().len(), 200);
    pair.advance(VOICE_AGAIN);
    assert_eq!(pair.exchange().concat().len(), 8);
    // In another room the slots belong to others.
    pair.client.send(voice(b"w"));
    pair.exchange();
    let other_link = link(pair.now, LinkSide::Client);
    pair.client.relink(other_link, CLOCK, false);
    assert!(pair.client.deadline().is_none_or(|at| at != pair.now + VOICE_AGAIN));

    // Half a minute after the last losses it is over.
    let mut pair = lossy_pair();
    for _ in 0..4_000 {
        pair.client.send(pose(b"p"));
        pair.exchange();
        pair.advance(10 * MS);
    }
    pair.client.send(voice(b"v"));
    pair.exchange();
    pair.advance(VOICE_AGAIN);
    assert_eq!(pair.exchange().concat(), []);
}

#[test]
fn what_comes_again_is_heard_once() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let packet = |number| {
        let time = Some(Time::from_millis(100_500).as_wire_millis());
        Message { kind: MessageKind::Voice, flags: 0, time, ..message(number, b"v") }
    };
    assert_eq!(sequences(&pair.deliver(&[packet(1), packet(2)])), [1, 2]);
    assert_eq!(sequences(&pair.deliver(&[packet(4), packet(1)])), [4]);
    assert_eq!(sequences(&pair.deliver(&[packet(5), packet(2), packet(3)])), [5, 3]);
}
