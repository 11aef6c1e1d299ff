//! The thread that drives one shard: reads the socket, runs the fan-out and writes the socket.
//!
//! A pose over the realtime port costs no lock, no await and no allocation.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::fanout::{
    Fanout, FanoutConfig, FanoutInput, FanoutOutput, LinkEvent, OpenLink, Outbox,
};
use nucleus_core::ids::{PeerId, RoomId, SessionId};
use nucleus_core::limits;
use nucleus_net::{Clock, RecvBatch, SendBatch, UdpSocket, Waker};
use nucleus_protocol::link::Path;
use nucleus_protocol::time::Time;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::handle::{
    PostLinkEvent, PostOutcome, Published, QueuedDatagram, SessionDatagram, ShardHandle, ShardMail,
};
use super::misdirected::{Misdirected, MisdirectedMailbox, MisdirectedRouter, Routing};
use crate::queue::{PushOutcome, QueueSender};

/// Starts the thread of one shard on `socket`, pinned to `core` if there is one.
///
/// # Errors
///
/// The system refuses the thread.
pub fn spawn(
    config: FanoutConfig,
    socket: UdpSocket,
    clock: Clock,
    router: Arc<MisdirectedRouter>,
    mailbox: MisdirectedMailbox,
    core: Option<usize>,
) -> std::io::Result<(Arc<ShardHandle>, std::thread::JoinHandle<()>)> {
    let MisdirectedMailbox { misdirected, waker } = mailbox;
    let (mail, mailbox) = mpsc::channel(limits::SHARD_MAILBOX);
    let (datagrams, session_datagrams) = mpsc::channel(limits::SHARD_SESSION_DATAGRAMS);
    let published = Arc::new(Published::default());
    let handle = ShardHandle {
        mail,
        datagrams,
        waker: waker.clone(),
        rooms: AtomicUsize::new(0),
        published: published.clone(),
    };
    let name = format!("shard-{}", config.index);
    let thread = ShardThread {
        index: config.index,
        fanout: Fanout::new(config),
        outbox: Outbox::default(),
        router,
        misdirected,
        socket,
        clock,
        mailbox,
        session_datagrams,
        waker,
        published,
        rooms: HashMap::new(),
        carriers: HashMap::new(),
        undelivered: VecDeque::new(),
        send_failures: 0,
        publish_at: Time::ZERO,
        last_turn: Time::from_micros(clock.now()),
        load_since: Time::from_micros(clock.now()),
        cpu_used: 0,
    };
    let join = std::thread::Builder::new().name(name).spawn(move || {
        if let Some(core) = core
            && let Err(error) = nucleus_net::pin_current_thread(core)
        {
            tracing::warn!(core, %error, "could not pin the shard's thread");
        }
        thread.run();
    })?;
    Ok((Arc::new(handle), join))
}

/// How often the figures are published.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);
/// Longest wait of a shard with nothing to do, so that its figures stay fresh.
const IDLE_WAIT: Duration = PUBLISH_INTERVAL;

/// The session that carries a link's datagrams while the client is on the fallback.
struct Carrier {
    /// The number of the session among those of its participant.
    session: u32,
    queue: QueueSender<QueuedDatagram>,
}

/// A link event that waits for space in its room's mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Undelivered {
    room: RoomId,
    session: SessionId,
    event: LinkEvent,
}

struct ShardThread {
    index: u8,
    fanout: Fanout,
    outbox: Outbox,
    router: Arc<MisdirectedRouter>,
    misdirected: mpsc::Receiver<Misdirected>,
    socket: UdpSocket,
    clock: Clock,
    mailbox: mpsc::Receiver<ShardMail>,
    session_datagrams: mpsc::Receiver<SessionDatagram>,
    waker: Waker,
    published: Arc<Published>,
    rooms: HashMap<RoomId, PostLinkEvent>,
    /// The session of each link, for clients on the fallback.
    carriers: HashMap<(RoomId, PeerId), Carrier>,
    /// The link events that wait for their rooms, at most a few per link.
    undelivered: VecDeque<Undelivered>,
    send_failures: u64,
    publish_at: Time,
    /// When the last turn of the thread was.
    last_turn: Time,
    /// When the load was reported last.
    load_since: Time,
    /// The thread's CPU time at `load_since`, µs.
    cpu_used: u64,
}

