//! The realtime task: drives [`Realtime`] with a UDP socket, the session's QUIC datagrams, and the
//! clock.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, LinkConfig, Path, Route};
use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::time::Time;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::speaking::{Speaking, SpeakingChange};
use super::{MessageView, OutgoingMessage, Realtime, RealtimeCounters, ReceivedMessage};
use crate::queue::Queue;
use crate::roster::{PeerId, Slot};
use crate::session::{CurrentEndpoint, unspecified};
use crate::until::until;

/// Datagrams that are read before other work continues.
const READ_BATCH: usize = 64;
/// Longest time that the task sleeps when there is nothing to do.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Time after which a broken socket is replaced. A new one may be as broken, so this bounds the work.
const SOCKET_PAUSE: Duration = Duration::from_secs(1);
/// How often the task checks whether this machine's address has changed. After a change, a roaming
/// headset sends from its new address at once.
const NETWORK_CHECK: Duration = Duration::from_secs(2);

/// Speaking changes that may wait for the application. When the queue is full, the oldest is
/// dropped.
const SPEAKING_CHANGES: usize = 512;

/// A command of the room's task to the realtime task.
pub(crate) enum DriverCommand {
    /// The roster names a peer.
    Joined(Slot, PeerId),
    /// A peer left.
    Left(Slot, PeerId),
    /// There is a new session, and with it a new link.
    Relink {
        config: Box<LinkConfig>,
        connection: quinn::Connection,
        /// Whether the room instance is the same as before.
        same_room: bool,
    },
}

/// The clock of a room. Only this type reads the system's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DriverClock(Instant);

impl DriverClock {
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

/// The state of the link as the application can query it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkStatus {
    /// When this status was written.
    pub(crate) at: Time,
    pub(crate) server_time: Option<Time>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) fallbacks: u64,
    pub(crate) counters: RealtimeCounters,
}

/// Data that the realtime task and the application share.
pub(crate) struct DriverShared {
    pub(crate) clock: DriverClock,
    pub(crate) outgoing: Queue<OutgoingMessage>,
    pub(crate) incoming: Queue<ReceivedMessage>,
    /// Whether the realtime port does not answer and the session carries the realtime datagrams.
    pub(crate) on_fallback: watch::Sender<bool>,
    /// The peers that are speaking. Written by the realtime task alone.
    speaking: Mutex<Speaking>,
    /// Changes of `speaking` that wait for the application.
    pub(crate) speaking_changes: Queue<SpeakingChange>,
    status: Mutex<LinkStatus>,
}

impl DriverShared {
    pub(crate) fn new(clock: DriverClock, outgoing: usize, incoming: usize) -> Self {
        let (outgoing, incoming) = (Queue::new(outgoing), Queue::new(incoming));
        let on_fallback = watch::Sender::new(false);
        let (speaking, speaking_changes) = (Mutex::default(), Queue::new(SPEAKING_CHANGES));
        Self {
            clock,
            outgoing,
            incoming,
            on_fallback,
            speaking,
            speaking_changes,
            status: Mutex::default(),
        }
    }

    pub(crate) fn speaking(&self) -> MutexGuard<'_, Speaking> {
        self.speaking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> LinkStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the local address from which this machine reaches `remote`. Sends nothing.
fn local_address(remote: SocketAddr) -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(unspecified(remote)).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// The state of the realtime task.
pub(crate) struct Driver {
    realtime: Realtime,
    socket: UdpSocket,
    endpoint: CurrentEndpoint,
    connection: quinn::Connection,
    shared: Arc<DriverShared>,
    remote: SocketAddr,
    local: Option<IpAddr>,
    /// When a socket that only returns errors is replaced. It is not read before.
    replace_socket_at: Option<Instant>,
    buffer: Vec<u8>,
}

impl Driver {
    /// Opens a socket and creates the link.
    pub(crate) async fn open(
        config: LinkConfig,
        endpoint: CurrentEndpoint,
        connection: quinn::Connection,
        shared: Arc<DriverShared>,
    ) -> io::Result<Self> {
        let remote = config.path.map_or(connection.remote_address(), |path| path.remote);
        let realtime = Realtime::new(Link::new(shared.clock.now(), config));
        let socket = UdpSocket::bind(unspecified(remote)).await?;
        let (local, buffer) = (local_address(remote), Vec::with_capacity(limits::MAX_DATAGRAM));
        Ok(Self {
            realtime,
            socket,
            endpoint,
            connection,
            shared,
            remote,
            local,
            replace_socket_at: None,
            buffer,
        })
    }

