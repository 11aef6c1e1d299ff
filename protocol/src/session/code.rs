//! The codes that say why a session or a request was refused or ended. They travel in `Refuse` and
//! other messages, and as QUIC's application close code.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The reason for a refusal or an end. The wire carries its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Code { $($(#[doc = $doc])* $name = $number,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// Returns the code's stable name, as in docs/PROTOCOL.md and the metrics' labels.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The client left.
    Left = 0, "left";
    /// Client and server support no common version of the session protocol.
    Version = 1, "version";
    /// A message had a bad header or a bad archive, or was not expected.
    Malformed = 2, "malformed";
    /// The join did not arrive in time.
    JoinTimeout = 3, "join_timeout";
    /// The client closes the connection at once, without sending `Leave`. If a client closes with
    /// any other code, the session counts as lost and the server keeps its participant: libraries
    /// close a dropped connection with 0.
    Leaving = 4, "leaving";
    /// The token is not a JWT, is too long, or lacks a required claim.
    TokenMalformed = 10, "token_malformed";
    /// The token is signed with an algorithm that the server is not configured for.
    TokenAlgorithm = 11, "token_algorithm";
    /// The token's signature is wrong.
    TokenSignature = 12, "token_signature";
    /// The token has expired.
    TokenExpired = 13, "token_expired";
    /// The token is not valid yet.
    TokenNotYetValid = 14, "token_not_yet_valid";
    /// The token is meant for another server.
    TokenAudience = 15, "token_audience";
    /// The token does not permit this room.
    RoomNotAllowed = 20, "room_not_allowed";
    /// The room's name or the display name is invalid.
    BadName = 21, "bad_name";
    /// The room is full.
    RoomFull = 22, "room_full";
    /// The server knows none of the offered AEAD suites.
    Suite = 23, "suite";
    /// The user is in the room with another device, and the server allows only one.
    AlreadyJoined = 24, "already_joined";
    /// The user joins and leaves this room too often, or starts calls too often.
    JoinRate = 25, "join_rate";
    /// A moderator has locked the room to newcomers.
    RoomLocked = 26, "room_locked";
    /// The join was to create a room, but a room of that name exists.
    RoomExists = 27, "room_exists";
    /// No room of that name exists or none matches, and the join was not to create one.
    NoSuchRoom = 28, "no_such_room";
    /// The room is for another version of the application.
    Incompatible = 29, "incompatible";
    /// The server has reached its limit of sessions or rooms.
    ServerFull = 30, "server_full";
    /// The server is shutting down.
    ShuttingDown = 31, "shutting_down";
    /// The server failed, through no fault of the client.
    Internal = 32, "internal";
    /// The password does not match the room's.
    WrongPassword = 33, "wrong_password";
    /// The room admits invited users only, and the user is not invited.
    NotInvited = 34, "not_invited";
    /// The tenant has reached its limit of sessions.
    TenantFull = 35, "tenant_full";
    /// The tenant has reached its limit of rooms or of kept rooms.
    TenantRooms = 36, "tenant_rooms";
    /// The user has reached the limit of sessions of one user.
    UserSessions = 37, "user_sessions";
    /// The tenant has reached its limit of calls.
    TenantCalls = 38, "tenant_calls";
    /// Another server takes the join: `Refuse` names it.
    Moved = 39, "moved";
    /// An event was larger than allowed or named too many peers.
    EventTooLarge = 40, "event_too_large";
    /// The peer does not read its events or the state as fast as they arrive.
    SlowConsumer = 41, "slow_consumer";
    /// Nothing was received from the peer for too long.
    TimedOut = 42, "timed_out";
    /// The peer sends more events than allowed. Reserved: the server reads more slowly instead.
    EventRate = 43, "event_rate";
    /// Another session replaced this one: a resume of the same peer, or another device of its user.
    Replaced = 44, "replaced";
    /// A moderator removed the peer, and may have banned its user for a time.
    Kicked = 50, "kicked";
    /// A moderator ended the room.
    RoomEnded = 51, "room_ended";
    /// The room's moderators act more often than allowed.
    ActRate = 52, "act_rate";
    /// The peer's role and grants do not allow the request.
    Forbidden = 60, "forbidden";
    /// The entity or peer does not exist, or the object to create exists already.
    NoSuchEntity = 61, "no_such_entity";
    /// The field does not have the expected version, or the object has another owner.
    Conflict = 62, "conflict";
    /// A key, value or number is invalid.
    BadState = 63, "bad_state";
    /// The room's state has reached its limit of bytes.
    StateFull = 64, "state_full";
    /// The room has reached its limit of objects.
    RoomObjects = 65, "room_objects";
    /// The user has reached its limit of objects, in all its peers of the room together.
    PeerObjects = 66, "peer_objects";
    /// The entity has reached its limit of fields.
    EntityFields = 67, "entity_fields";
    /// The user accepts no calls, or is in a call.
    Busy = 70, "busy";
    /// The user has no session.
    Unreachable = 71, "unreachable";
    /// Nobody accepted the call in time.
    NoAnswer = 72, "no_answer";
    /// The user rejected the call.
    Declined = 73, "declined";
    /// The caller cancelled the call.
    Cancelled = 74, "cancelled";
    /// Another user or another device accepted the call.
    Answered = 75, "answered";
}

impl Code {
    /// Returns the code with this number, or `None` if the number is unknown.
    pub fn from_number(number: u64) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| *code as u64 == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
