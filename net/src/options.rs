//! What a caller asks of a socket and what a send answers; the same on every platform.

use std::net::{Ipv6Addr, SocketAddr};

/// How to bind a [`UdpSocket`](crate::UdpSocket).
#[derive(Clone, Debug)]
pub struct BindOptions {
    /// Local address. `[::]:port` with `only_v6` off serves IPv4 too, where the host has IPv6; where
    /// it has not, `bind` fails (`EAFNOSUPPORT`) and the caller tries `0.0.0.0:port`.
    pub addr: SocketAddr,
    /// Join (or open) the port's `SO_REUSEPORT` group: several sockets, one port, one shard each.
    pub reuse_port: bool,
    /// Wanted receive buffer in bytes, 0 for the system's default. The kernel may grant less: read
    /// [`UdpSocket::recv_buffer_size`](crate::UdpSocket::recv_buffer_size) back.
    pub recv_buffer: usize,
    /// Wanted send buffer in bytes, 0 for the system's default.
    pub send_buffer: usize,
    /// Differentiated services code point of what is sent, 0-63; 46 is Expedited Forwarding
    /// (RFC 3246), 0 best effort. More is refused with `InvalidInput`.
    pub dscp: u8,
    /// An IPv6 socket that leaves IPv4 alone. Without effect on an IPv4 address.
    pub only_v6: bool,
    /// Let the kernel stamp each datagram as it arrives (`SO_TIMESTAMPNS`). Without it a datagram
    /// carries the time its batch was read. Linux only.
    pub timestamps: bool,
    /// Let the kernel hand over several datagrams of one peer in one piece (`UDP_GRO`); needs
    /// [`RecvBatch::new(true)`](crate::RecvBatch::new). Linux only; silently off before Linux 5.0.
    pub gro: bool,
}

impl Default for BindOptions {
    /// Any port, dual stack, alone on it, 4 MiB of buffer either way, Expedited Forwarding, stamped.
    fn default() -> Self {
        BindOptions {
            addr: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            reuse_port: false,
            recv_buffer: 4 << 20,
            send_buffer: 4 << 20,
            dscp: 46,
            only_v6: false,
            timestamps: true,
            gro: false,
        }
    }
}

/// What became of a batch, in datagrams (an entry of five segments counts five).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams the kernel took.
    pub sent_datagrams: u64,
    /// Their payload, bytes.
    pub sent_bytes: u64,
    /// Datagrams given up because the socket's send buffer stayed full.
    pub dropped: u64,
    /// Datagrams refused for their own sake: too big, no route, a source address we do not hold.
    pub failed: u64,
    /// GSO turned out not to work and was turned off for this socket during this call.
    pub gso_disabled_now: bool,
}

/// Which plane's rule decides the shard, see [`attach_steering`](crate::attach_steering).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// QUIC: the connection id's first byte, byte 6 of a long header and byte 1 of a short one.
    Session,
    /// The realtime plane: byte 1, the first of the connection id.
    Realtime,
}
