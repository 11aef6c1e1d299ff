//! Tests of [`Realtime`] against a server's link in the same process.

mod again;
mod inbox;
mod inbox_model;
mod quality;
mod shown;

use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, LinkConfig, LinkSide, Path, Planes, RootSecret, Suite};
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{ConnectionId, Message, MessageKind, TARGET_OTHERS};
use nucleus_protocol::time::Time;

use super::{JoinedClock, OutgoingMessage, Realtime, ReceivedMessage, SentSequences};
use crate::roster::{PeerId, Slot};

const ADA: (Slot, PeerId) = (Slot(3), PeerId(30));
const MS: Duration = Duration::from_millis(1);

/// A client and a server's link, with a network that loses nothing and has no delay.
struct Pair {
    now: Time,
    client: Realtime,
    server: Link,
}

fn path(port: u16) -> Path {
    Path { remote: ([127, 0, 0, 1], port).into(), local: None }
}

fn link(now: Time, side: LinkSide) -> Link {
    link_on(now, side, Planes::PortOnly)
}

fn link_on(now: Time, side: LinkSide, planes: Planes) -> Link {
    let config = LinkConfig {
        side,
        link_id: 1,
        suite: Suite::Aes128Gcm,
        root: RootSecret::new(&[7; 32], None),
        connection_id: ConnectionId::new(0, 1, 2),
        spare: ConnectionId::new(0, 1, 3),
        path: (side == LinkSide::Client).then_some(path(5056)),
        planes,
        max_body: limits::MAX_BODY,
        report_interval: limits::REPORT_INTERVAL_MAX,
        clock_epoch: 1,
        seed: [9; 32],
    };
    Link::new(now, config)
}

fn message(sequence: u16, payload: &[u8]) -> Message<'_> {
    Message {
        kind: MessageKind::Pose,
        flags: NEWEST_WINS,
        peer: ADA.0.0,
        channel: 0,
        key: 0,
        sequence,
        time: None,
        payload,
    }
}

/// The clock of the server's answer to the join.
const CLOCK: JoinedClock =
    JoinedClock { at: Time::from_millis(100_000), server_time: Time::ZERO, epoch: 1 };

fn pose(payload: &[u8]) -> OutgoingMessage {
    let target = TARGET_OTHERS;
    let payload = payload.to_vec();
    OutgoingMessage {
        kind: MessageKind::Pose,
        newest_wins: true,
        target,
        channel: 0,
        key: 0,
        payload,
    }
}

impl Pair {
    /// Returns a pair whose link is established, and whose client knows the server's time.
    fn new() -> Self {
        let now = Time::from_millis(100_000);
        let client = Realtime::new(link(now, LinkSide::Client), CLOCK, &SentSequences::default());
        let mut pair = Self { now, client, server: link(now, LinkSide::Server) };
        for _ in 0..20 {
            pair.exchange();
            pair.advance(50 * MS);
        }
        assert!(pair.client.link().server_time(pair.now).is_some());
        pair
    }

    fn advance(&mut self, span: Duration) {
        self.now += span;
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
    }

    /// Exchanges datagrams until neither side sends. Returns the messages that the server received,
    /// one list for each datagram.
    fn exchange(&mut self) -> Vec<Vec<(u16, Vec<u8>)>> {
        let mut arrived = Vec::new();
        for _ in 0..10 {
            let mut datagram = Vec::new();
            while self.client.poll_output(self.now, &mut datagram).is_some() {
                assert!(datagram.len() <= limits::MAX_DATAGRAM);
                let messages = self.server.handle_input(self.now, path(9), 0, &mut datagram);
                let messages = messages.unwrap().map(|m| (m.sequence, m.payload.to_vec()));
                arrived.push(messages.collect());
                datagram.clear();
            }
            while self.server.poll_output(self.now, &mut datagram).is_some() {
                self.client.handle_input(self.now, path(5056), 0, &mut datagram);
                datagram.clear();
            }
        }
        arrived.retain(|messages: &Vec<_>| !messages.is_empty());
        arrived
    }

