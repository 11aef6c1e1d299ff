using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus.Tests
{
    /// <summary>Moderators, the host, limits and tokens.</summary>
    static class ModerationTests
    {
        [Case]
        static void AModeratorActs()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room second = World.Join(bob, "bob", name);
                Room first = World.Join(ada, "ada", name, "expert");
                World.Until(() => second.Peers.Count == 1 && first.Peers.Count == 1, "both meet", ada, bob);
                Check.That(first.Me.IsModerator && second.Peers[0].IsModerator, "ada may moderate");
                var log = new List<string>();
                second.Moderated += done => log.Add(done.Act + " by " + done.By);
                second.HostChanged += host => log.Add("host " + host);
                Check.Equal(second.Me.Id, first.HostId, "the first peer is the host");
                World.Wait(first.SetHostAsync(first.Me.Id), ada, bob);
                World.Until(() => log.Count == 1, "another host", ada, bob);
                Check.That(first.IsHost && !second.IsHost, "ada is the host");
                bool wasChanged = false;
                first.Peers[0].Changed += () => wasChanged = true;
                World.Wait(first.ModerateAsync(ModerationAct.Mute, second.Me.Id), ada, bob);
                World.Until(() => log.Count == 2 && second.Me.IsMuted, "bob is muted", ada, bob);
                World.Until(() => wasChanged && first.Peers[0].IsMuted, "ada sees it", ada, bob);
                var throttled = new List<ThrottleReason>();
                second.Throttled += throttled.Add;
                World.Until(() =>
                {
                    second.Voice.Send(new byte[20], 20, 10, VoiceFlags.Speaking);
                    return throttled.Contains(ThrottleReason.Muted);
                }, "the server drops bob's voice", ada, bob);
                uint kicked = second.Me.Id;
                Reason why = default(Reason), seen = default(Reason);
                second.Closed += reason => why = reason;
                first.PeerLeft += (peer, reason) => seen = reason;
                TimeSpan ban = TimeSpan.FromMinutes(1);
                World.Wait(first.ModerateAsync(ModerationAct.Kick, kicked, ban), ada, bob);
                World.Until(() => second.Status == SessionStatus.Closed && first.Peers.Count == 0,
                    "bob is kicked", ada, bob);
                Check.Equal(ReasonCode.Kicked, why.Code, "bob's reason");
                Check.Equal(ReasonCode.Kicked, seen.Code, "ada's reason");
                string expected = string.Format("host {0}|Mute by {0}", first.Me.Id);
                Check.Equal(expected, string.Join("|", log.GetRange(0, 2)), "what bob was told");
                NucleusException banned = Check.Throws<NucleusException>(
                    () => World.Join(bob, "bob", name), "bob is banned");
                Check.Equal(NucleusResult.Refused, banned.Result, "the ban");
            }
        }

        [Case]
        static void ATokenIsRenewed()
        {
            using (var ada = new NucleusClient())
            {
                int provided = 0, failures = 0;
                TimeSpan? within = null;
                Exception broken = null;
                ConnectOptions options = World.Options("ada", World.NewRoom());
                options.TokenProvider = async () =>
                {
                    await Task.Yield();
                    if (broken != null)
                    {
                        throw broken;
                    }
                    provided++;
                    return World.Token("ada", "member", "2h");
                };
                Room room = World.Wait(ada.ConnectAsync(options), ada);
                room.TokenWanted += time => within = time;
                ada.CallbackFailed += exception => failures++;
                World.Wait(room.RenewAsync(World.Token("ada")), ada);
                NucleusException refused = Check.Throws<NucleusException>(
                    () => World.Wait(room.RenewAsync(World.Token("bob")), ada), "a token of another user");
                Check.Equal(ReasonCode.Forbidden, refused.Reason, "a token of another user");
                // A server asks after hours, so the test makes the event itself.
                WantToken(room);
                World.Until(() => provided == 1, "the provider is asked", ada);
                Check.Equal(TimeSpan.FromSeconds(60), within.Value, "the time that is left");
                World.During(0.3, ada);
                Check.Equal(0, failures, "the server takes the token");
                broken = new InvalidOperationException("no backend");
                WantToken(room);
                World.Until(() => failures == 1, "a provider that fails is reported", ada);
                Check.Equal(SessionStatus.Connected, room.Status, "the session goes on");
            }
        }

        static unsafe void WantToken(Room room)
        {
            var wanted = new NcEvent { kind = (uint)NcEventKind.TokenWanted, duration_ms = 60000 };
            room.Dispatch(&wanted);
        }
    }
}
