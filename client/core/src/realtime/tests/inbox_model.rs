//! Compares the inbox with a slow model of it, over random messages and takes.

use std::collections::BTreeSet;

use fastrand::Rng;
use nucleus_sim::seeds::for_seeds;

use super::super::inbox::Inbox;
use super::super::message::{MessageView, StreamKey};
use super::*;

/// A message of the model.
#[derive(Clone)]
struct ModelMessage {
    from: PeerId,
    stream: StreamKey,
    newest_wins: bool,
    sequence: u16,
    arrived: Time,
    is_waiting: bool,
    is_own_key: bool,
    /// The position in the order of waiting messages.
    position: u64,
    /// The position in the order of updates.
    updated: u64,
}

impl ModelMessage {
    fn is_voice(&self) -> bool {
        self.stream.kind == MessageKind::Voice
    }

    fn is_newest(&self) -> bool {
        self.newest_wins && !self.is_voice()
    }

    fn is_of_class(&self, other: &ModelMessage) -> bool {
        (self.is_voice(), self.is_newest()) == (other.is_voice(), other.is_newest())
    }

    fn is_pose(&self) -> bool {
        self.is_newest() && self.stream.kind == MessageKind::Pose
    }
}

/// A list of messages that is searched from its start for everything.
#[derive(Default)]
struct InboxModel {
    messages: Vec<ModelMessage>,
    clock: u64,
    /// Replaced, not taken, and stale.
    counters: [u64; 3],
}

impl InboxModel {
    fn deliver(&mut self, mut new: ModelMessage) {
        self.clock += 1;
        (new.position, new.updated) = (self.clock, self.clock);
        let key = |m: &ModelMessage| (m.from, m.stream, m.is_newest());
        if new.is_newest()
            && let Some(old) = self.messages.iter_mut().find(|old| key(old) == key(&new))
        {
            if old.is_waiting {
                self.counters[0] += 1;
                new.position = old.position;
            }
            new.is_own_key = old.is_own_key;
            *old = new;
            return;
        }
        let (per_sender, shared) = match (new.is_voice(), new.is_newest()) {
            (true, _) => (16, 4_096),
            (_, true) => (256, 4_096),
            (_, false) => (2_048, 2_048),
        };
        self.drop_oldest(per_sender, |m| m.is_of_class(&new) && m.from == new.from);
        let is_own = |m: &&ModelMessage| m.is_own_key && m.from == new.from;
        new.is_own_key = new.is_newest() && self.messages.iter().filter(is_own).count() < 4;
        if !new.is_own_key {
            self.drop_oldest(shared, |m| m.is_of_class(&new) && !m.is_own_key);
        }
        self.messages.push(new);
    }

    /// Drops the oldest of the messages if there are as many as the limit.
    fn drop_oldest(&mut self, limit: usize, among: impl Fn(&ModelMessage) -> bool) {
        let messages = || self.messages.iter().enumerate().filter(|(_, m)| among(m));
        if messages().count() >= limit {
            let (oldest, _) = messages().min_by_key(|(_, m)| m.updated).unwrap();
            self.counters[1] += u64::from(self.messages.remove(oldest).is_waiting);
        }
    }

    fn pop(&mut self, now: Time, speaker: Option<PeerId>) -> Option<(PeerId, u16)> {
        loop {
            let is_asked = |m: &ModelMessage| match speaker {
                Some(speaker) => m.is_voice() && m.from == speaker,
                None => m.is_waiting,
            };
            let waiting = self.messages.iter().enumerate().filter(|(_, m)| is_asked(m));
            let (first, _) = waiting.min_by_key(|(_, m)| m.position)?;
            let message = &mut self.messages[first];
            let taken = (message.from, message.sequence);
            if message.is_voice() && now.since(message.arrived) > 400 * MS {
                self.counters[2] += 1;
            } else if message.is_pose() {
                message.is_waiting = false;
                return Some(taken);
            } else {
                self.messages.remove(first);
                return Some(taken);
            }
            self.messages.remove(first);
        }
    }

    fn poses(&self) -> BTreeSet<(PeerId, u16)> {
        self.messages.iter().filter(|m| m.is_pose()).map(|m| (m.from, m.sequence)).collect()
    }
}

fn random_message(rng: &mut Rng, now: Time, sequence: u16) -> ModelMessage {
    let from = PeerId(rng.u32(0..6));
    let stream = StreamKey {
        kind: MessageKind::ALL[rng.usize(0..4)],
        channel: rng.u8(0..2),
        // Peer 0 uses many keys.
        key: if from == PeerId(0) { rng.u16(0..400) } else { rng.u16(0..4) },
    };
    ModelMessage {
        from,
        stream,
        newest_wins: rng.bool(),
        sequence,
        arrived: now,
        is_waiting: true,
        is_own_key: false,
        position: 0,
        updated: 0,
    }
}

#[test]
fn the_inbox_does_what_its_model_does() {
    let payload = [0; nucleus_protocol::realtime::pose::POSE_BYTES];
    for_seeds(20, |seed| {
        let mut rng = Rng::with_seed(seed);
        let (mut inbox, mut model) = (Inbox::default(), InboxModel::default());
        let mut now = Time::from_millis(1_000);
        for sequence in 0..6_000 {
            if rng.u8(0..8) == 0 {
                now += rng.u32(0..20) * MS;
            }
            let message = random_message(&mut rng, now, sequence);
            let ModelMessage { from, stream: StreamKey { kind, channel, key }, .. } = message;
            let view = MessageView {
                from,
                kind,
                channel,
                key,
                sequence,
                age: None,
                captured: None,
                arrived: now,
                payload: &payload[..],
            };
            inbox.deliver(message.newest_wins, &view);
            model.deliver(message);
            // Now and then the application takes some, and seldom all.
            let takes = if rng.u16(0..2_000) == 0 { 9_999 } else { rng.usize(0..3) / 2 };
            for _ in 0..takes {
                let speaker = rng.bool().then(|| PeerId(rng.u32(0..6)));
                let taken = match speaker {
                    Some(speaker) => inbox.pop_voice(now, speaker),
                    None => inbox.pop(now),
                };
                let taken = taken.map(|taken| (taken.from, taken.sequence));
                assert_eq!(taken, model.pop(now, speaker));
            }
            if rng.u16(0..1_000) == 0 {
                let peer = PeerId(rng.u32(0..6));
                inbox.remove_peer(peer);
                model.messages.retain(|message| message.from != peer);
            }
            let waiting = model.messages.iter().filter(|message| message.is_waiting).count();
            assert_eq!(inbox.waiting(), waiting);
        }
        let poses = inbox.poses().map(|pose| (pose.from, pose.sequence)).collect();
        assert_eq!(model.poses(), poses);
        let counters = inbox.counters();
        let counters = [counters.replaced, counters.not_taken, counters.stale_voice];
        assert_eq!(counters, model.counters);
        assert!(counters.iter().all(|count| *count > 0), "{counters:?}");
    });
}
