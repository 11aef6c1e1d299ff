//! What the API says of the figures of a live room.

use std::time::Duration;

use nucleus_core::control::{LivePeerStats, LiveRoomStats};
use serde::Serialize;
use utoipa::ToSchema;

use crate::room_id::{PeerAddress, RoomAddress};

/// The figures of a live room. What was not measured is null, never 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct LiveRoomFigures {
    /// The room's id.
    id: String,
    /// The tenant's name.
    tenant: String,
    /// The product.
    product: String,
    /// The name that clients join by.
    name: String,
    /// How long the room exists, in seconds.
    age_seconds: u64,
    /// The number of the shard that relays the room's realtime messages.
    shard: u16,
    /// Whether this shard has answered in time. If not, nothing is known of the links.
    shard_answered: bool,
    /// Over all peers that are there now.
    total: LiveRoomTotals,
    /// The peers.
    peers: Vec<LivePeerFigures>,
}

/// The figures of all peers of a room together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
struct LiveRoomTotals {
    /// Participants, those included that may still resume.
    peers: usize,
    /// Peers whose realtime messages go through UDP 5056.
    on_realtime: usize,
    /// Peers whose realtime messages go through QUIC instead.
    on_fallback: usize,
    /// Peers whose voice is relayed.
    speaking: usize,
    /// Peers that seem to have nobody there.
    away: usize,
    /// Realtime datagrams from the clients; this and the sums below are null if nothing is known of any peer.
    datagrams_in: Option<u64>,
    /// Realtime datagrams to the clients.
    datagrams_out: Option<u64>,
    /// Bytes of the realtime datagrams from the clients.
    bytes_in: Option<u64>,
    /// Bytes of the realtime datagrams to the clients.
    bytes_out: Option<u64>,
    /// Messages that were not sent because the receivers' budgets were used up.
    withheld: Option<u64>,
    /// The largest `loss_in_ppm` of a peer; null: that of no peer is known.
    worst_loss_in_ppm: Option<u32>,
    /// The largest `loss_out_ppm` of a peer; null: that of no peer is known.
    worst_loss_out_ppm: Option<u32>,
}

/// The figures of one peer. Counts begin with its join and go on over its resumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct LivePeerFigures {
    /// The peer's id, for `peers/{id}`.
    id: String,
    /// The user id.
    user: String,
    /// The display name.
    name: String,
    /// Name and version of the client's software, as the client says in its handshake.
    client: Option<String>,
    /// The time since the join, in seconds, as the room counts it.
    age_seconds: u64,
    /// Whether nobody seems to be there: the client says so, or nothing comes from it.
    away: bool,
    /// Whether the session is lost. The peer may still resume.
    lost: bool,
    /// The plane of the realtime messages, `realtime` (UDP 5056) or `fallback` (through QUIC), as the client
    /// chooses it.
    plane: Option<RealtimePlane>,
    /// Whether the shard has relayed voice of the peer within the last 500 ms.
    speaking: Option<bool>,
    /// The smoothed round trip of the session, in microseconds, as QUIC measures it in the server. The path
    /// over UDP 5056 may have another one, which only the client knows.
    rtt_us: Option<u64>,
    /// By how much datagrams to the client come later than the fastest one, in the mean, in microseconds:
    /// measured by the client over its newest report.
    jitter_us: Option<u64>,
    /// Lost datagrams of the client on UDP 5056, in parts per million, as the shard counts them.
    loss_in_ppm: Option<u32>,
    /// Lost datagrams of the server on UDP 5056, in parts per million, as the client reports them for its
    /// present link.
    loss_out_ppm: Option<u32>,
    /// Lost packets of the server in the present session, in parts per million, as QUIC counts them.
    session_loss_ppm: Option<u32>,
    /// Realtime datagrams from the client, as the shard counts them.
    datagrams_in: Option<u64>,
    /// Realtime datagrams to the client.
    datagrams_out: Option<u64>,
    /// Bytes of the realtime datagrams from the client.
    bytes_in: Option<u64>,
    /// Bytes of the realtime datagrams to the client.
    bytes_out: Option<u64>,
    /// Messages that were not sent because the client's budget was used up.
    withheld: Option<u64>,
}

