using System;
using System.Collections.Generic;
using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>Makes an avatar for each other user of the room, and moves it.</summary>
    [AddComponentMenu("Nucleus/Nucleus Avatars")]
    public sealed class NucleusAvatars : MonoBehaviour
    {
        [Tooltip("The room.")]
        public NucleusSession session;
        [Tooltip("A prefab with a Nucleus Avatar.")]
        public NucleusAvatar prefab;

        readonly Dictionary<uint, NucleusAvatar> avatars = new Dictionary<uint, NucleusAvatar>();
        NucleusSession attached;
        // Whose events this component gets. After a leave and a new join, the old room is closed later.
        Room followed;
        ShownPose[] poses = new ShownPose[64];

        /// <summary>A user's avatar was made.</summary>
        public event Action<NucleusAvatar> AvatarCreated;

        /// <summary>Finds the avatar of a peer.</summary>
        public bool TryGetAvatar(uint peer, out NucleusAvatar avatar)
        {
            return avatars.TryGetValue(peer, out avatar);
        }

        void OnEnable()
        {
            Attach();
        }

        void OnDisable()
        {
            if (attached == null)
            {
                return;
            }
            attached.Connecting -= OnConnecting;
            attached = null;
            Unfollow();
        }

        /// <summary>Follows the session. A script that adds this component sets the session after
        /// OnEnable.</summary>
        void Attach()
        {
            if (attached != null || session == null)
            {
                return;
            }
            attached = session;
            attached.Connecting += OnConnecting;
            if (attached.Room != null && attached.Status != SessionStatus.Closed)
            {
                OnConnecting(attached.Room);
                foreach (Peer peer in attached.Room.Peers)
                {
                    Create(peer);
                }
            }
        }

        void OnConnecting(Room room)
        {
            Unfollow();
            followed = room;
            room.PeerJoined += Create;
            room.PeerLeft += Remove;
            room.Closed += OnClosed;
        }

        /// <summary>Lets go of the room before, and removes its avatars.</summary>
        void Unfollow()
        {
            if (followed != null)
            {
                followed.PeerJoined -= Create;
                followed.PeerLeft -= Remove;
                followed.Closed -= OnClosed;
                followed = null;
            }
            RemoveAll();
        }

        void OnClosed(Reason reason)
        {
            RemoveAll();
        }

        void Update()
        {
            Attach();
            if (attached == null || !attached.IsJoined)
            {
                return;
            }
            int total;
            int count = attached.Room.ReadPoses(poses, out total);
            for (int i = 0; i < count; i++)
            {
                NucleusAvatar avatar;
                // A peer may have more bodies. An avatar shows the first one.
                bool isFirst = poses[i].Channel == 0 && poses[i].Key == 0;
                if (isFirst && avatars.TryGetValue(poses[i].Peer, out avatar))
                {
                    avatar.Apply(poses[i]);
                }
            }
            if (total > poses.Length)
            {
                // For the next frame. Twice as many, so that a growing room allocates seldom.
                poses = new ShownPose[2 * total];
            }
        }

        void Create(Peer peer)
        {
            if (avatars.ContainsKey(peer.Id))
            {
                return;
            }
            NucleusAvatar avatar = Instantiate(prefab, transform);
            avatar.name = "Avatar of " + peer.Name;
            avatar.ShowPeer(attached, peer);
            avatars[peer.Id] = avatar;
            AvatarCreated?.Invoke(avatar);
        }

        void Remove(Peer peer, Reason reason)
        {
            NucleusAvatar avatar;
            if (avatars.TryGetValue(peer.Id, out avatar))
            {
                avatars.Remove(peer.Id);
                DestroyAvatar(avatar);
            }
        }

        void RemoveAll()
        {
            foreach (NucleusAvatar avatar in avatars.Values)
            {
                DestroyAvatar(avatar);
            }
            avatars.Clear();
        }

        static void DestroyAvatar(NucleusAvatar avatar)
        {
            // The scene may be unloaded with its avatars.
            if (avatar != null)
            {
                Destroy(avatar.gameObject);
            }
        }
    }
}