    /// Runs until the sender of `commands` is dropped.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<DriverCommand>) {
        let mut checks = interval(NETWORK_CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // False from the loss of the connection until the next `Relink`.
        let mut connected = true;
        loop {
            self.flush().await;
            let sleep = sleep_until(wake_at(&self.realtime, &self.shared));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => connected |= self.take(command).await,
                    None => return,
                },
                message = self.shared.outgoing.pop() => self.realtime.send(message),
                // Ignore an error here: the next read returns it again.
                _ = self.socket.readable(), if self.replace_socket_at.is_none() => self.receive(),
                () = until(self.replace_socket_at) => self.renew_socket().await,
                datagram = self.connection.read_datagram(), if connected => match datagram {
                    Ok(bytes) => self.realtime.handle_session_input(self.shared.clock.now(), &bytes),
                    Err(_) => connected = false,
                },
                _ = checks.tick() => self.check_network().await,
                () = sleep => {
                    // Read the socket before timers expire: this process may have been suspended,
                    // and waiting datagrams show that the other side is alive.
                    self.receive();
                    self.realtime.handle_timeout(self.shared.clock.now());
                }
            }
        }
    }

    /// Carries out a command. Returns whether there is a new connection.
    async fn take(&mut self, command: DriverCommand) -> bool {
        let now = self.shared.clock.now();
        match command {
            DriverCommand::Joined(slot, peer) => self.realtime.add_peer(now, slot, peer),
            DriverCommand::Left(slot, peer) => {
                self.realtime.remove_peer(slot, peer);
                self.shared.speaking().forget(peer);
            }
            DriverCommand::Relink { config, connection, same_room } => {
                self.remote = config.path.map_or(connection.remote_address(), |path| path.remote);
                self.connection = connection;
                self.realtime.relink(Link::new(now, *config), same_room);
                if !same_room {
                    *self.shared.speaking() = Speaking::default();
                    // The queued messages name peers of the other instance.
                    while self.shared.incoming.try_pop().is_some() {}
                    while self.shared.outgoing.try_pop().is_some() {}
                }
                // While a device sleeps, its operating system may close the socket.
                self.renew_socket().await;
                return true;
            }
        }
        false
    }

    /// Moves both planes to new sockets if this machine's address has changed.
    async fn check_network(&mut self) {
        let local = local_address(self.remote);
        if local.is_none() || local == self.local {
            return;
        }
        tracing::debug!(from = ?self.local, to = ?local, "the network has changed");
        self.local = local;
        self.renew_socket().await;
        self.realtime.network_changed();
        let session = std::net::UdpSocket::bind(unspecified(self.connection.remote_address()));
        if let Err(error) = session.and_then(|socket| self.endpoint.get().rebind(socket)) {
            tracing::debug!(%error, "no new session socket");
        }
    }

    /// Reads waiting datagrams.
    fn receive(&mut self) {
        let Self { realtime, socket, shared, .. } = self;
        let is_broken = receive_batch(
            |buffer| socket.try_recv_from(buffer),
            |remote, datagram| {
                let path = Path { remote, local: None };
                realtime.handle_input(shared.clock.now(), path, 0, datagram);
            },
        );
        if is_broken {
            self.replace_socket_at.get_or_insert_with(|| Instant::now() + SOCKET_PAUSE);
        }
    }

    async fn renew_socket(&mut self) {
        self.replace_socket_at = None;
        // If this fails, the old socket stays in use.
        if let Ok(socket) = UdpSocket::bind(unspecified(self.remote)).await {
            self.socket = socket;
        }
    }

    /// Sends everything that is ready, in as few datagrams as possible. Then hands received
    /// messages to the application and updates the status.
    async fn flush(&mut self) {
        while let Some(message) = self.shared.outgoing.try_pop() {
            self.realtime.send(message);
        }
        loop {
            self.buffer.clear();
            let now = self.shared.clock.now();
            let Some(route) = self.realtime.poll_output(now, &mut self.buffer) else { break };
            let bytes = route.wire(&self.buffer);
            match route {
                // A failed send counts as a lost datagram.
                Route::Realtime(path) => {
                    if let Err(error) = self.socket.send_to(bytes, path.remote).await {
                        tracing::debug!(%error, remote = %path.remote, "realtime send");
                    }
                }
                // If the session is lost or too slow, the datagram also counts as lost.
                Route::Session => {
                    if self.connection.datagram_send_buffer_space() >= bytes.len() {
                        let _sent = self.connection.send_datagram(Bytes::copy_from_slice(bytes));
                    }
                }
            }
        }
        let now = self.shared.clock.now();
        while let Some(received) = self.realtime.pop(now) {
            update_speaking(&self.shared, now, &received);
            self.shared.incoming.push(received.to_message());
        }
        let stopped = self.shared.speaking().handle_timeout(now).collect::<Vec<_>>();
        stopped.into_iter().for_each(|change| self.shared.speaking_changes.push(change));
        let connected = self.connection.close_reason().is_none();
        publish(&self.realtime, &self.shared, connected);
    }
}

