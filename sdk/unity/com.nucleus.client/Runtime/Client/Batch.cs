using System;
using System.Collections.Generic;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>Changes of the shared state that are applied all together or not at all.</summary>
    public sealed unsafe class Batch
    {
        struct Change
        {
            internal NcChangeKind Kind;
            internal uint Peer;
            internal Entity Entity;
            internal string Key;
            internal Value Value;
            internal ulong Version;
            internal uint Mode;
        }

        readonly List<Change> changes = new List<Change>();

        /// <summary>Number of changes.</summary>
        public int Count
        {
            get { return changes.Count; }
        }

        /// <summary>Sets a field. <see cref="Value.None"/> removes it.</summary>
        public Batch Set(Entity entity, string key, Value value)
        {
            return Add(new Change
            {
                Kind = NcChangeKind.Set,
                Entity = entity,
                Key = Needed(key),
                Value = value,
            });
        }

        /// <summary>Sets a field if it still has this version (see <see cref="RoomState.Read"/>). 0: if there
        /// is no such field. Otherwise the whole batch is refused.</summary>
        public Batch CompareAndSet(Entity entity, string key, ulong version, Value value)
        {
            return Add(new Change
            {
                Kind = NcChangeKind.CompareAndSet,
                Entity = entity,
                Key = Needed(key),
                Value = value,
                Version = version,
            });
        }

        /// <summary>Creates an object with an id from <see cref="RoomState.NewObjectId"/> or
        /// <see cref="RoomState.SceneObjectId"/>.</summary>
        public Batch Create(ulong id, ObjectOwnership ownership, bool staysWithRoom = false)
        {
            uint mode = (uint)ownership | (staysWithRoom ? (uint)NcObjectMode.WithRoom : 0);
            return Add(new Change
            {
                Kind = NcChangeKind.Create,
                Entity = Entity.Object(id),
                Mode = mode,
            });
        }

        /// <summary>Deletes an object.</summary>
        public Batch Delete(ulong id)
        {
            return Add(new Change { Kind = NcChangeKind.Delete, Entity = Entity.Object(id) });
        }

        /// <summary>Claims an object.</summary>
        public Batch Claim(ulong id)
        {
            return Add(new Change { Kind = NcChangeKind.Claim, Entity = Entity.Object(id) });
        }

        /// <summary>Gives an object to a peer.</summary>
        public Batch Give(ulong id, uint peer)
        {
            return Add(new Change
            {
                Kind = NcChangeKind.Give,
                Entity = Entity.Object(id),
                Peer = peer,
            });
        }

        /// <summary>Makes a peer the host.</summary>
        public Batch SetHost(uint peer)
        {
            return Add(new Change { Kind = NcChangeKind.Host, Peer = peer });
        }

        internal NcChange* Native(ArgumentMemory memory)
        {
            var native = (NcChange*)memory.Zeroed(changes.Count, sizeof(NcChange));
            for (int i = 0; i < changes.Count; i++)
            {
                Change change = changes[i];
                native[i].kind = (uint)change.Kind;
                native[i].peer = change.Peer;
                native[i].entity = change.Entity.Native;
                native[i].key = memory.Text(change.Key, "key");
                native[i].value = change.Value.Native(memory);
                native[i].version = change.Version;
                native[i].mode = change.Mode;
            }
            return native;
        }

        static string Needed(string key)
        {
            if (key == null)
            {
                throw new ArgumentNullException("key");
            }
            return key;
        }

        Batch Add(Change change)
        {
            changes.Add(change);
            return this;
        }
    }
}
