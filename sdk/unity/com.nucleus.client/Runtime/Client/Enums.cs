using System;

namespace Nucleus
{
    /// <summary>The result of a call or of a request. The numbers are those of the C library.</summary>
    public enum NucleusResult
    {
        /// <summary>Success.</summary>
        Ok = 0,
        /// <summary>An argument is outside its limits.</summary>
        InvalidArgument = -1,
        /// <summary>The client, room or social session was freed.</summary>
        InvalidHandle = -2,
        /// <summary>The native library has another version than this package.</summary>
        AbiMismatch = -3,
        /// <summary>There is no capacity now. Nothing was sent: try again in a later frame.</summary>
        WouldBlock = -4,
        /// <summary>The room or social session is still being joined.</summary>
        NotJoined = -5,
        /// <summary>The room or social session is closed.</summary>
        Closed = -6,
        /// <summary>The payload is larger than allowed. Nothing was sent.</summary>
        TooLarge = -7,
        /// <summary>The recipient is not in the room. Nothing was sent.</summary>
        UnknownPeer = -8,
        /// <summary>The server refused. <see cref="NucleusException.Code"/> has the reason.</summary>
        Refused = -9,
        /// <summary>No answer came in time.</summary>
        TimedOut = -10,
        /// <summary>The session was lost before the answer came: it is unknown whether the request was
        /// carried out.</summary>
        Interrupted = -11,
        /// <summary>The session is lost and not resumed yet. Nothing was sent.</summary>
        NotConnected = -12,
        /// <summary>The server or the native library lacks the feature.</summary>
        NotOffered = -13,
        /// <summary>The buffer is too small.</summary>
        BufferTooSmall = -14,
        /// <summary>There is no such field, object, peer or request.</summary>
        NotFound = -15,
        /// <summary>The server cannot be reached.</summary>
        Unreachable = -16,
        /// <summary>The server's certificate is not trusted, or the other end is no Nucleus server.</summary>
        Untrusted = -17,
        /// <summary>The server broke the protocol.</summary>
        Protocol = -18,
        /// <summary>The other peer answered the RPC with an error. <see cref="NucleusException.Code"/> has
        /// its number.</summary>
        RpcFailed = -19,
        /// <summary>The other peer has no such method.</summary>
        NoSuchMethod = -20,
        /// <summary>Too many requests wait at the other peer.</summary>
        Busy = -21,
        /// <summary>The system refused a thread or a socket.</summary>
        System = -22,
        /// <summary>A fault in the native library.</summary>
        Internal = -99,
    }

    /// <summary>How a join chooses its room.</summary>
    public enum JoinMode
    {
        /// <summary>Joins the named room, or creates it.</summary>
        JoinOrCreate = 0,
        /// <summary>Creates the named room. Refused if it exists.</summary>
        Create = 1,
        /// <summary>Joins the named room. Refused if it does not exist.</summary>
        Join = 2,
        /// <summary>Joins the fullest room that fits the filters. Refused if none does.</summary>
        Match = 3,
        /// <summary>Joins the fullest room that fits the filters, or creates one.</summary>
        MatchOrCreate = 4,
    }

    /// <summary>How a room is made, if the join creates it.</summary>
    [Flags]
    public enum RoomFlags
    {
        /// <summary>An ordinary room.</summary>
        None = 0,
        /// <summary>The lobby neither lists nor matches the room.</summary>
        Hidden = 1,
        /// <summary>Only moderators can join.</summary>
        Locked = 2,
        /// <summary>The room does not end when it is empty.</summary>
        Kept = 4,
        /// <summary>Only invited users can join.</summary>
        ByInvitation = 8,
    }

    /// <summary>The life of a <see cref="Room"/> or a <see cref="SocialSession"/>.</summary>
    public enum SessionStatus
    {
        /// <summary>The join is under way.</summary>
        Connecting,
        /// <summary>Joined, and the session is there.</summary>
        Connected,
        /// <summary>The session is lost, and the client tries to come back.</summary>
        Interrupted,
        /// <summary>The leave is under way.</summary>
        Leaving,
        /// <summary>Left, lost or refused. It does not come back.</summary>
        Closed,
    }

