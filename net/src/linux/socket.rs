//! The socket: binding, options, waiting and the drop counter. Receiving and sending have their own
//! files.

mod recv;
mod send;
mod send_call;

use super::{checked, waker::EventWaker};
use crate::{BindOptions, RecvBatch, SendBatch, SendReport};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

/// A non-blocking UDP socket that receives and sends in batches.
pub(crate) struct BatchedSocket {
    socket: Socket,
    /// The address to which the socket is bound; `None` for the unspecified address. A bound
    /// address is the local address of every datagram, so no send needs a control message for the
    /// local address, which would cost about 3 % of the send.
    bound: Option<IpAddr>,
    /// Whether the socket is an IPv6 socket, on which IPv4 destinations are mapped to IPv6.
    v6: bool,
    stamps: bool,
    gro: bool,
    /// Whether one send may have several segments; cleared when GSO turns out not to work.
    gso: bool,
    scratch: Box<recv::RecvScratch>,
}

impl BatchedSocket {
    /// Binds a socket. Requests the control messages that receiving uses: the local address, ECN,
    /// and, if `options` ask for them, time stamps and GRO. In a privileged process the buffers may
    /// exceed the system's limit (`SO_RCVBUFFORCE`).
    ///
    /// # Errors
    /// `InvalidInput` for a DSCP above 63, else the kernel's error: `AddrInUse`,
    /// `AddrNotAvailable`, `PermissionDenied`, or `EAFNOSUPPORT` on a host without IPv6. A buffer
    /// that is smaller than requested is no error.
    pub(crate) fn bind(options: &BindOptions) -> io::Result<BatchedSocket> {
        if options.dscp > 63 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "DSCP must be 0-63"));
        }
        let socket = open(options.addr)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_port(options.reuse_port)?;
        if options.addr.is_ipv6() {
            socket.set_only_v6(options.only_v6)?;
        }
        set_buffers(&socket, options)?;
        set_packet_options(&socket, options)?;
        let gro = options.gro && set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        // Segment size 0 means "off". Setting it changes nothing, and fails on kernels without GSO
        // (before 4.18).
        let gso = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        socket.bind(&options.addr.into())?;
        let bound = bound_address(options.addr);
        let v6 = options.addr.is_ipv6();
        let stamps = options.timestamps;
        Ok(BatchedSocket { socket, bound, v6, stamps, gro, gso, scratch: Box::default() })
    }

    /// Returns the local address, with the port that the kernel chose for port 0.
    ///
    /// # Errors
    /// None are known for a bound socket.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable.into())
    }

    /// Returns the granted size of the receive buffer in bytes. Linux doubles the requested size
    /// for its own bookkeeping, so compare the result with twice [`BindOptions::recv_buffer`]. A
    /// small datagram takes about 800 of these bytes.
    ///
    /// # Errors
    /// None are known for a bound socket.
    pub(crate) fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size()
    }

    /// Returns whether time stamps were requested and granted.
    pub(crate) fn stamps(&self) -> bool {
        self.stamps
    }

    /// Returns whether GRO was requested and granted. If so, [`recv`](Self::recv) needs a batch
    /// with GRO.
    pub(crate) fn gro(&self) -> bool {
        self.gro
    }

    /// Returns whether an entry of several segments is sent with GSO. Initially this depends on the
    /// kernel; it becomes `false` when GSO turns out not to work.
    pub(crate) fn gso(&self) -> bool {
        self.gso
    }

    /// Turns GSO off for this socket: for a device with faulty GSO, or to compare in a benchmark.
    pub(crate) fn disable_gso(&mut self) {
        self.gso = false;
    }

    /// Receives up to [`RECV_MESSAGES`](crate::RECV_MESSAGES) messages into `batch`, which is
    /// cleared first. Never blocks. Returns the number of datagrams; 0 if no usable datagram
    /// waited. Datagrams that GRO joined count one by one. Discards datagrams longer than the
    /// batch's buffers.
    ///
    /// # Errors
    /// `InvalidInput` for a batch without GRO on a socket with GRO, else the kernel's error. No
    /// peer can cause an error.
    pub(crate) fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        recv::recv(self, batch)
    }

    /// Sends the whole batch with up to 64 messages a call. Entries of several segments are sent
    /// with GSO. If the kernel refuses an entry, only this entry is lost. If the send buffer is
    /// full, waits up to 2 ms in total, then drops the rest. Does not change the batch.
    pub(crate) fn send(&mut self, batch: &SendBatch) -> SendReport {
        send::send(self, batch)
    }

    /// Returns the number of datagrams that the kernel has dropped since the socket was opened,
    /// because its receive buffer was full. The number wraps.
    ///
    /// # Errors
    /// `Unsupported` before Linux 4.12.
    pub(crate) fn kernel_drops(&self) -> io::Result<u32> {
        let mut info = [0u32; 16];
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the buffer is a local variable and `len` is its size in bytes; the kernel writes
        // at most `len`.
        checked(unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &mut len,
            )
        })?;
        let drops = libc::SK_MEMINFO_DROPS as usize;
        let known = len as usize / size_of::<u32>();
        if known > drops { Ok(info[drops]) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Waits until a datagram can be read, `waker` wakes or `timeout` is over. Returns whether a
    /// datagram can be read. A signal may end the wait early. Does not drain the waker.
    ///
    /// # Errors
    /// The kernel's error if it is out of memory.
    pub(crate) fn wait_readable(
        &self,
        waker: Option<&EventWaker>,
        timeout: Duration,
    ) -> io::Result<bool> {
        let waker = waker.map_or(-1, |waker| waker.as_fd().as_raw_fd());
        let mut wanted = [poll_in(self.as_raw_fd()), poll_in(waker)];
        poll(&mut wanted, timeout)?;
        Ok(wanted[0].revents != 0)
    }

    /// Waits until a datagram can be sent or `timeout` is over.
    fn wait_writable(&self, timeout: Duration) -> io::Result<bool> {
        let events = libc::POLLOUT;
        poll(&mut [libc::pollfd { fd: self.as_raw_fd(), events, revents: 0 }], timeout)
    }

    /// Converts the socket for another driver, such as a QUIC endpoint. All options are kept.
    pub(crate) fn into_std(self) -> std::net::UdpSocket {
        self.socket.into()
    }
}

