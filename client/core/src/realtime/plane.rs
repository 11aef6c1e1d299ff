//! The client's rules for realtime messages, on top of the protocol's [`Link`].
//!
//! Sent messages get sequence numbers. Received messages are dropped if they are duplicates, or if
//! they are older than one that replaces them. A message is delivered only when the roster names
//! its sender.
//!
//! The caller drives [`Realtime`] with `handle_input`, `handle_timeout` and `deadline`, then calls
//! `poll_output` and [`Realtime::poll_received`] until they return `None`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, Messages, Path, Route};
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::time::Time;

use super::recent::RecentMap;
use crate::roster::{PeerId, Slot};

/// Messages that may wait to be sent: as many as the poses in eight full datagrams. When the queue
/// is full, the oldest message is dropped.
const MAX_QUEUED: usize = 256;
/// Smallest number of keys of one sender whose newest sequence is kept. A user moves fewer objects
/// than this within [`KEY_MEMORY`].
const KEYS_PER_SENDER: usize = 256;
/// Smallest number of keys of this client whose next sequence is kept.
const OWN_KEYS: usize = 16_384;
/// Largest age of a message that is handed to the application.
const OLDEST: Duration = Duration::from_millis(limits::RECEIVED_AGE as u64);
/// How long the newest sequence of a key is compared with later messages. The server relays no
/// message that is as old as this, so none can still arrive late. The limit is for a sender whose
/// messages were not relayed for minutes: its sequence may have wrapped meanwhile, and without the
/// limit its next messages would be dropped as old.
const KEY_MEMORY: Duration = Duration::from_secs(5);

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Kind of the message.
    pub kind: MessageKind,
    /// Whether the message replaces older ones of the same kind, channel and key.
    pub newest_wins: bool,
    /// The recipient's slot, or [`nucleus_protocol::realtime::TARGET_OTHERS`].
    pub target: u16,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// At most [`limits::MAX_PAYLOAD`] bytes. Callers check the size; a larger message is dropped
    /// and counted.
    pub payload: Vec<u8>,
}

impl OutgoingMessage {
    fn replaces(&self, older: &OutgoingMessage) -> bool {
        let stream = |m: &OutgoingMessage| (m.newest_wins, m.kind, m.target, m.channel, m.key);
        self.newest_wins && stream(self) == stream(older)
    }
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The sender.
    pub from: PeerId,
    /// Kind of the message.
    pub kind: MessageKind,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// Sequence number of the sender's messages of this kind, channel and key. 65,535 is followed
    /// by 0.
    pub sequence: u16,
    /// Time from capture to arrival, in steps of 1 ms, at most 2 s; `None` until the clocks are
    /// synchronized.
    pub age: Option<Duration>,
    /// The application's data.
    pub payload: Vec<u8>,
}

/// Counters of messages that were not delivered to the application or not sent, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealtimeCounters {
    /// Received messages that were duplicates, or older than one that replaced them.
    pub superseded: u64,
    /// Received messages that were captured more than two seconds before.
    pub too_old: u64,
    /// Received messages whose sender the roster did not name in time.
    pub unknown_sender: u64,
    /// Messages that were replaced by a newer one before they were sent, that did not fit into the
    /// queue, or that were too large.
    pub unsent: u64,
    /// Received datagrams that were forged or duplicates.
    pub rejected: u64,
}

/// The realtime plane of one room, without socket and clock.
pub struct Realtime {
    link: Link,
    senders: HashMap<Slot, SenderHistory>,
    sequences: RecentMap<StreamKey, u16>,
    queue: VecDeque<OutgoingMessage>,
    held: VecDeque<HeldMessage>,
    received: VecDeque<ReceivedMessage>,
    counters: RealtimeCounters,
    /// Datagrams that earlier links rejected.
    earlier_rejected: u64,
}

/// Identifies a stream of messages that share one sequence of numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct StreamKey {
    kind: MessageKind,
    channel: u8,
    key: u16,
}

/// The newest sequence numbers that were received from one peer, by key.
struct SenderHistory {
    peer: PeerId,
    newest: RecentMap<StreamKey, Option<NewestSequence>>,
}

