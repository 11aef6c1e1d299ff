using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>Head and hands of one user. Of the own user, sends where they are. Of another one, shows
    /// where they are; <see cref="NucleusAvatars"/> makes these.</summary>
    [AddComponentMenu("Nucleus/Nucleus Avatar")]
    public sealed class NucleusAvatar : MonoBehaviour
    {
        [Tooltip("The own user's avatar: its session. Others are made by Nucleus Avatars.")]
        public NucleusSession session;
        public Transform head;
        public Transform left;
        public Transform right;
        [Tooltip("Poses a second that the own user sends. The server allows 1,000 realtime messages a second.")]
        [Range(5, 90)]
        public float sendRate = 30;

        float nextSend;

        /// <summary>The peer that this avatar shows; null for the own user.</summary>
        public Peer Peer { get; private set; }

        /// <summary>How the pose of this frame was found.</summary>
        public PoseCertainty Certainty { get; private set; }

        /// <summary>Makes this the avatar of another user.</summary>
        public void ShowPeer(NucleusSession of, Peer peer)
        {
            session = of;
            Peer = peer;
        }

        /// <summary>Moves head and hands. A hand that is not tracked is hidden.</summary>
        public void Apply(ShownPose shown)
        {
            Certainty = shown.Certainty;
            Show(head, true, shown.Pose.Head);
            Show(left, shown.Pose.HasLeft, shown.Pose.Left);
            Show(right, shown.Pose.HasRight, shown.Pose.Right);
        }

        void Show(Transform part, bool isTracked, BodyTransform where)
        {
            if (part == null)
            {
                return;
            }
            if (part.gameObject.activeSelf != isTracked)
            {
                part.gameObject.SetActive(isTracked);
            }
            if (isTracked)
            {
                part.Apply(where, session.origin);
            }
        }

        /// <summary>After the Update of scripts, in which trackers move the transforms.</summary>
        void LateUpdate()
        {
            if (Peer != null || session == null || head == null || !session.IsJoined
                || Time.unscaledTime < nextSend)
            {
                return;
            }
            nextSend = Time.unscaledTime + 1 / sendRate;
            var pose = new BodyPose(head.ToRoom(session.origin));
            if (!pose.HasValidHead)
            {
                // A tracker that starts or fails gives such a position. The next pose may be better.
                return;
            }
            BodyTransform hand;
            if (TryGetHand(left, pose, out hand))
            {
                pose.Left = hand;
            }
            if (TryGetHand(right, pose, out hand))
            {
                pose.Right = hand;
            }
            session.Room.SendPose(pose);
        }

        /// <summary>Returns whether a hand is tracked and in reach of the head. One that is not, for example
        /// because its tracker lies on a table, counts as not tracked.</summary>
        bool TryGetHand(Transform part, BodyPose pose, out BodyTransform hand)
        {
            bool isTracked = part != null && part.gameObject.activeInHierarchy;
            hand = isTracked ? part.ToRoom(session.origin) : default(BodyTransform);
            return isTracked && pose.CanReach(hand);
        }
    }
}
