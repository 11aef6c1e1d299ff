using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using Nucleus.Native;

namespace Nucleus.Tests
{
    /// <summary>Failures, and callbacks that throw.</summary>
    static class ErrorTests
    {
        static NucleusException Refused(ConnectOptions options)
        {
            using (var client = new NucleusClient())
            {
                Room room = client.Connect(options);
                var exception = Check.Throws<NucleusException>(
                    () => World.Wait(room.Joined, client), "the join");
                Check.Equal(SessionStatus.Closed, room.Status, "the room's status");
                Check.That(exception.Message.Length > 0, "there is a text");
                return exception;
            }
        }

        [Case]
        static void JoinsThatFail()
        {
            string room = World.NewRoom();
            ConnectOptions options = World.Options("ada", room);
            options.Token = options.Token.Substring(0, options.Token.Length - 6) + "AAAAAA";
            Check.Equal(ReasonCode.TokenSignature, Refused(options).Reason, "a forged token");
            options = World.Options("ada", room);
            options.Mode = JoinMode.Join;
            NucleusException exception = Refused(options);
            Check.Equal(NucleusResult.Refused, exception.Result, "the result");
            Check.Equal(ReasonCode.NoSuchRoom, exception.Reason, "a room that does not exist");
            // Port 9 is "discard": nothing answers there.
            options = World.Options("ada", room);
            options.Server = "127.0.0.1:9";
            NucleusResult result = Refused(options).Result;
            bool isUnreachable = result == NucleusResult.Unreachable || result == NucleusResult.TimedOut;
            Check.That(isUnreachable, "an unreachable server: " + result);
        }

        [Case]
        static void WrongArguments()
        {
            using (var client = new NucleusClient())
            {
                Check.Throws<ArgumentNullException>(() => client.Connect(null), "no options");
                Check.Throws<ArgumentException>(
                    () => client.Connect(new ConnectOptions(null, "token")), "no server");
                Check.Throws<ArgumentException>(
                    () => client.Connect(new ConnectOptions("a\0b", "token")), "a zero character");
                ConnectOptions damaged = World.Options("ada", "room");
                damaged.Ticket = "not a ticket";
                Check.Throws<ArgumentException>(() => client.Connect(damaged), "a damaged ticket");
                Room early = client.Connect(World.Options("ada", World.NewRoom()));
                var notJoined = Check.Throws<NucleusException>(
                    () => early.SendEvent(1, new byte[1]), "before the join");
                Check.Equal(NucleusResult.NotJoined, notJoined.Result, "before the join");
                Room room = World.Wait(early.Joined, client);
                Check.Throws<NucleusException>(() => room.SendEvent(1, new byte[20000]), "too large");
                Check.Throws<ArgumentException>(() => room.SendEvent(250, new byte[1]), "the channel");
                Check.Throws<ArgumentOutOfRangeException>(() => To.Group(240), "the group");
                Check.Throws<ArgumentException>(
                    () => room.Send(new string('x', 65), new byte[0]), "a long type");
                Check.Throws<ArgumentOutOfRangeException>(
                    () => room.RpcAsync(1, "m", null, TimeSpan.FromHours(1)), "a long timeout");
                Check.Throws<ArgumentOutOfRangeException>(
                    () => room.SendPose(To.Others, 0, new BodyPose(), new byte[3], 4), "beyond the array");
                var pose = new BodyPose(new BodyTransform(new Vec3(float.NaN, 0, 0), Quat.Identity));
                Check.Throws<ArgumentException>(() => room.SendPose(pose), "not a number");
                Check.Throws<ArgumentException>(() => room.State.SetMineAsync("k", double.NaN), "NaN");
                NucleusException unknown = Check.Throws<NucleusException>(
                    () => room.SendUnreliable(1, 1, new byte[1], To.Peer(999)), "no such peer");
                Check.Equal(NucleusResult.UnknownPeer, unknown.Result, "no such peer");
                World.Wait(room.LeaveAsync(), client);
                var closed = Check.Throws<NucleusException>(
                    () => room.SendEvent(1, new byte[1]), "after the leave");
                Check.Equal(NucleusResult.Closed, closed.Result, "after the leave");
            }
        }

