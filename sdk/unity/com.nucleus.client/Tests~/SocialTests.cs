using System;
using System.Collections.Generic;
using System.Linq;

namespace Nucleus.Tests
{
    /// <summary>The lobby, users and calls.</summary>
    static class SocialTests
    {
        static SocialSession Enter(NucleusClient client, string user, string role = "member")
        {
            var options = new EnterOptions(World.Server, World.Token(user, role));
            return World.Wait(client.EnterAsync(options), client);
        }

        [Case]
        static void TheLobbyListsRooms()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                SocialSession social = Enter(bob, "bob");
                string map = World.NewRoom();
                World.Wait(social.WatchRoomsAsync("7", RoomFilter.Equal("map", map)), bob);
                ListedRoom listed = null;
                Value level = Value.None;
                var gone = new List<string>();
                social.RoomChanged += changed =>
                {
                    listed = changed;
                    level = changed.Fields["level"];
                };
                social.RoomGone += gone.Add;
                ConnectOptions options = World.Options("ada", null);
                options.Mode = JoinMode.MatchOrCreate;
                options.Version = "7";
                options.Capacity = 5;
                options.Fields["map"] = map;
                options.Fields["level"] = 3;
                options.Listed.AddRange(new[] { "map", "level" });
                options.Filters.Add(RoomFilter.Equal("map", map));
                options.Filters.Add(RoomFilter.Between("level", 2, Value.None));
                Room room = World.Wait(ada.ConnectAsync(options), ada);
                World.Until(() => listed != null, "the room is listed", ada, bob);
                Check.Equal(room.Name, listed.Name, "its name");
                Check.Equal((Value)3, level, "the fields are there in the event");
                Check.Equal(1, listed.PeerCount, "its peers");
                Check.Equal(5, listed.Capacity, "its capacity");
                Check.That(social.Rooms.ContainsKey(room.Name), "the list has it");
                Check.That(!listed.HasPassword && !listed.IsLocked, "its flags");
                // A match finds it.
                ConnectOptions match = World.Options("bob", null);
                match.Mode = JoinMode.Match;
                match.Version = "7";
                match.Filters.Add(RoomFilter.OneOf("map", "nowhere", map));
                Room second = World.Wait(bob.ConnectAsync(match), bob);
                Check.Equal(room.Name, second.Name, "the matched room");
                second.Dispose();
                room.Dispose();
                World.Until(() => gone.Contains(room.Name), "the room is gone", ada, bob);
                Check.That(!social.Rooms.ContainsKey(room.Name), "the list has it no more");
            }
        }

        [Case]
        static void UsersAndACall()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                SocialSession caller = Enter(ada, "ada");
                SocialSession callee = Enter(bob, "bob");
                Check.Equal("ada", caller.User, "the own user");
                World.Wait(caller.WatchUsersAsync(named: new[] { "bob" }), ada);
                World.Until(() => caller.Users.ContainsKey("bob"), "bob is online", ada, bob);
                callee.SetStatus(UserStatus.Away);
                World.Until(() => caller.Users["bob"].Status == UserStatus.Away, "bob is away", ada, bob);
                callee.SetStatus(UserStatus.Online);
                Call rings = null;
                callee.IncomingCall += call => rings = call;
                Call made = World.Wait(caller.CallAsync(new[] { "bob" }, "lunch?"), ada, bob);
                World.Until(() => rings != null, "it rings", ada, bob);
                Check.Equal("ada", rings.From, "the caller");
                Check.Equal("lunch?", rings.Text, "the text");
                Check.Equal(CallStatus.Ringing, rings.Status, "the callee's status");
                Check.Equal(CallStatus.Calling, made.Status, "the caller's status");
                Check.Equal(made.Id, rings.Id, "the same call");
                string callerRoom = null, calleeRoom = null;
                made.Accepted += room => callerRoom = room;
                rings.Accepted += room => calleeRoom = room;
                World.Wait(rings.AcceptAsync(), ada, bob);
                World.Until(() => callerRoom != null && calleeRoom != null, "both have a room", ada, bob);
                Check.Equal(callerRoom, calleeRoom, "it is the same one");
                Check.That(rings.IsOnThisDevice, "accepted on this device");
                Room first = World.Join(ada, "ada", callerRoom);
                Room second = World.Join(bob, "bob", calleeRoom);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "they meet", ada, bob);
                bool hasEnded = false;
                made.Ended += reason => hasEnded = true;
                first.Dispose();
                second.Dispose();
                World.Wait(rings.HangUpAsync(), ada, bob);
                World.Until(() => hasEnded, "the call has ended", ada, bob);
                Check.Equal(CallStatus.Ended, made.Status, "the caller's status");
                Check.That(!caller.Calls.Any(), "no call is left");
            }
        }

        [Case]
        static void CallsThatNobodyTakes()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            using (var eve = new NucleusClient())
            {
                SocialSession caller = Enter(ada, "ada");
                SocialSession callee = Enter(bob, "bob");
                SocialSession other = Enter(eve, "eve");
                Call rings = null, also = null;
                callee.IncomingCall += call => rings = call;
                other.IncomingCall += call => also = call;
                Call made = World.Wait(caller.CallAsync(new[] { "bob", "eve" }), ada, bob, eve);
                World.Until(() => rings != null && also != null, "it rings", ada, bob, eve);
                string passed = null;
                bool hasEnded = false;
                made.MemberPassed += (user, reason) => passed = user + " " + reason.Code;
                made.Ended += reason => hasEnded = reason.Code == ReasonCode.Declined;
                World.Wait(rings.RejectAsync(), ada, bob, eve);
                World.Until(() => passed != null, "bob has passed", ada, bob, eve);
                Check.That(!hasEnded, "it still rings at eve");
                World.Wait(also.RejectAsync(), ada, bob, eve);
                World.Until(() => hasEnded, "the call has ended", ada, bob);
                Check.Equal("bob Declined", passed, "bob's answer");
                Check.Equal(CallStatus.Ended, rings.Status, "bob's own call");
                Check.That(!callee.Calls.Any(), "no call is left");
                World.Until(() => made.Status == CallStatus.Ended, "the caller knows", ada, bob);
                made = World.Wait(caller.CallAsync(new[] { "bob" }), ada, bob);
                World.Wait(made.CancelAsync(), ada, bob);
                Check.Equal(CallStatus.Ended, made.Status, "a cancelled call");
                World.Until(() => rings.Status == CallStatus.Ended && rings.Id == made.Id,
                    "the cancelled call no longer rings", ada, bob);
                var absent = Check.Throws<NucleusException>(
                    () => World.Wait(caller.CallAsync(new[] { "nobody" }), ada, bob), "an absent user");
                Check.Equal(NucleusResult.Refused, absent.Result, "the result");
                var none = new EnterOptions(World.Server, "no token");
                Check.Throws<NucleusException>(() => World.Wait(ada.EnterAsync(none), ada), "a bad token");
            }
        }
    }
}
