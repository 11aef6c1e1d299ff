//! Turns the events of rooms and social sessions into those of the ABI.

use std::time::Duration;

use nucleus_client::state::Ownership;
use nucleus_client::{
    Certainty, Code, ConnectionQuality, EntityId, ModerationAct, ObjectMode, PeerId, PeerInfo,
    Presence, RoomEvent, ShownPose, Social, SocialEvent, StateChange, Status, Throttle, Time,
    Transform, UserInfo, Value, VoicePacket,
};

use crate::event::{NcEvent, NcEventKind, NcThrottle};
use crate::failure::{Failure, code_number};
use crate::types::{NcBytes, NcValue, NcValueKind};
use crate::types_room::{
    NcCertainty, NcEntity, NcObjectMode, NcPeerFlag, NcPose, NcQuality, NcScope, NcShownPose,
    NcStatus, NcTransform, NcVoiceFlag,
};

/// An event with the bytes that it points to.
pub(crate) struct OwnedEvent {
    /// The event. Its pointers are not set before [`OwnedEvent::point`].
    pub(crate) event: NcEvent,
    name: Vec<u8>,
    payload: Vec<u8>,
    value: Vec<u8>,
}

impl OwnedEvent {
    pub(crate) fn new(kind: NcEventKind) -> Self {
        let event = NcEvent::new(kind);
        Self { event, name: Vec::new(), payload: Vec::new(), value: Vec::new() }
    }

    /// Returns the event with pointers to the bytes that it owns. They are valid as long as it lives,
    /// also if it is moved.
    pub(crate) fn point(&self) -> NcEvent {
        NcEvent {
            name: view(&self.name),
            payload: view(&self.payload),
            value: NcValue { bytes: view(&self.value), ..self.event.value },
            ..self.event
        }
    }

    /// Sets how something has failed.
    pub(crate) fn failed(mut self, failure: Failure) -> Self {
        self.event.result = failure.result as i32;
        self.event.code = if failure.code == 0 { -1 } else { failure.code.into() };
        if failure.retry_after_ms > 0 {
            self.event.duration_ms = i64::try_from(failure.retry_after_ms).unwrap_or(i64::MAX);
        }
        self.payload(failure.text.into_owned())
    }

    /// Sets the room or social session in which it has happened.
    pub(crate) fn of(mut self, handle: u64) -> Self {
        self.event.handle = handle;
        self
    }

    pub(crate) fn named(mut self, name: impl Into<Vec<u8>>) -> Self {
        self.name = name.into();
        self
    }

    pub(crate) fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    fn valued(mut self, value: Option<Value>) -> Self {
        (self.event.value, self.value) = from_value(value);
        self
    }

    fn timed(mut self, captured: Option<Time>, age: Option<Duration>) -> Self {
        self.event.captured_us = captured.map_or(-1, micros);
        self.event.age_us = age.map_or(-1, |age| age.as_micros() as i64);
        self
    }

    fn ended(mut self, code: Option<Code>, text: String) -> Self {
        self.event.code = code_number(code);
        self.payload(text)
    }
}

fn view(bytes: &[u8]) -> NcBytes {
    if bytes.is_empty() {
        return NcBytes::NONE;
    }
    NcBytes { data: bytes.as_ptr(), len: u32::try_from(bytes.len()).unwrap_or(0) }
}

/// Returns a time in us.
pub(crate) fn micros(time: Time) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn number(peer: Option<PeerId>) -> u32 {
    peer.map_or(0, |peer| peer.0)
}

/// Returns a value without its bytes, and its bytes.
pub(crate) fn from_value(value: Option<Value>) -> (NcValue, Vec<u8>) {
    let of = |kind: NcValueKind| NcValue { kind: kind as u32, ..NcValue::default() };
    match value {
        None => (of(NcValueKind::None), Vec::new()),
        Some(Value::Bool(value)) => {
            (NcValue { integer: value.into(), ..of(NcValueKind::Bool) }, Vec::new())
        }
        Some(Value::Integer(integer)) => {
            (NcValue { integer, ..of(NcValueKind::Integer) }, Vec::new())
        }
        Some(Value::Float(number)) => (NcValue { number, ..of(NcValueKind::Float) }, Vec::new()),
        Some(Value::Text(text)) => (of(NcValueKind::Text), text.into_bytes()),
        Some(Value::Bytes(bytes)) => (of(NcValueKind::Bytes), bytes),
    }
}

