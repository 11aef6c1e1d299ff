//! The socket of a session endpoint. It differs from quinn's own socket in two points.
//!
//! **It shows IPv4 addresses as IPv4**, never `::ffff:192.0.2.1` for 192.0.2.1. When a client's
//! address changes, quinn keeps the congestion state if only the port differs. This check fails on
//! the mapped form, so each new binding of a NAT would reset the congestion state.
//!
//! **It takes each datagram by itself.** quinn lets the kernel join up to 64 datagrams of one peer
//! (GRO), and every chunk of a stream then keeps all the bytes of its batch in memory until the
//! server reads it. Flow control counts only the bytes of the stream, and quinn's own bound counts one
//! datagram for each chunk. So a client that sends one byte of a stream among other frames could make
//! the server keep 64 KiB for it. A session sends few datagrams, so joining them gains little.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, UdpPoller};

/// An IPv4 or IPv6 socket that reports and takes the addresses of IPv4 peers as IPv4, and that gets
/// each datagram by itself where the system can be told so.
pub(super) struct SessionSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    /// Whether `inner` is an IPv6 socket, which takes IPv4 destinations only in the mapped form.
    mapped: bool,
    /// The most datagrams that the kernel joins into one.
    receive_segments: usize,
}

impl SessionSocket {
    /// Wraps `socket` for the endpoints of `runtime`.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub(super) fn open(socket: nucleus_net::UdpSocket, runtime: &impl Runtime) -> io::Result<Self> {
        let socket = socket.into_std();
        let same = socket.try_clone()?;
        let inner = runtime.wrap_udp_socket(socket)?;
        // quinn has just enabled GRO.
        let receive_segments = match nucleus_net::disable_gro(&same) {
            Ok(()) => 1,
            // Not on Linux, or on a Linux without GRO.
            Err(_) => inner.max_receive_segments(),
        };
        let mapped = inner.local_addr()?.is_ipv6();
        Ok(Self { inner, mapped, receive_segments })
    }
}

impl AsyncUdpSocket for SessionSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.mapped || transmit.destination.is_ipv6() {
            return self.inner.try_send(transmit);
        }
        let destination = to_mapped(transmit.destination);
        self.inner.try_send(&Transmit { destination, ..transmit.clone() })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            for meta in meta.iter_mut().take(count) {
                meta.addr.set_ip(meta.addr.ip().to_canonical());
            }
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.receive_segments
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for SessionSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn to_mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}
