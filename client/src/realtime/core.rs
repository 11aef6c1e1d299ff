//! The client's rules for realtime messages, over the protocol's [`Link`]: sequence numbers
//! outwards; inwards, newest wins, and nobody is heard before the roster names him.
//!
//! Driven like everything here: `handle_input`, `handle_timeout` and `deadline`, `poll_output`
//! until `None`, then [`Realtime::poll_received`] until `None`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, Messages, Path, Route};
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::time::Time;

use super::recent::RecentMap;
use crate::roster::{PeerId, Slot};

/// Messages that wait for the next datagrams: eight full ones of poses. Beyond, the oldest goes.
const QUEUE: usize = 256;
/// Keys of one sender whose newest sequence is remembered at least: more objects than two hands
/// move within [`KEY_MEMORY`].
const KEYS_PER_SENDER: usize = 256;
/// Own keys whose next sequence is remembered at least.
const OWN_KEYS: usize = 16_384;
/// What is newest is remembered this long. The server relays nothing so old, so nothing late is
/// left to refuse; and a sender that was out of interest for minutes may have wrapped its sequence.
const KEY_MEMORY: Duration = Duration::from_secs(5);

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// What it is.
    pub kind: MessageKind,
    /// The newest of (kind, channel, key) makes older ones worthless.
    pub newest_wins: bool,
    /// A slot, or [`nucleus_protocol::realtime::TARGET_OTHERS`].
    pub target: u16,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// At most [`limits::MAX_PAYLOAD`] bytes; more is dropped and counted, callers check before.
    pub payload: Vec<u8>,
}

impl OutgoingMessage {
    fn makes_worthless(&self, older: &OutgoingMessage) -> bool {
        let stream = |m: &OutgoingMessage| (m.newest_wins, m.kind, m.target, m.channel, m.key);
        self.newest_wins && stream(self) == stream(older)
    }
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// Who sent it.
    pub from: PeerId,
    /// What it is.
    pub kind: MessageKind,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// Counts the sender's messages of this kind, channel and key; wraps.
    pub sequence: u16,
    /// From its capture to its arrival here, 1 ms steps; `None` until the clocks are in step.
    pub age: Option<Duration>,
    /// Opaque.
    pub payload: Vec<u8>,
}

/// What became of messages that were not given to the application, or never sent. Cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealtimeCounters {
    /// ReceivedMessage after a newer one of its key, or twice.
    pub superseded: u64,
    /// ReceivedMessage from a sender that the roster did not name in time.
    pub unknown_sender: u64,
    /// Replaced by a newer one before it was sent, or over the queue's limit.
    pub unsent: u64,
    /// Datagrams that were not genuine, or came twice.
    pub rejected: u64,
}

/// One room's realtime plane, without socket and clock.
pub struct Realtime {
    link: Link,
    senders: HashMap<Slot, SenderHistory>,
    sequences: RecentMap<StreamKey, u16>,
    queue: VecDeque<OutgoingMessage>,
    held: VecDeque<HeldMessage>,
    received: VecDeque<ReceivedMessage>,
    counters: RealtimeCounters,
    /// By the links before this one.
    earlier_rejected: u64,
}

type StreamKey = (MessageKind, u8, u16);

struct SenderHistory {
    peer: PeerId,
    newest: RecentMap<StreamKey, Option<NewestSequence>>,
}

#[derive(Clone, Copy)]
struct NewestSequence {
    sequence: u16,
    at: Time,
    /// Which of the 64 numbers up to `sequence` have come, the newest in the lowest bit.
    seen: u64,
}

/// A message whose sender is not known yet.
struct HeldMessage {
    slot: Slot,
    until: Time,
    newest_wins: bool,
    /// `from` means nothing yet.
    message: ReceivedMessage,
}

impl Realtime {
    /// Over a fresh link; no sender is known yet.
    pub fn new(link: Link) -> Self {
        Self {
            link,
            senders: HashMap::new(),
            sequences: RecentMap::new(OWN_KEYS),
            queue: VecDeque::new(),
            held: VecDeque::new(),
            received: VecDeque::new(),
            counters: RealtimeCounters::default(),
            earlier_rejected: 0,
        }
    }

