//! The late joiners' links to the realtime plane. One plain thread drives all of them: it keeps the
//! links alive, opens what arrives, and verifies the messages.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use nucleus_client::session::RoomSession;
use nucleus_net::{RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket};
use nucleus_protocol::link::{Link, LinkConfig, Messages, Path, Rejected, Route};
use nucleus_protocol::time::Time;

use super::context::RunContext;
use super::headset::{bind, path_of, send_datagram};
use super::tasks::pass_datagrams;
use crate::check::arrivals::Arrivals;
use crate::check::recompute::{MessageVerdict, Recomputer, SenderSlots};
use crate::check::sequence::SequenceWindow;
use crate::load::channel::Channel;
use crate::shared::{RunShared, Window};

/// Time between two reads of a late joiner's socket, µs. A default receive buffer holds several
/// times what arrives in this time.
const POLL_INTERVAL: u64 = 20_000;
/// Commands that may wait for the thread. Further datagrams are dropped and counted.
const COMMAND_QUEUE: usize = 1 << 14;
/// The time after which a new link must receive every pose, µs.
const SETTLE: u64 = 1_000_000;
/// The least number of expected poses of which a share is computed.
const MIN_EXPECTED: f64 = 100.0;

/// A handle to the thread. Clones belong to the same thread.
#[derive(Clone)]
pub(crate) struct LateJoinerLinks {
    commands: mpsc::SyncSender<LinksCommand>,
    shared: Arc<RunShared>,
}

/// A command to the thread.
enum LinksCommand {
    /// Opens the link of a session, whose receiver knows these slots.
    Open(Box<LinkConfig>, quinn::Connection, SenderSlots),
    /// Handles a datagram that arrived inside the session with this stable id.
    Datagram(usize, Bytes),
}

/// What all late joiners have received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkFigures {
    pub(crate) arrivals: Arrivals,
    pub(crate) corrupt: u64,
    pub(crate) misrouted: u64,
    /// Datagrams that our own kernel did not accept.
    pub(crate) unsent: u64,
    /// Late joiners whose links were opened.
    pub(crate) links: u64,
    /// The least share of the expected poses that arrived at one late joiner; `None` if none stayed
    /// long enough.
    pub(crate) least_pose_share: Option<f64>,
}

/// The thread's state.
struct LinksThread {
    shared: Arc<RunShared>,
    links: Vec<LateJoinerLink>,
    /// Poses that each late joiner should receive a second.
    poses_per_s: f64,
    check: LinkCheck,
}

/// Verifies and counts the messages of all late joiners.
struct LinkCheck {
    recomputer: Recomputer,
    window: Window,
    figures: LinkFigures,
}

/// The link of one late joiner.
struct LateJoinerLink {
    link: Link,
    socket: UdpSocket,
    connection: quinn::Connection,
    poses: PoseCount,
}

/// Verifies and counts the messages that one late joiner receives.
#[derive(Debug)]
struct PoseCount {
    senders: SenderSlots,
    /// The poses that arrived before, by the sender's slot. As in [`Recomputer`], a sequence number
    /// is taken as a number.
    received: HashMap<u16, SequenceWindow>,
    /// From when on every pose must arrive, µs.
    settled: u64,
    /// Poses that arrived from then to the end of the window, each counted once.
    poses: u64,
}

impl LateJoinerLinks {
    /// Starts the thread, which runs until the run is finished.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) fn start(context: &RunContext) -> io::Result<(Self, JoinHandle<LinkFigures>)> {
        let (plan, shared) = (&context.plan, context.shared.clone());
        let (commands, received) = mpsc::sync_channel(COMMAND_QUEUE);
        let thread = LinksThread {
            shared: shared.clone(),
            links: Vec::new(),
            poses_per_s: plan.traffic.hz(Channel::Pose) * f64::from(plan.members(0)),
            check: LinkCheck {
                recomputer: Recomputer::new(plan.seed, 0),
                window: shared.window(),
                figures: LinkFigures::default(),
            },
        };
        let work = move || thread.run(&received);
        let handle = std::thread::Builder::new().name("late-join-links".into()).spawn(work)?;
        Ok((LateJoinerLinks { commands, shared }, handle))
    }

    /// Takes over the link and the datagrams of a session that has just joined, and knows these
    /// slots.
    ///
    /// # Errors
    ///
    /// If the session's link cannot be used, or the thread's queue is full.
    pub(crate) fn add_session(
        &self,
        session: &RoomSession,
        senders: SenderSlots,
    ) -> Result<(), String> {
        let link = session.link_config().map_err(|error| error.to_string())?;
        let connection = session.connection().ok_or("the session is lost")?.clone();
        let open = LinksCommand::Open(Box::new(link), connection.clone(), senders);
        self.commands
            .try_send(open)
            .map_err(|_| "the late joiners' thread is behind".to_owned())?;
        let id = connection.stable_id();
        let command = move |bytes| LinksCommand::Datagram(id, bytes);
        let (commands, shared) = (self.commands.clone(), self.shared.clone());
        tokio::spawn(pass_datagrams(connection, shared, commands, command));
        Ok(())
    }
}