impl ShardThread {
    fn run(mut self) {
        let mut received = RecvBatch::new(true);
        let mut to_send = SendBatch::new(1 << 20, 1 << 14);
        loop {
            self.note_turn();
            let received_any = self.read_socket(&mut received);
            let Some(commands) = self.read_mail() else { return };
            let handed_in = [commands, self.read_misdirected(), self.read_session_datagrams()];
            let now = self.now();
            self.fanout.flush(now, &mut self.outbox);
            self.send(&mut to_send);
            self.carry_out();
            self.report_load(now);
            self.publish(now);
            // A mailbox that still has messages does not wake the thread again for them.
            if handed_in.iter().all(|count| *count < limits::SHARD_MAIL_PER_TURN) {
                self.wait(now, received_any || handed_in != [0; 3]);
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }

    /// Reports to the fan-out if the process stood still since the last turn: an idle thread has a
    /// turn every [`IDLE_WAIT`].
    fn note_turn(&mut self) {
        let now = self.now();
        if now.since(self.last_turn) > limits::STOOD_STILL {
            let stamped = self.socket.stamps();
            self.fanout.handle(now, FanoutInput::StoodStill { stamped });
        }
        self.last_turn = now;
    }

    /// Reads the socket, at most [`limits::DRAINS_PER_TURN`] batches. Returns whether anything was
    /// read.
    fn read_socket(&mut self, batch: &mut RecvBatch) -> bool {
        let (fanout, router, index) = (&mut self.fanout, &self.router, self.index);
        for turn in 0..limits::DRAINS_PER_TURN {
            match self.socket.recv(batch) {
                Ok(0) => return turn > 0,
                Ok(_) => batch.for_each(|datagram| {
                    match router.route(index, &datagram) {
                        Routing::Local => {}
                        Routing::HandedOver => return fanout.counters.handed_over += 1,
                        Routing::Dropped => return fanout.counters.misdirected_dropped += 1,
                    }
                    let path = Path { remote: datagram.remote, local: datagram.local };
                    let arrived = Time::from_micros(datagram.received);
                    fanout.handle_datagram(arrived, path, datagram.ecn, datagram.data);
                }),
                Err(error) => {
                    tracing::debug!(%error, "receive failed");
                    return turn > 0;
                }
            }
            if !batch.is_full() {
                break;
            }
        }
        true
    }

    /// Handles the datagrams that other shards handed over, at most
    /// [`limits::SHARD_MAIL_PER_TURN`]. Returns their number.
    fn read_misdirected(&mut self) -> usize {
        for count in 0..limits::SHARD_MAIL_PER_TURN {
            let Ok(Misdirected { arrived, path, ecn, mut bytes }) = self.misdirected.try_recv()
            else {
                return count;
            };
            self.fanout.handle_datagram(arrived, path, ecn, &mut bytes);
        }
        limits::SHARD_MAIL_PER_TURN
    }

    /// Handles the messages of the mailbox, at most [`limits::SHARD_MAIL_PER_TURN`]. Returns their
    /// number, or this limit if there may be more; `None` if the thread must end.
    fn read_mail(&mut self) -> Option<usize> {
        for count in 0..limits::SHARD_MAIL_PER_TURN {
            match self.mailbox.try_recv() {
                Ok(ShardMail::OpenLink(open, session)) => self.open_link(open, session),
                Ok(ShardMail::Command(command)) => {
                    if let FanoutInput::CloseLink { room, peer } = command {
                        self.carriers.remove(&(room, peer));
                    }
                    let now = self.now();
                    self.fanout.handle(now, command);
                }
                Ok(ShardMail::PeerLinks(room, peer, take)) => {
                    take(self.fanout.peer_links(self.now(), room, peer));
                }
                Ok(ShardMail::RoomLinks(room, take)) => {
                    take(self.fanout.room_links(self.now(), room));
                    // A large room takes as long as thousands of datagrams, which have their turn before
                    // the next message.
                    return Some(limits::SHARD_MAIL_PER_TURN);
                }
                Ok(ShardMail::HeadPoses(room, key, take)) => {
                    let now = self.now();
                    take(self.fanout.head_poses(now, room, &key.owner.tenant));
                    return Some(limits::SHARD_MAIL_PER_TURN);
                }
                Ok(ShardMail::Traffic(from, take)) => {
                    take(self.fanout.traffic(self.now(), from));
                    return Some(limits::SHARD_MAIL_PER_TURN);
                }
                Ok(ShardMail::Afterwards(call)) => call(),
                Ok(ShardMail::RoomOpened(room, events)) => {
                    self.rooms.insert(room, events);
                }
                Ok(ShardMail::RoomClosed(room)) => {
                    self.rooms.remove(&room);
                }
                Ok(ShardMail::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => {
                    return None;
                }
                Err(mpsc::error::TryRecvError::Empty) => return Some(count),
            }
        }
        Some(limits::SHARD_MAIL_PER_TURN)
    }

    fn open_link(&mut self, open: Box<OpenLink>, datagrams: Option<QueueSender<QueuedDatagram>>) {
        let link = (open.room, open.session.peer);
        match datagrams {
            Some(queue) => {
                let carrier = Carrier { session: open.session.session, queue };
                self.carriers.insert(link, carrier);
            }
            None => drop(self.carriers.remove(&link)),
        }
        let now = self.now();
        self.fanout.handle(now, FanoutInput::OpenLink(open));
    }

    /// Handles the datagrams of sessions, at most [`limits::SHARD_MAIL_PER_TURN`]. Returns their
    /// number.
    fn read_session_datagrams(&mut self) -> usize {
        let now = self.now();
        for count in 0..limits::SHARD_MAIL_PER_TURN {
            let Ok(SessionDatagram { room, session, bytes }) = self.session_datagrams.try_recv()
            else {
                return count;
            };
            if bytes.is_empty() {
                self.fanout.handle(now, FanoutInput::Active { room, session });
            } else {
                self.fanout.handle_session_datagram(now, room, session, &bytes);
            }
        }
        limits::SHARD_MAIL_PER_TURN
    }

    fn send(&mut self, batch: &mut SendBatch) {
        let outbox = &self.outbox;
        let queued = Instant::now();
        for t in &outbox.session_transmits {
            let carrier = self.carriers.get(&(t.room, t.peer));
            let bytes = Bytes::copy_from_slice(&outbox.bytes[t.start..t.end]);
            let datagram = QueuedDatagram { queued, bytes };
            if carrier.is_none_or(|carrier| carrier.queue.push(datagram) != PushOutcome::Queued) {
                self.fanout.counters.session_datagrams_dropped += 1;
            }
        }
        for t in &outbox.transmits {
            let bytes = &outbox.bytes[t.start..t.end];
            if !batch.push(t.path.remote, t.path.local, t.segment, bytes) {
                self.send_failures += send_batch(&mut self.socket, batch);
                batch.push(t.path.remote, t.path.local, t.segment, bytes);
            }
        }
        if !batch.is_empty() {
            self.send_failures += send_batch(&mut self.socket, batch);
        }
        if self.outbox.has_relayed() {
            self.fanout.note_sent(Time::from_micros(self.clock.now()), &self.outbox);
        }
        self.outbox.clear();
    }

    /// Carries out the outputs of the fan-out: connection ids for the router, and link events for
    /// rooms.
    fn carry_out(&mut self) {
        while let Some(output) = self.fanout.poll() {
            match output {
                FanoutOutput::IdsBorn(ids) => self.router.add_link(ids),
                FanoutOutput::IdsDied(ids) => self.router.remove_link(ids),
                FanoutOutput::Link { room, session, event } => {
                    if event == LinkEvent::Refused {
                        self.forget_carrier(room, session);
                    }
                    self.undelivered.push_back(Undelivered { room, session, event });
                }
            }
        }
        deliver(&mut self.undelivered, &self.rooms);
    }

    fn forget_carrier(&mut self, room: RoomId, session: SessionId) {
        let link = (room, session.peer);
        if self.carriers.get(&link).is_some_and(|carrier| carrier.session == session.session) {
            self.carriers.remove(&link);
        }
    }

    fn report_load(&mut self, now: Time) {
        let elapsed = now.since(self.load_since);
        if elapsed < limits::LOAD_INTERVAL {
            return;
        }
        let used = nucleus_net::thread_cpu_micros();
        let share = used.saturating_sub(self.cpu_used) as f32 / elapsed.as_micros() as f32;
        self.fanout.handle(now, FanoutInput::Load(share));
        (self.load_since, self.cpu_used) = (now, used);
    }

    fn publish(&mut self, now: Time) {
        if now < self.publish_at {
            return;
        }
        self.publish_at = now + PUBLISH_INTERVAL;
        self.published.turns.fetch_add(1, Ordering::Relaxed);
        let values = self.fanout.counters.values();
        for (published, value) in self.published.counters.iter().zip(values) {
            published.store(value, Ordering::Relaxed);
        }
        let histograms = self.fanout.counters.histograms.all();
        for (published, histogram) in self.published.histograms.iter().zip(histograms) {
            published.publish(histogram);
        }
        self.published.links.store(self.fanout.links() as u64, Ordering::Relaxed);
        self.published.on_fallback.store(self.fanout.on_fallback() as u64, Ordering::Relaxed);
        let tick = self.fanout.tick().as_micros() as u64;
        self.published.tick_micros.store(tick, Ordering::Relaxed);
        self.published.cpu_micros.store(self.cpu_used, Ordering::Relaxed);
        self.published.send_failures.store(self.send_failures, Ordering::Relaxed);
        if let Ok(drops) = self.socket.kernel_drops() {
            self.published.kernel_drops.store(drops.into(), Ordering::Relaxed);
        }
    }

    /// Waits for the next turn. While messages may wait for a tick, the thread sleeps and then
    /// handles all datagrams that have arrived: waking for each would cost about a tenth of a core
    /// more. Otherwise the thread waits for the socket or the mailboxes.
    fn wait(&mut self, began: Time, busy: bool) {
        let due = self.fanout.deadline().unwrap_or(Time::MAX);
        let drain = began + limits::DRAIN_INTERVAL;
        let turn = self.fanout.turn();
        if (busy || due <= drain) && !turn.is_zero() {
            let until = due.clamp(began + turn, drain);
            nucleus_net::sleep_until(until.as_micros());
            return;
        }
        let latest = if self.undelivered.is_empty() { began + IDLE_WAIT } else { drain };
        let pause = due.min(latest).since(self.now());
        if let Err(error) = self.socket.wait_readable(Some(&self.waker), pause) {
            tracing::warn!(%error, "waiting for the realtime socket failed");
            nucleus_net::sleep_until(drain.as_micros());
        }
        self.waker.drain();
    }
}

/// Posts link events to the rooms. An event whose room has a full mailbox stays in `undelivered`,
/// except a hint, which is dropped.
fn deliver(undelivered: &mut VecDeque<Undelivered>, rooms: &HashMap<RoomId, PostLinkEvent>) {
    let mut full = Vec::new();
    undelivered.retain(|Undelivered { room, session, event }| {
        // A link can cause one hint a second for any length of time, so hints must not pile up.
        let hint = matches!(event, LinkEvent::Throttled(_));
        // The events of a room stay in order: after one that must wait, all later ones wait.
        if full.contains(room) {
            return !hint;
        }
        let Some(post) = rooms.get(room) else { return false };
        let wait = post(*session, *event) == PostOutcome::MailboxFull && !hint;
        if wait {
            full.push(*room);
        }
        wait
    });
}

fn send_batch(socket: &mut UdpSocket, batch: &mut SendBatch) -> u64 {
    let report = socket.send(batch);
    if report.gso_disabled_now {
        tracing::warn!("the kernel refused segmentation offload; sending datagrams one by one");
    }
    batch.clear();
    report.dropped + report.failed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However long a room is busy, only a few events per link wait for it.
    #[test]
    fn a_busy_room_gets_no_hints() {
        let (sender, mut mailbox) = mpsc::channel(1);
        let post = move |_, event| match sender.try_send(event) {
            Err(mpsc::error::TrySendError::Full(_)) => PostOutcome::MailboxFull,
            _ => PostOutcome::Accepted,
        };
        let rooms = HashMap::from([(RoomId(1), Box::new(post) as PostLinkEvent)]);
        let session = SessionId { peer: PeerId(1), session: 1 };
        let undelivered = |event| Undelivered { room: RoomId(1), session, event };
        let mut waiting = VecDeque::from([LinkEvent::Active, LinkEvent::Silent].map(undelivered));
        for _ in 0..1_000 {
            waiting.push_back(undelivered(LinkEvent::Throttled(1)));
            deliver(&mut waiting, &rooms);
        }
        assert_eq!(waiting, [undelivered(LinkEvent::Silent)]);
        for expected in [LinkEvent::Active, LinkEvent::Silent] {
            assert_eq!(mailbox.try_recv(), Ok(expected));
            deliver(&mut waiting, &rooms);
        }
        assert!(waiting.is_empty() && mailbox.try_recv().is_err());
    }
}
