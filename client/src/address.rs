//! A server's address: host and port, and the addresses of its name.

use std::net::{IpAddr, SocketAddr};

use crate::servers::ReturnServers;
use crate::session::ConnectError;

/// Port of the session plane if the address names none.
const DEFAULT_PORT: u16 = 5055;
/// How many addresses of the server's name the client tries. Each may take 10 s, and a user does
/// not wait for more than two.
const MAX_ADDRESSES: usize = 2;

/// Returns at most [`MAX_ADDRESSES`] addresses of `host`. The error text contains `server`.
pub(crate) async fn resolve(
    server: &str,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let source = |source| ConnectError::Resolve { server: server.to_owned(), source };
    Ok(found.map_err(source)?.take(MAX_ADDRESSES).collect())
}

/// Returns the address and the host name of the next try. Resolves the name anew; each round uses
/// another of its addresses. Skips a name that has no address now. `None`: no name has one.
pub(crate) async fn next_address(servers: &mut ReturnServers) -> Option<(SocketAddr, String)> {
    for _ in 0..servers.in_turn() {
        let server = servers.next_server();
        let (host, port) = host_and_port(&server);
        let Ok(addresses) = resolve(&server, host, port).await else { continue };
        if let Some(address) = addresses.first() {
            return Some((*address, host.to_owned()));
        }
    }
    None
}

/// Returns the error for a server whose name has no address.
pub(crate) fn unresolved(server: &str, why: &str) -> ConnectError {
    let source = std::io::Error::new(std::io::ErrorKind::NotFound, why.to_owned());
    ConnectError::Resolve { server: server.to_owned(), source }
}

/// Splits `host`, `host:port`, `192.0.2.1:port`, `::1` or `[::1]:port` into
/// host and port.
pub(crate) fn host_and_port(server: &str) -> (&str, u16) {
    let bare = server.parse::<IpAddr>().is_ok();
    let split = server.rsplit_once(':').filter(|_| !bare);
    let with_port = split.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = with_port.unwrap_or((server, DEFAULT_PORT));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(host_and_port(server), (host, port), "{server}");
        }
    }
}
