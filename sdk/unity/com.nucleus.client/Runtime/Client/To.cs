using System;
using System.Collections.Generic;
using System.Linq;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>The recipients of a message. The default is <see cref="Others"/>.</summary>
    public struct To
    {
        readonly NcTargetKind kind;
        readonly uint id;

        To(NcTargetKind kind, uint id, uint[] peers)
        {
            this.kind = kind;
            this.id = id;
            PeerIds = peers;
        }

        /// <summary>All peers except the sender.</summary>
        public static To Others
        {
            get { return new To(NcTargetKind.Others, 0, null); }
        }

        /// <summary>All peers, the sender included. For events only.</summary>
        public static To All
        {
            get { return new To(NcTargetKind.All, 0, null); }
        }

        /// <summary>All peers except the sender, and those who join later. For events only.</summary>
        public static To OthersAndLater
        {
            get { return new To(NcTargetKind.OthersAndLater, 0, null); }
        }

        /// <summary>The host.</summary>
        public static To Host
        {
            get { return new To(NcTargetKind.Host, 0, null); }
        }

        /// <summary>One peer.</summary>
        public static To Peer(uint peer)
        {
            return new To(NcTargetKind.Peer, peer, null);
        }

        /// <summary>One peer.</summary>
        public static To Peer(Peer peer)
        {
            return Peer(peer.Id);
        }

        /// <summary>The named peers, at most 1,024. For events only.</summary>
        public static To Peers(IEnumerable<uint> peers)
        {
            if (peers == null)
            {
                throw new ArgumentNullException("peers");
            }
            return new To(NcTargetKind.Peers, 0, peers.ToArray());
        }

        /// <summary>The subscribers of a group (0 to 239), except the sender.</summary>
        public static To Group(int group)
        {
            if (group < 0 || group > 239)
            {
                throw new ArgumentOutOfRangeException("group", "groups are 0 to 239");
            }
            return new To(NcTargetKind.Group, (uint)group, null);
        }

        internal uint[] PeerIds { get; private set; }

        /// <summary>Returns the target of the C library. <paramref name="peers"/> points to
        /// <see cref="PeerIds"/>.</summary>
        internal unsafe NcTarget Native(uint* peers)
        {
            return new NcTarget
            {
                kind = (uint)kind,
                id = id,
                peers = peers,
                peer_count = PeerIds == null ? 0 : (uint)PeerIds.Length,
            };
        }
    }
}
