using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Reflection;
using System.Threading;
using System.Threading.Tasks;

namespace Nucleus.Tests
{
    /// <summary>Marks a test: a static method without arguments.</summary>
    [AttributeUsage(AttributeTargets.Method)]
    sealed class CaseAttribute : Attribute
    {
    }

    sealed class CheckFailed : Exception
    {
        internal CheckFailed(string text) : base(text)
        {
        }
    }

    /// <summary>What a test expects.</summary>
    static class Check
    {
        internal static void That(bool holds, string what)
        {
            if (!holds)
            {
                throw new CheckFailed(what);
            }
        }

        internal static void Equal<T>(T expected, T found, string what)
        {
            if (!EqualityComparer<T>.Default.Equals(expected, found))
            {
                throw new CheckFailed(string.Format("{0}: expected {1}, found {2}", what, expected, found));
            }
        }

        internal static T Throws<T>(Action action, string what) where T : Exception
        {
            try
            {
                action();
            }
            catch (T exception)
            {
                return exception;
            }
            catch (Exception exception)
            {
                throw new CheckFailed(string.Format("{0}: threw {1}", what, exception));
            }
            throw new CheckFailed(what + ": did not throw");
        }
    }

    /// <summary>A server, tokens of its users, and waiting by polling.</summary>
    static class World
    {
        const double PatienceSeconds = 20;
        static readonly Dictionary<string, string> Tokens = new Dictionary<string, string>();
        static int roomNumber;

        internal static string Server { get; private set; }
        internal static string Program { get; private set; }
        internal static string Data { get; private set; }

        internal static void Open(string server, string program, string data)
        {
            Server = server;
            Program = program;
            Data = data;
        }

        /// <summary>Returns a token of a user.</summary>
        internal static string Token(string user, string role = "member", string lifetime = "1h")
        {
            string key = user + "/" + role + "/" + lifetime;
            string token;
            if (!Tokens.TryGetValue(key, out token))
            {
                string arguments = string.Format(
                    "token --product atom --tenant ci --user {0} --role {1} --ttl {2} --data-dir {3}",
                    user, role, lifetime, Data);
                Tokens[key] = token = Output(Program, arguments).Trim();
            }
            return token;
        }

        /// <summary>Returns a name that no other test uses.</summary>
        internal static string NewRoom()
        {
            return "room-" + ++roomNumber;
        }

        internal static ConnectOptions Options(string user, string room, string role = "member")
        {
            return new ConnectOptions(Server, Token(user, role), room);
        }

        internal static Room Join(NucleusClient client, string user, string room, string role = "member")
        {
            return Wait(client.ConnectAsync(Options(user, room, role)), client);
        }

        /// <summary>Polls until the condition holds.</summary>
        internal static void Until(Func<bool> condition, string what, params NucleusClient[] clients)
        {
            var watch = Stopwatch.StartNew();
            while (!condition())
            {
                Check.That(watch.Elapsed.TotalSeconds < PatienceSeconds, "never happened: " + what);
                Poll(clients);
            }
        }

        /// <summary>Polls for a while.</summary>
        internal static void During(double seconds, params NucleusClient[] clients)
        {
            var watch = Stopwatch.StartNew();
            while (watch.Elapsed.TotalSeconds < seconds)
            {
                Poll(clients);
            }
        }

        /// <summary>Polls until the task is done, and returns its result.</summary>
        internal static T Wait<T>(Task<T> task, params NucleusClient[] clients)
        {
            Until(() => task.IsCompleted, "a task is done", clients);
            return task.GetAwaiter().GetResult();
        }

        internal static void Wait(Task task, params NucleusClient[] clients)
        {
            Until(() => task.IsCompleted, "a task is done", clients);
            task.GetAwaiter().GetResult();
        }

        static void Poll(NucleusClient[] clients)
        {
            foreach (NucleusClient client in clients)
            {
                client.Poll();
            }
            Thread.Sleep(2);
        }

        internal static Process Start(string program, string arguments)
        {
            var start = new ProcessStartInfo(program, arguments)
            {
                RedirectStandardOutput = true,
                UseShellExecute = false,
            };
            return Process.Start(start);
        }

        static string Output(string program, string arguments)
        {
            using (Process process = Start(program, arguments))
            {
                string output = process.StandardOutput.ReadToEnd();
                process.WaitForExit();
                Check.Equal(0, process.ExitCode, program + " " + arguments);
                return output;
            }
        }
    }

    /// <summary>Runs all tests of this program, or those whose names contain the third argument:
    /// SERVER NUCLEUS DATA_DIR [NAME].</summary>
    static class Runner
    {
        static int Main(string[] arguments)
        {
            World.Open(arguments[0], arguments[1], arguments[2]);
            string filter = arguments.Length > 3 ? arguments[3] : "";
            const BindingFlags Static = BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public;
            IEnumerable<MethodInfo> cases =
                from type in Assembly.GetExecutingAssembly().GetTypes()
                from method in type.GetMethods(Static)
                where method.IsDefined(typeof(CaseAttribute), false)
                where (type.Name + "." + method.Name).Contains(filter)
                orderby type.Name, method.MetadataToken
                select method;
            int failed = 0, run = 0;
            foreach (MethodInfo method in cases)
            {
                run++;
                failed += Run(method) ? 0 : 1;
            }
            Console.WriteLine("{0} tests, {1} failed", run, failed);
            // A name may be of tests of another program.
            return failed == 0 && (run > 0 || filter != "") ? 0 : 1;
        }

        static bool Run(MethodInfo method)
        {
            string name = method.DeclaringType.Name + "." + method.Name;
            var watch = Stopwatch.StartNew();
            string fault = null;
            try
            {
                method.Invoke(null, null);
            }
            catch (TargetInvocationException exception)
            {
                fault = exception.InnerException.ToString();
            }
            double seconds = watch.Elapsed.TotalSeconds;
            Console.WriteLine("{0,-6} {1} ({2:0.0} s)", fault == null ? "ok" : "FAILED", name, seconds);
            if (fault != null)
            {
                Console.WriteLine(fault);
            }
            return fault == null;
        }
    }
}
