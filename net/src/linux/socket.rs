//! The socket itself: options, waiting, drop counter. Receiving and sending have their own files.

mod recv;
mod send;
mod send_call;

use super::{checked, waker::Waker};
use crate::{BindOptions, RecvBatch, SendBatch, SendReport};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

/// A non-blocking UDP socket that receives and sends in batches.
pub struct UdpSocket {
    socket: Socket,
    /// The one address it is bound to: then the kernel need not tell where a datagram came to, nor be
    /// told where one is to leave from, which costs some 3 % of a send.
    bound: Option<IpAddr>,
    /// Bound to an IPv6 address: IPv4 peers are mapped on the way out.
    v6: bool,
    gro: bool,
    /// Whether several segments may go in one send; cleared when the kernel turns out not to manage.
    gso: bool,
    scratch: Box<recv::RecvScratch>,
}

impl UdpSocket {
    /// Binds a socket and asks the kernel for all we read with a datagram: the address it was sent
    /// to, ECN, and time and GRO when wanted. Where the process may, the buffers go beyond the
    /// system's limit (`SO_RCVBUFFORCE`).
    ///
    /// # Errors
    /// `InvalidInput` for a DSCP above 63, else the kernel's: `AddrInUse`, `AddrNotAvailable`,
    /// `PermissionDenied`, `EAFNOSUPPORT` where the host has no IPv6. A buffer smaller than asked
    /// for is no error.
    pub fn bind(options: &BindOptions) -> io::Result<UdpSocket> {
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
        // Segment size 0 is "off": it changes nothing and tells whether the kernel knows GSO (4.18).
        let gso = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        socket.bind(&options.addr.into())?;
        let bound = bound_address(options.addr);
        let v6 = options.addr.is_ipv6();
        Ok(UdpSocket { socket, bound, v6, gro, gso, scratch: Box::default() })
    }

    /// The address bound, with the port the kernel chose where 0 was asked.
    ///
    /// # Errors
    /// None are known for a bound socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable.into())
    }

    /// The receive buffer as granted, in bytes. Linux grants twice what is asked, for its own
    /// book-keeping: compare with twice [`BindOptions::recv_buffer`]. A small datagram takes about
    /// 800 of these bytes.
    ///
    /// # Errors
    /// None are known for a bound socket.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size()
    }

    /// Whether GRO was asked for and granted; then [`recv`](Self::recv) needs a GRO batch.
    pub fn gro(&self) -> bool {
        self.gro
    }

    /// Whether entries of several segments go out as one send. It starts as what the kernel can do
    /// and falls to `false` when a device turns out not to manage.
    pub fn gso(&self) -> bool {
        self.gso
    }

    /// Turns GSO off for good: for a device known to be bad, or a bench's comparison.
    pub fn disable_gso(&mut self) {
        self.gso = false;
    }

    /// Reads what waits, at most [`RECV_MESSAGES`](crate::RECV_MESSAGES) messages in one call, never
    /// blocking, and gives the number of datagrams (after the split of what GRO joined). 0 means that
    /// nothing usable waited. `batch` is emptied first. Datagrams longer than the batch's buffers are
    /// discarded.
    ///
    /// # Errors
    /// `InvalidInput` for a batch without GRO on a socket with it, else the kernel's; no peer can
    /// bring one about.
    pub fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        recv::recv(self, batch)
    }

    /// Sends the whole batch, [64 entries](crate::RECV_MESSAGES) a call, entries of several segments
    /// by GSO. It never fails as a whole: an entry the kernel refuses costs that entry, a full send
    /// buffer is waited for 2 ms in all and then costs the rest. The batch stays as it was.
    pub fn send(&mut self, batch: &SendBatch) -> SendReport {
        send::send(self, batch)
    }

    /// Datagrams the kernel has thrown away for this socket since it was opened, because its buffer
    /// was full; wraps around.
    ///
    /// # Errors
    /// `Unsupported` before Linux 4.12.
    pub fn kernel_drops(&self) -> io::Result<u32> {
        let mut info = [0u32; 16];
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the buffer is ours and `len` its size in bytes; the kernel writes at most that.
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

    /// Waits until a datagram can be read (`true`), the waker wakes or `timeout` is over (`false`).
    /// A signal may end the wait early. The waker is not drained.
    ///
    /// # Errors
    /// The kernel's, when it is out of memory.
    pub fn wait_readable(&self, waker: Option<&Waker>, timeout: Duration) -> io::Result<bool> {
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

    /// The socket for another driver, such as a QUIC endpoint; options stay as they are.
    pub fn into_std(self) -> std::net::UdpSocket {
        self.socket.into()
    }
}

impl std::fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("UdpSocket");
        out.field("fd", &self.as_raw_fd()).field("local", &self.local_addr().ok());
        out.field("gro", &self.gro).field("gso", &self.gso).finish()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether nobody has bound `addr`. Sockets of a `SO_REUSEPORT` group let a second process of the same
/// user in without a word, and the steering breaks; a bind without the option does not get in. Ask
/// before binding the group. Two servers that start in the same instant can still both be told yes.
///
/// # Errors
/// `AddrInUse` when somebody has, else what [`UdpSocket::bind`] gives.
pub fn probe_port_free(addr: SocketAddr) -> io::Result<()> {
    let socket = open(addr)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())
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
    let tell_address = libc::c_int::from(bound_address(options.addr).is_none());
    let service = libc::c_int::from(options.dscp) << 2;
    let dual = options.addr.is_ipv6() && !options.only_v6;
    if options.addr.is_ipv6() {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, tell_address)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, service)?;
    } else {
        // A dual-stack socket tells an IPv4 address by IPV6_PKTINFO, mapped.
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, tell_address)?;
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
    socket: &Socket,
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

/// Whether anything asked for came true; a signal counts as the end of the wait. A negative
/// descriptor is passed over.
fn poll(wanted: &mut [libc::pollfd], timeout: Duration) -> io::Result<bool> {
    let mut limit: libc::timespec = super::zeroed();
    limit.tv_sec = timeout.as_secs().min(i32::MAX as u64) as _;
    limit.tv_nsec = timeout.subsec_nanos() as _;
    let count = wanted.len() as libc::nfds_t;
    // SAFETY: `wanted` holds `count` entries and, like `limit`, outlives the call; no signal mask.
    match checked(unsafe { libc::ppoll(wanted.as_mut_ptr(), count, &limit, std::ptr::null()) }) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            wanted.iter_mut().for_each(|entry| entry.revents = 0);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
