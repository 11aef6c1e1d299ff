//! The session plane: QUIC on UDP 5055, from the first packet to a joined peer and its end.

mod accept;
mod admission;
mod handshake;
mod ingress_limits;
mod lanes;
mod peer;
pub mod quic;
mod refusal;
mod room_lists;
mod social;
mod wire;

pub use accept::accept;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nucleus_core::limits::Limits;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use tokio::sync::Semaphore;

use crate::rooms::{Directory, SocialDirectory, TicketKey};
use crate::token::TokenVerifier;
use quic::Handshakes;

/// What every session needs to know.
pub struct SessionContext {
    /// Checks join tokens.
    pub verifier: TokenVerifier,
    /// Seals and opens resume tickets.
    pub tickets: Arc<TicketKey>,
    /// Tells this run of the server from others.
    pub server_instance: u32,
    /// Finds and makes rooms.
    pub directory: Arc<Directory>,
    /// The users outside rooms.
    pub social_directory: Arc<SocialDirectory>,
    /// The one clock.
    pub clock: Clock,
    /// What tokens name as their audience, told in `Welcome`.
    pub server_id: String,
    /// Port of the realtime plane.
    pub realtime_port: u16,
    /// The server's bounds.
    pub limits: Limits,
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
