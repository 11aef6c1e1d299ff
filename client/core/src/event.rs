//! The events that a room delivers to the application.

use std::time::Duration;

use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::voice::{self, Voice};
use nucleus_protocol::session::{Code, EventDown, throttled};
use nucleus_protocol::time::Time;

use crate::moderation::Audit;
use crate::realtime::speaking::SpeakingChange;
use crate::realtime::{ConnectionQuality, MessageView, Realtime, RealtimeReport};
use crate::roster::{PeerId, PeerInfo, Presence, RosterChange};
use crate::rpc::RpcId;
use crate::sized::HeldBytes;
use crate::state::StateChange;

/// An event in a room, returned by `Room::next`.
///
/// The `age` of a realtime message is the time from its capture at the sender to its arrival at
/// this client, in steps of 1 ms. It is `None` until the clocks are synchronized, about one round
/// trip after the join.
///
/// The `captured` of a realtime message is the moment of its capture on the server's clock, in steps
/// of 1 ms. It can be compared with `Room::server_time` and with the capture times of other peers.
/// It is `None` until the clocks are synchronized.
///
/// Later versions may add events.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// A peer joined. The peers that were in the room before this client are not reported: see
    /// `Room::peers`.
    PeerJoined(PeerInfo),
    /// A peer left.
    PeerLeft {
        /// The peer as it was last known.
        peer: PeerInfo,
        /// The reason; `None` if this version does not know the code.
        code: Option<Code>,
    },
    /// A peer became away or present.
    PresenceChanged {
        /// The peer.
        peer: PeerId,
        /// The peer's new presence.
        presence: Presence,
    },
    /// A fresh token of the same user is wanted: hand it to `Room::renew`. Without one, a
    /// restart of the server after the ticket's end would end this room for the client.
    TokenWanted {
        /// How long the ticket still admits to another instance of the room; `None` if the client
        /// asks by itself, because a quarter of that time is left.
        within: Option<Duration>,
    },
    /// A peer's mute, self-mute or right to moderate changed. Also reported for this client itself.
    PeerChanged(PeerInfo),
    /// A peer started or stopped speaking, as derived from the headers of its voice packets.
    Speaking {
        /// The peer.
        peer: PeerId,
        /// Whether the peer speaks now.
        speaking: bool,
        /// Level of the newest packet in -dBov: 0 is loudest, 127 is silence.
        level: u8,
    },
    /// A peer's pose. An older pose is never returned after a newer one.
    Pose {
        /// The sender.
        from: PeerId,
        /// Head and hands.
        pose: Pose,
        /// Bytes that the sender added after the pose, for example buttons and fingers.
        rest: Vec<u8>,
        /// Time from capture to arrival, see [`RoomEvent`].
        age: Option<Duration>,
        /// Moment of the capture, see [`RoomEvent`].
        captured: Option<Time>,
    },
    /// A voice packet. Packets are returned in the order of arrival; the application's jitter
    /// buffer sorts them by `sequence`.
    Voice {
        /// The sender.
        from: PeerId,
        /// The packet.
        voice: VoicePacket,
        /// Sequence number of the sender's voice packets. 65,535 is followed by 0.
        sequence: u16,
        /// Time from capture to arrival, see [`RoomEvent`].
        age: Option<Duration>,
        /// Moment of the capture, see [`RoomEvent`].
        captured: Option<Time>,
    },
    /// A peer's pointer.
    Pointer {
        /// The sender.
        from: PeerId,
        /// The channel, chosen by the application.
        channel: u8,
        /// The pointer's number within the channel.
        key: u16,
        /// The application's data.
        payload: Vec<u8>,
        /// Time from capture to arrival, see [`RoomEvent`].
        age: Option<Duration>,
        /// Moment of the capture, see [`RoomEvent`].
        captured: Option<Time>,
    },
    /// An unreliable message.
    Message {
        /// The sender.
        from: PeerId,
        /// The channel, chosen by the application.
        channel: u8,
        /// The key within the channel, chosen by the application.
        key: u16,
        /// The application's data.
        payload: Vec<u8>,
        /// Sequence number of the sender's messages of this channel and key. 65,535 is followed by
        /// 0.
        sequence: u16,
        /// Time from capture to arrival, see [`RoomEvent`].
        age: Option<Duration>,
        /// Moment of the capture, see [`RoomEvent`].
        captured: Option<Time>,
    },
    /// A reliable event. Events are returned in the order in which the server took them.
    Event {
        /// The event's position in the order in which the room took events. Of two peers, both see
        /// the same numbers; numbers of events for others are missing. They begin anew after
        /// [`RoomEvent::Rejoined`].
        sequence: u64,
        /// The sender.
        from: PeerId,
        /// The channel, chosen by the application.
        channel: u8,
        /// The application's data.
        payload: Vec<u8>,
    },
    /// A reliable event that names its type. Typed events are in one order with [`RoomEvent::Event`].
    TypedEvent {
        /// The event's position, as in [`RoomEvent::Event`].
        sequence: u64,
        /// The sender.
        from: PeerId,
        /// The type, chosen by the application: 1 to 64 bytes of text.
        event_type: String,
        /// The application's data.
        payload: Vec<u8>,
    },
    /// A peer asks this client for an answer: give it with `Room::answer_rpc`. Requests are in one
    /// order with [`RoomEvent::Event`]. A request whose caller does not wait any more is not
    /// returned.
    RpcRequest {
        /// Names the request in the answer.
        id: RpcId,
        /// The caller.
        from: PeerId,
        /// What this client is to do, chosen by the application: 1 to 64 bytes of text.
        method: String,
        /// The application's data.
        payload: Vec<u8>,
        /// How long the caller still waits. The time of the way is not counted.
        timeout: Duration,
    },
    /// A complete message of the bulk lane. Bulk messages are returned in the order in which the
    /// server took their last pieces. An event may overtake a bulk message.
    Bulk {
        /// The sender.
        from: PeerId,
        /// The channel, chosen by the application.
        channel: u8,
        /// The application's data, at most 64 KiB.
        payload: Vec<u8>,
    },
    /// A moderator has acted. A peer that is kicked receives this event before its session ends.
    Moderated(Audit),
    /// The server delays or drops messages of this client. Reported at most once a second for each
    /// kind. Drops in this client's own queues are counted in `Room::stats`.
    Throttled(Throttle),
    /// The room's shared state changed. Changes are returned in the order in which the server took
    /// them. After the join, the existing state is reported as if it had just been created. An
    /// object may be reported before the [`RoomEvent::PeerJoined`] of its owner.
    ///
    /// State changes and reliable events are not ordered among each other. If an event depends on a
    /// change, put the version that `Room::change` returned into the event,
    /// and let the receiver wait for that version.
    State(StateChange),
    /// The session was lost, and the client tries to resume it. Events that are sent in the
    /// meantime are queued. [`RoomEvent::Resumed`], [`RoomEvent::Rejoined`] or
    /// [`RoomEvent::Closed`] follows.
    Interrupted {
        /// The reason that the server gave; `None` if the connection was lost without one.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
    /// The session was resumed, and this client is the same peer as before. The changes of the
    /// roster, the missed events and the changes of the shared state follow.
    Resumed {
        /// Whether some of the oldest missed events are lost, because the server no longer has
        /// them.
        missed_events: bool,
    },
    /// The room was joined again as a new peer, because the server no longer had this participant:
    /// the client came back too late, or the server had restarted. The changes of the roster
    /// follow.
    ///
    /// If the room is a new instance (after a restart of the server, for example), all peers have
    /// new ids: each earlier peer is reported as left without a code. The old shared state is
    /// reported as deleted, and the state of the new instance follows.
    Rejoined {
        /// The new peer id of this client.
        me: PeerId,
    },
    /// The server's clock is another one, because the server was started again or is another one.
    /// Times from before cannot be compared with those from now on, see `Room::server_time`.
    ClockChanged,
    /// Realtime messages changed their path. `true`: the realtime port stopped answering, and
    /// realtime messages travel inside the session. `false`: the realtime port answers again.
    Fallback(bool),
    /// The connection became better or worse, for an indicator. Reported after a few seconds with
    /// the new quality, and a lost session at once; of a quality other than excellent at the start
    /// too. `Room::connection` has the figures.
    Quality(ConnectionQuality),
    /// The room is closed. This is the last event.
    Closed {
        /// The reason that the server or this client gave; `None` if the connection was lost
        /// without one.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
}

/// A kind of message that the server delays or drops because this client exceeds a limit. Later versions
/// may add kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Throttle {
    /// Events are delayed. Default limits, on average: 200 events and 64 KiB a second from one
    /// peer, 1,000 events and 512 KiB a second from all peers of the room.
    Events,
    /// Bulk messages are delayed. Default limit: 64 KiB a second on average.
    Bulk,
    /// Requests are delayed. Limit: 30 a second on average.
    Requests,
    /// Realtime messages were dropped. Limits: 1,000 messages and 256 KiB a second.
    Realtime,
    /// Voice was dropped because the largest number of peers that may speak at the same time was
    /// reached.
    SpeakerLimit,
    /// Voice was dropped because this client is muted.
    Muted,
}

