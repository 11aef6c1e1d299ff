//! The client's rules for realtime messages, on top of the protocol's [`Link`].
//!
//! Sent messages get sequence numbers. Received messages are dropped if they are duplicates, or if
//! they are older than one that replaces them. A message is delivered only when the roster names
//! its sender. It then waits in an inbox until the application takes it.
//!
//! The caller drives [`Realtime`] with `handle_input`, `handle_timeout` and `deadline`, then calls
//! `poll_output` until it returns `None`. The application takes messages when it wants to, for
//! example once a frame:
//!
//! | call | returns |
//! |---|---|
//! | [`Realtime::pop`] | each message once, in the order of arrival |
//! | [`Realtime::pop_voice`] | each voice packet of one speaker once, for a jitter buffer |
//! | [`Realtime::poses`] | the newest pose of everyone, as often as the application asks |
//!
//! Received messages are copied into buffers that are reused, so neither these calls nor
//! `handle_input` allocate, once the buffers have reached their size.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, Messages, Path, Route};
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::time::Time;

use super::clock::{JoinedClock, ServerClock};
use super::inbox::{Inbox, InboxCounters};
use super::message::{
    MessageView, OutgoingMessage, PeerPose, RealtimeCounters, ReceivedMessage, StreamKey,
};
use super::quality::{ConnectionFigures, QualityMeter};
use super::recent::RecentMap;
use super::reports::{RealtimeReport, RealtimeReports};
use super::sending::SendQueue;
use super::sent::{SentSequences, SentStream};
use super::sequences::SenderHistory;
use super::speaking::Speaking;
use crate::playback::{PoseInterpolator, ShownPose, VoicePlayer, VoiceStep};
use crate::roster::{PeerId, Slot};

/// Smallest number of keys of this client whose next sequence is kept.
const OWN_KEYS: usize = 16_384;
/// Largest age of a message that is handed to the application.
const OLDEST: Duration = Duration::from_millis(limits::RECEIVED_AGE as u64);

/// The realtime plane of one room, without socket and clock.
pub struct Realtime {
    link: Link,
    senders: HashMap<Slot, SenderHistory>,
    sent: RecentMap<StreamKey, SentStream>,
    /// Messages sent so far.
    sent_count: u64,
    queue: SendQueue,
    held: VecDeque<HeldMessage>,
    inbox: Inbox,
    /// `None` until the application asks for interpolated poses.
    interpolator: Option<PoseInterpolator>,
    /// `None` until the application asks for voice to play.
    voice_player: Option<VoicePlayer>,
    clock: ServerClock,
    reports: RealtimeReports,
    quality: QualityMeter,
    /// Whether there is a session. Without one, nothing is known of the realtime port.
    is_connected: bool,
    counters: RealtimeCounters,
    /// Datagrams that earlier links rejected.
    earlier_rejected: u64,
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
    /// Creates the realtime plane over a new link, without any known peers. `sent` is what an earlier
    /// process has sent in this session; otherwise it is empty.
    pub fn new(link: Link, clock: JoinedClock, sent: &SentSequences) -> Self {
        let mut streams = RecentMap::new(OWN_KEYS);
        for (key, next) in sent.continued() {
            streams.get_or(key, || SentStream { next, last_use: 0 });
        }
        Self {
            link,
            senders: HashMap::new(),
            sent: streams,
            sent_count: 0,
            queue: SendQueue::default(),
            held: VecDeque::new(),
            inbox: Inbox::default(),
            interpolator: None,
            voice_player: None,
            clock: ServerClock::new(clock),
            reports: RealtimeReports::default(),
            quality: QualityMeter::default(),
            is_connected: true,
            counters: RealtimeCounters::default(),
            earlier_rejected: 0,
        }
    }

    /// Continues over another link, after the session was resumed or the room was joined again.
    ///
    /// The sequence numbers of sent messages continue, so that recipients do not drop the messages
    /// as old. If the room instance is another one (`same_room` is false), the slots belong to
    /// other peers, so everything that contains a slot is dropped: received messages and poses too.
    pub fn relink(&mut self, link: Link, clock: JoinedClock, same_room: bool) {
        self.earlier_rejected += self.link.counters().rejected.iter().sum::<u64>();
        self.link = link;
        self.clock.rejoin(clock);
        self.is_connected = true;
        self.quality.relink();
        if !same_room {
            self.reports.forget_all();
            self.senders.clear();
            self.held.clear();
            self.queue.clear();
            self.inbox.clear();
            self.interpolator.iter_mut().for_each(PoseInterpolator::clear);
            self.voice_player.iter_mut().for_each(VoicePlayer::clear);
        }
    }

