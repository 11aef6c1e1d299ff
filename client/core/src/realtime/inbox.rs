//! The received messages that wait for the application.
//!
//! An application takes messages once a frame, and sometimes not for seconds. [`Inbox`] then keeps
//! what is still worth something:
//!
//! | class | messages | kept |
//! |---|---|---|
//! | newest | those with the flag "newest wins", except voice | the newest of each sender, kind, channel and key |
//! | voice | voice packets | the last [`VOICE_PACKETS`] of each speaker |
//! | other | all others | the last [`OTHER_MESSAGES`] of the room |
//!
//! All classes share one order, that of arrival. A message that replaces a waiting one takes its
//! position, so a sender with a high rate does not delay others and is not delayed itself.
//!
//! The newest pose of each key is kept after it was taken, for [`Inbox::poses`].
//!
//! Buffers are reused: once enough messages have waited at the same time, nothing is allocated.
//! Senders cannot make the inbox larger than the limits below: 900 bytes and some two hundred for
//! each message, so 8 MB for 50 hostile peers and 30 MB for 4,000.

use std::collections::HashMap;
use std::time::Duration;

use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::time::Time;

use super::lists::{IndexList, ListLinks};
use super::message::{MessageView, PeerPose, ReceivedMessage, StreamKey};
use super::sequences::KEYS_PER_SENDER;
use crate::roster::PeerId;

/// Newest-wins messages of one sender that are kept whatever other senders do: a pose, a pointer
/// and two more.
const OWN_KEYS_PER_SENDER: usize = 4;
/// Newest-wins messages that all senders together may keep beyond [`OWN_KEYS_PER_SENDER`]. That
/// many keys take 340 ms to arrive in the largest room (12,000 messages a second), and an
/// application that takes messages every frame leaves only poses here.
const SHARED_KEYS: usize = 4_096;
/// Waiting voice packets of one speaker: 320 ms in packets of 20 ms. A jitter buffer of an ordinary
/// network is shorter, so an older packet would only delay the newer ones.
const VOICE_PACKETS: usize = 16;
/// Waiting voice packets of all speakers: full queues of 256, twice as many speakers as a server
/// lets speak by default.
const ALL_VOICE_PACKETS: usize = 256 * VOICE_PACKETS;
/// Longest time that a voice packet waits for the application. After a longer hitch the listener
/// hears a gap instead of the past. Longer than [`VOICE_PACKETS`] of 20 ms; the limit is for
/// speakers with longer packets, and for a network that stopped together with the application.
const VOICE_WAIT: Duration = Duration::from_millis(400);
/// Other messages that wait: those of 170 ms in the largest room (12,000 messages a second), and of
/// two seconds of one sender at the rate to which a server limits it.
const OTHER_MESSAGES: usize = 2_048;

/// How messages of a kind wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageClass {
    Newest,
    Voice,
    Other,
}

impl MessageClass {
    const ALL: [MessageClass; 3] = [Self::Newest, Self::Voice, Self::Other];

    fn of(newest_wins: bool, kind: MessageKind) -> Self {
        match (kind, newest_wins) {
            // Every packet is a part of the sound, whatever the sender's flag says.
            (MessageKind::Voice, _) => Self::Voice,
            (_, true) => Self::Newest,
            (_, false) => Self::Other,
        }
    }

    /// Returns the most messages of one sender.
    fn limit_per_sender(self) -> usize {
        match self {
            Self::Newest => KEYS_PER_SENDER,
            Self::Voice => VOICE_PACKETS,
            Self::Other => OTHER_MESSAGES,
        }
    }

    /// Returns the most messages that all senders share.
    fn shared_limit(self) -> usize {
        match self {
            Self::Newest => SHARED_KEYS,
            Self::Voice => ALL_VOICE_PACKETS,
            Self::Other => OTHER_MESSAGES,
        }
    }
}

/// Counters of the messages that the application did not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InboxCounters {
    pub(super) replaced: u64,
    pub(super) not_taken: u64,
    pub(super) stale_voice: u64,
}

