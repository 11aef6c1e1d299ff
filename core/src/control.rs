//! What the control plane asks of rooms and shards, and what they answer.
//!
//! These types are the whole of the handle between the planes: requests wait in a bounded mailbox, and
//! a room answers when its turn comes. No room and no shard ever waits for the control plane.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::session::Value;
use nucleus_protocol::time::Time;
use thiserror::Error;

use crate::histogram::Histogram;
use crate::ids::{PeerId, ProductKey, RoomInstanceId, RoomKey};
use crate::room_stats::{HeadPose, LiveLinkStats, LivePathStats};
use crate::traffic::{LinkLosses, RoomTraffic};

/// A request of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRequest {
    /// Which rooms there are. The answer is [`ControlReply::Rooms`].
    Rooms(RoomSearch),
    /// What is going on in one room. The answer is [`ControlReply::Room`].
    Room(RoomInstanceId),
    /// The figures of a room's peers. The answer is [`ControlReply::RoomStats`].
    RoomStats(RoomInstanceId),
    /// The figures of a room's peers, with the places of their heads. The answer is
    /// [`ControlReply::RoomPlan`].
    RoomPlan(RoomInstanceId),
    /// The fields of a room in its shared state, which clients call its properties. The answer is
    /// [`ControlReply::Fields`].
    Fields(RoomInstanceId),
    /// Do something to a room. The answer is [`ControlReply::Done`].
    Act(RoomInstanceId, RoomAct),
    /// End all sessions of a tenant's user, in rooms and outside. The answer is [`ControlReply::Done`].
    RemoveUser {
        /// The tenant's name.
        tenant: String,
        /// The user id.
        user: String,
    },
    /// Which calls there are. The answer is [`ControlReply::Calls`].
    Calls {
        /// The tenant's name; `None`: of all tenants.
        tenant: Option<String>,
    },
    /// End a call for everybody. The answer is [`ControlReply::Done`].
    EndCall {
        /// The tenant's name.
        tenant: String,
        /// The number of the call.
        call: u64,
    },
    /// How the server is. The answer is [`ControlReply::Server`].
    Server,
    /// The figures for the series. The answer is [`ControlReply::Figures`].
    Figures,
    /// What a tenant has. The answer is [`ControlReply::Tenant`].
    Tenant {
        /// The tenant's name.
        tenant: String,
    },
    /// Accept no more sessions, and end those that there are, as at a stop. The process ends then. The
    /// answer is [`ControlReply::Done`].
    Drain,
}

/// The answer to a [`ControlRequest`].
#[derive(Clone, Debug, PartialEq)]
pub enum ControlReply {
    /// The rooms that match, at most [`RoomSearch::limit`], and the number of all that match.
    Rooms(Vec<RoomSummary>, usize),
    /// A room with its peers.
    Room(Box<RoomDetail>),
    /// The figures of a room's peers.
    RoomStats(Box<LiveRoomStats>),
    /// The figures of a room's peers, and the newest poses of their heads; `None`: they are not kept.
    RoomPlan(Box<LiveRoomStats>, Option<Vec<HeadPose>>),
    /// A room, and its fields in the order of their keys.
    Fields(Box<RoomSummary>, Vec<RoomProperty>),
    /// The calls of each product of each tenant.
    Calls(Vec<ProductCalls>),
    /// The act was carried out.
    Done,
    /// The figures of the server.
    Server(Box<ServerStatus>),
    /// The figures of the server and of its fullest rooms, for the series.
    Figures(Box<SeriesFigures>),
    /// The figures of a tenant.
    Tenant(TenantStatus),
}

