using System.Collections.Generic;
using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>Voice of a room: sends the microphone, and plays each speaker from the place of its
    /// avatar's head. Needs a native library that was built with Opus. On Android and iOS, ask for the
    /// permission to record before this component is enabled.</summary>
    [AddComponentMenu("Nucleus/Nucleus Voice")]
    public sealed class NucleusVoice : MonoBehaviour
    {
        const int ClipSeconds = 1;
        const int BlockFrames = 240;
        // After a hitch, older sound of the microphone is dropped.
        const float MostBufferedSeconds = 0.2f;

        [Tooltip("The room.")]
        public NucleusSession session;
        [Tooltip("Where speakers are heard. Empty: everybody is heard without a place.")]
        public NucleusAvatars avatars;
        [Tooltip("An AudioSource whose settings (volume, rolloff, spatial blend) all speakers get. May be empty.")]
        public AudioSource template;
        [Tooltip("The microphone. Empty: the system's default.")]
        public string microphone = "";
        [Tooltip("Sends the microphone.")]
        public bool sendsMicrophone = true;

        readonly Dictionary<uint, NucleusSpeaker> speakers = new Dictionary<uint, NucleusSpeaker>();
        // The room of the speakers.
        Room heard;
        readonly float[] frame = new float[RoomVoice.FrameSamples];
        AudioClip clip;
        VoiceBuffer captured;
        float[] block;
        int readTo;
        bool isWithoutOpus;

        /// <summary>Whether the microphone records.</summary>
        public bool IsRecording
        {
            get { return clip != null; }
        }

        /// <summary>Finds the speaker of a peer.</summary>
        public bool TryGetSpeaker(uint peer, out NucleusSpeaker speaker)
        {
            return speakers.TryGetValue(peer, out speaker);
        }

        /// <summary>Mutes or unmutes this user, also at the server.</summary>
        public void SetMuted(bool isMuted)
        {
            session.Room.Voice.SetMutedAsync(isMuted);
        }

        void OnEnable()
        {
            isWithoutOpus = !RoomVoice.HasOpus;
            if (isWithoutOpus)
            {
                Debug.LogError("Nucleus: the native library has no Opus, so there is no voice");
            }
        }

        void OnDisable()
        {
            StopRecording();
            RemoveAll();
        }

        void Update()
        {
            if (isWithoutOpus)
            {
                return;
            }
            bool isJoined = session.IsJoined;
            UpdateSpeakers(isJoined ? session.Room : null);
            if (isJoined && sendsMicrophone && clip == null)
            {
                StartRecording();
            }
            else if (clip != null && (!isJoined || !sendsMicrophone))
            {
                StopRecording();
            }
            if (clip != null)
            {
                Record();
                Send();
            }
        }

        void StartRecording()
        {
            string device = Device();
            clip = Microphone.Start(device, true, ClipSeconds, RoomVoice.SampleRate);
            if (clip == null)
            {
                Debug.LogWarning("Nucleus: there is no microphone");
                sendsMicrophone = false;
                return;
            }
            // The device may have another rate than the wanted one.
            int capacity = (int)(clip.frequency * MostBufferedSeconds);
            captured = new VoiceBuffer(clip.frequency, RoomVoice.SampleRate, capacity);
            block = new float[BlockFrames * clip.channels];
            readTo = 0;
        }

        void StopRecording()
        {
            if (clip != null)
            {
                Microphone.End(Device());
                Destroy(clip);
                clip = null;
            }
        }

        /// <summary>Takes what the microphone has written to its ring since the last frame.</summary>
        void Record()
        {
            int length = clip.samples;
            int ready = (Microphone.GetPosition(Device()) - readTo + length) % length;
            for (; ready >= BlockFrames; ready -= BlockFrames)
            {
                // Reads across the end of the ring.
                clip.GetData(block, readTo);
                captured.Write(block, 0, BlockFrames, clip.channels);
                readTo = (readTo + BlockFrames) % length;
            }
        }

        void Send()
        {
            while (captured.Available >= frame.Length)
            {
                captured.Read(frame, 0, frame.Length);
                session.Room.Voice.Speak(frame);
            }
        }

        /// <summary>Makes a speaker for each peer, and removes those of peers that have left.</summary>
        void UpdateSpeakers(Room room)
        {
            if (room != heard)
            {
                // Also another room in which a peer has the same id.
                RemoveAll();
                heard = room;
            }
            if (room == null)
            {
                return;
            }
            for (int i = 0; i < room.Peers.Count; i++)
            {
                if (!speakers.ContainsKey(room.Peers[i].Id))
                {
                    speakers[room.Peers[i].Id] = Create(room, room.Peers[i]);
                }
            }
            if (speakers.Count > room.Peers.Count)
            {
                RemoveGone(room);
            }
        }

        NucleusSpeaker Create(Room room, Peer peer)
        {
            var made = new GameObject("Voice of " + peer.Name);
            made.transform.SetParent(PlaceOf(peer), false);
            AudioSource source = made.AddComponent<AudioSource>();
            source.spatialBlend = avatars == null ? 0 : 1;
            if (template != null)
            {
                source.volume = template.volume;
                source.spatialBlend = template.spatialBlend;
                source.rolloffMode = template.rolloffMode;
                source.minDistance = template.minDistance;
                source.maxDistance = template.maxDistance;
                source.outputAudioMixerGroup = template.outputAudioMixerGroup;
            }
            var speaker = made.AddComponent<NucleusSpeaker>();
            speaker.Play(room, peer.Id, source);
            return speaker;
        }

        Transform PlaceOf(Peer peer)
        {
            NucleusAvatar avatar;
            if (avatars != null && avatars.TryGetAvatar(peer.Id, out avatar) && avatar.head != null)
            {
                return avatar.head;
            }
            return transform;
        }

        void RemoveGone(Room room)
        {
            foreach (uint peer in new List<uint>(speakers.Keys))
            {
                Peer found;
                if (!room.TryGetPeer(peer, out found))
                {
                    Remove(speakers[peer]);
                    speakers.Remove(peer);
                }
            }
        }

        void RemoveAll()
        {
            foreach (NucleusSpeaker speaker in speakers.Values)
            {
                Remove(speaker);
            }
            speakers.Clear();
        }

        static void Remove(NucleusSpeaker speaker)
        {
            // Its avatar may have taken it along.
            if (speaker != null)
            {
                Destroy(speaker.gameObject);
            }
        }

        string Device()
        {
            return string.IsNullOrEmpty(microphone) ? null : microphone;
        }
    }
}
