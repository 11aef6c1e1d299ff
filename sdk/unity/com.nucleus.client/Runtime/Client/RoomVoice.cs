using System;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>Voice of a room. <see cref="Speak"/> and <see cref="Play"/> work with samples and need a
    /// native library that was built with Opus (<see cref="HasOpus"/>). <see cref="Send"/> and
    /// <see cref="Pull"/> work with Opus packets of the application's own codec. These methods allocate
    /// nothing, and may be called on the thread of the sound device.</summary>
    public sealed unsafe class RoomVoice
    {
        /// <summary>Samples of a frame: 20 ms of one channel at 48 kHz.</summary>
        public const int FrameSamples = 960;
        /// <summary>Samples a second.</summary>
        public const int SampleRate = 48000;
        /// <summary>A buffer of this size takes every Opus packet.</summary>
        public const int LargestPacket = 1000;

        readonly Room room;
        readonly Callbacks<RealtimeMessage> received = new Callbacks<RealtimeMessage>();

        internal RoomVoice(Room room)
        {
            this.room = room;
        }

        /// <summary>A voice packet has come. Only raised until <see cref="Pull"/> or <see cref="Play"/> is
        /// called. Its payload is lent for the time of the callback.</summary>
        public event Action<RealtimeMessage> PacketReceived
        {
            add { received.Add(value); }
            remove { received.Remove(value); }
        }

        /// <summary>Sends an Opus packet of 20 ms. <paramref name="level"/> is its loudness in -dBov: 0 is
        /// loudest, 127 is silence.</summary>
        public void Send(byte[] opus, int length, byte level, VoiceFlags flags, To to = default(To))
        {
            room.ThrowIfClosed();
            if (opus == null || length < 0 || length > opus.Length)
            {
                throw new ArgumentOutOfRangeException("length", "it is outside the array");
            }
            fixed (uint* peers = to.PeerIds)
            fixed (byte* first = opus)
            {
                NcTarget target = to.Native(peers);
                Session.CheckRealtime(NativeMethods.nc_room_send_voice(
                    room.Number, &target, level, (uint)flags, first, (uint)length));
            }
        }

        /// <summary>Writes the Opus packet for the next 20 ms of a speaker, and returns its length. Call it
        /// for each speaker every 20 ms, by the clock of the sound device.</summary>
        public int Pull(uint peer, byte[] opus, out VoiceStep step)
        {
            room.ThrowIfClosed();
            uint native;
            fixed (byte* first = opus)
            {
                int length = NativeMethods.nc_room_voice(
                    room.Number, peer, first, opus.Length, &native);
                step = (VoiceStep)native;
                return Failures.CheckCount(length);
            }
        }

        /// <summary>Whether the native library encodes and decodes Opus.</summary>
        public static bool HasOpus
        {
            get
            {
                try
                {
                    // No room has this number. A library without Opus says so first.
                    float sample;
                    return NativeMethods.nc_room_speak(0, null, &sample, 0) != NcResult.NotOffered;
                }
                catch (EntryPointNotFoundException)
                {
                    return false;
                }
            }
        }

        /// <summary>Sends 20 ms of the microphone: 960 samples of one channel at 48 kHz, from -1 to 1.
        /// Encodes them, and sends nothing in silence.</summary>
        /// <exception cref="NucleusException"><see cref="NucleusResult.NotOffered"/>: the native library was
        /// built without Opus.</exception>
        public void Speak(float[] samples, To to = default(To))
        {
            room.ThrowIfClosed();
            CheckFrame(samples);
            fixed (uint* peers = to.PeerIds)
            fixed (float* first = samples)
            {
                NcTarget target = to.Native(peers);
                Session.CheckRealtime(NativeMethods.nc_room_speak(room.Number, &target, first, FrameSamples));
            }
        }

        /// <summary>Writes the next 20 ms of a speaker: 960 samples of one channel at 48 kHz, decoded,
        /// concealed, or zeroes. Call it for each speaker every 20 ms, by the clock of the sound
        /// device.</summary>
        /// <exception cref="NucleusException"><see cref="NucleusResult.NotOffered"/>: the native library was
        /// built without Opus.</exception>
        public VoiceStep Play(uint peer, float[] samples)
        {
            room.ThrowIfClosed();
            CheckFrame(samples);
            uint step;
            fixed (float* first = samples)
            {
                Failures.CheckCount(
                    NativeMethods.nc_room_play(room.Number, peer, first, FrameSamples, &step));
            }
            return (VoiceStep)step;
        }

        /// <summary>Mutes or unmutes this client. It stops sending voice at once; the task says that the
        /// server knows.</summary>
        public Task SetMutedAsync(bool isMuted)
        {
            uint muted = isMuted ? 1u : 0u;
            return room.Request(op => NativeMethods.nc_room_set_muted(room.Number, muted, op));
        }

        internal void Raise(RealtimeMessage packet)
        {
            received.Raise(room.Client, packet);
        }

        static void CheckFrame(float[] samples)
        {
            if (samples == null || samples.Length < FrameSamples)
            {
                throw new ArgumentException("a frame has 960 samples", "samples");
            }
        }
    }
}