    /// <summary>How an object is owned.</summary>
    public enum ObjectOwnership
    {
        /// <summary>A claim has no effect.</summary>
        Fixed = 0,
        /// <summary>The owner is asked, and may give the object.</summary>
        Ask = 1,
        /// <summary>Whoever claims the object owns it.</summary>
        Take = 2,
    }

    /// <summary>How a shown pose was found.</summary>
    public enum PoseCertainty : uint
    {
        /// <summary>Between two poses that the peer has sent.</summary>
        Interpolated = 0,
        /// <summary>The next pose is late: the last movement goes on for 200 ms, and then back.</summary>
        Extrapolated = 1,
        /// <summary>A pose as it was sent.</summary>
        Held = 2,
    }

    /// <summary>What to play for the next 20 ms of a speaker.</summary>
    public enum VoiceStep
    {
        /// <summary>Nothing: the speaker is silent.</summary>
        Silence = 0,
        /// <summary>A packet.</summary>
        Packet = 1,
        /// <summary>A packet is missing: the decoder conceals the gap.</summary>
        Conceal = 2,
    }

    /// <summary>Flags of a voice packet.</summary>
    [Flags]
    public enum VoiceFlags
    {
        /// <summary>No flag.</summary>
        None = 0,
        /// <summary>The sender's encoder detected a voice.</summary>
        Speaking = 1,
        /// <summary>The first packet after a pause.</summary>
        SpurtStart = 2,
        /// <summary>The Opus packet is encrypted end to end.</summary>
        EndToEnd = 4,
    }

    /// <summary>How good a connection is.</summary>
    public enum ConnectionQuality
    {
        /// <summary>No datagram of the server has come yet, or none comes any more.</summary>
        Unknown = 0,
        /// <summary>Nobody notices the network.</summary>
        Excellent = 1,
        /// <summary>Voice has short gaps, or is late.</summary>
        Good = 2,
        /// <summary>A conversation is difficult.</summary>
        Poor = 3,
        /// <summary>There is no session now.</summary>
        Lost = 4,
    }

    /// <summary>Whether a user can be called.</summary>
    public enum UserStatus
    {
        /// <summary>The user can be called.</summary>
        Online = 0,
        /// <summary>The user does not want to be called, or is in a call.</summary>
        Busy = 1,
        /// <summary>The user can be called, but may not answer.</summary>
        Away = 2,
    }

    /// <summary>What the server delays or drops.</summary>
    public enum ThrottleReason
    {
        /// <summary>Something that this version does not know.</summary>
        Other = 0,
        /// <summary>Events are delayed.</summary>
        Events = 1,
        /// <summary>Bulk messages are delayed.</summary>
        Bulk = 2,
        /// <summary>Requests are delayed.</summary>
        Requests = 3,
        /// <summary>Realtime messages were dropped.</summary>
        Realtime = 4,
        /// <summary>Voice was dropped, because too many peers speak.</summary>
        SpeakerLimit = 5,
        /// <summary>Voice was dropped, because this client is muted.</summary>
        Muted = 6,
    }

    /// <summary>An act of moderation.</summary>
    public enum ModerationAct
    {
        /// <summary>Removes a peer; with a duration, bans its user from the room for that time.</summary>
        Kick = 1,
        /// <summary>Locks the room.</summary>
        Lock = 2,
        /// <summary>Unlocks the room.</summary>
        Unlock = 3,
        /// <summary>Hides the room from the lobby.</summary>
        Hide = 4,
        /// <summary>Shows the room in the lobby.</summary>
        Show = 5,
        /// <summary>Mutes a peer.</summary>
        Mute = 6,
        /// <summary>Unmutes a peer.</summary>
        Unmute = 7,
        /// <summary>Mutes all peers that may not moderate.</summary>
        MuteAll = 8,
        /// <summary>Unmutes all peers.</summary>
        UnmuteAll = 9,
        /// <summary>Deletes all objects and the room's fields.</summary>
        Clear = 12,
        /// <summary>Hands the right to moderate to a peer.</summary>
        HandOver = 13,
        /// <summary>Ends the room for all peers.</summary>
        End = 20,
    }
}
