using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;

namespace Nucleus.Tests
{
    /// <summary>The shared state: fields, objects and their owners.</summary>
    static class StateTests
    {
        static Dictionary<string, Value> Fields(params object[] pairs)
        {
            var fields = new Dictionary<string, Value>();
            for (int i = 0; i < pairs.Length; i += 2)
            {
                fields[(string)pairs[i]] = (Value)pairs[i + 1];
            }
            return fields;
        }

        [Case]
        static void ObjectsWithCallbacks()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                RoomObject seen = null;
                string prefab = null;
                second.State.ObjectCreated += created =>
                {
                    seen = created;
                    prefab = created.Fields["prefab"].AsText;
                };
                RoomObject told = null;
                first.State.ObjectCreated += created => told = created;
                var fields = Fields("prefab", (Value)"valve", "turns", (Value)1);
                RoomObject made = World.Wait(
                    first.State.CreateAsync(ObjectOwnership.Take, true, fields), ada, bob);
                Check.That(made.IsMine, "the creator owns it");
                Check.That(told == made, "the creator was told before the await ended");
                Check.Equal((Value)1, made.Fields["turns"], "the field is there after the await");
                World.Until(() => seen != null, "bob sees the object", ada, bob);
                Check.Equal("valve", prefab, "the fields are there in ObjectCreated");
                Check.Equal(made.Id, seen.Id, "its id");
                Check.Equal(first.Me.Id, seen.Owner, "its owner");
                Check.Equal(ObjectOwnership.Take, seen.Ownership, "its ownership");
                Check.That(seen.StaysWithRoom && !seen.IsMine, "its mode");

