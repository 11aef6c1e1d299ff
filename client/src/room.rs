//! The room as an application sees it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::link::Link;
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::realtime::{Kind, TARGET_OTHERS};
use nucleus_protocol::time::Time;
use tokio::sync::{Mutex, mpsc};

use crate::event::{RoomEvent, realtime_event};
use crate::realtime::driver::{self, Clock, PeerChange, Shared};
use crate::realtime::{Outgoing, Realtime, RealtimeCounters};
use crate::roster::{PeerId, PeerInfo, Roster, RosterChange};
use crate::session::{
    ConnectError, SendError, Session, SessionEvent, SessionReceiver, SessionSender, To,
};

/// Messages the application may be ahead of the realtime task: more than a frame's worth of work
/// at 30 Hz. Beyond, the oldest goes.
const OUTGOING: usize = 256;
/// Messages the application may be behind: 170 ms of the fullest room (12,000 a second). Beyond,
/// the oldest goes.
const INCOMING: usize = 2_048;
/// Reliable events the application may be behind before QUIC's flow control stops the senders.
const RELIABLE: usize = 64;
/// Roster changes on their way to the realtime task, which never keeps them waiting.
const PEER_CHANGES: usize = 16;
/// How long a leave waits for its last packets to go out.
const DRAIN: Duration = Duration::from_millis(200);

/// Whom a realtime message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everybody else in the room.
    Others,
    /// This peer.
    Peer(PeerId),
}

/// What was dropped on the realtime plane since the join; none of it was reliable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomStats {
    /// Dropped by the rules of the plane.
    pub realtime: RealtimeCounters,
    /// Received, but the application did not take it in time.
    pub not_taken: u64,
    /// Given to send faster than the realtime task ran.
    pub not_sent: u64,
}

/// A room this client is in. Share it by reference or in an [`Arc`]: any task may send, one at a
/// time receives. Dropping it leaves without ceremony; [`Room::leave`] waits for the server.
pub struct Room {
    me: PeerId,
    endpoint: quinn::Endpoint,
    connection: quinn::Connection,
    session: SessionSender,
    roster: SharedRoster,
    realtime: Arc<Shared>,
    reliable: Mutex<mpsc::Receiver<RoomEvent>>,
}

/// Written by the session's task alone, never held over an await.
type SharedRoster = Arc<RwLock<Roster>>;

impl Room {
    /// Opens the realtime plane of a joined session and starts the room's two tasks.
    pub(crate) async fn open(
        endpoint: quinn::Endpoint,
        session: Session,
    ) -> Result<Room, ConnectError> {
        let joined = session.joined();
        let me = PeerId(joined.peer);
        let roster = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let config = session.link_config()?;
        let remote = config.path.map_or(session.connection().remote_address(), |path| path.remote);
        let socket = driver::socket_for(remote).await?;
        let clock = Clock::start();
        let mut core = Realtime::new(Link::new(clock.now(), config));
        roster.iter().for_each(|peer| core.add_peer(clock.now(), peer.slot, peer.id));

        let connection = session.connection().clone();
        let (sender, receiver) = session.split();
        let realtime = Arc::new(Shared::new(clock, OUTGOING, INCOMING));
        let roster = Arc::new(RwLock::new(roster));
        let (events, reliable) = mpsc::channel(RELIABLE);
        let (changes, peers) = mpsc::channel(PEER_CHANGES);
        tokio::spawn(driver::run(core, socket, realtime.clone(), peers));
        tokio::spawn(follow(receiver, roster.clone(), changes, events));
        let reliable = Mutex::new(reliable);
        Ok(Room { me, endpoint, connection, session: sender, roster, realtime, reliable })
    }

    /// This client's own number.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Everybody else in the room, in the order of joining.
    pub fn peers(&self) -> Vec<PeerInfo> {
        read(&self.roster).iter().filter(|peer| peer.id != self.me).cloned().collect()
    }

