//! The same names over `std::net::UdpSocket`, for systems without Linux's batched calls.
//!
//! One call a datagram, no GSO, GRO, steering, time stamps, ECN or local addresses; sources asked for
//! are left to the system. What has no equivalent answers `Unsupported` (or does nothing, where it is
//! only an optimisation), as each item says. A server runs one shard here.

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

/// Longest sleep before the waker is looked at: there is no portable way to wait for both.
const WAKER_CHECK: Duration = Duration::from_millis(2);

/// Time a whole batch may wait for room in the send buffer.
const PATIENCE: Duration = Duration::from_millis(2);

/// Errors in a row that reading passes over: systems report here what became of earlier sends.
const PASSED_OVER: usize = 64;

/// A non-blocking UDP socket that receives and sends in batches (here: one by one).
#[derive(Debug)]
pub struct UdpSocket {
    socket: StdSocket,
    v6: bool,
}

impl UdpSocket {
    /// Binds a socket. `timestamps` and `gro` are passed over, `dscp` is set where the
    /// system lets us, buffers it does not grant are no error.
    ///
    /// # Errors
    /// `InvalidInput` for a DSCP above 63, `Unsupported` for `reuse_port`, else the system's.
    pub fn bind(options: &BindOptions) -> io::Result<UdpSocket> {
        if options.dscp > 63 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "DSCP must be 0-63"));
        }
        if options.reuse_port {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "one socket a port here"));
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

    /// The address bound, with the port the system chose where 0 was asked.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The receive buffer as granted, in bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.socket).recv_buffer_size()
    }

    /// Whether GRO is on: never.
    pub fn gro(&self) -> bool {
        false
    }

    /// Whether GSO is on: never.
    pub fn gso(&self) -> bool {
        false
    }

    /// Does nothing: GSO is off.
    pub fn disable_gso(&mut self) {}

    /// Reads what waits, at most [`RECV_MESSAGES`], never blocking, and gives the number of datagrams.
    /// `batch` is emptied first.
    ///
    /// # Errors
    /// The system's.
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
        for _ in 0..PASSED_OVER {
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

    /// Sends the whole batch. It never fails as a whole: what the system refuses costs its entry, a
    /// full send buffer is waited for 2 ms in all and then costs the rest.
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
                Err((io::ErrorKind::WouldBlock, _)) if since(start) < PATIENCE => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// Datagrams the system has thrown away for this socket: not told here.
    ///
    /// # Errors
    /// `Unsupported`, always.
    pub fn kernel_drops(&self) -> io::Result<u32> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits until a datagram can be read (`true`), the waker wakes or `timeout` is over (`false`).
    /// A waker is looked at every 2 ms. The waker is not drained.
    ///
    /// # Errors
    /// The system's.
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

    /// Whether a datagram waits, or arrives within `wait`.
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
            // An error of any other kind is for `recv` to see, a datagram longer than this buffer too.
            _ => Ok(true),
        }
    }

    /// The socket for another driver, such as a QUIC endpoint.
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

/// Ends a wait in [`UdpSocket::wait_readable`], within 2 ms here.
#[derive(Clone, Debug)]
pub struct Waker(Arc<AtomicBool>);

impl Waker {
    /// A waker.
    ///
    /// # Errors
    /// None here.
    pub fn new() -> io::Result<Self> {
        Ok(Waker(Arc::default()))
    }

    /// Ends the current wait, or the next one when none is under way.
    pub fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Takes back the wakes so far; until then every wait returns at once.
    pub fn drain(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Whether nobody has bound `addr`.
///
/// # Errors
/// `AddrInUse` when somebody has, else the system's.
pub fn probe_port_free(addr: SocketAddr) -> io::Result<()> {
    open(addr)?.bind(&addr.into())
}

/// Steering needs Linux.
///
/// # Errors
/// `Unsupported`, unless there is one shard and nothing to steer.
pub fn attach_steering<S>(_socket: &S, _plane: Steering, shards: u32) -> io::Result<()> {
    if shards == 1 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Keeping a thread on a core needs Linux.
///
/// # Errors
/// `Unsupported`, always.
pub fn pin_current_thread(_core: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A thread's own nice value needs Linux.
///
/// # Errors
/// `Unsupported`, always.
pub fn set_thread_nice(_nice: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The time a thread has used is read on Linux only: 0.
pub fn thread_cpu_micros() -> u64 {
    0
}

/// The limit of open files is left as it is.
///
/// # Errors
/// `Unsupported`, always.
pub fn raise_file_limit() -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A process's CPU time is read on Linux only.
///
/// # Errors
/// `Unsupported`, always.
pub fn process_cpu_seconds(_pid: Option<u32>) -> io::Result<f64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A process's memory is read on Linux only.
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

/// IPv4 where it is IPv4, however written.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, addr.port()),
        _ => addr, // with its scope
    }
}

/// As the socket's family needs it.
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
