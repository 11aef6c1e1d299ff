//! The realtime link that a server has granted to a session.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::limits::MAX_ENDPOINTS;
use nucleus_protocol::link::{LinkConfig, LinkSide, Path, Planes, RootSecret, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{
    GRANT_EXPORTER, Joined, LinkGrant, RealtimeEndpoint, SessionSettings,
};
use nucleus_protocol::time::Time;

use crate::realtime::JoinedClock;
use crate::session::LinkError;

/// The grant of a realtime link. Use it for one link only: two links with the same grant would use
/// the same packet numbers with the same key.
#[derive(Clone)]
pub struct GrantedLink {
    /// This client's slot in its room.
    pub slot: u16,
    link_id: u32,
    planes: Planes,
    max_body: usize,
    report_interval: Duration,
    grant: Option<LinkGrant>,
    clock: JoinedClock,
}

impl GrantedLink {
    /// `now` is when the answer of the server has arrived.
    pub(super) fn new(
        now: Time,
        joined: &Joined,
        settings: &SessionSettings,
        planes: Planes,
        largest_body: usize,
    ) -> Self {
        let max_body = usize::try_from(settings.max_body);
        Self {
            slot: joined.slot,
            link_id: joined.link_id,
            planes,
            max_body: max_body.map_or(largest_body, |max| max.min(largest_body)),
            report_interval: Duration::from_millis(settings.report_interval_ms),
            clock: JoinedClock {
                at: now,
                server_time: Time::from_micros(joined.server_time),
                epoch: joined.clock_epoch,
            },
            grant: joined.grant.first().cloned().filter(|_| planes != Planes::SessionOnly),
        }
    }

    /// Returns what the server has said of its clock.
    pub fn clock(&self) -> JoinedClock {
        self.clock
    }

    /// Returns the other paths that the server has named, for [`Link::add_path`]: those of the same
    /// address family as `first`, because a client's socket has one.
    ///
    /// [`Link::add_path`]: nucleus_protocol::link::Link::add_path
    pub fn other_paths(&self, server: SocketAddr, first: SocketAddr) -> Vec<Path> {
        let endpoints = self.grant.iter().flat_map(|grant| &grant.endpoints).skip(1);
        let remotes = endpoints.filter_map(|endpoint| realtime_address(endpoint, server).ok());
        let fitting = remotes.filter(|remote| remote.is_ipv4() == first.is_ipv4());
        fitting.take(MAX_ENDPOINTS).map(|remote| Path { remote, local: None }).collect()
    }

    /// Returns the context with which the caller must export keying material from TLS, under
    /// [`nucleus_protocol::session::EXPORTER_LABEL`]. `None`: the link needs none.
    pub fn exporter_context(&self) -> Option<[u8; 4]> {
        let needs_it = |grant: &LinkGrant| grant.flags & GRANT_EXPORTER != 0;
        self.grant.as_ref().is_some_and(needs_it).then(|| self.link_id.to_le_bytes())
    }

    /// Returns the configuration of the link. `server` is the session's address, `seed` is random,
    /// and `exported` is the keying material that [`Self::exporter_context`] asks for.
    ///
    /// # Errors
    /// [`LinkError`] if the grant is unusable.
    pub fn config(
        &self,
        server: SocketAddr,
        seed: [u8; 32],
        exported: Option<&[u8; 32]>,
    ) -> Result<LinkConfig, LinkError> {
        let config = LinkConfig {
            side: LinkSide::Client,
            link_id: self.link_id,
            suite: Suite::Aes128Gcm,
            // Nothing is sealed in the session. Keys that nobody else knows open nothing.
            root: RootSecret::new(&seed, None),
            connection_id: ConnectionId([0; 8]),
            spare: ConnectionId([0; 8]),
            path: None,
            planes: self.planes,
            max_body: self.max_body,
            report_interval: self.report_interval,
            clock_epoch: 0,
            seed,
        };
        let grant = match &self.grant {
            _ if self.planes == Planes::SessionOnly => return Ok(config),
            Some(grant) => grant,
            None => return Err(LinkError::Endpoint),
        };
        let endpoint = grant.endpoints.first().ok_or(LinkError::Endpoint)?;
        let remote = realtime_address(endpoint, server)?;
        Ok(LinkConfig {
            suite: Suite::from_wire(grant.suite).ok_or(LinkError::Suite(grant.suite))?,
            root: RootSecret::new(&grant.secret, exported),
            connection_id: ConnectionId(grant.connection_id),
            spare: ConnectionId(grant.spare),
            path: Some(Path { remote, local: None }),
            ..config
        })
    }
}

/// Returns the address of the realtime plane. An endpoint without an IP address has the address of
/// the session, including the zone that a link-local address needs.
fn realtime_address(
    endpoint: &RealtimeEndpoint,
    session: SocketAddr,
) -> Result<SocketAddr, LinkError> {
    let mut address = session;
    if !endpoint.ip.is_empty() {
        let v4 = <[u8; 4]>::try_from(&endpoint.ip[..]).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(&endpoint.ip[..]).map(IpAddr::from);
        address = SocketAddr::new(v4.or(v6).map_err(|_| LinkError::Endpoint)?, 0);
    }
    // Write ::ffff:192.0.2.1 as 192.0.2.1.
    address.set_ip(address.ip().to_canonical());
    address.set_port(endpoint.port);
    if endpoint.port == 0 { Err(LinkError::Endpoint) } else { Ok(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realtime_addresses() {
        let session: SocketAddr = "[fe80::1%3]:5055".parse().unwrap();
        let address = |ip: &[u8], port| {
            realtime_address(&RealtimeEndpoint { ip: ip.to_vec(), port }, session)
        };
        assert_eq!(address(&[], 5056), Ok("[fe80::1%3]:5056".parse().unwrap()));
        assert_eq!(address(&[192, 0, 2, 1], 7), Ok("192.0.2.1:7".parse().unwrap()));
        let mapped = "192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped();
        assert_eq!(address(&mapped.octets(), 7), Ok("192.0.2.1:7".parse().unwrap()));
        assert_eq!(address(&[1, 2, 3], 7), Err(LinkError::Endpoint));
        assert_eq!(address(&[], 0), Err(LinkError::Endpoint));
    }
}
