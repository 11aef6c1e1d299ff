using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>A session outside rooms: the lobby's rooms, users who are online, and calls. It may be open
    /// while the client is in rooms.</summary>
    public sealed unsafe class SocialSession : Session
    {
        readonly TaskCompletionSource<SocialSession> entered = new TaskCompletionSource<SocialSession>();
        readonly Dictionary<string, ListedRoom> rooms = new Dictionary<string, ListedRoom>();
        readonly Dictionary<string, SocialUser> users = new Dictionary<string, SocialUser>();
        readonly Dictionary<ulong, Call> calls = new Dictionary<ulong, Call>();
        readonly Callbacks<ListedRoom> roomChanged = new Callbacks<ListedRoom>();
        readonly Callbacks<string> roomGone = new Callbacks<string>();
        readonly Callbacks<SocialUser> userChanged = new Callbacks<SocialUser>();
        readonly Callbacks<string> userGone = new Callbacks<string>();
        readonly Callbacks<Call> incoming = new Callbacks<Call>();
        readonly Callbacks returned = new Callbacks();
        ListedRoom listing;

        internal SocialSession(NucleusClient client) : base(client)
        {
        }

        /// <summary>Done when the session is open. Fails with <see cref="NucleusException"/>.</summary>
        public Task<SocialSession> Entered
        {
            get { return entered.Task; }
        }

        /// <summary>The own user's id.</summary>
        public string User { get; private set; } = "";

        /// <summary>The watched rooms, by name.</summary>
        public IReadOnlyDictionary<string, ListedRoom> Rooms
        {
            get { return rooms; }
        }

        /// <summary>The watched users who are online, by user id.</summary>
        public IReadOnlyDictionary<string, SocialUser> Users
        {
            get { return users; }
        }

        /// <summary>The calls that ring or go on.</summary>
        public IEnumerable<Call> Calls
        {
            get { return calls.Values; }
        }

        /// <summary>A watched room is new or has changed.</summary>
        public event Action<ListedRoom> RoomChanged
        {
            add { roomChanged.Add(value); }
            remove { roomChanged.Remove(value); }
        }

        /// <summary>A watched room has ended or no longer fits.</summary>
        public event Action<string> RoomGone
        {
            add { roomGone.Add(value); }
            remove { roomGone.Remove(value); }
        }

        /// <summary>A watched user is new or has changed.</summary>
        public event Action<SocialUser> UserChanged
        {
            add { userChanged.Add(value); }
            remove { userChanged.Remove(value); }
        }

        /// <summary>A watched user is gone.</summary>
        public event Action<string> UserGone
        {
            add { userGone.Add(value); }
            remove { userGone.Remove(value); }
        }

        /// <summary>A user calls this user.</summary>
        public event Action<Call> IncomingCall
        {
            add { incoming.Add(value); }
            remove { incoming.Remove(value); }
        }

        /// <summary>The session is back after <see cref="Session.Interrupted"/>.</summary>
        public event Action Returned
        {
            add { returned.Add(value); }
            remove { returned.Remove(value); }
        }

        /// <summary>Says whether this user can be called.</summary>
        public void SetStatus(UserStatus status)
        {
            ThrowIfClosed();
            Failures.Check(NativeMethods.nc_social_set_status(Number, (uint)status));
        }

        /// <summary>Watches the rooms of an application's version that fit the filters; replaces the rooms
        /// that were watched before.</summary>
        public Task WatchRoomsAsync(string version = null, params RoomFilter[] filters)
        {
            return Request(op =>
            {
                using (var memory = new ArgumentMemory())
                {
                    return NativeMethods.nc_social_watch_rooms(
                        Number, memory.Text(version, "version"), RoomFilter.Native(filters, memory),
                        (uint)filters.Length, op);
                }
            });
        }

        /// <summary>Watches the users with one of the roles, and the named ones; replaces the users that
        /// were watched before.</summary>
        public Task WatchUsersAsync(
            IEnumerable<string> roles = null, IEnumerable<string> named = null)
        {
            string[] roleList = (roles ?? new string[0]).ToArray();
            string[] userList = (named ?? new string[0]).ToArray();
            return Request(op =>
            {
                using (var memory = new ArgumentMemory())
                {
                    return NativeMethods.nc_social_watch_users(
                        Number, memory.Texts(roleList, "roles"), (uint)roleList.Length,
                        memory.Texts(userList, "named"), (uint)userList.Length, op);
                }
            });
        }

        /// <summary>Calls users, 1 to 16, on all of their devices. <paramref name="text"/>, at most 256
        /// bytes, is shown to them.</summary>
        public Task<Call> CallAsync(IEnumerable<string> called, string text = null)
        {
            if (called == null)
            {
                throw new ArgumentNullException("called");
            }
            string[] list = called.ToArray();
            return Request(op =>
            {
                using (var memory = new ArgumentMemory())
                {
                    return NativeMethods.nc_social_call(
                        Number, memory.Texts(list, "called"), (uint)list.Length,
                        memory.Text(text, "text"), op);
                }
            }, result => Find(result.Id, CallStatus.Calling));
        }

        /// <summary>Finds a call.</summary>
        public bool TryGetCall(ulong id, out Call call)
        {
            return calls.TryGetValue(id, out call);
        }

        internal Task ActAsync(ulong call, NcCallAct act, string user)
        {
            byte[] text = user == null ? null : Utf8.Terminated(user, "user");
            return Request(op =>
            {
                fixed (byte* first = text)
                {
                    return NativeMethods.nc_social_call_act(Number, call, (uint)act, first, op);
                }
            });
        }

        /// <summary>Ends a call by an act of this device. The server confirms the act, and sends no event
        /// of its own.</summary>
        internal Task EndAsync(Call call, NcCallAct act, ReasonCode code)
        {
            return Request(
                op => NativeMethods.nc_social_call_act(Number, call.Id, (uint)act, null, op),
                result =>
                {
                    calls.Remove(call.Id);
                    call.End(new Reason((int)code, ""));
                    return true;
                });
        }

        internal override void Free()
        {
            NativeMethods.nc_social_free(Number);
        }

        internal override void FailJoin(Exception exception)
        {
            entered.TrySetException(exception);
        }

        internal override void OnJoined(NcEvent* from)
        {
            User = Utf8.Text(from->name);
            entered.TrySetResult(this);
        }

        internal override void OnClosed()
        {
            RaiseListing();
        }

        internal override void OnPolled()
        {
            RaiseListing();
        }

        internal override void OnEvent(NcEvent* from)
        {
            var kind = (NcEventKind)from->kind;
            if (kind == NcEventKind.RoomField)
            {
                listing?.Set(Utf8.Text(from->name), Value.From(from->value));
                return;
            }
            RaiseListing();
            string name;
            switch (kind)
            {
                case NcEventKind.RoomListed:
                    listing = new ListedRoom(from);
                    rooms[listing.Name] = listing;
                    break;
                case NcEventKind.RoomGone:
                    name = Utf8.Text(from->name);
                    rooms.Remove(name);
                    roomGone.Raise(Client, name);
                    break;
                case NcEventKind.UserChanged:
                    var user = new SocialUser(from);
                    users[user.Id] = user;
                    userChanged.Raise(Client, user);
                    break;
                case NcEventKind.UserGone:
                    name = Utf8.Text(from->name);
                    users.Remove(name);
                    userGone.Raise(Client, name);
                    break;
                case NcEventKind.Returned: returned.Raise(Client); break;
                default: OnCall(from); break;
            }
        }

        /// <summary>Tells of the listed room whose fields have all come.</summary>
        void RaiseListing()
        {
            if (listing != null)
            {
                ListedRoom complete = listing;
                listing = null;
                roomChanged.Raise(Client, complete);
            }
        }

        void OnCall(NcEvent* from)
        {
            switch ((NcEventKind)from->kind)
            {
                case NcEventKind.CallIncoming:
                    Call ringing = Find(from->id, CallStatus.Ringing);
                    ringing.From = Utf8.Text(from->name);
                    ringing.Text = Utf8.Text(from->payload);
                    incoming.Raise(Client, ringing);
                    break;
                case NcEventKind.Calling:
                    Find(from->id, CallStatus.Calling);
                    break;
                case NcEventKind.CallAccepted:
                    // After an interruption, a call that goes on is told of again.
                    Find(from->id, CallStatus.Accepted).Dispatch(from);
                    break;
                default:
                    Call call;
                    if (calls.TryGetValue(from->id, out call))
                    {
                        call.Dispatch(from);
                        if (call.Status == CallStatus.Ended)
                        {
                            calls.Remove(call.Id);
                        }
                    }
                    break;
            }
        }

        Call Find(ulong id, CallStatus status)
        {
            Call call;
            if (!calls.TryGetValue(id, out call))
            {
                calls[id] = call = new Call(this, id, status);
            }
            return call;
        }
    }
}
