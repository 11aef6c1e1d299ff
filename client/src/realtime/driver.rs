//! The realtime task: drives [`Realtime`] with a UDP socket, the session's QUIC datagrams, and the
//! clock.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::link::{Path, Route};
use nucleus_protocol::time::Time;
use tokio::net::UdpSocket;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{OutgoingMessage, Realtime};
use crate::clock::ClientClock;
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

/// A new session, with the path of its link.
pub(crate) struct NewConnection {
    pub(crate) connection: quinn::Connection,
    /// The address of the realtime plane.
    pub(crate) remote: SocketAddr,
}

/// The realtime plane, which the realtime task and the application share.
pub(crate) struct DriverShared {
    pub(crate) clock: ClientClock,
    realtime: Mutex<Realtime>,
    /// The connection whose link the realtime plane has. Changes under its lock.
    connection: AtomicUsize,
    /// Wakes the realtime task after the application has changed something.
    task: Notify,
    /// Wakes the application after something has arrived.
    callers: Notify,
}

impl DriverShared {
    pub(crate) fn new(
        clock: ClientClock,
        realtime: Realtime,
        connection: &quinn::Connection,
    ) -> Self {
        Self {
            clock,
            realtime: Mutex::new(realtime),
            connection: AtomicUsize::new(connection.stable_id()),
            task: Notify::new(),
            callers: Notify::new(),
        }
    }

    /// Continues over the link of another connection.
    pub(crate) fn relink(
        &self,
        connection: &quinn::Connection,
        relink: impl FnOnce(&mut Realtime, Time),
    ) {
        self.change(|realtime, now| {
            self.connection.store(connection.stable_id(), Ordering::Relaxed);
            relink(realtime, now);
        });
    }

    /// Handles a datagram that was received inside a session.
    fn handle_session_input(&self, connection: &quinn::Connection, datagram: &[u8]) {
        let mut realtime = self.read();
        // The slots in a datagram of an earlier session may belong to other peers now.
        if self.connection.load(Ordering::Relaxed) == connection.stable_id() {
            realtime.handle_session_input(self.clock.now(), datagram);
        }
    }

    /// Reads from the realtime plane. Must not be called while the result of an earlier call is
    /// held.
    pub(crate) fn read(&self) -> MutexGuard<'_, Realtime> {
        // No code panics while it holds the lock, and each step leaves the plane consistent.
        self.realtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the realtime plane, and wakes its task.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Realtime, Time)) {
        change(&mut self.read(), self.clock.now());
        self.task.notify_one();
    }

    pub(crate) fn send(&self, message: OutgoingMessage) {
        self.change(|realtime, _| realtime.send(message));
    }

    /// Waits until something arrives.
    pub(crate) fn arrived(&self) -> Notified<'_> {
        self.callers.notified()
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
    /// Opens a socket.
    pub(crate) async fn open(
        new: NewConnection,
        endpoint: CurrentEndpoint,
        shared: Arc<DriverShared>,
    ) -> io::Result<Self> {
        let NewConnection { connection, remote } = new;
        let socket = UdpSocket::bind(unspecified(remote)).await?;
        let (local, buffer) = (local_address(remote), Vec::with_capacity(limits::MAX_DATAGRAM));
        let replace_socket_at = None;
        Ok(Self { socket, endpoint, connection, shared, remote, local, replace_socket_at, buffer })
    }

    /// Runs until the sender of `connections` is dropped.
    pub(crate) async fn run(mut self, mut connections: mpsc::Receiver<NewConnection>) {
        let mut checks = interval(NETWORK_CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // False from the loss of the connection until the next one.
        let mut connected = true;
        loop {
            self.flush().await;
            if self.shared.read().has_event() {
                self.shared.callers.notify_waiters();
            }
            let sleep = sleep_until(wake_at(&self.shared));
            tokio::select! {
                new = connections.recv() => match new {
                    Some(new) => {
                        self.reconnect(new).await;
                        connected = true;
                    }
                    None => return,
                },
                () = self.shared.task.notified() => {}
                // Ignore an error here: the next read returns it again.
                _ = self.socket.readable(), if self.replace_socket_at.is_none() => self.receive(),
                () = until(self.replace_socket_at) => self.renew_socket().await,
                datagram = self.connection.read_datagram(), if connected => match datagram {
                    Ok(bytes) => self.shared.handle_session_input(&self.connection, &bytes),
                    Err(_) => connected = false,
                },
                _ = checks.tick() => self.check_network().await,
                () = sleep => {
                    // Read the socket before timers expire: this process may have been suspended,
                    // and waiting datagrams show that the other side is alive.
                    self.receive();
                    let now = self.shared.clock.now();
                    self.shared.read().handle_timeout(now);
                }
            }
        }
    }

    async fn reconnect(&mut self, new: NewConnection) {
        (self.remote, self.connection) = (new.remote, new.connection);
        // While a device sleeps, its operating system may close the socket.
        self.renew_socket().await;
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
        self.shared.read().network_changed();
        let session = std::net::UdpSocket::bind(unspecified(self.connection.remote_address()));
        if let Err(error) = session.and_then(|socket| self.endpoint.get().rebind(socket)) {
            tracing::debug!(%error, "no new session socket");
        }
    }

    /// Reads waiting datagrams.
    fn receive(&mut self) {
        let Self { socket, shared, .. } = self;
        let mut realtime = shared.read();
        let is_broken = receive_batch(
            |buffer| socket.try_recv_from(buffer),
            |remote, datagram| {
                let path = Path { remote, local: None };
                realtime.handle_input(shared.clock.now(), path, 0, datagram);
            },
        );
        drop(realtime);
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

    /// Sends everything that is ready, in as few datagrams as possible.
    async fn flush(&mut self) {
        loop {
            self.buffer.clear();
            let now = self.shared.clock.now();
            let route = self.shared.read().poll_output(now, &mut self.buffer);
            let Some(route) = route else { return };
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
    }
}

fn wake_at(shared: &DriverShared) -> Instant {
    let latest = Instant::now() + LONGEST_SLEEP;
    let due = shared.read().deadline().and_then(|due| shared.clock.instant(due));
    due.map_or(latest, |due| due.min(latest))
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
