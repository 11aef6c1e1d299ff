//! [`Room`]: a joined room as an application uses it.

mod backlog;
mod desired;
mod renewal;
mod requests;
mod state;
mod task;
mod voice;

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
use crate::realtime::driver::{Driver, DriverClock, DriverCommand, DriverShared};
use crate::realtime::speaking::SpeakingChange;
use crate::realtime::{OutgoingMessage, RealtimeCounters};
use crate::roster::{PeerId, PeerInfo, Roster};
use crate::session::{ConnectError, CurrentEndpoint, EventOutbox, SendError, Session, To};
use crate::state::Replica;
use crate::token;
use desired::DesiredState;
pub use renewal::RenewError;
use renewal::TokenRenewal;
use requests::RoomRequests;
pub use requests::StateError;
pub(crate) use task::RoomConnector;
use task::RoomTask;

/// Realtime messages that may wait for the realtime task: more than an application sends in one
/// frame at 30 Hz. When the queue is full, the oldest message is dropped.
const OUTGOING: usize = 256;
/// Received realtime messages that may wait for the application: those of 170 ms in the largest
/// room (12,000 messages a second). When the queue is full, the oldest message is dropped.
const INCOMING: usize = 2_048;
/// Reliable events in the channel to the application. Further events wait in the backlog of the
/// room's task.
const RELIABLE: usize = 64;
/// Commands that may wait for the realtime task. A few are enough, because the task reads them
/// without delay.
const COMMANDS: usize = 16;
/// Longest time that [`Room::leave`] waits until the last packets are sent.
const DRAIN: Duration = Duration::from_millis(200);

/// The recipients of a realtime message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All other peers of the room.
    Others,
    /// One peer.
    Peer(PeerId),
    /// The peer that [`Room::host`] returns at the moment of sending.
    Host,
    /// All peers that have subscribed to this group ([`Room::subscribe`]).
    Group(Group),
}

/// Counters of a room since the join. `bulk_dropped` counts reliable messages, all others count
/// realtime messages. [`RoomEvent::Resumed`] and [`RoomEvent::Rejoined`] report lost events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomStats {
    /// Messages dropped by the rules of the realtime plane.
    pub realtime: RealtimeCounters,
    /// Received messages dropped because the application did not take them in time, those of
    /// `realtime.not_taken` included.
    pub not_taken: u64,
    /// Messages dropped before they were sent, because the application sent faster than the
    /// realtime task runs.
    pub not_sent: u64,
    /// Whether the realtime port does not answer and realtime messages travel inside the session.
    pub on_fallback: bool,
    /// Messages of the bulk lane that could not be assembled, because their first piece was sent
    /// before the join or was lost with a session.
    pub bulk_dropped: u64,
    /// How often the realtime port stopped answering since the last join or resume.
    pub fallbacks: u64,
}

/// A room that this client has joined, returned by [`connect`](crate::connect).
///
/// Share the room by reference or in an [`Arc`]. Any number of tasks may send at the same time; one
/// task at a time receives with [`Room::next`].
///
/// [`Room::leave`] leaves the room and waits for the server's confirmation. Dropping the room
/// leaves too, but waits for nothing: events that are not sent yet are lost.
///
/// The client resumes a lost session by itself, see [`RoomEvent::Interrupted`].
pub struct Room {
    name: String,
    endpoint: CurrentEndpoint,
    shared: Arc<RoomShared>,
    realtime: Arc<DriverShared>,
    receivers: Mutex<EventReceivers>,
}

/// Data that the room's task and the application share.
struct RoomShared {
    /// Peer id of this client.
    me: AtomicU32,
    /// The peers of the room. Only the room's task writes the roster. The lock is never held over
    /// an await.
    roster: RwLock<Roster>,
    /// The room's shared state. Written and locked like `roster`.
    replica: RwLock<Replica>,
    events: EventOutbox,
    requests: RoomRequests,
    renewal: TokenRenewal,
    /// Number of the next object that this client creates.
    next_object: AtomicU32,
    bulk_dropped: AtomicU64,
    /// Whether this client has muted itself.
    self_muted: AtomicBool,
    desired: DesiredState,
    closed: AtomicBool,
}