    /// Notes that the session is lost. [`Self::relink`] follows, or nothing.
    pub fn disconnect(&mut self) {
        self.is_connected = false;
        self.quality.disconnect().into_iter().for_each(|quality| self.reports.set_quality(quality));
    }

    /// Tells the link that this machine's network has changed. The link then sends at once, with
    /// its spare connection id.
    pub fn network_changed(&mut self) {
        self.link.use_spare();
    }

    /// Adds a peer of the roster and delivers the messages that waited for it.
    pub fn add_peer(&mut self, now: Time, slot: Slot, peer: PeerId) {
        if let Some(earlier) = self.senders.insert(slot, SenderHistory::new(peer))
            && earlier.peer != peer
        {
            self.forget_peer(earlier.peer);
        }
        self.drop_overdue(now);
        let (known, rest) = self.held.drain(..).partition(|held| held.slot == slot);
        self.held = rest;
        let known: VecDeque<HeldMessage> = known;
        for held in known {
            self.receive(now, slot, held.newest_wins, held.message.view());
        }
    }

    /// Removes a peer that left, unless its slot already belongs to another peer. Its poses and
    /// waiting messages are removed too, and not counted.
    pub fn remove_peer(&mut self, slot: Slot, peer: PeerId) {
        if self.senders.get(&slot).is_some_and(|sender| sender.peer == peer) {
            self.senders.remove(&slot);
            self.forget_peer(peer);
        }
    }

    fn forget_peer(&mut self, peer: PeerId) {
        self.inbox.remove_peer(peer);
        self.interpolator.iter_mut().for_each(|poses| poses.remove_peer(peer));
        self.voice_player.iter_mut().for_each(|player| player.remove_peer(peer));
        self.reports.forget(peer);
    }

    /// Queues a message for the next datagram. The message takes the position of a queued one that
    /// it replaces.
    pub fn send(&mut self, message: OutgoingMessage) {
        self.queue.push(message);
    }

    /// Returns an empty buffer for the payload of a message. It is one of an earlier message, so a
    /// caller that sends once a frame allocates nothing.
    pub fn payload_buffer(&mut self) -> Vec<u8> {
        self.queue.buffer()
    }

    /// Handles a received datagram, which is decrypted in place.
    pub fn handle_input(&mut self, now: Time, path: Path, ecn: u8, datagram: &mut [u8]) {
        let server_time = self.link.server_time(now);
        // The link counts the datagrams that it rejects.
        if let Ok(messages) = self.link.handle_input(now, path, ecn, datagram) {
            self.take_all(now, server_time, messages);
        }
    }

    /// Handles a datagram that was received inside the session.
    pub fn handle_session_input(&mut self, now: Time, datagram: &[u8]) {
        let server_time = self.link.server_time(now);
        if let Ok(messages) = self.link.handle_session_input(now, datagram) {
            self.take_all(now, server_time, messages);
        }
    }

    /// Handles the messages of a datagram. `server_time` is the server's clock at `now`, if known.
    fn take_all(&mut self, now: Time, server_time: Option<Time>, messages: Messages<'_>) {
        // Capture times wrap after 65 s, so a datagram that waited for longer would look new.
        if self.link.datagram_age(now).is_some_and(|age| age > OLDEST) {
            self.counters.too_old += messages.count() as u64;
            return;
        }
        for message in messages {
            let newest_wins = message.flags & NEWEST_WINS != 0;
            let slot = Slot(message.peer);
            self.take(now, slot, newest_wins, arrived(&message, now, server_time));
        }
    }

