using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using Nucleus.Unity;
using UnityEditor;
using UnityEngine;
using UnityEngine.LowLevel;
using Transform = UnityEngine.Transform;

namespace Nucleus.Tests
{
    /// <summary>The components, driven by a stub of Unity, against a real server. The other peer is a plain
    /// client.</summary>
    static class UnityTests
    {
        internal static void Until(Func<bool> condition, string what, params NucleusClient[] others)
        {
            World.Until(() =>
            {
                StubEngine.Frame();
                return condition();
            }, what, others);
        }

        internal static NucleusSession Session(GameObject on, string user, string room)
        {
            var session = on.AddComponent<NucleusSession>();
            session.server = World.Server;
            session.token = World.Token(user);
            session.roomName = room;
            return session;
        }

        /// <summary>Ends play mode, and checks that nothing was logged that a developer would see.</summary>
        internal static void Stop()
        {
            StubEngine.Stop();
            string[] logged = StubEngine.Logged.Where(line => !line.StartsWith("log ")).ToArray();
            StubEngine.Logged.Clear();
            Check.Equal("", string.Join("\n", logged), "the console");
        }

        internal static bool IsNear(Vector3 a, Vector3 b)
        {
            Vector3 difference = a - b;
            return Math.Abs(difference.x) + Math.Abs(difference.y) + Math.Abs(difference.z) < 0.02f;
        }

        static bool IsNear(Quaternion a, Quaternion b)
        {
            return Math.Abs(a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w) > 0.999f;
        }

        [Case]
        static void CoordinatesAreMirrored()
        {
            var position = new Vector3(1, 2, 3);
            Vec3 wire = position.ToRoom();
            Check.That(wire.X == 1 && wire.Y == 2 && wire.Z == -3, "forward is -z in the room: " + wire);
            Check.That(IsNear(wire.ToUnity(), position), "there and back");
            // Unity's yaw of 90 degrees turns forward (z) to the right (x). In the room, the same turn leads
            // from -z to x: a right-handed yaw of -90 degrees.
            Quaternion yaw = Quaternion.Euler(0, 90, 0);
            Check.That(IsNear(yaw * new Vector3(0, 0, 1), new Vector3(1, 0, 0)), "Unity's yaw");
            Quat turned = yaw.ToRoom();
            Check.That(Math.Abs(turned.Y + Math.Sqrt(0.5)) < 1e-3 && turned.W > 0, "the room's yaw");
            Check.That(IsNear(turned.ToUnity(), yaw), "there and back");
            // Turning a vector gives the same in both coordinates.
            var odd = new Quaternion(0.1f, 0.7f, -0.3f, 0.6403124f);
            Vec3 v = (odd * position).ToRoom();
            Quat q = odd.ToRoom();
            Vector3 inRoom = new Quaternion(q.X, q.Y, q.Z, q.W) * new Vector3(wire.X, wire.Y, wire.Z);
            Check.That(IsNear(inRoom, new Vector3(v.X, v.Y, v.Z)), "rotations fit positions");
            // Relative to an origin.
            Transform origin = new GameObject("origin").transform;
            origin.SetPositionAndRotation(new Vector3(10, 0, 0), yaw);
            Transform part = new GameObject("part").transform;
            part.SetPositionAndRotation(new Vector3(11, 0, 0), yaw);
            BodyTransform relative = part.ToRoom(origin);
            Check.That(Math.Abs(relative.Position.Z + 1) < 1e-4, "one metre before the origin");
            Transform copy = new GameObject("copy").transform;
            copy.Apply(relative, origin);
            Check.That(IsNear(copy.position, part.position) && IsNear(copy.rotation, yaw), "and back");
        }

