using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>The result of a request, copied from its event.</summary>
    internal struct RequestResult
    {
        internal NucleusResult Result;
        internal int Code;
        internal ulong Sequence;
        internal ulong Id;
        internal long RetryAfterMilliseconds;
        internal byte[] Payload;
        internal string Text;

        internal static unsafe RequestResult From(NcEvent* from)
        {
            bool isOk = from->result == 0;
            return new RequestResult
            {
                Result = (NucleusResult)from->result,
                Code = from->code,
                Sequence = from->sequence,
                Id = from->id,
                RetryAfterMilliseconds = from->duration_ms,
                Payload = isOk ? Utf8.Copy(from->payload) : null,
                Text = isOk ? null : Utf8.Text(from->payload),
            };
        }

        internal NucleusException Exception()
        {
            return new NucleusException(Result, Code, Text)
            {
                RetryAfter = TimeSpan.FromMilliseconds(Math.Max(0, RetryAfterMilliseconds)),
            };
        }
    }

    /// <summary>A request that is under way.</summary>
    internal abstract class PendingRequest
    {
        /// <summary>The room or social session of the request.</summary>
        internal Session Owner;

        internal abstract void Complete(RequestResult result);

        internal abstract void Fail(Exception exception);
    }

    /// <summary>A request with a result of type <typeparamref name="T"/>. Its task has no option to run
    /// continuations asynchronously: they run inside <see cref="NucleusClient.Poll"/>.</summary>
    internal sealed class PendingRequest<T> : PendingRequest
    {
        readonly TaskCompletionSource<T> source = new TaskCompletionSource<T>();
        readonly Func<RequestResult, T> convert;

        internal PendingRequest(Func<RequestResult, T> convert)
        {
            this.convert = convert;
        }

        internal Task<T> Task
        {
            get { return source.Task; }
        }

        internal override void Complete(RequestResult result)
        {
            if (result.Result != NucleusResult.Ok)
            {
                source.TrySetException(result.Exception());
                return;
            }
            T converted;
            try
            {
                converted = convert(result);
            }
            catch (Exception exception)
            {
                source.TrySetException(exception);
                return;
            }
            source.TrySetResult(converted);
        }

        internal override void Fail(Exception exception)
        {
            source.TrySetException(exception);
        }
    }

    /// <summary>The requests of a client by their numbers.</summary>
    internal sealed class PendingRequests
    {
        /// <summary>Begins a request in the C library.</summary>
        internal unsafe delegate NcResult Begin(ulong* op);

        struct Completion
        {
            internal PendingRequest Request;
            internal RequestResult Result;
        }

        readonly Dictionary<ulong, PendingRequest> pending = new Dictionary<ulong, PendingRequest>();
        readonly List<Completion> completions = new List<Completion>();

        /// <summary>Begins a request. The lock keeps a poll on another thread from taking the result before
        /// the request is known.</summary>
        internal unsafe Task<T> Start<T>(Session owner, Begin begin, Func<RequestResult, T> convert)
        {
            var request = new PendingRequest<T>(convert) { Owner = owner };
            lock (pending)
            {
                ulong op;
                NcResult result = begin(&op);
                if (result != NcResult.Ok)
                {
                    Exception failure = Failures.Exception((NucleusResult)(int)result);
                    if (failure is ArgumentException || failure is ObjectDisposedException)
                    {
                        throw failure;
                    }
                    request.Fail(failure);
                }
                else
                {
                    pending.Add(op, request);
                }
            }
            return request.Task;
        }

        /// <summary>Remembers the result of a request until <see cref="Complete"/>.</summary>
        internal unsafe void Done(NcEvent* from)
        {
            PendingRequest request;
            lock (pending)
            {
                if (!pending.TryGetValue(from->op, out request))
                {
                    return;
                }
                pending.Remove(from->op);
            }
            completions.Add(new Completion { Request = request, Result = RequestResult.From(from) });
        }

        /// <summary>Completes the requests whose results are there. Runs after the events of a poll, so that
        /// the objects and fields already have what the request has changed.</summary>
        internal void Complete(NucleusClient client)
        {
            for (int i = 0; i < completions.Count; i++)
            {
                try
                {
                    completions[i].Request.Complete(completions[i].Result);
                }
                catch (Exception exception)
                {
                    client.Report(exception);
                }
            }
            completions.Clear();
        }

        /// <summary>Fails the requests of a room or social session; of all, if it is null.</summary>
        internal void Fail(Session owner, Exception exception)
        {
            var failed = new List<PendingRequest>();
            lock (pending)
            {
                var ops = new List<ulong>();
                foreach (KeyValuePair<ulong, PendingRequest> entry in pending)
                {
                    if (owner == null || entry.Value.Owner == owner)
                    {
                        ops.Add(entry.Key);
                        failed.Add(entry.Value);
                    }
                }
                ops.ForEach(op => pending.Remove(op));
            }
            failed.ForEach(request => request.Fail(exception));
        }
    }
}
