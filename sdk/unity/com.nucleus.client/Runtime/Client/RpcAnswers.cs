using System.Collections.Generic;
using System.Text;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>The answer to a call of another peer.</summary>
    internal struct RpcAnswer
    {
        readonly Room room;
        readonly ulong request;
        readonly ushort code;
        readonly byte[] payload;

        internal RpcAnswer(Room room, ulong request, ushort code, byte[] payload)
        {
            this.room = room;
            this.request = request;
            this.code = code;
            this.payload = payload;
        }

        /// <summary>Whether this is the text of an error.</summary>
        internal bool IsError
        {
            get { return code != 0; }
        }

        /// <summary>Returns the same answer as an error of the handler.</summary>
        internal RpcAnswer AsError(string text)
        {
            return new RpcAnswer(room, request, RpcHandlers.HandlerFailed, Encoding.UTF8.GetBytes(text));
        }

        internal unsafe NcResult Send()
        {
            fixed (byte* first = payload)
            {
                uint length = payload == null ? 0 : (uint)payload.Length;
                return NativeMethods.nc_room_answer(room.Number, request, code, first, length);
            }
        }
    }

    /// <summary>Sends the answers of a client's rooms. Keeps those for which there is no capacity now, and
    /// tries again in each poll. The handler of a method may answer on any thread.</summary>
    internal sealed class RpcAnswers
    {
        // As many requests may wait in a room of the C library.
        const int MostKept = 256;

        readonly NucleusClient client;
        readonly List<RpcAnswer> kept = new List<RpcAnswer>();

        internal RpcAnswers(NucleusClient client)
        {
            this.client = client;
        }

        internal void Send(RpcAnswer answer)
        {
            NcResult result = answer.Send();
            if (result == NcResult.TooLarge && !answer.IsError)
            {
                client.Report(Failures.Exception(NucleusResult.TooLarge));
                answer = answer.AsError("the answer is too large");
                result = answer.Send();
            }
            if (result == NcResult.WouldBlock && Keep(answer))
            {
                return;
            }
            if (!IsOver(result))
            {
                client.Report(Failures.Exception((NucleusResult)(int)result));
            }
        }

        /// <summary>Tries again to send what was kept, in its order. Allocates nothing.</summary>
        internal void SendKept()
        {
            lock (kept)
            {
                int left = 0;
                for (int i = 0; i < kept.Count; i++)
                {
                    // Every other failure ends the answer: mostly the request's time is over.
                    if (kept[i].Send() == NcResult.WouldBlock)
                    {
                        kept[left++] = kept[i];
                    }
                }
                kept.RemoveRange(left, kept.Count - left);
            }
        }

        bool Keep(RpcAnswer answer)
        {
            lock (kept)
            {
                if (kept.Count < MostKept)
                {
                    kept.Add(answer);
                    return true;
                }
                return false;
            }
        }

        /// <summary>Returns whether nothing is left to do: the answer was sent, or nobody waits for
        /// it.</summary>
        static bool IsOver(NcResult result)
        {
            return result == NcResult.Ok || result == NcResult.NotFound || result == NcResult.UnknownPeer
                || result == NcResult.InvalidHandle || result == NcResult.Closed;
        }
    }
}
