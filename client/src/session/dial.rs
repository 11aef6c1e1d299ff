//! Connects to the first of a server's addresses that answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nucleus_client_core::session::{AddressRace, JoinError};
use nucleus_protocol::time::Time;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::end::connection_end;
use super::reachable::{self, unspecified};
use crate::address::{ResolvedServer, resolve};
use crate::until::until;

/// The sockets of a client's sessions.
#[derive(Clone, Debug)]
pub enum SessionSockets {
    /// All sessions share one endpoint.
    Shared(quinn::Endpoint),
    /// Each try has a socket of its own. While a device sleeps, its operating system may close the
    /// old one.
    New,
}

impl SessionSockets {
    fn for_address(&self, server: SocketAddr) -> Result<quinn::Endpoint, JoinError> {
        if let SessionSockets::Shared(endpoint) = self {
            return Ok(endpoint.clone());
        }
        reachable::check(server)?;
        quinn::Endpoint::client(unspecified(server))
            .map_err(|error| JoinError::Unreachable { server, reason: error.to_string() })
    }
}

/// Longest lookup of a name whose addresses are known from before.
const KNOWN_LOOKUP: Duration = Duration::from_secs(3);
/// Longest lookup of another name. The resolvers of operating systems ask another name server after
/// five seconds.
const FIRST_LOOKUP: Duration = Duration::from_secs(9);

/// How the names of servers become addresses.
#[derive(Clone)]
pub enum ServerNames {
    /// The system looks up a name anew at each try. If it finds no address now, the addresses of
    /// the last time are used: a name service may fail too.
    LookedUp(LastLookup),
    /// The function returns the addresses, at each try.
    By(Arc<Lookup>),
}

/// Returns the addresses of a server, `host:port`.
pub type Lookup = dyn Fn(&str) -> Result<ResolvedServer, JoinError> + Send + Sync;

/// The name that was looked up last, with its addresses.
#[derive(Clone, Debug, Default)]
pub struct LastLookup(Arc<Mutex<Option<(String, ResolvedServer)>>>);

impl Default for ServerNames {
    fn default() -> Self {
        ServerNames::LookedUp(LastLookup::default())
    }
}

impl ServerNames {
    /// Every name has these addresses.
    pub fn fixed(server: ResolvedServer) -> Self {
        ServerNames::By(Arc::new(move |_| Ok(server.clone())))
    }

    /// Returns the addresses of `server`, `host:port`.
    ///
    /// # Errors
    /// [`JoinError::NoAddress`].
    pub(super) async fn resolve(&self, server: &str) -> Result<ResolvedServer, JoinError> {
        let last = match self {
            ServerNames::By(lookup) => return lookup(server),
            ServerNames::LookedUp(last) => last,
        };
        let is_known = || {
            let last = last.0.lock().unwrap_or_else(PoisonError::into_inner);
            last.as_ref().is_some_and(|(name, _)| name == server)
        };
        let patience = if is_known() { KNOWN_LOOKUP } else { FIRST_LOOKUP };
        let found = timeout(patience, resolve(server)).await.unwrap_or_else(|_| {
            let reason = "the name service does not answer".to_owned();
            Err(JoinError::NoAddress { server: server.to_owned(), reason })
        });
        let mut last = last.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (found, &*last) {
            (Ok(resolved), _) => {
                *last = Some((server.to_owned(), resolved.clone()));
                Ok(resolved)
            }
            (Err(_), Some((name, resolved))) if name == server => Ok(resolved.clone()),
            (Err(error), _) => Err(error),
        }
    }
}

/// The endpoint of a client's newest session.
#[derive(Clone)]
pub(crate) struct CurrentEndpoint(Arc<Mutex<quinn::Endpoint>>);

impl CurrentEndpoint {
    pub(crate) fn new(endpoint: quinn::Endpoint) -> Self {
        Self(Arc::new(Mutex::new(endpoint)))
    }

    pub(crate) fn get(&self) -> quinn::Endpoint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, endpoint: quinn::Endpoint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }
}

/// A QUIC connection, the endpoint that it uses, and its control stream.
pub(super) struct DialedConnection {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) connection: quinn::Connection,
    pub(super) control: (quinn::SendStream, quinn::RecvStream),
}

/// Connects to the first of the addresses that answers. The others are given up.
///
/// # Errors
/// The first error, if no address answers.
pub(super) async fn dial(
    sockets: &SessionSockets,
    config: &quinn::ClientConfig,
    server: &ResolvedServer,
) -> Result<DialedConnection, JoinError> {
    let begun = Instant::now();
    let now = || Time::ZERO + begun.elapsed();
    let mut race = AddressRace::new(now(), &server.addresses);
    let (mut tries, mut first_error) = (JoinSet::new(), None);
    while !race.is_lost() {
        if let Some(address) = race.poll(now()) {
            match start(sockets, config.clone(), address, &server.name) {
                Ok((endpoint, connecting)) => {
                    tries.spawn(async move { (endpoint, address, connecting.await) });
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    race.failed(now());
                }
            }
            continue;
        }
        let next_start = race.deadline().map(|at| begun + at.since(Time::ZERO));
        tokio::select! {
            Some(ended) = tries.join_next() => {
                match ended {
                    Ok((endpoint, address, Ok(connection))) => {
                        return open_control(endpoint, connection, address).await;
                    }
                    Ok((_, address, Err(error))) => {
                        first_error
                            .get_or_insert_with(|| connection_end(error).into_join_error(address));
                    }
                    // The task panicked.
                    Err(_) => {}
                }
                race.failed(now());
            }
            () = until(next_start) => {}
        }
    }
    Err(first_error.unwrap_or(JoinError::Options("the server has no address")))
}

async fn open_control(
    endpoint: quinn::Endpoint,
    connection: quinn::Connection,
    server: SocketAddr,
) -> Result<DialedConnection, JoinError> {
    let lost = |error| connection_end(error).into_join_error(server);
    let control = connection.open_bi().await.map_err(lost)?;
    Ok(DialedConnection { endpoint, connection, control })
}

fn start(
    sockets: &SessionSockets,
    config: quinn::ClientConfig,
    address: SocketAddr,
    name: &str,
) -> Result<(quinn::Endpoint, quinn::Connecting), JoinError> {
    let endpoint = sockets.for_address(address)?;
    let connecting = endpoint.connect_with(config, address, name);
    Ok((endpoint, connecting.map_err(|error| JoinError::Connect(error.to_string()))?))
}
