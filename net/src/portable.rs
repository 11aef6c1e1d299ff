//! The crate's API over `std::net::UdpSocket`, for systems and sandboxes without Linux's batched
//! calls.
//!
//! One system call a datagram, without GSO, GRO, steering, time stamps, ECN or local addresses. The
//! source address of an entry is ignored. Functions without an equivalent return `Unsupported`;
//! mere optimisations do nothing. Each item says so. A server runs a single shard here.

use crate::{
    BindOptions, Clock, RECV_MESSAGES, RecvBatch, SendBatch, SendReport, Steering,
    recv_batch::MessageMeta, send_batch::SendEntry,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, SocketAddrV6, UdpSocket as StdSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Interval at which a wait checks the waker: there is no portable way to wait for the waker and
/// the socket together.
const WAKER_CHECK: Duration = Duration::from_millis(2);

/// Longest time that a whole batch may wait for space in the send buffer.
const MAX_WAIT: Duration = Duration::from_millis(2);

/// Most errors in a row that receiving ignores. Systems report ICMP errors about earlier sends
/// here.
const MAX_IGNORED_ERRORS: usize = 64;

/// A non-blocking UDP socket that receives and sends in batches, here with one call a datagram.
#[derive(Debug)]
pub struct UdpSocket {
    socket: StdSocket,
    v6: bool,
}

impl UdpSocket {
    /// Binds a socket. Ignores `timestamps` and `gro`. Sets `dscp` if the system permits it. A
    /// buffer that the system does not grant is no error.
    ///
    /// # Errors
    /// `InvalidInput` for a DSCP above 63, `Unsupported` for `reuse_port`, else the system's error.
    pub fn bind(options: &BindOptions) -> io::Result<UdpSocket> {
        if options.dscp > 63 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "DSCP must be 0-63"));
        }
        if options.reuse_port {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "reuse_port needs Linux"));
        }
        let (v6, socket) = (options.addr.is_ipv6(), open(options.addr)?);
        if v6 {
            socket.set_only_v6(options.only_v6)?;
        } else {
            let _ = socket.set_tos_v4(u32::from(options.dscp) << 2);
        }
        if options.recv_buffer > 0 {
            let _ = socket.set_recv_buffer_size(options.recv_buffer);
        }
        if options.send_buffer > 0 {
            let _ = socket.set_send_buffer_size(options.send_buffer);
        }
        socket.bind(&options.addr.into())?;
        socket.set_nonblocking(true)?;
        Ok(UdpSocket { socket: socket.into(), v6 })
    }

    /// Returns the local address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the granted size of the receive buffer in bytes.
    ///
    /// # Errors
    /// The system's error.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.socket).recv_buffer_size()
    }

    /// Returns whether the kernel stamps datagrams: always `false`.
    pub fn stamps(&self) -> bool {
        false
    }

    /// Returns whether GRO is on: always `false`.
    pub fn gro(&self) -> bool {
        false
    }

    /// Returns whether GSO is on: always `false`.
    pub fn gso(&self) -> bool {
        false
    }

    /// Does nothing, because GSO is always off.
    pub fn disable_gso(&mut self) {}

    /// Receives up to [`RECV_MESSAGES`] datagrams into `batch`, which is cleared first. Never
    /// blocks. Returns the number of datagrams.
    ///
    /// # Errors
    /// The system's error.
    pub fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.clear();
        let mut metas = [None; RECV_MESSAGES];
        let mut count = 0;
        for (meta, buffer) in metas.iter_mut().zip(batch.buffers()) {
            let Some((len, remote)) = self.recv_one(buffer)? else { break };
            let received = Clock::new().now();
            let remote = canonical(remote);
            *meta = Some(MessageMeta { remote, local: None, ecn: 0, received, len, segment: 0 });
            count += 1;
        }
        for (slot, meta) in metas.into_iter().flatten().enumerate() {
            batch.set(slot, meta);
        }
        Ok(count)
    }

    fn recv_one(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, WouldBlock};
        for _ in 0..MAX_IGNORED_ERRORS {
            match self.socket.recv_from(buffer) {
                Ok(received) => return Ok(Some(received)),
                Err(error) => match error.kind() {
                    WouldBlock => return Ok(None),
                    Interrupted | ConnectionReset | ConnectionRefused => {}
                    _ if error.raw_os_error() == Some(TOO_LONG) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(None)
    }

    /// Sends the whole batch. If the system refuses an entry, only this entry is lost. If the send
    /// buffer is full, waits up to 2 ms in total, then drops the rest.
    pub fn send(&mut self, batch: &SendBatch) -> SendReport {
        let (mut report, start) = (SendReport::default(), Clock::new().now());
        for entry in batch.entries() {
            self.send_entry(batch, entry, start, &mut report);
        }
        report
    }

    fn send_entry(&self, batch: &SendBatch, entry: &SendEntry, start: u64, out: &mut SendReport) {
        let (dest, mut offset) = (outward(entry.dest, self.v6), entry.start);
        loop {
            let end = entry.end.min(offset.saturating_add(entry.segment));
            match self.send_one(batch.bytes(offset..end), dest, start) {
                Ok(()) => {
                    out.sent_datagrams += 1;
                    out.sent_bytes += (end - offset) as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    out.dropped += entry.datagrams_from(offset);
                    return;
                }
                Err(_) => {
                    out.failed += entry.datagrams_from(offset);
                    return;
                }
            }
            offset = end;
            if offset >= entry.end {
                return;
            }
        }
    }

    fn send_one(&self, bytes: &[u8], dest: SocketAddr, start: u64) -> io::Result<()> {
        loop {
            match self.socket.send_to(bytes, dest).map_err(|error| (error.kind(), error)) {
                Ok(_) => return Ok(()),
                Err((io::ErrorKind::Interrupted, _)) => {}
                Err((io::ErrorKind::WouldBlock, _)) if since(start) < MAX_WAIT => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// Returns the number of datagrams that the system has dropped, which is not known here.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub fn kernel_drops(&self) -> io::Result<u32> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits until a datagram can be read, `waker` wakes or `timeout` is over. Returns whether a
    /// datagram can be read. Checks the waker every 2 ms, and does not drain it.
    ///
    /// # Errors
    /// The system's error.
    pub fn wait_readable(&self, waker: Option<&Waker>, timeout: Duration) -> io::Result<bool> {
        let start = Clock::new().now();
        loop {
            if waker.is_some_and(|waker| waker.0.load(Ordering::Acquire)) {
                return self.peek(None);
            }
            let left = timeout.saturating_sub(since(start));
            let step = if waker.is_some() { left.min(WAKER_CHECK) } else { left };
            if self.peek(Some(step).filter(|step| !step.is_zero()))? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Returns whether a datagram waits or arrives within `wait`.
    fn peek(&self, wait: Option<Duration>) -> io::Result<bool> {
        if let Some(wait) = wait {
            self.socket.set_read_timeout(Some(wait))?;
            self.socket.set_nonblocking(false)?;
        }
        let peeked = self.socket.peek_from(&mut [0; 1]);
        self.socket.set_nonblocking(true)?;
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        match peeked.map_err(|error| error.kind()) {
            Err(WouldBlock | TimedOut | Interrupted) => Ok(false),
            // `recv` handles other errors, one for a datagram longer than this buffer included.
            _ => Ok(true),
        }
    }

    /// Converts the socket for another driver, such as a QUIC endpoint.
    pub fn into_std(self) -> StdSocket {
        self.socket
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for UdpSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `WSAEMSGSIZE`: Windows reports a datagram longer than the buffer as an error.
const TOO_LONG: i32 = 10_040;

/// Ends another thread's wait in [`UdpSocket::wait_readable`], here within 2 ms.
#[derive(Clone, Debug)]
pub struct Waker(Arc<AtomicBool>);

impl Waker {
    /// Creates a waker.
    ///
    /// # Errors
    /// Never fails here.
    pub fn new() -> io::Result<Self> {
        Ok(Waker(Arc::default()))
    }

    /// Ends the current wait, or the next one if no wait is in progress.
    pub fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Clears all wakes so far. Until then every wait returns at once.
    pub fn drain(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Checks that no socket is bound to `addr`.
///
/// # Errors
/// `AddrInUse` if a socket is bound to `addr`, else the system's error.
pub fn probe_port_free(addr: SocketAddr) -> io::Result<()> {
    open(addr)?.bind(&addr.into())
}

/// Does nothing for a single shard. Steering needs Linux.
///
/// # Errors
/// `Unsupported` for several shards.
pub fn attach_steering<S>(_socket: &S, _plane: Steering, shards: u32) -> io::Result<()> {
    if shards == 1 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Pins a thread on Linux only.
///
/// # Errors
/// `Unsupported`, always.
pub fn pin_current_thread(_core: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets a thread's nice value on Linux only.
///
/// # Errors
/// `Unsupported`, always.
pub fn set_thread_nice(_nice: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns 0. The CPU time of a thread is known on Linux only.
pub fn thread_cpu_micros() -> u64 {
    0
}

/// Raises the limit of open files on Linux only.
///
/// # Errors
/// `Unsupported`, always.
pub fn raise_file_limit() -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Turns the joining of datagrams off on Linux only.
///
/// # Errors
/// `Unsupported`, always.
pub fn disable_gro(_socket: &StdSocket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Does nothing here: the number of file descriptors is checked on Linux only.
///
/// # Errors
/// None here.
pub fn probe_descriptors(_count: usize) -> io::Result<()> {
    Ok(())
}

/// Returns a process's CPU time on Linux only.
///
/// # Errors
/// `Unsupported`, always.
pub fn process_cpu_seconds(_pid: Option<u32>) -> io::Result<f64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns a process's resident memory on Linux only.
///
/// # Errors
/// `Unsupported`, always.
pub fn process_rss_bytes(_pid: Option<u32>) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
}

fn since(start: u64) -> Duration {
    Duration::from_micros(Clock::new().now().saturating_sub(start))
}

/// Converts an IPv4-mapped IPv6 address to IPv4.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, addr.port()),
        _ => addr, // keeps its scope
    }
}

/// Converts a destination to the socket's address family.
fn outward(addr: SocketAddr, v6: bool) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if v6 => {
            SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
        }
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(_) if v6 => addr,
        SocketAddr::V6(_) => canonical(addr),
    }
}

#[cfg(test)]
mod tests;