        [Case]
        static void AHeadsetMeetsAPeer()
        {
            string name = World.NewRoom();
            StubEngine.Play();
            var rig = new GameObject("rig").AddComponent<Headset>();
            rig.server = World.Server;
            rig.token = World.Token("ada");
            rig.room = name;
            rig.head = new GameObject("head").transform;
            rig.left = new GameObject("left").transform;
            rig.right = new GameObject("right").transform;
            rig.right.gameObject.SetActive(false);
            rig.avatarPrefab = AvatarPrefab();
            using (var bob = new NucleusClient())
            {
                Room room = World.Join(bob, "bob", name);
                var shown = new ShownPose[2];
                string greeting = null;
                room.On("greeting", (from, payload) => greeting = System.Text.Encoding.UTF8.GetString(payload));
                room.Handle("device", request => new byte[] { 66 });
                NucleusAvatar avatar = null;
                Until(() =>
                {
                    rig.head.position = new Vector3(1, 1.6f, 3);
                    rig.left.position = new Vector3(0.8f, 1.2f, 3.3f);
                    room.SendPose(new BodyPose(new BodyTransform(new Vec3(4, 1.7f, -5), Quat.Identity)));
                    NucleusAvatars avatars = rig.GetComponent<NucleusAvatars>();
                    bool isShown = avatars != null && room.Me.Id != 0
                        && avatars.TryGetAvatar(room.Me.Id, out avatar)
                        && IsNear(avatar.head.position, new Vector3(4, 1.7f, 5));
                    return isShown && greeting != null && room.ReadPoses(shown) == 1;
                }, "both see each other", bob);
                Vec3 head = shown[0].Pose.Head.Position;
                Check.That(IsNear(head.ToUnity(), rig.head.position), "ada's head is at " + head);
                Check.That(shown[0].Pose.HasLeft && !shown[0].Pose.HasRight, "ada's hands");
                Check.That(!avatar.left.gameObject.activeSelf, "bob has no hands");
                Check.Equal("welcome, bob", greeting, "the greeting");
                string device = null;
                rig.AskDeviceAsync(room.Me.Id).ContinueWith(answer => device = answer.Result);
                Until(() => device != null, "bob answers", bob);
                Check.Equal("B", device, "bob's device");
                // The step in the player loop is there once.
                Check.Equal(1, PlayerLoop.Steps(typeof(UnityEngine.PlayerLoop.Update)), "steps");
                World.Wait(room.LeaveAsync(), bob);
                Until(() => avatar == null, "bob's avatar is destroyed");
            }
            Stop();
            Check.Equal(0, PlayerLoop.Steps(typeof(UnityEngine.PlayerLoop.Update)), "steps after the end");
        }

        internal static NucleusAvatar AvatarPrefab()
        {
            NucleusAvatar prefab = StubEngine.Prefab<NucleusAvatar>("avatar");
            prefab.head = new GameObject("head").transform;
            prefab.left = new GameObject("left").transform;
            return prefab;
        }

        [Case]
        static void ObjectsFollowTheirOwners()
        {
            string name = World.NewRoom();
            StubEngine.Play();
            var on = new GameObject("session");
            NucleusSession session = Session(on, "ada", name);
            var door = new GameObject("door").AddComponent<NucleusObject>();
            door.session = session;
            door.sceneId = 7;
            // A second scene with the same object, in the same process.
            NucleusSession session2 = Session(new GameObject("session 2"), "bob", name);
            var door2 = new GameObject("door 2").AddComponent<NucleusObject>();
            door2.session = session2;
            door2.sceneId = 7;
            Until(() => door.RoomObject != null && door2.RoomObject != null, "both have the door");
            Check.That(door.IsMine != door2.IsMine, "one of them owns it");
            NucleusObject mine = door.IsMine ? door : door2, other = door.IsMine ? door2 : door;
            var target = new Vector3(0, 1, 2);
            Quaternion turned = Quaternion.Euler(0, 90, 0);
            mine.transform.SetPositionAndRotation(target, turned);
            Until(() => IsNear(other.transform.position, target), "the other one follows");
            Check.That(IsNear(other.transform.rotation, turned), "and turns");
            string changed = null;
            int owners = 0;
            other.FieldChanged += (key, old, now) => changed = key + "=" + now;
            other.OwnerChanged += () => owners++;
            mine.SetAsync("open", true);
            Until(() => changed != null, "the field");
            Check.Equal("open=true", changed, "the field");
            other.ClaimAsync();
            Until(() => other.IsMine && !mine.IsMine && owners == 1, "the other one owns it");
            target = new Vector3(5, 1, 2);
            other.transform.position = target;
            Until(() => IsNear(mine.transform.position, target), "now the first one follows");
            // At rest, the transform becomes a field, for those who come later.
            Until(() => mine.RoomObject.Fields["nucleus.transform"].AsBytes != null, "it is stored");
            using (var eve = new NucleusClient())
            {
                Room late = World.Join(eve, "eve", name);
                Until(() => late.State.Objects.Count == 1, "a newcomer sees it", eve);
                byte[] stored = late.State.Objects[0].Fields["nucleus.transform"].AsBytes;
                Check.Equal(5f, BitConverter.ToSingle(stored, 0), "x is stored");
                Check.Equal(-2f, BitConverter.ToSingle(stored, 8), "z in the room's coordinates");
            }
            Stop();
        }

