//! The data of rooms: poses, peers, the shared state, voice.

use std::ffi::c_char;

use crate::types::NcValue;

/// A position and a rotation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NcTransform {
    /// Position in metres: x, y, z.
    pub position: [f32; 3],
    /// Rotation as a quaternion: x, y, z, w.
    pub rotation: [f32; 4],
}

/// Head and hands, in the room's coordinates. Axes are those of OpenXR: right-handed, y points up, and the
/// identity rotation looks along -z. An engine with other axes converts its poses. The head may be 8,388.607 m from the origin in each axis,
/// a hand 2.047 m from the head.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NcPose {
    /// The head.
    pub head: NcTransform,
    /// The left hand, if it is tracked.
    pub left: NcTransform,
    /// The right hand, if it is tracked.
    pub right: NcTransform,
    /// 1 if the left hand is tracked, otherwise 0.
    pub has_left: u32,
    /// 1 if the right hand is tracked, otherwise 0.
    pub has_right: u32,
}

/// A pose of another peer, to show in this frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NcShownPose {
    /// The sender.
    pub peer: u32,
    /// The body of a sender with several; otherwise 0.
    pub key: u32,
    /// Head and hands.
    pub pose: NcPose,
    /// How the pose was found: `NcCertainty`.
    pub certainty: u32,
    /// The channel on which the sender sends it; usually 0.
    pub channel: u32,
    /// The moment that the pose shows, by the server's clock, in us. Never earlier than in the frame
    /// before.
    pub shown_us: i64,
    /// When the newest pose of this sender was captured, by the server's clock, in us. Tells how long
    /// the peer has been silent.
    pub newest_us: i64,
}

/// How a shown pose was found.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcCertainty {
    /// Between two poses that the peer has sent.
    Interpolated = 0,
    /// The next pose is late: the last movement goes on for 200 ms, and then back.
    Extrapolated = 1,
    /// A pose as it was sent.
    Held = 2,
}

/// A peer of a room. The texts end with a zero byte.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcPeer {
    /// The peer's id.
    pub peer: u32,
    /// Bits of `NcPeerFlag`.
    pub flags: u32,
    /// The user's id from the token.
    pub user: [c_char; 132],
    /// The display name.
    pub name: [c_char; 132],
    /// The role from the token.
    pub role: [c_char; 132],
}

/// What is known of a peer. Bits.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcPeerFlag {
    /// The server has received nothing from the peer for 10 s.
    Away = 1,
    /// A moderator has muted the peer.
    Muted = 2,
    /// The peer has muted itself.
    SelfMuted = 4,
    /// The peer may moderate.
    Moderator = 8,
}

/// Names an entity of the shared state.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NcEntity {
    /// `NcScope`.
    pub scope: u32,
    /// Unused; 0.
    pub reserved: u32,
    /// 0 for the room, the peer's id, or the object's id.
    pub id: u64,
}

/// The kind of an entity.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcScope {
    /// The room itself.
    Room = 0,
    /// A peer.
    Peer = 1,
    /// An object.
    Object = 2,
}

/// An object of the shared state.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NcObject {
    /// The object's id.
    pub id: u64,
    /// The owner; 0 if there is none.
    pub owner: u32,
    /// `NcObjectMode`, plus `NC_OBJECT_MODE_WITH_ROOM`.
    pub mode: u32,
}

/// How an object is owned. `WithRoom` is added to one of the others.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcObjectMode {
    /// A claim has no effect.
    Fixed = 0,
    /// The owner is asked.
    Ask = 1,
    /// Whoever claims the object owns it.
    Take = 2,
    /// The object stays when its owner leaves.
    WithRoom = 0x80,
}

/// A change of the shared state.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcChange {
    /// `NcChangeKind`.
    pub kind: u32,
    /// The peer that gets an object or becomes the host.
    pub peer: u32,
    /// What is changed.
    pub entity: NcEntity,
    /// The field's key.
    pub key: *const c_char,
    /// The field's new value.
    pub value: NcValue,
    /// The version that the field must still have, for the kinds that compare. 0: it must not exist.
    pub version: u64,
    /// How the new object is owned: `NcObjectMode`.
    pub mode: u32,
    /// Unused; 0.
    pub reserved: u32,
}

/// The kind of a change.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcChangeKind {
    /// Sets a field, or removes it if the value has no type.
    Set = 0,
    /// The same, if the field still has the given version.
    CompareAndSet = 1,
    /// Creates an object.
    Create = 2,
    /// Deletes an object.
    Delete = 3,
    /// Claims an object.
    Claim = 4,
    /// Gives an object to a peer.
    Give = 5,
    /// Chooses a peer as the host.
    Host = 6,
}

/// An act of moderation.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcAct {
    /// Removes a peer; with `seconds`, bans its user from the room for that time.
    Kick = 1,
    /// Locks the room.
    Lock = 2,
    /// Unlocks the room.
    Unlock = 3,
    /// Hides the room from the lobby.
    Hide = 4,
    /// Shows the room in the lobby.
    Show = 5,
    /// Mutes a peer.
    Mute = 6,
    /// Unmutes a peer.
    Unmute = 7,
    /// Mutes all peers that may not moderate.
    MuteAll = 8,
    /// Unmutes all peers.
    UnmuteAll = 9,
    /// Deletes all objects and the room's fields.
    Clear = 12,
    /// Hands the right to moderate to a peer.
    HandOver = 13,
    /// Ends the room for all peers.
    End = 20,
}

/// What to play for the next 20 ms of a speaker.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcVoiceStep {
    /// Nothing: the speaker is silent.
    Silence = 0,
    /// The Opus packet that was written.
    Packet = 1,
    /// A packet is missing: let the decoder conceal it.
    Conceal = 2,
}

/// A flag of a voice packet. Bits.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcVoiceFlag {
    /// The sender's encoder detected a voice.
    Speaking = 1,
    /// The first packet after a pause.
    SpurtStart = 2,
    /// The Opus packet is encrypted end to end.
    EndToEnd = 4,
}

/// How good a room's connection is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NcConnection {
    /// `NcQuality`.
    pub quality: u32,
    /// Round trip of the realtime plane in us; -1: unknown, also in silence.
    pub round_trip_us: i32,
    /// Share of the datagrams from the server that were lost, 0 to 1; -1: unknown.
    pub loss_down: f32,
    /// The same of the datagrams to the server.
    pub loss_up: f32,
    /// 1 if the realtime port does not answer and realtime messages travel inside the session.
    pub on_fallback: u32,
}

/// How good a connection is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcQuality {
    /// No datagram of the server has come yet, or none comes any more.
    Unknown = 0,
    /// Nobody notices the network.
    Excellent = 1,
    /// Voice has short gaps, or is late.
    Good = 2,
    /// A conversation is difficult.
    Poor = 3,
    /// There is no session now.
    Lost = 4,
}

/// Whether a user can be called.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcStatus {
    /// The user can be called.
    Online = 0,
    /// The user does not want to be called, or is in a call.
    Busy = 1,
    /// The user can be called, but may not answer.
    Away = 2,
}
