//! Options of a socket and the report of a send, the same on every platform.

use std::net::{Ipv6Addr, SocketAddr};

/// Options for binding a [`UdpSocket`](crate::UdpSocket).
#[derive(Clone, Debug)]
pub struct BindOptions {
    /// Local address. `[::]:port` without `only_v6` also serves IPv4. On a host without IPv6 it
    /// cannot be bound (`EAFNOSUPPORT`); use `0.0.0.0:port` there.
    pub addr: SocketAddr,
    /// Whether to join or open the port's `SO_REUSEPORT` group: several sockets on one port, one
    /// for each shard.
    pub reuse_port: bool,
    /// Requested size of the receive buffer in bytes, 0 for the system's default. The kernel may
    /// grant less, see [`UdpSocket::recv_buffer_size`](crate::UdpSocket::recv_buffer_size).
    pub recv_buffer: usize,
    /// Requested size of the send buffer in bytes, 0 for the system's default.
    pub send_buffer: usize,
    /// Differentiated services code point of sent datagrams, 0-63. 46 is Expedited Forwarding
    /// (RFC 3246), 0 is best effort. Larger values are refused with `InvalidInput`.
    pub dscp: u8,
    /// Whether an IPv6 socket excludes IPv4. Without effect on an IPv4 address.
    pub only_v6: bool,
    /// Whether the kernel stamps each datagram with its arrival time (`SO_TIMESTAMPNS`). Otherwise
    /// a datagram has the time at which its batch was read. Linux only.
    pub timestamps: bool,
    /// Whether the kernel may join several datagrams of one peer (`UDP_GRO`). Needs
    /// [`RecvBatch::new(true)`](crate::RecvBatch::new). Linux only; ignored before Linux 5.0.
    pub gro: bool,
    /// Whether the socket makes one system call for each datagram, as on other systems than Linux:
    /// for sandboxes that refuse the batched calls. Such a socket has no `SO_REUSEPORT`, time
    /// stamps, GRO, GSO, ECN or local addresses. Linux only; elsewhere each socket is plain.
    pub plain: bool,
}

impl Default for BindOptions {
    /// Returns the default options: any port, IPv4 and IPv6, no `SO_REUSEPORT` group, buffers of 4
    /// MiB, Expedited Forwarding, time stamps, no GRO.
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
            plain: false,
        }
    }
}

/// The outcome of sending a batch, in datagrams: an entry of five segments counts as five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams that the kernel accepted.
    pub sent_datagrams: u64,
    /// Payload bytes of these datagrams.
    pub sent_bytes: u64,
    /// Datagrams dropped because the socket's send buffer or a device's queue was full.
    pub dropped: u64,
    /// Datagrams that the kernel refused: too large, no route, or a source address that the machine
    /// does not have.
    pub failed: u64,
    /// Whether this call found that GSO does not work, and turned it off for this socket.
    pub gso_disabled_now: bool,
}

/// The plane whose datagrams are steered to shards, see
/// [`attach_steering`](crate::attach_steering).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// QUIC. The first byte of the connection id, which is byte 6 of a long header and byte 1 of a
    /// short one, decides the shard.
    Session,
    /// The realtime plane. Byte 1, the first of the connection id, decides the shard.
    Realtime,
}
