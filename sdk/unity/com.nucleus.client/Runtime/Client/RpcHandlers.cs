using System;
using System.Collections.Generic;
using System.Text;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>A call of another peer.</summary>
    public sealed class RpcRequest
    {
        internal RpcRequest(Room room, uint from, string method, byte[] payload, TimeSpan timeout)
        {
            Room = room;
            From = from;
            Method = method;
            Payload = payload;
            Timeout = timeout;
        }

        /// <summary>The room.</summary>
        public Room Room { get; private set; }

        /// <summary>The caller's peer id.</summary>
        public uint From { get; private set; }

        /// <summary>The method.</summary>
        public string Method { get; private set; }

        /// <summary>The caller's data.</summary>
        public byte[] Payload { get; private set; }

        /// <summary>The payload as a text in UTF-8.</summary>
        public string Text
        {
            get { return Encoding.UTF8.GetString(Payload); }
        }

        /// <summary>How long the caller waits.</summary>
        public TimeSpan Timeout { get; private set; }
    }

    /// <summary>The methods that this client offers to other peers.</summary>
    internal sealed class RpcHandlers
    {
        const ushort Answered = 0;
        const ushort NoSuchMethod = 1;
        internal const ushort HandlerFailed = RpcException.FirstCode;

        readonly Room room;
        readonly Dictionary<string, Delegate> handlers = new Dictionary<string, Delegate>();

        internal RpcHandlers(Room room)
        {
            this.room = room;
        }

        internal void Add(string method, Delegate handler)
        {
            if (method == null || handler == null)
            {
                throw new ArgumentNullException(method == null ? "method" : "handler");
            }
            handlers[method] = handler;
        }

        internal void Remove(string method)
        {
            handlers.Remove(method);
        }

        internal unsafe void Dispatch(NcEvent* from)
        {
            ulong id = from->id;
            Delegate handler;
            string method = Utf8.Text(from->name);
            if (!handlers.TryGetValue(method, out handler))
            {
                // Without capacity there is no such answer, and the caller's timeout ends the request. So
                // requests for methods that are not there keep and log nothing.
                NativeMethods.nc_room_answer(room.Number, id, NoSuchMethod, null, 0);
                return;
            }
            var timeout = TimeSpan.FromMilliseconds(Math.Max(0, from->duration_ms));
            byte[] payload = Utf8.Copy(from->payload);
            var request = new RpcRequest(room, from->peer, method, payload, timeout);
            var atOnce = handler as Func<RpcRequest, byte[]>;
            if (atOnce != null)
            {
                Call(id, atOnce, request);
            }
            else
            {
                CallAsync(id, (Func<RpcRequest, Task<byte[]>>)handler, request);
            }
        }

        void Call(ulong id, Func<RpcRequest, byte[]> handler, RpcRequest request)
        {
            try
            {
                Answer(id, Answered, handler(request));
            }
            catch (Exception exception)
            {
                Fail(id, exception);
            }
        }

        async void CallAsync(ulong id, Func<RpcRequest, Task<byte[]>> handler, RpcRequest request)
        {
            try
            {
                Answer(id, Answered, await handler(request));
            }
            catch (Exception exception)
            {
                Fail(id, exception);
            }
        }

        void Fail(ulong id, Exception exception)
        {
            var meant = exception as RpcException;
            if (meant == null)
            {
                room.Client.Report(exception);
            }
            // The text of another exception may hold what is not for the caller.
            string text = meant == null ? "the handler failed" : meant.Message;
            Answer(id, meant == null ? HandlerFailed : (ushort)meant.Code, Encoding.UTF8.GetBytes(text));
        }

        void Answer(ulong id, ushort code, byte[] payload)
        {
            room.Client.Answers.Send(new RpcAnswer(room, id, code, payload));
        }
    }
}
