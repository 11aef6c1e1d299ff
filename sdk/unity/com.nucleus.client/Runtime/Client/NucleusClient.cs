using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Threading.Tasks;
using Nucleus.Native;

[assembly: InternalsVisibleTo("Nucleus.Client.Tests")]

namespace Nucleus
{
    /// <summary>
    /// A client: one native thread with its network, and the rooms and social sessions that it has opened.
    /// One is enough for a program.
    ///
    /// Call <see cref="Poll"/> once a frame, always on the same thread. All events are raised and all tasks
    /// are completed inside it, on the calling thread. So code after an <c>await</c> runs inside Poll, too.
    /// Never block that thread on a task (<c>task.Wait()</c>, <c>task.Result</c>): the task would wait for
    /// the poll that waits for the task. Methods that send may be called on any thread.
    /// </summary>
    public sealed unsafe class NucleusClient : IDisposable
    {
        const int EventsPerCall = 64;
        // 4,096 events in a frame. What is left comes in the next one, so that a flood cannot hold a frame.
        const int MostCalls = 64;

        static readonly List<WeakReference<NucleusClient>> Living = new List<WeakReference<NucleusClient>>();

        readonly object gate = new object();
        readonly NcEvent[] events = new NcEvent[EventsPerCall];
        readonly Dictionary<ulong, Session> sessions = new Dictionary<ulong, Session>();
        readonly List<Session> polled = new List<Session>();
        readonly List<Exception> failures = new List<Exception>();
        readonly Callbacks<Exception> callbackFailed = new Callbacks<Exception>();
        ulong number;
        bool isDisposed;
        bool isPolling;

        /// <summary>Starts a client.</summary>
        /// <exception cref="NucleusException">The native library does not fit this package, or the system
        /// refused a thread.</exception>
        /// <exception cref="DllNotFoundException">The native library is missing.</exception>
        public NucleusClient()
        {
            CheckLibrary();
            Answers = new RpcAnswers(this);
            var config = new NcConfig
            {
                size = (uint)sizeof(NcConfig),
                abi_version = NativeMethods.NC_ABI_VERSION,
            };
            ulong made;
            Failures.Check(NativeMethods.nc_client_new(&config, &made));
            number = made;
            lock (Living)
            {
                NucleusClient gone;
                Living.RemoveAll(living => !living.TryGetTarget(out gone));
                Living.Add(new WeakReference<NucleusClient>(this));
            }
        }

        /// <summary>Frees by number only: the finalizer runs on a thread of its own, and other managed
        /// objects may be finalized already.</summary>
        ~NucleusClient()
        {
            if (number != 0)
            {
                NativeMethods.nc_client_free(number);
            }
        }

        /// <summary>The version of the native library.</summary>
        public static string LibraryVersion
        {
            get { return Utf8.FixedText(NativeMethods.nc_version(), 256); }
        }

        /// <summary>Whether <see cref="Dispose"/> was called.</summary>
        public bool IsDisposed
        {
            get { return isDisposed; }
        }

        /// <summary>A callback of the application threw this exception. The other callbacks and events are
        /// not affected. If nobody listens, <see cref="Poll"/> throws an
        /// <see cref="AggregateException"/> with all of them at its end.</summary>
        public event Action<Exception> CallbackFailed
        {
            add { callbackFailed.Add(value); }
            remove { callbackFailed.Remove(value); }
        }

        internal PendingRequests Requests { get; private set; } = new PendingRequests();

        internal RpcAnswers Answers { get; private set; }

        /// <summary>Counts the calls whose events replace those before.</summary>
        internal int PollNumber { get; private set; }

        /// <summary>Raises the events that have come, and completes the tasks of requests that are done.
        /// Returns the number of events. Allocates nothing if there are none.</summary>
        /// <exception cref="AggregateException">Callbacks have thrown, and nobody listens to
        /// <see cref="CallbackFailed"/>.</exception>
        public int Poll()
        {
            BeginPoll();
            int total = 0;
            try
            {
                Answers.SendKept();
                int count = EventsPerCall;
                for (int i = 0; i < MostCalls && count == EventsPerCall && !isDisposed; i++)
                {
                    count = PollOnce();
                    total += count;
                }
                FinishSessions();
                Requests.Complete(this);
            }
            finally
            {
                EndPoll();
            }
            ReportFailures();
            return total;
        }

        /// <summary>Begins to join a room, and returns the room. Add your event handlers to it, and await
        /// <see cref="Room.Joined"/>.</summary>
        public Room Connect(ConnectOptions options)
        {
            if (options == null)
            {
                throw new ArgumentNullException("options");
            }
            var room = new Room(this, options);
            Begin(room, () => options.Connect(number));
            return room;
        }

        /// <summary>Joins a room. The code after the <c>await</c> runs before the room's first events are
        /// raised, if it runs on the thread that polls. So event handlers that it adds miss nothing.</summary>
        /// <exception cref="NucleusException">The room could not be joined.</exception>
        public Task<Room> ConnectAsync(ConnectOptions options)
        {
            return Connect(options).Joined;
        }

        /// <summary>Begins to open a social session. Await <see cref="SocialSession.Entered"/>.</summary>
        public SocialSession Enter(EnterOptions options)
        {
            if (options == null)
            {
                throw new ArgumentNullException("options");
            }
            var social = new SocialSession(this);
            Begin(social, () => options.Enter(number));
            return social;
        }

