using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;

namespace Nucleus.Unity
{
    /// <summary>How the objects of a room move: sends those of this client, and keeps those of others. The
    /// message is the object's id (8 bytes), position and rotation (7 floats), little-endian.</summary>
    internal sealed class ObjectMotion
    {
        /// <summary>The channel of the messages. An application must not use it for its own.</summary>
        internal const byte Channel = 239;
        /// <summary>The field with the transform of an object at rest.</summary>
        internal const string StoredKey = "nucleus.transform";

        const int IdBytes = 8, TransformBytes = 28;
        // Shown so much later, there are mostly two transforms to interpolate between: at 20 a second, one that
        // is late by 50 ms still comes in time.
        const long DelayMicroseconds = 100000;
        const float MovedMetres = 0.0005f, Turned = 0.0005f;

        static readonly ConditionalWeakTable<Room, ObjectMotion> Rooms =
            new ConditionalWeakTable<Room, ObjectMotion>();

        readonly Room room;
        readonly Dictionary<ulong, TransformBuffer> buffers = new Dictionary<ulong, TransformBuffer>();
        readonly Dictionary<ulong, ushort> keys = new Dictionary<ulong, ushort>();
        readonly Stack<ushort> freeKeys = new Stack<ushort>();
        int usedKeys;
        readonly byte[] received = new byte[1024];
        readonly byte[] outgoing = new byte[IdBytes + TransformBytes];

        ObjectMotion(Room room)
        {
            this.room = room;
            room.MessageReceived += OnMessage;
        }

        internal static ObjectMotion Of(Room room)
        {
            return Rooms.GetValue(room, of => new ObjectMotion(of));
        }

        internal void Add(ulong id)
        {
            buffers[id] = new TransformBuffer();
        }

        internal void Remove(ulong id)
        {
            buffers.Remove(id);
            ushort key;
            if (keys.TryGetValue(id, out key))
            {
                keys.Remove(id);
                freeKeys.Push(key);
            }
        }

        internal void Clear(ulong id)
        {
            TransformBuffer buffer;
            if (buffers.TryGetValue(id, out buffer))
            {
                buffer.Clear();
            }
        }

        internal bool IsMoving(ulong id)
        {
            TransformBuffer buffer;
            return buffers.TryGetValue(id, out buffer) && !buffer.IsEmpty;
        }

        /// <summary>Returns where an object of another client is to be shown now.</summary>
        internal bool TryGet(ulong id, out BodyTransform shown)
        {
            TransformBuffer buffer;
            long now = room.ServerTimeMicroseconds;
            if (now < 0 || !buffers.TryGetValue(id, out buffer) || buffer.IsEmpty)
            {
                shown = default(BodyTransform);
                return false;
            }
            shown = buffer.At(now - DelayMicroseconds);
            return true;
        }

        internal void Send(ulong id, BodyTransform transform)
        {
            ushort key;
            if (!TryGetKey(id, out key))
            {
                return;
            }
            for (int i = 0; i < IdBytes; i++)
            {
                outgoing[i] = (byte)(id >> (8 * i));
            }
            Pack(transform, outgoing, IdBytes);
            room.SendNewest(Channel, key, outgoing);
        }

        /// <summary>Finds the key of an object, or gives it one. The newest message of each key wins, so each
        /// object needs its own. False if all keys are in use, which needs more objects than a room
        /// has.</summary>
        bool TryGetKey(ulong id, out ushort key)
        {
            if (keys.TryGetValue(id, out key))
            {
                return true;
            }
            if (freeKeys.Count == 0 && usedKeys > ushort.MaxValue)
            {
                return false;
            }
            keys[id] = key = freeKeys.Count > 0 ? freeKeys.Pop() : (ushort)usedKeys++;
            return true;
        }

        internal static bool HasMoved(BodyTransform from, BodyTransform to)
        {
            Vec3 a = from.Position, b = to.Position;
            Quat p = from.Rotation, q = to.Rotation;
            return Math.Abs(a.X - b.X) > MovedMetres || Math.Abs(a.Y - b.Y) > MovedMetres
                || Math.Abs(a.Z - b.Z) > MovedMetres || Math.Abs(p.X - q.X) > Turned
                || Math.Abs(p.Y - q.Y) > Turned || Math.Abs(p.Z - q.Z) > Turned
                || Math.Abs(p.W - q.W) > Turned;
        }

        internal static byte[] Pack(BodyTransform transform)
        {
            var bytes = new byte[TransformBytes];
            Pack(transform, bytes, 0);
            return bytes;
        }

        /// <summary>Reads a transform. False if the bytes are none, or none that can be shown.</summary>
        internal static bool TryUnpack(byte[] bytes, out BodyTransform transform)
        {
            transform = default(BodyTransform);
            return bytes != null && bytes.Length == TransformBytes && TryUnpack(bytes, 0, out transform);
        }

        void OnMessage(RealtimeMessage message)
        {
            if (message.Channel != Channel || message.Length != IdBytes + TransformBytes)
            {
                return;
            }
            message.CopyTo(received);
            ulong id = 0;
            for (int i = 0; i < IdBytes; i++)
            {
                id |= (ulong)received[i] << (8 * i);
            }
            TransformBuffer buffer;
            RoomObject of;
            BodyTransform transform;
            // Only the owner moves an object.
            if (buffers.TryGetValue(id, out buffer) && room.State.TryGetObject(id, out of)
                && of.Owner == message.From && TryUnpack(received, IdBytes, out transform))
            {
                long captured = message.CapturedMicroseconds;
                buffer.Add(captured < 0 ? room.ServerTimeMicroseconds : captured, transform);
            }
        }

        static void Pack(BodyTransform transform, byte[] to, int at)
        {
            Vec3 p = transform.Position;
            Quat q = transform.Rotation;
            Write(p.X, to, at);
            Write(p.Y, to, at + 4);
            Write(p.Z, to, at + 8);
            Write(q.X, to, at + 12);
            Write(q.Y, to, at + 16);
            Write(q.Z, to, at + 20);
            Write(q.W, to, at + 24);
        }

        static bool TryUnpack(byte[] from, int at, out BodyTransform transform)
        {
            var position = new Vec3(Read(from, at), Read(from, at + 4), Read(from, at + 8));
            var rotation = new Quat(
                Read(from, at + 12), Read(from, at + 16), Read(from, at + 20), Read(from, at + 24));
            transform = new BodyTransform(position, rotation);
            bool isValid = transform.IsValid;
            transform.Rotation = isValid ? Unit(rotation) : Quat.Identity;
            return isValid;
        }

        /// <summary>Returns a rotation with length 1, as Unity wants it.</summary>
        static Quat Unit(Quat q)
        {
            var length = (float)Math.Sqrt(q.X * q.X + q.Y * q.Y + q.Z * q.Z + q.W * q.W);
            return new Quat(q.X / length, q.Y / length, q.Z / length, q.W / length);
        }

        static void Write(float value, byte[] to, int at)
        {
            int bits = new FloatBits { Float = value }.Int;
            for (int i = 0; i < 4; i++)
            {
                to[at + i] = (byte)(bits >> (8 * i));
            }
        }

        static float Read(byte[] from, int at)
        {
            int bits = from[at] | from[at + 1] << 8 | from[at + 2] << 16 | from[at + 3] << 24;
            return new FloatBits { Int = bits }.Float;
        }

        [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit)]
        struct FloatBits
        {
            [System.Runtime.InteropServices.FieldOffset(0)]
            internal float Float;
            [System.Runtime.InteropServices.FieldOffset(0)]
            internal int Int;
        }
    }
}
