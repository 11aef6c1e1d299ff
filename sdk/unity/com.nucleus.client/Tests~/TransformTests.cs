using System;

namespace Nucleus.Tests
{
    /// <summary>The buffer that shows moving objects evenly.</summary>
    static class TransformTests
    {
        static BodyTransform At(float x, double yaw)
        {
            var rotation = new Quat(0, (float)Math.Sin(yaw / 2), 0, (float)Math.Cos(yaw / 2));
            return new BodyTransform(new Vec3(x, 0, 0), rotation);
        }

        [Case]
        static void BetweenTwoTransforms()
        {
            var buffer = new TransformBuffer();
            Check.Throws<InvalidOperationException>(() => buffer.At(0), "an empty buffer");
            buffer.Add(1000, At(1, 0));
            buffer.Add(2000, At(3, Math.PI / 2));
            Check.Equal(1f, buffer.At(500).Position.X, "before the first");
            Check.Equal(3f, buffer.At(9000).Position.X, "after the last");
            BodyTransform half = buffer.At(1500);
            Check.Equal(2f, half.Position.X, "between");
            Check.That(Math.Abs(half.Rotation.Y - Math.Sin(Math.PI / 8)) < 1e-3, "half of the turn");
            // The same rotation with the other sign is no turn.
            Quat same = At(0, Math.PI / 2).Rotation;
            var flipped = new Quat(-same.X, -same.Y, -same.Z, -same.W);
            buffer.Add(3000, new BodyTransform(new Vec3(3, 0, 0), flipped));
            Quat still = buffer.At(2500).Rotation;
            float dot = still.Y * same.Y + still.W * same.W;
            Check.That(Math.Abs(dot) > 0.999f, "no turn the long way");
            // What is late is ignored.
            buffer.Add(2500, At(100, 0));
            Check.Equal(3f, buffer.At(2500).Position.X, "a late transform");
        }

        [Case]
        static void WhatCannotBeShown()
        {
            Check.That(At(8000, 1).IsValid, "a usual transform");
            foreach (float bad in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity, 3e38f })
            {
                Check.That(!At(bad, 0).IsValid, "a position of " + bad);
                var rotation = new Quat(0, 0, bad, 1);
                Check.That(!new BodyTransform(new Vec3(), rotation).IsValid, "a rotation of " + bad);
            }
            Check.That(!new BodyTransform().IsValid, "a rotation of length 0");
            var pose = new BodyPose(At(1, 0));
            Check.That(pose.HasValidHead && !new BodyPose(At(9000, 0)).HasValidHead, "the range of heads");
            Check.That(!new BodyPose(At(float.NaN, 0)).HasValidHead, "a head of NaN");
            Check.That(pose.CanReach(At(3.04f, 0)) && !pose.CanReach(At(3.1f, 0)), "the range of hands");
            Check.That(!pose.CanReach(At(float.NaN, 0)) && !pose.CanReach(new BodyTransform()), "bad hands");
        }

        [Case]
        static void OnlyTheNewestAreKept()
        {
            var buffer = new TransformBuffer();
            for (int i = 0; i < 100; i++)
            {
                buffer.Add(i * 1000, At(i, 0));
            }
            Check.Equal(99f, buffer.At(long.MaxValue).Position.X, "the newest");
            Check.That(Math.Abs(buffer.At(95500).Position.X - 95.5f) < 1e-3, "between the newest");
            Check.Equal(84f, buffer.At(0).Position.X, "the oldest of 16");
            buffer.Clear();
            Check.That(buffer.IsEmpty, "after Clear");
        }
    }
}
