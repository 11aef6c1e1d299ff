//! The realtime link that the server has granted to a session.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::rand;
use nucleus_protocol::link::{LinkConfig, LinkSide, Path, Planes, RootSecret, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{
    EXPORTER_LABEL, GRANT_EXPORTER, LinkGrant, RealtimeEndpoint, SessionSettings,
};
use zeroize::Zeroizing;

use super::{LinkError, Session};

impl Session {
    /// Returns the configuration of the realtime link that the server granted.
    ///
    /// Use it for one link only: two links with the same grant would use the same packet numbers
    /// with the same key.
    ///
    /// # Errors
    /// [`LinkError`] if the grant is unusable, or if no key material can be exported.
    pub fn link_config(&self) -> Result<LinkConfig, LinkError> {
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|_| LinkError::Keys)?;
        let SessionSettings { max_body, report_interval_ms, .. } = self.settings;
        let config = LinkConfig {
            side: LinkSide::Client,
            link_id: self.joined.link_id,
            suite: Suite::Aes128Gcm,
            // Nothing is sealed in the session. Keys that nobody else knows open nothing.
            root: RootSecret::new(&seed, None),
            connection_id: ConnectionId([0; 8]),
            spare: ConnectionId([0; 8]),
            path: None,
            planes: self.planes,
            max_body: usize::try_from(max_body)
                .map_or(self.largest_body, |max| max.min(self.largest_body)),
            report_interval: Duration::from_millis(report_interval_ms),
            clock_epoch: 0,
            seed,
        };
        match self.joined.grant.first() {
            _ if self.planes == Planes::SessionOnly => Ok(config),
            Some(grant) => self.with_grant(config, grant),
            None => Err(LinkError::Endpoint),
        }
    }

    /// Completes the configuration of a link that uses the realtime port.
    fn with_grant(&self, config: LinkConfig, grant: &LinkGrant) -> Result<LinkConfig, LinkError> {
        let endpoint = grant.endpoints.first().ok_or(LinkError::Endpoint)?;
        let remote = realtime_address(endpoint, self.connection.remote_address())?;
        let exported = self.exported(grant)?;
        Ok(LinkConfig {
            suite: Suite::from_wire(grant.suite).ok_or(LinkError::Suite(grant.suite))?,
            root: RootSecret::new(&grant.secret, exported.as_deref()),
            connection_id: ConnectionId(grant.connection_id),
            spare: ConnectionId(grant.spare),
            path: Some(Path { remote, local: None }),
            ..config
        })
    }

    /// Exports the keying material of this TLS session, if the grant asks for it.
    fn exported(&self, grant: &LinkGrant) -> Result<Option<Zeroizing<[u8; 32]>>, LinkError> {
        if grant.flags & GRANT_EXPORTER == 0 {
            return Ok(None);
        }
        let mut out = Zeroizing::new([0; 32]);
        let link_id = self.joined.link_id.to_le_bytes();
        self.connection
            .export_keying_material(out.as_mut_slice(), EXPORTER_LABEL, &link_id)
            .map_err(|_| LinkError::Keys)?;
        Ok(Some(out))
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
