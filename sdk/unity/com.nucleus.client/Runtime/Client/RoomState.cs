using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>The shared state of a room: the room's fields, and objects with fields. All clients have the
    /// same state. It shows what the events of the last <see cref="NucleusClient.Poll"/> have told; after the
    /// join, the state that exists is told as if it had just been created.</summary>
    public sealed class RoomState
    {
        const int MostValueBytes = 4096;

        readonly Room room;
        readonly List<RoomObject> objects = new List<RoomObject>();
        readonly Dictionary<ulong, RoomObject> byId = new Dictionary<ulong, RoomObject>();
        readonly Dictionary<uint, FieldSet> earlyFields = new Dictionary<uint, FieldSet>();
        readonly List<RoomObject> created = new List<RoomObject>();
        readonly Callbacks<RoomObject> objectCreated = new Callbacks<RoomObject>();
        readonly Callbacks<RoomObject> objectDeleted = new Callbacks<RoomObject>();
        bool isRaising;

        internal RoomState(Room room)
        {
            this.room = room;
            Fields = new FieldSet(room.Client);
        }

        /// <summary>The room's fields.</summary>
        public FieldSet Fields { get; private set; }

        /// <summary>The room's objects, in the order in which they were created.</summary>
        public IReadOnlyList<RoomObject> Objects
        {
            get { return objects; }
        }

        /// <summary>An object was created. It has the fields with which it was created.</summary>
        public event Action<RoomObject> ObjectCreated
        {
            add { objectCreated.Add(value); }
            remove { objectCreated.Remove(value); }
        }

        /// <summary>An object was deleted.</summary>
        public event Action<RoomObject> ObjectDeleted
        {
            add { objectDeleted.Add(value); }
            remove { objectDeleted.Remove(value); }
        }

        /// <summary>The version of the state. May be newer than the events that were taken.</summary>
        public unsafe ulong Version
        {
            get
            {
                room.ThrowIfClosed();
                ulong version;
                Failures.Check(NativeMethods.nc_room_state(room.Number, &version, null));
                return version;
            }
        }

        /// <summary>Returns the SHA-256 of the state, and its version. All clients at the same version have
        /// the same digest.</summary>
        public unsafe byte[] Digest(out ulong version)
        {
            room.ThrowIfClosed();
            var digest = new byte[32];
            fixed (byte* first = digest)
            fixed (ulong* number = &version)
            {
                Failures.Check(NativeMethods.nc_room_state(room.Number, number, first));
            }
            return digest;
        }

        /// <summary>Finds an object.</summary>
        public bool TryGetObject(ulong id, out RoomObject found)
        {
            return byId.TryGetValue(id, out found);
        }

        /// <summary>Returns a field and its version, for <see cref="Batch.CompareAndSet"/>.
        /// <see cref="Value.None"/> and version 0 if there is no such field.
        ///
        /// Compute the next value from this one, not from a <see cref="FieldSet"/>: the version may be newer
        /// than the events that were taken, and another peer's change would be overwritten.</summary>
        public unsafe Value Read(Entity of, string key, out ulong version)
        {
            room.ThrowIfClosed();
            byte* bytes = stackalloc byte[MostValueBytes];
            fixed (byte* text = Utf8.Terminated(key, "key"))
            {
                NcValue value;
                ulong read;
                NcResult result = NativeMethods.nc_room_field(
                    room.Number, of.Native, text, &value, bytes, MostValueBytes, &read);
                version = result == NcResult.NotFound ? 0 : read;
                if (result == NcResult.NotFound)
                {
                    return Value.None;
                }
                Failures.Check(result);
                return Value.From(value);
            }
        }

        /// <summary>Requests changes, which the server applies all together or not at all. Returns the version
        /// of the state that has them; the callbacks of the changes are called before. A request is not
        /// repeated after a lost session.</summary>
        /// <exception cref="NucleusException">The server refused, or the session was lost.</exception>
        public unsafe Task<ulong> ChangeAsync(Batch batch)
        {
            if (batch == null)
            {
                throw new ArgumentNullException("batch");
            }
            return room.Request(op =>
            {
                using (var memory = new ArgumentMemory())
                {
                    NcChange* changes = batch.Native(memory);
                    uint count = (uint)batch.Count;
                    return NativeMethods.nc_room_change(room.Number, changes, count, op);
                }
            }, result => result.Sequence);
        }

        /// <summary>Sets a field of the room. <see cref="Value.None"/> removes it.</summary>
        public Task<ulong> SetAsync(string key, Value value)
        {
            return ChangeAsync(new Batch().Set(Entity.Room, key, value));
        }

        /// <summary>Sets a field of the own peer. <see cref="Value.None"/> removes it.</summary>
        public Task<ulong> SetMineAsync(string key, Value value)
        {
            return ChangeAsync(new Batch().Set(Entity.Peer(room.Me.Id), key, value));
        }

        /// <summary>Creates an object that this client owns, with fields. If it
        /// <paramref name="staysWithRoom"/>, it stays when its owner leaves.</summary>
        public async Task<RoomObject> CreateAsync(
            ObjectOwnership ownership, bool staysWithRoom = false,
            IEnumerable<KeyValuePair<string, Value>> fields = null)
        {
            ulong id = NewObjectId();
            var batch = new Batch().Create(id, ownership, staysWithRoom);
            if (fields != null)
            {
                foreach (KeyValuePair<string, Value> field in fields)
                {
                    batch.Set(Entity.Object(id), field.Key, field.Value);
                }
            }
            await ChangeAsync(batch);
            RoomObject made;
            if (!byId.TryGetValue(id, out made))
            {
                throw new NucleusException(NucleusResult.NotFound, -1, "the object is deleted again");
            }
            return made;
        }

        /// <summary>Returns an id for an object that this client will create. Do not use an id from before a
        /// <see cref="Room.Rejoined"/>.</summary>
        public ulong NewObjectId()
        {
            room.ThrowIfClosed();
            ulong id = NativeMethods.nc_room_new_object_id(room.Number);
            if (id == 0)
            {
                throw new NucleusException(NucleusResult.NotJoined, -1, "the room is not joined");
            }
            return id;
        }

        /// <summary>Returns the id of an object that belongs to the scene: all clients that load the scene
        /// know it by this number, and the first client creates it.</summary>
        public static ulong SceneObjectId(uint number)
        {
            return number;
        }

        /// <summary>Handles an event of the state. Returns false if it is another event.</summary>
        internal unsafe bool Dispatch(NcEvent* from)
        {
            switch ((NcEventKind)from->kind)
            {
                case NcEventKind.FieldChanged:
                    FieldSet fields = Find(from->entity);
                    fields?.Set(Utf8.Text(from->name), Value.From(from->value));
                    return true;
                case NcEventKind.ObjectCreated:
                    Create(from);
                    return true;
                case NcEventKind.Deleted:
                    RaiseCreated();
                    Delete(from);
                    return true;
                case NcEventKind.OwnerChanged:
                case NcEventKind.Claimed:
                    RaiseCreated();
                    RoomObject changed;
                    if (byId.TryGetValue(from->id, out changed))
                    {
                        changed.Dispatch(from);
                    }
                    return true;
                default:
                    return false;
            }
        }

        /// <summary>Tells of the objects that were created. It waits until their fields are
        /// there.</summary>
        internal void RaiseCreated()
        {
            if (isRaising || created.Count == 0)
            {
                return;
            }
            isRaising = true;
            for (int i = 0; i < created.Count; i++)
            {
                objectCreated.Raise(room.Client, created[i]);
            }
            created.Clear();
            isRaising = false;
        }

        /// <summary>Returns the fields of a peer that has not joined yet.</summary>
        internal FieldSet EarlyFields(uint peer)
        {
            FieldSet fields;
            if (!earlyFields.TryGetValue(peer, out fields))
            {
                earlyFields[peer] = fields = new FieldSet(room.Client);
            }
            return fields;
        }

        /// <summary>Returns the fields of a peer that joins.</summary>
        internal FieldSet TakeEarlyFields(uint peer)
        {
            FieldSet fields = EarlyFields(peer);
            earlyFields.Remove(peer);
            return fields;
        }

        /// <summary>Keeps the fields of a peer that has left, until they are deleted.</summary>
        internal void KeepFields(Peer peer)
        {
            if (peer.Fields.Count > 0)
            {
                earlyFields[peer.Id] = peer.Fields;
            }
        }

        FieldSet Find(NcEntity entity)
        {
            switch ((NcScope)entity.scope)
            {
                case NcScope.Room: return Fields;
                case NcScope.Peer: return room.FieldsOf((uint)entity.id);
                default:
                    RoomObject found;
                    return byId.TryGetValue(entity.id, out found) ? found.Fields : null;
            }
        }

        unsafe void Create(NcEvent* from)
        {
            var made = new RoomObject(room, from);
            byId[made.Id] = made;
            objects.Add(made);
            created.Add(made);
        }

        unsafe void Delete(NcEvent* from)
        {
            if (from->entity.scope == (uint)NcScope.Peer)
            {
                uint peer = (uint)from->entity.id;
                room.FieldsOf(peer).Clear();
                earlyFields.Remove(peer);
                return;
            }
            RoomObject deleted;
            if (byId.TryGetValue(from->id, out deleted))
            {
                byId.Remove(deleted.Id);
                objects.Remove(deleted);
                deleted.RaiseDeleted();
                objectDeleted.Raise(room.Client, deleted);
            }
        }
    }
}
