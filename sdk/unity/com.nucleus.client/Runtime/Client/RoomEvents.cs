using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>The events of a room.</summary>
    public sealed partial class Room
    {
        readonly Callbacks<Peer> peerJoined = new Callbacks<Peer>();
        readonly Callbacks<Peer, Reason> peerLeft = new Callbacks<Peer, Reason>();
        readonly Callbacks<Peer> peerChanged = new Callbacks<Peer>();
        readonly Callbacks<RoomEvent> eventReceived = new Callbacks<RoomEvent>();
        readonly Callbacks<RoomEvent> bulkReceived = new Callbacks<RoomEvent>();
        readonly Callbacks<RealtimeMessage> messageReceived = new Callbacks<RealtimeMessage>();
        readonly Callbacks<RealtimeMessage> pointerReceived = new Callbacks<RealtimeMessage>();
        readonly Callbacks<Peer, bool> speaking = new Callbacks<Peer, bool>();
        readonly Callbacks<uint> hostChanged = new Callbacks<uint>();
        readonly Callbacks<bool> resumed = new Callbacks<bool>();
        readonly Callbacks rejoined = new Callbacks();
        readonly Callbacks clockChanged = new Callbacks();
        readonly Callbacks<bool> fallback = new Callbacks<bool>();
        readonly Callbacks<ConnectionQuality> qualityChanged = new Callbacks<ConnectionQuality>();
        readonly Callbacks<ThrottleReason> throttled = new Callbacks<ThrottleReason>();
        readonly Callbacks<TimeSpan?> tokenWanted = new Callbacks<TimeSpan?>();
        readonly Callbacks<Moderation> moderated = new Callbacks<Moderation>();
        readonly Dictionary<string, Callbacks<uint, byte[]>> typed =
            new Dictionary<string, Callbacks<uint, byte[]>>();

        /// <summary>A peer has joined, or was in the room before.</summary>
        public event Action<Peer> PeerJoined
        {
            add { peerJoined.Add(value); }
            remove { peerJoined.Remove(value); }
        }

        /// <summary>A peer has left.</summary>
        public event Action<Peer, Reason> PeerLeft
        {
            add { peerLeft.Add(value); }
            remove { peerLeft.Remove(value); }
        }

        /// <summary>A peer's presence, mute or right to moderate has changed.</summary>
        public event Action<Peer> PeerChanged
        {
            add { peerChanged.Add(value); }
            remove { peerChanged.Remove(value); }
        }

        /// <summary>A reliable event on a channel. Events with a type go to <see cref="On"/>.</summary>
        public event Action<RoomEvent> EventReceived
        {
            add { eventReceived.Add(value); }
            remove { eventReceived.Remove(value); }
        }

        /// <summary>A message of the bulk lane. It has no sequence.</summary>
        public event Action<RoomEvent> BulkReceived
        {
            add { bulkReceived.Add(value); }
            remove { bulkReceived.Remove(value); }
        }

        /// <summary>An unreliable message, or one of which only the newest counts. Its payload is lent for
        /// the time of the callback.</summary>
        public event Action<RealtimeMessage> MessageReceived
        {
            add { messageReceived.Add(value); }
            remove { messageReceived.Remove(value); }
        }

        /// <summary>A pointer or cursor. Its payload is lent for the time of the callback.</summary>
        public event Action<RealtimeMessage> PointerReceived
        {
            add { pointerReceived.Add(value); }
            remove { pointerReceived.Remove(value); }
        }

        /// <summary>A peer has started or stopped speaking.</summary>
        public event Action<Peer, bool> Speaking
        {
            add { speaking.Add(value); }
            remove { speaking.Remove(value); }
        }

        /// <summary>Another peer is the host; 0: nobody.</summary>
        public event Action<uint> HostChanged
        {
            add { hostChanged.Add(value); }
            remove { hostChanged.Remove(value); }
        }

        /// <summary>The session is resumed. True: the oldest missed events are lost.</summary>
        public event Action<bool> Resumed
        {
            add { resumed.Add(value); }
            remove { resumed.Remove(value); }
        }

        /// <summary>The room was joined again as a new peer. <see cref="Me"/> has the new id. The changes of
        /// peers and state follow.</summary>
        public event Action Rejoined
        {
            add { rejoined.Add(value); }
            remove { rejoined.Remove(value); }
        }

        /// <summary>The server's clock is another one: times from before cannot be compared with those from
        /// now on, see <see cref="ServerTimeMicroseconds"/>.</summary>
        public event Action ClockChanged
        {
            add { clockChanged.Add(value); }
            remove { clockChanged.Remove(value); }
        }

        /// <summary>Realtime messages have changed their way. True: they travel inside the
        /// session.</summary>
        public event Action<bool> Fallback
        {
            add { fallback.Add(value); }
            remove { fallback.Remove(value); }
        }

        /// <summary>The connection became better or worse.</summary>
        public event Action<ConnectionQuality> QualityChanged
        {
            add { qualityChanged.Add(value); }
            remove { qualityChanged.Remove(value); }
        }

        /// <summary>The server delays or drops messages of this client.</summary>
        public event Action<ThrottleReason> Throttled
        {
            add { throttled.Add(value); }
            remove { throttled.Remove(value); }
        }

        /// <summary>A fresh token of the same user is wanted, within this time if it is known: call
        /// <see cref="RenewAsync"/>. With <see cref="ConnectOptions.TokenProvider"/> the room does it
        /// itself.</summary>
        public event Action<TimeSpan?> TokenWanted
        {
            add { tokenWanted.Add(value); }
            remove { tokenWanted.Remove(value); }
        }

        /// <summary>A moderator has acted.</summary>
        public event Action<Moderation> Moderated
        {
            add { moderated.Add(value); }
            remove { moderated.Remove(value); }
        }

        /// <summary>Adds a handler for reliable events of a type: the sender's peer id and the
        /// payload.</summary>
        public void On(string type, Action<uint, byte[]> handler)
        {
            if (type == null || handler == null)
            {
                throw new ArgumentNullException(type == null ? "type" : "handler");
            }
            Callbacks<uint, byte[]> handlers;
            if (!typed.TryGetValue(type, out handlers))
            {
                typed[type] = handlers = new Callbacks<uint, byte[]>();
            }
            handlers.Add(handler);
        }

        /// <summary>Removes a handler for events of a type.</summary>
        public void Off(string type, Action<uint, byte[]> handler)
        {
            Callbacks<uint, byte[]> handlers;
            if (typed.TryGetValue(type, out handlers))
            {
                handlers.Remove(handler);
            }
        }

        internal override unsafe void OnJoined(NcEvent* from)
        {
            Name = Utf8.Text(from->name);
            Me.Id = from->peer;
            Me.Read(Number);
            joined.TrySetResult(this);
        }

        internal override void OnPolled()
        {
            State.RaiseCreated();
        }

        internal override unsafe void OnEvent(NcEvent* from)
        {
            if (State.Dispatch(from))
            {
                return;
            }
            // What is not of the state may refer to objects that were created before.
            State.RaiseCreated();
            switch ((NcEventKind)from->kind)
            {
                case NcEventKind.PeerJoined: OnPeerJoined(from); break;
                case NcEventKind.PeerLeft: OnPeerLeft(from); break;
                case NcEventKind.PeerChanged: OnPeerChanged(from); break;
                case NcEventKind.Speaking: OnSpeaking(from); break;
                case NcEventKind.Event: eventReceived.Raise(Client, Event(from)); break;
                case NcEventKind.Bulk: bulkReceived.Raise(Client, Event(from)); break;
                case NcEventKind.TypedEvent: OnTypedEvent(from); break;
                case NcEventKind.Message:
                    messageReceived.Raise(Client, new RealtimeMessage(Client, from));
                    break;
                case NcEventKind.Pointer:
                    pointerReceived.Raise(Client, new RealtimeMessage(Client, from));
                    break;
                case NcEventKind.Voice: Voice.Raise(new RealtimeMessage(Client, from)); break;
                case NcEventKind.RpcRequest: rpc.Dispatch(from); break;
                case NcEventKind.Moderated: moderated.Raise(Client, new Moderation(from)); break;
                case NcEventKind.Throttled:
                    throttled.Raise(Client, (ThrottleReason)from->key);
                    break;
                case NcEventKind.TokenWanted: OnTokenWanted(from); break;
                default: OnConnection(from); break;
            }
        }

        unsafe void OnConnection(NcEvent* from)
        {
            switch ((NcEventKind)from->kind)
            {
                case NcEventKind.HostChanged: hostChanged.Raise(Client, from->peer); break;
                case NcEventKind.Resumed: resumed.Raise(Client, from->flags != 0); break;
                case NcEventKind.Rejoined:
                    // The old id's fields are deleted on the server.
                    Me.Fields.Clear();
                    Me.Id = from->peer;
                    Me.Read(Number);
                    rejoined.Raise(Client);
                    break;
                case NcEventKind.ClockChanged: clockChanged.Raise(Client); break;
                case NcEventKind.Fallback:
                    IsOnFallback = from->flags != 0;
                    fallback.Raise(Client, IsOnFallback);
                    break;
                case NcEventKind.Quality:
                    Quality = (ConnectionQuality)from->flags;
                    qualityChanged.Raise(Client, Quality);
                    break;
            }
        }

        static unsafe RoomEvent Event(NcEvent* from)
        {
            byte[] payload = Utf8.Copy(from->payload);
            return new RoomEvent(from->peer, (byte)from->channel, from->sequence, payload);
        }

        unsafe void OnTypedEvent(NcEvent* from)
        {
            Callbacks<uint, byte[]> handlers;
            if (typed.TryGetValue(Utf8.Text(from->name), out handlers))
            {
                handlers.Raise(Client, from->peer, Utf8.Copy(from->payload));
            }
        }

        unsafe void OnPeerJoined(NcEvent* from)
        {
            var peer = new Peer(this, from->peer, State.TakeEarlyFields(from->peer));
            peer.SetName(Utf8.Text(from->name));
            peer.SetFlags(from->flags);
            peer.Read(Number);
            byId[peer.Id] = peer;
            peers.Add(peer);
            peerJoined.Raise(Client, peer);
        }

        unsafe void OnPeerLeft(NcEvent* from)
        {
            Peer peer;
            if (byId.TryGetValue(from->peer, out peer))
            {
                byId.Remove(peer.Id);
                peers.Remove(peer);
                peer.IsSpeaking = false;
                State.KeepFields(peer);
                peer.RaiseLeft();
                peerLeft.Raise(Client, peer, new Reason(from->code, ""));
            }
        }

        unsafe void OnPeerChanged(NcEvent* from)
        {
            Peer peer;
            if (TryGetPeer(from->peer, out peer))
            {
                peer.SetFlags(from->flags);
                peer.RaiseChanged();
                peerChanged.Raise(Client, peer);
            }
        }

        unsafe void OnSpeaking(NcEvent* from)
        {
            Peer peer;
            if (TryGetPeer(from->peer, out peer))
            {
                peer.IsSpeaking = from->flags != 0;
                speaking.Raise(Client, peer, peer.IsSpeaking);
            }
        }

        unsafe void OnTokenWanted(NcEvent* from)
        {
            long within = from->duration_ms;
            tokenWanted.Raise(Client,
                within < 0 ? (TimeSpan?)null : TimeSpan.FromMilliseconds(within));
            if (options.TokenProvider != null)
            {
                RenewFromProvider();
            }
        }

        async void RenewFromProvider()
        {
            try
            {
                string token = await options.TokenProvider();
                await RenewAsync(token);
            }
            catch (Exception exception)
            {
                if (Status != SessionStatus.Closed)
                {
                    Client.Report(exception);
                }
            }
        }
    }

    /// <summary>What a moderator has done.</summary>
    public struct Moderation
    {
        internal unsafe Moderation(NcEvent* from) : this()
        {
            By = from->by;
            Peer = from->peer;
            User = Utf8.Text(from->name);
            Act = (ModerationAct)from->key;
            Ban = TimeSpan.FromMilliseconds(Math.Max(0, from->duration_ms));
        }

        /// <summary>The moderator's peer id.</summary>
        public uint By { get; private set; }

        /// <summary>The peer that the act was on; 0 if none.</summary>
        public uint Peer { get; private set; }

        /// <summary>The user that the act was on.</summary>
        public string User { get; private set; }

        /// <summary>The act.</summary>
        public ModerationAct Act { get; private set; }

        /// <summary>How long the user is banned.</summary>
        public TimeSpan Ban { get; private set; }
    }
}
