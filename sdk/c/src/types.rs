//! The data that crosses the ABI. Every field is a number, an array of numbers, or a pointer, so every
//! bit pattern is valid: a mistake of the caller is an error, never undefined behaviour.

use std::ffi::c_char;

/// A client: one thread with its network, and the rooms and social sessions that were opened with it.
/// 0 is no client. A number is never used again, so a stale one is an error and nothing worse.
pub type NcClient = u64;

/// A room of a client. 0 is no room.
pub type NcRoom = u64;

/// A social session of a client. 0 is none.
pub type NcSocial = u64;

/// A request that is under way. The event `NC_EVENT_KIND_DONE` with the same number has its result.
pub type NcOp = u64;

/// The result of a call, or of a request that was under way. 0 is success, everything else is
/// negative. `nc_last_error` has the reason as a text.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcResult {
    /// Success.
    Ok = 0,
    /// An argument is outside its limits, a text is not UTF-8, or a pointer is NULL.
    InvalidArgument = -1,
    /// The client, room or social session does not exist, or was freed.
    InvalidHandle = -2,
    /// The library has another ABI than the header with which the application was built.
    AbiMismatch = -3,
    /// There is no capacity now. Nothing was sent: try again in a later frame.
    WouldBlock = -4,
    /// The room or social session is still being joined.
    NotJoined = -5,
    /// The room or social session is closed.
    Closed = -6,
    /// The payload is larger than allowed. Nothing was sent.
    TooLarge = -7,
    /// The recipient is not in the room. Nothing was sent.
    UnknownPeer = -8,
    /// The server refused. `code` of the event has the reason.
    Refused = -9,
    /// No answer came in time.
    TimedOut = -10,
    /// The session was lost before the answer came: it is unknown whether the request was carried out.
    Interrupted = -11,
    /// The session is lost and not resumed yet. Nothing was sent.
    NotConnected = -12,
    /// The server, or this library, lacks the feature.
    NotOffered = -13,
    /// The buffer is too small. The call has said which size is needed.
    BufferTooSmall = -14,
    /// There is no such field, object, peer or request.
    NotFound = -15,
    /// The server cannot be reached.
    Unreachable = -16,
    /// The server's certificate is not trusted, or the other end is no Nucleus server.
    Untrusted = -17,
    /// The server broke the protocol.
    Protocol = -18,
    /// The other peer answered the RPC with an error. `code` of the event has its number.
    RpcFailed = -19,
    /// The other peer has no such method.
    NoSuchMethod = -20,
    /// Too many requests wait at the other peer.
    Busy = -21,
    /// The system refused a thread or a socket.
    System = -22,
    /// A fault in the library itself. Please report it, with the text of `nc_last_error`.
    Internal = -99,
}

/// Bytes that the library owns. They stay valid until the next `nc_poll` of the client. A text is UTF-8,
/// and does not end with a zero byte.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcBytes {
    /// The first byte; may be NULL if `len` is 0.
    pub data: *const u8,
    /// Number of bytes.
    pub len: u32,
}

// SAFETY: the bytes that the pointer names are read only by the calls to which it is passed, whose callers
// vouch for them.
unsafe impl Send for NcBytes {}

impl NcBytes {
    /// No bytes.
    pub(crate) const NONE: NcBytes = NcBytes { data: std::ptr::null(), len: 0 };
}

impl Default for NcBytes {
    fn default() -> Self {
        Self::NONE
    }
}

/// How the library works. Set `size` and `abi_version`, and everything else to 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct NcConfig {
    /// `sizeof(NcConfig)`.
    pub size: u32,
    /// `NC_ABI_VERSION`.
    pub abi_version: u32,
}

