using System;
using System.Collections.Generic;
using System.Text;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>A room: its peers, and what has happened in it. Sending is in RoomSend.cs, the shared state
    /// in <see cref="State"/>, voice in <see cref="Voice"/>.</summary>
    public sealed unsafe partial class Room : Session
    {
        readonly ConnectOptions options;
        readonly TaskCompletionSource<Room> joined = new TaskCompletionSource<Room>();
        readonly List<Peer> peers = new List<Peer>();
        readonly Dictionary<uint, Peer> byId = new Dictionary<uint, Peer>();
        readonly RpcHandlers rpc;
        TaskCompletionSource<bool> leaving;

        internal Room(NucleusClient client, ConnectOptions options) : base(client)
        {
            this.options = options;
            Name = options.Room ?? "";
            State = new RoomState(this);
            Voice = new RoomVoice(this);
            rpc = new RpcHandlers(this);
            Me = new Peer(this, 0, new FieldSet(client));
        }

        /// <summary>Done when the room is joined. Fails with <see cref="NucleusException"/>.</summary>
        public Task<Room> Joined
        {
            get { return joined.Task; }
        }

        /// <summary>The room's name. The server may choose it.</summary>
        public string Name { get; private set; }

        /// <summary>The own peer.</summary>
        public Peer Me { get; private set; }

        /// <summary>The other peers, in the order in which they joined.</summary>
        public IReadOnlyList<Peer> Peers
        {
            get { return peers; }
        }

        /// <summary>The shared state: fields and objects.</summary>
        public RoomState State { get; private set; }

        /// <summary>Voice.</summary>
        public RoomVoice Voice { get; private set; }

        /// <summary>The host's peer id; 0 if there is none.</summary>
        public uint HostId
        {
            get { return NativeMethods.nc_room_host(Number); }
        }

        /// <summary>Whether this client is the host.</summary>
        public bool IsHost
        {
            get { return Me.Id != 0 && HostId == Me.Id; }
        }

        /// <summary>The server's time in us, which is the same for all peers of the room. It never goes
        /// backwards. -1 while the room is not joined. In the first moments after the join, until the clocks
        /// are synchronized, it is a little behind.</summary>
        public long ServerTimeMicroseconds
        {
            get { return NativeMethods.nc_room_server_time_us(Number); }
        }

        /// <summary>How good the connection is.</summary>
        public ConnectionQuality Quality { get; private set; }

        /// <summary>Whether realtime messages travel inside the session, because the realtime port does not
        /// answer.</summary>
        public bool IsOnFallback { get; private set; }

        /// <summary>Figures of the connection.</summary>
        public ConnectionFigures Connection
        {
            get
            {
                ThrowIfClosed();
                NcConnection native;
                Failures.Check(NativeMethods.nc_room_connection(Number, &native));
                return new ConnectionFigures(native);
            }
        }

        /// <summary>Finds a peer. Also finds the own one.</summary>
        public bool TryGetPeer(uint id, out Peer peer)
        {
            peer = id != 0 && id == Me.Id ? Me : null;
            return peer != null || byId.TryGetValue(id, out peer);
        }

        /// <summary>Returns the ticket of the session. Pass it as <see cref="ConnectOptions.Ticket"/> in a
        /// later process to resume the session, with the events that were not taken. It is as secret as a
        /// password. Copy it anew after each event that must not come again, and at least every two minutes.
        /// Null: the server offers none.</summary>
        public string Ticket()
        {
            ThrowIfClosed();
            int length = Failures.CheckCount(NativeMethods.nc_room_ticket(Number, null, 0));
            while (length > 0)
            {
                var text = new byte[length + 1];
                fixed (byte* first = text)
                {
                    int written = NativeMethods.nc_room_ticket(Number, first, text.Length);
                    length = Failures.CheckCount(written);
                }
                if (length < text.Length)
                {
                    return Encoding.UTF8.GetString(text, 0, length);
                }
            }
            return null;
        }

        /// <summary>Hands in a fresh token of the same user.</summary>
        public Task RenewAsync(string token)
        {
            byte[] text = Utf8.Terminated(token, "token");
            return Request(op =>
            {
                fixed (byte* first = text)
                {
                    return NativeMethods.nc_room_renew(Number, first, op);
                }
            });
        }

        /// <summary>Leaves: events that were sent before still arrive. Done when the room is
        /// closed.</summary>
        public Task LeaveAsync()
        {
            ThrowIfDisposed();
            if (Status == SessionStatus.Closed)
            {
                return Task.FromResult(true);
            }
            if (leaving == null)
            {
                Failures.Check(NativeMethods.nc_room_leave(Number));
                leaving = new TaskCompletionSource<bool>();
                Status = SessionStatus.Leaving;
            }
            return leaving.Task;
        }

        /// <summary>Subscribes to the groups (0 to 239), and unsubscribes from all others.</summary>
        public Task SubscribeAsync(params uint[] groups)
        {
            if (groups == null)
            {
                throw new ArgumentNullException("groups");
            }
            return Request(op =>
            {
                fixed (uint* first = groups)
                {
                    return NativeMethods.nc_room_subscribe(Number, first, (uint)groups.Length, op);
                }
            });
        }

        /// <summary>Acts as a moderator. <paramref name="peer"/> is the peer that the act is on; a kick with a
        /// <paramref name="ban"/> keeps its user out for that time. Refused without the right to
        /// moderate.</summary>
        public Task ModerateAsync(ModerationAct act, uint peer = 0, TimeSpan ban = default(TimeSpan))
        {
            uint seconds = checked((uint)Math.Ceiling(ban.TotalSeconds));
            return Request(
                op => NativeMethods.nc_room_moderate(Number, (uint)act, peer, seconds, op));
        }

        /// <summary>Makes a peer the host. The host or a moderator may do this.</summary>
        public Task SetHostAsync(uint peer)
        {
            return State.ChangeAsync(new Batch().SetHost(peer));
        }

        internal override void Free()
        {
            NativeMethods.nc_room_free(Number);
        }

        internal override void FailJoin(Exception exception)
        {
            joined.TrySetException(exception);
            leaving?.TrySetException(exception);
        }

        internal override void OnClosed()
        {
            leaving?.TrySetResult(true);
        }

        /// <summary>Returns the fields of a peer, which may come before the peer.</summary>
        internal FieldSet FieldsOf(uint peer)
        {
            Peer found;
            return TryGetPeer(peer, out found) ? found.Fields : State.EarlyFields(peer);
        }
    }

    /// <summary>Figures of a connection.</summary>
    public struct ConnectionFigures
    {
        internal ConnectionFigures(NcConnection native) : this()
        {
            Quality = (ConnectionQuality)native.quality;
            RoundTripMicroseconds = native.round_trip_us;
            LossDown = native.loss_down;
            LossUp = native.loss_up;
            IsOnFallback = native.on_fallback != 0;
        }

        /// <summary>How good it is.</summary>
        public ConnectionQuality Quality { get; private set; }

        /// <summary>Round trip of the realtime plane in us; -1: unknown.</summary>
        public int RoundTripMicroseconds { get; private set; }

        /// <summary>Share of the datagrams from the server that were lost, 0 to 1; -1: unknown.</summary>
        public float LossDown { get; private set; }

        /// <summary>The same of the datagrams to the server.</summary>
        public float LossUp { get; private set; }

        /// <summary>Whether realtime messages travel inside the session.</summary>
        public bool IsOnFallback { get; private set; }
    }
}