/// The plane of a peer's realtime messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RealtimePlane {
    /// UDP 5056.
    Realtime,
    /// QUIC datagrams inside the session.
    Fallback,
}

impl LiveRoomFigures {
    /// Translates what the planes answer.
    pub(super) fn new(stats: &LiveRoomStats) -> Self {
        let address = RoomAddress(stats.room.instance);
        let peers: Vec<_> =
            stats.peers.iter().map(|peer| LivePeerFigures::new(address, peer)).collect();
        let owner = &stats.room.key.owner;
        Self {
            id: address.to_string(),
            tenant: owner.tenant.clone(),
            product: owner.product.name().to_owned(),
            name: stats.room.key.name.clone(),
            age_seconds: stats.room.age.as_secs(),
            shard: stats.room.shard,
            shard_answered: stats.shard_answered,
            total: LiveRoomTotals::new(&peers),
            peers,
        }
    }
}

impl LiveRoomTotals {
    fn new(peers: &[LivePeerFigures]) -> Self {
        let count = |is: fn(&LivePeerFigures) -> bool| peers.iter().filter(|peer| is(peer)).count();
        let sum = |of: fn(&LivePeerFigures) -> Option<u64>| match peers {
            [] => Some(0),
            some => some.iter().filter_map(of).reduce(u64::saturating_add),
        };
        Self {
            peers: peers.len(),
            on_realtime: count(|peer| peer.plane == Some(RealtimePlane::Realtime)),
            on_fallback: count(|peer| peer.plane == Some(RealtimePlane::Fallback)),
            speaking: count(|peer| peer.speaking == Some(true)),
            away: count(|peer| peer.away),
            datagrams_in: sum(|peer| peer.datagrams_in),
            datagrams_out: sum(|peer| peer.datagrams_out),
            bytes_in: sum(|peer| peer.bytes_in),
            bytes_out: sum(|peer| peer.bytes_out),
            withheld: sum(|peer| peer.withheld),
            worst_loss_in_ppm: peers.iter().filter_map(|peer| peer.loss_in_ppm).max(),
            worst_loss_out_ppm: peers.iter().filter_map(|peer| peer.loss_out_ppm).max(),
        }
    }
}

impl LivePeerFigures {
    fn new(room: RoomAddress, stats: &LivePeerStats) -> Self {
        let LivePeerStats { peer, agent, session, link } = stats;
        let plane = |on_fallback| match on_fallback {
            true => RealtimePlane::Fallback,
            false => RealtimePlane::Realtime,
        };
        Self {
            id: PeerAddress { room, peer: peer.peer }.to_string(),
            user: peer.user.clone(),
            name: peer.name.clone(),
            client: agent.clone(),
            age_seconds: peer.age.as_secs(),
            away: peer.away,
            lost: peer.lost,
            // A client whose session is lost is on no plane and says nothing.
            plane: link.filter(|_| !peer.lost).and_then(|link| link.on_fallback).map(plane),
            speaking: link.map(|link| link.speaking && !peer.lost),
            rtt_us: session.and_then(|session| session.rtt).map(micros),
            jitter_us: link.and_then(|link| link.jitter).map(micros),
            loss_in_ppm: link.and_then(|link| link.loss_in_ppm),
            loss_out_ppm: link.and_then(|link| link.loss_out_ppm),
            session_loss_ppm: session.and_then(|session| session.loss_ppm),
            datagrams_in: link.map(|link| link.datagrams_in),
            datagrams_out: link.map(|link| link.datagrams_out),
            bytes_in: link.map(|link| link.bytes_in),
            bytes_out: link.map(|link| link.bytes_out),
            withheld: link.map(|link| link.withheld),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