/// Why a request was not carried out. Each text is a whole sentence for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// There is no such live room.
    #[error("there is no such room, or it has ended")]
    NoSuchRoom,
    /// There is no such peer in the room.
    #[error("there is no such peer in the room")]
    NoSuchPeer,
    /// The user is not banned from the room.
    #[error("there is no such ban in the room, or it has ended")]
    NoSuchBan,
    /// There is no such call.
    #[error("there is no such call, or it has ended")]
    NoSuchCall,
    /// The room would have more fields than it may.
    #[error("the room would have more than 64 properties")]
    TooManyFields,
    /// The shared state would be larger than it may.
    #[error("the room's shared state would be larger than the server allows")]
    StateFull,
    /// The room after which the list goes on has ended.
    #[error("the list has changed: begin again at its first page")]
    CursorEnded,
    /// The room's reliable messages have used up its rate.
    #[error("the room has as many messages as it may at the moment: try again")]
    RoomBusy,
    /// The server has too much to do to answer in time.
    #[error("the server has too much to do: try again")]
    Busy,
}

/// Which rooms are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomSearch {
    /// The tenant's name; `None`: of all tenants.
    pub tenant: Option<String>,
    /// A part of the room's name, in any case; empty: all rooms.
    pub text: String,
    /// The order.
    pub order: RoomOrder,
    /// For [`RoomOrder::Loss`]: the loss of each room's worst link, in parts per million, where it is known.
    pub losses: HashMap<RoomInstanceId, u32>,
    /// The room after which the list begins, in this order; `None`: at the first.
    pub after: Option<RoomInstanceId>,
    /// Most rooms in the answer.
    pub limit: usize,
}

/// An order of rooms. Rooms that are equal in it are in the order of tenant, product and name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomOrder {
    /// By tenant, product and name.
    #[default]
    Name,
    /// The fullest first.
    Peers,
    /// The largest of [`RoomSearch::losses`] first. Rooms whose loss is not known come last.
    Loss,
    /// The oldest first.
    Age,
}

/// A live room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// The room instance.
    pub instance: RoomInstanceId,
    /// Tenant, product and name.
    pub key: Arc<RoomKey>,
    /// Number of participants, those included who may still resume.
    pub peers: u32,
    /// Largest number of participants.
    pub capacity: u32,
    /// Whether a moderator or an operator has locked it.
    pub locked: bool,
    /// Whether lobbies leave it out.
    pub hidden: bool,
    /// Whether it stays when it is empty.
    pub kept: bool,
    /// How long it exists.
    pub age: Duration,
    /// The shard that relays its realtime messages.
    pub shard: u16,
}

/// A live room with its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomDetail {
    /// What the list shows of it.
    pub room: RoomSummary,
    /// What is in it.
    pub content: RoomContent,
}

/// What is in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomContent {
    /// The peers, by their numbers.
    pub peers: Vec<PeerSummary>,
    /// Users who may not come back, each with the time until they may.
    pub bans: Vec<(String, Duration)>,
    /// Number of objects in the shared state.
    pub objects: u32,
}

/// A participant of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSummary {
    /// The number in the room.
    pub peer: PeerId,
    /// The user id.
    pub user: String,
    /// The display name.
    pub name: String,
    /// The name of the role.
    pub role: String,
    /// Whether the peer may moderate.
    pub moderator: bool,
    /// Whether the client says or shows that nobody is there.
    pub away: bool,
    /// Whether a moderator or an operator has muted the peer.
    pub muted: bool,
    /// Whether the peer has muted itself.
    pub self_muted: bool,
    /// Whether the session is lost. The peer may still resume.
    pub lost: bool,
    /// Number of sessions that the peer has had, from 1: each further one is a resume.
    pub sessions: u32,
    /// The time since the join. A resume is not a join.
    pub age: Duration,
}

/// The figures of a live room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRoomStats {
    /// What the list shows of the room.
    pub room: RoomSummary,
    /// Whether the room's shard has answered in time. If not, nothing is known of the links.
    pub shard_answered: bool,
    /// The peers, by their numbers.
    pub peers: Vec<LivePeerStats>,
}

/// The figures of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePeerStats {
    /// Who the peer is.
    pub peer: PeerSummary,
    /// Name and version of the client's software, as the client says; `None`: it says nothing, or its
    /// session is lost.
    pub agent: Option<String>,
    /// What QUIC measures of the session; `None`: the session is lost.
    pub session: Option<LivePathStats>,
    /// What the shard counts; `None`: the shard did not answer, or has no link of the peer.
    pub link: Option<LiveLinkStats>,
}