    /// Goes on over another link: the session was resumed, or the room joined anew. Own messages count
    /// on, so that nobody takes them for old ones. In another instance of the room (not `same_room`)
    /// slots are other peers', so everything that names one is forgotten.
    pub fn relink(&mut self, link: Link, same_room: bool) {
        self.earlier_rejected += self.link.counters().rejected.iter().sum::<u64>();
        self.link = link;
        if !same_room {
            self.senders.clear();
            self.held.clear();
            self.queue.clear();
            self.received.clear();
        }
    }

    /// The network has changed: the link speaks at once, under its spare id.
    pub fn network_changed(&mut self) {
        self.link.use_spare();
    }

    /// The roster names a peer: what waited for it is received now.
    pub fn add_peer(&mut self, now: Time, slot: Slot, peer: PeerId) {
        self.senders.insert(slot, SenderHistory { peer, newest: RecentMap::new(KEYS_PER_SENDER) });
        self.drop_overdue(now);
        let (known, rest) = self.held.drain(..).partition(|held| held.slot == slot);
        self.held = rest;
        let known: VecDeque<HeldMessage> = known;
        for held in known {
            self.receive(now, held.slot, held.newest_wins, held.message);
        }
    }

    /// The roster says that a peer is gone; unless its slot is another's by now.
    pub fn remove_peer(&mut self, slot: Slot, peer: PeerId) {
        if self.senders.get(&slot).is_some_and(|sender| sender.peer == peer) {
            self.senders.remove(&slot);
        }
    }

    /// Queues a message for the next datagrams, where it takes the place of an older one that it
    /// makes worthless.
    pub fn send(&mut self, message: OutgoingMessage) {
        if message.payload.len() > limits::MAX_PAYLOAD {
            self.counters.unsent += 1;
            return;
        }
        if let Some(older) = self.queue.iter_mut().find(|older| message.makes_worthless(older)) {
            *older = message;
            self.counters.unsent += 1;
            return;
        }
        if self.queue.len() >= QUEUE {
            self.queue.pop_front();
            self.counters.unsent += 1;
        }
        self.queue.push_back(message);
    }

    /// Takes a datagram, which is decrypted in place.
    pub fn handle_input(&mut self, now: Time, path: Path, ecn: u8, datagram: &mut [u8]) {
        let server_time = self.link.server_time(now);
        match self.link.handle_input(now, path, ecn, datagram) {
            Ok(messages) => {
                let arrived = arrived(messages, server_time);
                self.take_all(now, arrived);
            }
            Err(rejected) => tracing::trace!(%rejected, "datagram"),
        }
    }

    /// Takes a datagram that came inside the session.
    pub fn handle_session_input(&mut self, now: Time, datagram: &[u8]) {
        let server_time = self.link.server_time(now);
        match self.link.handle_session_input(now, datagram) {
            Ok(messages) => {
                let arrived = arrived(messages, server_time);
                self.take_all(now, arrived);
            }
            Err(rejected) => tracing::trace!(%rejected, "session datagram"),
        }
    }

    fn take_all(&mut self, now: Time, arrived: Vec<(u16, u8, ReceivedMessage)>) {
        for (slot, flags, message) in arrived {
            self.take(now, Slot(slot), flags & NEWEST_WINS != 0, message);
        }
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.drop_overdue(now);
        self.link.handle_timeout(now);
    }

    /// When [`Realtime::handle_timeout`] wants to be called.
    pub fn deadline(&self) -> Option<Time> {
        let held = self.held.front().map(|held| held.until);
        self.link.deadline().into_iter().chain(held).min()
    }

    /// Appends one datagram and says where it goes (and so which part of it goes on the wire);
    /// `None` when there is nothing to send.
    pub fn poll_output(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        // The application's first: what the link has to say travels along with it.
        if !self.queue.is_empty()
            && let Some(route) = self.flush(now, out)
        {
            return Some(route);
        }
        self.link.poll_output(now, out)
    }

    /// The next received message.
    pub fn poll_received(&mut self) -> Option<ReceivedMessage> {
        self.received.pop_front()
    }

    /// What was dropped so far.
    pub fn counters(&self) -> RealtimeCounters {
        let rejected: u64 = self.link.counters().rejected.iter().sum();
        RealtimeCounters { rejected: self.earlier_rejected + rejected, ..self.counters }
    }

