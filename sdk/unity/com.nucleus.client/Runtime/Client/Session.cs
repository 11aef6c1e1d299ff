using System;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>What a <see cref="Room"/> and a <see cref="SocialSession"/> have in common.</summary>
    public abstract class Session : IDisposable
    {
        readonly Callbacks<Reason> interrupted = new Callbacks<Reason>();
        readonly Callbacks<Reason> closed = new Callbacks<Reason>();

        internal Session(NucleusClient client)
        {
            Client = client;
        }

        /// <summary>The client that opened it.</summary>
        public NucleusClient Client { get; private set; }

        /// <summary>Whether it is joined, interrupted or closed.</summary>
        public SessionStatus Status { get; internal set; }

        /// <summary>Why it is closed, once it is.</summary>
        public Reason CloseReason { get; private set; }

        /// <summary>The session is lost, and the client tries to come back by itself.</summary>
        public event Action<Reason> Interrupted
        {
            add { interrupted.Add(value); }
            remove { interrupted.Remove(value); }
        }

        /// <summary>It is closed and does not come back. This is its last event.</summary>
        public event Action<Reason> Closed
        {
            add { closed.Add(value); }
            remove { closed.Remove(value); }
        }

        /// <summary>Whether <see cref="Dispose"/> was called.</summary>
        public bool IsDisposed { get; private set; }

        /// <summary>The number in the C library.</summary>
        internal ulong Number { get; private set; }

        /// <summary>Begins the join, and sets the number. Called under the client's lock.</summary>
        internal void Begin(Func<ulong> begin)
        {
            Number = begin();
        }

        /// <summary>Leaves at once. Events that were sent just before may be lost. Its tasks fail with
        /// <see cref="ObjectDisposedException"/>. Call it on the thread that polls.</summary>
        public void Dispose()
        {
            if (IsDisposed)
            {
                return;
            }
            IsDisposed = true;
            Status = SessionStatus.Closed;
            Client.Forget(this);
            var exception = new ObjectDisposedException(GetType().Name);
            FailJoin(exception);
            Client.Requests.Fail(this, exception);
        }

        /// <summary>Throws if this or the client was disposed.</summary>
        internal void ThrowIfDisposed()
        {
            if (IsDisposed || Client.IsDisposed)
            {
                throw new ObjectDisposedException(GetType().Name);
            }
        }

        /// <summary>Throws if nothing can be sent: disposed or closed.</summary>
        internal void ThrowIfClosed()
        {
            ThrowIfDisposed();
            if (Status == SessionStatus.Closed)
            {
                throw new NucleusException(NucleusResult.Closed, (int)CloseReason.Code, "closed");
            }
        }

        /// <summary>Throws if a realtime message could not be sent. A room that is closed, but whose
        /// <see cref="Closed"/> was not raised yet, ignores the message: it is one that may be lost, and an
        /// application that sends in each frame cannot know better.</summary>
        internal static void CheckRealtime(NcResult result)
        {
            if (result != NcResult.Closed)
            {
                Failures.Check(result);
            }
        }

        /// <summary>Handles an event of this session.</summary>
        internal unsafe void Dispatch(NcEvent* from)
        {
            switch ((NcEventKind)from->kind)
            {
                case NcEventKind.Joined:
                case NcEventKind.Entered:
                    Status = SessionStatus.Connected;
                    OnJoined(from);
                    break;
                case NcEventKind.JoinFailed:
                case NcEventKind.EnterFailed:
                    NucleusException exception = RequestResult.From(from).Exception();
                    Close(new Reason(exception.Code, exception.Message));
                    FailJoin(exception);
                    break;
                case NcEventKind.Interrupted:
                    Status = SessionStatus.Interrupted;
                    interrupted.Raise(Client, new Reason(from->code, Utf8.Text(from->payload)));
                    break;
                case NcEventKind.Closed:
                    Close(new Reason(from->code, Utf8.Text(from->payload)));
                    OnClosed();
                    closed.Raise(Client, CloseReason);
                    break;
                case NcEventKind.Resumed:
                case NcEventKind.Rejoined:
                case NcEventKind.Returned:
                    Status = SessionStatus.Connected;
                    OnEvent(from);
                    break;
                default:
                    OnEvent(from);
                    break;
            }
        }

        void Close(Reason reason)
        {
            Status = SessionStatus.Closed;
            CloseReason = reason;
            // Frees the number: nothing more comes for it, and a client has only 64.
            Client.Forget(this);
        }

        /// <summary>Frees the number in the C library.</summary>
        internal abstract void Free();

        internal abstract unsafe void OnJoined(NcEvent* from);

        internal abstract unsafe void OnEvent(NcEvent* from);

        /// <summary>Called after the events of a poll: hands out what waited for further ones.</summary>
        internal abstract void OnPolled();

        internal abstract void OnClosed();

        internal abstract void FailJoin(Exception exception);

        /// <summary>Begins a request that this session completes or fails.</summary>
        internal Task<T> Request<T>(PendingRequests.Begin begin, Func<RequestResult, T> convert)
        {
            ThrowIfClosed();
            return Client.Requests.Start(this, begin, convert);
        }

        internal Task Request(PendingRequests.Begin begin)
        {
            return Request(begin, result => true);
        }
    }
}
