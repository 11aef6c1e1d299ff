//! The session plane: QUIC on UDP 5055, from the first packet to a joined peer and its end.

mod canonical;
pub mod endpoint;
mod hall;
mod handshake;
mod intake;
mod lanes;
pub mod outgoing;
mod peer;
pub mod queue;
mod rooms;
pub mod runtime;
pub mod ticket;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use tokio::sync::Semaphore;

use crate::directory::Directory;
use crate::hall::registry::Halls;
use crate::token::Verifier;
use runtime::Handshakes;
use ticket::TicketKey;

/// What a peer may send, on average a second; more than that waits, and the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRates {
    /// Reliable events.
    pub events: u32,
    /// Bytes of them.
    pub event_bytes: u32,
    /// Bytes of the bulk lane.
    pub bulk_bytes: u32,
    /// Requests: changes of the shared state, moderation, groups.
    pub requests: u32,
    /// Realtime messages; more are dropped.
    pub messages: u32,
}

/// What every session needs to know.
pub struct SessionContext {
    /// Checks join tokens.
    pub verifier: Verifier,
    /// Seals and opens resume tickets.
    pub tickets: Arc<TicketKey>,
    /// Tells this run of the server from others.
    pub run: u32,
    /// Finds and makes rooms.
    pub directory: Arc<Directory>,
    /// Finds and makes halls.
    pub halls: Arc<Halls>,
    /// The one clock.
    pub clock: Clock,
    /// What tokens name as their audience, told in `Welcome`.
    pub server_id: String,
    /// Port of the realtime plane.
    pub realtime_port: u16,
    /// The longest that a room may outlive its last peer.
    pub empty_room_ttl: Duration,
    /// How fast a peer's streams are read.
    pub rates: PeerRates,
    /// Time from the first packet to the join.
    pub unjoined_timeout: Duration,
    /// Places for sessions that have not joined.
    pub unjoined: Arc<Semaphore>,
    /// Places for joined ones.
    pub joined: Arc<Semaphore>,
    /// Where TLS is worked out.
    pub handshakes: Handshakes,
    /// What is counted.
    pub counters: SessionCounters,
}

/// What the session plane counts.
#[derive(Default)]
pub struct SessionCounters {
    /// Connection attempts.
    pub attempts: AtomicU64,
    /// Attempts turned away before any work because too many sessions were unjoined.
    pub turned_away: AtomicU64,
    /// TLS handshakes that failed.
    pub failed_handshakes: AtomicU64,
    /// Joins, resumes among them.
    pub joins: AtomicU64,
    /// Resumes.
    pub resumes: AtomicU64,
    /// Sessions that entered without joining a room.
    pub enters: AtomicU64,
    /// Refusals and ends, by the position of their code in [`Code::ALL`].
    ended: ByCode,
    /// Events taken from clients.
    pub events_in: AtomicU64,
    /// Events written to clients.
    pub events_out: AtomicU64,
    /// Pieces of the bulk lane taken from clients.
    pub bulk_in: AtomicU64,
    /// Pieces written to clients.
    pub bulk_out: AtomicU64,
    /// Requests for changes of a room's shared state taken from clients.
    pub state_in: AtomicU64,
    /// Snapshots and updates of it written to clients.
    pub state_out: AtomicU64,
}

/// A count for each code. There are more of them than the standard library's arrays have defaults for.
struct ByCode([AtomicU64; Code::ALL.len()]);

impl Default for ByCode {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Code::ALL.len()])
    }
}

impl SessionCounters {
    /// A session was refused or ended.
    pub fn ended(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|c| *c == code) {
            self.ended.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each code was given.
    pub fn by_code(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = self.ended.0.iter().map(|count| count.load(Ordering::Relaxed));
        Code::ALL.iter().copied().zip(counts)
    }
}
