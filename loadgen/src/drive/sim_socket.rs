//! A UDP socket for quinn behind a simulated network: both directions pass through a seeded pipe.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nucleus_net::Clock;
use nucleus_netsim::{Conditions, Pipe};
use nucleus_protocol::time::Time;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::shared::RunShared;

/// Datagrams that may wait for quinn to read them, as in a small socket buffer.
const MAX_ARRIVED: usize = 1_024;
/// Largest datagram read.
const MAX_DATAGRAM: usize = 2_048;

/// A datagram and who it comes from or goes to.
type Parcel = (SocketAddr, Vec<u8>);

/// The socket that quinn holds; a task of its own moves the datagrams.
pub(crate) struct SimSocket {
    shared: Arc<SimSocketShared>,
    local: SocketAddr,
}

#[derive(Default)]
struct SimSocketState {
    up: Option<Pipe<Parcel>>,
    arrived: VecDeque<Parcel>,
    reader: Option<Waker>,
    closed: bool,
}

struct SimSocketShared {
    state: Mutex<SimSocketState>,
    changed: Notify,
    run: Arc<RunShared>,
    /// Faults that concern a share of the headsets concern its own.
    affected: bool,
}

impl SimSocketShared {
    fn state(&self) -> MutexGuard<'_, SimSocketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dark(&self) -> bool {
        self.affected && self.run.faults.in_outage()
    }

    fn address_changes(&self) -> u32 {
        if self.affected { self.run.faults.address_changes() } else { 0 }
    }
}

impl SimSocket {
    /// Binds a free port of `ip` and starts the task on the current runtime.
    ///
    /// While it is dark for it, nothing passes; `concerned` says whether the run's faults concern it.
    pub(crate) async fn bind(
        ip: IpAddr,
        (seed, conditions): (u64, Conditions),
        first_address: Option<Time>,
        (run, affected): (Arc<RunShared>, bool),
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind((ip, 0)).await?;
        let local = socket.local_addr()?;
        let shared = Arc::new(SimSocketShared {
            state: Mutex::default(),
            changed: Notify::new(),
            run,
            affected,
        });
        shared.state().up = Some(Pipe::new(seed, conditions.clone()));
        let down = Pipe::new(!seed, conditions.clone());
        let address_changes = shared.address_changes();
        let pump =
            Pump { shared: shared.clone(), socket, down, clock: Clock::new(), address_changes };
        tokio::spawn(pump.run(first_address.zip(conditions.new_address_every)));
        Ok(SimSocket { shared, local })
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
    }
}

impl AsyncUdpSocket for SimSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let now = Time::from_micros(Clock::new().now());
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        if self.shared.dark() {
            return Ok(());
        }
        if let Some(up) = &mut self.shared.state().up {
            for datagram in transmit.contents.chunks(segment) {
                let parcel = (transmit.destination, datagram.to_vec());
                up.handle_input(now, datagram.len(), parcel);
            }
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.shared.state();
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some((addr, data)) = state.arrived.pop_front() else { break };
            let len = data.len().min(buf.len());
            buf[..len].copy_from_slice(&data[..len]);
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimSocket").field("local", &self.local).finish_non_exhaustive()
    }
}

/// The pipe upwards takes whatever comes, and drops what is too much like a real queue.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Between the real socket and the pipes.
struct Pump {
    shared: Arc<SimSocketShared>,
    socket: UdpSocket,
    down: Pipe<Parcel>,
    clock: Clock,
    /// Moves that it has made.
    address_changes: u32,
}

impl Pump {
    async fn run(mut self, mut next_address: Option<(Time, Duration)>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            if let Some((due, every)) = &mut next_address
                && Time::from_micros(self.clock.now()) >= *due
            {
                *due += *every;
                self.change_address().await;
            }
            if self.shared.address_changes() > self.address_changes {
                self.address_changes = self.shared.address_changes();
                self.change_address().await;
            }
            let Some(wait) = self.deliver(next_address.map(|(due, _)| due)) else { return };
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    // An error here is an ICMP echo of something sent; the next call goes on.
                    if let Ok((len, from)) = received && !self.shared.dark() {
                        let now = self.now();
                        self.down.handle_input(now, len, (from, buffer[..len].to_vec()));
                    }
                }
                () = self.shared.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }

    /// A new source port, as a NAT that forgot gives it: neither end is told.
    async fn change_address(&mut self) {
        if let Ok(local) = self.socket.local_addr()
            && let Ok(socket) = UdpSocket::bind((local.ip(), 0)).await
        {
            self.socket = socket;
        }
    }

    /// Moves what is due; gives the time until there is more to do, `None` once quinn is gone.
    fn deliver(&mut self, next_address: Option<Time>) -> Option<Duration> {
        let now = self.now();
        let mut state = self.shared.state();
        if state.closed {
            return None;
        }
        while let Some((to, data)) = state.up.as_mut().and_then(|up| up.poll_output(now)) {
            // A full send buffer loses the datagram, as a real one would.
            let _ = self.socket.try_send_to(&data, to);
        }
        let mut woken = false;
        while let Some(parcel) = self.down.poll_output(now) {
            if state.arrived.len() < MAX_ARRIVED {
                state.arrived.push_back(parcel);
            }
            woken = true;
        }
        let up_due = state.up.as_ref().and_then(Pipe::deadline);
        let due = [up_due, self.down.deadline(), next_address].into_iter().flatten().min();
        let reader = if woken { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(due.map_or(Duration::from_secs(3_600), |due| due.since(now)))
    }
}