impl LinksThread {
    /// Drives the links until the run is finished.
    fn run(mut self, commands: &mpsc::Receiver<LinksCommand>) -> LinkFigures {
        let (mut input, mut output) =
            (RecvBatch::new(true), SendBatch::new(64 << 10, RECV_MESSAGES));
        while !self.shared.finished() {
            let round = self.shared.clock.now();
            self.check.window = self.shared.window();
            while let Ok(command) = commands.try_recv() {
                self.carry_out(command, round);
            }
            for link in &mut self.links {
                link.receive(&mut input, &mut self.check);
                let now = Time::from_micros(self.shared.clock.now());
                self.check.figures.unsent += link.transmit(now, &mut output);
            }
            nucleus_net::sleep_until(round + POLL_INTERVAL);
        }
        let end = self.shared.window().end;
        let shares = self.links.iter().filter_map(|link| link.poses.share(end, self.poses_per_s));
        let (links, least_pose_share) = (self.links.len() as u64, shares.min_by(f64::total_cmp));
        LinkFigures { links, least_pose_share, ..self.check.figures }
    }

    fn carry_out(&mut self, command: LinksCommand, now: u64) {
        match command {
            // A late joiner without a socket counts as one without a link.
            LinksCommand::Open(config, connection, senders) => {
                self.links.extend(LateJoinerLink::open(now, *config, connection, senders).ok());
            }
            LinksCommand::Datagram(id, bytes) => {
                let link = self.links.iter_mut().find(|link| link.connection.stable_id() == id);
                let Some(LateJoinerLink { link, poses, .. }) = link else { return };
                let messages = link.handle_session_input(Time::from_micros(now), &bytes);
                self.check.record(messages, now, poses);
            }
        }
    }
}

impl LinkCheck {
    /// Verifies and counts the messages of a datagram that arrived at `arrival` (µs).
    fn record(
        &mut self,
        messages: Result<Messages<'_>, Rejected>,
        arrival: u64,
        poses: &mut PoseCount,
    ) {
        let figures = &mut self.figures;
        for message in messages.into_iter().flatten() {
            let verdict = self.recomputer.verify(&poses.senders, &message);
            figures.arrivals.count(verdict != MessageVerdict::Misrouted);
            match verdict {
                MessageVerdict::Genuine(Channel::Pose) => {
                    poses.record(message.peer, message.sequence, arrival, self.window);
                }
                MessageVerdict::Genuine(_) => {}
                MessageVerdict::Corrupt => figures.corrupt += 1,
                MessageVerdict::Misrouted => figures.misrouted += 1,
            }
        }
    }
}

impl PoseCount {
    fn new(senders: SenderSlots, settled: u64) -> Self {
        PoseCount { senders, received: HashMap::new(), settled, poses: 0 }
    }

    /// Counts a genuine pose that arrived at `arrival` (µs), unless it arrived before.
    fn record(&mut self, slot: u16, sequence: u16, arrival: u64, window: Window) {
        let novelty = self.received.entry(slot).or_default().record(sequence.into());
        let is_new = novelty.is_new();
        let counts = (self.settled..window.end).contains(&arrival);
        self.poses += u64::from(is_new && counts);
    }

    /// Returns the poses that arrived until `end` (µs) as a share of the expected ones, at most 1;
    /// `None` if hardly any were expected.
    fn share(&self, end: u64, poses_per_s: f64) -> Option<f64> {
        let expected = end.saturating_sub(self.settled) as f64 / 1e6 * poses_per_s;
        (expected >= MIN_EXPECTED).then(|| (self.poses as f64 / expected).min(1.0))
    }
}

impl LateJoinerLink {
    fn open(
        now: u64,
        config: LinkConfig,
        connection: quinn::Connection,
        senders: SenderSlots,
    ) -> io::Result<Self> {
        let socket = bind(path_of(&config)?.remote)?;
        let link = Link::new(Time::from_micros(now), config);
        let poses = PoseCount::new(senders, now + SETTLE);
        Ok(LateJoinerLink { link, socket, connection, poses })
    }

    /// Handles the datagrams that wait at the socket.
    fn receive(&mut self, input: &mut RecvBatch, check: &mut LinkCheck) {
        while let Ok(count) = self.socket.recv(input) {
            for datagram in input.iter_mut() {
                let path = Path { remote: datagram.remote, local: None };
                let arrival = Time::from_micros(datagram.received);
                let messages = self.link.handle_input(arrival, path, datagram.ecn, datagram.data);
                check.record(messages, datagram.received, &mut self.poses);
            }
            if count < RECV_MESSAGES {
                break;
            }
        }
    }

    /// Sends the datagrams that the link wants to send. Returns how many of them our own kernel did
    /// not accept.
    fn transmit(&mut self, now: Time, output: &mut SendBatch) -> u64 {
        let mut unsent = 0;
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
                    unsent += send_datagram(&mut self.socket, path.remote, bytes, output);
                }
            }
            datagram.clear();
        }
        unsent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pose_counts_once() {
        let window = Window { start: 0, end: 2_000_000 };
        let mut poses = PoseCount::new(SenderSlots::new(), SETTLE);
        for sequence in 0..100 {
            poses.record(1, sequence, SETTLE, window);
        }
        assert_eq!(poses.share(window.end, 200.0), Some(0.5));
        for sequence in 0..100 {
            poses.record(1, sequence, SETTLE, window);
        }
        assert_eq!(poses.share(window.end, 200.0), Some(0.5), "duplicates");
        poses.record(1, 100, window.end, window);
        poses.record(1, 101, SETTLE - 1, window);
        assert_eq!(poses.share(window.end, 200.0), Some(0.5), "too late and too early");
        poses.record(2, 0, SETTLE, window);
        assert_eq!(poses.share(window.end, 200.0), Some(0.505), "of another sender");
        assert_eq!(poses.share(window.end, 99.0), None);
    }
}
