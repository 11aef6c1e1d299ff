//! The room as an application sees it.

mod assembly;
mod backlog;
mod follow;
mod requests;
mod state;
mod talk;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nucleus_protocol::groups::Group;
use nucleus_protocol::limits;
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS, target_of_group};
use nucleus_protocol::time::Time;
use tokio::sync::{Mutex, mpsc, watch};

use crate::event::{RoomEvent, realtime_event};
use crate::realtime::driver::{Clock, Command, Driver, Shared};
use crate::realtime::speaking::SpeakingChange;
use crate::realtime::{Outgoing, RealtimeCounters};
use crate::roster::{PeerId, PeerInfo, Roster};
use crate::session::{ConnectError, EventOutbox, SendError, Session, To};
use crate::state::Replica;
use follow::Follower;
pub(crate) use follow::Way;
use requests::Requests;
pub use requests::StateError;

/// Messages the application may be ahead of the realtime task: more than a frame's worth of work
/// at 30 Hz. Beyond, the oldest goes.
const OUTGOING: usize = 256;
/// Messages the application may be behind: 170 ms of the fullest room (12,000 a second). Beyond,
/// the oldest goes.
const INCOMING: usize = 2_048;
/// Reliable events the application may be behind before QUIC's flow control stops the senders.
const RELIABLE: usize = 64;
/// Commands on their way to the realtime task, which never keeps them waiting.
const COMMANDS: usize = 16;
/// How long a leave waits for its last packets to go out.
const DRAIN: Duration = Duration::from_millis(200);

/// Whom a realtime message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everybody else in the room.
    Others,
    /// This peer.
    Peer(PeerId),
    /// The host ([`Room::host`]) as this client sees it.
    Host,
    /// Whoever hears this group ([`Room::subscribe`]).
    Group(Group),
}

/// What was dropped since the join. On the realtime plane none of it was reliable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomStats {
    /// Dropped by the rules of the plane.
    pub realtime: RealtimeCounters,
    /// Received, but the application did not take it in time.
    pub not_taken: u64,
    /// Given to send faster than the realtime task ran.
    pub not_sent: u64,
    /// The realtime port does not answer, and its messages travel inside the session.
    pub on_fallback: bool,
    /// Messages of the bulk lane that could not be put together: their beginning was sent before the
    /// join, or lost with the session.
    pub bulk_dropped: u64,
    /// How often the port went silent since the session was last joined or resumed.
    pub fallbacks: u64,
}

/// A room this client is in. Share it by reference or in an [`Arc`]: any task may send, one at a
/// time receives. Dropping it leaves without ceremony; [`Room::leave`] waits for the server.
///
/// A lost session is taken up again by itself, see [`RoomEvent::Interrupted`].
pub struct Room {
    name: String,
    endpoint: quinn::Endpoint,
    state: Arc<State>,
    realtime: Arc<Shared>,
    inbox: Mutex<Inbox>,
}

/// What the room's task and the application share.
struct State {
    me: AtomicU32,
    /// Written by the room's task alone, never held over an await.
    roster: RwLock<Roster>,
    /// The room's shared state; the same holds.
    replica: RwLock<Replica>,
    events: EventOutbox,
    requests: Requests,
    objects_made: AtomicU32,
    bulk_dropped: AtomicU64,
    /// This client has muted itself.
    silent: AtomicBool,
    closed: AtomicBool,
}

struct Inbox {
    reliable: mpsc::Receiver<RoomEvent>,
    on_fallback: watch::Receiver<bool>,
}

impl State {
    fn roster(&self) -> std::sync::RwLockReadGuard<'_, Roster> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn replica(&self) -> std::sync::RwLockReadGuard<'_, Replica> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self) -> Option<PeerId> {
        // The one place that holds both; the room's task, who writes, holds one at a time.
        self.replica().host(&self.roster())
    }
}

