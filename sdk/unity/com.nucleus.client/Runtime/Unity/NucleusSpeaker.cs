using System;
using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>Plays one speaker. <see cref="NucleusVoice"/> makes these.
    ///
    /// The AudioSource plays a clip of ones. Unity gives it the volume and panning of its place, and
    /// OnAudioFilterRead multiplies the result with the voice. So a voice has no more delay than the sound
    /// device, which a streamed clip has.</summary>
    [AddComponentMenu("")]
    [RequireComponent(typeof(AudioSource))]
    public sealed class NucleusSpeaker : MonoBehaviour
    {
        Room room;
        uint peer;
        SpeakerBuffer buffer;
        // Written by the sound device's thread, read by the main thread.
        volatile float level;
        volatile bool isPlaying;

        /// <summary>The speaker's loudness now, 0 to 1, for an indicator or a mouth.</summary>
        public float Level
        {
            get { return level; }
        }

        /// <summary>Begins to play.</summary>
        public void Play(Room of, uint speaker, AudioSource source)
        {
            room = of;
            peer = speaker;
            int rate = AudioSettings.outputSampleRate;
            buffer = new SpeakerBuffer(NextFrame, rate);
            AudioClip ones = AudioClip.Create("ones", rate, 1, rate, false);
            var samples = new float[rate];
            for (int i = 0; i < samples.Length; i++)
            {
                samples[i] = 1;
            }
            ones.SetData(samples, 0);
            source.clip = ones;
            source.loop = true;
            source.Play();
            isPlaying = true;
        }

        void OnDisable()
        {
            isPlaying = false;
        }

        void OnAudioFilterRead(float[] data, int channels)
        {
            if (isPlaying)
            {
                buffer.MultiplyInto(data, channels);
            }
            else
            {
                Array.Clear(data, 0, data.Length);
            }
        }

        void NextFrame(float[] frame)
        {
            try
            {
                room.Voice.Play(peer, frame);
            }
            catch (NucleusException exception) when (exception.Result == NucleusResult.WouldBlock)
            {
                // There is no decoder now: silence in this frame, and perhaps a voice in the next one.
                Array.Clear(frame, 0, frame.Length);
            }
            catch (Exception)
            {
                // The room is closed: the main thread removes this component. An exception here would be
                // repeated for each block.
                isPlaying = false;
                Array.Clear(frame, 0, frame.Length);
            }
            float loudest = 0;
            for (int i = 0; i < frame.Length; i++)
            {
                loudest = Math.Max(loudest, Math.Abs(frame[i]));
            }
            level = loudest;
        }
    }
}