        [Case]
        static void PrefabsAreSpawnedEverywhere()
        {
            string name = World.NewRoom();
            StubEngine.Play();
            var sides = new List<NucleusObjects>();
            foreach (string user in new[] { "ada", "bob" })
            {
                var on = new GameObject(user);
                NucleusSession session = Session(on, user, name);
                var objects = on.AddComponent<NucleusObjects>();
                objects.session = session;
                objects.prefabs = new[] { StubEngine.Prefab<NucleusObject>("cube") };
                sides.Add(objects);
            }
            Until(() => sides.All(side => side.session.IsJoined), "both are there");
            NucleusObject made = null, seen = null;
            sides[1].Spawned += spawned => seen = spawned;
            var at = new Vector3(1, 2, 3);
            var fields = new Dictionary<string, Value> { { "colour", "red" } };
            sides[0].SpawnAsync("cube", at, Quaternion.identity, fields)
                .ContinueWith(task => made = task.Result);
            Until(() => made != null && seen != null, "both have the cube");
            Check.That(made.IsMine && !seen.IsMine, "its owner");
            Check.That(IsNear(seen.transform.position, at), "its place");
            Check.Equal("red", seen.RoomObject.Fields["colour"].AsText, "its field");
            made.RoomObject.DeleteAsync();
            Until(() => made == null && seen == null, "both destroy it");
            Stop();
        }

        [Case]
        static void VoiceFromMicrophoneToSpeaker()
        {
            if (!RoomVoice.HasOpus)
            {
                Console.WriteLine("       the library has no Opus");
                return;
            }
            string name = World.NewRoom();
            StubEngine.Play();
            var on = new GameObject("ada");
            NucleusSession session = Session(on, "ada", name);
            var voice = on.AddComponent<NucleusVoice>();
            voice.session = session;
            using (var bob = new NucleusClient())
            {
                Room room = World.Join(bob, "bob", name);
                var heard = new float[RoomVoice.FrameSamples];
                var spoken = new float[RoomVoice.FrameSamples];
                var block = new float[2 * 882];
                float atBob = 0, atAda = 0;
                int time = 0;
                bool isPanned = false;
                Until(() =>
                {
                    // Bob's sound device: 20 ms, as the microphone and the frames of the stub.
                    System.Threading.Thread.Sleep(16);
                    for (int i = 0; i < spoken.Length; i++)
                    {
                        spoken[i] = 0.5f * (float)Math.Sin(2 * Math.PI * 330 * time++ / 48000);
                    }
                    room.Voice.Speak(spoken);
                    if (room.Peers.Count == 1)
                    {
                        room.Voice.Play(room.Peers[0].Id, heard);
                        atBob = Math.Max(atBob, heard.Max());
                    }
                    NucleusSpeaker speaker;
                    if (voice.TryGetSpeaker(room.Me.Id, out speaker))
                    {
                        // Unity's panning: all on the left.
                        for (int i = 0; i < block.Length; i++)
                        {
                            block[i] = i % 2 == 0 ? 1 : 0;
                        }
                        Filter(speaker, block);
                        atAda = Math.Max(atAda, block.Max());
                        isPanned = block.Where((sample, i) => i % 2 == 1 && sample != 0).Count() == 0;
                    }
                    return atBob > 0.3f && atAda > 0.3f && speaker.Level > 0.3f;
                }, "both hear each other", bob);
                Check.That(isPanned, "the right channel stays silent");
                Check.That(voice.IsRecording && Microphone.IsRecording, "the microphone is on");
                session.Leave();
                Until(() => !Microphone.IsRecording, "the microphone is off after the leave");
            }
            Stop();
        }

