//! The archived messages of a session in a room: join, roster, events. Their structs use only
//! primitives, byte arrays, byte strings (`Vec<u8>`) and vectors of such structs, so that another
//! language can read them from docs/PROTOCOL.md alone. **A released struct never changes**:
//! released clients expect its bytes.

use rkyv::{Archive, Deserialize, Serialize};

use super::{Filter, RoomOptions, SessionSetting};

/// A client asks to join a room.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// The join token, a JWT.
    pub token: Vec<u8>,
    /// The newest ticket from a `Joined` of this peer; empty for a new peer.
    pub ticket: Vec<u8>,
    /// The largest event sequence that this peer has received on the events lane, 0 for none. Used
    /// only with a ticket.
    pub last_event: u64,
    /// The largest event sequence that this peer has received on the bulk lane, 0 for none. Used
    /// only with a ticket.
    pub last_bulk: u64,
    /// The room's name, UTF-8, 1 to 128 bytes; may be empty if `mode` takes any matching room.
    pub room: Vec<u8>,
    /// Display name, UTF-8, 0 to 128 bytes; if empty, the token's name is used.
    pub name: Vec<u8>,
    /// AEAD suites that the client supports, best first; may be empty without a realtime port.
    pub suites: Vec<u8>,
    /// Most bytes of frames that one datagram of this client can carry, on both planes and in both
    /// directions: at least [`crate::limits::MIN_BODY`], or 0 for a client without a realtime
    /// plane.
    pub largest_body: u16,
    /// How the join selects its room, one of [`super::join_mode`].
    pub mode: u8,
    /// The application's version, UTF-8, 0 to 32 bytes. A room is for one version.
    pub version: Vec<u8>,
    /// Password of the room to join or to create, 0 to 64 bytes; empty for none.
    pub password: Vec<u8>,
    /// Users for whom the room reserves seats for a minute, at most 16.
    pub expected: Vec<Vec<u8>>,
    /// Options of the room, if this join creates one.
    pub options: RoomOptions,
    /// Conditions that a matching room fulfils, all of them; at most 8.
    pub filters: Vec<Filter>,
}

/// The server's answer to a successful [`Join`]. The client's realtime link is ready on the server.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The client's own peer id, unique in this room instance.
    pub peer: u32,
    /// The client's slot on the realtime plane.
    pub slot: u16,
    /// The room instance id, random: see [`crate::ids::RoomInstanceId`].
    pub room_instance: [u8; 8],
    /// The server instance id, random: see [`crate::ids::ServerInstanceId`].
    pub server_instance: [u8; 8],
    /// Version of `roster`. Each update raises the version.
    pub roster_version: u32,
    /// Every peer in the room, the client included.
    pub roster: Vec<Peer>,
    /// The realtime link's id, never reused in a session. It stands in front of the frames inside
    /// the session.
    pub link_id: u32,
    /// Keys and addresses of the link on the realtime port: one grant, or none for a client
    /// without a realtime port.
    pub grant: Vec<LinkGrant>,
    /// The server's clock when it sent this message, µs.
    pub server_time: u64,
    /// The epoch of the server's clock, which changes when the server restarts.
    pub clock_epoch: u32,
    /// What holds for this session: see [`super::SessionSettings`].
    pub settings: Vec<SessionSetting>,
    /// The resume ticket, opaque to the client. Resumes this peer after its session was lost, see
    /// [`Join::ticket`].
    pub ticket: Vec<u8>,
    /// Whether the peer was resumed: [`NEW_PEER`], [`RESUMED`] or [`RESUMED_WITH_LOSS`].
    pub resumed: u8,
    /// Number of this peer's events that the room has taken, over all its sessions, wrapping. The
    /// client sends its later events again.
    pub events_taken: u32,
    /// Number of this peer's pieces on the bulk lane that the room has taken, over all its
    /// sessions, wrapping. The client sends later pieces again.
    pub bulk_taken: u32,
    /// The room's name.
    pub room: Vec<u8>,
    /// Where a client that lost its session may enter again, each as `host:port`; at most
    /// [`crate::limits::MAX_ENDPOINTS`]. Empty: at the address that it used.
    pub entries: Vec<Vec<u8>>,
}

/// The peer is new in the room.
pub const NEW_PEER: u8 = 0;
/// The ticket's peer was resumed; the events that it missed follow.
pub const RESUMED: u8 = 1;
/// The ticket's peer was resumed, but the oldest events that it missed are lost.
pub const RESUMED_WITH_LOSS: u8 = 2;

/// A peer in the roster.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's number, unique in this room instance.
    pub peer: u32,
    /// The peer's slot on the realtime plane.
    pub slot: u16,
    /// A bit set: [`AWAY`], [`MUTED`], [`SELF_MUTED`], [`MODERATOR`]; bit 4 ([`PINNED`]) is
    /// reserved.
    pub presence: u8,
    /// User id from the token.
    pub user: Vec<u8>,
    /// Display name.
    pub name: Vec<u8>,
    /// Role from the token.
    pub role: Vec<u8>,
}