fn update_speaking(shared: &DriverShared, now: Time, received: &MessageView<'_>) {
    if received.kind != MessageKind::Voice {
        return;
    }
    let Some(Voice { level, speaking, .. }) = Voice::parse(received.payload) else { return };
    if let Some(change) = shared.speaking().on_voice(now, received.from, level, speaking) {
        shared.speaking_changes.push(change);
    }
}

fn wake_at(realtime: &Realtime, shared: &DriverShared) -> Instant {
    let (clock, latest) = (&shared.clock, Instant::now() + LONGEST_SLEEP);
    let due = [realtime.deadline(), shared.speaking().deadline()];
    due.into_iter()
        .flatten()
        .min()
        .map_or(latest, |due| clock.instant(due.min(clock.now() + LONGEST_SLEEP)))
}

/// Takes waiting datagrams, at most [`READ_BATCH`]. Returns whether the socket is broken: every read
/// was an error, and no read said that nothing waits. Such a socket would stay readable for ever.
fn receive_batch(
    read: impl Fn(&mut [u8]) -> io::Result<(usize, SocketAddr)>,
    mut take: impl FnMut(SocketAddr, &mut [u8]),
) -> bool {
    // One byte more than the largest datagram, so that a longer datagram is recognized.
    let mut datagram = [0; limits::MAX_DATAGRAM + 1];
    let mut has_received = false;
    for _ in 0..READ_BATCH {
        match read(&mut datagram) {
            Ok((len, remote)) => {
                has_received = true;
                take(remote, &mut datagram[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // One error alone means little. Windows reports ICMP errors here, for example, and the
            // link's own probes find the same problems.
            Err(error) => tracing::debug!(%error, "realtime receive"),
        }
    }
    !has_received
}

fn publish(realtime: &Realtime, shared: &DriverShared, connected: bool) {
    let at = shared.clock.now();
    let link = realtime.link();
    let (server_time, rtt, fallbacks) = (link.server_time(at), link.rtt(), link.fallbacks());
    let status = LinkStatus { at, server_time, rtt, fallbacks, counters: realtime.counters() };
    *shared.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    // While the link is undecided or the session is lost, the state of the realtime port is
    // unknown.
    if !connected || link.is_undecided(at) {
        return;
    }
    let on_fallback = link.on_fallback(at);
    shared
        .on_fallback
        .send_if_modified(|known| std::mem::replace(known, on_fallback) != on_fallback);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_socket_that_only_returns_errors_is_broken() {
        let outcome = |outcomes: fn(usize) -> io::Result<(usize, SocketAddr)>| {
            let (reads, taken) = (Cell::new(0), Cell::new(0));
            let read = |_: &mut [u8]| outcomes(reads.replace(reads.get() + 1));
            let is_broken = receive_batch(read, |_, _| taken.set(taken.get() + 1));
            (is_broken, reads.get(), taken.get())
        };
        assert_eq!(outcome(|_| Err(io::ErrorKind::ConnectionReset.into())), (true, READ_BATCH, 0));
        let one_error = |read| {
            let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::WouldBlock];
            Err(kinds[usize::min(read, 1)].into())
        };
        assert_eq!(outcome(one_error), (false, 2, 0));
        let flood = |_| Ok((3, ([192, 0, 2, 1], 5056).into()));
        assert_eq!(outcome(flood), (false, READ_BATCH, READ_BATCH));
    }
}