#[derive(Clone, Copy)]
struct NewestSequence {
    sequence: u16,
    at: Time,
    /// One bit for each of the 64 sequence numbers up to `sequence`, set if the number was
    /// received. The lowest bit stands for `sequence`.
    received: u64,
}

/// A message that waits until the roster names its sender.
struct HeldMessage {
    slot: Slot,
    until: Time,
    newest_wins: bool,
    /// The message. Its `from` is not set yet.
    message: ReceivedMessage,
}

impl Realtime {
    /// Creates the realtime plane over a new link, without any known peers.
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

    /// Continues over another link, after the session was resumed or the room was joined again.
    ///
    /// The sequence numbers of sent messages continue, so that recipients do not drop the messages
    /// as old. If the room instance is another one (`same_room` is false), the slots belong to
    /// other peers, so everything that contains a slot is dropped.
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

    /// Tells the link that this machine's network has changed. The link then sends at once, with
    /// its spare connection id.
    pub fn network_changed(&mut self) {
        self.link.use_spare();
    }

    /// Adds a peer of the roster and delivers the messages that waited for it.
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

    /// Removes a peer that left, unless its slot already belongs to another peer.
    pub fn remove_peer(&mut self, slot: Slot, peer: PeerId) {
        if self.senders.get(&slot).is_some_and(|sender| sender.peer == peer) {
            self.senders.remove(&slot);
        }
    }

    /// Queues a message for the next datagram. The message takes the position of a queued one that
    /// it replaces.
    pub fn send(&mut self, message: OutgoingMessage) {
        if message.payload.len() > limits::MAX_PAYLOAD {
            self.counters.unsent += 1;
            return;
        }
        if let Some(older) = self.queue.iter_mut().find(|older| message.replaces(older)) {
            *older = message;
            self.counters.unsent += 1;
            return;
        }
        if self.queue.len() >= MAX_QUEUED {
            self.queue.pop_front();
            self.counters.unsent += 1;
        }
        self.queue.push_back(message);
    }

    /// Handles a received datagram, which is decrypted in place.
    pub fn handle_input(&mut self, now: Time, path: Path, ecn: u8, datagram: &mut [u8]) {
        let server_time = self.link.server_time(now);
        // The link counts the datagrams that it rejects.
        if let Ok(messages) = self.link.handle_input(now, path, ecn, datagram) {
            let arrived = arrived(messages, server_time);
            self.take_all(now, arrived);
        }
    }

    /// Handles a datagram that was received inside the session.
    pub fn handle_session_input(&mut self, now: Time, datagram: &[u8]) {
        let server_time = self.link.server_time(now);
        if let Ok(messages) = self.link.handle_session_input(now, datagram) {
            let arrived = arrived(messages, server_time);
            self.take_all(now, arrived);
        }
    }

    fn take_all(&mut self, now: Time, arrived: Vec<ArrivedMessage>) {
        // Capture times wrap after 65 s, so a datagram that waited for longer would look new.
        if self.link.datagram_age(now).is_some_and(|age| age > OLDEST) {
            self.counters.too_old += arrived.len() as u64;
            return;
        }
        for message in arrived {
            self.take(now, message);
        }
    }

