using System;
using System.Collections;
using System.Collections.Generic;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>Names what has fields: the room, a peer or an object.</summary>
    public struct Entity
    {
        readonly NcScope scope;
        readonly ulong id;

        Entity(NcScope scope, ulong id)
        {
            this.scope = scope;
            this.id = id;
        }

        /// <summary>The room.</summary>
        public static Entity Room
        {
            get { return new Entity(NcScope.Room, 0); }
        }

        /// <summary>A peer.</summary>
        public static Entity Peer(uint peer)
        {
            return new Entity(NcScope.Peer, peer);
        }

        /// <summary>An object.</summary>
        public static Entity Object(ulong id)
        {
            return new Entity(NcScope.Object, id);
        }

        internal NcEntity Native
        {
            get { return new NcEntity { scope = (uint)scope, id = id }; }
        }
    }

    /// <summary>The fields of the room, of a peer or of an object, as the events of the last
    /// <see cref="NucleusClient.Poll"/> left them. To change them, use <see cref="RoomState"/>.</summary>
    public sealed class FieldSet : IReadOnlyCollection<KeyValuePair<string, Value>>
    {
        readonly NucleusClient client;
        readonly Dictionary<string, Value> values = new Dictionary<string, Value>();
        readonly Callbacks<string, Value, Value> changed = new Callbacks<string, Value, Value>();

        internal FieldSet(NucleusClient client)
        {
            this.client = client;
        }

        /// <summary>A field has changed: its key, the old and the new value. <see cref="Value.None"/> is a
        /// field that is not there.</summary>
        public event Action<string, Value, Value> Changed
        {
            add { changed.Add(value); }
            remove { changed.Remove(value); }
        }

        /// <summary>Number of fields.</summary>
        public int Count
        {
            get { return values.Count; }
        }

        /// <summary>A field's value; <see cref="Value.None"/> if there is no such field.</summary>
        public Value this[string key]
        {
            get
            {
                Value value;
                return values.TryGetValue(key, out value) ? value : Value.None;
            }
        }

        /// <summary>Whether there is such a field.</summary>
        public bool Contains(string key)
        {
            return values.ContainsKey(key);
        }

        /// <summary>Returns the fields.</summary>
        public IEnumerator<KeyValuePair<string, Value>> GetEnumerator()
        {
            return values.GetEnumerator();
        }

        IEnumerator IEnumerable.GetEnumerator()
        {
            return values.GetEnumerator();
        }

        internal void Set(string key, Value value)
        {
            Value old = this[key];
            if (value.IsNone)
            {
                values.Remove(key);
            }
            else
            {
                values[key] = value;
            }
            changed.Raise(client, key, old, value);
        }

        internal void Clear()
        {
            foreach (string key in new List<string>(values.Keys))
            {
                Set(key, Value.None);
            }
        }
    }
}
