namespace Nucleus
{
    /// <summary>The server's reason. docs/PROTOCOL.md of the project lists them; later servers may have
    /// numbers that are not here.</summary>
    public enum ReasonCode
    {
        /// <summary>There is no reason, or it is not known.</summary>
        None = -1,
        /// <summary>The client left.</summary>
        Left = 0,
        /// <summary>Client and server support no common version of the session protocol.</summary>
        Version = 1,
        /// <summary>A message had a bad header or a bad archive, or was not expected.</summary>
        Malformed = 2,
        /// <summary>The join did not arrive in time.</summary>
        JoinTimeout = 3,
        /// <summary>The client closes the connection at once, without sending Leave. If a client closes
        /// with any other code, the session counts as lost and the server keeps its participant: libraries
        /// close a dropped connection with 0.</summary>
        Leaving = 4,
        /// <summary>The token is not a JWT, is too long, or lacks a required claim.</summary>
        TokenMalformed = 10,
        /// <summary>The token is signed with an algorithm that the server is not configured for.</summary>
        TokenAlgorithm = 11,
        /// <summary>The token's signature is wrong.</summary>
        TokenSignature = 12,
        /// <summary>The token has expired.</summary>
        TokenExpired = 13,
        /// <summary>The token is not valid yet.</summary>
        TokenNotYetValid = 14,
        /// <summary>The token is meant for another server.</summary>
        TokenAudience = 15,
        /// <summary>The token does not permit this room.</summary>
        RoomNotAllowed = 20,
        /// <summary>The room's name or the display name is invalid.</summary>
        BadName = 21,
        /// <summary>The room is full.</summary>
        RoomFull = 22,
        /// <summary>The server knows none of the offered AEAD suites.</summary>
        Suite = 23,
        /// <summary>The user is in the room with another device, and the server allows only one.</summary>
        AlreadyJoined = 24,
        /// <summary>The user joins and leaves this room too often, or starts calls too often.</summary>
        JoinRate = 25,
        /// <summary>A moderator has locked the room to newcomers.</summary>
        RoomLocked = 26,
        /// <summary>The join was to create a room, but a room of that name exists.</summary>
        RoomExists = 27,
        /// <summary>No room of that name exists or none matches, and the join was not to create
        /// one.</summary>
        NoSuchRoom = 28,
        /// <summary>The room is for another version of the application.</summary>
        Incompatible = 29,
        /// <summary>The server has reached its limit of sessions or rooms.</summary>
        ServerFull = 30,
        /// <summary>The server is shutting down.</summary>
        ShuttingDown = 31,
        /// <summary>The server failed, through no fault of the client.</summary>
        Internal = 32,
        /// <summary>The password does not match the room's.</summary>
        WrongPassword = 33,
        /// <summary>The room admits invited users only, and the user is not invited.</summary>
        NotInvited = 34,
        /// <summary>The tenant has reached its limit of sessions.</summary>
        TenantFull = 35,
        /// <summary>The tenant has reached its limit of rooms or of kept rooms.</summary>
        TenantRooms = 36,
        /// <summary>The user has reached the limit of sessions of one user.</summary>
        UserSessions = 37,
        /// <summary>The tenant has reached its limit of calls.</summary>
        TenantCalls = 38,
        /// <summary>Another server takes the join: Refuse names it.</summary>
        Moved = 39,
        /// <summary>An event was larger than allowed or named too many peers.</summary>
        EventTooLarge = 40,
        /// <summary>The peer does not read its events or the state as fast as they arrive.</summary>
        SlowConsumer = 41,
        /// <summary>Nothing was received from the peer for too long.</summary>
        TimedOut = 42,
        /// <summary>The peer sends more events than allowed. Reserved: the server reads more slowly
        /// instead.</summary>
        EventRate = 43,
        /// <summary>Another session replaced this one: a resume of the same peer, or another device of its
        /// user.</summary>
        Replaced = 44,
        /// <summary>A moderator removed the peer, and may have banned its user for a time.</summary>
        Kicked = 50,
        /// <summary>A moderator ended the room.</summary>
        RoomEnded = 51,
        /// <summary>The room's moderators act more often than allowed.</summary>
        ActRate = 52,
        /// <summary>The peer's role and grants do not allow the request.</summary>
        Forbidden = 60,
        /// <summary>The entity or peer does not exist, or the object to create exists already.</summary>
        NoSuchEntity = 61,
        /// <summary>The field does not have the expected version, or the object has another
        /// owner.</summary>
        Conflict = 62,
        /// <summary>A key, value or number is invalid.</summary>
        BadState = 63,
        /// <summary>The room's state has reached its limit of bytes.</summary>
        StateFull = 64,
        /// <summary>The room has reached its limit of objects.</summary>
        RoomObjects = 65,
        /// <summary>The user has reached its limit of objects, in all its peers of the room
        /// together.</summary>
        PeerObjects = 66,
        /// <summary>The entity has reached its limit of fields.</summary>
        EntityFields = 67,
        /// <summary>The user accepts no calls, or is in a call.</summary>
        Busy = 70,
        /// <summary>The user has no session.</summary>
        Unreachable = 71,
        /// <summary>Nobody accepted the call in time.</summary>
        NoAnswer = 72,
        /// <summary>The user rejected the call.</summary>
        Declined = 73,
        /// <summary>The caller cancelled the call.</summary>
        Cancelled = 74,
        /// <summary>Another user or another device accepted the call.</summary>
        Answered = 75,
    }

    /// <summary>Why something ended or failed.</summary>
    public struct Reason
    {
        internal Reason(int code, string text)
        {
            Code = (ReasonCode)code;
            Text = text;
        }

        /// <summary>The server's reason.</summary>
        public ReasonCode Code { get; private set; }

        /// <summary>The reason as a text for a person.</summary>
        public string Text { get; private set; }

        /// <summary>Returns the code and the text.</summary>
        public override string ToString()
        {
            return Code == ReasonCode.None ? Text : Code + ": " + Text;
        }
    }
}
