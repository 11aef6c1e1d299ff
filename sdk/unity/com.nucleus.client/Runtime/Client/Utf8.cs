using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>Texts of the C library.</summary>
    internal static unsafe class Utf8
    {
        static readonly byte[] NoBytes = new byte[0];

        internal static string Text(byte* data, int length)
        {
            return length <= 0 || data == null ? "" : Encoding.UTF8.GetString(data, length);
        }

        internal static string Text(NcBytes bytes)
        {
            return Text(bytes.data, (int)bytes.len);
        }

        /// <summary>Returns a text of a fixed buffer, up to its zero byte.</summary>
        internal static string FixedText(byte* data, int capacity)
        {
            int length = 0;
            while (length < capacity && data[length] != 0)
            {
                length++;
            }
            return Text(data, length);
        }

        internal static byte[] Copy(NcBytes bytes)
        {
            if (bytes.len == 0)
            {
                return NoBytes;
            }
            var copy = new byte[bytes.len];
            Marshal.Copy((IntPtr)bytes.data, copy, 0, copy.Length);
            return copy;
        }

        /// <summary>Returns the text in UTF-8, with a zero byte at its end.</summary>
        internal static byte[] Terminated(string text, string what)
        {
            if (text == null)
            {
                throw new ArgumentNullException(what);
            }
            if (text.IndexOf('\0') >= 0)
            {
                // The C library would see only the part before it.
                throw new ArgumentException("a text cannot contain a zero character", what);
            }
            var bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
            Encoding.UTF8.GetBytes(text, 0, text.Length, bytes, 0);
            return bytes;
        }
    }

    /// <summary>Native memory for the arguments of one call. Freed by <see cref="Dispose"/>.</summary>
    internal sealed unsafe class ArgumentMemory : IDisposable
    {
        readonly List<IntPtr> blocks = new List<IntPtr>();

        /// <summary>Returns zeroed memory.</summary>
        internal void* Zeroed(int count, int size)
        {
            int bytes = Math.Max(1, checked(count * size));
            IntPtr block = Marshal.AllocHGlobal(bytes);
            blocks.Add(block);
            var first = (byte*)block;
            for (int i = 0; i < bytes; i++)
            {
                first[i] = 0;
            }
            return first;
        }

        /// <summary>Returns a text with a zero byte at its end, or null for null.</summary>
        internal byte* Text(string text, string what)
        {
            return text == null ? null : Bytes(Utf8.Terminated(text, what));
        }

        internal byte* Bytes(byte[] bytes)
        {
            var copy = (byte*)Zeroed(bytes.Length, 1);
            Marshal.Copy(bytes, 0, (IntPtr)copy, bytes.Length);
            return copy;
        }

        /// <summary>Returns a list of texts.</summary>
        internal byte** Texts(IList<string> texts, string what)
        {
            var list = (byte**)Zeroed(texts.Count, sizeof(byte*));
            for (int i = 0; i < texts.Count; i++)
            {
                if (texts[i] == null)
                {
                    throw new ArgumentNullException(what);
                }
                list[i] = Text(texts[i], what);
            }
            return list;
        }

        public void Dispose()
        {
            foreach (IntPtr block in blocks)
            {
                Marshal.FreeHGlobal(block);
            }
            blocks.Clear();
        }
    }
}