    fn sealed(&mut self, messages: &[Message<'_>]) -> Vec<u8> {
        let mut datagram = Vec::new();
        let start = self.server.begin(self.now, &mut datagram);
        messages.iter().for_each(|message| message.encode(&mut datagram));
        self.server.finish(self.now, &mut datagram, start).unwrap();
        datagram
    }

    /// Delivers one datagram of the server to the client. Returns the messages for the application.
    fn deliver(&mut self, messages: &[Message<'_>]) -> Vec<ReceivedMessage> {
        let mut datagram = self.sealed(messages);
        self.client.handle_input(self.now, path(5056), 0, &mut datagram);
        self.received()
    }

    fn received(&mut self) -> Vec<ReceivedMessage> {
        std::iter::from_fn(|| self.client.pop(self.now).map(|view| view.to_message())).collect()
    }
}

fn sequences(received: &[ReceivedMessage]) -> Vec<u16> {
    received.iter().map(|received| received.sequence).collect()
}

#[test]
fn what_is_queued_travels_together() {
    let mut pair = Pair::new();
    let voice =
        |n: u8| OutgoingMessage { kind: MessageKind::Voice, newest_wins: false, ..pose(&[n; 75]) };
    (0..10).for_each(|n| pair.client.send(voice(n)));
    pair.client.send(pose(b"p"));
    let arrived = pair.exchange();
    assert_eq!(arrived.len(), 1);
    let sequences: Vec<u16> = arrived[0].iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
}

#[test]
fn sequences_go_on_and_queued_poses_are_replaced() {
    let mut pair = Pair::new();
    let mut sent = Vec::new();
    for payload in [b"a", b"b"] {
        pair.client.send(pose(b"stale"));
        pair.client.send(pose(payload));
        sent.extend(pair.exchange().concat());
    }
    assert_eq!(sent, [(0, b"a".to_vec()), (1, b"b".to_vec())]);
    assert_eq!(pair.client.counters().unsent, 2);
}

#[test]
fn the_largest_payloads_fit_one_datagram_each() {
    let mut pair = Pair::new();
    for n in 0..3 {
        let largest = vec![n; limits::MAX_PAYLOAD];
        pair.client.send(OutgoingMessage { newest_wins: false, ..pose(&largest) });
    }
    assert_eq!(pair.exchange().len(), 3);
    pair.client.send(pose(&[0; limits::MAX_PAYLOAD + 1]));
    assert_eq!(pair.exchange().len(), 0);
    assert_eq!(pair.client.counters().unsent, 1);
}

#[test]
fn the_queue_is_bounded() {
    let mut pair = Pair::new();
    (0..300).for_each(|_| pair.client.send(OutgoingMessage { newest_wins: false, ..pose(b"x") }));
    assert_eq!(pair.exchange().concat().len(), 256);
    assert_eq!(pair.client.counters().unsent, 300 - 256);
}

#[test]
fn newest_wins_over_duplicates_and_older_ones() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let order = [65_534, 65_535, 65_535, 1, 0, 65_534, 2, 2];
    let received: Vec<ReceivedMessage> =
        order.iter().flat_map(|n| pair.deliver(&[message(*n, b"p")])).collect();
    assert_eq!(sequences(&received), [65_534, 65_535, 1, 2]);
    assert!(received.iter().all(|received| received.from == ADA.1));
    assert_eq!(pair.client.counters().superseded, 4);
}

#[test]
fn a_datagram_counts_once() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let datagram = pair.sealed(&[Message { flags: 0, ..message(0, b"once") }]);
    for _ in 0..2 {
        pair.client.handle_input(pair.now, path(5056), 0, &mut datagram.clone());
    }
    assert_eq!(pair.received().len(), 1);
    assert_eq!(pair.client.counters().rejected, 1);
}

#[test]
fn every_key_and_every_sender_has_its_own_newest() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    pair.client.add_peer(pair.now, Slot(4), PeerId(40));
    let first = message(9, b"p");
    let others = [
        Message { key: 1, sequence: 1, ..first },
        Message { channel: 1, sequence: 1, ..first },
        Message { kind: MessageKind::Pointer, sequence: 1, ..first },
        Message { peer: 4, sequence: 1, ..first },
    ];
    assert_eq!(pair.deliver(&[first]).len(), 1);
    assert_eq!(pair.deliver(&others).len(), 4);
}

