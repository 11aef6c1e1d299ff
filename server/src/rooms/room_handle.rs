//! The handle of a live room, and the room's limit for reliable messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nucleus_core::ids::{RoomId, RoomInstanceId, RoomKey, SessionId};
use nucleus_core::limits::Limits;
use nucleus_core::room::RoomInput;
use nucleus_core::room_rate::{DeliveryCost, RoomRate};
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::mail::{JoinedRoom, RoomJoin, RoomMail};
use super::tenants::CountedRoom;
use crate::shard::{SessionDatagram, ShardHandle};

/// What names a live room instance.
pub(super) struct RoomIdentity {
    pub(super) id: RoomId,
    pub(super) key: Arc<RoomKey>,
    pub(super) instance: RoomInstanceId,
}

/// A handle of a live room instance.
#[derive(Clone)]
pub struct RoomHandle {
    pub(super) id: RoomId,
    pub(super) key: Arc<RoomKey>,
    pub(super) instance: RoomInstanceId,
    pub(super) mailbox: mpsc::Sender<RoomMail>,
    pub(super) shard: Arc<ShardHandle>,
    pub(super) counted: CountedRoom,
    pub(super) rate: Arc<SharedRate>,
    clock: Clock,
}

impl RoomHandle {
    pub(super) fn new(
        identity: RoomIdentity,
        mailbox: mpsc::Sender<RoomMail>,
        shard: Arc<ShardHandle>,
        counted: CountedRoom,
        clock: Clock,
        limits: &Limits,
    ) -> Self {
        let RoomIdentity { id, key, instance } = identity;
        let rate = Arc::new(SharedRate::new(Time::from_micros(clock.now()), limits));
        Self { id, key, instance, mailbox, shard, counted, rate, clock }
    }

    pub(super) async fn join(&self, join: RoomJoin) -> Result<JoinedRoom, Code> {
        let (reply, receiver) = oneshot::channel();
        // A room that has ended drops the mail and with it the reply channel.
        let _ended = self.mailbox.send(RoomMail::Join(join, reply)).await;
        receiver.await.unwrap_or(Err(Code::ShuttingDown))
    }

    pub(super) async fn invite(&self, user: &str, invited: bool) -> Result<(), Code> {
        let (reply, receiver) = oneshot::channel();
        let mail = RoomMail::Invite { user: user.to_owned(), invited, reply };
        let _ended = self.mailbox.send(mail).await;
        receiver.await.unwrap_or(Err(Code::NoSuchRoom))
    }

    /// Waits until the room's rate allows a reliable message of `len` bytes for at most so many
    /// recipients; `None`: for all members.
    pub async fn admit_message(&self, len: usize, recipients: Option<usize>) -> AdmittedMessage {
        let members = self.rate.members.load(Ordering::Relaxed);
        let cost = DeliveryCost::of(len, recipients.map_or(members, |most| most.min(members)));
        let wait = self.rate.lock().reserve(Time::from_micros(self.clock.now()), len, cost);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        AdmittedMessage { waited: !wait.is_zero(), cost }
    }

    /// Posts the input that an admitted message makes; waits while the mailbox is full. Returns false
    /// if the room has ended.
    pub async fn post_admitted(&self, input: RoomInput, admitted: AdmittedMessage) -> bool {
        self.mailbox.send(RoomMail::Reserved(input, admitted.cost)).await.is_ok()
    }

    /// Returns the key that names the room.
    pub fn key(&self) -> &RoomKey {
        &self.key
    }

    /// Posts an input to the room; waits while the mailbox is full. Returns false if the room has
    /// ended.
    pub async fn post(&self, input: RoomInput) -> bool {
        self.mailbox.send(RoomMail::Input(input)).await.is_ok()
    }

    /// Waits until the room instance has ended.
    pub(super) async fn closed(&self) {
        self.mailbox.closed().await;
    }

    /// Tells the shard that the session has received a message of its peer. The notice may be lost.
    pub fn active(&self, session: SessionId) {
        self.datagram(session, Bytes::new());
    }

    /// Hands a realtime datagram of the session to the room's shard. Drops it if the shard is too
    /// far behind.
    pub fn datagram(&self, session: SessionId, bytes: Bytes) {
        self.shard.datagram(SessionDatagram { room: self.id, session, bytes });
    }
}

/// A message that the room's rate has admitted.
#[derive(Clone, Copy, Debug)]
pub struct AdmittedMessage {
    /// Whether the message had to wait.
    pub waited: bool,
    /// What the message may cost when it goes out.
    cost: DeliveryCost,
}

/// The rate of a room's reliable messages, which its sessions wait for, and the room's task refunds.
///
/// Each message goes to all other peers. Without this limit, many senders within their own rates
/// would exceed what a peer with a slow network can receive, and the server would end that peer's
/// session.
pub(super) struct SharedRate {
    rate: Mutex<RoomRate>,
    /// Number of joined sessions.
    pub(super) members: AtomicUsize,
}

impl SharedRate {
    fn new(now: Time, limits: &Limits) -> Self {
        Self { rate: Mutex::new(RoomRate::new(now, limits)), members: AtomicUsize::new(0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RoomRate> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
