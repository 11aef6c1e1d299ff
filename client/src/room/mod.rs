//! [`Room`]: a joined room as an application uses it.

mod send;
mod state;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nucleus_client_core::playback::ShownPose;
use nucleus_client_core::room::{RenewError, RoomClient, StateError};
use nucleus_client_core::session::DrivenClient;
use nucleus_protocol::groups::Group;
use nucleus_protocol::time::Time;

use crate::event::{RoomEvent, next_realtime_event};
use crate::on_drop::OnDrop;
use crate::realtime::driver::DriverShared;
use crate::realtime::{ConnectionFigures, PeerPose, RealtimeCounters};
use crate::roster::{PeerId, PeerInfo};
use crate::session::{ClientHandle, CurrentEndpoint, ReturnTicket};
use crate::token;
pub(crate) use task::RoomTask;

/// Longest time that [`Room::leave`] waits until the last packets are sent.
const DRAIN: Duration = Duration::from_millis(200);
/// Most events that one [`Room::poll`] returns: those of a second in the largest rooms. So one frame
/// ends although others send faster than the application runs.
const EVENTS_PER_POLL: usize = 4_096;

/// Counters of a room since the join. `bulk_dropped`, `too_large_events` and `malformed_events`
/// count reliable messages, all others count realtime messages. [`RoomEvent::Resumed`] and [`RoomEvent::Rejoined`] report lost events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomStats {
    /// Messages dropped by the rules of the realtime plane.
    pub realtime: RealtimeCounters,
    /// Whether the realtime port does not answer and realtime messages travel inside the session.
    pub on_fallback: bool,
    /// Messages of the bulk lane that could not be assembled, because their first piece was sent
    /// before the join or was lost with a session.
    pub bulk_dropped: u64,
    /// Events that were dropped because the client came back to a server that takes only smaller
    /// ones.
    pub too_large_events: u64,
    /// Requests of peers, answers and typed events that were ignored because they were malformed, or
    /// because a peer answered that was not asked.
    pub malformed_events: u64,
    /// How often the realtime port stopped answering since the last join or resume.
    pub fallbacks: u64,
}

/// A room that this client has joined, returned by [`connect`](crate::connect).
///
/// Share the room by reference or in an [`Arc`]. Any number of tasks and threads may send at the
/// same time; one at a time receives.
///
/// A program on tokio receives with [`Room::next`]. A program with frames calls [`Room::poll`] and
/// [`Room::for_each_pose`] once a frame. All methods that are not `async` return at once, and may be
/// called on any thread.
///
/// The room works on the tokio runtime in which it was joined: one with several threads, or one that
/// a thread drives all the time. Without it nothing is sent or received, and nothing says so.
///
/// [`Room::leave`] leaves the room and waits for the server's confirmation. Dropping the room
/// leaves too, but waits for nothing: events that are not sent yet are lost, and if the process ends
/// at once, the others see the peer until the server counts it as lost.
///
/// The client resumes a lost session by itself, see [`RoomEvent::Interrupted`].
pub struct Room {
    name: String,
    endpoint: CurrentEndpoint,
    client: ClientHandle<RoomClient>,
    realtime: Arc<DriverShared>,
    /// Whether this client has muted itself.
    self_muted: AtomicBool,
    /// Whether the application has taken [`RoomEvent::Closed`].
    is_over: AtomicBool,
}

impl Room {
    /// Returns the room's name. The server may have chosen it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the peer id of this client. It changes with [`RoomEvent::Rejoined`].
    pub fn me(&self) -> PeerId {
        self.client.read().me()
    }