#[test]
fn without_newest_wins_everything_is_heard() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let voice =
        |sequence| Message { flags: 0, kind: MessageKind::Voice, ..message(sequence, b"v") };
    assert_eq!(sequences(&pair.deliver(&[voice(5), voice(4), voice(6)])), [5, 4, 6]);
}

#[test]
fn a_wrapped_sequence_is_believed_after_a_pause() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    assert_eq!(pair.deliver(&[message(40_000, b"p")]).len(), 1);
    pair.advance(4_999 * MS);
    assert_eq!(pair.deliver(&[message(30_000, b"p")]).len(), 0);
    pair.advance(MS);
    assert_eq!(pair.deliver(&[message(30_000, b"p")]).len(), 1);
}

#[test]
fn a_new_owner_of_a_slot_starts_anew() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    pair.deliver(&[message(9, b"p")]);
    pair.client.remove_peer(ADA.0, PeerId(99));
    assert_eq!(pair.deliver(&[message(10, b"p")]).len(), 1);
    pair.client.remove_peer(ADA.0, ADA.1);
    pair.client.add_peer(pair.now, ADA.0, PeerId(31));
    assert_eq!(pair.deliver(&[message(0, b"p")])[0].from, PeerId(31));
}

#[test]
fn an_unknown_sender_is_heard_once_the_roster_names_it() {
    let mut pair = Pair::new();
    assert_eq!(pair.deliver(&[message(1, b"p"), message(0, b"late")]), []);
    pair.advance(199 * MS);
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let received = pair.received();
    assert_eq!(sequences(&received), [1]);
    assert_eq!(received[0].from, ADA.1);
    assert_eq!(pair.client.counters().unknown_sender, 0);
}

#[test]
fn an_unknown_sender_waits_200_ms_and_no_longer() {
    let mut pair = Pair::new();
    assert_eq!(pair.deliver(&[message(1, b"p")]), []);
    assert!(pair.client.deadline() <= Some(pair.now + limits::UNKNOWN_SLOT_HOLD));
    pair.advance(limits::UNKNOWN_SLOT_HOLD);
    assert_eq!(pair.client.counters().unknown_sender, 1);
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    assert_eq!(pair.received(), []);
}

#[test]
fn only_so_many_wait_and_the_oldest_goes() {
    let mut pair = Pair::new();
    for sequence in 0..100 {
        assert_eq!(pair.deliver(&[Message { flags: 0, ..message(sequence, b"p") }]), []);
    }
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let expected: Vec<u16> = (100 - limits::UNKNOWN_SLOT_FRAMES as u16..100).collect();
    assert_eq!(sequences(&pair.received()), expected);
    assert_eq!(pair.client.counters().unknown_sender, 100 - limits::UNKNOWN_SLOT_FRAMES as u64);
}

#[test]
fn ages_are_on_the_server_clock() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let captured = (pair.now - 30 * MS).as_wire_millis();
    let received = pair.deliver(&[Message { time: Some(captured), ..message(0, b"p") }]);
    let age = received[0].age.unwrap();
    assert!((29 * MS..=31 * MS).contains(&age), "{age:?}");
    let ahead = Message { time: Some((pair.now + 5 * MS).as_wire_millis()), ..message(1, b"p") };
    assert_eq!(pair.deliver(&[ahead])[0].age, Some(Duration::ZERO));
}

/// The capture time is the one that the sender wrote, whenever the message arrives: applications
/// interpolate by it.
#[test]
fn capture_times_are_free_of_the_networks_jitter() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    // Past the first wrap of the capture time on the wire.
    let captured = Time::from_millis(131_000);
    pair.now = captured;
    for (sequence, delay) in [(0, 7_300), (1, 20_999), (2, 1_000), (3, 400_123)] {
        pair.now = captured + Duration::from_micros(delay);
        let time = Some(captured.as_wire_millis());
        let received = pair.deliver(&[Message { time, ..message(sequence, b"p") }]);
        assert_eq!(received[0].captured, Some(captured));
        assert_eq!(received[0].arrived, pair.now);
    }
}