/// Which room to join, and how. Set `size`, `server` and `token`, and everything that stays at its
/// default to 0. The call copies what the pointers point to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcConnect {
    /// `sizeof(NcConnect)`.
    pub size: u32,
    /// How the room is chosen: `NcJoinMode`.
    pub mode: u32,
    /// `host:port`, or `host` for port 5055.
    pub server: *const c_char,
    /// The join token, from the application's backend or from `nucleus token`.
    pub token: *const c_char,
    /// The room's name. NULL: the room that the token names, or else "demo".
    pub room: *const c_char,
    /// The display name. NULL: the name in the token.
    pub name: *const c_char,
    /// The application's version: clients of different versions are never in the same room.
    pub version: *const c_char,
    /// The room's password. NULL: none.
    pub password: *const c_char,
    /// Name and version of the application, for the server's operator.
    pub agent: *const c_char,
    /// What `nc_room_ticket` returned in an earlier process, to resume its session. NULL: none. Whoever has a
    /// ticket is its user, whatever the token says: delete it when another user signs in.
    pub ticket: *const c_char,
    /// CA certificates in PEM that are trusted. NULL: the pins in the token, or else public
    /// certificates.
    pub ca_pem: *const c_char,
    /// Fields that a room must have in the modes `NC_JOIN_MODE_MATCH` and `..._MATCH_OR_CREATE`.
    pub filters: *const NcFilter,
    /// Number of `filters`, at most 8.
    pub filter_count: u32,
    /// How the room is made, if this join creates it: bits of `NcRoomFlag`.
    pub room_flags: u32,
    /// Most peers in a room that this join creates. 0: the server's default.
    pub capacity: u32,
    /// How long a room that this join creates stays when it is empty, in ms.
    pub empty_ttl_ms: u32,
    /// Fields of a room that this join creates.
    pub fields: *const NcField,
    /// Number of `fields`.
    pub field_count: u32,
    /// Number of `listed`.
    pub listed_count: u32,
    /// Keys of the fields that the lobby shows of a room that this join creates, at most 8.
    pub listed: *const *const c_char,
    /// How long the client tries to resume a lost session, in ms. 0: two minutes. 1: not at all.
    pub patience_ms: u32,
    /// 1: the client has no realtime port, and its realtime messages travel inside the session.
    pub no_realtime_port: u32,
    /// Ids of users for whom seats are reserved for a minute, at most 16. Each must still join.
    pub expected: *const *const c_char,
    /// Number of `expected`.
    pub expected_count: u32,
    /// Unused; 0.
    pub reserved: u32,
}

/// How a join chooses its room.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcJoinMode {
    /// Joins the named room, or creates it.
    JoinOrCreate = 0,
    /// Creates the named room. Refused if it exists.
    Create = 1,
    /// Joins the named room. Refused if it does not exist.
    Join = 2,
    /// Joins the fullest room that fits the filters. Refused if none does.
    Match = 3,
    /// Joins the fullest room that fits the filters, or creates one.
    MatchOrCreate = 4,
}

/// How a room is made. Bits.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcRoomFlag {
    /// The lobby neither lists nor matches the room.
    Hidden = 1,
    /// Only moderators can join.
    Locked = 2,
    /// The room does not end when it is empty.
    Kept = 4,
    /// Only invited users can join.
    ByInvitation = 8,
}

/// A typed value of at most 4 KiB.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct NcValue {
    /// The type: `NcValueKind`.
    pub kind: u32,
    /// The text or the bytes.
    pub bytes: NcBytes,
    /// The integer; 0 or 1 for a boolean.
    pub integer: i64,
    /// The float.
    pub number: f64,
}

/// The type of a value.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcValueKind {
    /// No value: the field is removed.
    None = 0,
    /// False or true, in `integer`.
    Bool = 1,
    /// A signed integer, in `integer`.
    Integer = 2,
    /// A 64-bit float, in `number`. NaN is refused.
    Float = 3,
    /// Text in UTF-8, in `bytes`.
    Text = 4,
    /// A byte string, in `bytes`.
    Bytes = 5,
}

/// A field: a key and its value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcField {
    /// The key, 1 to 64 bytes.
    pub key: *const c_char,
    /// The value.
    pub value: NcValue,
}

/// A condition on a field that rooms list.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcFilter {
    /// The field's key.
    pub key: *const c_char,
    /// The field must have one of these values, at most 16.
    pub values: *const NcValue,
    /// Number of `values`. 0: the field must be a number from `low` to `high`.
    pub value_count: u32,
    /// Unused; 0.
    pub reserved: u32,
    /// The smallest number; of kind `NC_VALUE_KIND_NONE` if there is no lower limit.
    pub low: NcValue,
    /// The largest number; of kind `NC_VALUE_KIND_NONE` if there is no upper limit.
    pub high: NcValue,
}

/// The recipients of a message.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcTarget {
    /// `NcTargetKind`.
    pub kind: u32,
    /// The peer, or the group (0 to 239).
    pub id: u32,
    /// The peers of `NC_TARGET_KIND_PEERS`, at most 1,024.
    pub peers: *const u32,
    /// Number of `peers`.
    pub peer_count: u32,
}

/// The kind of a target.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcTargetKind {
    /// All peers except the sender.
    Others = 0,
    /// One peer.
    Peer = 1,
    /// The host.
    Host = 2,
    /// The subscribers of a group, except the sender.
    Group = 3,
    /// All peers, the sender included. For events only.
    All = 4,
    /// The named peers. For events only.
    Peers = 5,
    /// All peers except the sender, and those who join later. For events only.
    OthersAndLater = 6,
}