impl Throttle {
    /// Converts a number from the wire. Returns `None` for a number that this version does not
    /// know.
    pub fn from_wire(what: u8) -> Option<Self> {
        Some(match what {
            throttled::EVENTS => Throttle::Events,
            throttled::BULK => Throttle::Bulk,
            throttled::REQUESTS => Throttle::Requests,
            throttled::REALTIME => Throttle::Realtime,
            throttled::SPEAKERS => Throttle::SpeakerLimit,
            throttled::MUTED => Throttle::Muted,
            _ => return None,
        })
    }
}

/// An Opus packet with the properties that are known without decoding it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoicePacket {
    /// Level in -dBov (RFC 6464): 0 is loudest, 127 is silence.
    pub level: u8,
    /// Whether the sender's encoder detected a voice.
    pub speaking: bool,
    /// Whether this is the first packet of a talk spurt.
    pub spurt_start: bool,
    /// Whether the Opus packet is encrypted end to end.
    pub end_to_end: bool,
    /// The Opus packet itself.
    pub opus: Vec<u8>,
}

impl From<Voice<'_>> for VoicePacket {
    fn from(voice: Voice<'_>) -> Self {
        Self {
            level: voice.level,
            speaking: voice.speaking,
            spurt_start: voice.flags & voice::SPURT_START != 0,
            end_to_end: voice.flags & voice::END_TO_END != 0,
            opus: voice.opus.to_vec(),
        }
    }
}