#[test]
fn what_waited_for_seconds_is_not_delivered() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    pair.now += 100 * Duration::from_secs(1);
    let at = |age: u32| Some((pair.now - age * MS).as_wire_millis());
    let old = [3_000, 14_000, 40_000].map(at);
    let young = [0, 100, 1_900].map(at);
    let mut sequence = 0;
    let mut next = |time| {
        sequence += 1;
        Message { flags: 0, time, ..message(sequence, b"p") }
    };
    let (old, young) = (old.map(&mut next), young.map(&mut next));
    assert_eq!(pair.deliver(&old), []);
    assert_eq!(pair.client.counters().too_old, 3);
    let ages: Vec<_> = pair.deliver(&young).iter().map(|received| received.age).collect();
    assert_eq!(ages, [0, 100, 1_900].map(|age| Some(age * MS)));
}

/// A capture time wraps after 65 s. The send time of the datagram does not.
#[test]
fn what_waited_for_more_than_a_minute_is_not_delivered() {
    for seconds in [3, 62, 64, 66, 131, 1_000] {
        let mut pair = Pair::new();
        pair.client.add_peer(pair.now, ADA.0, ADA.1);
        let time = Some(pair.now.as_wire_millis());
        let timed = pair.sealed(&[Message { time, ..message(0, b"p") }]);
        let untimed = pair.sealed(&[message(1, b"p")]);
        pair.now += Duration::from_secs(seconds);
        for mut datagram in [timed, untimed] {
            pair.client.handle_input(pair.now, path(5056), 0, &mut datagram);
        }
        assert_eq!(pair.received(), [], "after {seconds} s");
        assert_eq!(pair.client.counters().too_old, 2);
    }
}

/// No number stands for an unknown time: a message has no capture time until the clock is set.
#[test]
fn before_the_first_clock_reply_messages_have_no_capture_time() {
    let now = Time::from_millis(100_000);
    let mut early = Pair {
        now,
        client: Realtime::new(link(now, LinkSide::Client), CLOCK, &SentSequences::default()),
        server: link(now, LinkSide::Server),
    };
    assert_eq!(early.capture_time(), None);
    for _ in 0..3 {
        early.exchange();
        early.advance(50 * MS);
    }
    assert_eq!(early.capture_time(), Some(early.now.as_wire_millis()));
}

impl Pair {
    /// Lets the client send a pose, and returns its capture time.
    fn capture_time(&mut self) -> Option<u16> {
        self.client.send(pose(b"p"));
        let mut datagram = Vec::new();
        self.client.poll_output(self.now, &mut datagram).unwrap();
        let messages = self.server.handle_input(self.now, path(9), 0, &mut datagram);
        messages.unwrap().next().unwrap().time
    }
}

#[test]
fn a_message_without_a_capture_time_has_no_age() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let untimed = Message { time: None, ..message(0, b"p") };
    let received = pair.deliver(&[untimed]);
    assert_eq!((received[0].age, received[0].captured), (None, None));
}

/// Otherwise receivers would drop its poses as old.
#[test]
fn another_process_continues_the_numbers_of_the_one_before() {
    let mut before = Pair::new();
    let number = |pair: &mut Pair| {
        pair.client.send(pose(b"p"));
        pair.exchange()[0][0].0
    };
    let last = (0..100).map(|_| number(&mut before)).last().unwrap();
    let mut after = Pair::new();
    let sent = before.client.sent_sequences();
    after.client = Realtime::new(link(after.now, LinkSide::Client), CLOCK, &sent);
    after.server = link(after.now, LinkSide::Server);
    let first = number(&mut after);

    let mut receiver = Pair::new();
    receiver.client.add_peer(receiver.now, ADA.0, ADA.1);
    for number in [last, first] {
        assert_eq!(sequences(&receiver.deliver(&[message(number, b"p")])), [number]);
    }
}
