using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>A room of the lobby.</summary>
    public sealed class ListedRoom
    {
        readonly Dictionary<string, Value> fields = new Dictionary<string, Value>();

        internal unsafe ListedRoom(NcEvent* from)
        {
            Name = Utf8.Text(from->name);
            IsLocked = (from->flags & 1) != 0;
            HasPassword = (from->flags & 2) != 0;
            PeerCount = (int)from->key;
            Capacity = (int)from->channel;
        }

        /// <summary>The room's name.</summary>
        public string Name { get; private set; }

        /// <summary>Whether only moderators can join.</summary>
        public bool IsLocked { get; private set; }

        /// <summary>Whether the room has a password.</summary>
        public bool HasPassword { get; private set; }

        /// <summary>Number of peers.</summary>
        public int PeerCount { get; private set; }

        /// <summary>Most peers.</summary>
        public int Capacity { get; private set; }

        /// <summary>The fields that the room lists.</summary>
        public IReadOnlyDictionary<string, Value> Fields
        {
            get { return fields; }
        }

        internal void Set(string key, Value value)
        {
            fields[key] = value;
        }
    }

    /// <summary>A user that is watched.</summary>
    public sealed class SocialUser
    {
        internal unsafe SocialUser(NcEvent* from)
        {
            Id = Utf8.Text(from->name);
            Name = Utf8.Text(from->payload);
            Status = (UserStatus)from->flags;
        }

        /// <summary>The user's id from the token.</summary>
        public string Id { get; private set; }

        /// <summary>The display name.</summary>
        public string Name { get; private set; }

        /// <summary>Whether the user can be called.</summary>
        public UserStatus Status { get; private set; }
    }

    /// <summary>The life of a <see cref="Call"/>.</summary>
    public enum CallStatus
    {
        /// <summary>Another user calls this user.</summary>
        Ringing,
        /// <summary>This user calls others.</summary>
        Calling,
        /// <summary>Accepted: <see cref="Call.RoomName"/> is the room to join.</summary>
        Accepted,
        /// <summary>It is over, or no longer rings here.</summary>
        Ended,
    }

    /// <summary>A call: one user rings others, and those who accept meet in a room.</summary>
    public sealed unsafe class Call
    {
        readonly SocialSession social;
        readonly List<string> members = new List<string>();
        readonly Callbacks<string> accepted = new Callbacks<string>();
        readonly Callbacks<string> memberJoined = new Callbacks<string>();
        readonly Callbacks<string, Reason> memberLeft = new Callbacks<string, Reason>();
        readonly Callbacks<string, Reason> memberPassed = new Callbacks<string, Reason>();
        readonly Callbacks<Reason> ended = new Callbacks<Reason>();

        internal Call(SocialSession social, ulong id, CallStatus status)
        {
            this.social = social;
            Id = id;
            Status = status;
            From = Text = "";
        }

        /// <summary>The call's number.</summary>
        public ulong Id { get; private set; }

        /// <summary>Where the call stands.</summary>
        public CallStatus Status { get; private set; }

        /// <summary>The caller's user id; empty if this user is the caller.</summary>
        public string From { get; internal set; }

        /// <summary>What the caller has written.</summary>
        public string Text { get; internal set; }

        /// <summary>The room to join, once the call is accepted.</summary>
        public string RoomName { get; private set; }

        /// <summary>Whether this device accepted the call. Otherwise another device of the user
        /// did.</summary>
        public bool IsOnThisDevice { get; private set; }

        /// <summary>User ids of the members who have joined.</summary>
        public IReadOnlyList<string> Members
        {
            get { return members; }
        }

        /// <summary>The call was accepted: join the named room.</summary>
        public event Action<string> Accepted
        {
            add { accepted.Add(value); }
            remove { accepted.Remove(value); }
        }

        /// <summary>A user has joined the call.</summary>
        public event Action<string> MemberJoined
        {
            add { memberJoined.Add(value); }
            remove { memberJoined.Remove(value); }
        }

        /// <summary>A member has left the call.</summary>
        public event Action<string, Reason> MemberLeft
        {
            add { memberLeft.Add(value); }
            remove { memberLeft.Remove(value); }
        }

        /// <summary>A called user did not join: rejected, busy, or no answer.</summary>
        public event Action<string, Reason> MemberPassed
        {
            add { memberPassed.Add(value); }
            remove { memberPassed.Remove(value); }
        }

        /// <summary>The call has ended, or no longer rings here.</summary>
        public event Action<Reason> Ended
        {
            add { ended.Add(value); }
            remove { ended.Remove(value); }
        }

        /// <summary>Accepts a call that rings. <see cref="Accepted"/> names the room.</summary>
        public Task AcceptAsync()
        {
            return social.ActAsync(Id, NcCallAct.Accept, null);
        }

        /// <summary>Rejects a call that rings.</summary>
        public Task RejectAsync()
        {
            return social.EndAsync(this, NcCallAct.Reject, ReasonCode.Declined);
        }

        /// <summary>Stops calling.</summary>
        public Task CancelAsync()
        {
            return social.EndAsync(this, NcCallAct.Cancel, ReasonCode.Cancelled);
        }

        /// <summary>Leaves the call.</summary>
        public Task HangUpAsync()
        {
            return social.EndAsync(this, NcCallAct.HangUp, ReasonCode.Left);
        }

        /// <summary>Calls one more user.</summary>
        public Task AddAsync(string user)
        {
            if (user == null)
            {
                throw new ArgumentNullException("user");
            }
            return social.ActAsync(Id, NcCallAct.Add, user);
        }

        /// <summary>Handles an event of this call.</summary>
        internal void Dispatch(NcEvent* from)
        {
            string name = Utf8.Text(from->name);
            var reason = new Reason(from->code, "");
            switch ((NcEventKind)from->kind)
            {
                case NcEventKind.CallAccepted:
                    Status = CallStatus.Accepted;
                    RoomName = name;
                    IsOnThisDevice = from->flags != 0;
                    accepted.Raise(social.Client, name);
                    break;
                case NcEventKind.MemberJoined:
                    if (!members.Contains(name))
                    {
                        members.Add(name);
                    }
                    memberJoined.Raise(social.Client, name);
                    break;
                case NcEventKind.MemberLeft:
                    members.Remove(name);
                    memberLeft.Raise(social.Client, name, reason);
                    break;
                case NcEventKind.MemberPassed:
                    memberPassed.Raise(social.Client, name, reason);
                    break;
                case NcEventKind.RingingEnded:
                    // Not the end, if this device has accepted.
                    if (Status == CallStatus.Ringing)
                    {
                        End(reason);
                    }
                    break;
                case NcEventKind.CallEnded:
                    End(reason);
                    break;
            }
        }

        internal void End(Reason reason)
        {
            if (Status != CallStatus.Ended)
            {
                Status = CallStatus.Ended;
                ended.Raise(social.Client, reason);
            }
        }
    }
}
