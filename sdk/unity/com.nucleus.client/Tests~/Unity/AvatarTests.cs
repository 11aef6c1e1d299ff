using System;
using System.Collections.Generic;
using Nucleus.Unity;
using UnityEngine;

namespace Nucleus.Tests
{
    /// <summary>Avatars in situations that go wrong easily.</summary>
    static class AvatarTests
    {
        static BodyPose PoseAt(float x)
        {
            return new BodyPose(new BodyTransform(new Vec3(x, 0, 0), Quat.Identity));
        }

        static NucleusAvatars Avatars(NucleusSession session)
        {
            var avatars = session.gameObject.AddComponent<NucleusAvatars>();
            avatars.session = session;
            avatars.prefab = UnityTests.AvatarPrefab();
            return avatars;
        }

        [Case]
        static void AHandThatIsOutOfReachIsLeftOut()
        {
            string name = World.NewRoom();
            StubEngine.Play();
            NucleusSession session = UnityTests.Session(new GameObject("ada"), "ada", name);
            session.origin = new GameObject("origin").transform;
            session.origin.SetPositionAndRotation(new Vector3(50, 0, 0), Quaternion.Euler(0, 45, 0));
            var avatar = session.gameObject.AddComponent<NucleusAvatar>();
            avatar.session = session;
            avatar.head = new GameObject("head").transform;
            avatar.left = new GameObject("left").transform;
            avatar.right = new GameObject("right").transform;
            // Two metres in each axis of the world. In the room's axes, 2.8 m to the side.
            avatar.left.position = new Vector3(2, 0, 2);
            avatar.right.position = new Vector3(1, 0, 1);
            using (var bob = new NucleusClient())
            {
                Room room = World.Join(bob, "bob", name);
                var shown = new ShownPose[1];
                Func<BodyPose> ada = () => shown[0].Pose;
                UnityTests.Until(() => room.ReadPoses(shown) == 1, "bob sees ada", bob);
                Check.That(!ada().HasLeft && ada().HasRight, "the left hand is left out");
                avatar.head.position = new Vector3(float.NaN, 0, 0);
                World.During(0.1);
                UnityTests.Until(() => true, "a frame without a head", bob);
                avatar.head.position = new Vector3(1, 0, 1);
                UnityTests.Until(() => room.ReadPoses(shown) == 1 && ada().HasLeft, "it is back", bob);
            }
            UnityTests.Stop();
        }

        [Case]
        static void APeerWithManyBodiesHasOneAvatar()
        {
            const int Bodies = 100;
            string name = World.NewRoom();
            StubEngine.Play();
            NucleusSession session = UnityTests.Session(new GameObject("ada"), "ada", name);
            NucleusAvatars avatars = Avatars(session);
            using (var others = new NucleusClient())
            {
                Room bob = World.Join(others, "bob", name);
                Room eve = World.Join(others, "eve", name);
                NucleusAvatar first = null, second = null;
                int wrong = 0;
                Func<bool> frame = () =>
                {
                    for (ushort key = 1; key < Bodies; key++)
                    {
                        bob.SendPose(To.Others, key, PoseAt(500 + key), null, 0);
                    }
                    bob.SendPose(PoseAt(1));
                    eve.SendPose(PoseAt(2));
                    if (!avatars.TryGetAvatar(bob.Me.Id, out first)
                        || !avatars.TryGetAvatar(eve.Me.Id, out second))
                    {
                        return false;
                    }
                    wrong += first.head.position.x > 400 ? 1 : 0;
                    return first.head.position.x == 1 && second.head.position.x == 2;
                };
                UnityTests.Until(frame, "both are shown", others);
                for (int i = 0; i < 200; i++)
                {
                    UnityTests.Until(frame, "both are still shown", others);
                }
                Check.Equal(0, wrong, "frames with another body");
            }
            UnityTests.Stop();
        }

        /// <summary>The room that is left is closed after the new one is joined.</summary>
        [Case]
        static void LeftAndJoinedAgainAtOnce()
        {
            string name = World.NewRoom();
            StubEngine.Play();
            NucleusSession session = UnityTests.Session(new GameObject("ada"), "ada", name);
            NucleusAvatars avatars = Avatars(session);
            var objects = session.gameObject.AddComponent<NucleusObjects>();
            objects.session = session;
            objects.prefabs = new[] { StubEngine.Prefab<NucleusObject>("cube") };
            using (var bob = new NucleusClient())
            {
                Room room = World.Join(bob, "bob", name);
                var fields = new Dictionary<string, Value> { { "nucleus.prefab", "cube" } };
                World.Wait(room.State.CreateAsync(ObjectOwnership.Take, true, fields), bob);
                NucleusAvatar avatar = null;
                NucleusObject cube = null;
                objects.Spawned += spawned => cube = spawned;
                Func<bool> isThere = () => avatars.TryGetAvatar(room.Me.Id, out avatar) && cube != null;
                UnityTests.Until(isThere, "ada sees all", bob);
                Room old = session.Room;
                bool isClosed = false;
                old.Closed += reason => isClosed = true;
                int sessionsClosed = 0;
                session.Closed += reason => sessionsClosed++;
                // So many events that the server delays them. They hold up the leave.
                bool isThrottled = false;
                old.Throttled += reason => isThrottled = true;
                UnityTests.Until(() =>
                {
                    while (old.TrySendEvent(1, new byte[16000]))
                    {
                    }
                    return isThrottled;
                }, "the server delays the events", bob);
                NucleusObject oldCube = cube;
                session.Leave();
                session.Connect();
                Check.That(cube == null && !avatars.TryGetAvatar(room.Me.Id, out avatar), "ada sees nothing");
                Check.That(oldCube == null, "the old room's cube is destroyed");
                UnityTests.Until(isThere, "ada sees all again", bob);
                Check.That(!isClosed, "the old room is still being left");
                UnityTests.Until(() => isClosed, "the old room is closed", bob);
                Check.That(isThere() && avatar != null, "the old room takes nothing along");
                Check.Equal(0, sessionsClosed, "the session is not closed");
            }
            UnityTests.Stop();
        }
    }
}
