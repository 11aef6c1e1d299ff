//! The session plane: QUIC and WebTransport on UDP 5055. Handles a session from its first packet to its end.

mod accept;
mod admission;
mod carrier;
mod fallback;
mod fault;
mod handshake;
mod ingress_limits;
mod joined;
mod joins;
mod lanes;
mod peer;
pub mod quic;
mod refusal;
mod room_lists;
mod servers;
mod social;
mod unjoined;
mod webtransport;
mod wire;
mod writer;

pub use accept::accept;
pub use joins::{JoinFigures, JoinOutcome};
pub use servers::ServerEndpoints;
pub use unjoined::Unjoined;
pub use webtransport::{ALPN as WEB_ALPN, ClosingPages};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nucleus_control::issuers::FreshKeys;
use nucleus_core::limits::Limits;
use nucleus_core::origins::Origins;
use nucleus_net::Clock;
use nucleus_protocol::session::{Code, Features};
use tokio::sync::Semaphore;

use crate::rooms::{BudgetStore, RoomDirectory, SocialDirectory, TicketKey};
use crate::token::TokenVerifier;
use quic::Handshakes;

/// The state that all sessions share.
pub struct SessionContext {
    /// Checks join tokens.
    pub verifier: TokenVerifier,
    /// Seals and opens resume tickets.
    pub tickets: Arc<TicketKey>,
    /// Finds and makes rooms.
    pub directory: Arc<RoomDirectory>,
    /// Has the keys of tenants' issuers fetched again.
    pub fresh_keys: FreshKeys,
    /// Finds and makes the tasks of the users outside rooms.
    pub social_directory: Arc<SocialDirectory>,
    /// The server's clock.
    pub clock: Clock,
    /// The server id, which tokens name as their audience and `Welcome` carries.
    pub server_id: String,
    /// The servers that clients are told of.
    pub servers: ServerEndpoints,
    /// The web pages that may hold sessions.
    pub origins: Origins,
    /// The sessions of browsers that are being closed.
    pub closing_pages: ClosingPages,
    /// The features that the server offers.
    pub features: Features,
    /// Whether the server shuts down. Joins are refused then.
    pub shutting_down: AtomicBool,
    /// Port of the realtime plane.
    pub realtime_port: u16,
    /// The server's limits.
    pub limits: Limits,
    /// The places of connections that have not joined.
    pub unjoined: Arc<Unjoined>,
    /// One permit for each participant of a room, and for each session outside rooms.
    pub joined: Arc<Semaphore>,
    /// One permit for each joined session with the full receive window.
    pub full_windows: Arc<Semaphore>,
    /// The budgets of sessions that have ended.
    pub budgets: Arc<BudgetStore>,
    /// The threads that compute TLS handshakes.
    pub handshakes: Handshakes,
    /// The counters for `/metrics`.
    pub counters: SessionCounters,
}

/// The counters of the session plane.
#[derive(Default)]
pub struct SessionCounters {
    /// Connection attempts.
    pub attempts: AtomicU64,
    /// Connection attempts refused at once, because there were too many unjoined sessions.
    pub turned_away: AtomicU64,
    /// Connection attempts refused at once, because their network had its share of the places.
    pub over_network_share: AtomicU64,
    /// TLS handshakes that failed, and connections of browsers that broke HTTP/3.
    pub failed_handshakes: AtomicU64,
    /// Browsers that were refused a session for their page's origin or for the path.
    pub pages_refused: AtomicU64,
    /// How joins ended, and how long they took.
    pub joins: JoinFigures,
    /// Refused and ended sessions, by the position of their code in [`Code::ALL`].
    ended: CodeCounters,
    /// Events received from clients.
    pub events_in: AtomicU64,
    /// Events written to clients.
    pub events_out: AtomicU64,
    /// Pieces of the bulk lane received from clients.
    pub bulk_in: AtomicU64,
    /// Pieces of the bulk lane written to clients.
    pub bulk_out: AtomicU64,
    /// Datagrams of clients on the fallback over the rate of their link.
    pub datagrams_over_rate: AtomicU64,
    /// Requests for changes of a room's shared state received from clients.
    pub state_in: AtomicU64,
    /// Snapshots and updates of the shared state written to clients.
    pub state_out: AtomicU64,
}

/// A counter for each code. Implements `Default` by hand, because the standard library does so only
/// for shorter arrays.
struct CodeCounters([AtomicU64; Code::ALL.len()]);

impl Default for CodeCounters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Code::ALL.len()])
    }
}

impl SessionCounters {
    /// Counts a session that was refused or has ended with `code`.
    pub fn count_end(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|c| *c == code) {
            self.ended.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many sessions were refused or ended with each code.
    pub fn by_code(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = self.ended.0.iter().map(|count| count.load(Ordering::Relaxed));
        Code::ALL.iter().copied().zip(counts)
    }
}
