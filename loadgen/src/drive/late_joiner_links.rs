//! The late joiners' links to the realtime plane. One plain thread drives all of them: it keeps the
//! links alive, opens what arrives, and counts the messages.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use nucleus_client::session::Session;
use nucleus_net::{RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket};
use nucleus_protocol::link::{Link, LinkConfig, Path, Route};
use nucleus_protocol::time::Time;

use super::headset::{bind, path_of, send_datagram};
use crate::shared::RunShared;

/// Time between two reads of a late joiner's socket, µs. A default receive buffer holds several
/// times what arrives in this time.
const POLL_INTERVAL: u64 = 20_000;
/// Commands that may wait for the thread. Further datagrams are lost, as in a full socket buffer.
const COMMAND_QUEUE: usize = 1 << 14;

/// A handle to the thread. Clones belong to the same thread.
#[derive(Clone)]
pub(crate) struct LateJoinerLinks {
    commands: mpsc::SyncSender<LinksCommand>,
    messages_received: Arc<AtomicU64>,
}

/// A command to the thread.
enum LinksCommand {
    /// Opens the link of a session.
    Open(Box<LinkConfig>, quinn::Connection),
    /// Handles a datagram that arrived inside the session with this stable id.
    Datagram(usize, Bytes),
}

/// The link of one late joiner.
struct LateJoinerLink {
    link: Link,
    socket: UdpSocket,
    connection: quinn::Connection,
}

impl LateJoinerLinks {
    /// Starts the thread, which runs until the run is finished.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) fn start(shared: Arc<RunShared>) -> io::Result<Self> {
        let (commands, received) = mpsc::sync_channel(COMMAND_QUEUE);
        let messages_received = Arc::<AtomicU64>::default();
        let counter = messages_received.clone();
        let work = move || run(&shared, &received, &counter);
        std::thread::Builder::new().name("late-join-links".into()).spawn(work)?;
        Ok(LateJoinerLinks { commands, messages_received })
    }

    /// Takes over the link and the datagrams of a session that has just joined.
    ///
    /// # Errors
    ///
    /// If the session's link cannot be used, or the thread's queue is full.
    pub(crate) fn add_session(&self, session: &Session) -> Result<(), String> {
        let link = session.link_config().map_err(|error| error.to_string())?;
        let connection = session.connection().clone();
        let open = LinksCommand::Open(Box::new(link), connection.clone());
        self.commands
            .try_send(open)
            .map_err(|_| "the late joiners' thread is behind".to_owned())?;
        let commands = self.commands.clone();
        tokio::spawn(async move {
            while let Ok(bytes) = connection.read_datagram().await {
                let command = LinksCommand::Datagram(connection.stable_id(), bytes);
                if let Err(mpsc::TrySendError::Disconnected(_)) = commands.try_send(command) {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Returns how many realtime messages all late joiners have received.
    pub(crate) fn messages_received(&self) -> u64 {
        self.messages_received.load(Relaxed)
    }
}

/// Drives the links until the run is finished.
fn run(shared: &RunShared, commands: &mpsc::Receiver<LinksCommand>, messages_received: &AtomicU64) {
    let mut links: Vec<LateJoinerLink> = Vec::new();
    let (mut input, mut output) = (RecvBatch::new(true), SendBatch::new(64 << 10, RECV_MESSAGES));
    while !shared.finished() {
        let round = shared.clock.now();
        while let Ok(command) = commands.try_recv() {
            match command {
                // A late joiner without a socket receives no messages, so the count of messages is
                // too low.
                LinksCommand::Open(config, connection) => {
                    links.extend(LateJoinerLink::open(round, *config, connection).ok());
                }
                LinksCommand::Datagram(id, bytes) => {
                    let link = links.iter_mut().find(|link| link.connection.stable_id() == id);
                    let now = Time::from_micros(round);
                    let messages = link.map(|l| l.link.handle_session_input(now, &bytes));
                    let count = messages.and_then(Result::ok).map_or(0, Iterator::count);
                    messages_received.fetch_add(count as u64, Relaxed);
                }
            }
        }
        for link in &mut links {
            messages_received.fetch_add(link.receive(&mut input), Relaxed);
            link.transmit(Time::from_micros(shared.clock.now()), &mut output);
        }
        nucleus_net::sleep_until(round + POLL_INTERVAL);
    }
}

impl LateJoinerLink {
    fn open(now: u64, config: LinkConfig, connection: quinn::Connection) -> io::Result<Self> {
        let socket = bind(path_of(&config)?.remote)?;
        let link = Link::new(Time::from_micros(now), config);
        Ok(LateJoinerLink { link, socket, connection })
    }

    /// Handles the datagrams that wait at the socket. Returns how many messages they held.
    fn receive(&mut self, input: &mut RecvBatch) -> u64 {
        let mut messages_received = 0;
        while let Ok(count) = self.socket.recv(input) {
            for datagram in input.iter_mut() {
                let path = Path { remote: datagram.remote, local: None };
                let arrival = Time::from_micros(datagram.received);
                let messages = self.link.handle_input(arrival, path, datagram.ecn, datagram.data);
                messages_received += messages.map_or(0, Iterator::count);
            }
            if count < RECV_MESSAGES {
                break;
            }
        }
        messages_received as u64
    }

    /// Sends the datagrams that the link wants to send.
    fn transmit(&mut self, now: Time, output: &mut SendBatch) {
        self.link.handle_timeout(now);
        let mut datagram = Vec::new();
        while let Some(route) = self.link.poll_output(now, &mut datagram) {
            let bytes = route.wire(&datagram);
            match route {
                // A datagram that the session does not accept is lost, as on a network.
                Route::Session => {
                    let _ = self.connection.send_datagram(Bytes::copy_from_slice(bytes));
                }
                Route::Realtime(path) => {
                    let mut unsent = 0;
                    send_datagram(&mut self.socket, path.remote, bytes, output, &mut unsent);
                }
            }
            datagram.clear();
        }
    }
}
