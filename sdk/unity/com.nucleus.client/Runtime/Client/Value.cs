using System;
using System.Globalization;
using System.Linq;
using System.Text;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>The type of a <see cref="Value"/>.</summary>
    public enum ValueKind
    {
        /// <summary>No value. Setting a field to it removes the field.</summary>
        None = 0,
        /// <summary>False or true.</summary>
        Bool = 1,
        /// <summary>A signed integer of 64 bits.</summary>
        Integer = 2,
        /// <summary>A float of 64 bits, but not NaN.</summary>
        Float = 3,
        /// <summary>A text.</summary>
        Text = 4,
        /// <summary>A byte string.</summary>
        Bytes = 5,
    }

    /// <summary>The value of a field, at most 4 KiB.</summary>
    public struct Value : IEquatable<Value>
    {
        readonly long integer;
        readonly double number;
        readonly object data;

        Value(ValueKind kind, long integer, double number, object data)
        {
            Kind = data == null && kind >= ValueKind.Text ? ValueKind.None : kind;
            this.integer = integer;
            this.number = number;
            this.data = data;
        }

        /// <summary>No value.</summary>
        public static readonly Value None = default(Value);

        /// <summary>The type.</summary>
        public ValueKind Kind { get; private set; }

        /// <summary>Whether there is no value.</summary>
        public bool IsNone
        {
            get { return Kind == ValueKind.None; }
        }

        /// <summary>The boolean; false if the value is of another type.</summary>
        public bool AsBool
        {
            get { return Kind == ValueKind.Bool && integer != 0; }
        }

        /// <summary>The integer; a float is rounded down; 0 if the value is of another type.</summary>
        public long AsInteger
        {
            get
            {
                return Kind == ValueKind.Integer ? integer
                    : Kind == ValueKind.Float ? (long)Math.Floor(number) : 0;
            }
        }

        /// <summary>The float, or the integer as a float; 0 if the value is of another type.</summary>
        public double AsFloat
        {
            get { return Kind == ValueKind.Float ? number : Kind == ValueKind.Integer ? integer : 0; }
        }

        /// <summary>The text; null if the value is of another type.</summary>
        public string AsText
        {
            get { return data as string; }
        }

        /// <summary>A copy of the bytes; null if the value is of another type.</summary>
        public byte[] AsBytes
        {
            get { return data is byte[] ? (byte[])((byte[])data).Clone() : null; }
        }

        /// <summary>A boolean.</summary>
        public static implicit operator Value(bool value)
        {
            return new Value(ValueKind.Bool, value ? 1 : 0, 0, null);
        }

        /// <summary>An integer.</summary>
        public static implicit operator Value(int value)
        {
            return new Value(ValueKind.Integer, value, 0, null);
        }

        /// <summary>An integer.</summary>
        public static implicit operator Value(long value)
        {
            return new Value(ValueKind.Integer, value, 0, null);
        }

        /// <summary>A float. NaN is refused by the library.</summary>
        public static implicit operator Value(double value)
        {
            return new Value(ValueKind.Float, 0, value, null);
        }

        /// <summary>A text; null is no value.</summary>
        public static implicit operator Value(string value)
        {
            return new Value(ValueKind.Text, 0, 0, value);
        }

        /// <summary>A copy of the bytes; null is no value.</summary>
        public static implicit operator Value(byte[] value)
        {
            return new Value(ValueKind.Bytes, 0, 0, value == null ? null : value.Clone());
        }

        /// <summary>Whether type and value are the same.</summary>
        public static bool operator ==(Value left, Value right)
        {
            return left.Equals(right);
        }

        /// <summary>Whether type or value differ.</summary>
        public static bool operator !=(Value left, Value right)
        {
            return !left.Equals(right);
        }

        /// <summary>Whether type and value are the same.</summary>
        public bool Equals(Value other)
        {
            if (Kind != other.Kind)
            {
                return false;
            }
            if (Kind == ValueKind.Bytes)
            {
                return ((byte[])data).SequenceEqual((byte[])other.data);
            }
            return integer == other.integer && number.Equals(other.number)
                && (string)data == (string)other.data;
        }

        /// <summary>Whether type and value are the same.</summary>
        public override bool Equals(object obj)
        {
            return obj is Value && Equals((Value)obj);
        }

        /// <summary>A hash of type and value.</summary>
        public override int GetHashCode()
        {
            var bytes = data as byte[];
            int hash = bytes != null ? bytes.Length : data == null ? 0 : data.GetHashCode();
            return hash ^ integer.GetHashCode() ^ number.GetHashCode() ^ (int)Kind;
        }

        /// <summary>Returns the value for a person.</summary>
        public override string ToString()
        {
            switch (Kind)
            {
                case ValueKind.Bool: return AsBool ? "true" : "false";
                case ValueKind.Integer: return integer.ToString(CultureInfo.InvariantCulture);
                case ValueKind.Float: return number.ToString("R", CultureInfo.InvariantCulture);
                case ValueKind.Text: return AsText;
                case ValueKind.Bytes: return ((byte[])data).Length + " bytes";
                default: return "none";
            }
        }

        internal static unsafe Value From(NcValue value)
        {
            switch ((ValueKind)value.kind)
            {
                case ValueKind.Bool: return value.integer != 0;
                case ValueKind.Integer: return value.integer;
                case ValueKind.Float: return value.number;
                case ValueKind.Text: return Utf8.Text(value.bytes);
                case ValueKind.Bytes: return new Value(ValueKind.Bytes, 0, 0, Utf8.Copy(value.bytes));
                default: return None;
            }
        }

        internal unsafe NcValue Native(ArgumentMemory memory)
        {
            var native = new NcValue { kind = (uint)Kind, integer = integer, number = number };
            byte[] bytes = Kind == ValueKind.Text ? Encoding.UTF8.GetBytes(AsText) : data as byte[];
            if (bytes != null && bytes.Length > 0)
            {
                native.bytes = new NcBytes { data = memory.Bytes(bytes), len = (uint)bytes.Length };
            }
            return native;
        }
    }
}
