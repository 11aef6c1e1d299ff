using System;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>A peer of a room, kept up to date by <see cref="NucleusClient.Poll"/>.</summary>
    public sealed unsafe class Peer
    {
        readonly Room room;
        readonly Callbacks changed = new Callbacks();
        readonly Callbacks left = new Callbacks();
        NcPeerFlag flags;

        internal Peer(Room room, uint id, FieldSet fields)
        {
            this.room = room;
            Id = id;
            Fields = fields;
            User = Name = Role = "";
        }

        /// <summary>The peer's id. Only that of the own peer changes, with
        /// <see cref="Room.Rejoined"/>.</summary>
        public uint Id { get; internal set; }

        /// <summary>The user's id from the token.</summary>
        public string User { get; private set; }

        /// <summary>The display name.</summary>
        public string Name { get; private set; }

        /// <summary>The role from the token.</summary>
        public string Role { get; private set; }

        /// <summary>The peer's fields in the shared state.</summary>
        public FieldSet Fields { get; private set; }

        /// <summary>Whether this is the own peer.</summary>
        public bool IsMe
        {
            get { return room.Me == this; }
        }

        /// <summary>Whether the server has received nothing from the peer for 10 s.</summary>
        public bool IsAway
        {
            get { return Has(NcPeerFlag.Away); }
        }

        /// <summary>Whether a moderator has muted the peer.</summary>
        public bool IsMuted
        {
            get { return Has(NcPeerFlag.Muted); }
        }

        /// <summary>Whether the peer has muted itself.</summary>
        public bool IsSelfMuted
        {
            get { return Has(NcPeerFlag.SelfMuted); }
        }

        /// <summary>Whether the peer may moderate.</summary>
        public bool IsModerator
        {
            get { return Has(NcPeerFlag.Moderator); }
        }

        /// <summary>Whether the peer speaks now.</summary>
        public bool IsSpeaking { get; internal set; }

        /// <summary>Presence, mute or the right to moderate has changed.</summary>
        public event Action Changed
        {
            add { changed.Add(value); }
            remove { changed.Remove(value); }
        }

        /// <summary>The peer has left. <see cref="Room.PeerLeft"/> has the reason.</summary>
        public event Action Left
        {
            add { left.Add(value); }
            remove { left.Remove(value); }
        }

        /// <summary>Returns name and id.</summary>
        public override string ToString()
        {
            return string.Format("{0} ({1})", Name, Id);
        }

        internal void SetFlags(uint native)
        {
            flags = (NcPeerFlag)native;
        }

        internal void SetName(string name)
        {
            Name = name;
        }

        /// <summary>Reads user, name and role. A peer that has left in the meantime keeps the name of its
        /// event.</summary>
        internal void Read(ulong number)
        {
            NcPeer info;
            if (NativeMethods.nc_room_peer(number, Id, &info) == NcResult.Ok)
            {
                User = Utf8.FixedText(info.user, 132);
                Name = Utf8.FixedText(info.name, 132);
                Role = Utf8.FixedText(info.role, 132);
                SetFlags(info.flags);
            }
        }

        internal void RaiseChanged()
        {
            changed.Raise(room.Client);
        }

        internal void RaiseLeft()
        {
            left.Raise(room.Client);
        }

        bool Has(NcPeerFlag flag)
        {
            return (flags & flag) != 0;
        }
    }
}
