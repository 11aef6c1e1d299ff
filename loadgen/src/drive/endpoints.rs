//! The QUIC endpoints of a run's clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::{Endpoint, EndpointConfig, TokioRuntime};

use super::context::RunContext;
use super::sim_socket::SimSocket;

/// Clients that share a QUIC endpoint where no network is simulated.
const CLIENTS_PER_ENDPOINT: u32 = 50;

/// The QUIC endpoints of clients that join one after the other. Where a network is simulated, each
/// client has its own. Otherwise several clients share one: a socket for each would cost the
/// generator CPU time and would not change the results.
#[derive(Default)]
pub(super) struct SharedEndpoints {
    newest: Option<Endpoint>,
    clients: u32,
}

impl SharedEndpoints {
    /// Returns the endpoint of the next client, which has the number `headset`.
    ///
    /// # Errors
    ///
    /// If no socket can be opened.
    pub(super) async fn next(
        &mut self,
        context: &RunContext,
        headset: u32,
    ) -> std::io::Result<Endpoint> {
        let is_full = self.clients.is_multiple_of(CLIENTS_PER_ENDPOINT);
        self.clients += 1;
        if is_full || context.plan.network.is_some() {
            self.newest = None;
        }
        match &self.newest {
            Some(newest) => Ok(newest.clone()),
            None => Ok(self.newest.insert(open(context, headset).await?).clone()),
        }
    }
}

/// Opens a QUIC endpoint for a headset, or for several headsets. If a network is simulated, the
/// endpoint uses the network of `headset`.
///
/// # Errors
///
/// If no socket can be opened.
pub(super) async fn open(context: &RunContext, headset: u32) -> std::io::Result<Endpoint> {
    let ip = match context.target.address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut config = EndpointConfig::default();
    config.grease_quic_bit(false);
    let runtime = Arc::new(TokioRuntime);
    let Some(conditions) = &context.plan.network else {
        let socket = std::net::UdpSocket::bind((ip, 0))?;
        return Endpoint::new(config, None, socket, runtime);
    };
    let socket = SimSocket::bind(ip, conditions, &context.plan, &context.shared, headset).await?;
    Endpoint::new_with_abstract_socket(config, None, Arc::new(socket), runtime)
}
