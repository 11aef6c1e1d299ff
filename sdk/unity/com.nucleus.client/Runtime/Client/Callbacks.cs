using System;

namespace Nucleus
{
    /// <summary>The handlers of an event. Unlike a multicast delegate, each handler is called even if one
    /// before it throws, and a call allocates nothing.</summary>
    internal abstract class HandlerList<T> where T : class
    {
        static readonly T[] None = new T[0];
        readonly object gate = new object();

        /// <summary>The handlers now. Replaced by each change, so that a call walks over one
        /// state.</summary>
        protected T[] Handlers { get; private set; } = None;

        internal bool IsEmpty
        {
            get { return Handlers.Length == 0; }
        }

        internal void Add(T handler)
        {
            if (handler == null)
            {
                return;
            }
            lock (gate)
            {
                var longer = new T[Handlers.Length + 1];
                Handlers.CopyTo(longer, 0);
                longer[Handlers.Length] = handler;
                Handlers = longer;
            }
        }

        internal void Remove(T handler)
        {
            lock (gate)
            {
                int at = Array.LastIndexOf(Handlers, handler);
                if (at < 0)
                {
                    return;
                }
                var shorter = new T[Handlers.Length - 1];
                Array.Copy(Handlers, 0, shorter, 0, at);
                Array.Copy(Handlers, at + 1, shorter, at, shorter.Length - at);
                Handlers = shorter;
            }
        }
    }

    internal sealed class Callbacks : HandlerList<Action>
    {
        internal void Raise(NucleusClient client)
        {
            foreach (Action handler in Handlers)
            {
                try
                {
                    handler();
                }
                catch (Exception exception)
                {
                    client.Report(exception);
                }
            }
        }
    }

    internal sealed class Callbacks<T> : HandlerList<Action<T>>
    {
        internal void Raise(NucleusClient client, T argument)
        {
            foreach (Action<T> handler in Handlers)
            {
                try
                {
                    handler(argument);
                }
                catch (Exception exception)
                {
                    client.Report(exception);
                }
            }
        }
    }

    internal sealed class Callbacks<T1, T2> : HandlerList<Action<T1, T2>>
    {
        internal void Raise(NucleusClient client, T1 first, T2 second)
        {
            foreach (Action<T1, T2> handler in Handlers)
            {
                try
                {
                    handler(first, second);
                }
                catch (Exception exception)
                {
                    client.Report(exception);
                }
            }
        }
    }

    internal sealed class Callbacks<T1, T2, T3> : HandlerList<Action<T1, T2, T3>>
    {
        internal void Raise(NucleusClient client, T1 first, T2 second, T3 third)
        {
            foreach (Action<T1, T2, T3> handler in Handlers)
            {
                try
                {
                    handler(first, second, third);
                }
                catch (Exception exception)
                {
                    client.Report(exception);
                }
            }
        }
    }
}
