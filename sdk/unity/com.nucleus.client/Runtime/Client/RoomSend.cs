using System;
using System.Text;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>What a client sends. Realtime messages of a room that is about to be closed are ignored.
    ///
    /// These methods may be called on any thread, except <c>Handle</c> and <see cref="RemoveHandler"/>: call
    /// those on the thread that polls. They allocate nothing, except those that take a text, a type or the
    /// name of a method.</summary>
    public sealed unsafe partial class Room
    {
        /// <summary>Sends a message in the C library.</summary>
        delegate NcResult NativeSend(
            ulong room, NcTarget* to, byte channel, ushort key, byte* payload, uint length);

        static readonly NativeSend Pointer = NativeMethods.nc_room_send_pointer;
        static readonly NativeSend Unreliable = NativeMethods.nc_room_send_unreliable;
        static readonly NativeSend Newest = NativeMethods.nc_room_send_newest;
        static readonly NativeSend ReliableEvent = (room, to, channel, key, payload, length) =>
            NativeMethods.nc_room_send_event(room, to, channel, payload, length);
        static readonly NativeSend Bulk = (room, to, channel, key, payload, length) =>
            NativeMethods.nc_room_send_bulk(room, to, channel, payload, length);

        /// <summary>Writes the poses of the others to <paramref name="poses"/> and returns how many were
        /// written: those to show in this frame, interpolated. Call it once a frame.</summary>
        public int ReadPoses(ShownPose[] poses)
        {
            int total;
            return ReadPoses(poses, out total);
        }

        /// <summary>As <see cref="ReadPoses(ShownPose[])"/>. <paramref name="total"/> is the number of poses
        /// that there are: if it is larger than the array, the rest was not written.</summary>
        public int ReadPoses(ShownPose[] poses, out int total)
        {
            if (poses == null)
            {
                throw new ArgumentNullException("poses");
            }
            ThrowIfClosed();
            fixed (ShownPose* first = poses)
            {
                int count = NativeMethods.nc_room_poses(Number, (NcShownPose*)first, poses.Length);
                total = count == (int)NcResult.Closed ? 0 : Failures.CheckCount(count);
                return Math.Min(total, poses.Length);
            }
        }

        /// <summary>Copies the bytes that travel with the newest pose of a peer to <paramref name="rest"/>, for
        /// example fingers and buttons, and returns their number. If they do not fit, nothing is copied: 900
        /// bytes are always enough.</summary>
        public int ReadRest(uint peer, ushort key, byte[] rest)
        {
            fixed (byte* to = rest)
            {
                return Failures.CheckCount(NativeMethods.nc_room_pose_rest(Number, peer, key, to, rest.Length));
            }
        }

        /// <summary>Sends the pose of head and hands to all others; the newest one wins.</summary>
        public void SendPose(BodyPose pose)
        {
            SendPose(To.Others, 0, pose, null, 0);
        }

        /// <summary>Sends the pose of head and hands; the newest one wins. <paramref name="key"/> is 0,
        /// unless this client has several bodies. The first <paramref name="restLength"/> bytes of
        /// <paramref name="rest"/> travel with the pose, for example fingers and buttons: at most
        /// 860.</summary>
        public void SendPose(To to, ushort key, BodyPose pose, byte[] rest, int restLength)
        {
            ThrowIfClosed();
            if (restLength < 0 || restLength > Length(rest))
            {
                throw new ArgumentOutOfRangeException("restLength", "it is outside the array");
            }
            fixed (uint* peers = to.PeerIds)
            fixed (byte* bytes = rest)
            {
                NcTarget target = to.Native(peers);
                CheckRealtime(NativeMethods.nc_room_send_pose(
                    Number, &target, key, (NcPose*)&pose, bytes, (uint)restLength));
            }
        }

        /// <summary>Sends a pointer or cursor of at most 900 bytes. The newest one of each channel and key
        /// wins.</summary>
        public void SendPointer(byte channel, ushort key, byte[] payload, To to = default(To))
        {
            CheckRealtime(Send(Pointer, to, channel, key, payload));
        }

        /// <summary>Sends an unreliable message of at most 900 bytes: it may be lost, and does not replace
        /// others.</summary>
        public void SendUnreliable(byte channel, ushort key, byte[] payload, To to = default(To))
        {
            CheckRealtime(Send(Unreliable, to, channel, key, payload));
        }

        /// <summary>Sends an unreliable message of at most 900 bytes that replaces earlier ones of its
        /// channel and key, for example an object's movement.</summary>
        public void SendNewest(byte channel, ushort key, byte[] payload, To to = default(To))
        {
            CheckRealtime(Send(Newest, to, channel, key, payload));
        }

        /// <summary>Sends a reliable, ordered event of at most 16 KiB on a channel below 240. It arrives
        /// once, also over a lost session.</summary>
        /// <exception cref="NucleusException"><see cref="NucleusResult.WouldBlock"/>: too many events wait.
        /// See <see cref="TrySendEvent"/>.</exception>
        public void SendEvent(byte channel, byte[] payload, To to = default(To))
        {
            Failures.Check(Send(ReliableEvent, to, channel, 0, payload));
        }

        /// <summary>As <see cref="SendEvent"/>, but returns false if too many events wait: try again in a
        /// later frame.</summary>
        public bool TrySendEvent(byte channel, byte[] payload, To to = default(To))
        {
            return Sent(Send(ReliableEvent, to, channel, 0, payload));
        }

        /// <summary>Sends a reliable message of at most 64 KiB on the bulk lane, so that no event waits for
        /// it.</summary>
        public void SendBulk(byte channel, byte[] payload, To to = default(To))
        {
            Failures.Check(Send(Bulk, to, channel, 0, payload));
        }

        /// <summary>As <see cref="SendBulk"/>, but returns false if too much waits.</summary>
        public bool TrySendBulk(byte channel, byte[] payload, To to = default(To))
        {
            return Sent(Send(Bulk, to, channel, 0, payload));
        }

        /// <summary>Sends a reliable, ordered event with a type of 1 to 64 bytes. The others handle it with
        /// <see cref="On"/>.</summary>
        public void Send(string type, byte[] payload, To to = default(To))
        {
            Failures.Check(SendTyped(type, payload, to));
        }

        /// <summary>Sends a text as a reliable, ordered event with a type.</summary>
        public void Send(string type, string text, To to = default(To))
        {
            Send(type, Encoding.UTF8.GetBytes(text), to);
        }

        /// <summary>As <see cref="Send(string, byte[], To)"/>, but returns false if too many events
        /// wait.</summary>
        public bool TrySend(string type, byte[] payload, To to = default(To))
        {
            return Sent(SendTyped(type, payload, to));
        }

        /// <summary>Calls a method of another peer, and returns its answer. The default timeout is 10 s, the
        /// longest 60 s.</summary>
        /// <exception cref="NucleusException"><see cref="NucleusResult.NoSuchMethod"/>: the peer has no
        /// handler. <see cref="NucleusResult.RpcFailed"/>: its handler failed. After
        /// <see cref="NucleusResult.TimedOut"/> and <see cref="NucleusResult.Interrupted"/> it is unknown
        /// whether the peer has carried out the call.</exception>
        public Task<byte[]> RpcAsync(
            uint peer, string method, byte[] payload, TimeSpan? timeout = null)
        {
            byte[] name = Utf8.Terminated(method, "method");
            double wait = (timeout ?? TimeSpan.FromSeconds(10)).TotalMilliseconds;
            if (wait < 1 || wait > 60000)
            {
                throw new ArgumentOutOfRangeException("timeout", "a timeout is 1 ms to 60 s");
            }
            return Request(op =>
            {
                fixed (byte* text = name)
                fixed (byte* bytes = payload)
                {
                    return NativeMethods.nc_room_rpc(
                        Number, peer, text, bytes, (uint)Length(payload), (uint)wait, op);
                }
            }, result => result.Payload);
        }

        /// <summary>Answers calls of a method: the bytes that the handler returns are the answer. Replaces a
        /// handler that was there. An <see cref="RpcException"/> becomes the caller's error with its code and
        /// text; any other exception becomes code 256 without its text, and is reported by
        /// <see cref="NucleusClient.CallbackFailed"/>. So does an answer that is too large: the limit is
        /// 16,377 bytes, or less if the server says so. An answer that must wait for capacity is sent in a
        /// later poll.</summary>
        public void Handle(string method, Func<RpcRequest, byte[]> handler)
        {
            rpc.Add(method, handler);
        }

        /// <summary>As above, with an answer that takes time.</summary>
        public void HandleAsync(string method, Func<RpcRequest, Task<byte[]>> handler)
        {
            rpc.Add(method, handler);
        }

        /// <summary>Removes the handler of a method.</summary>
        public void RemoveHandler(string method)
        {
            rpc.Remove(method);
        }

        NcResult Send(
            NativeSend send, To to, byte channel, ushort key, byte[] payload)
        {
            ThrowIfClosed();
            fixed (uint* peers = to.PeerIds)
            fixed (byte* bytes = payload)
            {
                NcTarget target = to.Native(peers);
                return send(Number, &target, channel, key, bytes, (uint)Length(payload));
            }
        }

        NcResult SendTyped(string type, byte[] payload, To to)
        {
            ThrowIfClosed();
            fixed (byte* text = Utf8.Terminated(type, "type"))
            fixed (uint* peers = to.PeerIds)
            fixed (byte* bytes = payload)
            {
                NcTarget target = to.Native(peers);
                return NativeMethods.nc_room_send_typed_event(
                    Number, &target, text, bytes, (uint)Length(payload));
            }
        }

        static bool Sent(NcResult result)
        {
            if (result == NcResult.WouldBlock)
            {
                return false;
            }
            Failures.Check(result);
            return true;
        }

        static int Length(byte[] payload)
        {
            return payload == null ? 0 : payload.Length;
        }
    }
}
