using System;
using System.Text;
using System.Threading.Tasks;

namespace Nucleus.Tests
{
    /// <summary>Calls with an answer.</summary>
    static class RpcTests
    {
        static byte[] Bytes(string text)
        {
            return Encoding.UTF8.GetBytes(text);
        }

        static NucleusException Fails(Task<byte[]> call, string what, params NucleusClient[] clients)
        {
            return Check.Throws<NucleusException>(() => World.Wait(call, clients), what);
        }

        [Case]
        static void EachEndOfACall()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room caller = World.Join(ada, "ada", name);
                Room callee = World.Join(bob, "bob", name);
                World.Until(() => caller.Peers.Count == 1 && callee.Peers.Count == 1, "both meet", ada, bob);
                uint peer = callee.Me.Id;
                int reported = 0;
                bob.CallbackFailed += exception =>
                    reported += exception.Message == "a secret" ? 1 : 100;
                callee.Handle("echo", request =>
                {
                    Check.Equal(caller.Me.Id, request.From, "the caller");
                    Check.That(request.Timeout.TotalSeconds > 1, "the caller's patience");
                    return Bytes(request.Method + " " + request.Text);
                });
                var gate = new TaskCompletionSource<byte[]>();
                callee.HandleAsync("slow", async request => await gate.Task);
                callee.Handle("refuse", new Func<RpcRequest, byte[]>(request =>
                {
                    throw new RpcException(4711, "not now");
                }));
                callee.HandleAsync("broken", new Func<RpcRequest, Task<byte[]>>(async request =>
                {
                    await Task.FromResult(0);
                    throw new InvalidOperationException("a secret");
                }));
                callee.HandleAsync("silent", request => new TaskCompletionSource<byte[]>().Task);

                byte[] answer = World.Wait(caller.RpcAsync(peer, "echo", Bytes("hi")), ada, bob);
                Check.Equal("echo hi", Encoding.UTF8.GetString(answer), "an answer at once");
                Task<byte[]> slow = caller.RpcAsync(peer, "slow", null);
                World.During(0.2, ada, bob);
                Check.That(!slow.IsCompleted, "it is still under way");
                gate.SetResult(Bytes("at last"));
                Check.Equal("at last", Encoding.UTF8.GetString(World.Wait(slow, ada, bob)), "a late answer");