/// Channel and key of a realtime message, both chosen by the application.
#[derive(Clone, Copy, Default)]
struct ApplicationKey {
    channel: u8,
    key: u16,
}

/// The ends from which [`Room::next`] takes events, except the realtime ones.
struct EventReceivers {
    reliable: mpsc::Receiver<RoomEvent>,
    on_fallback: watch::Receiver<bool>,
}

impl RoomShared {
    fn roster(&self) -> std::sync::RwLockReadGuard<'_, Roster> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn replica(&self) -> std::sync::RwLockReadGuard<'_, Replica> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self) -> Option<PeerId> {
        // This cannot deadlock: only this function holds both locks, and the room's task, the only
        // writer, holds one at a time.
        self.replica().host(&self.roster())
    }
}

impl Room {
    /// Opens the realtime plane of a joined session, and starts the room's task and the realtime
    /// task.
    pub(crate) async fn open(
        mut connector: RoomConnector,
        session: Session,
    ) -> Result<Room, ConnectError> {
        let joined = session.joined();
        connector.options.rejoin_room_of(joined);
        let name = connector.options.room.clone();
        let roster = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let config = session.link_config()?;
        let realtime = Arc::new(DriverShared::new(DriverClock::start(), OUTGOING, INCOMING));
        let endpoint = CurrentEndpoint::new(session.endpoint().clone());
        let connection = session.connection().clone();
        let driver = Driver::open(config, endpoint.clone(), connection, realtime.clone()).await?;
        let (commands, driven) = mpsc::channel(COMMANDS);
        tokio::spawn(driver.run(driven));
        // The roster may be longer than the channel, so the realtime task must already be running.
        for peer in roster.iter() {
            let _ = commands.send(DriverCommand::Joined(peer.slot, peer.id)).await;
        }

        let shared = Arc::new(RoomShared {
            me: AtomicU32::new(joined.peer),
            roster: RwLock::new(roster),
            replica: RwLock::default(),
            events: EventOutbox::default(),
            requests: RoomRequests::new(),
            renewal: TokenRenewal::default(),
            next_object: AtomicU32::new(1),
            bulk_dropped: AtomicU64::new(0),
            self_muted: AtomicBool::new(false),
            desired: DesiredState::default(),
            closed: AtomicBool::new(false),
        });
        let (events, reliable) = mpsc::channel(RELIABLE);
        let task =
            RoomTask::new(connector, endpoint.clone(), shared.clone(), commands, events, session);
        tokio::spawn(task.run());
        let on_fallback = realtime.on_fallback.subscribe();
        let receivers = Mutex::new(EventReceivers { reliable, on_fallback });
        Ok(Room { name, endpoint, shared, realtime, receivers })
    }

    /// Returns the room's name. The server may have chosen it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the peer id of this client. It changes with [`RoomEvent::Rejoined`].
    pub fn me(&self) -> PeerId {
        PeerId(self.shared.me.load(Ordering::Relaxed))
    }