/// A place for a message. A free place keeps its buffer.
#[derive(Debug)]
struct StoredMessage {
    message: ReceivedMessage,
    class: MessageClass,
    /// Whether the application has not taken the message.
    is_waiting: bool,
    /// Whether the message is in the list of its class in [`Inbox::shared`].
    is_shared: bool,
    /// The position in [`Inbox::poses`] if this is the newest pose of a key.
    pose_position: usize,
}

impl StoredMessage {
    fn is_newest_pose(&self) -> bool {
        self.class == MessageClass::Newest && self.message.kind == MessageKind::Pose
    }
}

/// The stored messages of one sender.
#[derive(Debug, Default)]
struct SenderMessages {
    /// For each class, the messages in the order in which they arrived or were replaced.
    lists: [IndexList; 3],
    /// Messages of the class `Newest` that are not shared.
    own_keys: usize,
}

/// The received messages that wait for the application, and the newest poses.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    messages: Vec<StoredMessage>,
    free: Vec<u32>,
    /// The messages that the application has not taken, in the order of arrival.
    waiting: IndexList,
    waiting_links: ListLinks,
    senders: HashMap<PeerId, SenderMessages>,
    sender_links: ListLinks,
    /// For each class, the messages that count towards its shared limit, in the order in which
    /// they arrived or were replaced.
    shared: [IndexList; 3],
    shared_links: ListLinks,
    /// The messages of the class `Newest`.
    newest: HashMap<(PeerId, StreamKey), u32>,
    /// The newest poses.
    poses: Vec<u32>,
    counters: InboxCounters,
}

impl Inbox {
    /// Stores a message, which has no older sequence number than the stored one of its key.
    pub(super) fn deliver(&mut self, newest_wins: bool, message: &MessageView<'_>) {
        let class = MessageClass::of(newest_wins, message.kind);
        if class == MessageClass::Newest
            && let Some(index) = self.newest.get(&(message.from, message.stream()))
        {
            self.replace(*index, message);
        } else {
            self.store(class, message);
        }
    }