                NucleusException fault = Fails(caller.RpcAsync(peer, "refuse", null), "a refusal", ada, bob);
                Check.Equal(NucleusResult.RpcFailed, fault.Result, "a refusal");
                Check.Equal(4711, fault.Code, "the application's code");
                Check.That(fault.Message.Contains("not now"), "its text: " + fault.Message);
                fault = Fails(caller.RpcAsync(peer, "broken", null), "a broken handler", ada, bob);
                Check.Equal(NucleusResult.RpcFailed, fault.Result, "a broken handler");
                Check.Equal(256, fault.Code, "the code of a broken handler");
                Check.That(!fault.Message.Contains("secret"), "the text stays at the callee");
                Check.Equal(1, reported, "reports of the broken handler");
                fault = Fails(caller.RpcAsync(peer, "nothing", null), "no such method", ada, bob);
                Check.Equal(NucleusResult.NoSuchMethod, fault.Result, "no such method");
                callee.RemoveHandler("echo");
                fault = Fails(caller.RpcAsync(peer, "echo", null), "a removed handler", ada, bob);
                Check.Equal(NucleusResult.NoSuchMethod, fault.Result, "a removed handler");
                TimeSpan brief = TimeSpan.FromMilliseconds(300);
                fault = Fails(caller.RpcAsync(peer, "silent", null, brief), "no answer", ada, bob);
                Check.Equal(NucleusResult.TimedOut, fault.Result, "no answer");
                Check.Throws<NucleusException>(
                    () => World.Wait(caller.RpcAsync(99, "echo", null), ada, bob), "a peer that is not there");
            }
        }

        [Case]
        static void AnAnswerThatIsTooLarge()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room caller = World.Join(ada, "ada", name);
                Room callee = World.Join(bob, "bob", name);
                World.Until(() => caller.Peers.Count == 1, "both meet", ada, bob);
                NucleusException reported = null;
                bob.CallbackFailed += exception => reported = (NucleusException)exception;
                callee.Handle("all", request => new byte[100000]);
                NucleusException fault =
                    Fails(caller.RpcAsync(callee.Me.Id, "all", null), "too much", ada, bob);
                Check.Equal(NucleusResult.RpcFailed, fault.Result, "the caller is told");
                Check.Equal(256, fault.Code, "the code");
                Check.That(fault.Message.Contains("too large"), "the text: " + fault.Message);
                Check.Equal(NucleusResult.TooLarge, reported.Result, "the callee is told, too");
            }
        }

        /// <summary>The callee has sent so many events that its answers must wait.</summary>
        [Case]
        static void AnAnswerThatMustWait()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room caller = World.Join(ada, "ada", name);
                Room callee = World.Join(bob, "bob", name);
                World.Until(() => caller.Peers.Count == 1, "both meet", ada, bob);
                string reported = "";
                bob.CallbackFailed += exception => reported += exception + "\n";
                Action fillUp = () =>
                {
                    while (callee.TrySendEvent(1, new byte[16000]))
                    {
                    }
                };
                callee.Handle("fill", request =>
                {
                    fillUp();
                    return Bytes("full");
                });
                // From then on, the server takes events slowly.
                bool isThrottled = false;
                callee.Throttled += reason => isThrottled = true;
                World.Until(() =>
                {
                    fillUp();
                    return isThrottled;
                }, "the server delays the events", ada, bob);
                uint peer = callee.Me.Id;
                Task<byte[]> fill = caller.RpcAsync(peer, "fill", null, TimeSpan.FromSeconds(15));
                Task<byte[]> nothing = caller.RpcAsync(peer, "nothing", null, TimeSpan.FromSeconds(2));
                // Both requests come in one poll of bob.
                World.During(0.3, ada);
                Check.Equal("full", Encoding.UTF8.GetString(World.Wait(fill, ada, bob)), "the answer");
                NucleusException fault = Fails(nothing, "an answer that is not kept", ada, bob);
                // There may be capacity again at the second answer.
                bool isExpected = fault.Result == NucleusResult.TimedOut
                    || fault.Result == NucleusResult.NoSuchMethod;
                Check.That(isExpected, "an answer that is not kept: " + fault.Result);
                Check.Equal("", reported, "reports");
            }
        }

        [Case]
        static void AResultThatCannotBeConverted()
        {
            var request = new PendingRequest<int>(result =>
            {
                throw new FormatException("not a number");
            });
            request.Complete(new RequestResult());
            Check.Throws<FormatException>(() => request.Task.GetAwaiter().GetResult(), "the task");
        }

        [Case]
        static void ContinuationsRunInPoll()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room caller = World.Join(ada, "ada", name);
                Room callee = World.Join(bob, "bob", name);
                World.Until(() => caller.Peers.Count == 1, "both meet", ada, bob);
                callee.Handle("double", request => new[] { (byte)(request.Payload[0] * 2) });
                int thread = 0, result = 0;
                Func<Task> call = async () =>
                {
                    byte[] once = await caller.RpcAsync(callee.Me.Id, "double", new byte[] { 5 });
                    thread = System.Threading.Thread.CurrentThread.ManagedThreadId;
                    byte[] twice = await caller.RpcAsync(callee.Me.Id, "double", once);
                    result = twice[0];
                };
                World.Wait(call(), ada, bob);
                Check.Equal(20, result, "two calls after each other");
                int here = System.Threading.Thread.CurrentThread.ManagedThreadId;
                Check.Equal(here, thread, "the continuation's thread");
            }
        }
    }
}
