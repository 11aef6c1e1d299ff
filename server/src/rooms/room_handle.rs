//! The handle of a live room, and the room's limit for reliable messages.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::ids::{RoomId, RoomInstanceId, RoomKey, SessionId};
use nucleus_core::limits::Limits;
use nucleus_core::rate::{MessageRate, Rate};
use nucleus_core::room::{JoinRequest, RoomInput};
use nucleus_net::Clock;
use nucleus_protocol::limits::MAX_EVENT_MESSAGE;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::mail::RoomMail;
use super::outgoing::Outgoing;
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
    rate: Arc<RoomRate>,
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
        let rate = Arc::new(RoomRate::new(Time::from_micros(clock.now()), limits));
        Self { id, key, instance, mailbox, shard, counted, rate, clock }
    }

    pub(super) async fn join(
        &self,
        join: Box<JoinRequest>,
        outgoing: Outgoing,
    ) -> Result<SessionId, Code> {
        let (reply, receiver) = oneshot::channel();
        // A room that has ended drops the mail and with it the reply channel.
        let _ended = self.mailbox.send(RoomMail::Join(join, outgoing, reply)).await;
        receiver.await.unwrap_or(Err(Code::ShuttingDown))
    }

    pub(super) async fn invite(&self, user: &str, invited: bool) -> Result<(), Code> {
        let (reply, receiver) = oneshot::channel();
        let mail = RoomMail::Invite { user: user.to_owned(), invited, reply };
        let _ended = self.mailbox.send(mail).await;
        receiver.await.unwrap_or(Err(Code::NoSuchRoom))
    }

    /// Waits until the room's rate allows a reliable message of `len` bytes, and takes the message
    /// from the rate. Returns whether it had to wait.
    pub async fn admit_message(&self, len: usize) -> bool {
        let mut waited = false;
        while let Err(wait) = self.rate.take(Time::from_micros(self.clock.now()), len) {
            waited = true;
            tokio::time::sleep(wait).await;
        }
        waited
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

/// Limits the rate of reliable messages of all peers of a room together; the sessions wait for it.
///
/// Each message goes to all other peers. Without this limit, many senders within their own rates
/// would exceed what a peer with a slow network can receive, and the server would end that peer's
/// session.
struct RoomRate(Mutex<MessageRate>);

impl RoomRate {
    fn new(now: Time, limits: &Limits) -> Self {
        let Limits { room_events_per_s, room_event_bytes_per_s, .. } = *limits;
        let (events, bytes) = (u64::from(room_events_per_s), u64::from(room_event_bytes_per_s));
        let events = Rate { per_second: events, burst: 2 * events };
        let largest = MAX_EVENT_MESSAGE as u64;
        let bytes = Rate { per_second: bytes, burst: (2 * bytes).max(largest) };
        Self(Mutex::new(MessageRate::new(now, events, bytes)))
    }

    /// Takes a message of `len` bytes, at most [`MAX_EVENT_MESSAGE`], from the rate.
    ///
    /// # Errors
    ///
    /// The rate does not allow the message yet: the time to wait before the next try.
    fn take(&self, now: Time, len: usize) -> Result<(), Duration> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        let mut rate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = rate.wait_for(now, len as u64);
        if !wait.is_zero() {
            return Err(wait);
        }
        rate.take(len as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(messages: u32, bytes: u32) -> RoomRate {
        let (room_events_per_s, room_event_bytes_per_s) = (messages, bytes);
        let limits = Limits { room_events_per_s, room_event_bytes_per_s, ..Limits::default() };
        RoomRate::new(Time::ZERO, &limits)
    }

    #[test]
    fn all_together_have_one_rate() {
        let rate = rate(10, 100_000);
        let taken = |now, len| (0..1_000).take_while(|_| rate.take(now, len).is_ok()).count();
        assert_eq!(taken(Time::ZERO, 10), 20, "messages");
        assert_eq!(taken(Time::from_millis(500), 10), 5);
        assert_eq!(taken(Time::from_millis(10_000), 20_000), 10, "bytes");
        let wait = rate.take(Time::from_millis(10_000), 20_000).unwrap_err();
        assert!(rate.take(Time::from_millis(10_000) + wait, 20_000).is_ok());
    }

    #[test]
    fn the_largest_message_fits_the_least_rate() {
        let rate = rate(1, 1);
        assert_eq!(rate.take(Time::ZERO, MAX_EVENT_MESSAGE), Ok(()));
        assert!(rate.take(Time::ZERO, 1).is_err());
    }
}