                var log = new List<string>();
                seen.FieldChanged += (key, old, now) => log.Add(key + " " + old + "->" + now);
                seen.OwnerChanged += (old, now) => log.Add("owner " + old + "->" + now);
                seen.Deleted += () => log.Add("deleted");
                World.Wait(made.SetAsync("turns", 2.5), ada, bob);
                Check.Equal((Value)2.5, made.Fields["turns"], "the new value after the await");
                World.Wait(made.SetAsync("turns", Value.None), ada, bob);
                Check.That(!made.Fields.Contains("turns"), "the field is removed");
                World.Wait(seen.ClaimAsync(), ada, bob);
                Check.That(seen.IsMine, "bob owns it after the await");
                World.Until(() => made.Owner == second.Me.Id, "ada sees the new owner", ada, bob);
                World.Wait(seen.GiveAsync(first.Me.Id), ada, bob);
                World.Wait(made.DeleteAsync(), ada, bob);
                World.Until(() => seen.IsDeleted, "bob sees that it is deleted", ada, bob);
                Check.Equal(0, second.State.Objects.Count, "objects left");
                uint a = first.Me.Id, b = second.Me.Id;
                string expected = string.Format(
                    "turns 1->2.5|turns 2.5->none|owner {0}->{1}|owner {1}->{0}|deleted", a, b);
                Check.Equal(expected, string.Join("|", log), "bob's callbacks");
            }
        }

        /// <summary>A frame may have many changes. Their order stays.</summary>
        [Case]
        static void ChangesOfOnePoll()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => second.Peers.Count == 1, "both meet", ada, bob);
                var log = new List<string>();
                second.State.ObjectCreated += created =>
                {
                    log.Add("created " + created.Fields["n"]);
                    created.FieldChanged += (key, old, now) => log.Add(key + " " + now);
                    created.OwnerChanged += (old, now) => log.Add("owner");
                };
                second.State.ObjectDeleted += deleted => log.Add("deleted " + deleted.Fields["n"]);
                // Bob does not poll.
                var one = World.Wait(
                    first.State.CreateAsync(ObjectOwnership.Take, false, Fields("n", (Value)1)), ada);
                World.Wait(one.DeleteAsync(), ada);
                var two = World.Wait(
                    first.State.CreateAsync(ObjectOwnership.Take, false, Fields("n", (Value)2)), ada);
                World.Wait(two.GiveAsync(second.Me.Id), ada);
                World.During(0.5, ada);
                World.Until(() => log.Count >= 4, "bob's callbacks", bob);
                Check.Equal("created 1|deleted 1|created 2|owner", string.Join("|", log), "bob's callbacks");
                // The answer and the events wait for the same poll. The callbacks come first.
                var order = new List<string>();
                first.State.ObjectCreated += created => order.Add("told");
                first.State.CreateAsync(ObjectOwnership.Take).ContinueWith(
                    made => order.Add("done"), TaskContinuationOptions.ExecuteSynchronously);
                System.Threading.Thread.Sleep(300);
                World.Until(() => order.Count == 2, "ada's callbacks", ada);
                Check.Equal("told|done", string.Join("|", order), "ada's callbacks");
            }
        }

        [Case]
        static void AnOwnerIsAsked()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                RoomObject made = World.Wait(first.State.CreateAsync(ObjectOwnership.Ask), ada, bob);
                World.Until(() => second.State.Objects.Count == 1, "bob sees the object", ada, bob);
                Task given = null;
                made.Claimed += by => given = made.GiveAsync(by);
                RoomObject seen = second.State.Objects[0];
                World.Wait(seen.ClaimAsync(), ada, bob);
                World.Until(() => seen.IsMine, "ada gives the object", ada, bob);
                World.Wait(given, ada, bob);
                Check.That(!made.IsMine, "ada has given it");
            }
        }

        [Case]
        static void FieldsOfRoomAndPeers()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            using (var eve = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name, "presenter");
                Room second = World.Join(bob, "bob", name);
                World.Until(() => second.Peers.Count == 1, "both meet", ada, bob);
                var log = new List<string>();
                second.State.Fields.Changed += (key, old, now) => log.Add(key + "=" + now);
                second.Peers[0].Fields.Changed += (key, old, now) => log.Add("ada." + key + "=" + now);
                var values = new Value[] { true, -5, 1.5, "Zoë", new byte[] { 1, 2 }, "" };
                var batch = new Batch();
                for (int i = 0; i < values.Length; i++)
                {
                    batch.Set(Entity.Room, "f" + i, values[i]);
                }
                World.Wait(first.State.ChangeAsync(batch), ada, bob);
                World.Wait(first.State.SetMineAsync("colour", "red"), ada, bob);
                Check.Equal("red", first.Me.Fields["colour"].AsText, "the own field");
                World.Until(() => log.Count == values.Length + 1, "bob sees all fields", ada, bob);
                for (int i = 0; i < values.Length; i++)
                {
                    Check.Equal(values[i], second.State.Fields["f" + i], "field " + i);
                }
                Check.Equal("ada.colour=red", log[values.Length], "the peer's field");
                // A newcomer gets the state, too.
                Room third = World.Join(eve, "eve", name);
                World.Until(() => third.Peers.Count == 2 && third.State.Fields.Count == values.Length,
                    "eve has the state", ada, bob, eve);
                Peer seen = third.Peers.First(peer => peer.User == "ada");
                Check.Equal("red", seen.Fields["colour"].AsText, "the peer's field");
                ulong one, two, three;
                byte[] digest = first.State.Digest(out one);
                Check.That(digest.SequenceEqual(second.State.Digest(out two)), "bob's digest");
                Check.That(digest.SequenceEqual(third.State.Digest(out three)), "eve's digest");
                Check.That(one == two && two == three, "the versions");
                Check.Equal(one, first.State.Version, "the version alone");
            }
        }

        [Case]
        static void RefusalsOfTheServer()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name, "presenter");
                Room second = World.Join(bob, "bob", name);
                var refused = Check.Throws<NucleusException>(
                    () => World.Wait(second.State.SetAsync("score", 1), ada, bob), "bob may not");
                Check.Equal(NucleusResult.Refused, refused.Result, "the result");
                Check.Equal(ReasonCode.Forbidden, refused.Reason, "the reason");
                World.Wait(first.State.SetAsync("score", 1), ada, bob);
                ulong version, none;
                Value score = first.State.Read(Entity.Room, "score", out version);
                Check.Equal((Value)1, score, "the field");
                Check.That(version > 0, "the field has a version");
                Check.That(first.State.Read(Entity.Room, "nothing", out none).IsNone, "no field");
                Check.Equal(0UL, none, "no version");
                World.Wait(first.State.SetAsync("score", 2), ada, bob);
                Batch late = new Batch().CompareAndSet(Entity.Room, "score", version, 3);
                refused = Check.Throws<NucleusException>(
                    () => World.Wait(first.State.ChangeAsync(late), ada, bob), "an old version");
                Check.Equal(ReasonCode.Conflict, refused.Reason, "the reason");
                Check.Equal((Value)2, first.State.Fields["score"], "the field is unchanged");
                var deny = Check.Throws<NucleusException>(
                    () => World.Wait(second.ModerateAsync(ModerationAct.Lock), ada, bob), "bob may not lock");
                Check.Equal(ReasonCode.Forbidden, deny.Reason, "the reason");
            }
        }
    }
}
