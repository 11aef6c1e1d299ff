using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;

namespace Nucleus.Tests
{
    /// <summary>Clients that come and go.</summary>
    static class LifetimeTests
    {
        // The goodbye of a client takes up to 3 s.
        const int GoodbyesMilliseconds = 3500;

        [Case]
        static void AKilledProcessResumes()
        {
            string file = Path.Combine(Path.GetTempPath(), "nucleus-ticket-" + Process.GetCurrentProcess().Id);
            string name = World.NewRoom();
            string arguments = string.Format("--debug Resume.exe {0} {1} {2} {3}",
                World.Server, World.Token("bob"), name, file);
            var log = new List<string>();
            Process running = null;
            using (var ada = new NucleusClient())
            {
                try
                {
                    Room room = World.Join(ada, "ada", name);
                    running = Start(arguments, log);
                    World.Until(() => Said(log, "me "), "bob has joined", ada);
                    string me = log.First(line => line.StartsWith("me "));
                    room.Send("chat", "first");
                    World.Until(() => Said(log, "event first"), "bob has an event", ada);
                    // The ticket that has this event.
                    World.Until(() => log.LastOrDefault() == "saved", "bob has saved it", ada);
                    // SIGKILL: no goodbye.
                    running.Kill();
                    running.WaitForExit();
                    lock (log)
                    {
                        log.Clear();
                    }
                    room.Send("chat", "missed");
                    World.During(0.3, ada);
                    Check.Equal(1, room.Peers.Count, "bob's participant is kept");
                    running = Start(arguments, log);
                    World.Until(() => Said(log, "me "), "bob is back", ada);
                    World.Until(() => Said(log, "event missed"), "bob gets what he missed", ada);
                    room.Send("chat", "after");
                    World.Until(() => Said(log, "event after"), "bob gets what follows", ada);
                    lock (log)
                    {
                        Check.That(log.Contains(me), "the same peer id: " + string.Join("|", log));
                        Check.That(!log.Contains("event first"), "nothing comes twice");
                    }
                    Check.Equal(1, room.Peers.Count, "bob is one peer");
                }
                finally
                {
                    if (running != null && !running.HasExited)
                    {
                        running.Kill();
                        running.WaitForExit();
                    }
                    File.Delete(file);
                }
            }
        }

        static Process Start(string arguments, List<string> log)
        {
            Process process = World.Start("mono", arguments);
            var reader = new Thread(() =>
            {
                string line;
                while ((line = process.StandardOutput.ReadLine()) != null)
                {
                    lock (log)
                    {
                        log.Add(line);
                    }
                }
            });
            reader.IsBackground = true;
            reader.Start();
            return process;
        }

        static bool Said(List<string> log, string start)
        {
            lock (log)
            {
                return log.Any(line => line.StartsWith(start));
            }
        }

        [Case]
        static void AThousandConnectsLeaveNothing()
        {
            // Of the native library, 1,000 connects may leave 256 KiB.
            const int Rounds = 3, Each = 300, MostNativePerConnect = 262, MostManagedGrowth = 1 << 20;
            string[] users = Enumerable.Range(0, 40).Select(i => World.Token("user" + i)).ToArray();
            Thread.Sleep(GoodbyesMilliseconds);
            int threads = Threads();
            var native = new long[Rounds];
            var managed = new long[Rounds];
            for (int round = 0; round < Rounds; round++)
            {
                Cycle(users, round * Each, (round + 1) * Each, threads);
                Collect();
                Thread.Sleep(GoodbyesMilliseconds);
                World.Until(() => Threads() <= threads, "the threads of all clients end");
                native[round] = NativeMemory();
                managed[round] = GC.GetTotalMemory(true);
                Console.WriteLine("       {0} connects: {1} threads, native {2} KiB, managed {3} KiB",
                    (round + 1) * Each, Threads(), native[round] / 1024, managed[round] / 1024);
            }
            // The first round also compiles methods.
            long grown = native[2] - native[0];
            Check.That(grown < 2 * Each * MostNativePerConnect, "memory has grown by " + grown + " bytes");
            grown = managed[2] - managed[0];
            Check.That(grown < MostManagedGrowth, "managed memory has grown by " + grown + " bytes");
        }

