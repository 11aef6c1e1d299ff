//! Accounts for every realtime message: compares the fan-out's counters, a simple count of the
//! recipients, and the messages that the clients received.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nucleus_core::fanout::{FanoutCounters, FanoutInput};
use nucleus_core::ids::PeerId;
use nucleus_core::limits::Limits;
use nucleus_core::room::RoomInput;
use nucleus_netsim::Conditions;
use nucleus_protocol::limits::{HEADER, LINK_ID, TAG};
use nucleus_protocol::realtime::{Header, Message, MessageKind, TARGET_OTHERS};
use nucleus_protocol::session::{Moderate, act};
use nucleus_sim::client::ClientDatagram;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::{STEP, client_at};
use nucleus_sim::{World, WorldConfig};

use super::preset;

/// Bytes of payload of every message. This is more than all other bytes of a datagram together, so
/// that the number of messages follows from the length of the datagram.
const PAYLOAD: usize = 300;
/// Clients that stay from the beginning to the end, so that nobody sends to an empty room.
const STAYING: usize = 2;

/// Returns the number of messages in a datagram of `len` bytes, of which `overhead` are not frames.
fn messages_in(len: usize, overhead: usize) -> usize {
    let (peer, channel, key, sequence, time, flags) = Default::default();
    let (kind, payload) = (MessageKind::Pose, &[0; PAYLOAD]);
    let message = Message { kind, flags, peer, channel, key, sequence, time, payload };
    (len - overhead) / message.encoded_len()
}

/// Returns the number of messages that the fan-out has accepted for relaying.
fn accepted(counters: &FanoutCounters) -> u64 {
    let FanoutCounters {
        over_rate,
        incomplete,
        too_old,
        over_speakers,
        muted,
        refused_messages,
        ..
    } = *counters;
    counters.messages_in
        - over_rate
        - incomplete
        - too_old
        - over_speakers
        - muted
        - refused_messages
}

/// Returns the number of messages sent or withheld, counted once for each recipient.
fn handled(counters: &FanoutCounters) -> u64 {
    let FanoutCounters { messages_out, superseded, suppressed, dropped, .. } = *counters;
    messages_out + superseded + suppressed + dropped
}

/// The counts of the model.
#[derive(Default)]
struct Accounts {
    /// The senders of messages that have not been flushed yet.
    pending: Vec<PeerId>,
    /// The messages that all flushes had to handle, counted once for each recipient.
    due: u64,
    /// Number of messages in each datagram on the realtime port, by client and header.
    realtime: HashMap<(usize, [u8; HEADER]), usize>,
    /// The datagrams inside QUIC, by client.
    inside: HashMap<usize, InsideQuic>,
}

/// Counts the datagrams inside QUIC to one client.
#[derive(Clone, Copy, Default)]
struct InsideQuic {
    messages: usize,
    datagrams: usize,
}

impl Accounts {
    /// Advances the world by one step. If `stalled`, the shard does not flush in this step.
    fn step(&mut self, world: &mut World, stalled: bool) {
        world.set_now(world.now() + STEP);
        for arrival in world.arrivals() {
            let (from, before) = (arrival.from, accepted(&world.shard().counters));
            world.take(arrival);
            let sender = world.clients[from].peer.unwrap();
            let taken = accepted(&world.shard().counters) - before;
            self.pending.extend((0..taken).map(|_| sender));
        }
        if !stalled {
            self.flush(world);
        }
        world.settle();
        self.count_outbox(world);
        world.deliver();
        world.receive();
    }

    /// Lets the shard flush. A flush must handle all pending messages or none.
    fn flush(&mut self, world: &mut World) {
        let before = world.shard().counters;
        world.flush();
        let after = world.shard().counters;
        let flushed = handled(&after) - handled(&before);
        if flushed > 0 {
            let peers: Vec<PeerId> = world.server.links().map(|to| to.session.peer).collect();
            let others = |sender: PeerId| peers.iter().filter(|peer| **peer != sender).count();
            let due: usize = self.pending.drain(..).map(others).sum();
            assert_eq!(flushed, due as u64, "{before:?} {after:?}");
            self.due += flushed;
        }
        let sent = messages_in_outbox(world);
        assert_eq!(after.messages_out - before.messages_out, sent as u64, "messages in datagrams");
    }

    /// Counts the messages in the outbox.
    fn count_outbox(&mut self, world: &World) {
        for (path, bytes) in world.outbox.datagrams() {
            let messages = messages_in(bytes.len(), HEADER + TAG);
            let key = (client_at(path), *bytes.first_chunk().unwrap());
            assert!(
                self.realtime.insert(key, messages).is_none(),
                "the same datagram was sent twice"
            );
        }
        for transmit in &world.outbox.session_transmits {
            let of_peer = |one: &usize| world.clients[*one].peer == Some(transmit.peer);
            let client = (0..world.clients.len()).find(of_peer).unwrap();
            let inside = self.inside.entry(client).or_default();
            inside.messages += messages_in(transmit.end - transmit.start, LINK_ID);
            inside.datagrams += 1;
        }
    }

