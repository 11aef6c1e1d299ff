using System;
using System.Runtime.InteropServices;

namespace Nucleus
{
    /// <summary>A position in metres, in the room's coordinates: right-handed, x to the right, y up,
    /// -z forward (as OpenXR and glTF).</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Vec3
    {
        /// <summary>To the right.</summary>
        public float X;
        /// <summary>Up.</summary>
        public float Y;
        /// <summary>Backward: forward is negative.</summary>
        public float Z;

        /// <summary>Makes a position.</summary>
        public Vec3(float x, float y, float z)
        {
            X = x;
            Y = y;
            Z = z;
        }

        /// <summary>Returns whether each coordinate is at most <paramref name="metres"/> from 0. False if one
        /// is NaN.</summary>
        internal bool IsWithin(float metres)
        {
            return Math.Abs(X) <= metres && Math.Abs(Y) <= metres && Math.Abs(Z) <= metres;
        }

        /// <summary>Returns the numbers.</summary>
        public override string ToString()
        {
            return string.Format("({0:0.###}, {1:0.###}, {2:0.###})", X, Y, Z);
        }
    }

    /// <summary>A rotation as a unit quaternion, in the room's coordinates.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Quat
    {
        /// <summary>No rotation.</summary>
        public static readonly Quat Identity = new Quat(0, 0, 0, 1);

        /// <summary>The first imaginary part.</summary>
        public float X;
        /// <summary>The second imaginary part.</summary>
        public float Y;
        /// <summary>The third imaginary part.</summary>
        public float Z;
        /// <summary>The real part.</summary>
        public float W;

        /// <summary>Makes a rotation.</summary>
        public Quat(float x, float y, float z, float w)
        {
            X = x;
            Y = y;
            Z = z;
            W = w;
        }
    }

    /// <summary>A position and a rotation.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct BodyTransform
    {
        /// <summary>The position.</summary>
        public Vec3 Position;
        /// <summary>The rotation.</summary>
        public Quat Rotation;

        /// <summary>Makes a transform.</summary>
        public BodyTransform(Vec3 position, Quat rotation)
        {
            Position = position;
            Rotation = rotation;
        }

        /// <summary>Whether all numbers are finite and the rotation has a direction: its length is 0.001 to
        /// 1,000. Numbers beyond a quarter of the largest float are as bad as infinite ones: a difference of
        /// two of them may be infinite.</summary>
        public bool IsValid
        {
            get
            {
                double x = Rotation.X, y = Rotation.Y, z = Rotation.Z, w = Rotation.W;
                double square = x * x + y * y + z * z + w * w;
                // A comparison with NaN is false.
                return Position.IsWithin(float.MaxValue / 4) && square >= 1e-6 && square <= 1e6;
            }
        }
    }

    /// <summary>Head and hands, in the room's coordinates. The head may be 8,388 m from the origin in
    /// each axis, a hand 2.047 m from the head.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct BodyPose
    {
        /// <summary>The largest coordinate of a head, in metres.</summary>
        public const float HeadRange = 8388.607f;
        /// <summary>The largest distance of a hand from the head in each axis, in metres.</summary>
        public const float HandRange = 2.047f;

        /// <summary>The head.</summary>
        public BodyTransform Head;
        BodyTransform left;
        BodyTransform right;
        uint hasLeft;
        uint hasRight;

        /// <summary>Makes a pose without hands.</summary>
        public BodyPose(BodyTransform head)
        {
            Head = head;
            left = new BodyTransform();
            right = new BodyTransform();
            hasLeft = 0;
            hasRight = 0;
        }

        /// <summary>Whether the head can be sent: it is valid and within <see cref="HeadRange"/>.</summary>
        public bool HasValidHead
        {
            get { return Head.IsValid && Head.Position.IsWithin(HeadRange); }
        }

        /// <summary>Returns whether a hand can be sent with this head: it is valid and within
        /// <see cref="HandRange"/> of the head.</summary>
        public bool CanReach(BodyTransform hand)
        {
            Vec3 a = hand.Position, b = Head.Position;
            return hand.IsValid && new Vec3(a.X - b.X, a.Y - b.Y, a.Z - b.Z).IsWithin(HandRange);
        }

        /// <summary>Whether the left hand is tracked.</summary>
        public bool HasLeft
        {
            get { return hasLeft != 0; }
        }

        /// <summary>Whether the right hand is tracked.</summary>
        public bool HasRight
        {
            get { return hasRight != 0; }
        }

        /// <summary>The left hand. Setting it says that it is tracked.</summary>
        public BodyTransform Left
        {
            get
            {
                return left;
            }
            set
            {
                left = value;
                hasLeft = 1;
            }
        }

        /// <summary>The right hand. Setting it says that it is tracked.</summary>
        public BodyTransform Right
        {
            get
            {
                return right;
            }
            set
            {
                right = value;
                hasRight = 1;
            }
        }
    }

    /// <summary>A pose of another peer, to show in this frame. Has the memory layout of the C library's
    /// struct, so that reading poses copies and allocates nothing.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct ShownPose
    {
        /// <summary>The sender.</summary>
        public uint Peer;
        /// <summary>The body of a sender with several; otherwise 0.</summary>
        public uint Key;
        /// <summary>Head and hands.</summary>
        public BodyPose Pose;
        /// <summary>How the pose was found.</summary>
        public PoseCertainty Certainty;
        /// <summary>The channel on which the sender has sent the pose. <see cref="Room.SendPose(BodyPose)"/>
        /// uses channel 0.</summary>
        public uint Channel;
        /// <summary>The moment that the pose shows, by the server's clock, in us.</summary>
        public long ShownMicroseconds;
        /// <summary>When the newest pose of this sender was captured, by the server's clock, in us. Tells
        /// how long the peer has been silent.</summary>
        public long NewestMicroseconds;
    }
}