        /// <summary>Connects and disposes: while connecting, right after the join, after a leave, and without
        /// a dispose at all.</summary>
        static void Cycle(string[] users, int from, int to, int threads)
        {
            for (int i = from; i < to; i++)
            {
                var options = new ConnectOptions(World.Server, users[i % users.Length], "cycle-" + i % 97);
                int way = i % 10;
                if (way == 0)
                {
                    Abandon(options);
                    continue;
                }
                using (var client = new NucleusClient())
                {
                    Room room = client.Connect(options);
                    if (way < 7)
                    {
                        // Disposes while connecting, at another moment each time.
                        World.During(way * 0.001, client);
                    }
                    else
                    {
                        World.Wait(room.Joined, client);
                        room.SendPose(new BodyPose(new BodyTransform(new Vec3(), Quat.Identity)));
                    }
                    if (way == 8)
                    {
                        room.Dispose();
                        client.Poll();
                    }
                    client.Dispose();
                }
                if (i % 50 == 0)
                {
                    Collect();
                    // So that the memory is not that of hundreds of goodbyes at the same time.
                    World.Until(() => Threads() <= threads + 10, "the threads of freed clients end");
                }
            }
        }

        /// <summary>Runs the finalizers of forgotten clients.</summary>
        static void Collect()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();
        }

        /// <summary>Forgets a client. On a thread of its own: Mono's collector keeps what the stack of a
        /// living thread seems to refer to.</summary>
        static void Abandon(ConnectOptions options)
        {
            var thread = new Thread(() => new NucleusClient().Connect(options));
            thread.Start();
            thread.Join();
        }

        /// <summary>Returns the number of native threads of clients.</summary>
        static int Threads()
        {
            return Directory.GetDirectories("/proc/self/task").Count(IsOfAClient);
        }

        static bool IsOfAClient(string thread)
        {
            try
            {
                return File.ReadAllText(Path.Combine(thread, "comm")).Trim() == "nucleus";
            }
            catch (IOException)
            {
                // The thread has just ended.
                return false;
            }
        }

        /// <summary>The figures of the system's allocator, as glibc has them.</summary>
        [StructLayout(LayoutKind.Sequential)]
        struct AllocatorFigures
        {
            internal UIntPtr Arena, FreeChunks, FastChunks, Mappings, MappedBytes, Unused;
            internal UIntPtr FastBytes, UsedBytes, FreeBytes, KeptBytes;
        }

        [DllImport("libc")]
        static extern AllocatorFigures mallinfo2();

        /// <summary>Returns the bytes in use of the system's allocator, without fragments. The native library
        /// has all its memory from this allocator; managed objects are elsewhere.</summary>
        static long NativeMemory()
        {
            AllocatorFigures figures = mallinfo2();
            return (long)figures.UsedBytes + (long)figures.MappedBytes;
        }

        [Case]
        static void DisposeWhileConnecting()
        {
            var client = new NucleusClient();
            Task<Room> join = client.ConnectAsync(World.Options("ada", World.NewRoom()));
            client.Poll();
            client.Dispose();
            client.Dispose();
            Check.That(join.IsFaulted, "the task has failed");
            Check.That(join.Exception.InnerException is ObjectDisposedException, "because of the dispose");
        }

