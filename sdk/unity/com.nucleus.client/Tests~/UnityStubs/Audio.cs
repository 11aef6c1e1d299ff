using System;
using UnityEngine.Audio;

namespace UnityEngine
{
    public enum AudioRolloffMode
    {
        Logarithmic,
    }

    public sealed class AudioSource : Behaviour
    {
        public AudioClip clip { get; set; }
        public bool loop { get; set; }
        public float volume { get; set; }
        public float spatialBlend { get; set; }
        public AudioRolloffMode rolloffMode { get; set; }
        public float minDistance { get; set; }
        public float maxDistance { get; set; }
        public AudioMixerGroup outputAudioMixerGroup { get; set; }
        public bool isPlaying { get; private set; }

        public void Play()
        {
            isPlaying = true;
        }
    }

    public static class AudioSettings
    {
        public static int outputSampleRate
        {
            get { return 44100; }
        }
    }

    public sealed class AudioClip : Object
    {
        float[] data;

        public int samples { get; private set; }
        public int channels { get; private set; }
        public int frequency { get; private set; }

        public static AudioClip Create(string name, int length, int channels, int frequency, bool stream)
        {
            return new AudioClip
            {
                name = name,
                data = new float[length * channels],
                samples = length,
                channels = channels,
                frequency = frequency,
            };
        }

        public bool SetData(float[] from, int offset)
        {
            for (int i = 0; i < from.Length; i++)
            {
                data[(offset * channels + i) % data.Length] = from[i];
            }
            return true;
        }

        public bool GetData(float[] to, int offset)
        {
            for (int i = 0; i < to.Length; i++)
            {
                to[i] = data[(offset * channels + i) % data.Length];
            }
            return true;
        }
    }

    /// <summary>A microphone that hears a tone of 440 Hz, in two channels at 44.1 kHz.</summary>
    public static class Microphone
    {
        const int Rate = 44100, Channels = 2;
        static AudioClip clip;
        static float start;

        public static bool IsRecording
        {
            get { return clip != null; }
        }

        public static AudioClip Start(string device, bool loop, int seconds, int frequency)
        {
            clip = AudioClip.Create("microphone", Rate * seconds, Channels, Rate, false);
            var tone = new float[Rate * seconds * Channels];
            for (int i = 0; i < tone.Length; i++)
            {
                tone[i] = 0.5f * (float)Math.Sin(2 * Math.PI * 440 * (i / Channels) / Rate);
            }
            clip.SetData(tone, 0);
            start = Time.unscaledTime;
            return clip;
        }

        public static int GetPosition(string device)
        {
            return (int)((Time.unscaledTime - start) * Rate) % clip.samples;
        }

        public static void End(string device)
        {
            clip = null;
        }
    }
}

namespace UnityEngine.Audio
{
    public sealed class AudioMixerGroup : Object
    {
    }
}
