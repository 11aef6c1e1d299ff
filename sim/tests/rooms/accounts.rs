//! Where every realtime message went: by the fan-out's counters, by a plain count of who was there, and
//! by what the clients received.

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
use nucleus_sim::client::Received;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::{STEP, client_at};
use nucleus_sim::{World, WorldConfig};

use super::preset;

/// Every message has so many bytes of payload: more than whatever else a datagram brings, so that a
/// datagram's length says how many messages are in it.
const PAYLOAD: usize = 300;
/// Clients who are there from the beginning to the end, so that nobody speaks to an empty room.
const STAYING: usize = 2;

/// Messages in a datagram of `len` bytes of which `around` stand around its frames.
fn messages_in(len: usize, around: usize) -> usize {
    let (peer, channel, key, sequence, time, flags) = Default::default();
    let (kind, payload) = (MessageKind::Pose, &[0; PAYLOAD]);
    let message = Message { kind, flags, peer, channel, key, sequence, time, payload };
    (len - around) / message.encoded_len()
}

/// Messages that the fan-out has taken and refused to nobody.
fn accepted(counters: &FanoutCounters) -> u64 {
    let FanoutCounters { over_rate, over_speakers, muted, refused_messages, .. } = *counters;
    counters.messages_in - over_rate - over_speakers - muted - refused_messages
}

/// What has become of messages, one for each recipient.
fn fates(counters: &FanoutCounters) -> u64 {
    let FanoutCounters { messages_out, superseded, suppressed, dropped, .. } = *counters;
    messages_out + superseded + suppressed + dropped
}

/// What the plain model counts.
#[derive(Default)]
struct Accounts {
    /// The senders of messages that have not been flushed yet.
    pending: Vec<PeerId>,
    /// Messages times recipients.
    due: u64,
    /// Messages in datagrams on the realtime port, by client, phase and number under a connection id.
    realtime: HashMap<(usize, [u8; HEADER]), usize>,
    /// Messages in datagrams inside QUIC, and these datagrams, by client.
    inside: HashMap<usize, (usize, usize)>,
}

impl Accounts {
    /// One step of the world; `stalled`: the shard's thread does not get to its flush.
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
        self.note_outbox(world);
        world.deliver();
        world.hear();
    }

    /// A flush takes all that is pending, or nothing.
    fn flush(&mut self, world: &mut World) {
        let before = world.shard().counters;
        world.flush();
        let after = world.shard().counters;
        let done = fates(&after) - fates(&before);
        if done > 0 {
            let there: Vec<PeerId> = world.server.links().map(|to| to.session.peer).collect();
            let others = |sender: PeerId| there.iter().filter(|peer| **peer != sender).count();
            let due: usize = self.pending.drain(..).map(others).sum();
            assert_eq!(done, due as u64, "{before:?} {after:?}");
            self.due += done;
        }
        let sent = messages_in_outbox(world);
        assert_eq!(after.messages_out - before.messages_out, sent as u64, "in datagrams");
    }

    fn note_outbox(&mut self, world: &World) {
        for (path, bytes) in world.outbox.datagrams() {
            let messages = messages_in(bytes.len(), HEADER + TAG);
            let name = (client_at(path), *bytes.first_chunk().unwrap());
            assert!(self.realtime.insert(name, messages).is_none(), "the same datagram twice");
        }
        for transmit in &world.outbox.session_transmits {
            let of_peer = |one: &usize| world.clients[*one].peer == Some(transmit.peer);
            let client = (0..world.clients.len()).find(of_peer).unwrap();
            let (messages, datagrams) = self.inside.entry(client).or_default();
            *messages += messages_in(transmit.end - transmit.start, LINK_ID);
            *datagrams += 1;
        }
    }

    /// What left is what was received, and what did not come or was not taken.
    fn check(mut self, world: &World) {
        assert!(self.pending.is_empty(), "messages that were never flushed");
        let counters = world.shard().counters;
        assert_eq!(fates(&counters), self.due);
        let (mut received, mut refused, mut under_way, mut lost) = (0, 0, 0, 0);
        for (one, client) in world.clients.iter().enumerate() {
            let (mut realtime, mut inside) = (0, 0);
            for Received { header, len, messages } in client.datagrams.iter().copied() {
                let there = match header {
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
                        assert_eq!(messages, there, "a client found other messages in it");
                        received += messages;
                    }
                    None => refused += there,
                }
            }
            let down = client.net.counters().down;
            assert_eq!(down.delivered, realtime + client.net.misdirected(), "datagrams of {one}");
            let never_came = self.realtime.keys().filter(|(to, _)| *to == one).count() as u64;
            assert_eq!(down.sent - realtime, never_came, "datagrams of {one}");
            let quic = client.quic.iter().filter(|(_, up, _)| !up);
            let quic: Vec<usize> = quic.map(|(.., b)| messages_in(b.len(), LINK_ID)).collect();
            under_way += quic.iter().sum::<usize>();
            let (_, datagrams) = self.inside.get(&one).copied().unwrap_or_default();
            assert_eq!(datagrams, inside + quic.len(), "datagrams of {one} inside QUIC");
        }
        lost += self.realtime.values().sum::<usize>();
        let left = received + refused + under_way + lost;
        assert_eq!(counters.messages_out, left as u64);
        let heard: usize = world.clients.iter().map(|client| client.messages.len()).sum();
        assert_eq!(received, heard, "each once");
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
            self.inside.values().map(|(messages, _)| *messages as u64).sum(),
        ]) {
            total.fetch_add(count, Relaxed);
        }
    }
}

/// Of all seeds: each kind of fate must have come up.
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
        // The latest message has arrived by then.
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
            // A second copy would be counted as delivered and not be taken.
            let network = Conditions { duplicate: 0.0, ..preset(names[world.rng.usize(..5)]) };
            world.join(network.clone(), network);
        }
        3 if may_go => world.leave(one),
        4..7 if may_go => {
            let told = world.rng.bool();
            world.sleep(one, told);
        }
        7..11 => {
            let one = world.rng.usize(..world.clients.len());
            world.wake(one);
        }
        11..13 => world.clients[one].blocked ^= true,
        13 => {
            world.clients[one].asked += 1;
            let request = world.clients[one].asked;
            let act = if world.rng.bool() { act::MUTE_SELF } else { act::UNMUTE_SELF };
            let asked = Moderate { request, act, peer: 0, seconds: 0 };
            world.post_from(one, |from| RoomInput::Moderate { from, request: asked });
        }
        14 => {
            let (now, load) = (world.now(), world.rng.f32());
            world.shard_mut().handle(now, FanoutInput::Load(load));
        }
        // To itself, which is refused.
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
