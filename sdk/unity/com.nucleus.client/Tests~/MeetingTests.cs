using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

namespace Nucleus.Tests
{
    /// <summary>Two clients in a room: peers, poses and events.</summary>
    static class MeetingTests
    {
        [Case]
        static void PeersSeeEachOther()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                var log = new List<string>();
                first.PeerJoined += peer => log.Add("joined " + peer.User);
                first.PeerLeft += (peer, reason) => log.Add("left " + peer.User + " " + reason.Code);
                Check.Equal(name, first.Name, "the room's name");
                Check.Equal("ada", first.Me.User, "the own user");
                Check.That(first.IsHost, "the first peer is the host");
                Room second = World.Join(bob, "bob", name, "observer");
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                Peer seen = first.Peers[0];
                Check.Equal(second.Me.Id, seen.Id, "bob's id");
                Check.Equal("observer", seen.Role, "bob's role");
                Check.Equal("bob", seen.Name, "bob's name");
                Check.That(!seen.IsMe && !seen.IsAway && !seen.IsModerator, "bob's flags");
                Check.Equal(first.Me.Id, second.HostId, "the host");
                bool hasLeft = false;
                seen.Left += () => hasLeft = true;
                System.Threading.Tasks.Task leave = second.LeaveAsync();
                Check.Equal(SessionStatus.Leaving, second.Status, "until the room is closed");
                // Frames go on until then.
                second.SendPose(Rising(1));
                second.ReadPoses(new ShownPose[1]);
                World.Wait(leave, ada, bob);
                Check.Equal(SessionStatus.Closed, second.Status, "after the leave");
                World.Until(() => first.Peers.Count == 0, "bob has left", ada, bob);
                Check.That(hasLeft, "the peer's own event");
                Check.Equal("joined bob|left bob Left", string.Join("|", log), "ada's events");
            }
        }

        [Case]
        static void MorePosesThanTheArrayHolds()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                var all = new ShownPose[5];
                World.Until(() =>
                {
                    for (ushort key = 0; key < 5; key++)
                    {
                        first.SendPose(To.Others, key, Rising(1), null, 0);
                    }
                    return second.ReadPoses(all) == 5;
                }, "bob sees five bodies", ada, bob);
                int total;
                Check.Equal(2, second.ReadPoses(new ShownPose[2], out total), "poses in a short array");
                Check.Equal(5, total, "poses that there are");
                Check.Equal(0, second.ReadPoses(new ShownPose[0], out total), "poses in an empty array");
                Check.Equal(5, total, "poses that there are");
                Check.Equal(5, second.ReadPoses(new ShownPose[9], out total), "poses in a long array");
                Check.Equal(5, total, "poses that there are");
                Check.That(all.All(pose => pose.Channel == 0), "the channel of SendPose");
                Check.Equal(10, all.Sum(pose => (int)pose.Key), "the keys");
            }
        }

        [Case]
        static void PosesAreInterpolated()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => second.ServerTimeMicroseconds > 0, "bob knows the time", ada, bob);
                var shown = new ShownPose[8];
                var heights = new List<float>();
                int interpolated = 0;
                bool hasHands = false;
                DateTime start = DateTime.UtcNow, next = start;
                World.Until(() =>
                {
                    DateTime now = DateTime.UtcNow;
                    if (now >= next)
                    {
                        next = next.AddMilliseconds(33);
                        var seconds = (float)(now - start).TotalSeconds;
                        first.SendPose(Rising(seconds));
                    }
                    int count = second.ReadPoses(shown);
                    if (count == 1)
                    {
                        Check.Equal(first.Me.Id, shown[0].Peer, "the sender");
                        heights.Add(shown[0].Pose.Head.Position.Y);
                        interpolated += shown[0].Certainty == PoseCertainty.Interpolated ? 1 : 0;
                        hasHands |= shown[0].Pose.HasLeft && !shown[0].Pose.HasRight;
                    }
                    return (now - start).TotalSeconds > 2;
                }, "two seconds", ada, bob);
                Check.That(hasHands, "the left hand is tracked, the right one is not");
                Check.That(heights.Count > 100, heights.Count + " frames with a pose");
                Check.That(interpolated > heights.Count / 2, interpolated + " frames were interpolated");
                int different = heights.Distinct().Count();
                Check.That(different > 90, different + " heights: more than the 60 that were sent");
                float last = heights[heights.Count - 1];
                Check.That(last > 1.5f && last < 2.1f, "the last height is " + last);
            }
        }

        static BodyPose Rising(float seconds)
        {
            var head = new BodyTransform(new Vec3(1, seconds, -2), Quat.Identity);
            var hand = new BodyTransform(new Vec3(0.7f, seconds, -2.2f), Quat.Identity);
            return new BodyPose(head) { Left = hand };
        }

        [Case]
        static void EventsComeInOrderAndOnce()
        {
            const int Count = 300;
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1, "both meet", ada, bob);
                var received = new List<int>();
                ulong sequence = 0;
                second.EventReceived += message =>
                {
                    Check.That(message.Sequence > sequence, "sequences rise");
                    sequence = message.Sequence;
                    Check.Equal(first.Me.Id, message.From, "the sender");
                    Check.Equal((byte)7, message.Channel, "the channel");
                    received.Add(BitConverter.ToInt32(message.Payload, 0));
                };
                int sent = 0;
                World.Until(() =>
                {
                    while (sent < Count && first.TrySendEvent(7, BitConverter.GetBytes(sent)))
                    {
                        sent++;
                    }
                    return received.Count >= Count;
                }, "all events arrive", ada, bob);
                World.During(0.2, ada, bob);
                Check.That(received.SequenceEqual(Enumerable.Range(0, Count)), "in order, and once");
            }
        }

        [Case]
        static void TypedEventsReachTheirHandlers()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            using (var eve = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                var log = new List<string>();
                Action<uint, byte[]> chat = (from, payload) =>
                    log.Add(from + ":" + Encoding.UTF8.GetString(payload));
                second.On("chat", chat);
                second.On("door", (from, payload) => log.Add("door " + payload.Length));
                second.EventReceived += message => log.Add("untyped");
                World.Until(() => first.Peers.Count == 1, "both meet", ada, bob);
                first.Send("chat", "Zoë");
                first.Send("window", "nobody handles it");
                first.Send("door", new byte[0], To.Peer(second.Me));
                World.Until(() => log.Count == 2, "both events arrive", ada, bob);
                Check.Equal(first.Me.Id + ":Zoë|door 0", string.Join("|", log), "bob's events");
                second.Off("chat", chat);
                first.Send("chat", "too late");
                first.Send("door", new byte[3]);
                World.Until(() => log.Count == 3, "the next event arrives", ada, bob);
                Check.Equal("door 3", log[2], "the handler of chat is removed");
                // All, and those who join later.
                int mine = 0, kept = 0;
                first.On("all", (from, payload) => mine += from == first.Me.Id ? 1 : 100);
                first.Send("all", new byte[1], To.All);
                first.Send("kept", new byte[1], To.OthersAndLater);
                World.Until(() => mine == 1, "the sender gets its own event", ada, bob);
                Room third = eve.Connect(World.Options("eve", name));
                third.On("kept", (from, payload) => kept++);
                World.Until(() => kept == 1, "a newcomer gets the kept event", ada, bob, eve);
            }
        }

        [Case]
        static void RealtimeMessagesAndBulk()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                World.Wait(second.SubscribeAsync(5), ada, bob);
                byte[] pointer = null, newest = null, loose = null;
                int bulk = 0;
                var late = default(RealtimeMessage);
                second.PointerReceived += message => pointer = message.ToArray();
                second.MessageReceived += message =>
                {
                    late = message;
                    Check.Equal(first.Me.Id, message.From, "the sender");
                    newest = message.Channel == 3 ? message.ToArray() : newest;
                    loose = message.Channel == 4 ? message.ToArray() : loose;
                };
                second.BulkReceived += message => bulk = message.Payload.Length;
                first.SendBulk(2, new byte[60000]);
                World.Until(() =>
                {
                    first.SendPointer(1, 9, new byte[] { 1, 2 }, To.Group(5));
                    first.SendNewest(3, 9, new byte[] { 3, 4, 5 });
                    first.SendUnreliable(4, 9, new byte[] { 6 }, To.Peer(second.Me.Id));
                    return pointer != null && newest != null && loose != null && bulk > 0;
                }, "a message of each kind", ada, bob);
                Check.That(pointer.SequenceEqual(new byte[] { 1, 2 }), "the pointer");
                Check.That(newest.SequenceEqual(new byte[] { 3, 4, 5 }), "the newest");
                Check.That(loose.SequenceEqual(new byte[] { 6 }), "the unreliable message");
                Check.Equal(60000, bulk, "the bulk message");
                Check.Throws<InvalidOperationException>(
                    () => late.ToArray(), "a lent payload after the callback");
            }
        }
    }
}
