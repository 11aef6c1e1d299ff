using System;
using System.Threading;

namespace Nucleus.Tests
{
    /// <summary>What runs in every frame leaves no work to the garbage collector.</summary>
    static class AllocationTests
    {
        const int Frames = 100000;

        /// <summary>Runs the action so often that a small object each time would start a collection. The
        /// test's script gives Mono a young generation of 512 KiB for this.</summary>
        static void AllocatesNothing(string what, Action action)
        {
            for (int i = 0; i < 100; i++)
            {
                action();
            }
            GC.Collect();
            GC.WaitForPendingFinalizers();
            int collections = GC.CollectionCount(0);
            for (int i = 0; i < Frames; i++)
            {
                action();
            }
            Check.Equal(collections, GC.CollectionCount(0), what + ": collections");
        }

        [Case]
        static void TheMeasurementSeesAllocations()
        {
            object kept = null;
            Check.Throws<CheckFailed>(
                () => AllocatesNothing("an object", () => kept = new object()), "the measurement");
            Check.That(kept != null, "it was made");
        }

        [Case]
        static void AFrameAllocatesNothing()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                var pose = new BodyPose(new BodyTransform(new Vec3(1, 2, 3), Quat.Identity));
                var poses = new ShownPose[4];
                var opus = new byte[RoomVoice.LargestPacket];
                var rest = new byte[16];
                World.Until(() =>
                {
                    second.SendPose(pose);
                    return first.ReadPoses(poses) == 1;
                }, "ada sees bob", ada, bob);
                // Events that still come would allocate.
                World.During(1, ada, bob);
                int shown = 0;
                AllocatesNothing("Poll", () => ada.Poll());
                AllocatesNothing("ReadPoses", () => shown = Math.Max(shown, first.ReadPoses(poses)));
                Check.Equal(1, shown, "poses were read");
                AllocatesNothing("SendPose", () => first.SendPose(pose));
                AllocatesNothing("SendPose", () => first.SendPose(To.Peer(second.Me), 0, pose, rest, 8));
                AllocatesNothing("SendNewest", () => first.SendNewest(1, 2, rest));
                VoiceStep step;
                AllocatesNothing("Pull", () => first.Voice.Pull(second.Me.Id, opus, out step));
                AllocatesNothing("ServerTime", () => Math.Max(first.ServerTimeMicroseconds, first.HostId));
                // The messages above have filled the connection. Let it become empty.
                World.During(0.5, ada, bob);
            }
        }

        [Case]
        static void VoiceBuffersAllocateNothing()
        {
            var speaker = new SpeakerBuffer(frame => frame[0] = 1, 44100);
            var block = new float[2 * 64];
            AllocatesNothing("SpeakerBuffer", () => speaker.MultiplyInto(block, 2));
        }

        /// <summary>Realtime messages lend their payloads, so that a busy room allocates nothing,
        /// either.</summary>
        [Case]
        static void MessagesAllocateNothing()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                var payload = new byte[800];
                var copy = new byte[900];
                int received = 0;
                second.MessageReceived += message =>
                {
                    message.CopyTo(copy);
                    received++;
                };
                World.During(1, ada, bob);
                GC.Collect();
                int collections = GC.CollectionCount(0);
                for (int i = 0; i < 1500; i++)
                {
                    first.SendUnreliable(1, 1, payload);
                    Thread.Sleep(2);
                    bob.Poll();
                }
                Check.That(received > 1000, received + " messages were received");
                Check.Equal(collections, GC.CollectionCount(0), "collections");
            }
        }
    }
}
