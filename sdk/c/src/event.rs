//! [`NcEvent`]: what has happened, for the application.

use crate::types::{NcBytes, NcResult, NcValue};
use crate::types_room::NcEntity;

/// What has happened. Which fields an event has stands at its kind; the others are 0, or -1 for times
/// and codes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcEvent {
    /// What has happened: `NcEventKind`.
    pub kind: u32,
    /// The result: `NcResult`.
    pub result: i32,
    /// The room or social session in which it has happened.
    pub handle: u64,
    /// The request that is done.
    pub op: u64,
    /// The position of an event in the room's order; the version of the state.
    pub sequence: u64,
    /// The object, the call, or the request of an RPC.
    pub id: u64,
    /// The moment of the capture, by the server's clock, in us; -1: unknown.
    pub captured_us: i64,
    /// Time from the capture to the arrival, in us; -1: unknown.
    pub age_us: i64,
    /// A duration in ms; -1: unknown.
    pub duration_ms: i64,
    /// The sender, or the peer that is concerned.
    pub peer: u32,
    /// The peer that has done it; the new owner; the new host. 0: nobody.
    pub by: u32,
    /// The reason, as the protocol's document numbers it; -1: unknown or none.
    pub code: i32,
    /// The key of a realtime message.
    pub key: u32,
    /// The channel of a message.
    pub channel: u32,
    /// Bits or a number, see the kind.
    pub flags: u32,
    /// What has changed in the shared state.
    pub entity: NcEntity,
    /// The new value of a field.
    pub value: NcValue,
    /// A name: the key of a field, the type of an event, the method of an RPC, a user.
    pub name: NcBytes,
    /// The data of a message, or a text for a person.
    pub payload: NcBytes,
}

impl NcEvent {
    pub(crate) fn new(kind: NcEventKind) -> Self {
        Self {
            kind: kind as u32,
            result: NcResult::Ok as i32,
            handle: 0,
            op: 0,
            sequence: 0,
            id: 0,
            captured_us: -1,
            age_us: -1,
            duration_ms: -1,
            peer: 0,
            by: 0,
            code: -1,
            key: 0,
            channel: 0,
            flags: 0,
            entity: NcEntity::default(),
            value: NcValue::default(),
            name: NcBytes::NONE,
            payload: NcBytes::NONE,
        }
    }
}

