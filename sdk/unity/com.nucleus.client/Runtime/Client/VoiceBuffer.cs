using System;

namespace Nucleus
{
    /// <summary>
    /// Samples of one channel between two sound devices of different rates, for example a microphone at
    /// 44.1 kHz and the codec at 48 kHz. Each side takes any number of samples. Allocates nothing after it
    /// is made. One thread at a time may use it.
    ///
    /// Interpolates with a cubic curve (Catmull-Rom). If the rate falls, the samples between two outputs are
    /// averaged, which dampens what would alias. That is enough for speech; it is no mastering resampler.
    /// </summary>
    public sealed class VoiceBuffer
    {
        // The curve needs one sample before and two after the position.
        const int Before = 1;
        const int After = 2;

        readonly float[] ring;
        readonly double step;
        long written;
        double position = Before;

        /// <summary>Makes a buffer for <paramref name="capacity"/> input samples. What does not fit pushes the
        /// oldest samples out.</summary>
        public VoiceBuffer(int inputRate, int outputRate, int capacity)
        {
            if (inputRate <= 0 || outputRate <= 0 || capacity < 16)
            {
                throw new ArgumentOutOfRangeException("capacity", "rates are positive, and capacity is 16 or more");
            }
            ring = new float[capacity];
            step = (double)inputRate / outputRate;
            written = Before;
        }

        /// <summary>Number of samples that <see cref="Read"/> can return now.</summary>
        public int Available
        {
            get
            {
                double last = written - 1 - After - Math.Max(0, Math.Ceiling(step / 2));
                return last < position ? 0 : (int)((last - position) / step) + 1;
            }
        }

        /// <summary>Number of samples that were pushed out because nobody read them.</summary>
        public long Lost { get; private set; }

        /// <summary>Adds samples. With several <paramref name="channels"/>, averages them.</summary>
        public void Write(float[] samples, int offset, int frames, int channels = 1)
        {
            for (int i = 0; i < frames; i++)
            {
                float sum = 0;
                for (int channel = 0; channel < channels; channel++)
                {
                    sum += samples[offset + i * channels + channel];
                }
                ring[(int)(written++ % ring.Length)] = sum / channels;
            }
            double oldest = written - ring.Length + Before + Math.Ceiling(step / 2);
            if (position < oldest)
            {
                Lost += (long)Math.Ceiling(oldest - position);
                position = oldest;
            }
        }

        /// <summary>Writes up to <paramref name="count"/> samples to <paramref name="target"/>, and returns
        /// how many there were.</summary>
        public int Read(float[] target, int offset, int count)
        {
            int ready = Math.Min(count, Available);
            for (int i = 0; i < ready; i++)
            {
                target[offset + i] = step > 1 ? Average() : Curve();
                position += step;
            }
            return ready;
        }

        /// <summary>Forgets all samples.</summary>
        public void Clear()
        {
            Array.Clear(ring, 0, ring.Length);
            position = written;
            written += Before;
        }

        float At(long index)
        {
            return ring[(int)(index % ring.Length)];
        }

        float Curve()
        {
            var index = (long)position;
            var t = (float)(position - index);
            float a = At(index - 1), b = At(index), c = At(index + 1), d = At(index + 2);
            return b + 0.5f * t * (c - a
                + t * (2 * a - 5 * b + 4 * c - d
                + t * (3 * (b - c) + d - a)));
        }

        /// <summary>Returns the mean over one output sample around the position. The samples at its two ends
        /// count with the part of them that is inside.</summary>
        float Average()
        {
            double from = position - step / 2, to = position + step / 2;
            double sum = 0;
            for (long index = (long)Math.Floor(from + 0.5); index - 0.5 < to; index++)
            {
                double part = Math.Min(to, index + 0.5) - Math.Max(from, index - 0.5);
                sum += At(Math.Max(0, index)) * part;
            }
            return (float)(sum / step);
        }
    }
}
