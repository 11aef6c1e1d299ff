//! Why a session was refused or ended: in `Refuse`, and as QUIC's application close code.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A reason, told to the peer by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Code { $($(#[doc = $doc])* $name = $number,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code's stable name, as in docs/PROTOCOL.md and the metrics' labels.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// Nothing went wrong: the client left.
    Left = 0, "left";
    /// No version of the session protocol in common.
    Version = 1, "version";
    /// A message that is not one: bad header, bad archive, out of order.
    Malformed = 2, "malformed";
    /// The join did not come in time.
    JoinTimeout = 3, "join_timeout";
    /// The client goes at once, without a `Leave` before. Any other end of a connection by its
    /// client is a lost session, whose place is kept: libraries close a forgotten connection with 0.
    Leaving = 4, "leaving";
    /// The token is not a JWT, too long, or lacks what it must have.
    TokenMalformed = 10, "token_malformed";
    /// Signed with another algorithm than the server is set to.
    TokenAlgorithm = 11, "token_algorithm";
    /// The signature is wrong.
    TokenSignature = 12, "token_signature";
    /// Past its expiry.
    TokenExpired = 13, "token_expired";
    /// Before its time.
    TokenNotYetValid = 14, "token_not_yet_valid";
    /// Meant for another server.
    TokenAudience = 15, "token_audience";
    /// The token does not admit to this room.
    RoomNotAllowed = 20, "room_not_allowed";
    /// The room's name or the display name breaks the rules.
    BadName = 21, "bad_name";
    /// The room is full.
    RoomFull = 22, "room_full";
    /// None of the offered suites is known.
    Suite = 23, "suite";
    /// The user is in the room with another device, and the server takes one.
    AlreadyJoined = 24, "already_joined";
    /// The user joins this room and leaves it again too often, or starts calls too often.
    JoinRate = 25, "join_rate";
    /// A moderator has locked the room: nobody new gets in.
    RoomLocked = 26, "room_locked";
    /// There is a room of that name, and the join was to make one.
    RoomExists = 27, "room_exists";
    /// There is no room of that name, or none that fits, and the join was not to make one.
    NoSuchRoom = 28, "no_such_room";
    /// The room belongs to another version of the application.
    Incompatible = 29, "incompatible";
    /// The server has all the sessions or rooms it takes.
    ServerFull = 30, "server_full";
    /// The server is shutting down.
    ShuttingDown = 31, "shutting_down";
    /// The server failed; the fault is not the client's.
    Internal = 32, "internal";
    /// The room has a password, and it is another one.
    WrongPassword = 33, "wrong_password";
    /// The room lets in whom it has invited, and the user is not invited.
    NotInvited = 34, "not_invited";
    /// The tenant has all the sessions it may have.
    TenantFull = 35, "tenant_full";
    /// The tenant has all the rooms, or all the kept rooms, it may have.
    TenantRooms = 36, "tenant_rooms";
    /// The user has all the sessions one user may have.
    UserSessions = 37, "user_sessions";
    /// The tenant has all the calls it may have.
    TenantCalls = 38, "tenant_calls";
    /// An event is larger than allowed or names too many peers.
    EventTooLarge = 40, "event_too_large";
    /// The peer does not take its events or the state as fast as they come.
    SlowConsumer = 41, "slow_consumer";
    /// The peer was silent for longer than it may be.
    TimedOut = 42, "timed_out";
    /// The peer sends more events than it may (reserved: reading waits instead).
    EventRate = 43, "event_rate";
    /// Another session has taken this peer's place: its own, resumed, or its user's other device.
    Replaced = 44, "replaced";
    /// A moderator removed the peer, and its user may be banned for a time.
    Kicked = 50, "kicked";
    /// A moderator has ended the room, for everybody.
    RoomEnded = 51, "room_ended";
    /// The room's moderators act faster than they may.
    ActRate = 52, "act_rate";
    /// The peer's role and grants do not allow it.
    Forbidden = 60, "forbidden";
    /// There is no such entity or peer, or already one.
    NoSuchEntity = 61, "no_such_entity";
    /// The field has another version than expected, or the object another owner.
    Conflict = 62, "conflict";
    /// A key, value or number that breaks the rules.
    BadState = 63, "bad_state";
    /// The room's state has as many bytes as it takes.
    StateFull = 64, "state_full";
    /// The room has as many objects as it takes.
    RoomObjects = 65, "room_objects";
    /// The peer owns as many objects as it may.
    PeerObjects = 66, "peer_objects";
    /// The entity has as many fields as it takes.
    EntityFields = 67, "entity_fields";
    /// The user wants no calls, or is in one.
    Busy = 70, "busy";
    /// The user has no session.
    Unreachable = 71, "unreachable";
    /// Nobody took the call in time.
    NoAnswer = 72, "no_answer";
    /// The user did not want the call.
    Declined = 73, "declined";
    /// The caller took the call back.
    Cancelled = 74, "cancelled";
    /// Somebody else took the call, or another device.
    Answered = 75, "answered";
}

impl Code {
    /// The code of that number.
    pub fn from_number(number: u64) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| *code as u64 == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
