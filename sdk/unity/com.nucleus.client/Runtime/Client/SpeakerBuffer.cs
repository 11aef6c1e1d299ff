using System;

namespace Nucleus
{
    /// <summary>What one speaker says, for a sound device of any rate and block size. Runs on the thread of
    /// the sound device, and allocates nothing.</summary>
    public sealed class SpeakerBuffer
    {
        /// <summary>Writes the next 20 ms of the speaker to a frame of 960 samples.</summary>
        public delegate void FrameSource(float[] frame);

        readonly FrameSource source;
        readonly VoiceBuffer buffer;
        readonly float[] frame = new float[RoomVoice.FrameSamples];
        readonly float[] block = new float[256];

        /// <summary>Makes a buffer. <paramref name="source"/> is called every 20 ms of the device.</summary>
        public SpeakerBuffer(FrameSource source, int outputRate)
        {
            if (source == null)
            {
                throw new ArgumentNullException("source");
            }
            this.source = source;
            buffer = new VoiceBuffer(RoomVoice.SampleRate, outputRate, 4 * RoomVoice.FrameSamples);
        }

        /// <summary>Writes the next samples, one channel.</summary>
        public void Read(float[] target, int offset, int count)
        {
            for (int done = 0; done < count;)
            {
                int read = buffer.Read(target, offset + done, count - done);
                if (read == 0)
                {
                    source(frame);
                    buffer.Write(frame, 0, frame.Length);
                }
                done += read;
            }
        }

        /// <summary>Multiplies all channels of an interleaved block with the speaker's samples. So a block
        /// that has the volume and panning of the speaker's place becomes the speaker's voice there.</summary>
        public void MultiplyInto(float[] data, int channels)
        {
            int frames = data.Length / channels;
            for (int done = 0; done < frames;)
            {
                int count = Math.Min(block.Length, frames - done);
                Read(block, 0, count);
                for (int i = 0; i < count * channels; i++)
                {
                    data[done * channels + i] *= block[i / channels];
                }
                done += count;
            }
        }
    }
}
