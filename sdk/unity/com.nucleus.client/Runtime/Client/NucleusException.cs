using System;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>A call or request that failed.</summary>
    public class NucleusException : Exception
    {
        /// <summary>Makes an exception.</summary>
        public NucleusException(NucleusResult result, int code, string text) : base(text)
        {
            Result = result;
            Code = code;
        }

        /// <summary>What kind of failure it is.</summary>
        public NucleusResult Result { get; private set; }

        /// <summary>The server's reason (a <see cref="ReasonCode"/>), or for
        /// <see cref="NucleusResult.RpcFailed"/> the number of the other application. -1: none.</summary>
        public int Code { get; private set; }

        /// <summary>The server's reason.</summary>
        public ReasonCode Reason
        {
            get { return Result == NucleusResult.RpcFailed ? ReasonCode.None : (ReasonCode)Code; }
        }

        /// <summary>The pause that the server wants before another attempt; zero if it said
        /// none.</summary>
        public TimeSpan RetryAfter { get; internal set; }
    }

    /// <summary>Thrown by an RPC handler: the caller's task fails with this code and text.</summary>
    public sealed class RpcException : Exception
    {
        /// <summary>The smallest code of an application.</summary>
        public const int FirstCode = 256;
        /// <summary>The largest code of an application.</summary>
        public const int LastCode = 65535;

        /// <summary>Makes an exception. <paramref name="code"/> is 256 to 65,535.</summary>
        public RpcException(int code, string text) : base(text)
        {
            if (code < FirstCode || code > LastCode)
            {
                throw new ArgumentOutOfRangeException("code", "an RPC's code is 256 to 65,535");
            }
            Code = code;
        }

        /// <summary>The application's number of the error.</summary>
        public int Code { get; private set; }
    }

    /// <summary>Turns results of the C library into exceptions.</summary>
    internal static unsafe class Failures
    {
        /// <summary>Throws if the result is a failure.</summary>
        internal static void Check(NcResult result)
        {
            if (result != NcResult.Ok)
            {
                throw Exception((NucleusResult)(int)result);
            }
        }

        /// <summary>Returns a count, or throws if it is a failure.</summary>
        internal static int CheckCount(int count)
        {
            if (count < 0)
            {
                throw Exception((NucleusResult)count);
            }
            return count;
        }

        /// <summary>Returns the exception of the last failure in this thread. Call it right after the
        /// call that failed.</summary>
        internal static Exception Exception(NucleusResult result)
        {
            string text = LastError();
            switch (result)
            {
                case NucleusResult.InvalidHandle:
                    return new ObjectDisposedException("Nucleus", text);
                case NucleusResult.InvalidArgument:
                    return new ArgumentException(text);
                default:
                    return new NucleusException(result, -1, text);
            }
        }

        /// <summary>Returns the text of the last failure in this thread.</summary>
        internal static string LastError()
        {
            const int Capacity = 512;
            byte* text = stackalloc byte[Capacity];
            NativeMethods.nc_last_error(text, Capacity);
            return Utf8.FixedText(text, Capacity);
        }
    }
}
