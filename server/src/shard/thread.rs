//! The thread that drives one shard: socket in, core, socket out. No lock, no await, no allocation
//! on the way of a pose over the realtime port.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nucleus_net::{Clock, RecvBatch, SendBatch, UdpSocket, Waker};
use nucleus_protocol::link::Path;
use nucleus_protocol::time::Time;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::handle::{Published, SessionDatagram, ShardHandle, ShardMail};
use super::strays::{Belongs, Mailbox, Neighbours, Stray};
use super::{LinkNews, PeerId, RoomId, Shard, ShardCommand, ShardConfig, ShardEvent};
use crate::limits;
use crate::room::task::RoomInput;
use crate::session::queue::Sender;

/// Starts the thread of one shard on `socket`.
pub fn spawn(
    config: ShardConfig,
    socket: UdpSocket,
    clock: Clock,
    (neighbours, Mailbox { strays, waker }): (Arc<Neighbours>, Mailbox),
    core: Option<usize>,
) -> std::io::Result<(Arc<ShardHandle>, std::thread::JoinHandle<()>)> {
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
        shard: Shard::new(config, neighbours.clone()),
        neighbours,
        strays,
        socket,
        clock,
        mailbox,
        session_datagrams,
        waker,
        published,
        rooms: HashMap::new(),
        sessions: HashMap::new(),
        undelivered: VecDeque::new(),
        send_failures: 0,
        publish_at: Time::ZERO,
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

/// The session that carries a link's datagrams while the realtime port does not.
struct Carrier {
    /// Which of the peer's.
    session: u32,
    mailbox: Sender<(Instant, Bytes)>,
}

struct ShardThread {
    index: u8,
    shard: Shard,
    neighbours: Arc<Neighbours>,
    strays: mpsc::Receiver<Stray>,
    socket: UdpSocket,
    clock: Clock,
    mailbox: mpsc::Receiver<ShardMail>,
    session_datagrams: mpsc::Receiver<SessionDatagram>,
    waker: Waker,
    published: Arc<Published>,
    rooms: HashMap<RoomId, mpsc::Sender<RoomInput>>,
    /// Where datagrams go whose client has fallen back, one for each link.
    sessions: HashMap<(RoomId, PeerId), Carrier>,
    /// Events that their room had no place for yet: at most a few a link.
    undelivered: VecDeque<ShardEvent>,
    send_failures: u64,
    publish_at: Time,
    /// When the load was reported last, and the thread's CPU time then, us.
    load_since: Time,
    cpu_used: u64,
}

impl ShardThread {
    fn run(mut self) {
        let mut received = RecvBatch::new(true);
        let mut to_send = SendBatch::new(1 << 20, 1 << 14);
        loop {
            let received_any = self.drain(&mut received);
            let Some(commands) = self.read_mail() else { return };
            let handed_in = [commands, self.read_strays(), self.read_session_datagrams()];
            let now = self.now();
            self.shard.handle_timeout(now);
            self.send(&mut to_send);
            self.deliver_events();
            self.report_load(now);
            self.publish(now);
            // What was left over has had its wake-up.
            if handed_in.iter().all(|count| *count < limits::COMMANDS_PER_TURN) {
                self.wait(now, received_any || handed_in != [0; 3]);
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }

    /// Empties the socket, within bounds; whether anything was there.
    fn drain(&mut self, batch: &mut RecvBatch) -> bool {
        let (shard, neighbours, index) = (&mut self.shard, &self.neighbours, self.index);
        for turn in 0..limits::DRAINS_PER_TURN {
            match self.socket.recv(batch) {
                Ok(0) => return turn > 0,
                Ok(_) => batch.for_each(|datagram| {
                    match neighbours.sort(index, &datagram) {
                        Belongs::Here => {}
                        Belongs::HandedOver => return shard.counters.handed_over += 1,
                        Belongs::Dropped => return shard.counters.strays_dropped += 1,
                    }
                    let path = Path { remote: datagram.remote, local: datagram.local };
                    let arrived = Time::from_micros(datagram.received);
                    shard.handle_input(arrived, path, datagram.ecn, datagram.data);
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

    /// How many there were, within bounds.
    fn read_strays(&mut self) -> usize {
        for count in 0..limits::COMMANDS_PER_TURN {
            let Ok(mut stray) = self.strays.try_recv() else { return count };
            self.shard.handle_input(stray.arrived, stray.path, stray.ecn, &mut stray.bytes);
        }
        limits::COMMANDS_PER_TURN
    }

    /// How much there was, within bounds; `None` when the thread is to end.
    fn read_mail(&mut self) -> Option<usize> {
        for count in 0..limits::COMMANDS_PER_TURN {
            match self.mailbox.try_recv() {
                Ok(ShardMail::OpenLink(open, session)) => {
                    let whose = (open.room, open.seat.peer);
                    match session {
                        Some(mailbox) => {
                            let carrier = Carrier { session: open.seat.session, mailbox };
                            self.sessions.insert(whose, carrier);
                        }
                        None => drop(self.sessions.remove(&whose)),
                    }
                    let now = self.now();
                    self.shard.handle_command(now, ShardCommand::OpenLink(open));
                }
                Ok(ShardMail::Command(command)) => {
                    if let ShardCommand::CloseLink { room, peer } = command {
                        self.sessions.remove(&(room, peer));
                    }
                    let now = self.now();
                    self.shard.handle_command(now, command);
                }
                Ok(ShardMail::RoomOpened(room, mailbox)) => {
                    self.rooms.insert(room, mailbox);
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
        Some(limits::COMMANDS_PER_TURN)
    }

    /// How many there were, within bounds.
    fn read_session_datagrams(&mut self) -> usize {
        let now = self.now();
        for count in 0..limits::COMMANDS_PER_TURN {
            let Ok(SessionDatagram { room, seat, bytes }) = self.session_datagrams.try_recv()
            else {
                return count;
            };
            if bytes.is_empty() {
                self.shard.handle_alive(now, room, seat);
            } else {
                self.shard.handle_session_input(now, room, seat, &bytes);
            }
        }
        limits::COMMANDS_PER_TURN
    }

    fn send(&mut self, batch: &mut SendBatch) {
        let outbox = &self.shard.outbox;
        let queued = Instant::now();
        for t in &outbox.session_transmits {
            let session = self.sessions.get(&(t.room, t.peer));
            let bytes = Bytes::copy_from_slice(&outbox.bytes[t.start..t.end]);
            let datagram = (queued, bytes);
            if session.is_none_or(|session| session.mailbox.push(datagram).is_err()) {
                self.shard.counters.session_datagrams_dropped += 1;
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
        self.shard.outbox.clear();
    }

    fn deliver_events(&mut self) {
        while let Some(event) = self.shard.poll_event() {
            if event.what == LinkNews::Refused {
                let whose = (event.room, event.seat.peer);
                let session = event.seat.session;
                if self.sessions.get(&whose).is_some_and(|carrier| carrier.session == session) {
                    self.sessions.remove(&whose);
                }
            }
            self.undelivered.push_back(event);
        }
        deliver(&mut self.undelivered, &self.rooms);
    }

    fn report_load(&mut self, now: Time) {
        let elapsed = now.since(self.load_since);
        if elapsed < limits::LOAD_INTERVAL {
            return;
        }
        let used = nucleus_net::thread_cpu_micros();
        let share = used.saturating_sub(self.cpu_used) as f32 / elapsed.as_micros() as f32;
        self.shard.report_load(share);
        (self.load_since, self.cpu_used) = (now, used);
    }

    fn publish(&mut self, now: Time) {
        if now < self.publish_at {
            return;
        }
        self.publish_at = now + PUBLISH_INTERVAL;
        let values = self.shard.counters.values();
        for (published, value) in self.published.counters.iter().zip(values) {
            published.store(value, Ordering::Relaxed);
        }
        self.published.links.store(self.shard.links() as u64, Ordering::Relaxed);
        self.published.on_fallback.store(self.shard.on_fallback() as u64, Ordering::Relaxed);
        let tick = self.shard.tick().as_micros() as u64;
        self.published.tick_micros.store(tick, Ordering::Relaxed);
        self.published.send_failures.store(self.send_failures, Ordering::Relaxed);
        if let Ok(drops) = self.socket.kernel_drops() {
            self.published.kernel_drops.store(drops.into(), Ordering::Relaxed);
        }
    }

    /// With traffic that may wait the thread sleeps and takes what has gathered: waking for each
    /// datagram costs about a tenth of a core more. Otherwise it waits for the socket or the mailbox.
    fn wait(&mut self, began: Time, busy: bool) {
        let due = self.shard.deadline().unwrap_or(Time::MAX);
        let drain = began + limits::DRAIN_INTERVAL;
        let turn = self.shard.turn();
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

/// Posts what the rooms have a place for; the rest waits, but for hints.
fn deliver(
    undelivered: &mut VecDeque<ShardEvent>,
    rooms: &HashMap<RoomId, mpsc::Sender<RoomInput>>,
) {
    let mut full = Vec::new();
    undelivered.retain(|event| {
        // Each link gives one a second, for as long as its peer likes.
        let hint = matches!(event.what, LinkNews::Throttled(_));
        // A room's events stay in order: behind one that must wait, all of them do.
        if full.contains(&event.room) {
            return !hint;
        }
        let Some(room) = rooms.get(&event.room) else { return false };
        let sent = room.try_send(RoomInput::Link(event.seat, event.what));
        let wait = matches!(sent, Err(mpsc::error::TrySendError::Full(_))) && !hint;
        if wait {
            full.push(event.room);
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
    use crate::room::Seat;

    /// However long a room is busy: what it will be told stays a few for each link.
    #[test]
    fn a_busy_room_is_told_no_hints() {
        let (sender, mut mailbox) = mpsc::channel(1);
        let rooms = HashMap::from([(RoomId(1), sender)]);
        let seat = Seat { peer: PeerId(1), session: 1 };
        let event = |what| ShardEvent { room: RoomId(1), seat, what };
        let mut undelivered = VecDeque::from([LinkNews::Heard, LinkNews::Quiet].map(event));
        for _ in 0..1_000 {
            undelivered.push_back(event(LinkNews::Throttled(1)));
            deliver(&mut undelivered, &rooms);
        }
        assert_eq!(undelivered, [event(LinkNews::Quiet)]);
        for expected in [LinkNews::Heard, LinkNews::Quiet] {
            let Ok(RoomInput::Link(_, what)) = mailbox.try_recv() else { panic!("nothing came") };
            assert_eq!(what, expected);
            deliver(&mut undelivered, &rooms);
        }
        assert!(undelivered.is_empty() && mailbox.try_recv().is_err());
    }
}