impl Room {
    /// Opens the realtime plane of a joined session and starts the room's two tasks.
    pub(crate) async fn open(mut way: Way, session: Session) -> Result<Room, ConnectError> {
        let joined = session.joined();
        way.options.settle(joined);
        let name = way.options.room.clone();
        let roster = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let config = session.link_config()?;
        let realtime = Arc::new(Shared::new(Clock::start(), OUTGOING, INCOMING));
        let (endpoint, connection) = (way.endpoint.clone(), session.connection().clone());
        let driver = Driver::open(config, endpoint.clone(), connection, realtime.clone()).await?;
        let (commands, driven) = mpsc::channel(COMMANDS);
        tokio::spawn(driver.run(driven));
        // A full room's roster is longer than the queue, so the driver must run by now.
        for peer in roster.iter() {
            let _ = commands.send(Command::Joined(peer.slot, peer.id)).await;
        }

        let state = Arc::new(State {
            me: AtomicU32::new(joined.peer),
            roster: RwLock::new(roster),
            replica: RwLock::default(),
            events: EventOutbox::default(),
            requests: Requests::new(),
            objects_made: AtomicU32::new(1),
            bulk_dropped: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let (events, reliable) = mpsc::channel(RELIABLE);
        let follower = Follower::new(way, state.clone(), commands, events, session);
        tokio::spawn(follower.run());
        let inbox = Mutex::new(Inbox { reliable, on_fallback: realtime.on_fallback.subscribe() });
        Ok(Room { name, endpoint, state, realtime, inbox })
    }

    /// The room's name, which the server may have chosen.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This client's own number; another one after [`RoomEvent::Rejoined`].
    pub fn me(&self) -> PeerId {
        PeerId(self.state.me.load(Ordering::Relaxed))
    }

    /// Everybody else in the room, in the order of joining.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let me = self.me();
        self.state.roster().iter().filter(|peer| peer.id != me).cloned().collect()
    }

    /// A peer of the room, this client included.
    pub fn peer(&self, id: PeerId) -> Option<PeerInfo> {
        self.state.roster().peer(id).cloned()
    }

    /// The server's clock, the same for everybody in the room; `None` until it is known, about one
    /// round trip after the join.
    pub fn server_time(&self) -> Option<Time> {
        let status = self.realtime.status();
        Some(status.server_time? + self.realtime.clock.now().since(status.at))
    }

    /// Round trip of the realtime plane; `None` until it is known.
    pub fn rtt(&self) -> Option<Duration> {
        self.realtime.status().rtt
    }

    /// What was dropped so far.
    pub fn stats(&self) -> RoomStats {
        RoomStats {
            realtime: self.realtime.status().counters,
            not_taken: self.realtime.incoming.dropped(),
            not_sent: self.realtime.outgoing.dropped(),
            on_fallback: *self.realtime.on_fallback.borrow(),
            bulk_dropped: self.state.bulk_dropped.load(Ordering::Relaxed),
            fallbacks: self.realtime.status().fallbacks,
        }
    }

    /// Sends head and hands to the others; the newest pose wins. Never blocks.
    pub fn send_pose(&self, pose: &Pose) -> Result<(), SendError> {
        let mut payload = Vec::with_capacity(40);
        pose.encode(&mut payload);
        self.send(MessageKind::Pose, true, Target::Others, (0, 0), payload)
    }

    /// Sends a pointer or cursor, at most 1,100 bytes; the newest of `channel` and `key` wins.
    /// Never blocks.
    pub fn send_pointer(
        &self,
        target: Target,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        self.send(MessageKind::Pointer, true, target, (channel, key), payload.to_vec())
    }

    /// Sends at most 1,100 bytes that may be lost or overtaken; each message stands for itself.
    /// Never blocks.
    pub fn send_unreliable(
        &self,
        target: Target,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        self.send(MessageKind::Unreliable, false, target, (channel, key), payload.to_vec())
    }

    /// Sends at most 1,100 bytes of state, where the newest of `channel` and `key` (an object's
    /// number, say) wins: older ones are not delivered after it. Never blocks.
    pub fn send_newest(
        &self,
        target: Target,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        self.send(MessageKind::Unreliable, true, target, (channel, key), payload.to_vec())
    }

    /// Sends a reliable, ordered event of at most 16 KiB; waits while the room takes events more
    /// slowly than they are sent. An event outlives a lost session as long as the peer's place does.
    pub async fn send_event(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.state.events.send(to, channel, payload).await
    }

    /// Waits for what happens next; `None` after [`RoomEvent::Closed`]. Cancel-safe.
    ///
    /// Roster and reliable events come before realtime ones, so that a peer has joined before its
    /// first pose. An application that is slow loses realtime events, oldest first, counted in
    /// [`Room::stats`]; never a reliable one.
    pub async fn next(&self) -> Option<RoomEvent> {
        let mut inbox = self.inbox.lock().await;
        let Inbox { reliable, on_fallback } = &mut *inbox;
        loop {
            tokio::select! {
                biased;
                event = reliable.recv() => return event,
                Ok(()) = on_fallback.changed() => {
                    return Some(RoomEvent::Fallback(*on_fallback.borrow_and_update()));
                }
                change = self.realtime.spoke.pop() => {
                    let SpeakingChange { peer, speaking, level } = change;
                    if self.state.roster().peer(peer).is_some() {
                        return Some(RoomEvent::Speaking { peer, speaking, level });
                    }
                }
                received = self.realtime.incoming.pop() => {
                    // Who has left is not heard any more.
                    let known = self.state.roster().peer(received.from).is_some();
                    if let Some(event) = realtime_event(received).filter(|_| known) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Leaves: events already sent arrive first, everybody is told at once. At most 2.2 s.
    pub async fn leave(&self) {
        self.state.events.leave().await;
        // Only so that a process which ends now has sent its last packet.
        let _ = tokio::time::timeout(DRAIN, self.endpoint.wait_idle()).await;
    }

    fn send(
        &self,
        kind: MessageKind,
        newest_wins: bool,
        target: Target,
        (channel, key): (u8, u16),
        payload: Vec<u8>,
    ) -> Result<(), SendError> {
        if payload.len() > limits::MAX_PAYLOAD {
            return Err(SendError::TooLarge { len: payload.len(), limit: limits::MAX_PAYLOAD });
        }
        if self.state.closed.load(Ordering::Relaxed) {
            return Err(SendError::Closed);
        }
        let target = match target {
            Target::Others => TARGET_OTHERS,
            Target::Peer(id) => self.slot(id)?,
            Target::Host => self.slot(self.state.host().ok_or(SendError::UnknownPeer)?)?,
            Target::Group(group) => target_of_group(group),
        };
        self.realtime.outgoing.push(Outgoing { kind, newest_wins, target, channel, key, payload });
        Ok(())
    }

    fn slot(&self, id: PeerId) -> Result<u16, SendError> {
        self.state.roster().peer(id).map(|peer| peer.slot.0).ok_or(SendError::UnknownPeer)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.state.events.close();
    }
}