    /// The link underneath: clock, round trip, reports.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// As many queued messages as fit one datagram, oldest first.
    fn flush(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        let (route, _) = self.link.route()?;
        let time = self.link.server_time(now).map_or(0, Time::as_wire_millis);
        let start = self.link.begin(now, out);
        let body = start + limits::HEADER;
        while let Some(message) = self.queue.front() {
            let mut frame = Message {
                kind: message.kind,
                flags: if message.newest_wins { NEWEST_WINS } else { 0 },
                peer: message.target,
                channel: message.channel,
                key: message.key,
                sequence: 0,
                time,
                payload: &message.payload,
            };
            if out.len() - body + frame.encoded_len() > limits::MAX_BODY {
                break;
            }
            let next = self.sequences.get_or((message.kind, message.channel, message.key), || 0);
            frame.sequence = *next;
            *next = next.wrapping_add(1);
            frame.encode(out);
            self.queue.pop_front();
        }
        // A link without packet numbers left sends nothing more until the peer joins again.
        self.link.finish(now, out, start).ok().map(|()| route)
    }

    /// A message that is allowed to wait: its sender may be a roster update ahead of us.
    fn take(&mut self, now: Time, slot: Slot, newest_wins: bool, message: ReceivedMessage) {
        if self.senders.contains_key(&slot) {
            return self.receive(now, slot, newest_wins, message);
        }
        if self.held.len() >= limits::UNKNOWN_SLOT_FRAMES {
            self.held.pop_front();
            self.counters.unknown_sender += 1;
        }
        let until = now + limits::UNKNOWN_SLOT_HOLD;
        self.held.push_back(HeldMessage { slot, until, newest_wins, message });
    }

    fn receive(&mut self, now: Time, slot: Slot, newest_wins: bool, mut message: ReceivedMessage) {
        let Some(sender) = self.senders.get_mut(&slot) else { return };
        if !sender.is_fresh(now, newest_wins, &message) {
            self.counters.superseded += 1;
            return;
        }
        message.from = sender.peer;
        self.received.push_back(message);
    }

    fn drop_overdue(&mut self, now: Time) {
        // In the order of their deadlines, for all wait equally long.
        let overdue = self.held.iter().take_while(|held| held.until <= now).count();
        self.held.drain(..overdue);
        self.counters.unknown_sender += overdue as u64;
    }
}

impl SenderHistory {
    /// Was not had before; and with `newest_wins`, nothing newer of its key was.
    fn is_fresh(&mut self, now: Time, newest_wins: bool, message: &ReceivedMessage) -> bool {
        let key = (message.kind, message.channel, message.key);
        let slot = self.newest.get_or(key, || None);
        let first = NewestSequence { sequence: message.sequence, at: now, seen: 1 };
        let Some(newest) = slot.as_mut().filter(|n| now.since(n.at) < KEY_MEMORY) else {
            *slot = Some(first);
            return true;
        };
        // Half of the numbers are ahead, half behind: RFC 1982.
        let ahead = message.sequence.wrapping_sub(newest.sequence) as i16;
        if ahead > 0 {
            let shifted = newest.seen.checked_shl(ahead.unsigned_abs().into()).unwrap_or(0);
            *newest = NewestSequence { seen: shifted | 1, ..first };
            return true;
        }
        // Further back than the bits reach it is too late to be of use.
        let bit = 1u64.checked_shl(ahead.unsigned_abs().into()).unwrap_or(u64::MAX);
        let repeated = newest.seen & bit != 0;
        newest.seen |= bit;
        !newest_wins && !repeated
    }
}

fn arrived(messages: Messages<'_>, server_time: Option<Time>) -> Vec<(u16, u8, ReceivedMessage)> {
    let take = |m: Message<'_>| (m.peer, m.flags, received(&m, server_time));
    messages.map(take).collect()
}

fn received(message: &Message<'_>, server_time: Option<Time>) -> ReceivedMessage {
    ReceivedMessage {
        from: PeerId(0),
        kind: message.kind,
        channel: message.channel,
        key: message.key,
        sequence: message.sequence,
        age: server_time.map(|now| age(now, message.time)),
        payload: message.payload.to_vec(),
    }
}

/// Time stamps wrap after 65 s, and clocks that are a little apart put some in the future: those
/// are new.
fn age(now: Time, captured: u16) -> Duration {
    let ms = now.as_wire_millis().wrapping_sub(captured) as i16;
    Duration::from_millis(ms.max(0) as u64)
}