    /// Takes the next message in the order of arrival.
    pub(super) fn pop(&mut self, now: Time) -> Option<MessageView<'_>> {
        loop {
            let index = self.waiting.first()?;
            if !self.drop_stale_voice(now, index) {
                return Some(self.take(index));
            }
        }
    }

    /// Takes the oldest voice packet of one speaker.
    pub(super) fn pop_voice(&mut self, now: Time, speaker: PeerId) -> Option<MessageView<'_>> {
        loop {
            let index = self.first_of(speaker, MessageClass::Voice)?;
            if !self.drop_stale_voice(now, index) {
                return Some(self.take(index));
            }
        }
    }

    /// Iterates over the newest pose of each sender, channel and key.
    pub(super) fn poses(&self) -> impl Iterator<Item = PeerPose<'_>> {
        self.poses.iter().filter_map(|index| PeerPose::parse(self.view(*index)))
    }

    /// Returns the number of messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Removes the messages of a peer.
    pub(super) fn remove_peer(&mut self, peer: PeerId) {
        for class in MessageClass::ALL {
            while let Some(index) = self.first_of(peer, class) {
                self.remove(index);
            }
        }
        self.senders.remove(&peer);
    }

    /// Removes all messages. The counters stay.
    pub(super) fn clear(&mut self) {
        *self = Self { counters: self.counters, ..Self::default() };
    }

    pub(super) fn counters(&self) -> InboxCounters {
        self.counters
    }

    fn view(&self, index: u32) -> MessageView<'_> {
        self.messages[index as usize].message.view()
    }

    fn first_of(&self, peer: PeerId, class: MessageClass) -> Option<u32> {
        self.senders.get(&peer)?.lists[class as usize].first()
    }

    /// Replaces the stored message of a key. A message that waits keeps its position.
    fn replace(&mut self, index: u32, message: &MessageView<'_>) {
        let stored = &mut self.messages[index as usize];
        message.copy_to(&mut stored.message);
        if stored.is_waiting {
            self.counters.replaced += 1;
        } else {
            stored.is_waiting = true;
            self.waiting.push(&mut self.waiting_links, index);
        }
        let class = stored.class as usize;
        if stored.is_shared {
            self.shared[class].move_to_end(&mut self.shared_links, index);
        }
        if let Some(sender) = self.senders.get_mut(&message.from) {
            sender.lists[class].move_to_end(&mut self.sender_links, index);
        }
    }

    fn store(&mut self, class: MessageClass, message: &MessageView<'_>) {
        let is_own = self.make_room(class, message.from);
        let index = self.free_place();
        let sender = self.senders.entry(message.from).or_default();
        sender.lists[class as usize].push(&mut self.sender_links, index);
        self.waiting.push(&mut self.waiting_links, index);
        if is_own {
            sender.own_keys += 1;
        } else {
            self.shared[class as usize].push(&mut self.shared_links, index);
        }
        if class == MessageClass::Newest {
            self.newest.insert((message.from, message.stream()), index);
        }
        let stored = &mut self.messages[index as usize];
        message.copy_to(&mut stored.message);
        (stored.class, stored.is_waiting, stored.is_shared) = (class, true, !is_own);
        if stored.is_newest_pose() {
            stored.pose_position = self.poses.len();
            self.poses.push(index);
        }
    }

    /// Removes old messages until one more of this sender keeps the limits. Returns whether it is
    /// one of the sender's own keys.
    fn make_room(&mut self, class: MessageClass, from: PeerId) -> bool {
        let sender = self.senders.entry(from).or_default();
        let list = &sender.lists[class as usize];
        if list.len() >= class.limit_per_sender()
            && let Some(oldest) = list.first()
        {
            self.drop_for_room(oldest);
        }
        let own_keys = self.senders.get(&from).map_or(0, |sender| sender.own_keys);
        if class == MessageClass::Newest && own_keys < OWN_KEYS_PER_SENDER {
            return true;
        }
        let shared = &self.shared[class as usize];
        if shared.len() >= class.shared_limit()
            && let Some(oldest) = shared.first()
        {
            self.drop_for_room(oldest);
        }
        false
    }

    fn drop_for_room(&mut self, index: u32) {
        self.counters.not_taken += u64::from(self.messages[index as usize].is_waiting);
        self.remove(index);
    }

    /// Drops a voice packet that has waited for too long. Returns whether it did.
    fn drop_stale_voice(&mut self, now: Time, index: u32) -> bool {
        let StoredMessage { class, message, .. } = &self.messages[index as usize];
        let is_stale = *class == MessageClass::Voice && now.since(message.arrived) > VOICE_WAIT;
        if is_stale {
            self.counters.stale_voice += 1;
            self.remove(index);
        }
        is_stale
    }

    /// Returns a waiting message, which does not wait any longer. Only a newest pose stays stored.
    fn take(&mut self, index: u32) -> MessageView<'_> {
        let stored = &mut self.messages[index as usize];
        if stored.is_newest_pose() {
            stored.is_waiting = false;
            self.waiting.remove(&mut self.waiting_links, index);
        } else {
            self.remove(index);
        }
        // The content of a free place stays until the next message is stored.
        self.view(index)
    }

    /// Removes a stored message and frees its place.
    fn remove(&mut self, index: u32) {
        let stored = &self.messages[index as usize];
        let class = stored.class as usize;
        let (from, stream) = (stored.message.from, stored.message.view().stream());
        if stored.is_waiting {
            self.waiting.remove(&mut self.waiting_links, index);
        }
        if stored.is_shared {
            self.shared[class].remove(&mut self.shared_links, index);
        }
        if let Some(sender) = self.senders.get_mut(&from) {
            sender.lists[class].remove(&mut self.sender_links, index);
            sender.own_keys -= usize::from(!stored.is_shared);
        }
        if stored.class == MessageClass::Newest {
            self.newest.remove(&(from, stream));
        }
        if stored.is_newest_pose() {
            let position = stored.pose_position;
            self.poses.swap_remove(position);
            if let Some(moved) = self.poses.get(position) {
                self.messages[*moved as usize].pose_position = position;
            }
        }
        self.free.push(index);
    }

    fn free_place(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        let links = [&mut self.waiting_links, &mut self.sender_links, &mut self.shared_links];
        links.into_iter().for_each(ListLinks::grow);
        // The limits keep the number of places far below 2^32.
        let index = self.messages.len() as u32;
        self.messages.push(StoredMessage {
            message: ReceivedMessage::default(),
            class: MessageClass::Other,
            is_waiting: false,
            is_shared: false,
            pose_position: 0,
        });
        index
    }
}
