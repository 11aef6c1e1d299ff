//! Tests of the received messages that wait for the application.

use nucleus_protocol::realtime::pose::{POSE_BYTES, Pose, Transform};

use super::*;

const BOB: (Slot, PeerId) = (Slot(4), PeerId(40));

/// Returns a pair whose client knows both peers.
fn pair() -> Pair {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    pair.client.add_peer(pair.now, BOB.0, BOB.1);
    pair
}

impl Pair {
    /// Delivers one datagram of the server to the client. The application takes nothing.
    fn deliver_only(&mut self, messages: &[Message<'_>]) {
        let mut datagram = self.sealed(messages);
        self.client.handle_input(self.now, path(5056), 0, &mut datagram);
    }

    fn poses(&self) -> Vec<(PeerId, u16, u16)> {
        let mut poses: Vec<_> =
            self.client.poses().map(|pose| (pose.from, pose.key, pose.sequence)).collect();
        poses.sort();
        poses
    }
}

fn encoded_pose(x: f32) -> Vec<u8> {
    let head = Transform { position: [x, 1.5, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    let mut payload = Vec::new();
    Pose { head, left: None, right: None }.encode(&mut payload);
    payload
}

fn voice(sequence: u16) -> Message<'static> {
    Message { kind: MessageKind::Voice, flags: 0, ..message(sequence, b"\x80\0opus") }
}

fn other(sequence: u16) -> Message<'static> {
    Message { kind: MessageKind::Unreliable, flags: 0, ..message(sequence, b"other") }
}

fn kinds(received: &[ReceivedMessage]) -> Vec<(MessageKind, u16)> {
    received.iter().map(|received| (received.kind, received.sequence)).collect()
}

#[test]
fn a_newer_message_takes_the_place_of_a_waiting_one() {
    let mut pair = pair();
    let of_bob = Message { peer: BOB.0.0, ..message(7, b"bob") };
    let keyed = Message { key: 1, ..message(3, b"key") };
    pair.deliver_only(&[message(0, b"old"), voice(0), of_bob, other(0), keyed]);
    pair.deliver_only(&[other(1), message(1, b"new and longer than the old one")]);
    assert_eq!(pair.client.waiting(), 6);
    let received = pair.received();
    let from: Vec<_> = received.iter().map(|m| (m.from, m.kind, m.key, m.sequence)).collect();
    let (ada, bob) = (ADA.1, BOB.1);
    assert_eq!(
        from,
        [
            (ada, MessageKind::Pose, 0, 1),
            (ada, MessageKind::Voice, 0, 0),
            (bob, MessageKind::Pose, 0, 7),
            (ada, MessageKind::Unreliable, 0, 0),
            (ada, MessageKind::Pose, 1, 3),
            (ada, MessageKind::Unreliable, 0, 1),
        ]
    );
    assert_eq!(received[0].payload, b"new and longer than the old one");
    assert_eq!(received[2].payload, b"bob");
    let counters = pair.client.counters();
    assert_eq!((counters.replaced, counters.not_taken, counters.superseded), (1, 0, 0));
    pair.deliver_only(&[message(2, b"n")]);
    assert_eq!(pair.received()[0].payload, b"n");
    assert_eq!(pair.client.counters().replaced, 1, "the application had taken the last one");
}

#[test]
fn pointers_and_newest_wins_messages_are_replaced_too() {
    let mut pair = pair();
    for kind in [MessageKind::Pointer, MessageKind::Unreliable] {
        for sequence in 0..5 {
            pair.deliver_only(&[Message { kind, ..message(sequence, b"p") }]);
        }
        assert_eq!(kinds(&pair.received()), [(kind, 4)]);
    }
    assert_eq!(pair.client.counters().replaced, 8);
    assert_eq!(pair.poses(), [], "only poses are kept");
}

#[test]
fn poses_stay_until_their_peer_leaves() {
    let mut pair = pair();
    let (far, near) = ([encoded_pose(4.0), b"fist".to_vec()].concat(), encoded_pose(2.5));
    let second_body = Message { key: 9, ..message(5, &near) };
    pair.deliver_only(&[message(0, &near), message(1, &far), second_body]);
    pair.deliver_only(&[Message { peer: BOB.0.0, ..message(2, &near) }]);
    let arrived = pair.now;
    let all = [(ADA.1, 0, 1), (ADA.1, 9, 5), (BOB.1, 0, 2)];
    assert_eq!(pair.poses(), all);
    assert_eq!(pair.received().len(), 3);
    pair.advance(Duration::from_secs(3_600));
    assert_eq!(pair.poses(), all, "whether or not they were taken");
    let pose = pair.client.poses().find(|pose| pose.sequence == 1).unwrap();
    assert_eq!((pose.pose.head.position[0], pose.rest, pose.arrived), (4.0, &b"fist"[..], arrived));
    pair.client.remove_peer(ADA.0, ADA.1);
    assert_eq!(pair.poses(), [(BOB.1, 0, 2)]);
    pair.client.add_peer(pair.now, BOB.0, PeerId(41));
    assert_eq!(pair.poses(), [], "the slot has a new owner");
}

#[test]
fn a_malformed_pose_is_no_pose() {
    let mut pair = pair();
    pair.deliver_only(&[message(0, &encoded_pose(1.0)[..POSE_BYTES - 1])]);
    assert_eq!(pair.poses(), []);
    assert_eq!(pair.received().len(), 1, "the caller finds out by itself");
}

#[test]
fn a_pose_has_its_capture_time() {
    let mut pair = pair();
    let captured = pair.now - 30 * MS;
    let payload = encoded_pose(1.0);
    let time = Some(captured.as_wire_millis());
    pair.deliver_only(&[Message { time, ..message(0, &payload) }]);
    let pose = pair.client.poses().next().unwrap();
    assert_eq!(pose.captured, Some(captured));
}

#[test]
fn after_a_hitch_of_two_seconds_nobody_hears_stale_voice() {
    let mut pair = pair();
    for sequence in 0..100 {
        pair.deliver_only(&[voice(sequence)]);
        pair.advance(20 * MS);
    }
    let received = pair.received();
    assert_eq!(sequences(&received), (84..100).collect::<Vec<_>>());
    let counters = pair.client.counters();
    assert_eq!((counters.not_taken, counters.stale_voice), (84, 0));
    // The network stops together with the application.
    (0..3).for_each(|n| pair.deliver_only(&[voice(200 + n), other(n)]));
    pair.advance(400 * MS);
    let bob = Message { peer: BOB.0.0, ..voice(0) };
    pair.deliver_only(&[bob]);
    assert_eq!(pair.client.pop(pair.now).unwrap().sequence, 200, "not longer than 400 ms");
    pair.advance(MS);
    let rest = kinds(&pair.received());
    let of_kind = MessageKind::Unreliable;
    assert_eq!(rest, [(of_kind, 0), (of_kind, 1), (of_kind, 2), (MessageKind::Voice, 0)]);
    assert_eq!(pair.client.counters().stale_voice, 2);
    assert_eq!(pair.client.waiting(), 0);
}

#[test]
fn voice_is_taken_by_speaker() {
    let mut pair = pair();
    for sequence in 0..20 {
        pair.deliver_only(&[voice(sequence), Message { peer: BOB.0.0, ..voice(500 + sequence) }]);
    }
    pair.deliver_only(&[other(0)]);
    let now = pair.now;
    let mut next = |peer| pair.client.pop_voice(now, peer).map(|packet| packet.sequence);
    assert_eq!([next(BOB.1), next(BOB.1), next(ADA.1)], [Some(504), Some(505), Some(4)]);
    assert_eq!(next(PeerId(99)), None);
    assert_eq!(std::iter::from_fn(|| next(BOB.1)).count(), 14);
    assert_eq!(pair.client.pop(now).unwrap().sequence, 5);
    assert_eq!(pair.received().len(), 15);
    pair.deliver_only(&[voice(30)]);
    pair.advance(401 * MS);
    assert_eq!(pair.client.pop_voice(pair.now, ADA.1), None);
    let counters = pair.client.counters();
    assert_eq!((counters.not_taken, counters.stale_voice), (8, 1));
}

#[test]
fn voice_waits_even_if_it_says_that_the_newest_wins() {
    let mut pair = pair();
    let flagged = |sequence| Message { flags: NEWEST_WINS, ..voice(sequence) };
    pair.deliver_only(&[flagged(0), flagged(1), flagged(2)]);
    assert_eq!(sequences(&pair.received()), [0, 1, 2]);
}

#[test]
fn a_message_that_is_far_too_late_takes_nothing_from_others() {
    let mut pair = pair();
    pair.deliver_only(&[voice(100), voice(36), voice(37), voice(99), voice(99)]);
    assert_eq!(sequences(&pair.received()), [100, 37, 99], "36 is 64 numbers behind");
}

#[test]
fn other_messages_are_bounded_and_the_oldest_goes() {
    let mut pair = pair();
    pair.deliver_only(&[message(0, b"p")]);
    (0..2_050).for_each(|sequence| pair.deliver_only(&[other(sequence)]));
    let received = pair.received();
    assert_eq!(received.len(), 1 + 2_048);
    assert_eq!((received[1].sequence, received[2_048].sequence), (2, 2_049));
    assert_eq!(pair.client.counters().not_taken, 2);
}

#[test]
fn voice_of_all_speakers_is_bounded() {
    let mut pair = Pair::new();
    for speaker in 0..300 {
        pair.client.add_peer(pair.now, Slot(speaker), PeerId(speaker.into()));
        (0..16).for_each(|n| pair.deliver_only(&[Message { peer: speaker, ..voice(n) }]));
    }
    let received = pair.received();
    assert_eq!((received.len(), received[0].from), (4_096, PeerId(44)));
    assert_eq!(pair.client.counters().not_taken, 300 * 16 - 4_096);
}

#[test]
fn a_peer_that_left_leaves_nothing() {
    let mut pair = pair();
    let of_bob = |message| Message { peer: BOB.0.0, ..message };
    let all = [message(0, b"p"), voice(0), other(0), Message { key: 1, ..message(0, b"p") }];
    pair.deliver_only(&all);
    pair.deliver_only(&all.map(of_bob));
    pair.deliver_only(&all.map(|m| Message { sequence: 1, ..m }));
    pair.client.remove_peer(ADA.0, ADA.1);
    assert_eq!(pair.client.waiting(), 4);
    let received = pair.received();
    assert!(received.iter().all(|received| received.from == BOB.1));
    assert_eq!(received.len(), 4);
    assert_eq!(pair.client.counters().not_taken, 0);
}

#[test]
fn another_room_instance_removes_everything_and_the_same_one_nothing() {
    let mut pair = pair();
    let payload = encoded_pose(1.0);
    let all = [message(0, &payload), voice(0), other(0)];
    pair.deliver_only(&all);
    let relink = |pair: &mut Pair, same_room| {
        pair.client.relink(link(pair.now, LinkSide::Client), CLOCK, same_room);
        pair.server = link(pair.now, LinkSide::Server);
        pair.exchange();
    };
    relink(&mut pair, true);
    assert_eq!((pair.client.waiting(), pair.poses().len()), (3, 1));
    relink(&mut pair, false);
    assert_eq!((pair.client.waiting(), pair.poses().len()), (0, 0));
    pair.client.add_peer(pair.now, ADA.0, PeerId(31));
    pair.deliver_only(&all);
    assert_eq!(pair.received().len(), 3);
    assert_eq!(pair.poses(), [(PeerId(31), 0, 0)]);
}

#[test]
fn a_sender_with_65_536_keys_keeps_its_last_256() {
    let mut pair = pair();
    let payload = encoded_pose(1.0);
    pair.deliver_only(&[Message { peer: BOB.0.0, ..message(0, &payload) }]);
    for key in 0..=u16::MAX {
        pair.deliver_only(&[Message { key, ..message(0, &payload) }]);
        assert!(pair.client.waiting() <= 257);
    }
    assert_eq!(pair.client.counters().not_taken, 65_536 - 256);
    let poses = pair.poses();
    assert_eq!((poses.len(), poses[256]), (257, (BOB.1, 0, 0)));
    let received = pair.received();
    assert_eq!((received[0].from, received[1].key), (BOB.1, u16::MAX - 255));
    // All keys are taken now. Their poses go without being counted.
    pair.deliver_only(&[message(1, &payload)]);
    assert_eq!(pair.client.counters().not_taken, 65_536 - 256);
    assert_eq!(pair.poses().len(), 257);
}

/// A key that is updated is not the one that goes.
#[test]
fn the_least_recently_updated_key_goes() {
    let mut pair = pair();
    let keyed = |key, sequence| Message { key, ..message(sequence, b"p") };
    (0..256).for_each(|key| pair.deliver_only(&[keyed(key, 0)]));
    pair.deliver_only(&[keyed(0, 1), keyed(256, 0)]);
    let keys: Vec<u16> = pair.received().iter().map(|received| received.key).collect();
    let expected: Vec<u16> = [0].into_iter().chain(2..=256).collect();
    assert_eq!(keys, expected);
}

/// Many hostile senders share a limit, and the first keys of everyone else are out of their reach.
#[test]
fn hostile_senders_take_nothing_from_others() {
    let mut pair = pair();
    let of_bob = |key| Message { peer: BOB.0.0, key, ..message(0, b"bob") };
    pair.deliver_only(&[of_bob(0), of_bob(1), of_bob(2), of_bob(3), of_bob(4)]);
    for sender in 100..150 {
        pair.client.add_peer(pair.now, Slot(sender), PeerId(sender.into()));
        let hostile = |key| Message { peer: sender, key, ..message(0, b"hostile") };
        (0..300).for_each(|key| pair.deliver_only(&[hostile(key)]));
    }
    assert_eq!(pair.client.waiting(), 4 + 50 * 4 + 4_096);
    let received = pair.received();
    let keys: Vec<u16> =
        received.iter().filter(|m| m.from == BOB.1).map(|received| received.key).collect();
    assert_eq!(keys, [0, 1, 2, 3], "the fifth was one of the shared ones");
}
