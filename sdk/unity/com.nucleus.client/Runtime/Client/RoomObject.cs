using System;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>An object of the shared state, kept up to date by <see cref="NucleusClient.Poll"/>. Photon's
    /// PhotonView and Normcore's RealtimeView are of this kind.</summary>
    public sealed unsafe class RoomObject
    {
        readonly Room room;
        readonly Callbacks<uint, uint> ownerChanged = new Callbacks<uint, uint>();
        readonly Callbacks<uint> claimed = new Callbacks<uint>();
        readonly Callbacks deleted = new Callbacks();

        internal RoomObject(Room room, NcEvent* from)
        {
            this.room = room;
            Id = from->id;
            Owner = from->peer;
            const uint WithRoom = (uint)NcObjectMode.WithRoom;
            Ownership = (ObjectOwnership)(from->flags & ~WithRoom);
            StaysWithRoom = (from->flags & WithRoom) != 0;
            Fields = new FieldSet(room.Client);
        }

        /// <summary>The room of the object.</summary>
        public Room Room
        {
            get { return room; }
        }

        /// <summary>The object's id, the same for all peers.</summary>
        public ulong Id { get; private set; }

        /// <summary>The owner's peer id; 0 if there is none.</summary>
        public uint Owner { get; private set; }

        /// <summary>Whether this client owns the object.</summary>
        public bool IsMine
        {
            get { return Owner != 0 && Owner == room.Me.Id; }
        }

        /// <summary>How the object is owned.</summary>
        public ObjectOwnership Ownership { get; private set; }

        /// <summary>Whether the object stays when its owner leaves.</summary>
        public bool StaysWithRoom { get; private set; }

        /// <summary>Whether the object was deleted.</summary>
        public bool IsDeleted { get; private set; }

        /// <summary>The object's fields.</summary>
        public FieldSet Fields { get; private set; }

        /// <summary>A field has changed: its key, the old and the new value.</summary>
        public event Action<string, Value, Value> FieldChanged
        {
            add { Fields.Changed += value; }
            remove { Fields.Changed -= value; }
        }

        /// <summary>The object has another owner: the old and the new peer id; 0 is nobody.</summary>
        public event Action<uint, uint> OwnerChanged
        {
            add { ownerChanged.Add(value); }
            remove { ownerChanged.Remove(value); }
        }

        /// <summary>A peer asks for this object, which this client owns. <see cref="GiveAsync"/> gives
        /// it.</summary>
        public event Action<uint> Claimed
        {
            add { claimed.Add(value); }
            remove { claimed.Remove(value); }
        }

        /// <summary>The object was deleted.</summary>
        public event Action Deleted
        {
            add { deleted.Add(value); }
            remove { deleted.Remove(value); }
        }

        /// <summary>Sets a field. <see cref="Value.None"/> removes it.</summary>
        public Task<ulong> SetAsync(string key, Value value)
        {
            return room.State.ChangeAsync(new Batch().Set(Entity.Object(Id), key, value));
        }

        /// <summary>Claims the object. With <see cref="ObjectOwnership.Take"/> this client owns it
        /// afterwards; with <see cref="ObjectOwnership.Ask"/> the owner is asked.</summary>
        public Task<ulong> ClaimAsync()
        {
            return room.State.ChangeAsync(new Batch().Claim(Id));
        }

        /// <summary>Gives the object to a peer.</summary>
        public Task<ulong> GiveAsync(uint peer)
        {
            return room.State.ChangeAsync(new Batch().Give(Id, peer));
        }

        /// <summary>Deletes the object.</summary>
        public Task<ulong> DeleteAsync()
        {
            return room.State.ChangeAsync(new Batch().Delete(Id));
        }

        internal void Dispatch(NcEvent* from)
        {
            if (from->kind == (uint)NcEventKind.Claimed)
            {
                claimed.Raise(room.Client, from->by);
                return;
            }
            uint old = Owner;
            Owner = from->peer;
            ownerChanged.Raise(room.Client, old, Owner);
        }

        internal void RaiseDeleted()
        {
            IsDeleted = true;
            deleted.Raise(room.Client);
        }
    }
}
