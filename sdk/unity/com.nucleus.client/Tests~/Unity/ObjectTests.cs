using System;
using System.Collections.Generic;
using Nucleus.Unity;
using UnityEngine;

namespace Nucleus.Tests
{
    /// <summary>Objects in situations that go wrong easily.</summary>
    static class ObjectTests
    {
        const byte MotionChannel = 239;

        /// <summary>Returns a position on the x axis and a rotation, as Nucleus Object sends
        /// them.</summary>
        static byte[] Packed(float x, float y, float w)
        {
            var bytes = new byte[28];
            BitConverter.GetBytes(x).CopyTo(bytes, 0);
            BitConverter.GetBytes(y).CopyTo(bytes, 16);
            BitConverter.GetBytes(w).CopyTo(bytes, 24);
            return bytes;
        }

        static byte[] Motion(ulong id, byte[] packed)
        {
            var bytes = new byte[36];
            BitConverter.GetBytes(id).CopyTo(bytes, 0);
            packed.CopyTo(bytes, 8);
            return bytes;
        }

        [Case]
        static void MotionThatCannotBeShown()
        {
            const uint Id = 7;
            byte[][] bad =
            {
                Packed(float.NaN, 0, 1), Packed(float.PositiveInfinity, 0, 1), Packed(1, float.NaN, 1),
                Packed(1, 0, 0), Packed(1, 1e-9f, 0), Packed(3e38f, 0, 1), Packed(1, 1e30f, 0),
            };
            string name = World.NewRoom();
            StubEngine.Play();
            using (var bob = new NucleusClient())
            {
                Room room = World.Join(bob, "bob", name);
                Batch create = new Batch().Create(Id, ObjectOwnership.Take, true)
                    .Set(Entity.Object(Id), "nucleus.transform", bad[0]);
                World.Wait(room.State.ChangeAsync(create), bob);
                NucleusSession session = UnityTests.Session(new GameObject("ada"), "ada", name);
                var door = new GameObject("door").AddComponent<NucleusObject>();
                door.session = session;
                door.sceneId = Id;
                Vector3 start = door.transform.position;
                UnityTests.Until(() => door.RoomObject != null, "ada has the door", bob);
                Check.That(UnityTests.IsNear(door.transform.position, start), "a stored NaN");
                foreach (byte[] stored in bad)
                {
                    Batch set = new Batch().Set(Entity.Object(Id), "nucleus.transform", stored);
                    World.Wait(room.State.ChangeAsync(set), bob);
                    UnityTests.Until(() => true, "a frame", bob);
                    Check.That(UnityTests.IsNear(door.transform.position, start), "a bad field");
                }
                int seen = 0;
                session.Room.MessageReceived += message => seen++;
                for (int i = 0; i < 3 * bad.Length; i++)
                {
                    int next = seen + 1;
                    byte[] motion = Motion(Id, bad[i % bad.Length]);
                    UnityTests.Until(() =>
                    {
                        room.SendNewest(MotionChannel, 0, motion);
                        return seen >= next;
                    }, "ada gets the motion", bob);
                    UnityTests.Until(() => true, "a frame", bob);
                    Check.That(UnityTests.IsNear(door.transform.position, start), "bad motion");
                }
                // A rotation of another length is scaled.
                UnityTests.Until(() =>
                {
                    room.SendNewest(MotionChannel, 0, Motion(Id, Packed(5, 3, 0)));
                    return UnityTests.IsNear(door.transform.position, new Vector3(5, 0, 0));
                }, "ada follows good motion", bob);
                Check.That(Math.Abs(Math.Abs(door.transform.rotation.y) - 1) < 1e-3, "a rotation of length 1");
            }
            UnityTests.Stop();
        }

        [Case]
        static void ATakeoverStoresTheLastPlace()
        {
            string name = World.NewRoom();
            StubEngine.Play();
            var doors = new List<NucleusObject>();
            foreach (string user in new[] { "ada", "bob" })
            {
                var on = new GameObject(user);
                var door = new GameObject("door").AddComponent<NucleusObject>();
                door.session = UnityTests.Session(on, user, name);
                door.sceneId = 7;
                doors.Add(door);
            }
            UnityTests.Until(() => doors.TrueForAll(door => door.RoomObject != null), "both have the door");
            NucleusObject mine = doors.Find(door => door.IsMine), other = doors.Find(door => !door.IsMine);
            mine.transform.position = new Vector3(3, 0, 0);
            UnityTests.Until(
                () => UnityTests.IsNear(other.transform.position, mine.transform.position), "it follows");
            other.ClaimAsync();
            UnityTests.Until(() => other.IsMine && !mine.IsMine, "the other one takes the door");
            Check.That(other.RoomObject.Fields["nucleus.transform"].AsBytes == null, "nothing is stored yet");
            UnityTests.Until(
                () => other.RoomObject.Fields["nucleus.transform"].AsBytes != null, "the place is stored");
            byte[] stored = other.RoomObject.Fields["nucleus.transform"].AsBytes;
            Check.That(Math.Abs(BitConverter.ToSingle(stored, 0) - 3) < 0.02f, "it is the last one");
            UnityTests.Stop();
        }

        [Case]
        static void KeysOfDeletedObjectsAreUsedAgain()
        {
            string name = World.NewRoom();
            StubEngine.Play();
            var on = new GameObject("ada");
            NucleusSession session = UnityTests.Session(on, "ada", name);
            var objects = on.AddComponent<NucleusObjects>();
            objects.session = session;
            objects.prefabs = new[] { StubEngine.Prefab<NucleusObject>("cube") };
            using (var bob = new NucleusClient())
            {
                Room room = World.Join(bob, "bob", name);
                var keys = new List<ushort>();
                ulong from = 0;
                var payload = new byte[36];
                room.MessageReceived += message =>
                {
                    message.CopyTo(payload);
                    from = BitConverter.ToUInt64(payload, 0);
                    keys.Add(message.Key);
                };
                UnityTests.Until(() => session.IsJoined, "ada is there", bob);
                for (int i = 0; i < 3; i++)
                {
                    NucleusObject made = null;
                    objects.SpawnAsync("cube", new Vector3(), Quaternion.identity)
                        .ContinueWith(task => made = task.Result);
                    UnityTests.Until(() => made != null, "a cube", bob);
                    ulong id = made.RoomObject.Id;
                    UnityTests.Until(() =>
                    {
                        made.transform.position += new Vector3(0.1f, 0, 0);
                        return from == id;
                    }, "bob sees it move", bob);
                    made.RoomObject.DeleteAsync();
                    UnityTests.Until(() => made == null, "it is deleted", bob);
                }
                Check.That(keys.TrueForAll(key => key == 0), "one key is enough: " + string.Join(" ", keys));
            }
            UnityTests.Stop();
        }
    }
}