        static void Filter(NucleusSpeaker speaker, float[] block)
        {
            const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.NonPublic;
            MethodInfo filter = typeof(NucleusSpeaker).GetMethod("OnAudioFilterRead", Hidden);
            filter.Invoke(speaker, new object[] { block, 2 });
        }

        [Case]
        static void ALobbyWithACall()
        {
            StubEngine.Play();
            var on = new GameObject("lobby");
            NucleusSession session = Session(on, "ada", null);
            session.connectOnStart = false;
            var lobby = on.AddComponent<Lobby>();
            lobby.session = session;
            lobby.version = "lobby";
            using (var bob = new NucleusClient())
            {
                ConnectOptions options = World.Options("bob", World.NewRoom());
                options.Version = "lobby";
                Room room = World.Wait(bob.ConnectAsync(options), bob);
                string button = room.Name + " (1 of ";
                Until(() =>
                {
                    ListedRoom listed = null;
                    if (lobby.Social != null && lobby.Social.Rooms.TryGetValue(room.Name, out listed))
                    {
                        GUILayout.Pressed = button + listed.Capacity + ")";
                    }
                    return session.IsJoined;
                }, "ada joins the listed room", bob);
                Check.Equal(room.Name, session.Room.Name, "the room");
                Until(() => room.Peers.Count == 1, "both meet", bob);
                GUILayout.Pressed = "Leave";
                Until(() => room.Peers.Count == 0, "ada has left", bob);
                var enter = new EnterOptions(World.Server, World.Token("bob"));
                SocialSession social = World.Wait(bob.EnterAsync(enter), bob);
                System.Threading.Tasks.Task<Call> call = social.CallAsync(new[] { "ada" }, "come");
                string accepted = null;
                Until(() => call.IsCompleted, "bob calls", bob);
                call.Result.Accepted += named => accepted = named;
                session.version = lobby.version = "";
                Until(() =>
                {
                    GUILayout.Pressed = "Accept";
                    return accepted != null && session.IsJoined;
                }, "ada accepts and joins", bob);
                Check.Equal(accepted, session.Room.Name, "the call's room");
            }
            Stop();
        }

        [Case]
        static void AFailedJoinIsTriedAgain()
        {
            StubEngine.Play();
            var on = new GameObject("session");
            NucleusSession session = Session(on, "ada", World.NewRoom());
            session.token = "no token";
            int failures = 0;
            session.JoinFailed += exception =>
            {
                failures++;
                session.token = World.Token("ada");
            };
            Until(() => session.IsJoined, "the second attempt");
            Check.Equal(1, failures, "failures");
            Check.That(StubEngine.Logged.Any(line => line.StartsWith("warning")), "a warning");
            StubEngine.Logged.Clear();
            Stop();
        }

        [Case]
        static void TheEditorFreesClients()
        {
            Type hook = Type.GetType("Nucleus.Unity.Editor.FreeClients, Nucleus.Client.Editor", true);
            System.Runtime.CompilerServices.RuntimeHelpers.RunClassConstructor(hook.TypeHandle);
            NucleusClient runtime = NucleusRuntime.Client;
            var own = new NucleusClient();
            AssemblyReloadEvents.Reload();
            Check.That(runtime.IsDisposed && own.IsDisposed, "before the scripts are loaded anew");
            Check.That(NucleusRuntime.Client != runtime, "a new client afterwards");
            runtime = NucleusRuntime.Client;
            EditorApplication.Change(PlayModeStateChange.ExitingPlayMode);
            Check.That(!runtime.IsDisposed, "objects still need it while they are destroyed");
            EditorApplication.Change(PlayModeStateChange.EnteredEditMode);
            Check.That(runtime.IsDisposed, "after play mode");
        }
    }
}
