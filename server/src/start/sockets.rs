//! The server's UDP sockets, bound before anything else so that a taken port is one clear line.

use std::io;
use std::net::SocketAddr;

use nucleus_net::{BindOptions, Steering, UdpSocket, attach_steering, probe_port_free};

use super::config::{Config, without_ipv6};

/// Receive buffer asked of the kernel, bytes: a second of 10,000 small datagrams (a small one takes
/// about 700 bytes there). Forced where the process may.
const RECV_BUFFER: usize = 8 << 20;
/// Send buffer, bytes: a flush to a thousand recipients.
const SEND_BUFFER: usize = 4 << 20;
/// Below this the buffer holds less than a drain interval of a busy shard, and the operator is told.
const SMALL_BUFFER: usize = 1 << 20;

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port belongs to somebody else, maybe another nucleus of the same user.
    #[error("{plane} port {addr} is taken: stop the other server or choose another with --{plane}")]
    Taken {
        /// `session` or `realtime`.
        plane: &'static str,
        /// The address.
        addr: SocketAddr,
    },
    /// Anything else.
    #[error("cannot bind the {plane} port {addr}: {source}")]
    Failed {
        /// `session` or `realtime`.
        plane: &'static str,
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The bound sockets.
pub struct Sockets {
    /// QUIC: one a shard, in the order of their steering.
    pub session: Vec<UdpSocket>,
    /// One a shard, likewise.
    pub realtime: Vec<UdpSocket>,
}

impl Sockets {
    /// Binds both planes as configured; a wildcard IPv6 address becomes IPv4's on a machine
    /// without IPv6.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let session = with_fallback("session", config.session, |addr| {
            probe_port_free(addr)?;
            bind_group(Steering::Session, addr, config.shards, 0)
        })?;
        let realtime = with_fallback("realtime", config.realtime, |addr| {
            probe_port_free(addr)?;
            bind_group(Steering::Realtime, addr, config.shards, config.dscp)
        })?;
        Ok(Self { session, realtime })
    }

    /// Address of the session plane.
    pub fn session_addr(&self) -> io::Result<SocketAddr> {
        self.session.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Address of the realtime plane.
    pub fn realtime_addr(&self) -> io::Result<SocketAddr> {
        self.realtime.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// The line to tell the operator when the kernel granted too small receive buffers.
    pub fn buffer_warning(&self) -> Option<String> {
        let sockets = self.session.iter().chain(&self.realtime);
        let granted = sockets.filter_map(|socket| socket.recv_buffer_size().ok()).min()?;
        (granted < SMALL_BUFFER).then(|| {
            format!(
                "the receive buffers are only {granted} bytes and bursts will be lost: \
                 sysctl -w net.core.rmem_max={RECV_BUFFER}"
            )
        })
    }
}

fn with_fallback<T>(
    plane: &'static str,
    addr: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T, BindError> {
    let result = match (bind(addr), without_ipv6(addr)) {
        (Err(error), Some(v4)) if error.kind() != io::ErrorKind::AddrInUse => bind(v4),
        (result, _) => result,
    };
    result.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { plane, addr },
        _ => BindError::Failed { plane, addr, source },
    })
}

fn bind_group(
    steering: Steering,
    addr: SocketAddr,
    shards: u16,
    dscp: u8,
) -> io::Result<Vec<UdpSocket>> {
    let first = bind(steering, addr, dscp)?;
    let addr = first.local_addr()?;
    let mut group = vec![first];
    for _ in 1..shards {
        group.push(bind(steering, addr, dscp)?);
    }
    if shards > 1 {
        // The kernel delivers each datagram to the shard that its connection id names.
        attach_steering(&group[0], steering, shards.into())?;
    }
    Ok(group)
}

fn bind(steering: Steering, addr: SocketAddr, dscp: u8) -> io::Result<UdpSocket> {
    // Of the session's sockets quinn asks for these itself.
    let realtime = matches!(steering, Steering::Realtime);
    UdpSocket::bind(&BindOptions {
        addr,
        reuse_port: true,
        recv_buffer: RECV_BUFFER,
        send_buffer: SEND_BUFFER,
        dscp,
        only_v6: false,
        timestamps: realtime,
        gro: realtime,
    })
}
