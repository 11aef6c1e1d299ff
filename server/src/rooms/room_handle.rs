//! The handle of a live room.

use std::sync::Arc;

use bytes::Bytes;
use nucleus_core::control::{ControlError, RoomAct, RoomContent, RoomProperty};
use nucleus_core::ids::{RoomId, RoomInstanceId, RoomKey, SessionId};
use nucleus_core::limits::Limits;
use nucleus_core::room::RoomInput;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::mail::{JoinedRoom, RoomJoin, RoomMail};
use super::room_figures::RoomFigures;
use super::session_probe::ProbedRoom;
use super::shared_rate::{AdmittedMessage, SharedRate};
use super::tenants::CountedRoom;
use crate::shard::{SessionDatagram, ShardHandle};

/// What names a live room instance.
pub(super) struct RoomIdentity {
    pub(super) id: RoomId,
    pub(super) key: Arc<RoomKey>,
    pub(super) instance: RoomInstanceId,
    pub(super) capacity: u16,
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
    pub(super) figures: Arc<RoomFigures>,
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
        let RoomIdentity { id, key, instance, capacity } = identity;
        let rate = Arc::new(SharedRate::new(clock, limits));
        let figures = Arc::new(RoomFigures::new(capacity, Time::from_micros(clock.now())));
        Self { id, key, instance, mailbox, shard, counted, rate, figures }
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

    /// Asks what is in the room.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`] if the room has ended.
    pub(super) async fn inspect(&self) -> Result<Box<RoomContent>, ControlError> {
        let (reply, receiver) = oneshot::channel();
        let _ended = self.mailbox.send(RoomMail::Inspect(reply)).await;
        receiver.await.map_err(|_| ControlError::NoSuchRoom)
    }

    /// Asks what is in the room, and what is known of its sessions.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`] if the room has ended.
    pub(super) async fn probe(&self) -> Result<ProbedRoom, ControlError> {
        let (reply, receiver) = oneshot::channel();
        let _ended = self.mailbox.send(RoomMail::Probe(reply)).await;
        receiver.await.map_err(|_| ControlError::NoSuchRoom)
    }

    /// Asks for the room's fields in the shared state.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`] if the room has ended.
    pub(super) async fn fields(&self) -> Result<Vec<RoomProperty>, ControlError> {
        let (reply, receiver) = oneshot::channel();
        let _ended = self.mailbox.send(RoomMail::Fields(reply)).await;
        receiver.await.map_err(|_| ControlError::NoSuchRoom)
    }

    /// Carries out an act of an operator. A change of the shared state counts against the room's rate, as
    /// that of a client does, but does not wait for it: the answers to others would wait too.
    ///
    /// # Errors
    ///
    /// [`ControlError::RoomBusy`] if the room has used up its rate, [`ControlError::NoSuchRoom`] if it has ended, [`ControlError::NoSuchPeer`], or a limit of the
    /// shared state.
    pub(super) async fn operate(&self, act: RoomAct) -> Result<(), ControlError> {
        let (reply, receiver) = oneshot::channel();
        let admitted = match &act {
            RoomAct::SetFields(fields) => {
                let bytes = |field: &RoomProperty| field.key.len() + field.value.bytes.len();
                let len = fields.iter().map(bytes).sum();
                Some(self.rate.try_admit(len).ok_or(ControlError::RoomBusy)?)
            }
            _ => None,
        };
        let cost = admitted.as_ref().map(|admitted| admitted.cost).unwrap_or_default();
        let sent = self.mailbox.send(RoomMail::Operate(act, cost, reply)).await.is_ok();
        if let Some(admitted) = admitted.filter(|_| sent) {
            admitted.posted();
        }
        receiver.await.unwrap_or(Err(ControlError::NoSuchRoom))
    }

    /// Waits until the room's rate allows a reliable message of `len` bytes of a user for at most so
    /// many recipients; `None`: for all members.
    pub async fn admit_message(
        &self,
        user: &str,
        len: usize,
        recipients: Option<usize>,
    ) -> AdmittedMessage<'_> {
        self.rate.admit(user, len, recipients).await
    }

    /// Posts the input that an admitted message makes; waits while the mailbox is full. Returns false
    /// if the room has ended.
    pub async fn post_admitted(&self, input: RoomInput, admitted: AdmittedMessage<'_>) -> bool {
        let sent = self.mailbox.send(RoomMail::Reserved(input, admitted.cost)).await.is_ok();
        if sent {
            admitted.posted();
        }
        sent
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