/// The live calls of a product of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductCalls {
    /// Tenant and product.
    pub owner: Arc<ProductKey>,
    /// The calls.
    pub calls: Vec<CallSummary>,
}

/// A live call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSummary {
    /// The number of the call.
    pub call: u64,
    /// The user id of who called.
    pub caller: String,
    /// When the call began, by the server's clock: by it the order of calls is the same in each answer.
    pub started: Time,
    /// How long the call exists.
    pub age: Duration,
    /// The time since the first acceptance; `None`: nobody has accepted yet.
    pub talking: Option<Duration>,
    /// The user ids of the members.
    pub members: Vec<String>,
    /// The user ids of those whose devices ring.
    pub ringing: Vec<String>,
}

/// What an operator does to a room. An operator needs no rights in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomAct {
    /// Ends the room for everybody.
    Close,
    /// Lets nobody else in (true), or again (false).
    Lock(bool),
    /// Leaves it out of lobbies (true), or shows it again (false).
    Hide(bool),
    /// Drops a peer's voice (true), or lets it pass again (false).
    Mute(PeerId, bool),
    /// Sets fields of the room in its shared state, all or none of them. A value of the kind
    /// [`nucleus_protocol::session::value::NONE`] deletes the field. At most
    /// [`nucleus_protocol::limits::MAX_STATE_OPERATIONS`].
    SetFields(Vec<RoomProperty>),
    /// Removes all peers of a user.
    Remove(String),
    /// Removes a peer. With a time, its user may not come back so long: at most
    /// [`nucleus_protocol::limits::MAX_BAN`].
    Kick(PeerId, Duration),
    /// Ends the ban of a user.
    Unban(String),
}

/// A field of a room in its shared state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomProperty {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
}

/// How the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerStatus {
    /// The server's id.
    pub server_id: String,
    /// How long the server runs.
    pub uptime: Duration,
    /// Whether it accepts sessions.
    pub accepts: bool,
    /// Participants of rooms, those included who may still resume, and sessions outside rooms.
    pub sessions: u64,
    /// Most of them at a time.
    pub max_sessions: u64,
    /// Number of live rooms.
    pub rooms: u64,
    /// Each shard, by its number.
    pub shards: Vec<ShardStatus>,
}

/// The figures of the server for the series. Sums are since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesFigures {
    /// What is shown of the server and its shards.
    pub status: ServerStatus,
    /// CPU time that the thread of each shard has used, by the number of the shard.
    pub cpu: Vec<Duration>,
    /// Clients that were admitted: to a room, again to a room, or outside rooms.
    pub joins: u64,
    /// Clients that were refused, or did not say what they want.
    pub failed_joins: u64,
    /// How long the server had each relayed message, µs.
    pub relay_latency: Histogram,
    /// Lost datagrams of each shard, by its number; `None`: the shard did not answer in time.
    pub losses: Vec<Option<LinkLosses>>,
    /// The fullest rooms of the shards that have answered, at most [`TRAFFIC_ROOMS`](crate::traffic::TRAFFIC_ROOMS).
    pub rooms: Vec<RoomTraffic>,
}

/// What a tenant has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantStatus {
    /// Participants of its rooms, those included who may still resume, and its sessions outside rooms.
    pub sessions: u64,
    /// Number of its live rooms.
    pub rooms: u64,
}

/// How a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStatus {
    /// Live links.
    pub links: u64,
    /// Links whose client is on the fallback, QUIC datagrams.
    pub on_fallback: u64,
    /// The current tick.
    pub tick: Duration,
    /// Datagrams that the kernel has dropped since the start.
    pub kernel_drops: u64,
    /// Datagrams received since the start, those inside sessions included.
    pub datagrams_in: u64,
    /// Datagrams sent since the start, those inside sessions included.
    pub datagrams_out: u64,
    /// Bytes of the received datagrams.
    pub bytes_in: u64,
    /// Bytes of the sent datagrams.
    pub bytes_out: u64,
}