        /// <summary>Opens a social session: the lobby's rooms, users and calls.</summary>
        /// <exception cref="NucleusException">The session could not be opened.</exception>
        public Task<SocialSession> EnterAsync(EnterOptions options)
        {
            return Enter(options).Entered;
        }

        /// <summary>Leaves all rooms and social sessions, and ends the native thread. Returns at once. Tasks
        /// that are under way fail with <see cref="ObjectDisposedException"/>. May be called in a callback,
        /// while a join is under way, and several times.</summary>
        public void Dispose()
        {
            Session[] open;
            lock (gate)
            {
                if (isDisposed)
                {
                    return;
                }
                isDisposed = true;
                open = new Session[sessions.Count];
                sessions.Values.CopyTo(open, 0);
                sessions.Clear();
                if (!isPolling)
                {
                    Free();
                }
            }
            GC.SuppressFinalize(this);
            foreach (Session session in open)
            {
                session.Dispose();
            }
            Requests.Fail(null, new ObjectDisposedException("NucleusClient"));
        }

        /// <summary>Disposes all clients of the process. For an engine that unloads the code but keeps the
        /// native library, for example before a domain reload.</summary>
        public static void DisposeAll()
        {
            WeakReference<NucleusClient>[] living;
            lock (Living)
            {
                living = Living.ToArray();
                Living.Clear();
            }
            foreach (WeakReference<NucleusClient> reference in living)
            {
                NucleusClient client;
                if (reference.TryGetTarget(out client))
                {
                    client.Dispose();
                }
            }
        }

        /// <summary>Keeps the exception of a callback for the end of the poll. On any thread.</summary>
        internal void Report(Exception exception)
        {
            lock (failures)
            {
                failures.Add(exception);
            }
        }

        /// <summary>Whether the payloads of this poll are still there.</summary>
        internal bool IsLent(int poll)
        {
            return isPolling && PollNumber == poll;
        }

        /// <summary>Frees a room or social session, and sends it no more events.</summary>
        internal void Forget(Session session)
        {
            lock (gate)
            {
                // A client that is disposed of frees them all.
                if (!isDisposed && sessions.Remove(session.Number))
                {
                    session.Free();
                }
            }
        }

        static void CheckLibrary()
        {
            uint version = NativeMethods.nc_abi_version();
            if (version != NativeMethods.NC_ABI_VERSION)
            {
                throw new NucleusException(NucleusResult.AbiMismatch, -1, string.Format(
                    "the native library has ABI {0}, but this package needs {1}",
                    version, NativeMethods.NC_ABI_VERSION));
            }
            if (sizeof(ShownPose) != sizeof(NcShownPose) || sizeof(BodyPose) != sizeof(NcPose))
            {
                throw new NucleusException(NucleusResult.AbiMismatch, -1,
                    "the poses of this package have another layout than those of the library");
            }
        }

        void Begin(Session session, Func<ulong> begin)
        {
            lock (gate)
            {
                if (isDisposed)
                {
                    throw new ObjectDisposedException("NucleusClient");
                }
                // Under the lock, so that a poll on another thread finds the session.
                session.Begin(begin);
                sessions.Add(session.Number, session);
            }
        }

        void BeginPoll()
        {
            lock (gate)
            {
                if (isDisposed)
                {
                    throw new ObjectDisposedException("NucleusClient");
                }
                if (isPolling)
                {
                    throw new InvalidOperationException(
                        "Poll is already running: do not call it in a callback or on a second thread");
                }
                isPolling = true;
            }
        }

        void EndPoll()
        {
            lock (gate)
            {
                isPolling = false;
                if (isDisposed)
                {
                    Free();
                }
            }
        }

        void Free()
        {
            NativeMethods.nc_client_free(number);
            number = 0;
        }

        int PollOnce()
        {
            fixed (NcEvent* first = events)
            {
                PollNumber++;
                int count = Failures.CheckCount(NativeMethods.nc_poll(number, first, EventsPerCall));
                // A callback may dispose of the client. Its events end then.
                for (int i = 0; i < count && !isDisposed; i++)
                {
                    Dispatch(first + i);
                }
                return count;
            }
        }

        void Dispatch(NcEvent* from)
        {
            if (from->kind == (uint)NcEventKind.Done)
            {
                Requests.Done(from);
                return;
            }
            Session session;
            lock (gate)
            {
                if (!sessions.TryGetValue(from->handle, out session))
                {
                    return;
                }
            }
            if (!polled.Contains(session))
            {
                polled.Add(session);
            }
            try
            {
                session.Dispatch(from);
            }
            catch (Exception exception)
            {
                // Callbacks catch their own. This one keeps a fault of the package from losing the rest.
                Report(exception);
            }
        }

        void FinishSessions()
        {
            for (int i = 0; i < polled.Count; i++)
            {
                try
                {
                    // Nothing is raised after a dispose.
                    if (!polled[i].IsDisposed)
                    {
                        polled[i].OnPolled();
                    }
                }
                catch (Exception exception)
                {
                    Report(exception);
                }
            }
            polled.Clear();
        }

        void ReportFailures()
        {
            Exception[] reported;
            lock (failures)
            {
                if (failures.Count == 0)
                {
                    return;
                }
                reported = failures.ToArray();
                failures.Clear();
            }
            if (callbackFailed.IsEmpty)
            {
                throw new AggregateException("callbacks of the application have failed", reported);
            }
            foreach (Exception exception in reported)
            {
                callbackFailed.Raise(this, exception);
            }
        }
    }
}
