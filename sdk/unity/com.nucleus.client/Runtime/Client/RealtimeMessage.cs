using System;
using System.Runtime.InteropServices;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>A realtime message: a pointer, an unreliable message or a voice packet. Its payload is
    /// lent: read or copy it before the callback returns. So a message allocates nothing.</summary>
    public unsafe struct RealtimeMessage
    {
        readonly NucleusClient client;
        readonly int poll;
        readonly byte* data;

        internal RealtimeMessage(NucleusClient client, NcEvent* from) : this()
        {
            this.client = client;
            poll = client.PollNumber;
            data = from->payload.data;
            Length = (int)from->payload.len;
            From = from->peer;
            Channel = (byte)from->channel;
            Key = (ushort)from->key;
            Sequence = from->sequence;
            Flags = (VoiceFlags)from->flags;
            CapturedMicroseconds = from->captured_us;
            AgeMicroseconds = from->age_us;
        }

        /// <summary>The sender's peer id.</summary>
        public uint From { get; private set; }

        /// <summary>The channel, chosen by the application.</summary>
        public byte Channel { get; private set; }

        /// <summary>The key, chosen by the application. Of a voice packet: its level in -dBov, 0 is
        /// loudest.</summary>
        public ushort Key { get; private set; }

        /// <summary>The sender's number of the message.</summary>
        public ulong Sequence { get; private set; }

        /// <summary>The flags of a voice packet.</summary>
        public VoiceFlags Flags { get; private set; }

        /// <summary>The moment of the capture, by the server's clock, in us; -1: unknown.</summary>
        public long CapturedMicroseconds { get; private set; }

        /// <summary>Time from the capture to the arrival, in us; -1: unknown.</summary>
        public long AgeMicroseconds { get; private set; }

        /// <summary>Number of bytes of the payload.</summary>
        public int Length { get; private set; }

        /// <summary>Copies the payload to <paramref name="target"/>, and returns its length.</summary>
        public int CopyTo(byte[] target, int offset = 0)
        {
            byte* from = Lent();
            if (Length > 0)
            {
                Marshal.Copy((IntPtr)from, target, offset, Length);
            }
            return Length;
        }

        /// <summary>Returns a copy of the payload.</summary>
        public byte[] ToArray()
        {
            var copy = new byte[Length];
            CopyTo(copy);
            return copy;
        }

        byte* Lent()
        {
            if (client == null || !client.IsLent(poll))
            {
                throw new InvalidOperationException(
                    "the payload of a realtime message is valid in the callback only: copy it there");
            }
            return data;
        }
    }

    /// <summary>A reliable event on a channel.</summary>
    public struct RoomEvent
    {
        internal RoomEvent(uint from, byte channel, ulong sequence, byte[] payload) : this()
        {
            From = from;
            Channel = channel;
            Sequence = sequence;
            Payload = payload;
        }

        /// <summary>The sender's peer id.</summary>
        public uint From { get; private set; }

        /// <summary>The channel, chosen by the application.</summary>
        public byte Channel { get; private set; }

        /// <summary>The position in the order in which the room took events. Two peers see the same
        /// numbers; numbers of events for others are missing.</summary>
        public ulong Sequence { get; private set; }

        /// <summary>The application's data.</summary>
        public byte[] Payload { get; private set; }
    }
}
