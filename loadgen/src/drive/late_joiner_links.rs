//! The late joiners' links to the realtime plane, all on one plain thread. The links are kept alive, and
//! whatever comes over them is opened and counted.

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

/// µs between two looks at a late joiner's socket: a stock receive buffer holds several times what
/// comes.
const POLL_INTERVAL: u64 = 20_000;
/// Orders that may wait; a datagram beyond it is lost, as a full buffer would lose it.
const COMMAND_QUEUE: usize = 1 << 14;

/// The thread; clones speak to the same one.
#[derive(Clone)]
pub(crate) struct LateJoinerLinks {
    commands: mpsc::SyncSender<LinksCommand>,
    messages_received: Arc<AtomicU64>,
}

enum LinksCommand {
    Open(Box<LinkConfig>, quinn::Connection),
    /// A datagram came inside the session with this stable id.
    Datagram(usize, Bytes),
}

struct LateJoinerLink {
    link: Link,
    socket: UdpSocket,
    connection: quinn::Connection,
}

impl LateJoinerLinks {
    pub(crate) fn start(shared: Arc<RunShared>) -> io::Result<Self> {
        let (commands, received) = mpsc::sync_channel(COMMAND_QUEUE);
        let messages_received = Arc::<AtomicU64>::default();
        let counter = messages_received.clone();
        let work = move || run(&shared, &received, &counter);
        std::thread::Builder::new().name("late-join-links".into()).spawn(work)?;
        Ok(LateJoinerLinks { commands, messages_received })
    }

    /// Takes over the link of a session that has just joined, and its datagrams.
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

    /// Realtime messages that they have had.
    pub(crate) fn messages_received(&self) -> u64 {
        self.messages_received.load(Relaxed)
    }
}

/// Until the run is finished.
fn run(shared: &RunShared, commands: &mpsc::Receiver<LinksCommand>, messages_received: &AtomicU64) {
    let mut links: Vec<LateJoinerLink> = Vec::new();
    let (mut input, mut output) = (RecvBatch::new(true), SendBatch::new(64 << 10, RECV_MESSAGES));
    while !shared.finished() {
        let round = shared.clock.now();
        while let Ok(command) = commands.try_recv() {
            match command {
                // One without a socket hears nothing, which its count shows.
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

    /// Takes in what waits at the socket; how many messages that was.
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

    /// Says what its link has to say.
    fn transmit(&mut self, now: Time, output: &mut SendBatch) {
        self.link.handle_timeout(now);
        let mut datagram = Vec::new();
        while let Some(route) = self.link.poll_output(now, &mut datagram) {
            let bytes = route.wire(&datagram);
            match route {
                // What the session does not take is lost, as on a network.
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