/// Returns the rooms of a page of a search, and the number of all that match.
///
/// # Errors
///
/// [`ControlError::CursorEnded`]: nobody can tell where the room of [`RoomSearch::after`] was.
pub fn search_rooms(
    mut rooms: Vec<RoomSummary>,
    search: &RoomSearch,
) -> Result<(Vec<RoomSummary>, usize), ControlError> {
    let text = search.text.to_lowercase();
    rooms.retain(|room| {
        search.tenant.as_ref().is_none_or(|tenant| room.key.owner.tenant == *tenant)
            && (text.is_empty() || room.key.name.to_lowercase().contains(&text))
    });
    rooms.sort_unstable_by(|a, b| {
        let by_order = match search.order {
            RoomOrder::Name => std::cmp::Ordering::Equal,
            RoomOrder::Peers => Reverse(a.peers).cmp(&Reverse(b.peers)),
            RoomOrder::Loss => {
                let loss = |room: &RoomSummary| Reverse(search.losses.get(&room.instance));
                loss(a).cmp(&loss(b))
            }
            RoomOrder::Age => Reverse(a.age).cmp(&Reverse(b.age)),
        };
        by_order.then_with(|| a.key.cmp(&b.key))
    });
    let total = rooms.len();
    let start = match search.after {
        None => 0,
        Some(after) => {
            let at = rooms.iter().position(|room| room.instance == after);
            at.ok_or(ControlError::CursorEnded)? + 1
        }
    };
    Ok((rooms.into_iter().skip(start).take(search.limit).collect(), total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Product;

    fn room(number: u8, tenant: &str, name: &str, peers: u32) -> RoomSummary {
        let owner = ProductKey { tenant: tenant.to_owned(), product: Product::ATOM };
        RoomSummary {
            instance: RoomInstanceId([number; 8]),
            key: Arc::new(owner.room(name)),
            peers,
            capacity: 50,
            locked: false,
            hidden: false,
            kept: false,
            age: Duration::from_secs(u64::from(number)),
            shard: 0,
        }
    }

    fn rooms() -> Vec<RoomSummary> {
        vec![
            room(1, "b", "Lobby", 3),
            room(2, "a", "Class 2", 9),
            room(3, "a", "Class 1", 3),
            room(4, "a", "lobby", 1),
        ]
    }

    fn found(search: &RoomSearch) -> (Vec<u8>, usize) {
        let (rooms, total) = search_rooms(rooms(), search).unwrap();
        (rooms.iter().map(|room| room.instance.0[0]).collect(), total)
    }

    #[test]
    fn rooms_are_found_by_tenant_and_a_part_of_their_names() {
        let all = RoomSearch { limit: 10, ..RoomSearch::default() };
        assert_eq!(found(&all), (vec![3, 2, 4, 1], 4));
        let of_a = RoomSearch { tenant: Some("a".to_owned()), ..all.clone() };
        assert_eq!(found(&of_a), (vec![3, 2, 4], 3));
        let lobbies = RoomSearch { text: "LOBB".to_owned(), ..all };
        assert_eq!(found(&lobbies), (vec![4, 1], 2));
    }

    #[test]
    fn each_order_has_pages() {
        for (order, expected) in [
            (RoomOrder::Name, [3, 2, 4, 1]),
            (RoomOrder::Peers, [2, 3, 1, 4]),
            // That of 2 is not known.
            (RoomOrder::Loss, [4, 3, 1, 2]),
            (RoomOrder::Age, [4, 3, 2, 1]),
        ] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let losses = [(1, 0), (3, 700), (4, 30_000)];
                let losses = losses.map(|(room, loss)| (RoomInstanceId([room; 8]), loss)).into();
                let search = RoomSearch { order, losses, after, limit: 3, ..RoomSearch::default() };
                let (page, total) = found(&search);
                assert_eq!(total, 4);
                let Some(last) = page.last() else { break };
                after = Some(RoomInstanceId([*last; 8]));
                seen.extend(page);
            }
            assert_eq!(seen, expected, "{order:?}");
        }
        let ended = Some(RoomInstanceId([9; 8]));
        let gone = RoomSearch { after: ended, limit: 3, ..RoomSearch::default() };
        assert_eq!(search_rooms(rooms(), &gone), Err(ControlError::CursorEnded));
    }
}
