//! The handle of a shard for sessions and rooms: its mailboxes and its published figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use nucleus_core::fanout::{FanoutCounters, FanoutHistograms, FanoutInput, LinkEvent, OpenLink};
use nucleus_core::histogram::Histogram;
use nucleus_core::ids::{PeerId, RoomId, RoomKey, SessionId};
use nucleus_core::plane_event::PeerLinks;
use nucleus_core::room_stats::{HeadPose, LiveLinkStats};
use nucleus_core::traffic::TrafficSlice;
use nucleus_net::Waker;
use nucleus_protocol::limits::LINK_ID;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::published_histogram::PublishedHistogram;
use crate::queue::QueueSender;

/// Posts an event of a room's link to the room, without waiting.
pub type PostLinkEvent = Box<dyn Fn(SessionId, LinkEvent) -> PostOutcome + Send>;

/// Takes what there is to say of a peer's links; `None`: the shard does not know it.
pub type TakePeerLinks = Box<dyn FnOnce(Option<PeerLinks>) + Send>;

/// Takes the figures of the links of a room.
pub type TakeRoomLinks = Box<dyn FnOnce(Vec<LiveLinkStats>) + Send>;

/// Takes the poses of the heads in a room; `None`: they are not kept.
pub type TakeHeadPoses = Box<dyn FnOnce(Option<Vec<HeadPose>>) + Send>;

/// Takes the figures of some links of a shard.
pub type TakeTraffic = Box<dyn FnOnce(TrafficSlice) + Send>;

/// What happened to a posted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// The room has taken the event, or has ended and needs none.
    Accepted,
    /// The room's mailbox is full. The event must be posted again.
    MailboxFull,
}

/// A message for a shard's thread.
pub enum ShardMail {
    /// A room begins. The shard calls the function to post the events of the room's links to the
    /// room.
    RoomOpened(RoomId, PostLinkEvent),
    /// A room has ended.
    RoomClosed(RoomId),
    /// Open a link. The queue takes the link's datagrams while its client is on the fallback.
    OpenLink(Box<OpenLink>, Option<QueueSender<QueuedDatagram>>),
    /// Tell what there is to say of a peer's links, all together. The function must not wait.
    PeerLinks(RoomId, PeerId, TakePeerLinks),
    /// Tell the figures of the links of a room. The function must not wait.
    RoomLinks(RoomId, TakeRoomLinks),
    /// Tell the newest poses of the heads in a room of this name, and keep them for the next question. The
    /// function must not wait.
    HeadPoses(RoomId, Arc<RoomKey>, TakeHeadPoses),
    /// Tell the figures of the links from this index on. The function must not wait.
    Traffic(usize, TakeTraffic),
    /// Call a function that does not wait, after everything that was posted before.
    Afterwards(Box<dyn FnOnce() + Send>),
    /// An input for the fan-out.
    Command(FanoutInput),
    /// End the thread.
    Stop,
}

/// A realtime datagram that waits to be sent inside its session.
pub struct QueuedDatagram {
    /// When the datagram was queued.
    pub queued: Instant,
    /// The datagram.
    pub bytes: Bytes,
}

/// A realtime datagram that was received inside a session.
pub struct SessionDatagram {
    /// The session's room.
    pub room: RoomId,
    /// The session.
    pub session: SessionId,
    /// The link's id and the body. Empty: not a datagram, but a notice that the session has
    /// received another message of its peer.
    pub bytes: Bytes,
}

/// A handle of a shard.
pub struct ShardHandle {
    pub(super) mail: mpsc::Sender<ShardMail>,
    pub(super) datagrams: mpsc::Sender<SessionDatagram>,
    pub(super) waker: Waker,
    /// Number of rooms on this shard. A new room goes to the shard with the fewest links; of these,
    /// to the one with the fewest rooms.
    pub rooms: AtomicUsize,
    /// The figures that the thread published last.
    pub published: Arc<Published>,
}