/// What has happened, with the fields of the event. `handle` is always the room or social session.
///
/// Later versions may add kinds: ignore those that you do not know.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcEventKind {
    /// The room is joined. `peer`: the own peer id. `name`: the room's name.
    Joined = 1,
    /// The room could not be joined. `result`, `code`, `payload`: the reason. `duration_ms`: the pause
    /// that the server wants before another attempt. The room's handle is still to be freed.
    JoinFailed = 2,
    /// A request is done. It comes after the events of what it has changed. `op`, `result`, `code`; `sequence`: the version of the state that has the
    /// change; `id`: the call; `payload`: the answer of an RPC, or the reason as a text.
    Done = 3,
    /// A peer has joined, or was in the room when this client joined. `peer`, `name`: its display name,
    /// `flags`: `NcPeerFlag`.
    PeerJoined = 4,
    /// A peer has left. `peer`, `name`, `code`.
    PeerLeft = 5,
    /// A peer's presence, mute or right to moderate has changed. `peer`, `flags`: `NcPeerFlag`.
    PeerChanged = 6,
    /// A fresh token of the same user is wanted: call `nc_room_renew`. `duration_ms`.
    TokenWanted = 7,
    /// A peer has started or stopped speaking. `peer`, `flags`: 1 while it speaks, `key`: its level in
    /// -dBov, 0 is loudest.
    Speaking = 8,
    /// A voice packet, until the application has called `nc_room_voice`. `peer`, `payload`: the Opus
    /// packet, `flags`: `NcVoiceFlag`, `key`: its level, `sequence`, `captured_us`, `age_us`.
    Voice = 9,
    /// A pointer. `peer`, `channel`, `key`, `payload`, `captured_us`, `age_us`.
    Pointer = 10,
    /// An unreliable message. `peer`, `channel`, `key`, `sequence`, `payload`, `captured_us`, `age_us`.
    Message = 11,
    /// A reliable event. `peer`, `channel`, `sequence`, `payload`.
    Event = 12,
    /// A reliable event with a type. `peer`, `name`: its type, `sequence`, `payload`.
    TypedEvent = 13,
    /// A message of the bulk lane. `peer`, `channel`, `payload`.
    Bulk = 14,
    /// A peer asks something: answer with `nc_room_answer`. `peer`, `id`, `name`: the method,
    /// `payload`, `duration_ms`: how long the peer waits.
    RpcRequest = 15,
    /// A moderator has acted. `by`, `peer`, `name`: the user, `key`: `NcAct`, `duration_ms`: of a ban.
    Moderated = 16,
    /// The server delays or drops messages of this client. `key`: `NcThrottle`.
    Throttled = 17,
    /// A field has changed. `entity`, `name`: the key, `value`, `by`.
    FieldChanged = 18,
    /// An object was created. `id`, `peer`: its owner, `flags`: `NcObjectMode`, `by`.
    ObjectCreated = 19,
    /// An object was deleted, or all fields of a peer. `entity`, `id`, `by`.
    Deleted = 20,
    /// An object has another owner. `id`, `peer`: the owner or 0, `by`.
    OwnerChanged = 21,
    /// A peer asks for an object of this client. `id`, `by`.
    Claimed = 22,
    /// Another peer is the host. `peer`, or 0.
    HostChanged = 23,
    /// The session is lost, and the client tries to come back. `code`, `payload`.
    Interrupted = 24,
    /// The session is resumed. `flags`: 1 if the oldest missed events are lost.
    Resumed = 25,
    /// The room was joined again as a new peer. `peer`: the new peer id of this client.
    Rejoined = 26,
    /// Realtime messages have changed their way. `flags`: 1 if they travel inside the session.
    Fallback = 27,
    /// The connection became better or worse. `flags`: `NcQuality`.
    Quality = 28,
    /// The server's clock is another one: times from before cannot be compared with those from now on.
    ClockChanged = 30,
    /// The room or social session is closed. This is its last event. `code`, `payload`.
    Closed = 29,
    /// The social session is open. `name`: the user.
    Entered = 40,
    /// The social session could not be opened. As `JoinFailed`.
    EnterFailed = 41,
    /// A watched room is new or has changed. `name`: the room, `flags`: 1 if it is locked, 2 if it has a
    /// password, `key`: its peers, `channel`: its capacity. Its fields follow as `RoomField`.
    RoomListed = 42,
    /// A listed field of the room before. `name`: the key, `value`.
    RoomField = 43,
    /// A watched room has ended or no longer fits. `name`.
    RoomGone = 44,
    /// A watched user is new or has changed. `name`: the user, `payload`: the display name, `flags`:
    /// `NcStatus`.
    UserChanged = 45,
    /// A watched user is gone. `name`.
    UserGone = 46,
    /// A user calls this user. `id`: the call, `name`: the caller, `payload`: its text.
    CallIncoming = 47,
    /// The call no longer rings here. `id`, `code`.
    RingingEnded = 48,
    /// This user has started a call. `id`.
    Calling = 49,
    /// The call was accepted: join its room. `id`, `name`: the room, `flags`: 1 if on this device.
    CallAccepted = 50,
    /// A user has joined the call. `id`, `name`: the user, `payload`: the display name.
    MemberJoined = 51,
    /// A member has left the call. `id`, `name`, `code`.
    MemberLeft = 52,
    /// A called user did not join, and the call goes on. If nobody is left, `CallEnded` comes instead.
    /// `id`, `name`, `code`.
    MemberPassed = 53,
    /// The call has ended. `id`, `code`.
    CallEnded = 54,
    /// The social session is back after `Interrupted`. A call that continues is reported again.
    Returned = 55,
}

/// What the server delays or drops.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcThrottle {
    /// Something that this version does not know.
    Other = 0,
    /// Events are delayed.
    Events = 1,
    /// Bulk messages are delayed.
    Bulk = 2,
    /// Requests are delayed.
    Requests = 3,
    /// Realtime messages were dropped.
    Realtime = 4,
    /// Voice was dropped, because too many peers speak.
    SpeakerLimit = 5,
    /// Voice was dropped, because this client is muted.
    Muted = 6,
}