        [Case]
        static void CallbacksThatThrow()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1, "both meet", ada, bob);
                int heard = 0, reported = 0;
                Action<uint, byte[]> broken = (from, payload) =>
                {
                    throw new InvalidOperationException("broken");
                };
                second.On("chat", broken);
                second.On("chat", (from, payload) => heard++);
                Action<Exception> report = exception => reported++;
                bob.CallbackFailed += report;
                for (int i = 0; i < 10; i++)
                {
                    first.Send("chat", new byte[1]);
                }
                World.Until(() => heard == 10, "the second handler gets all events", ada, bob);
                Check.Equal(10, reported, "each exception is reported");
                // Without a listener, Poll throws them at its end, and goes on in the next frame.
                bob.CallbackFailed -= report;
                first.Send("chat", new byte[1]);
                AggregateException thrown = Check.Throws<AggregateException>(
                    () => World.During(5, ada, bob), "Poll");
                Check.Equal("broken", thrown.InnerExceptions[0].Message, "the callback's exception");
                Check.Equal(11, heard, "the second handler was called before");
                second.Off("chat", broken);
                first.Send("chat", new byte[1]);
                World.Until(() => heard == 12, "polling goes on", ada, bob);
                InvalidOperationException nested = null;
                second.On("poll", (from, payload) =>
                {
                    nested = Check.Throws<InvalidOperationException>(() => bob.Poll(), "a nested Poll");
                });
                first.Send("poll", new byte[1]);
                World.Until(() => nested != null, "a nested Poll is refused", ada, bob);
            }
        }

        /// <summary>The public enums repeat the numbers of the generated ones.</summary>
        [Case]
        static void NumbersAreThoseOfTheLibrary()
        {
            var pairs = new Dictionary<Type, Type>
            {
                { typeof(NcResult), typeof(NucleusResult) },
                { typeof(NcJoinMode), typeof(JoinMode) },
                { typeof(NcRoomFlag), typeof(RoomFlags) },
                { typeof(NcValueKind), typeof(ValueKind) },
                { typeof(NcCertainty), typeof(PoseCertainty) },
                { typeof(NcAct), typeof(ModerationAct) },
                { typeof(NcVoiceStep), typeof(VoiceStep) },
                { typeof(NcVoiceFlag), typeof(VoiceFlags) },
                { typeof(NcQuality), typeof(ConnectionQuality) },
                { typeof(NcStatus), typeof(UserStatus) },
                { typeof(NcThrottle), typeof(ThrottleReason) },
            };
            foreach (KeyValuePair<Type, Type> pair in pairs)
            {
                Dictionary<string, long> native = Numbers(pair.Key), own = Numbers(pair.Value);
                own.Remove("None");
                native.Remove("None");
                string expected = string.Join(" ", native.OrderBy(entry => entry.Value));
                Check.Equal(expected, string.Join(" ", own.OrderBy(entry => entry.Value)), pair.Value.Name);
            }
            Dictionary<string, long> modes = Numbers(typeof(NcObjectMode));
            modes.Remove("WithRoom");
            Check.Equal(string.Join(" ", modes), string.Join(" ", Numbers(typeof(ObjectOwnership))), "modes");
        }

        static Dictionary<string, long> Numbers(Type type)
        {
            return Enum.GetValues(type).Cast<object>()
                .ToDictionary(value => value.ToString(), value => Convert.ToInt64(value));
        }

        /// <summary>Poses are read in place, so their layout must be that of the library.</summary>
        [Case]
        static void PosesHaveTheLayoutOfTheLibrary()
        {
            CheckLayout(typeof(NcShownPose), typeof(ShownPose));
            CheckLayout(typeof(NcPose), typeof(BodyPose));
            CheckLayout(typeof(NcTransform), typeof(BodyTransform));
            Check.That(NucleusClient.LibraryVersion.Length > 0, "the library has a version");
        }

        static void CheckLayout(Type native, Type own)
        {
            Check.Equal(Marshal.SizeOf(native), Marshal.SizeOf(own), own.Name);
            Check.Equal(Offsets(native), Offsets(own), own.Name);
        }

        static string Offsets(Type type)
        {
            const BindingFlags All = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;
            IEnumerable<int> offsets = type.GetFields(All)
                .Select(field => (int)Marshal.OffsetOf(type, field.Name)).OrderBy(offset => offset);
            return string.Join(",", offsets);
        }
    }
}