/// A shard's figures. Its thread publishes them four times a second.
pub struct Published {
    pub(super) counters: [AtomicU64; FanoutCounters::METRICS.len()],
    pub(super) histograms: [PublishedHistogram; FanoutHistograms::METRICS.len()],
    /// Number of times that the figures were published, which shows that the thread goes on.
    pub(super) turns: AtomicU64,
    /// Number of live links.
    pub links: AtomicU64,
    /// Number of links whose client is on the fallback.
    pub on_fallback: AtomicU64,
    /// The current tick, µs.
    pub tick_micros: AtomicU64,
    /// CPU time that the thread has used, µs.
    pub cpu_micros: AtomicU64,
    /// Datagrams of sessions that were dropped because the shard's mailbox was full.
    pub session_overflow: AtomicU64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub kernel_drops: AtomicU64,
    /// Datagrams that could not be sent: the send buffer stayed full, or the address was refused.
    pub send_failures: AtomicU64,
}

impl Default for Published {
    fn default() -> Self {
        let empty = FanoutHistograms::default();
        Self {
            counters: Default::default(),
            histograms: empty.all().map(|histogram| PublishedHistogram::new(histogram.scale())),
            turns: AtomicU64::default(),
            links: AtomicU64::default(),
            on_fallback: AtomicU64::default(),
            tick_micros: AtomicU64::default(),
            cpu_micros: AtomicU64::default(),
            session_overflow: AtomicU64::default(),
            kernel_drops: AtomicU64::default(),
            send_failures: AtomicU64::default(),
        }
    }
}

impl Published {
    /// Returns the values of the fan-out's counters, in the order of [`FanoutCounters::METRICS`].
    pub fn counters(&self) -> impl Iterator<Item = u64> {
        self.counters.iter().map(|c| c.load(Ordering::Relaxed))
    }

    /// Returns the fan-out's counters without its histograms.
    pub fn fanout(&self) -> FanoutCounters {
        let values = self.counters.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        FanoutCounters::of_values(values)
    }

    /// Returns how long the shard had each relayed message, µs.
    pub fn relay_latency(&self) -> Histogram {
        // The first of `FanoutHistograms::all`.
        let [relay_latency, ..] = &self.histograms;
        relay_latency.read()
    }

    /// Returns the fan-out's histograms, in the order of [`FanoutHistograms::METRICS`].
    pub fn histograms(&self) -> impl Iterator<Item = Histogram> {
        self.histograms.iter().map(PublishedHistogram::read)
    }
}

impl ShardHandle {
    /// Posts an input for the fan-out; waits while the mailbox is full.
    pub async fn send(&self, command: FanoutInput) {
        self.post(ShardMail::Command(command)).await;
    }

    /// Hands over a datagram that was received inside a session. Drops it if the mailbox is full,
    /// because it is worthless later. A bare notice of activity does not wake the shard.
    pub fn datagram(&self, datagram: SessionDatagram) {
        let urgent = datagram.bytes.len() > LINK_ID;
        match self.datagrams.try_send(datagram) {
            Ok(()) if urgent => self.waker.wake(),
            Ok(()) => {}
            Err(_) => {
                self.published.session_overflow.fetch_add(1, Ordering::Relaxed);
                self.waker.wake();
            }
        }
    }

    /// Returns how often the thread has published its figures, even if it has nothing to do.
    pub(crate) fn turns(&self) -> u64 {
        self.published.turns.load(Ordering::Relaxed)
    }

    /// Posts a message; waits while the mailbox is full.
    pub async fn post(&self, mail: ShardMail) {
        match self.mail.send(mail).await {
            Ok(()) => self.waker.wake(),
            // The thread has ended, which happens only when the server stops.
            Err(mpsc::error::SendError(ShardMail::PeerLinks(_, _, take))) => take(None),
            Err(mpsc::error::SendError(ShardMail::Afterwards(call))) => call(),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
impl ShardHandle {
    /// Makes the handle of a shard without a thread, and the mailbox that the thread would read.
    pub(crate) fn without_thread() -> (Arc<Self>, mpsc::Receiver<ShardMail>) {
        let ((mail, mailbox), (datagrams, _)) = (mpsc::channel(8), mpsc::channel(1));
        let waker = Waker::new().unwrap();
        let (rooms, published) = Default::default();
        (Arc::new(Self { mail, datagrams, waker, rooms, published }), mailbox)
    }
}
