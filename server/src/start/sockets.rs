//! The server's UDP sockets. They are bound before the server starts, so that a taken port is
//! reported first.

use std::io;
use std::net::SocketAddr;

use nucleus_net::{BindOptions, Steering, UdpSocket, attach_steering, probe_port_free};

use super::config::{Config, without_ipv6};

/// Requested size of the receive buffer in bytes: enough for one second of 10,000 small datagrams
/// per second, each of which takes about 700 bytes. Exceeds the kernel's limit if the process is
/// privileged.
const RECV_BUFFER: usize = 8 << 20;
/// Requested size of the send buffer in bytes: enough for a flush to a thousand recipients.
const SEND_BUFFER: usize = 4 << 20;
/// The server warns the operator of a receive buffer with fewer bytes than this: it holds less than
/// a busy shard receives between two reads.
const SMALL_BUFFER: usize = 1 << 20;

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process uses the port, possibly another nucleus of the same user.
    #[error("{setting} port {addr} is taken: stop the other server or {}", choose(setting))]
    Taken {
        /// The setting: `session`, `realtime` or `session_also`.
        setting: &'static str,
        /// The address.
        addr: SocketAddr,
    },
    /// The system refuses the address for another reason.
    #[error("cannot bind the {setting} port {addr}: {source}; {}", choose(setting))]
    Failed {
        /// The setting: `session`, `realtime` or `session_also`.
        setting: &'static str,
        /// The address.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

/// Says how to choose another address. Only some settings have a flag.
fn choose(setting: &str) -> String {
    match setting {
        "session_also" => "change session_also in the configuration file".to_owned(),
        _ => format!("choose another with --{setting}"),
    }
}

/// The bound sockets.
pub struct Sockets {
    /// The sockets of the session plane, one per shard, in the order in which the steering numbers
    /// them.
    pub session: Vec<UdpSocket>,
    /// The sockets of each further address of the session plane, in the same order.
    pub session_also: Vec<Vec<UdpSocket>>,
    /// The sockets of the realtime plane, in the same order.
    pub realtime: Vec<UdpSocket>,
}

impl Sockets {
    /// Binds the sockets of both planes. Binds the IPv4 wildcard address instead of the IPv6 one on
    /// a machine without IPv6.
    ///
    /// # Errors
    ///
    /// A port is taken, or the system refuses an address.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let session_group = |setting, addr| {
            with_fallback(setting, addr, |addr| {
                probe_port_free(addr)?;
                bind_group(Steering::Session, addr, config, 0)
            })
        };
        let session = session_group("session", config.session)?;
        let also = config.session_also.iter().map(|addr| session_group("session_also", *addr));
        let session_also = also.collect::<Result<_, _>>()?;
        let realtime = with_fallback("realtime", config.realtime, |addr| {
            probe_port_free(addr)?;
            bind_group(Steering::Realtime, addr, config, config.dscp)
        })?;
        Ok(Self { session, session_also, realtime })
    }

    /// Returns the address of the session plane.
    ///
    /// # Errors
    ///
    /// The system refuses to name it.
    pub fn session_addr(&self) -> io::Result<SocketAddr> {
        self.session.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Returns the further addresses of the session plane.
    ///
    /// # Errors
    ///
    /// The system refuses to name one.
    pub fn session_also_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.session_also
            .iter()
            .flat_map(|group| group.first())
            .map(UdpSocket::local_addr)
            .collect()
    }

    /// Returns the address of the realtime plane.
    ///
    /// # Errors
    ///
    /// The system refuses to name it.
    pub fn realtime_addr(&self) -> io::Result<SocketAddr> {
        self.realtime.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Returns a warning for the operator if the kernel has granted receive buffers that are too
    /// small.
    pub fn buffer_warning(&self) -> Option<String> {
        let sockets =
            self.session.iter().chain(self.session_also.iter().flatten()).chain(&self.realtime);
        let granted = sockets.filter_map(|socket| socket.recv_buffer_size().ok()).min()?;
        (granted < SMALL_BUFFER).then(|| {
            format!(
                "the receive buffers have only {granted} bytes, so bursts will be lost; to enlarge them: \
                 sysctl -w net.core.rmem_max={RECV_BUFFER}"
            )
        })
    }
}

/// Binds `addr`, or its IPv4 replacement if the machine has no IPv6.
fn with_fallback<T>(
    setting: &'static str,
    addr: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T, BindError> {
    let result = match (bind(addr), without_ipv6(addr)) {
        (Err(error), Some(v4)) if error.kind() != io::ErrorKind::AddrInUse => bind(v4),
        (result, _) => result,
    };
    result.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { setting, addr },
        _ => BindError::Failed { setting, addr, source },
    })
}

/// Binds one socket per shard to the same address, and attaches the steering.
fn bind_group(
    steering: Steering,
    addr: SocketAddr,
    config: &Config,
    dscp: u8,
) -> io::Result<Vec<UdpSocket>> {
    let first = bind(steering, addr, config, dscp)?;
    let addr = first.local_addr()?;
    let mut group = vec![first];
    for _ in 1..config.shards {
        group.push(bind(steering, addr, config, dscp)?);
    }
    if config.shards > 1 {
        // From now on the kernel delivers each datagram to the shard that its connection id names.
        attach_steering(&group[0], steering, config.shards.into())?;
    }
    Ok(group)
}

fn bind(steering: Steering, addr: SocketAddr, config: &Config, dscp: u8) -> io::Result<UdpSocket> {
    // quinn sets these options on the session plane's sockets itself.
    let realtime = matches!(steering, Steering::Realtime);
    UdpSocket::bind(&BindOptions {
        addr,
        // Only Linux has it, and a single socket needs none.
        reuse_port: config.shards > 1,
        plain: config.plain_sockets,
        recv_buffer: RECV_BUFFER,
        send_buffer: SEND_BUFFER,
        dscp,
        only_v6: false,
        timestamps: realtime,
        gro: realtime,
    })
}
