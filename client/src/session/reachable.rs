//! What this machine's network says of a server before a packet is sent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nucleus_client_core::session::JoinError;

/// The largest packets of a session, without IP's header: 1,200 bytes of QUIC, and UDP's header.
const PACKET: u32 = 1_208;

/// Checks that there is a route to the server, and that it takes the packets of a session. QUIC
/// would repeat its packets in silence where the system knows no route, or drops them as too large.
///
/// # Errors
/// [`JoinError::Unreachable`], with the system's words.
pub(super) fn check(server: SocketAddr) -> Result<(), JoinError> {
    let unreachable = |reason| JoinError::Unreachable { server, reason };
    let connected = UdpSocket::bind(unspecified(server)).and_then(|socket| {
        socket.connect(server)?;
        Ok(socket)
    });
    let socket = connected.map_err(|error| unreachable(error.to_string()))?;
    match largest_packet(&socket, server) {
        Ok(mtu) => too_small(mtu, server).map_or(Ok(()), |reason| Err(unreachable(reason))),
        // A system that does not tell.
        Err(_) => Ok(()),
    }
}

/// Returns the largest packet of the way to the server, as far as this machine knows it: the MTU of
/// its interface, or a smaller one that a router has reported.
fn largest_packet(socket: &UdpSocket, server: SocketAddr) -> io::Result<u32> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Ok(match server {
        SocketAddr::V4(_) => rustix::net::sockopt::ip_mtu(socket)?,
        SocketAddr::V6(_) => rustix::net::sockopt::ipv6_mtu(socket)?,
    });
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    Err(io::ErrorKind::Unsupported.into())
}

fn too_small(mtu: u32, server: SocketAddr) -> Option<String> {
    let least = PACKET + if server.is_ipv4() { 20 } else { 40 };
    (mtu < least).then(|| {
        format!(
            "the way takes packets of at most {mtu} bytes (its MTU), and a session needs {least}"
        )
    })
}

/// Returns the unspecified local address of the same address family as `remote`, with port 0.
pub(crate) fn unspecified(remote: SocketAddr) -> SocketAddr {
    let ip = match remote.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_with_a_small_mtu_is_named() {
        let v4 = "192.0.2.1:5055".parse().unwrap();
        let v6 = "[2001:db8::1]:5055".parse().unwrap();
        assert!(too_small(1_227, v4).unwrap().contains("1228"));
        assert_eq!((too_small(1_228, v4), too_small(1_248, v6)), (None, None));
        assert!(too_small(1_247, v6).is_some());
    }

    #[test]
    fn this_machine_is_reachable() {
        assert!(check("127.0.0.1:5055".parse().unwrap()).is_ok());
    }
}
