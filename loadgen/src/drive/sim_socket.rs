//! A UDP socket for quinn behind a simulated network. The datagrams of each direction pass through
//! a seeded pipe.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nucleus_net::Clock;
use nucleus_netsim::{Conditions, Pipe};
use nucleus_protocol::time::Time;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::sim_network::{AddressChanges, SimDatagram};
use crate::load::payload::Stream;
use crate::load::plan::Plan;
use crate::shared::{RunShared, lock};

/// Datagrams that may wait for quinn to read them, as in a small socket buffer.
const MAX_ARRIVED: usize = 1_024;
/// The largest datagram that is read, bytes.
const MAX_DATAGRAM: usize = 2_048;

/// The socket that quinn uses. A separate task moves the datagrams.
pub(crate) struct SimSocket {
    shared: Arc<SimSocketShared>,
    local: SocketAddr,
}

/// The datagrams between the socket and its task.
struct SimSocketState {
    up: Pipe<SimDatagram>,
    arrived: VecDeque<SimDatagram>,
    reader: Option<Waker>,
    closed: bool,
}

/// The state that the socket and its task share.
struct SimSocketShared {
    state: Mutex<SimSocketState>,
    changed: Notify,
    run: Arc<RunShared>,
    /// Whether the headset of this socket is in the share of headsets that faults affect.
    is_affected: bool,
}

impl SimSocketShared {
    fn state(&self) -> MutexGuard<'_, SimSocketState> {
        lock(&self.state)
    }

    fn in_outage(&self) -> bool {
        self.is_affected && self.run.faults.in_outage()
    }
}

impl SimSocket {
    /// Binds a free port of `ip`, for a headset of the plan, and starts the task on the current
    /// runtime.
    ///
    /// # Errors
    ///
    /// If no socket can be bound.
    pub(crate) async fn bind(
        ip: IpAddr,
        conditions: &Conditions,
        plan: &Plan,
        run: &Arc<RunShared>,
        headset: u32,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind((ip, 0)).await?;
        let local = socket.local_addr()?;
        let source = plan.source(headset);
        let seed = source.mix(Stream::Session, 0);
        let state = SimSocketState {
            up: Pipe::new(seed, conditions.clone()),
            arrived: VecDeque::new(),
            reader: None,
            closed: false,
        };
        let shared = Arc::new(SimSocketShared {
            state: Mutex::new(state),
            changed: Notify::new(),
            run: run.clone(),
            is_affected: plan.is_affected(headset),
        });
        let pump = Pump {
            socket,
            down: Pipe::new(!seed, conditions.clone()),
            clock: Clock::new(),
            address_changes: AddressChanges::new(plan, run, source, run.clock.now()),
            shared: shared.clone(),
        };
        tokio::spawn(pump.run());
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
        if self.shared.in_outage() {
            return Ok(());
        }
        for datagram in transmit.contents.chunks(segment) {
            let datagram = SimDatagram { remote: transmit.destination, data: datagram.to_vec() };
            self.shared.state().up.handle_input(now, datagram.data.len(), datagram);
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
            let Some(SimDatagram { remote, data }) = state.arrived.pop_front() else { break };
            let len = data.len().min(buf.len());
            buf[..len].copy_from_slice(&data[..len]);
            *meta = RecvMeta { addr: remote, len, stride: len, ecn: None, dst_ip: None };
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

/// A poller that always reports the socket as writable. The pipe accepts every datagram, and drops
/// what exceeds its queue.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Moves datagrams between the real socket and the pipes.
struct Pump {
    shared: Arc<SimSocketShared>,
    socket: UdpSocket,
    down: Pipe<SimDatagram>,
    clock: Clock,
    address_changes: AddressChanges,
}

impl Pump {
    /// Runs until quinn drops the socket.
    async fn run(mut self) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let now = self.now();
            if self.address_changes.take(now) {
                self.change_address().await;
            }
            let Some(wait) = self.deliver() else { return };
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    // Ignore an error: it is an ICMP answer to an earlier datagram, and the next
                    // call works.
                    if let Ok((len, from)) = received && !self.shared.in_outage() {
                        let now = self.now();
                        let datagram =
                            SimDatagram { remote: from, data: buffer[..len].to_vec() };
                        self.down.handle_input(now, len, datagram);
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

    /// Changes the source port without telling either end, as a NAT that has lost its mapping does.
    async fn change_address(&mut self) {
        if let Ok(local) = self.socket.local_addr()
            && let Ok(socket) = UdpSocket::bind((local.ip(), 0)).await
        {
            self.socket = socket;
        }
    }

    /// Moves the datagrams that are due. Returns the time until the next are due, or `None` once
    /// quinn has dropped the socket.
    fn deliver(&mut self) -> Option<Duration> {
        let now = self.now();
        let mut state = self.shared.state();
        if state.closed {
            return None;
        }
        while let Some(datagram) = state.up.poll_output(now) {
            // A full send buffer loses the datagram, as with a real socket.
            let _ = self.socket.try_send_to(&datagram.data, datagram.remote);
        }
        let mut woken = false;
        while let Some(datagram) = self.down.poll_output(now) {
            if state.arrived.len() < MAX_ARRIVED {
                state.arrived.push_back(datagram);
            }
            woken = true;
        }
        let due = [state.up.deadline(), self.down.deadline(), self.address_changes.deadline()]
            .into_iter()
            .flatten()
            .min();
        let reader = if woken { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(due.map_or(Duration::from_secs(3_600), |due| due.since(now)))
    }
}
