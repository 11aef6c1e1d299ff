//! The archived messages. Only primitives, byte arrays, byte strings (`Vec<u8>`) and vectors of
//! such structs, so that another language can read them from docs/PROTOCOL.md alone. **A released
//! struct never changes**: its bytes are what customers' headsets expect.

use rkyv::{Archive, Deserialize, Serialize};

use super::{Filter, RoomOptions};

/// A client asks to enter a room.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// The join token, a JWT.
    pub token: Vec<u8>,
    /// The newest ticket that an earlier `Joined` of this peer gave; empty: a new peer.
    pub ticket: Vec<u8>,
    /// With a ticket: the largest sequence of an event received so far, 0 for none.
    pub last_event: u64,
    /// The same of the bulk lane.
    pub last_bulk: u64,
    /// The room's name, UTF-8, 1 to 128 bytes; may be empty where any room that fits will do.
    pub room: Vec<u8>,
    /// Display name, UTF-8, 0 to 128 bytes; empty takes the token's.
    pub name: Vec<u8>,
    /// AEAD suites the client can do, best first.
    pub suites: Vec<u8>,
    /// One of [`super::join_mode`].
    pub mode: u8,
    /// The application's version, UTF-8, 0 to 32 bytes: rooms are for one version.
    pub version: Vec<u8>,
    /// Of the room to join or to make, 0 to 64 bytes; empty: none.
    pub password: Vec<u8>,
    /// Users for whom seats are held for a minute, at most 16.
    pub expected: Vec<Vec<u8>>,
    /// For the room that this join makes, if it makes one.
    pub options: RoomOptions,
    /// Which rooms fit: all of these must hold, at most 8.
    pub filters: Vec<Filter>,
}

/// The client is in: shard and slot are ready, the link's keys are here.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The client's own peer number, unique in this room instance.
    pub peer: u32,
    /// Its slot on the realtime plane.
    pub slot: u16,
    /// Peers the room takes.
    pub capacity: u16,
    /// Differs between instances of a room of one name.
    pub room_instance: u32,
    /// Version of the roster below; updates count on from here.
    pub roster_version: u32,
    /// Everybody in the room, the client included.
    pub roster: Vec<Peer>,
    /// The realtime link.
    pub grant: LinkGrant,
    /// The server's clock, µs, when this was sent.
    pub server_time: u64,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
    /// Largest event payload, bytes.
    pub max_event: u32,
    /// Opaque: takes the peer's place again after its session was lost, see [`Join::ticket`].
    pub ticket: Vec<u8>,
    /// How long an unreachable peer keeps its place, ms.
    pub peer_ttl_ms: u32,
    /// [`NEW_PEER`], [`RESUMED`] or [`RESUMED_WITH_LOSS`].
    pub resumed: u8,
    /// Events of this peer's that the room has taken so far, over all its sessions, wrapping: the
    /// client repeats those behind them.
    pub events_taken: u32,
    /// The same of the pieces of its bulk lane.
    pub bulk_taken: u32,
    /// The room's name.
    pub room: Vec<u8>,
}

/// Nobody knew this peer before.
pub const NEW_PEER: u8 = 0;
/// The peer of the ticket is back; the events it missed follow.
pub const RESUMED: u8 = 1;
/// The same, but the oldest of the events it missed are not to be had any more.
pub const RESUMED_WITH_LOSS: u8 = 2;

/// A peer as the roster names it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Number, unique in this room instance.
    pub peer: u32,
    /// Slot on the realtime plane.
    pub slot: u16,
    /// A bit set: [`AWAY`], [`MUTED`], [`SELF_MUTED`], [`MODERATOR`].
    pub presence: u8,
    /// User id from the token.
    pub user: Vec<u8>,
    /// Display name.
    pub name: Vec<u8>,
    /// Role from the token.
    pub role: Vec<u8>,
}

/// No bit of a presence: the peer is reachable, and nothing else is to be said of it.
pub const PRESENT: u8 = 0;
/// Nothing was heard of the peer for 10 s on either plane.
pub const AWAY: u8 = 1;
/// A moderator has muted the peer: its voice is dropped.
pub const MUTED: u8 = 2;
/// The peer has muted itself.
pub const SELF_MUTED: u8 = 4;
/// The peer may moderate.
pub const MODERATOR: u8 = 8;