    /// A peer of the room, this client included.
    pub fn peer(&self, id: PeerId) -> Option<PeerInfo> {
        read(&self.roster).peer(id).cloned()
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
        }
    }

    /// Sends head and hands to the others; the newest pose wins. Never blocks.
    pub fn send_pose(&self, pose: &Pose) -> Result<(), SendError> {
        let mut payload = Vec::with_capacity(40);
        pose.encode(&mut payload);
        self.send(Kind::Pose, true, Target::Others, (0, 0), payload)
    }

    /// Sends an Opus packet to the others. Never blocks.
    pub fn send_voice(&self, voice: &Voice<'_>) -> Result<(), SendError> {
        let mut payload = Vec::with_capacity(2 + voice.opus.len());
        voice.encode(&mut payload);
        self.send(Kind::Voice, false, Target::Others, (0, 0), payload)
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
        self.send(Kind::Pointer, true, target, (channel, key), payload.to_vec())
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
        self.send(Kind::Unreliable, false, target, (channel, key), payload.to_vec())
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
        self.send(Kind::Unreliable, true, target, (channel, key), payload.to_vec())
    }

    /// Sends a reliable, ordered event of at most 16 KiB; waits while the room takes events more
    /// slowly than they are sent.
    pub async fn send_event(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.session.send_event(to, channel, payload).await
    }

    /// Waits for what happens next; `None` after [`RoomEvent::Closed`]. Cancel-safe.
    ///
    /// Roster and reliable events come before realtime ones, so that a peer has joined before its
    /// first pose. An application that is slow loses realtime events, oldest first, counted in
    /// [`Room::stats`]; never a reliable one.
    pub async fn next(&self) -> Option<RoomEvent> {
        let mut reliable = self.reliable.lock().await;
        loop {
            tokio::select! {
                biased;
                event = reliable.recv() => return event,
                received = self.realtime.incoming.pop() => {
                    // Who has left is not heard any more.
                    let known = read(&self.roster).peer(received.from).is_some();
                    if let Some(event) = realtime_event(received).filter(|_| known) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Leaves: events already sent arrive first, everybody is told at once. At most 1.2 s.
    pub async fn leave(&self) {
        self.session.leave().await;
        // Only so that a process which ends now has sent its last packet.
        let _ = tokio::time::timeout(DRAIN, self.endpoint.wait_idle()).await;
    }

    fn send(
        &self,
        kind: Kind,
        newest_wins: bool,
        target: Target,
        (channel, key): (u8, u16),
        payload: Vec<u8>,
    ) -> Result<(), SendError> {
        if payload.len() > limits::MAX_PAYLOAD {
            return Err(SendError::TooLarge { len: payload.len(), limit: limits::MAX_PAYLOAD });
        }
        if self.connection.close_reason().is_some() {
            return Err(SendError::Closed);
        }
        let target = match target {
            Target::Others => TARGET_OTHERS,
            Target::Peer(id) => self.slot(id)?,
        };
        self.realtime.outgoing.push(Outgoing { kind, newest_wins, target, channel, key, payload });
        Ok(())
    }

    fn slot(&self, id: PeerId) -> Result<u16, SendError> {
        read(&self.roster).peer(id).map(|peer| peer.slot.0).ok_or(SendError::UnknownPeer)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.session.close();
    }
}

/// The session's task: keeps the roster, and hands on what is reliable. It waits for a slow
/// application, and QUIC's flow control then makes the senders wait.
async fn follow(
    mut session: SessionReceiver,
    roster: SharedRoster,
    peers: mpsc::Sender<PeerChange>,
    events: mpsc::Sender<RoomEvent>,
) {
    loop {
        let sent = match session.next().await {
            SessionEvent::Roster(update) => {
                let applied = roster.write().unwrap_or_else(PoisonError::into_inner).apply(update);
                // The receiver has checked the version already.
                tell(applied.unwrap_or_default(), &peers, &events).await
            }
            SessionEvent::Event(event) => events.send(event.into()).await.is_ok(),
            SessionEvent::Closed { code, text } => {
                let _ = events.send(RoomEvent::Closed { code, text }).await;
                false
            }
        };
        if !sent {
            return;
        }
    }
}

/// False when nobody listens any more. The application hears of a newcomer before the realtime
/// plane does, and so before it hears the newcomer.
async fn tell(
    changes: Vec<RosterChange>,
    peers: &mpsc::Sender<PeerChange>,
    events: &mpsc::Sender<RoomEvent>,
) -> bool {
    for change in changes {
        let slot = match &change {
            RosterChange::Joined(peer) => Some(PeerChange::Joined(peer.slot, peer.id)),
            RosterChange::Left { peer, .. } => Some(PeerChange::Left(peer.slot, peer.id)),
            RosterChange::Presence { .. } => None,
        };
        if events.send(change.into()).await.is_err() {
            return false;
        }
        if let Some(slot) = slot
            && peers.send(slot).await.is_err()
        {
            return false;
        }
    }
    true
}

fn read(roster: &SharedRoster) -> std::sync::RwLockReadGuard<'_, Roster> {
    roster.read().unwrap_or_else(PoisonError::into_inner)
}