    /// Does the work that is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.drop_overdue(now);
        self.reports.handle_timeout(now);
        self.link.handle_timeout(now);
    }

    /// Returns when [`Realtime::handle_timeout`] must be called next.
    pub fn deadline(&self) -> Option<Time> {
        let held = self.held.front().map(|held| held.until);
        let speaking = self.reports.speaking().deadline();
        let deadlines = [self.link.deadline(), held, speaking, self.queue.again_at()];
        deadlines.into_iter().flatten().min()
    }

    /// Appends one datagram to `out` and returns its route. The caller sends the part of the
    /// datagram that [`Route::wire`] selects. Returns `None` if there is nothing to send.
    pub fn poll_output(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        // Application messages come first, because the link's control messages fit into the same
        // datagram.
        if self.queue.has_due(now)
            && let Some(route) = self.flush(now, out)
        {
            return Some(route);
        }
        let route = self.link.poll_output(now, out);
        if route.is_none() && self.is_connected {
            if !self.link.is_undecided(now) {
                self.reports.set_on_fallback(self.link.on_fallback(now));
            }
            if let Some(quality) = self.quality.evaluate(now, &self.link) {
                self.reports.set_quality(quality);
            }
        }
        route
    }

    /// Takes the next report for the application.
    pub fn take_report(&mut self) -> Option<RealtimeReport> {
        self.reports.take()
    }

    /// Returns whether a report or a message waits for the application.
    pub fn has_event(&self) -> bool {
        !self.reports.is_empty() || self.inbox.waiting() > 0
    }

    /// Returns what is known of the connection.
    pub fn connection(&self) -> ConnectionFigures {
        self.quality.figures()
    }

    /// Returns the peers that are speaking.
    pub fn speaking(&self) -> &Speaking {
        self.reports.speaking()
    }

    /// Returns whether the realtime port does not answer and the session carries the datagrams, as
    /// last reported.
    pub fn on_fallback(&self) -> bool {
        self.reports.on_fallback()
    }

    /// Takes the next received message, in the order of arrival. [`MessageView::to_message`] and
    /// [`MessageView::copy_to`] copy it.
    ///
    /// A newest-wins message takes the position of the waiting one that it replaces, so only the
    /// newest pose of a key is returned. Voice packets that have waited for more than 400 ms are
    /// dropped and counted.
    pub fn pop(&mut self, now: Time) -> Option<MessageView<'_>> {
        self.inbox.pop(now)
    }

    /// Takes the oldest waiting voice packet of one speaker, as [`Realtime::pop`] would.
    ///
    /// At most the last 16 packets of each speaker wait. They are in the order of arrival; the
    /// caller's jitter buffer sorts them by their sequence numbers.
    pub fn pop_voice(&mut self, now: Time, speaker: PeerId) -> Option<MessageView<'_>> {
        self.inbox.pop_voice(now, speaker)
    }

    /// Iterates over the newest pose of each sender, channel and key, in no particular order.
    /// [`Realtime::pop`] does not remove poses from here.
    ///
    /// The pose of a silent peer stays until the peer leaves: [`PeerPose::arrived`] tells how old
    /// it is. Poses that were sent without "newest wins", and malformed ones, are left out.
    pub fn poses(&self) -> impl Iterator<Item = PeerPose<'_>> {
        self.inbox.poses()
    }

    /// Returns the poses of everybody to show in the frame of this moment, in no particular order:
    /// interpolated, evenly in time, and a little later than they arrive. They are kept from the
    /// first call on. Empty until the clocks are synchronized.
    pub fn shown_poses(&mut self, now: Time) -> impl Iterator<Item = ShownPose> {
        let frame = self.playback_time(now);
        self.interpolator.get_or_insert_default().poses_at(now, frame)
    }

    /// Returns what to play for the next [`VOICE_PACKET`] of a speaker, and writes the Opus packet to
    /// `opus`. From the first call on, voice of channel 0 and key 0 is kept here, and
    /// [`Realtime::pop`] does not return it. Silence until the clocks are synchronized.
    ///
    /// [`VOICE_PACKET`]: crate::playback::VOICE_PACKET
    pub fn play_voice(&mut self, now: Time, speaker: PeerId, opus: &mut Vec<u8>) -> VoiceStep {
        let frame = self.playback_time(now);
        self.voice_player.get_or_insert_default().play(speaker, frame, opus)
    }

    /// Returns the server's time for the application: it is known from the join on, never goes
    /// backwards, and makes up for errors of its estimate without jumps.
    pub fn server_time(&mut self, now: Time) -> Time {
        self.clock.at(now, self.link.server_time(now))
    }

    /// Returns the number of messages that wait for [`Realtime::pop`], stale voice included.
    pub fn waiting(&self) -> usize {
        self.inbox.waiting()
    }

    /// Returns the counters of dropped messages.
    pub fn counters(&self) -> RealtimeCounters {
        let rejected: u64 = self.link.counters().rejected.iter().sum();
        let InboxCounters { replaced, not_taken, stale_voice } = self.inbox.counters();
        let rejected = self.earlier_rejected + rejected;
        let unsent = self.queue.dropped();
        RealtimeCounters { rejected, replaced, not_taken, stale_voice, unsent, ..self.counters }
    }

    /// Returns the server's time as messages are dated by it. What plays them evens out its jumps.
    fn playback_time(&mut self, now: Time) -> Time {
        let even = self.server_time(now);
        self.link.server_time(now).unwrap_or(even)
    }

    /// Returns what another process must know to continue the sequences of sent messages.
    pub fn sent_sequences(&self) -> SentSequences {
        SentSequences::of(self.sent.iter().map(|(key, stream)| (*key, *stream)))
    }

    /// Returns the link, for its clock, round-trip time and reports.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Appends a datagram with as many queued messages as fit, oldest first, and those that are sent
    /// again.
    fn flush(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        let (route, _) = self.link.route()?;
        let time = self.link.server_time(now).map(Time::as_wire_millis);
        let is_lossy = self.quality.is_lossy(now);
        let start = self.link.begin(now, out);
        let end = start + limits::HEADER + self.link.max_body();
        while let Some(message) = self.queue.front() {
            let mut frame = frame(message, 0, time);
            if out.len() + frame.encoded_len() > end {
                break;
            }
            self.sent_count += 1;
            let stream = self.sent.get_or(message.stream(), SentStream::default);
            frame.sequence = stream.next;
            *stream = SentStream { next: stream.next.wrapping_add(1), last_use: self.sent_count };
            let sequence = frame.sequence;
            frame.encode(out);
            self.queue.pop(now, sequence, time, is_lossy);
        }
        while let Some(sent) = self.queue.due_again(now) {
            let frame = frame(&sent.message, sent.sequence, sent.time);
            if out.len() + frame.encoded_len() > end {
                break;
            }
            frame.encode(out);
            self.queue.pop_again();
        }
        // A link that has used all packet numbers sends nothing until the client joins again.
        self.link.finish(now, out, start).ok().map(|()| route)
    }

    /// Handles a received message. If its sender is unknown, the message waits: the roster update
    /// that names the sender may still be on its way.
    fn take(&mut self, now: Time, slot: Slot, newest_wins: bool, message: MessageView<'_>) {
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
        self.held.push_back(HeldMessage {
            slot,
            until,
            newest_wins,
            message: message.to_message(),
        });
    }

    fn receive(&mut self, now: Time, slot: Slot, newest_wins: bool, message: MessageView<'_>) {
        let Some(sender) = self.senders.get_mut(&slot) else { return };
        if !sender.is_fresh(now, newest_wins, &message) {
            self.counters.superseded += 1;
            return;
        }
        let (peer, sequence, key) = (sender.peer, message.sequence, (message.channel, message.key));
        let times = message.captured.zip(message.age);
        let times = times.map(|(captured, age)| (captured, captured + age));
        if message.kind == MessageKind::Voice
            && let Some(voice) = Voice::parse(message.payload)
        {
            self.reports.on_voice(now, peer, &voice);
            if let (Some(player), Some((captured, arrived)), (0, 0)) =
                (&mut self.voice_player, times, key)
            {
                return player.add(peer, sequence, captured, arrived, &voice);
            }
        }
        if let (Some(poses), Some((captured, arrived)), MessageKind::Pose, true) =
            (&mut self.interpolator, times, message.kind, newest_wins)
            && let Ok((pose, _)) = Pose::parse(message.payload)
        {
            poses.add(peer, key, captured, arrived, pose);
        }
        self.inbox.deliver(newest_wins, &MessageView { from: peer, ..message });
    }

    fn drop_overdue(&mut self, now: Time) {
        // All messages wait equally long, so they are in the order of their deadlines.
        let overdue = self.held.iter().take_while(|held| held.until <= now).count();
        self.held.drain(..overdue);
        self.counters.unknown_sender += overdue as u64;
    }
}