    /// Returns all other peers of the room, in the order in which they joined.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let client = self.client.read();
        let me = client.me();
        client.roster().iter().filter(|peer| peer.id != me).cloned().collect()
    }

    /// Returns the peer with this id, if it is in the room. Also finds this client itself.
    pub fn peer(&self, id: PeerId) -> Option<PeerInfo> {
        self.client.read().roster().peer(id).cloned()
    }

    /// Returns the time of the server's clock, which is the same for all peers of the room. It never
    /// goes backwards, and makes up for errors of its estimate without jumps. Until the clocks are
    /// synchronized, about one round trip after the join, it is behind by the time that the server's
    /// answer took. [`RoomEvent::ClockChanged`] reports another clock.
    pub fn server_time(&self) -> Time {
        let now = self.realtime.clock.now();
        self.realtime.read().server_time(now)
    }

    /// Returns the round-trip time of the realtime plane. `None` until it is measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.realtime.read().link().rtt()
    }

    /// Returns how good the connection is, with the figures behind it: losses in both directions and
    /// the round trip. [`RoomEvent::Quality`] reports each change.
    pub fn connection(&self) -> ConnectionFigures {
        self.realtime.read().connection()
    }

    /// Returns the counters of dropped messages.
    pub fn stats(&self) -> RoomStats {
        let (bulk_dropped, too_large_events, malformed_events) = {
            let client = self.client.read();
            (client.bulk_dropped(), client.too_large_events(), client.malformed_events())
        };
        let realtime = self.realtime.read();
        RoomStats {
            realtime: realtime.counters(),
            on_fallback: realtime.on_fallback(),
            bulk_dropped,
            too_large_events,
            malformed_events,
            fallbacks: realtime.link().fallbacks(),
        }
    }

    /// Returns what resumes this client's session, for example after the process was started again:
    /// hand it to [`ConnectOptions::ticket`](crate::ConnectOptions::ticket). It says which events the
    /// application has taken, and each session has another one, so export it after every event that
    /// must not come again. It also says how many messages were sent of each kind, channel and key,
    /// so export it at least every 16,000 of them: every two minutes covers poses at 120 Hz. Of more
    /// than 256 keys, it has those that were used last. `None` while the client has no ticket.
    pub fn ticket(&self) -> Option<ReturnTicket> {
        let mut ticket = self.client.read().ticket()?;
        ticket.sent = self.realtime.read().sent_sequences();
        Some(ticket)
    }

    /// Subscribes to these groups and unsubscribes from all others. A subscriber receives the
    /// group's events and realtime messages.
    ///
    /// The setting stays over a lost session and over [`RoomEvent::Rejoined`]. Returns when the server
    /// has answered; at once, if the session is lost: the client then sends it when it has a
    /// session again. Counts as a request, see [`Room::change`].
    ///
    /// # Errors
    /// See [`StateError`]; never `NotConnected`, `Behind` and `Interrupted`.
    pub async fn subscribe(
        &self,
        groups: impl IntoIterator<Item = Group>,
    ) -> Result<(), StateError> {
        let groups = groups.into_iter().collect();
        let setting = self.client.change(|client, now| client.subscribe(now, groups));
        self.client.wait_for(|client, _| client.groups_outcome(setting)).await
    }

    /// Hands in a fresh token of the same user, for example after [`RoomEvent::TokenWanted`]. The
    /// client uses it when it joins again. The rights in this room stay as they are.
    ///
    /// Returns when the server has answered.
    ///
    /// # Errors
    /// See [`RenewError`].
    pub async fn renew(&self, token: impl Into<String>) -> Result<(), RenewError> {
        let token = token::trimmed(&token.into());
        if let Some(problem) = token::problem(&token) {
            return Err(RenewError::Invalid(problem));
        }
        let renewal = self.client.change(|client, _| client.renew(token))?;
        let _forget = OnDrop(|| self.client.change(|client, _| client.forget_renewal(renewal)));
        self.client.wait_for(|client, _| client.take_renewal(renewal)).await
    }

    /// Waits for the next event. Returns `None` after [`RoomEvent::Closed`]. Cancel-safe.
    ///
    /// Roster changes and reliable events are returned before realtime events, so a peer's join
    /// comes before its first pose. Reliable events are never dropped. Of realtime messages that
    /// the application has not taken, only those that are still of use are returned: the newest
    /// pose of each peer, and voice of the last 400 ms. [`Room::stats`] counts the others.
    pub async fn next(&self) -> Option<RoomEvent> {
        loop {
            let (reliable, realtime) = (self.client.arrived(), self.realtime.arrived());
            let (mut reliable, mut realtime) = (std::pin::pin!(reliable), std::pin::pin!(realtime));
            // Register before the check, so that nothing that arrives after the check is missed.
            reliable.as_mut().enable();
            realtime.as_mut().enable();
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.is_over.load(Ordering::Relaxed) {
                return None;
            }
            tokio::select! {
                () = reliable => {}
                () = realtime => {}
            }
        }
    }

    /// Returns the next event as [`Room::next`] does, but never waits: `None` if there is none now.
    pub fn try_next(&self) -> Option<RoomEvent> {
        self.take(true)
    }

    /// Takes the next event. Drops poses if they are not wanted.
    fn take(&self, wants_poses: bool) -> Option<RoomEvent> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let Some(event) = self.client.take_event() else {
            let (now, mut realtime) = (self.realtime.clock.now(), self.realtime.read());
            return next_realtime_event(&mut realtime, now, wants_poses);
        };
        if matches!(event, RoomEvent::Closed { .. }) {
            self.is_over.store(true, Ordering::Relaxed);
        }
        Some(event)
    }

    /// Returns the events since the last call, without poses: [`Room::for_each_pose`] reads those.
    /// Never waits. For programs that do their work once a frame.
    ///
    /// ```no_run
    /// # fn frame(room: &nucleus_client::Room) {
    /// for event in room.poll() {
    ///     println!("{event:?}");
    /// }
    /// room.for_each_pose(|pose| println!("{} is at {:?}", pose.from, pose.pose.head.position));
    /// # }
    /// ```
    pub fn poll(&self) -> impl Iterator<Item = RoomEvent> + use<'_> {
        std::iter::from_fn(|| self.take(false)).take(EVENTS_PER_POLL)
    }

    /// Calls `read` with the newest pose of each peer and key. The pose of a peer that sends nothing
    /// stays until the peer leaves: its age is [`Room::server_time`] less [`PeerPose::captured`].
    /// Sends nothing and waits for nothing. `read` must not call methods of this room.
    ///
    /// The pose of a new peer may be there a moment before its [`RoomEvent::PeerJoined`] is taken.
    pub fn for_each_pose(&self, read: impl FnMut(PeerPose<'_>)) {
        self.realtime.read().poses().for_each(read);
    }

    /// Calls `read` with the pose of each peer and key to show in this frame: interpolated between the
    /// poses that have arrived, evenly in time, and a little later than they arrive. How much later
    /// is measured for each peer: most poses are found between two that have arrived. Use this for
    /// avatars, and [`Self::for_each_pose`] for what must be the newest, whether smooth or not, and for
    /// the bytes that a sender adds to its poses. After a gap the pose jumps to where the peer is.
    ///
    /// Shows nothing until the clocks are synchronized. Keeps poses from
    /// the first call on, so call it in each frame. Sends nothing and waits for nothing. `read` must
    /// not call methods of this room.
    ///
    /// ```no_run
    /// # fn frame(room: &nucleus_client::Room) {
    /// room.for_each_shown_pose(|shown| {
    ///     println!("{} is at {:?}", shown.from, shown.pose.head.position);
    /// });
    /// # }
    /// ```
    pub fn for_each_shown_pose(&self, read: impl FnMut(ShownPose)) {
        let (now, mut realtime) = (self.realtime.clock.now(), self.realtime.read());
        realtime.shown_poses(now).for_each(read);
    }

    /// Leaves the room. Events that were sent before still arrive, as far as the server takes them
    /// within two seconds: at its rate of 64 KiB and 200 events a second, that is less than the
    /// client may keep. The other peers see the leave at once. Takes at most 2.2 s.
    pub async fn leave(&self) {
        self.client.change(RoomClient::leave);
        self.client.wait_for(|client, _| client.session().is_closed().then_some(())).await;
        // The process may end right after this call, so let the last packets go out first.
        let _ = tokio::time::timeout(DRAIN, self.endpoint.get().wait_idle()).await;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.client.change(RoomClient::close);
    }
}
