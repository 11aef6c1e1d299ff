//! What an application hears from its room.

use std::time::Duration;

use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::voice::{self, Voice};
use nucleus_protocol::session::{Code, EventDown, throttled};

use crate::moderation::Audit;
use crate::realtime::Received;
use crate::roster::{PeerId, PeerInfo, Presence, RosterChange};
use crate::state::StateChange;

/// Something happened in the room.
///
/// Ages run from a message's capture at its sender to its arrival here, in steps of 1 ms; `None`
/// until the clocks are in step, about one round trip after the join.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomEvent {
    /// A peer is new. Who was there before is in [`crate::Room::peers`].
    PeerJoined(PeerInfo),
    /// A peer is gone.
    PeerLeft {
        /// Who it was.
        peer: PeerInfo,
        /// Why, when this version knows the code.
        code: Option<Code>,
    },
    /// A peer is away, or back.
    PresenceChanged {
        /// Who.
        peer: PeerId,
        /// What it is now.
        presence: Presence,
    },
    /// A peer was muted, has muted itself, or may moderate now; or not any more. This client hears it of
    /// itself, too.
    PeerChanged(PeerInfo),
    /// A peer begins to speak, or has stopped: from the level in front of its voice packets.
    Speaking {
        /// Who.
        peer: PeerId,
        /// It speaks.
        speaking: bool,
        /// Loudness of the newest packet in -dBov: 0 is loudest, 127 silence.
        level: u8,
    },
    /// A peer moved; older poses never follow newer ones.
    Pose {
        /// Who.
        from: PeerId,
        /// Head and hands.
        pose: Pose,
        /// What the sender put behind the pose: buttons, fingers.
        rest: Vec<u8>,
        /// See above.
        age: Option<Duration>,
    },
    /// A peer speaks. Packets come as the network brings them: a jitter buffer sorts them by
    /// `sequence`.
    Voice {
        /// Who.
        from: PeerId,
        /// The packet.
        voice: VoicePacket,
        /// Counts the sender's packets, wrapping.
        sequence: u16,
        /// See above.
        age: Option<Duration>,
    },
    /// A peer's pointer moved.
    Pointer {
        /// Who.
        from: PeerId,
        /// The application's channel.
        channel: u8,
        /// Which pointer.
        key: u16,
        /// The application's own.
        payload: Vec<u8>,
        /// See above.
        age: Option<Duration>,
    },
    /// An unreliable message.
    Message {
        /// Who sent it.
        from: PeerId,
        /// The application's channel.
        channel: u8,
        /// The application's key within the channel.
        key: u16,
        /// The application's own.
        payload: Vec<u8>,
        /// Counts the sender's messages of this channel and key, wrapping.
        sequence: u16,
        /// See above.
        age: Option<Duration>,
    },
    /// A reliable event, in the order in which the room's server took them.
    Event {
        /// Who sent it.
        from: PeerId,
        /// The application's channel.
        channel: u8,
        /// The application's own.
        payload: Vec<u8>,
    },
    /// A message of the bulk lane, whole, in the order in which the room's server took their ends. An
    /// event may overtake it.
    Bulk {
        /// Who sent it.
        from: PeerId,
        /// The application's channel.
        channel: u8,
        /// The application's own, at most 64 KiB.
        payload: Vec<u8>,
    },
    /// A moderator has done something; whom it puts out hears of it first.
    Moderated(Audit),
    /// The server holds back or drops some of what this client says; told at most once a second for
    /// each. What this client's own queues dropped is in [`crate::Room::stats`].
    Throttled(Throttle),
    /// The room's shared state changed, in the order in which its server took the changes. After the
    /// join what is there comes as if it had just been made.
    ///
    /// An event may come before a change that was made before it: name the version that
    /// [`Room::change`](crate::Room::change) gave in the event, and wait for it, where that matters.
    State(StateChange),
    /// The session was lost; it is being taken up again. Events sent meanwhile go out afterwards.
    Interrupted {
        /// Why, when the server said so; `None` when the connection was lost.
        code: Option<Code>,
        /// The same for a person.
        text: String,
    },
    /// The session is back, as the same peer. What changed in the roster follows, and the events that
    /// were missed; and, once the server has told the state anew, what changed in it.
    Resumed {
        /// The oldest of the missed events are not to be had any more.
        missed_events: bool,
    },
    /// The room was joined anew, as another peer, because the place was gone: too late, or the
    /// server had restarted. What changed in the roster follows: in another instance of the room
    /// everybody is somebody new, and who was there before has left without a code; its state is
    /// gone, and the new one's follows.
    Rejoined {
        /// This client's new number.
        me: PeerId,
    },
    /// The realtime port does not answer and its messages travel inside the session (`true`), or it
    /// answers again.
    Fallback(bool),
    /// The session is over; nothing follows.
    Closed {
        /// Why, when the server or this client said so; `None` when the connection was lost.
        code: Option<Code>,
        /// The same for a person.
        text: String,
    },
}

/// What the server takes less of than this client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Events are read more slowly than they come: where the operator has not set it otherwise, 200 a
    /// second and 64 KiB on average, and 1,000 and 512 KiB from everybody in the room.
    Events,
    /// So are the pieces of the bulk lane: 64 KiB a second on average.
    Bulk,
    /// So are requests: 30 a second on average.
    Requests,
    /// Realtime messages were dropped: over 1,000 a second, or 256 KiB.
    Realtime,
    /// Voice was dropped: as many as may speak at once did.
    Floor,
    /// Voice was dropped: this peer is muted.
    Muted,
}

impl Throttle {
    /// `None` for one that a later version may know.
    pub(crate) fn from_wire(what: u8) -> Option<Self> {
        Some(match what {
            throttled::EVENTS => Throttle::Events,
            throttled::BULK => Throttle::Bulk,
            throttled::REQUESTS => Throttle::Requests,
            throttled::REALTIME => Throttle::Realtime,
            throttled::SPEAKERS => Throttle::Floor,
            throttled::MUTED => Throttle::Muted,
            _ => return None,
        })
    }
}

/// An Opus packet with what can be known of it without decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoicePacket {
    /// Loudness in -dBov: 0 is loudest, 127 silence (RFC 6464).
    pub level: u8,
    /// The encoder hears a voice.
    pub speaking: bool,
    /// The first packet of a talk spurt.
    pub spurt_start: bool,
    /// The Opus packet is encrypted end to end.
    pub end_to_end: bool,
    /// The Opus packet.
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
        let EventDown { peer, channel, payload, .. } = event;
        RoomEvent::Event { from: PeerId(peer), channel, payload }
    }
}

/// `None` when a peer sent a pose or voice packet that is none.
pub(crate) fn realtime_event(received: Received) -> Option<RoomEvent> {
    let Received { from, kind, channel, key, sequence, age, payload } = received;
    Some(match kind {
        MessageKind::Pose => {
            let (pose, rest) = Pose::parse(&payload).ok()?;
            RoomEvent::Pose { from, pose, rest: rest.to_vec(), age }
        }
        MessageKind::Voice => {
            let voice = Voice::parse(&payload)?.into();
            RoomEvent::Voice { from, voice, sequence, age }
        }
        MessageKind::Pointer => RoomEvent::Pointer { from, channel, key, payload, age },
        MessageKind::Unreliable => {
            RoomEvent::Message { from, channel, key, payload, sequence, age }
        }
    })
}
