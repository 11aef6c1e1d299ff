using System;

namespace Nucleus
{
    /// <summary>The newest transforms of something that another client moves, to show it evenly and a little
    /// later than they arrive. Heads and hands have this in the native library
    /// (<see cref="Room.ReadPoses(ShownPose[])"/>); this is for objects.</summary>
    public sealed class TransformBuffer
    {
        const int Capacity = 16;

        readonly long[] times = new long[Capacity];
        readonly BodyTransform[] transforms = new BodyTransform[Capacity];
        int count;

        /// <summary>Whether there is nothing to show.</summary>
        public bool IsEmpty
        {
            get { return count == 0; }
        }

        /// <summary>Adds a transform with the moment of its capture. One that is older than the newest is
        /// ignored.</summary>
        public void Add(long capturedMicroseconds, BodyTransform transform)
        {
            if (count > 0 && capturedMicroseconds <= times[count - 1])
            {
                return;
            }
            if (count == Capacity)
            {
                Array.Copy(times, 1, times, 0, Capacity - 1);
                Array.Copy(transforms, 1, transforms, 0, Capacity - 1);
                count--;
            }
            times[count] = capturedMicroseconds;
            transforms[count] = transform;
            count++;
        }

        /// <summary>Forgets all transforms.</summary>
        public void Clear()
        {
            count = 0;
        }

        /// <summary>Returns the transform at a moment: between two transforms, or the first or last
        /// one.</summary>
        public BodyTransform At(long microseconds)
        {
            if (count == 0)
            {
                throw new InvalidOperationException("there is no transform");
            }
            int next = 0;
            while (next < count && times[next] <= microseconds)
            {
                next++;
            }
            if (next == 0 || next == count)
            {
                return transforms[next == 0 ? 0 : count - 1];
            }
            long from = times[next - 1];
            var part = (float)((double)(microseconds - from) / (times[next] - from));
            return Between(transforms[next - 1], transforms[next], part);
        }

        static BodyTransform Between(BodyTransform from, BodyTransform to, float part)
        {
            Vec3 a = from.Position, b = to.Position;
            var position = new Vec3(
                a.X + (b.X - a.X) * part, a.Y + (b.Y - a.Y) * part, a.Z + (b.Z - a.Z) * part);
            Quat p = from.Rotation, q = to.Rotation;
            // q and -q are the same rotation: takes the shorter way.
            float sign = p.X * q.X + p.Y * q.Y + p.Z * q.Z + p.W * q.W < 0 ? -part : part;
            float rest = 1 - part;
            float x = p.X * rest + q.X * sign, y = p.Y * rest + q.Y * sign;
            float z = p.Z * rest + q.Z * sign, w = p.W * rest + q.W * sign;
            var length = (float)Math.Sqrt(x * x + y * y + z * z + w * w);
            Quat rotation = length < 1e-6f ? q : new Quat(x / length, y / length, z / length, w / length);
            return new BodyTransform(position, rotation);
        }
    }
}
