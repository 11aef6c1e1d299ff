//! Connects to the first of a server's addresses that answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nucleus_client_core::session::{AddressRace, JoinError};
use nucleus_protocol::time::Time;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::error::lost;
use crate::until::until;

/// A server with the addresses of its name.
#[derive(Clone, Debug)]
pub struct ResolvedServer {
    /// The name in the server's certificate; not checked if the client trusts a pin.
    pub name: String,
    /// The addresses of the session plane, at least one.
    pub addresses: Vec<SocketAddr>,
}

impl ResolvedServer {
    /// Returns the address that an error names.
    pub(crate) fn first(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or(([0; 4], 0).into())
    }

    /// Returns how long a connection to the last of the addresses may start after the first.
    pub(super) fn spread(&self) -> Duration {
        AddressRace::longest(self.addresses.len())
    }
}

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
        let unreachable =
            |error: std::io::Error| JoinError::Unreachable { server, reason: error.to_string() };
        // QUIC would repeat its packets in silence where the system knows no route.
        UdpSocket::bind(unspecified(server))
            .and_then(|socket| socket.connect(server))
            .map_err(unreachable)?;
        quinn::Endpoint::client(unspecified(server)).map_err(unreachable)
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

/// A QUIC connection and the endpoint that it uses.
pub(super) struct DialedConnection {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) connection: quinn::Connection,
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
                    Ok((endpoint, _, Ok(connection))) => {
                        return Ok(DialedConnection { endpoint, connection });
                    }
                    Ok((_, address, Err(error))) => {
                        first_error.get_or_insert(lost(error, address));
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

/// Returns the unspecified local address of the same address family as `remote`, with port 0.
pub(crate) fn unspecified(remote: SocketAddr) -> SocketAddr {
    let ip = match remote.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}
