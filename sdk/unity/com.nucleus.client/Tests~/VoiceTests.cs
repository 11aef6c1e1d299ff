using System;
using System.Linq;
using System.Threading;

namespace Nucleus.Tests
{
    /// <summary>Voice packets, samples, and the buffers between sound devices.</summary>
    static class VoiceTests
    {
        [Case]
        static void PacketsInAndOut()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                var packet = Enumerable.Range(0, 80).Select(i => (byte)i).ToArray();
                int received = 0;
                bool isSpeaking = false;
                second.Voice.PacketReceived += voice =>
                {
                    Check.That(voice.ToArray().SequenceEqual(packet), "the packet is unchanged");
                    Check.Equal((ushort)20, voice.Key, "its level");
                    received++;
                };
                second.Speaking += (peer, speaks) => isSpeaking = speaks;
                World.Until(() =>
                {
                    Speak(first, packet);
                    return received > 5 && isSpeaking;
                }, "packets as events", ada, bob);
                Check.That(second.Peers[0].IsSpeaking, "the peer speaks");
                // By the clock of a sound device.
                int pulled = 0, events = received;
                var opus = new byte[RoomVoice.LargestPacket];
                World.Until(() =>
                {
                    Speak(first, packet);
                    VoiceStep step;
                    int length = second.Voice.Pull(first.Me.Id, opus, out step);
                    if (step == VoiceStep.Packet)
                    {
                        Check.Equal(packet.Length, length, "the packet's length");
                        Check.That(opus.Take(length).SequenceEqual(packet), "the packet is unchanged");
                        pulled++;
                    }
                    return pulled > 20;
                }, "packets are pulled", ada, bob);
                Check.That(received <= events + 10, "packets no longer come as events");
                World.Until(() => !isSpeaking, "the peer is silent", ada, bob);
                World.Wait(first.Voice.SetMutedAsync(true), ada, bob);
                World.Until(() => second.Peers[0].IsSelfMuted, "ada has muted herself", ada, bob);
            }
        }

        static void Speak(Room room, byte[] packet)
        {
            room.Voice.Send(packet, packet.Length, 20, VoiceFlags.Speaking);
            Thread.Sleep(18);
        }

        [Case]
        static void SamplesThroughTheCodec()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                var frame = new float[RoomVoice.FrameSamples];
                if (!RoomVoice.HasOpus)
                {
                    Console.WriteLine("       the library has no Opus");
                    var missing = Check.Throws<NucleusException>(
                        () => first.Voice.Speak(frame), "a library without Opus");
                    Check.Equal(NucleusResult.NotOffered, missing.Result, "the result");
                    return;
                }
                Check.Throws<ArgumentException>(() => first.Voice.Speak(new float[100]), "a short frame");
                var speaker = new SpeakerBuffer(
                    samples => second.Voice.Play(first.Me.Id, samples), 44100);
                var block = new float[882];
                double phase = 0, loudest = 0;
                World.Until(() =>
                {
                    for (int i = 0; i < frame.Length; i++)
                    {
                        frame[i] = 0.5f * (float)Math.Sin(phase);
                        phase += 2 * Math.PI * 440 / RoomVoice.SampleRate;
                    }
                    first.Voice.Speak(frame);
                    speaker.Read(block, 0, block.Length);
                    double power = block.Sum(sample => (double)sample * sample) / block.Length;
                    loudest = Math.Max(loudest, Math.Sqrt(power));
                    Thread.Sleep(18);
                    return loudest > 0.25;
                }, "bob hears the tone, of 0.35", ada, bob);
                Check.That(loudest < 0.45, "the tone's level is " + loudest);
            }
        }

        static float[] Tone(int rate, double hertz, int count)
        {
            return Enumerable.Range(0, count)
                .Select(i => (float)Math.Sin(2 * Math.PI * hertz * i / rate)).ToArray();
        }

        /// <summary>A tone keeps its form at each pair of rates, whatever the sizes of the blocks.</summary>
        [Case]
        static void ToneAtOtherRates()
        {
            int[] rates = { 16000, 24000, 44100, 48000, 96000 };
            foreach (int from in rates)
            {
                foreach (int to in rates)
                {
                    float[] tone = Tone(from, 300, from / 2);
                    var buffer = new VoiceBuffer(from, to, from);
                    var result = new float[to];
                    int written = 0, read = 0;
                    var random = new Random(from + to);
                    while (written < tone.Length)
                    {
                        int count = Math.Min(random.Next(1, 700), tone.Length - written);
                        buffer.Write(tone, written, count);
                        written += count;
                        read += buffer.Read(result, read, random.Next(1, 900));
                    }
                    read += buffer.Read(result, read, result.Length - read);
                    string rate = from + " to " + to;
                    Check.That(Math.Abs(read - to / 2) < to / 1000 + 8, rate + ": " + read + " samples");
                    float[] expected = Tone(to, 300, read);
                    // The first milliseconds begin in the silence before.
                    double worst = 0;
                    for (int i = to / 200; i < read; i++)
                    {
                        worst = Math.Max(worst, Math.Abs(result[i] - expected[i]));
                    }
                    Check.That(worst < 0.02, rate + ": the error is " + worst);
                    Check.Equal(0L, buffer.Lost, rate + ": lost samples");
                }
            }
        }

        [Case]
        static void ABufferThatNobodyReads()
        {
            var buffer = new VoiceBuffer(48000, 48000, 1000);
            var block = new float[300];
            for (int i = 0; i < 10; i++)
            {
                for (int j = 0; j < block.Length; j++)
                {
                    block[j] = i * block.Length + j;
                }
                buffer.Write(block, 0, block.Length);
            }
            Check.That(buffer.Lost > 1900 && buffer.Lost < 2100, buffer.Lost + " samples are lost");
            var first = new float[1];
            Check.Equal(1, buffer.Read(first, 0, 1), "there is a sample");
            Check.That(first[0] >= 2000 && first[0] < 2020, "the oldest that is left is " + first[0]);
            buffer.Clear();
            Check.Equal(0, buffer.Available, "after Clear");
            // Two channels become one.
            buffer.Write(Enumerable.Repeat(new[] { 1f, 3f }, 50).SelectMany(pair => pair).ToArray(), 0, 50, 2);
            var mixed = new float[40];
            Check.Equal(40, buffer.Read(mixed, 0, 40), "samples of both channels");
            Check.Equal(2f, mixed[30], "their mean");
        }

        [Case]
        static void ASpeakerFillsEveryBlock()
        {
            int frames = 0;
            var speaker = new SpeakerBuffer(frame =>
            {
                frames++;
                for (int i = 0; i < frame.Length; i++)
                {
                    frame[i] = 0.5f;
                }
            }, 24000);
            var block = new float[2 * 480];
            for (int i = 0; i < block.Length; i++)
            {
                block[i] = i % 2 == 0 ? 1 : 0.25f;
            }
            speaker.Read(new float[480], 0, 480);
            speaker.Read(new float[480], 0, 480);
            speaker.MultiplyInto(block, 2);
            bool isPanned = block.Where((sample, i) => sample != (i % 2 == 0 ? 0.5f : 0.125f)).Count() == 0;
            Check.That(isPanned, "each channel keeps its volume");
            // 60 ms of the device; the curve needs a few samples of the next frame.
            Check.That(frames == 3 || frames == 4, frames + " frames were asked for");
        }
    }
}