/// Of the events that wait in the queue of a room. Those of the realtime plane wait elsewhere.
impl HeldBytes for RoomEvent {
    fn held_bytes(&self) -> usize {
        match self {
            RoomEvent::Event { payload, .. } | RoomEvent::Bulk { payload, .. } => payload.len(),
            RoomEvent::TypedEvent { event_type: name, payload, .. }
            | RoomEvent::RpcRequest { method: name, payload, .. } => name.len() + payload.len(),
            RoomEvent::State(change) => change.bytes(),
            RoomEvent::PeerJoined(peer)
            | RoomEvent::PeerLeft { peer, .. }
            | RoomEvent::PeerChanged(peer) => peer.held_bytes(),
            RoomEvent::Moderated(audit) => audit.user.len(),
            RoomEvent::Interrupted { text, .. } | RoomEvent::Closed { text, .. } => text.len(),
            _ => 0,
        }
    }
}

impl From<RosterChange> for RoomEvent {
    fn from(change: RosterChange) -> Self {
        match change {
            RosterChange::Joined(peer) => RoomEvent::PeerJoined(peer),
            RosterChange::Left { peer, code } => RoomEvent::PeerLeft { peer, code },
            RosterChange::Changed(peer) => RoomEvent::PeerChanged(peer),
            RosterChange::Presence { peer, presence } => {
                RoomEvent::PresenceChanged { peer, presence }
            }
        }
    }
}

impl From<EventDown> for RoomEvent {
    fn from(event: EventDown) -> Self {
        let EventDown { peer, sequence, channel, payload, .. } = event;
        RoomEvent::Event { sequence, from: PeerId(peer), channel, payload }
    }
}

/// Takes the next event of the realtime plane: a report, or a received message. Poses are dropped if the
/// application does not want them as events.
pub fn next_realtime_event(
    realtime: &mut Realtime,
    now: Time,
    wants_poses: bool,
) -> Option<RoomEvent> {
    match realtime.take_report() {
        Some(RealtimeReport::Fallback(on_fallback)) => {
            return Some(RoomEvent::Fallback(on_fallback));
        }
        Some(RealtimeReport::Quality(quality)) => return Some(RoomEvent::Quality(quality)),
        Some(RealtimeReport::Speaking(SpeakingChange { peer, speaking, level })) => {
            return Some(RoomEvent::Speaking { peer, speaking, level });
        }
        None => {}
    }
    loop {
        let message = realtime.pop(now)?;
        if message.kind == MessageKind::Pose && !wants_poses {
            continue;
        }
        // A malformed pose or voice packet is no event.
        if let Some(event) = realtime_event(message) {
            return Some(event);
        }
    }
}

/// Converts a received message. Copies only the part of the payload that the event has. Returns
/// `None` for an invalid pose or voice packet.
pub fn realtime_event(received: MessageView<'_>) -> Option<RoomEvent> {
    let MessageView { from, kind, channel, key, sequence, age, captured, payload, .. } = received;
    Some(match kind {
        MessageKind::Pose => {
            let (pose, rest) = Pose::parse(payload).ok()?;
            RoomEvent::Pose { from, pose, rest: rest.to_vec(), age, captured }
        }
        MessageKind::Voice => {
            let voice = Voice::parse(payload)?.into();
            RoomEvent::Voice { from, voice, sequence, age, captured }
        }
        MessageKind::Pointer => {
            let payload = payload.to_vec();
            RoomEvent::Pointer { from, channel, key, payload, age, captured }
        }
        MessageKind::Unreliable => {
            let payload = payload.to_vec();
            RoomEvent::Message { from, channel, key, payload, sequence, age, captured }
        }
    })
}