    /// Does the work that is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.drop_overdue(now);
        self.link.handle_timeout(now);
    }

    /// Returns when [`Realtime::handle_timeout`] must be called next.
    pub fn deadline(&self) -> Option<Time> {
        let held = self.held.front().map(|held| held.until);
        self.link.deadline().into_iter().chain(held).min()
    }

    /// Appends one datagram to `out` and returns its route. The caller sends the part of the
    /// datagram that [`Route::wire`] selects. Returns `None` if there is nothing to send.
    pub fn poll_output(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        // Application messages come first, because the link's control messages fit into the same
        // datagram.
        if !self.queue.is_empty()
            && let Some(route) = self.flush(now, out)
        {
            return Some(route);
        }
        self.link.poll_output(now, out)
    }

    /// Returns the next received message.
    pub fn poll_received(&mut self) -> Option<ReceivedMessage> {
        self.received.pop_front()
    }

    /// Returns the counters of dropped messages.
    pub fn counters(&self) -> RealtimeCounters {
        let rejected: u64 = self.link.counters().rejected.iter().sum();
        RealtimeCounters { rejected: self.earlier_rejected + rejected, ..self.counters }
    }

    /// Returns the link, for its clock, round-trip time and reports.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Appends a datagram with as many queued messages as fit, oldest first.
    fn flush(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        let (route, _) = self.link.route()?;
        let time = self.link.server_time(now).map(Time::as_wire_millis);
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
            if out.len() - body + frame.encoded_len() > self.link.max_body() {
                break;
            }
            let key = StreamKey { kind: message.kind, channel: message.channel, key: message.key };
            let next = self.sequences.get_or(key, || 0);
            frame.sequence = *next;
            *next = next.wrapping_add(1);
            frame.encode(out);
            self.queue.pop_front();
        }
        // A link that has used all packet numbers sends nothing until the client joins again.
        self.link.finish(now, out, start).ok().map(|()| route)
    }

    /// Handles a received message. If its sender is unknown, the message waits: the roster update
    /// that names the sender may still be on its way.
    fn take(&mut self, now: Time, arrived: ArrivedMessage) {
        let ArrivedMessage { slot, newest_wins, message } = arrived;
        // It waited in a buffer while this process, the server or the network stood still.
        if message.age.is_some_and(|age| age > OLDEST) {
            self.counters.too_old += 1;
            return;
        }
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
        // All messages wait equally long, so they are in the order of their deadlines.
        let overdue = self.held.iter().take_while(|held| held.until <= now).count();
        self.held.drain(..overdue);
        self.counters.unknown_sender += overdue as u64;
    }
}

impl SenderHistory {
    /// Returns whether the message is to be delivered: it is no duplicate, and, with `newest_wins`,
    /// not older than the newest message of its key.
    fn is_fresh(&mut self, now: Time, newest_wins: bool, message: &ReceivedMessage) -> bool {
        let key = StreamKey { kind: message.kind, channel: message.channel, key: message.key };
        let slot = self.newest.get_or(key, || None);
        let first = NewestSequence { sequence: message.sequence, at: now, received: 1 };
        let Some(newest) = slot.as_mut().filter(|n| now.since(n.at) < KEY_MEMORY) else {
            *slot = Some(first);
            return true;
        };
        // Serial number arithmetic, RFC 1982: half of the numbers are ahead, half are behind.
        let ahead = message.sequence.wrapping_sub(newest.sequence) as i16;
        if ahead > 0 {
            let shifted = newest.received.checked_shl(ahead.unsigned_abs().into()).unwrap_or(0);
            *newest = NewestSequence { received: shifted | 1, ..first };
            return true;
        }
        // Messages more than 63 numbers behind are too late to be useful and count as duplicates.
        let bit = 1u64.checked_shl(ahead.unsigned_abs().into()).unwrap_or(u64::MAX);
        let repeated = newest.received & bit != 0;
        newest.received |= bit;
        !newest_wins && !repeated
    }
}

/// A message of a datagram, before its sender is looked up.
struct ArrivedMessage {
    slot: Slot,
    newest_wins: bool,
    /// The message. Its `from` is not set yet.
    message: ReceivedMessage,
}

fn arrived(messages: Messages<'_>, server_time: Option<Time>) -> Vec<ArrivedMessage> {
    let take = |message: Message<'_>| ArrivedMessage {
        slot: Slot(message.peer),
        newest_wins: message.flags & NEWEST_WINS != 0,
        message: received(&message, server_time),
    };
    messages.map(take).collect()
}

fn received(message: &Message<'_>, server_time: Option<Time>) -> ReceivedMessage {
    ReceivedMessage {
        from: PeerId(0),
        kind: message.kind,
        channel: message.channel,
        key: message.key,
        sequence: message.sequence,
        age: server_time
            .zip(message.time)
            .map(|(now, captured)| Duration::from_millis(now.capture_age(captured).into())),
        payload: message.payload.to_vec(),
    }
}