impl std::fmt::Debug for BatchedSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("BatchedSocket");
        out.field("fd", &self.as_raw_fd()).field("local", &self.local_addr().ok());
        out.field("gro", &self.gro).field("gso", &self.gso).finish()
    }
}

impl AsRawFd for BatchedSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for BatchedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Checks that no socket is bound to `addr`. Call this before you bind a `SO_REUSEPORT` group. A
/// second process of the same user can join the group without an error, which breaks the steering.
/// This function binds without `SO_REUSEPORT`, so its bind fails if another process uses the port.
/// The check cannot detect two servers that start at the same moment.
///
/// # Errors
/// `AddrInUse` if a socket is bound to `addr`, else the errors of [`UdpSocket::bind`](crate::UdpSocket::bind).
pub fn probe_port_free(addr: SocketAddr) -> io::Result<()> {
    let socket = open(addr)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())
}

/// Makes the kernel deliver each datagram of `socket` by itself (no `UDP_GRO`), whatever another
/// library has set. Joined datagrams that wait already are still delivered as one.
///
/// # Errors
/// The kernel's error, before Linux 5.0 `ENOPROTOOPT`: there it never joins any.
pub fn disable_gro(socket: &std::net::UdpSocket) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 0)
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
}

fn set_buffers(socket: &Socket, options: &BindOptions) -> io::Result<()> {
    let size = |bytes: usize| libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    if options.recv_buffer > 0
        && set_socket_option(socket, libc::SO_RCVBUFFORCE, size(options.recv_buffer)).is_err()
    {
        set_socket_option(socket, libc::SO_RCVBUF, size(options.recv_buffer))?;
    }
    if options.send_buffer > 0
        && set_socket_option(socket, libc::SO_SNDBUFFORCE, size(options.send_buffer)).is_err()
    {
        set_socket_option(socket, libc::SO_SNDBUF, size(options.send_buffer))?;
    }
    Ok(())
}

fn bound_address(addr: SocketAddr) -> Option<IpAddr> {
    Some(addr.ip().to_canonical()).filter(|ip| !ip.is_unspecified())
}

fn set_packet_options(socket: &Socket, options: &BindOptions) -> io::Result<()> {
    let report_address = libc::c_int::from(bound_address(options.addr).is_none());
    let service = libc::c_int::from(options.dscp) << 2;
    let dual = options.addr.is_ipv6() && !options.only_v6;
    if options.addr.is_ipv6() {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, report_address)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, service)?;
    } else {
        // A dual-stack socket reports an IPv4 address by IPV6_PKTINFO too, as a mapped address.
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, report_address)?;
    }
    if dual || options.addr.is_ipv4() {
        set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
        set_option(socket, libc::IPPROTO_IP, libc::IP_TOS, service)?;
    }
    if options.timestamps {
        set_socket_option(socket, libc::SO_TIMESTAMPNS, 1)?;
    }
    Ok(())
}

fn set_socket_option(socket: &Socket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, name, value)
}

fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: `value` points to an int that outlives the call, `len` is its size.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) })?;
    Ok(())
}

fn poll_in(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// Waits until a descriptor has a requested event or `timeout` is over. Returns whether one has. A
/// signal ends the wait early. Ignores negative descriptors.
fn poll(wanted: &mut [libc::pollfd], timeout: Duration) -> io::Result<bool> {
    let mut limit: libc::timespec = super::zeroed();
    limit.tv_sec = timeout.as_secs().min(i32::MAX as u64) as _;
    limit.tv_nsec = timeout.subsec_nanos() as _;
    let count = wanted.len() as libc::nfds_t;
    // SAFETY: `wanted` has `count` entries and, like `limit`, outlives the call. There is no signal
    // mask.
    match checked(unsafe { libc::ppoll(wanted.as_mut_ptr(), count, &limit, std::ptr::null()) }) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            wanted.iter_mut().for_each(|entry| entry.revents = 0);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
