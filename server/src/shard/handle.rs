//! A shard as the session side sees it: its mailboxes and its figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use nucleus_core::fanout::{FanoutCounters, FanoutInput, LinkEvent, OpenLink};
use nucleus_core::ids::{RoomId, SessionId};
use nucleus_net::Waker;
use nucleus_protocol::limits::LINK_ID;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::queue::Sender;

/// Takes what happens to a room's links to the room, without waiting.
pub type LinkEvents = Box<dyn Fn(SessionId, LinkEvent) -> PostOutcome + Send>;

/// What became of an event that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// The room has it, or is over.
    Accepted,
    /// The room's mailbox is full.
    MailboxFull,
}

/// What the session side posts to a shard's thread.
pub enum ShardMail {
    /// A room begins, and hears of its links by this.
    RoomOpened(RoomId, LinkEvents),
    /// A room is over.
    RoomClosed(RoomId),
    /// A link for a session, with the mailbox that takes its datagrams while the session carries
    /// them.
    OpenLink(Box<OpenLink>, Option<Sender<(Instant, Bytes)>>),
    /// For the fan-out.
    Command(FanoutInput),
    /// End the thread.
    Stop,
}

/// A datagram that came inside a session.
pub struct SessionDatagram {
    /// The peer's room.
    pub room: RoomId,
    /// Whose session.
    pub session: SessionId,
    /// The link's id and the body; nothing: the session has heard the peer otherwise.
    pub bytes: Bytes,
}

/// A shard as the session side sees it.
pub struct ShardHandle {
    pub(super) mail: mpsc::Sender<ShardMail>,
    pub(super) datagrams: mpsc::Sender<SessionDatagram>,
    pub(super) waker: Waker,
    /// Rooms placed on it, for choosing the emptiest.
    pub rooms: AtomicUsize,
    /// What its thread published last.
    pub published: Arc<Published>,
}

/// A shard's figures, published by its thread a few times a second.
#[derive(Default)]
pub struct Published {
    pub(super) counters: [AtomicU64; FanoutCounters::NAMES.len()],
    /// Links alive.
    pub links: AtomicU64,
    /// Links whose client has fallen back to QUIC datagrams.
    pub on_fallback: AtomicU64,
    /// The tick in use, us.
    pub tick_micros: AtomicU64,
    /// Datagrams of sessions that the shard had no room for.
    pub session_overflow: AtomicU64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub kernel_drops: AtomicU64,
    /// Datagrams that could not be sent: the send buffer stayed full, or the address was refused.
    pub send_failures: AtomicU64,
}

impl Published {
    /// Values in the order of [`FanoutCounters::NAMES`].
    pub fn counters(&self) -> impl Iterator<Item = u64> {
        self.counters.iter().map(|c| c.load(Ordering::Relaxed))
    }
}

impl ShardHandle {
    /// Posts a command; waits while the mailbox is full.
    pub async fn send(&self, command: FanoutInput) {
        self.post(ShardMail::Command(command)).await;
    }

    /// Hands over a datagram that came inside a session, unless the shard is too far behind: it is
    /// worth nothing later. A mere sign of life may wait until the shard wakes for something else.
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

    /// Posts anything; waits while the mailbox is full.
    pub async fn post(&self, mail: ShardMail) {
        // A closed mailbox is a thread that has ended: the server is stopping.
        if self.mail.send(mail).await.is_ok() {
            self.waker.wake();
        }
    }
}
