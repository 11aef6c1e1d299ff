//! A server's address: host and port, and the addresses of its name.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use idna::AsciiDenyList;

use nucleus_client_core::session::JoinError;

/// Port of the session plane if the address names none.
const DEFAULT_PORT: u16 = 5055;

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
}

/// Returns the addresses of `server`, `host:port`. They are looked up anew at each call.
///
/// # Errors
/// [`JoinError::NoAddress`] if the name has none.
pub(crate) async fn resolve(server: &str) -> Result<ResolvedServer, JoinError> {
    let unresolved = |error: io::Error| JoinError::NoAddress {
        server: server.to_owned(),
        reason: error.to_string(),
    };
    let (host, port) = host_and_port(server).map_err(unresolved)?;
    let host = ascii_name(host).map_err(unresolved)?;
    let found = tokio::net::lookup_host((&*host, port)).await.map_err(unresolved)?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err(unresolved(io::Error::new(io::ErrorKind::NotFound, "no address")));
    }
    // A certificate names an address without its zone.
    let name = host.split('%').next().unwrap_or_default().to_owned();
    Ok(ResolvedServer { name, addresses })
}

/// Returns a host name as name servers and certificates write it: `müller.example` is
/// `xn--mller-kva.example` (IDNA, UTS 46). A name in ASCII stays as it is.
fn ascii_name(host: &str) -> io::Result<Cow<'_, str>> {
    if host.is_ascii() {
        return Ok(host.into());
    }
    idna::domain_to_ascii_cow(host.as_bytes(), AsciiDenyList::URL)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "this is no host name"))
}

/// Splits `host`, `host:port`, `192.0.2.1:port`, `::1` or `[::1]:port` into host and port.
fn host_and_port(server: &str) -> io::Result<(&str, u16)> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason);
    // Without brackets, all of an IPv6 address belongs to the host.
    let is_host = |host: &str| host.starts_with('[') || !host.contains(':');
    let split = server.rsplit_once(':').filter(|(host, _)| is_host(host));
    let (host, port) = match split.filter(|_| !server.ends_with(']')) {
        Some((host, port)) => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, port.ok_or_else(|| invalid("the port must be a number from 1 to 65535"))?)
        }
        None => (server, DEFAULT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(invalid("there is no host name")) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_link_local_address_keeps_its_zone_and_its_name_has_none() {
        let server = resolve("[fe80::1%lo]:5055").await.unwrap();
        assert_eq!(server.name, "fe80::1");
        let has_zone = |address: &std::net::SocketAddr| match address {
            std::net::SocketAddr::V6(address) => address.scope_id() != 0,
            std::net::SocketAddr::V4(_) => false,
        };
        assert!(server.addresses.iter().all(has_zone), "{server:?}");
        assert!(resolve("[fe80::1%no-such-zone]:5055").await.is_err());
    }

    #[test]
    fn names_are_written_in_ascii() {
        assert_eq!(ascii_name("Müller.example").unwrap(), "xn--mller-kva.example");
        assert_eq!(ascii_name("my_host.example").unwrap(), "my_host.example");
        assert_eq!(ascii_name("fe80::1%eth0").unwrap(), "fe80::1%eth0");
        assert!(ascii_name("ü ü").is_err() && ascii_name("\u{202e}ü").is_err());
    }

    #[test]
    fn servers_are_split() {
        for (server, host, port) in [
            ("127.0.0.1:5055", "127.0.0.1", 5055),
            ("127.0.0.1", "127.0.0.1", 5055),
            ("example.com:7", "example.com", 7),
            ("example.com", "example.com", 5055),
            ("::1", "::1", 5055),
            ("[::1]:9", "::1", 9),
            ("[::1]", "::1", 5055),
            ("fe80::1%eth0", "fe80::1%eth0", 5055),
        ] {
            assert_eq!(host_and_port(server).unwrap(), (host, port), "{server}");
        }
        for server in ["", ":5055", "[]:5055", "host:", "host:0", "host:99999", "[::1]:x"] {
            host_and_port(server).expect_err(server);
        }
    }
}
