using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>
    /// Converts between Unity's coordinates and those of a room.
    ///
    /// A room is right-handed, with y up and -z forward, as OpenXR and glTF: so clients of all engines agree.
    /// Unity is left-handed, with y up and z forward. Mirroring z turns one into the other: of a position, z is
    /// negated; of a rotation, x and y are. Everything that leaves a Unity client must go through these
    /// methods, also positions in fields and events, if other engines read them.
    /// </summary>
    public static class Coordinates
    {
        /// <summary>Returns a position in the room's coordinates.</summary>
        public static Vec3 ToRoom(this Vector3 position)
        {
            return new Vec3(position.x, position.y, -position.z);
        }

        /// <summary>Returns a rotation in the room's coordinates.</summary>
        public static Quat ToRoom(this Quaternion rotation)
        {
            return new Quat(-rotation.x, -rotation.y, rotation.z, rotation.w);
        }

        /// <summary>Returns a position in Unity's coordinates.</summary>
        public static Vector3 ToUnity(this Vec3 position)
        {
            return new Vector3(position.X, position.Y, -position.Z);
        }

        /// <summary>Returns a rotation in Unity's coordinates.</summary>
        public static Quaternion ToUnity(this Quat rotation)
        {
            return new Quaternion(-rotation.X, -rotation.Y, rotation.Z, rotation.W);
        }

        /// <summary>Returns where a transform is, relative to an origin, in the room's coordinates. Without an
        /// origin, relative to the world.</summary>
        public static BodyTransform ToRoom(this Transform transform, Transform origin)
        {
            if (origin == null)
            {
                return new BodyTransform(transform.position.ToRoom(), transform.rotation.ToRoom());
            }
            Vector3 position = origin.InverseTransformPoint(transform.position);
            Quaternion rotation = Quaternion.Inverse(origin.rotation) * transform.rotation;
            return new BodyTransform(position.ToRoom(), rotation.ToRoom());
        }

        /// <summary>Moves a transform to where it is in the room.</summary>
        public static void Apply(this Transform transform, BodyTransform shown, Transform origin)
        {
            Vector3 position = shown.Position.ToUnity();
            Quaternion rotation = shown.Rotation.ToUnity();
            if (origin != null)
            {
                position = origin.TransformPoint(position);
                rotation = origin.rotation * rotation;
            }
            transform.SetPositionAndRotation(position, rotation);
        }
    }
}