/// Returns a queued message as it is written to a datagram.
fn frame(message: &OutgoingMessage, sequence: u16, time: Option<u16>) -> Message<'_> {
    Message {
        kind: message.kind,
        flags: if message.newest_wins { NEWEST_WINS } else { 0 },
        peer: message.target,
        channel: message.channel,
        key: message.key,
        sequence,
        time,
        payload: &message.payload,
    }
}

/// Returns a message of a datagram that arrived at `now`. Its `from` is not set yet.
fn arrived<'a>(message: &Message<'a>, now: Time, server_time: Option<Time>) -> MessageView<'a> {
    let age = server_time
        .zip(message.time)
        .map(|(server_time, time)| Duration::from_millis(server_time.capture_age(time).into()));
    MessageView {
        from: PeerId(0),
        kind: message.kind,
        channel: message.channel,
        key: message.key,
        sequence: message.sequence,
        age,
        captured: server_time.zip(age).map(|(server_time, age)| captured(server_time, age)),
        arrived: now,
        payload: message.payload,
    }
}

/// Returns the capture time of a message that arrived at `server_time`. `age` comes from the whole
/// milliseconds of both times, and so must the difference: then it is the time that the sender
/// wrote, whenever the message arrives.
fn captured(server_time: Time, age: Duration) -> Time {
    Time::from_millis(server_time.as_micros() / 1_000) - age
}
