using System;
using System.Collections.Generic;

namespace Nucleus.Tests
{
    /// <summary>What a client tells while the server is away.</summary>
    static class ReconnectTests
    {
        [Case]
        static void ARestartedServer()
        {
            using (var server = new OwnServer())
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Wait(ada.ConnectAsync(server.Options("ada", name)), ada);
                Room second = World.Wait(bob.ConnectAsync(server.Options("bob", name)), bob);
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet", ada, bob);
                World.Wait(first.State.SetMineAsync("colour", "red"), ada, bob);
                RoomObject made = World.Wait(
                    first.State.CreateAsync(ObjectOwnership.Take, true), ada, bob);
                var log = new List<string>();
                first.Interrupted += reason => log.Add("interrupted " + first.Status);
                first.Rejoined += () => log.Add("rejoined " + first.Status);
                first.ClockChanged += () => log.Add("clock");
                server.Kill();
                server.Start();
                World.Until(() => log.Count == 3 && second.Status == SessionStatus.Connected, "both are back",
                    ada, bob);
                Check.Equal("interrupted Interrupted|rejoined Connected|clock", string.Join("|", log), "ada's events");
                World.Until(() => first.Peers.Count == 1 && second.Peers.Count == 1, "both meet again", ada, bob);
                Check.Equal("ada", first.Me.User, "the own peer");
                Peer me;
                Check.That(first.TryGetPeer(first.Me.Id, out me) && me == first.Me, "the own id");
                World.Until(() => made.IsDeleted, "the old room's objects are deleted", ada, bob);
                Check.Equal(0, first.Me.Fields.Count, "the own fields are gone, too");
                World.Wait(first.State.SetMineAsync("colour", "blue"), ada, bob);
                World.Until(
                    () => second.Peers[0].Fields["colour"].AsText == "blue", "the new field", ada, bob);
            }
        }

        [Case]
        static void AServerThatStaysAway()
        {
            using (var server = new OwnServer())
            using (var ada = new NucleusClient())
            {
                ConnectOptions options = server.Options("ada", World.NewRoom());
                options.Patience = TimeSpan.FromSeconds(1);
                Room room = World.Wait(ada.ConnectAsync(options), ada);
                Reason lost = default(Reason);
                room.Interrupted += reason => lost = reason;
                server.Stop();
                World.Until(() => room.Status == SessionStatus.Closed, "the patience ends", ada);
                var closed = Check.Throws<NucleusException>(
                    () => room.SendPose(new BodyPose()), "a closed room");
                Check.Equal(NucleusResult.Closed, closed.Result, "the result");
                Check.Equal(ReasonCode.ShuttingDown, lost.Code, "the reason of the server");
                Check.That(room.CloseReason.Text.Length > 0, "there is a reason");
            }
        }
    }
}
