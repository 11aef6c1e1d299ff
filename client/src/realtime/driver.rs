//! The task that moves the realtime plane's bytes: one UDP socket, one clock.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::link::Path;
use nucleus_protocol::time::Time;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Outgoing, Realtime, RealtimeCounters, Received};
use crate::queue::Queue;
use crate::roster::{PeerId, Slot};

/// Datagrams read before other work gets its turn.
const READ_BATCH: usize = 64;
/// "Nothing to do" still looks at the clock this often, which costs nothing.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What the roster tells the driver.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PeerChange {
    Joined(Slot, PeerId),
    Left(Slot, PeerId),
}

/// The one place that reads the clock for a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    fn instant(&self, time: Time) -> Instant {
        self.0 + time.since(Time::ZERO)
    }
}

/// What the application may ask about the link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    /// When this was written.
    pub(crate) at: Time,
    pub(crate) server_time: Option<Time>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) counters: RealtimeCounters,
}

/// What driver and application share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) outgoing: Queue<Outgoing>,
    pub(crate) incoming: Queue<Received>,
    status: Mutex<Status>,
}

impl Shared {
    pub(crate) fn new(clock: Clock, outgoing: usize, incoming: usize) -> Self {
        let (outgoing, incoming) = (Queue::new(outgoing), Queue::new(incoming));
        Self { clock, outgoing, incoming, status: Mutex::default() }
    }

    pub(crate) fn status(&self) -> Status {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that reaches `remote`, on a free port.
pub(crate) async fn socket_for(remote: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(unspecified(remote)).await
}

/// Any local address of the family of `remote`, any port.
pub(crate) fn unspecified(remote: SocketAddr) -> SocketAddr {
    let ip = match remote.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// Drives the core until the other end of `peers` is dropped.
pub(crate) async fn run(
    mut realtime: Realtime,
    socket: UdpSocket,
    shared: Arc<Shared>,
    mut peers: mpsc::Receiver<PeerChange>,
) {
    let mut buffer = Vec::with_capacity(limits::MAX_DATAGRAM);
    loop {
        flush(&mut realtime, &socket, &shared, &mut buffer).await;
        let sleep = sleep_until(wake_at(&realtime, &shared.clock));
        tokio::select! {
            change = peers.recv() => match change {
                Some(change) => apply(&mut realtime, shared.clock.now(), change),
                None => return,
            },
            message = shared.outgoing.pop() => realtime.send(message),
            // An error here has its say at the next read.
            _ = socket.readable() => receive(&mut realtime, &socket, &shared),
            () = sleep => realtime.handle_timeout(shared.clock.now()),
        }
    }
}

fn wake_at(realtime: &Realtime, clock: &Clock) -> Instant {
    let latest = Instant::now() + LONGEST_SLEEP;
    realtime
        .poll_timeout()
        .map_or(latest, |due| clock.instant(due.min(clock.now() + LONGEST_SLEEP)))
}

fn apply(realtime: &mut Realtime, now: Time, change: PeerChange) {
    match change {
        PeerChange::Joined(slot, peer) => realtime.add_peer(now, slot, peer),
        PeerChange::Left(slot, peer) => realtime.remove_peer(slot, peer),
    }
}

/// What has arrived, at most [`READ_BATCH`].
fn receive(realtime: &mut Realtime, socket: &UdpSocket, shared: &Shared) {
    // One byte more than the largest, so that a longer one is seen to be longer.
    let mut datagram = [0; limits::MAX_DATAGRAM + 1];
    for _ in 0..READ_BATCH {
        match socket.try_recv_from(&mut datagram) {
            Ok((len, remote)) => {
                let path = Path { remote, local: None };
                realtime.handle_input(shared.clock.now(), path, 0, &mut datagram[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // ICMP answers to what we sent (Windows reports them here) say nothing that the
            // link's own probes do not find out.
            Err(error) => tracing::debug!(%error, "realtime receive"),
        }
    }
}

/// Everything that is ready goes out, in as few datagrams as hold it; then what came in is handed
/// over and the status renewed.
async fn flush(realtime: &mut Realtime, socket: &UdpSocket, shared: &Shared, buffer: &mut Vec<u8>) {
    while let Some(message) = shared.outgoing.try_pop() {
        realtime.send(message);
    }
    loop {
        buffer.clear();
        let Some(path) = realtime.poll_output(shared.clock.now(), buffer) else { break };
        // A network that is gone for a moment is a loss like any other.
        if let Err(error) = socket.send_to(buffer, path.remote).await {
            tracing::debug!(%error, remote = %path.remote, "realtime send");
        }
    }
    while let Some(received) = realtime.poll_received() {
        shared.incoming.push(received);
    }
    publish(realtime, shared);
}

fn publish(realtime: &Realtime, shared: &Shared) {
    let at = shared.clock.now();
    let link = realtime.link();
    let (server_time, rtt) = (link.server_time(at), link.rtt());
    let status = Status { at, server_time, rtt, counters: realtime.counters() };
    *shared.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
}