fn entity(id: EntityId) -> NcEntity {
    let (scope, id) = match id {
        EntityId::Room => (NcScope::Room, 0),
        EntityId::Peer(peer) => (NcScope::Peer, peer.0.into()),
        EntityId::Object(object) => (NcScope::Object, object.0),
    };
    NcEntity { scope: scope as u32, reserved: 0, id }
}

pub(crate) fn object_mode(mode: ObjectMode) -> u32 {
    let ownership = match mode.ownership {
        Ownership::Fixed => NcObjectMode::Fixed,
        Ownership::Ask => NcObjectMode::Ask,
        Ownership::Take => NcObjectMode::Take,
    };
    let stays = if mode.with_room { NcObjectMode::WithRoom as u32 } else { 0 };
    ownership as u32 | stays
}

fn flag(is_set: bool, flag: u32) -> u32 {
    if is_set { flag } else { 0 }
}

fn presence_flag(presence: Presence) -> u32 {
    flag(presence == Presence::Away, NcPeerFlag::Away as u32)
}

pub(crate) fn peer_flags(peer: &PeerInfo) -> u32 {
    presence_flag(peer.presence)
        | flag(peer.muted, NcPeerFlag::Muted as u32)
        | flag(peer.self_muted, NcPeerFlag::SelfMuted as u32)
        | flag(peer.moderator, NcPeerFlag::Moderator as u32)
}

pub(crate) fn quality(quality: ConnectionQuality) -> u32 {
    let quality = match quality {
        ConnectionQuality::Excellent => NcQuality::Excellent,
        ConnectionQuality::Good => NcQuality::Good,
        ConnectionQuality::Poor => NcQuality::Poor,
        ConnectionQuality::Lost => NcQuality::Lost,
        // A quality of a later version is not known here.
        _ => NcQuality::Unknown,
    };
    quality as u32
}

/// Returns a shown pose.
pub(crate) fn shown_pose(shown: &ShownPose) -> NcShownPose {
    let part = |part: Transform| NcTransform { position: part.position, rotation: part.rotation };
    let pose = shown.pose;
    let certainty = match shown.certainty {
        Certainty::Interpolated => NcCertainty::Interpolated,
        Certainty::Extrapolated => NcCertainty::Extrapolated,
        _ => NcCertainty::Held,
    };
    NcShownPose {
        peer: shown.from.0,
        key: shown.key.into(),
        pose: NcPose {
            head: part(pose.head),
            left: pose.left.map(part).unwrap_or_default(),
            right: pose.right.map(part).unwrap_or_default(),
            has_left: pose.left.is_some().into(),
            has_right: pose.right.is_some().into(),
        },
        certainty: certainty as u32,
        channel: shown.channel.into(),
        shown_us: micros(shown.shown),
        newest_us: micros(shown.newest),
    }
}

/// Returns the event that a peer is in the room.
pub(crate) fn peer_joined(peer: PeerInfo) -> OwnedEvent {
    let mut event = OwnedEvent::new(NcEventKind::PeerJoined);
    (event.event.peer, event.event.flags) = (peer.id.0, peer_flags(&peer));
    event.named(peer.name)
}

/// Returns the event that something of a peer has changed.
pub(crate) fn peer_changed(peer: &PeerInfo) -> OwnedEvent {
    let mut event = OwnedEvent::new(NcEventKind::PeerChanged);
    (event.event.peer, event.event.flags) = (peer.id.0, peer_flags(peer));
    event
}