    /// Returns all other peers of the room, in the order in which they joined.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let me = self.me();
        self.shared.roster().iter().filter(|peer| peer.id != me).cloned().collect()
    }

    /// Returns the peer with this id, if it is in the room. Also finds this client itself.
    pub fn peer(&self, id: PeerId) -> Option<PeerInfo> {
        self.shared.roster().peer(id).cloned()
    }

    /// Returns the time of the server's clock, which is the same for all peers of the room. `None`
    /// until the clocks are synchronized, about one round trip after the join.
    pub fn server_time(&self) -> Option<Time> {
        let status = self.realtime.status();
        Some(status.server_time? + self.realtime.clock.now().since(status.at))
    }

    /// Returns the round-trip time of the realtime plane. `None` until it is measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.realtime.status().rtt
    }

    /// Returns the counters of dropped messages.
    pub fn stats(&self) -> RoomStats {
        let realtime = self.realtime.status().counters;
        RoomStats {
            realtime,
            not_taken: realtime.not_taken + self.realtime.incoming.dropped(),
            not_sent: self.realtime.outgoing.dropped(),
            on_fallback: *self.realtime.on_fallback.borrow(),
            bulk_dropped: self.shared.bulk_dropped.load(Ordering::Relaxed),
            fallbacks: self.realtime.status().fallbacks,
        }
    }

    /// Sends the pose of head and hands to all other peers. Never blocks. Only the newest pose is
    /// delivered: an older one that arrives later is dropped.
    ///
    /// # Errors
    /// [`SendError::Pose`] if a number is NaN, infinite or out of range, or a rotation has the
    /// length 0: the others would see the avatar jump. The head may be 8,388.607 m from the origin
    /// in each axis, and a hand 2.047 m from the head. [`SendError::Closed`] if the room is closed.
    pub fn send_pose(&self, pose: &Pose) -> Result<(), SendError> {
        pose.check()?;
        let mut payload = Vec::with_capacity(40);
        pose.encode(&mut payload);
        self.send(MessageKind::Pose, true, Target::Others, ApplicationKey::default(), payload)
    }

    /// Sends a pointer or cursor, at most 900 bytes. Never blocks. Only the newest one of each
    /// `channel` and `key` is delivered.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::UnknownPeer`] if the target is not in the room, or
    /// [`SendError::Closed`].
    pub fn send_pointer(
        &self,
        target: Target,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = ApplicationKey { channel, key };
        self.send(MessageKind::Pointer, true, target, key, payload.to_vec())
    }

    /// Sends an unreliable message of at most 900 bytes. Never blocks. The message may be lost or
    /// arrive out of order, and does not replace earlier ones.
    ///
    /// # Errors
    /// The same as for [`Room::send_pointer`].
    pub fn send_unreliable(
        &self,
        target: Target,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = ApplicationKey { channel, key };
        self.send(MessageKind::Unreliable, false, target, key, payload.to_vec())
    }

    /// Sends an unreliable message of at most 900 bytes that replaces earlier ones of the same
    /// `channel` and `key` (for example an object's number). Never blocks. An older message is
    /// never delivered after a newer one.
    ///
    /// # Errors
    /// The same as for [`Room::send_pointer`].
    pub fn send_newest(
        &self,
        target: Target,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = ApplicationKey { channel, key };
        self.send(MessageKind::Unreliable, true, target, key, payload.to_vec())
    }

    /// Sends a reliable, ordered event of at most 16 KiB on a channel below 240. Waits while the room takes events more
    /// slowly than they are sent, and while the room does not acknowledge them: at most 512 KiB of
    /// events are kept until they are acknowledged.
    ///
    /// If the session is lost, the event is sent after the resume. If the client rejoins as a new
    /// peer ([`RoomEvent::Rejoined`]) instead, events that were already written are lost, and so
    /// are events for named peers of an earlier room instance.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::TooManyPeers`], [`SendError::ReservedChannel`], or
    /// [`SendError::Closed`] if the room is closed.
    pub async fn send_event(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.shared.events.send(to, channel, payload).await
    }

    /// Sends a reliable message of at most 64 KiB on the bulk lane.
    ///
    /// Bulk messages are in order among themselves. Bulk messages and events do not wait for each
    /// other. Waits while the room takes bulk messages more slowly than they are sent (64 KiB a
    /// second on average). A lost session is handled as in [`Room::send_event`].
    ///
    /// # Errors
    /// The same as for [`Room::send_event`], and [`SendError::NotKept`] for [`To::OthersAndLater`].
    pub async fn send_bulk(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.shared.events.send_bulk(to, channel, payload).await
    }

    /// Subscribes to these groups and unsubscribes from all others. A subscriber receives the
    /// group's events and realtime messages.
    ///
    /// The setting stays over a lost session and over [`RoomEvent::Rejoined`]. Returns when the server
    /// has answered; at once, if the session is lost: the client then sends it when it has a
    /// session again. Counts as a request, see [`Room::change`].
    ///
    /// # Errors
    /// See [`StateError`]; never `NotConnected` and `Interrupted`.
    pub async fn subscribe(
        &self,
        groups: impl IntoIterator<Item = Group>,
    ) -> Result<(), StateError> {
        let groups = groups.into_iter().collect();
        self.shared.desired.subscribe(&self.shared.requests, groups).await
    }

    /// Hands in a fresh token of the same user, for example after [`RoomEvent::TokenWanted`]. The
    /// client uses it when it joins again. The rights in this room stay as they are.
    ///
    /// Returns when the server has answered.
    ///
    /// # Errors
    /// See [`RenewError`].
    pub async fn renew(&self, token: impl Into<String>) -> Result<(), RenewError> {
        self.shared.renewal.renew(token::trimmed(&token.into())).await
    }

    /// Waits for the next event. Returns `None` after [`RoomEvent::Closed`]. Cancel-safe.
    ///
    /// Roster changes and reliable events are returned before realtime events, so a peer's join
    /// comes before its first pose. If the application is slow, the oldest realtime events are
    /// dropped and counted in [`Room::stats`]. Reliable events are never dropped.
    pub async fn next(&self) -> Option<RoomEvent> {
        let mut receivers = self.receivers.lock().await;
        let EventReceivers { reliable, on_fallback } = &mut *receivers;
        loop {
            tokio::select! {
                biased;
                event = reliable.recv() => return event,
                Ok(()) = on_fallback.changed() => {
                    return Some(RoomEvent::Fallback(*on_fallback.borrow_and_update()));
                }
                change = self.realtime.speaking_changes.pop() => {
                    let SpeakingChange { peer, speaking, level } = change;
                    if self.shared.roster().peer(peer).is_some() {
                        return Some(RoomEvent::Speaking { peer, speaking, level });
                    }
                }
                received = self.realtime.incoming.pop() => {
                    // Drop messages of peers that have left.
                    let known = self.shared.roster().peer(received.from).is_some();
                    if let Some(event) = realtime_event(received.view()).filter(|_| known) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Leaves the room. Events that were sent before still arrive, and the other peers see the
    /// leave at once. Takes at most 2.2 s.
    pub async fn leave(&self) {
        self.shared.events.leave().await;
        // The process may end right after this call, so let the last packets go out first.
        let _ = tokio::time::timeout(DRAIN, self.endpoint.get().wait_idle()).await;
    }

    fn send(
        &self,
        kind: MessageKind,
        newest_wins: bool,
        target: Target,
        ApplicationKey { channel, key }: ApplicationKey,
        payload: Vec<u8>,
    ) -> Result<(), SendError> {
        if payload.len() > limits::MAX_PAYLOAD {
            return Err(SendError::TooLarge { len: payload.len(), limit: limits::MAX_PAYLOAD });
        }
        if self.shared.closed.load(Ordering::Relaxed) {
            return Err(SendError::Closed);
        }
        let target = match target {
            Target::Others => TARGET_OTHERS,
            Target::Peer(id) => self.slot(id)?,
            Target::Host => self.slot(self.shared.host().ok_or(SendError::UnknownPeer)?)?,
            Target::Group(group) => target_of_group(group),
        };
        self.realtime.outgoing.push(OutgoingMessage {
            kind,
            newest_wins,
            target,
            channel,
            key,
            payload,
        });
        Ok(())
    }

    fn slot(&self, id: PeerId) -> Result<u16, SendError> {
        self.shared.roster().peer(id).map(|peer| peer.slot.0).ok_or(SendError::UnknownPeer)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.events.close();
    }
}
