//! The socket and the waker on Linux: batched, or plain if [`BindOptions::plain`] asks for it.
//!
//! The plain socket is the one of other systems. Here it serves sandboxes that refuse the batched
//! calls, and the tests of that socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use crate::{BindOptions, RecvBatch, SendBatch, SendReport, linux, portable};

/// A non-blocking UDP socket that receives and sends in batches.
#[derive(Debug)]
pub struct UdpSocket(Kind);

#[derive(Debug)]
enum Kind {
    Batched(Box<linux::BatchedSocket>),
    Plain(portable::UdpSocket),
}

/// Calls a method of either socket.
macro_rules! either {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            Kind::Batched($inner) => $call,
            Kind::Plain($inner) => $call,
        }
    };
}

impl UdpSocket {
    /// Binds a socket. A batched one requests the control messages that receiving uses: the local
    /// address, ECN, and, if `options` ask for them, time stamps and GRO. In a privileged process
    /// its buffers may exceed the system's limit (`SO_RCVBUFFORCE`). A plain one has none of these.
    ///
    /// # Errors
    /// `InvalidInput` for a DSCP above 63, `Unsupported` for `reuse_port` of a plain socket, else
    /// the kernel's error: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`, or `EAFNOSUPPORT`
    /// on a host without IPv6. A buffer that is smaller than requested is no error.
    pub fn bind(options: &BindOptions) -> io::Result<UdpSocket> {
        Ok(UdpSocket(match options.plain {
            true => Kind::Plain(portable::UdpSocket::bind(options)?),
            false => Kind::Batched(Box::new(linux::BatchedSocket::bind(options)?)),
        }))
    }

    /// Returns the local address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        either!(&self.0, socket => socket.local_addr())
    }

    /// Returns the granted size of the receive buffer in bytes. Linux doubles the requested size for
    /// its own bookkeeping, so compare the result with twice [`BindOptions::recv_buffer`]. A small
    /// datagram takes about 800 of these bytes.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        either!(&self.0, socket => socket.recv_buffer_size())
    }

    /// Returns whether the kernel stamps each datagram with its arrival. Otherwise a datagram has the
    /// time at which it was read.
    pub fn stamps(&self) -> bool {
        either!(&self.0, socket => socket.stamps())
    }

    /// Returns whether the kernel may join datagrams (GRO).
    pub fn gro(&self) -> bool {
        either!(&self.0, socket => socket.gro())
    }

    /// Returns whether one send may have several segments (GSO).
    pub fn gso(&self) -> bool {
        either!(&self.0, socket => socket.gso())
    }

    /// Turns GSO off for this socket: for a device with faulty GSO, or to compare in a benchmark.
    pub fn disable_gso(&mut self) {
        either!(&mut self.0, socket => socket.disable_gso());
    }

    /// Receives up to [`RECV_MESSAGES`](crate::RECV_MESSAGES) messages into `batch`, which is cleared
    /// first. Never blocks. Returns the number of datagrams; 0 if no usable datagram waited.
    /// Datagrams that GRO joined count one by one. Discards datagrams longer than the batch's
    /// buffers.
    ///
    /// # Errors
    /// `InvalidInput` for a batch without GRO on a socket with GRO, else the kernel's error. No peer
    /// can cause an error.
    pub fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        either!(&mut self.0, socket => socket.recv(batch))
    }

    /// Sends the whole batch. If the kernel refuses an entry, only this entry is lost. If the send
    /// buffer is full, waits up to 2 ms in total, then drops the rest.
    pub fn send(&mut self, batch: &SendBatch) -> SendReport {
        either!(&mut self.0, socket => socket.send(batch))
    }

    /// Returns the number of datagrams that the kernel has dropped because the receive buffer was
    /// full. The number wraps.
    ///
    /// # Errors
    /// `Unsupported` for a plain socket, and before Linux 4.12.
    pub fn kernel_drops(&self) -> io::Result<u32> {
        either!(&self.0, socket => socket.kernel_drops())
    }

    /// Waits until a datagram can be read, `waker` wakes or `timeout` is over. Returns whether a
    /// datagram can be read. Does not drain the waker.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn wait_readable(&self, waker: Option<&Waker>, timeout: Duration) -> io::Result<bool> {
        match &self.0 {
            Kind::Batched(socket) => socket.wait_readable(waker.map(|waker| &waker.event), timeout),
            Kind::Plain(socket) => socket.wait_readable(waker.map(|waker| &waker.flag), timeout),
        }
    }

    /// Converts the socket for another driver, such as a QUIC endpoint.
    pub fn into_std(self) -> std::net::UdpSocket {
        either!(self.0, socket => socket.into_std())
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        either!(&self.0, socket => socket.as_raw_fd())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(&self.0, socket => socket.as_fd())
    }
}

/// Ends another thread's wait in [`UdpSocket::wait_readable`]: at once for a batched socket, within
/// 2 ms for a plain one.
#[derive(Clone, Debug)]
pub struct Waker {
    event: linux::EventWaker,
    flag: portable::Waker,
}

impl Waker {
    /// Creates a waker.
    ///
    /// # Errors
    /// The process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Waker { event: linux::EventWaker::new()?, flag: portable::Waker::new()? })
    }

    /// Ends the current wait, or the next one if no wait is in progress.
    pub fn wake(&self) {
        self.flag.wake();
        self.event.wake();
    }

    /// Clears all wakes so far. Until then every wait returns at once. Drain before you read the
    /// mailbox, so that no wake is lost.
    pub fn drain(&self) {
        self.flag.drain();
        self.event.drain();
    }
}