/// Converts an event of a room. `None`: this library does not know it.
pub(crate) fn room_event(event: RoomEvent) -> Option<OwnedEvent> {
    use NcEventKind as Kind;
    let by_peer = |kind: Kind, peer: PeerId| {
        let mut owned = OwnedEvent::new(kind);
        owned.event.peer = peer.0;
        owned
    };
    let flagged = |kind: Kind, flags: u32| {
        let mut owned = OwnedEvent::new(kind);
        owned.event.flags = flags;
        owned
    };
    let realtime = |kind: Kind, from: PeerId, channel: u8, key: u16, sequence: u64| {
        let mut owned = by_peer(kind, from);
        owned.event.channel = channel.into();
        owned.event.key = key.into();
        owned.event.sequence = sequence;
        owned
    };
    Some(match event {
        RoomEvent::PeerJoined(peer) => peer_joined(peer),
        RoomEvent::PeerLeft { peer, code } => {
            let mut owned = by_peer(Kind::PeerLeft, peer.id).named(peer.name);
            owned.event.code = code_number(code);
            owned
        }
        RoomEvent::PeerChanged(peer) => peer_changed(&peer),
        RoomEvent::TokenWanted { within } => {
            let mut owned = OwnedEvent::new(Kind::TokenWanted);
            owned.event.duration_ms = within.map_or(-1, millis);
            owned
        }
        RoomEvent::Speaking { peer, speaking, level } => {
            let mut owned = by_peer(Kind::Speaking, peer);
            (owned.event.flags, owned.event.key) = (speaking.into(), level.into());
            owned
        }
        RoomEvent::Voice { from, voice, sequence, age, captured } => {
            let VoicePacket { level, speaking, spurt_start, end_to_end, opus } = voice;
            let mut owned = realtime(Kind::Voice, from, 0, level.into(), sequence.into());
            owned.event.flags = flag(speaking, NcVoiceFlag::Speaking as u32)
                | flag(spurt_start, NcVoiceFlag::SpurtStart as u32)
                | flag(end_to_end, NcVoiceFlag::EndToEnd as u32);
            owned.timed(captured, age).payload(opus)
        }
        RoomEvent::Pointer { from, channel, key, payload, age, captured } => {
            realtime(Kind::Pointer, from, channel, key, 0).timed(captured, age).payload(payload)
        }
        RoomEvent::Message { from, channel, key, payload, sequence, age, captured } => {
            let owned = realtime(Kind::Message, from, channel, key, sequence.into());
            owned.timed(captured, age).payload(payload)
        }
        RoomEvent::Event { sequence, from, channel, payload } => {
            realtime(Kind::Event, from, channel, 0, sequence).payload(payload)
        }
        RoomEvent::Bulk { from, channel, payload } => {
            realtime(Kind::Bulk, from, channel, 0, 0).payload(payload)
        }
        RoomEvent::TypedEvent { sequence, from, event_type, payload } => {
            realtime(Kind::TypedEvent, from, 0, 0, sequence).named(event_type).payload(payload)
        }
        RoomEvent::RpcRequest { id, from, method, payload, timeout } => {
            let mut owned = by_peer(Kind::RpcRequest, from).named(method).payload(payload);
            (owned.event.id, owned.event.duration_ms) = (id.0, millis(timeout));
            owned
        }
        RoomEvent::Moderated(audit) => {
            let mut owned = OwnedEvent::new(Kind::Moderated);
            (owned.event.by, owned.event.peer) = (audit.by.0, number(audit.peer));
            owned.event.key = act_number(audit.act);
            owned.event.duration_ms = millis(audit.ban);
            owned.named(audit.user)
        }
        RoomEvent::Throttled(throttle) => {
            let mut owned = OwnedEvent::new(Kind::Throttled);
            owned.event.key = throttle_number(throttle);
            owned
        }
        RoomEvent::State(change) => state_change(change),
        RoomEvent::Interrupted { code, text } => {
            OwnedEvent::new(Kind::Interrupted).ended(code, text)
        }
        RoomEvent::Resumed { missed_events } => flagged(Kind::Resumed, missed_events.into()),
        RoomEvent::Rejoined { me } => by_peer(Kind::Rejoined, me),
        RoomEvent::ClockChanged => OwnedEvent::new(Kind::ClockChanged),
        RoomEvent::Fallback(on_fallback) => flagged(Kind::Fallback, on_fallback.into()),
        RoomEvent::Quality(new) => flagged(Kind::Quality, quality(new)),
        RoomEvent::Closed { code, text } => OwnedEvent::new(Kind::Closed).ended(code, text),
        _ => return None,
    })
}

fn state_change(change: StateChange) -> OwnedEvent {
    use NcEventKind as Kind;
    let about = |kind: Kind, of: EntityId, by: Option<PeerId>| {
        let mut owned = OwnedEvent::new(kind);
        owned.event.entity = entity(of);
        owned.event.by = number(by);
        if let EntityId::Object(object) = of {
            owned.event.id = object.0;
        }
        owned
    };
    match change {
        StateChange::Field { entity, key, value, by } => {
            about(Kind::FieldChanged, entity, by).named(key).valued(value)
        }
        StateChange::Created { object, owner, mode, by } => {
            let mut owned = about(Kind::ObjectCreated, object.into(), by);
            (owned.event.peer, owned.event.flags) = (number(owner), object_mode(mode));
            owned
        }
        StateChange::Deleted { entity, by } => about(Kind::Deleted, entity, by),
        StateChange::Owner { object, owner, by } => {
            let mut owned = about(Kind::OwnerChanged, object.into(), by);
            owned.event.peer = number(owner);
            owned
        }
        StateChange::Claimed { object, by } => about(Kind::Claimed, object.into(), Some(by)),
        StateChange::Host { host } => {
            let mut owned = OwnedEvent::new(Kind::HostChanged);
            owned.event.peer = number(host);
            owned
        }
    }
}