/// Keys and addresses of a realtime link. Travels inside TLS only.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct LinkGrant {
    /// Never reused in a session.
    pub link_id: u32,
    /// The connection id to start with, opaque.
    pub connection_id: [u8; 8],
    /// One to take when the network changed.
    pub spare: [u8; 8],
    /// Input of the key schedule.
    pub secret: [u8; 32],
    /// AEAD suite, one of those offered.
    pub suite: u8,
    /// Bit 0: the TLS exporter is mixed into the root. Others reserved.
    pub flags: u8,
    /// Where the realtime plane is; at least one.
    pub endpoints: Vec<RealtimeEndpoint>,
}

/// The flag "exporter is mixed in".
pub const GRANT_EXPORTER: u8 = 1;

impl std::fmt::Debug for LinkGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret reaches no log.
        f.debug_struct("LinkGrant").field("link_id", &self.link_id).finish_non_exhaustive()
    }
}

impl Drop for LinkGrant {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// An address of the realtime plane.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RealtimeEndpoint {
    /// 4 or 16 bytes; empty = the address that the session goes to.
    pub ip: Vec<u8>,
    /// UDP port.
    pub port: u16,
}

/// The client goes, and everybody is told at once.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// A [`super::Code`]; 0 for an ordinary leave.
    pub code: u16,
}

/// What changed in the roster since the version before.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterUpdate {
    /// Version that the roster has with this update.
    pub version: u32,
    /// New peers.
    pub joined: Vec<Peer>,
    /// Peers that are gone.
    pub left: Vec<PeerLeft>,
    /// Peers whose presence changed.
    pub changed: Vec<PeerPresence>,
}

/// A peer is gone.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PeerLeft {
    /// Who.
    pub peer: u32,
    /// A [`super::Code`].
    pub code: u16,
}

/// A peer's presence changed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PeerPresence {
    /// Who.
    pub peer: u32,
    /// A bit set, as in [`Peer`].
    pub presence: u8,
}

/// A client sends an event.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EventUp {
    /// [`TO_ALL`], [`TO_OTHERS`], [`TO_LISTED`], [`TO_HOST`], [`TO_GROUP`] or, on the event stream,
    /// [`TO_LATER`].
    pub target: u8,
    /// The application's channel.
    pub channel: u8,
    /// Of the bulk lane: [`PIECE_MORE`] and [`PIECE_CONTINUES`]; of an event 0.
    pub piece: u8,
    /// Peer numbers, for [`TO_LISTED`]; the one group, for [`TO_GROUP`].
    pub peers: Vec<u32>,
    /// Opaque.
    pub payload: Vec<u8>,
}

/// Another piece of the same message follows.
pub const PIECE_MORE: u8 = 1;
/// The piece goes on with the message whose piece came before it.
pub const PIECE_CONTINUES: u8 = 2;

/// Everybody in the room, the sender included.
pub const TO_ALL: u8 = 0;
/// Everybody but the sender.
pub const TO_OTHERS: u8 = 1;
/// The listed peers that are in the room.
pub const TO_LISTED: u8 = 2;
/// The host, as the server sees it when it takes the event.
pub const TO_HOST: u8 = 3;
/// Those who are in the group when the server takes the event, but for the sender.
pub const TO_GROUP: u8 = 4;
/// Everybody but the sender, and whoever comes later.
pub const TO_LATER: u8 = 5;

/// An event arrives.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EventDown {
    /// The sender.
    pub peer: u32,
    /// The roster had this version when the server took the event: a client that is not there yet
    /// waits for its roster before it gives the event to the application.
    pub roster_version: u32,
    /// Counts the room's events and pieces together; rises strictly at each receiver's lane.
    pub sequence: u64,
    /// The application's channel.
    pub channel: u8,
    /// As its sender wrote it, see [`EventUp::piece`].
    pub piece: u8,
    /// Opaque.
    pub payload: Vec<u8>,
}