        [Case]
        static void ARoomDisposedInACallback()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                Room second = World.Join(bob, "bob", name);
                World.Until(() => first.Peers.Count == 1, "both meet", ada, bob);
                int count = 0;
                second.On("stop", (from, payload) =>
                {
                    count++;
                    bob.Dispose();
                });
                for (int i = 0; i < 20; i++)
                {
                    first.Send("stop", new byte[1]);
                }
                World.Until(() =>
                {
                    if (!bob.IsDisposed)
                    {
                        bob.Poll();
                    }
                    return bob.IsDisposed;
                }, "bob disposes of himself", ada);
                Check.Equal(1, count, "no event comes after the dispose");
                World.Until(() => first.Peers.Count == 0, "bob has left", ada);
            }
        }

        [Case]
        static void ARoomThatIsDisposedRaisesNothing()
        {
            using (var ada = new NucleusClient())
            using (var bob = new NucleusClient())
            {
                string name = World.NewRoom();
                Room first = World.Join(ada, "ada", name);
                World.Wait(first.State.CreateAsync(ObjectOwnership.Take), ada);
                Room second = bob.Connect(World.Options("bob", name));
                int raised = 0;
                second.Joined.ContinueWith(
                    join => second.Dispose(), TaskContinuationOptions.ExecuteSynchronously);
                second.PeerJoined += peer => raised++;
                second.State.ObjectCreated += created => raised++;
                second.Closed += reason => raised++;
                World.Until(() => second.IsDisposed, "bob has joined", ada, bob);
                World.During(0.3, ada, bob);
                Check.Equal(0, raised, "events after the dispose");
                // The client goes on.
                World.Join(bob, "bob", name).Dispose();
            }
        }

        [Case]
        static void EverythingAfterDisposeThrows()
        {
            var client = new NucleusClient();
            var room = World.Join(client, "ada", World.NewRoom());
            Task pending = room.RpcAsync(1000, "none", null, TimeSpan.FromSeconds(60));
            SocialSession social = World.Wait(
                client.EnterAsync(new EnterOptions(World.Server, World.Token("ada"))), client);
            client.Dispose();
            var poses = new ShownPose[1];
            var calls = new Dictionary<string, Action>
            {
                { "Poll", () => client.Poll() },
                { "Connect", () => client.Connect(new ConnectOptions("a", "b")) },
                { "Enter", () => client.Enter(new EnterOptions("a", "b")) },
                { "ReadPoses", () => room.ReadPoses(poses) },
                { "SendPose", () => room.SendPose(new BodyPose()) },
                { "Send", () => room.Send("chat", "text") },
                { "SendEvent", () => room.SendEvent(1, new byte[1]) },
                { "RpcAsync", () => room.RpcAsync(1, "none", null) },
                { "LeaveAsync", () => room.LeaveAsync() },
                { "Ticket", () => room.Ticket() },
                { "SetAsync", () => room.State.SetAsync("key", 1) },
                { "CreateAsync", () => World.Wait(room.State.CreateAsync(ObjectOwnership.Take)) },
                { "Voice", () => room.Voice.Send(new byte[1], 1, 0, VoiceFlags.None) },
                { "WatchRoomsAsync", () => social.WatchRoomsAsync() },
                { "SetStatus", () => social.SetStatus(UserStatus.Busy) },
            };
            foreach (KeyValuePair<string, Action> call in calls)
            {
                Check.Throws<ObjectDisposedException>(call.Value, call.Key);
            }
            Check.That(pending.IsFaulted, "a request that was under way has failed");
            room.Dispose();
            social.Dispose();
        }

        [Case]
        static void DisposeOnAnotherThreadWhilePolling()
        {
            for (int i = 0; i < 30; i++)
            {
                var client = new NucleusClient();
                client.Connect(World.Options("ada", World.NewRoom()));
                var other = new Thread(() =>
                {
                    Thread.Sleep(i % 10);
                    client.Dispose();
                });
                other.Start();
                Check.Throws<ObjectDisposedException>(() =>
                {
                    for (;;)
                    {
                        client.Poll();
                    }
                }, "polling ends with the dispose");
                other.Join();
            }
        }

        [Case]
        static void DisposeAllReachesEveryClient()
        {
            var clients = new[] { new NucleusClient(), new NucleusClient() };
            NucleusClient.DisposeAll();
            Check.That(clients.All(client => client.IsDisposed), "all are disposed");
        }
    }
}