fn act_number(act: ModerationAct) -> u32 {
    use crate::types_room::NcAct;
    let act = match act {
        ModerationAct::Kick => NcAct::Kick,
        ModerationAct::Lock => NcAct::Lock,
        ModerationAct::Unlock => NcAct::Unlock,
        ModerationAct::Hide => NcAct::Hide,
        ModerationAct::Show => NcAct::Show,
        ModerationAct::Mute => NcAct::Mute,
        ModerationAct::Unmute => NcAct::Unmute,
        ModerationAct::MuteAll => NcAct::MuteAll,
        ModerationAct::UnmuteAll => NcAct::UnmuteAll,
        ModerationAct::Clear => NcAct::Clear,
        ModerationAct::HandOver => NcAct::HandOver,
        ModerationAct::End => NcAct::End,
        ModerationAct::Other(number) => return number.into(),
    };
    act as u32
}

fn throttle_number(throttle: Throttle) -> u32 {
    let throttle = match throttle {
        Throttle::Events => NcThrottle::Events,
        Throttle::Bulk => NcThrottle::Bulk,
        Throttle::Requests => NcThrottle::Requests,
        Throttle::Realtime => NcThrottle::Realtime,
        Throttle::SpeakerLimit => NcThrottle::SpeakerLimit,
        Throttle::Muted => NcThrottle::Muted,
        _ => NcThrottle::Other,
    };
    throttle as u32
}

/// Converts an event of a social session into several of the ABI.
pub(crate) fn social_event(event: SocialEvent, social: &Social, mut push: impl FnMut(OwnedEvent)) {
    use NcEventKind as Kind;
    let named = |kind: Kind, name: String| OwnedEvent::new(kind).named(name);
    let of_call = |kind: Kind, call: nucleus_client::CallId, code: Option<Code>| {
        let mut owned = OwnedEvent::new(kind);
        (owned.event.id, owned.event.code) = (call.0, code_number(code));
        owned
    };
    match event {
        SocialEvent::Rooms { changed, gone, .. } => {
            gone.into_iter().for_each(|room| push(named(Kind::RoomGone, room)));
            let rooms = social.rooms();
            for room in rooms.into_iter().filter(|room| changed.contains(&room.name)) {
                let mut owned = named(Kind::RoomListed, room.name);
                owned.event.flags = flag(room.locked, 1) | flag(room.password, 2);
                owned.event.key = room.peers.into();
                owned.event.channel = room.capacity.into();
                push(owned);
                for (key, value) in room.fields {
                    push(named(Kind::RoomField, key).valued(Some(value)));
                }
            }
        }
        SocialEvent::Users { changed, gone, .. } => {
            gone.into_iter().for_each(|user| push(named(Kind::UserGone, user)));
            for UserInfo { user, name, status, .. } in changed {
                let mut owned = named(Kind::UserChanged, user).payload(name);
                owned.event.flags = match status {
                    Status::Online => NcStatus::Online,
                    Status::Busy => NcStatus::Busy,
                    Status::Away => NcStatus::Away,
                } as u32;
                push(owned);
            }
        }
        SocialEvent::Incoming { call, from, text, .. } => {
            push(of_call(Kind::CallIncoming, call, None).named(from).payload(text));
        }
        SocialEvent::RingingEnded { call, code } => push(of_call(Kind::RingingEnded, call, code)),
        SocialEvent::Calling { call, .. } => push(of_call(Kind::Calling, call, None)),
        SocialEvent::Accepted { call, room, this_device, .. } => {
            let mut owned = of_call(Kind::CallAccepted, call, None).named(room);
            owned.event.flags = this_device.into();
            push(owned);
        }
        SocialEvent::MemberJoined { call, user, name } => {
            push(of_call(Kind::MemberJoined, call, None).named(user).payload(name));
        }
        SocialEvent::MemberLeft { call, user, code } => {
            push(of_call(Kind::MemberLeft, call, code).named(user));
        }
        SocialEvent::Passed { call, user, code } => {
            push(of_call(Kind::MemberPassed, call, code).named(user));
        }
        SocialEvent::Ended { call, code } => push(of_call(Kind::CallEnded, call, code)),
        SocialEvent::Interrupted { code, text } => {
            push(OwnedEvent::new(Kind::Interrupted).ended(code, text));
        }
        SocialEvent::Returned => push(OwnedEvent::new(Kind::Returned)),
        SocialEvent::Closed { code, text } => push(OwnedEvent::new(Kind::Closed).ended(code, text)),
        _ => {}
    }
}