/// A presence without any bit: the peer is reachable, not muted and not a moderator.
pub const PRESENT: u8 = 0;
/// The peer is away: the server received nothing from it for 10 s on either plane.
pub const AWAY: u8 = 1;
/// A moderator has muted the peer, whose voice is dropped.
pub const MUTED: u8 = 2;
/// The peer has muted itself.
pub const SELF_MUTED: u8 = 4;
/// The peer may moderate.
pub const MODERATOR: u8 = 8;
/// Reserved: the peer is heard and seen at any distance.
pub const PINNED: u8 = 16;

/// Keys and addresses of a realtime link. Sent inside TLS only.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct LinkGrant {
    /// The link's first connection id, opaque.
    pub connection_id: [u8; 8],
    /// The connection id that the client uses once its network has changed, opaque.
    pub spare: [u8; 8],
    /// Input of the key schedule.
    pub secret: [u8; 32],
    /// AEAD suite, one of those that the client offered.
    pub suite: u8,
    /// Bit 0: the TLS exporter is mixed into the root secret. Other bits are reserved.
    pub flags: u8,
    /// Addresses of the realtime plane, at least one.
    pub endpoints: Vec<RealtimeEndpoint>,
}

/// The bit of [`LinkGrant::flags`] that says that the TLS exporter is mixed into the root secret.
pub const GRANT_EXPORTER: u8 = 1;

impl std::fmt::Debug for LinkGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret must not appear in a log.
        f.debug_struct("LinkGrant").field("suite", &self.suite).finish_non_exhaustive()
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
    /// IP address, 4 or 16 bytes; empty for the address that the session uses.
    pub ip: Vec<u8>,
    /// UDP port.
    pub port: u16,
}

/// The client leaves. The server tells the other peers at once.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// A [`super::Code`]; 0 for an ordinary leave.
    pub code: u16,
}

/// The changes of the roster since the previous version.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterUpdate {
    /// Version of the roster once this update is applied.
    pub version: u32,
    /// New peers.
    pub joined: Vec<Peer>,
    /// Peers that left.
    pub left: Vec<PeerLeft>,
    /// Peers whose presence changed.
    pub changed: Vec<PeerPresence>,
}

/// A peer that left.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PeerLeft {
    /// The peer's number.
    pub peer: u32,
    /// The reason, a [`super::Code`].
    pub code: u16,
}

/// A peer's new presence.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PeerPresence {
    /// The peer's number.
    pub peer: u32,
    /// A bit set, as in [`Peer::presence`].
    pub presence: u8,
}

/// An event, or a piece of a message of the bulk lane, from a client.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EventUp {
    /// The recipients: [`TO_ALL`], [`TO_OTHERS`], [`TO_LISTED`], [`TO_HOST`], [`TO_GROUP`] or, on
    /// the events lane, [`TO_LATER`].
    pub target: u8,
    /// The application's channel, below [`RESERVED_CHANNELS`].
    pub channel: u8,
    /// The piece's place in its message: on the bulk lane the bits [`PIECE_MORE`] and
    /// [`PIECE_CONTINUES`]; 0 on the events lane.
    pub piece: u8,
    /// Peer numbers for [`TO_LISTED`]; a single group number for [`TO_GROUP`].
    pub peers: Vec<u32>,
    /// The application's bytes, opaque to the server.
    pub payload: Vec<u8>,
}

/// The first channel that the protocol reserves: [`RPC_CHANNEL`](super::RPC_CHANNEL),
/// [`TYPED_EVENT_CHANNEL`](super::TYPED_EVENT_CHANNEL), and those for later. The server relays every
/// channel unread.
pub const RESERVED_CHANNELS: u8 = 240;

/// Another piece of the message follows.
pub const PIECE_MORE: u8 = 1;
/// The piece continues the message of the previous piece.
pub const PIECE_CONTINUES: u8 = 2;

/// To every peer in the room, the sender included.
pub const TO_ALL: u8 = 0;
/// To every peer in the room except the sender.
pub const TO_OTHERS: u8 = 1;
/// To the listed peers that are in the room.
pub const TO_LISTED: u8 = 2;
/// To the peer that is the host when the server takes the event.
pub const TO_HOST: u8 = 3;
/// To the peers that subscribe to the group when the server takes the event, except the sender.
pub const TO_GROUP: u8 = 4;
/// To every peer in the room except the sender, and to every peer that joins later.
pub const TO_LATER: u8 = 5;

/// An event, or a piece of a message of the bulk lane, for a client.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EventDown {
    /// The sender's peer id.
    pub peer: u32,
    /// A version of the roster that contains the sender. A client with an older roster waits for
    /// this version before it hands the event to the application.
    pub roster_version: u32,
    /// The event's number in the room. Events and pieces of both lanes share one sequence of
    /// numbers. On each lane, a receiver gets strictly increasing numbers.
    pub sequence: u64,
    /// The application's channel.
    pub channel: u8,
    /// The sender's [`EventUp::piece`].
    pub piece: u8,
    /// The application's bytes, opaque to the server.
    pub payload: Vec<u8>,
}