    /// Checks that every message sent was received, rejected, lost, or is still on its way.
    fn check(mut self, world: &World) {
        assert!(self.pending.is_empty(), "some messages were never flushed");
        let counters = world.shard().counters;
        assert_eq!(handled(&counters), self.due);
        let (mut received, mut refused, mut under_way, mut lost) = (0, 0, 0, 0);
        for (one, client) in world.clients.iter().enumerate() {
            let (mut realtime, mut inside) = (0, 0);
            for ClientDatagram { header, len, messages } in client.datagrams.iter().copied() {
                let contained = match header {
                    Some(header) => {
                        realtime += 1;
                        self.realtime.remove(&(one, Header::to_bytes(header))).unwrap()
                    }
                    None => {
                        inside += 1;
                        messages_in(len, LINK_ID)
                    }
                };
                match messages {
                    Some(messages) => {
                        assert_eq!(
                            messages, contained,
                            "a client found a different number of messages"
                        );
                        received += messages;
                    }
                    None => refused += contained,
                }
            }
            let down = client.net.counters().down;
            assert_eq!(down.delivered, realtime + client.net.unroutable(), "datagrams of {one}");
            let never_came = self.realtime.keys().filter(|(to, _)| *to == one).count() as u64;
            assert_eq!(down.sent - realtime, never_came, "datagrams of {one}");
            let quic = client.quic.iter().filter(|datagram| !datagram.upwards);
            let quic: Vec<usize> =
                quic.map(|datagram| messages_in(datagram.bytes.len(), LINK_ID)).collect();
            under_way += quic.iter().sum::<usize>();
            let InsideQuic { datagrams, .. } = self.inside.get(&one).copied().unwrap_or_default();
            assert_eq!(datagrams, inside + quic.len(), "datagrams of {one} inside QUIC");
        }
        lost += self.realtime.values().sum::<usize>();
        let left = received + refused + under_way + lost;
        assert_eq!(counters.messages_out, left as u64);
        let unique: usize = world.clients.iter().map(|client| client.messages.len()).sum();
        assert_eq!(received, unique, "a client received a message twice");
        for (total, count) in TOTALS.iter().zip([
            counters.superseded,
            counters.suppressed,
            counters.dropped,
            counters.over_rate,
            counters.over_speakers,
            counters.muted,
            counters.refused_messages,
            refused as u64,
            lost as u64,
            self.inside.values().map(|inside| inside.messages as u64).sum(),
        ]) {
            total.fetch_add(count, Relaxed);
        }
    }
}

/// The totals of all seeds. Each of them must be above 0.
static TOTALS: [AtomicU64; 10] = [const { AtomicU64::new(0) }; 10];

fn messages_in_outbox(world: &World) -> usize {
    let realtime = world.outbox.datagrams().map(|(_, bytes)| bytes.len());
    let realtime = realtime.map(|len| messages_in(len, HEADER + TAG));
    let inside = world.outbox.session_transmits.iter().map(|t| t.end - t.start);
    realtime.chain(inside.map(|len| messages_in(len, LINK_ID))).sum()
}

#[test]
fn every_message_is_accounted_for() {
    for_seeds(300, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = Limits {
            egress_bits_per_s: rng.choice([150_000, 500_000, 10_000_000]).unwrap(),
            peer_messages_per_s: rng.choice([20, 1_000]).unwrap(),
            speakers: rng.u16(1..4),
            ..Limits::default()
        };
        let mut world = World::with(seed, WorldConfig { limits, ..WorldConfig::default() });
        for _ in 0..STAYING {
            world.join(Conditions::CLEAN, Conditions::CLEAN);
        }
        let mut accounts = Accounts::default();
        (0..200).for_each(|_| accounts.step(&mut world, false));
        let mut stall = 0;
        for _ in 0..800 {
            churn(&mut world);
            stall = if rng.u16(..200) == 0 { rng.u32(10..50) } else { stall.saturating_sub(1) };
            accounts.step(&mut world, stall > 0);
        }
        // Run long enough for the last message to arrive.
        (0..200).for_each(|_| accounts.step(&mut world, false));
        accounts.check(&world);
    });
    if std::env::var("NUCLEUS_SEED").is_err() {
        let totals: Vec<u64> = TOTALS.iter().map(|total| total.load(Relaxed)).collect();
        assert!(totals.iter().all(|total| *total > 0), "{totals:?}");
    }
}

fn churn(world: &mut World) {
    let awake = world.awake();
    let one = awake[world.rng.usize(..awake.len())];
    let may_go = one >= STAYING;
    match world.rng.u8(..100) {
        0..3 if world.clients.len() < 16 => {
            let names = ["clean", "wifi", "lossy", "awful", "roaming"];
            // No network duplicates datagrams: it would count a duplicate as delivered, but the
            // client rejects it.
            let network = Conditions { duplicate: 0.0, ..preset(names[world.rng.usize(..5)]) };
            world.join(network.clone(), network);
        }
        3 if may_go => world.leave(one),
        4..7 if may_go => {
            let noticed = world.rng.bool();
            world.sleep(one, noticed);
        }
        7..11 => {
            let one = world.rng.usize(..world.clients.len());
            world.wake(one);
        }
        11..13 => world.clients[one].blocked ^= true,
        13 => {
            world.clients[one].requests += 1;
            let request = world.clients[one].requests;
            let act = if world.rng.bool() { act::MUTE_SELF } else { act::UNMUTE_SELF };
            let asked = Moderate { request, act, peer: 0, seconds: 0 };
            world.post_from(one, |from| RoomInput::Moderate { from, request: asked });
        }
        14 => {
            let (now, load) = (world.now(), world.rng.f32());
            world.shard_mut().handle(now, FanoutInput::Load(load));
        }
        // A peer sends a message to itself, which the fan-out refuses.
        15 => {
            let slot = world.clients[one].joined.as_ref().unwrap().slot;
            world.send(one, MessageKind::Pose, slot, PAYLOAD);
        }
        16..60 => {
            for one in awake {
                let kind = MessageKind::ALL[world.rng.usize(..4)];
                world.send(one, kind, TARGET_OTHERS, PAYLOAD);
            }
        }
        _ => {}
    }
}
