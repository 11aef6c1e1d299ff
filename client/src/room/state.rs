//! The room's shared state, as an application reads and changes it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nucleus_protocol::session::act;

use super::{Room, StateError};
use crate::roster::PeerId;
use crate::state::{Batch, EntityId, Field, Object, ObjectId};

/// The shared state: reading never waits and never blocks for long. What is read may be ahead of the
/// events: a change that can be read already is told by a [`crate::RoomEvent::State`] later.
///
/// ```no_run
/// use nucleus_client::{Batch, Code, EntityId, ObjectMode, Room, StateError};
///
/// # async fn run(room: &Room) -> Result<(), StateError> {
/// let cup = room.new_object_id();
/// let batch = Batch::new().create(cup, ObjectMode::TAKE).set(cup, "color", "red");
/// room.change(batch).await?;
///
/// // Counts up, whoever else does at the same time.
/// loop {
///     let field = room.field(EntityId::Room, "round");
///     let version = field.as_ref().map_or(0, |field| field.version);
///     let round = field.and_then(|field| field.value.as_integer()).unwrap_or(0);
///     let next = Batch::new().compare_and_set(EntityId::Room, "round", version, round + 1);
///     match room.change(next).await {
///         Err(StateError::Refused { code: Some(Code::Conflict), .. }) => {}
///         done => break done.map(|_| ()),
///     }
/// }
/// # }
/// ```
impl Room {
    /// A field of the room, a peer or an object, if it is there.
    pub fn field(&self, entity: impl Into<EntityId>, key: &str) -> Option<Field> {
        self.shared.replica().field(entity.into(), key).cloned()
    }

    /// All fields of an entity, in the order of their keys; at most 64.
    pub fn fields(&self, entity: impl Into<EntityId>) -> Vec<(String, Field)> {
        let replica = self.shared.replica();
        replica.fields(entity.into()).map(|(key, field)| (key.to_owned(), field.clone())).collect()
    }

    /// An object, if it is there.
    pub fn object(&self, id: ObjectId) -> Option<Object> {
        self.shared.replica().object(id).copied()
    }

    /// All objects, in the order of their numbers; at most 4,096.
    pub fn objects(&self) -> Vec<Object> {
        self.shared.replica().objects().copied().collect()
    }

    /// Who leads the room: the chosen host ([`Batch::host`]) while it is present, else the present
    /// peer with the least number. The same for everybody who has heard the same; `None` while
    /// nobody is present.
    pub fn host(&self) -> Option<PeerId> {
        self.shared.host()
    }

    /// The state's version: 0 until its snapshot has come, soon after the join, and for as long as
    /// nothing was ever changed.
    pub fn state_version(&self) -> u64 {
        self.shared.replica().version()
    }

    /// SHA-256 over the whole state, see [`crate::state::Replica::digest`].
    pub fn state_digest(&self) -> [u8; 32] {
        self.shared.replica().digest()
    }

    /// A number for an object that this client is going to make: its own peer number and a count. A
    /// number from before a [`crate::RoomEvent::Rejoined`] is another peer's.
    pub fn new_object_id(&self) -> ObjectId {
        ObjectId::new(self.me(), self.shared.next_object.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks for the changes of `batch`, all of them or none, and returns the version that the state
    /// has with them. By then they can be read here, and so can, after a refusal, the state that the
    /// server judged by; only where the session was lost right behind the answer, when it is back.
    ///
    /// Unlike an event a request does not outlive its session, because a change that comes late may
    /// be wrong: see [`StateError::Interrupted`]. When the returned future is dropped the change may
    /// still take place. At most 16 are under way, others wait for their turn; the server takes 30 a
    /// second on average. May be awaited in the task that calls [`Room::next`].
    pub async fn change(&self, batch: Batch) -> Result<u64, StateError> {
        self.shared.requests.ask(batch.into_operations()?).await
    }
}

/// Moderation, for roles and grants that allow it; refused otherwise with
/// [`Code::Forbidden`](crate::Code::Forbidden). Every act stands in the server's log.
impl Room {
    /// Puts a peer out of the room. With a `ban` (rounded up to seconds, at most a day) its user's other
    /// devices go too, and nobody of that user gets in again for so long. Without one a peer whose session
    /// is just lost does not hear of it, and comes back by itself as a new peer. The others hear
    /// [`RosterChange::Left`](crate::roster::RosterChange::Left) with [`Code::Kicked`](crate::Code::Kicked).
    pub async fn kick(&self, peer: PeerId, ban: Option<Duration>) -> Result<(), StateError> {
        let seconds = |ban: Duration| ban.as_secs() + u64::from(ban.subsec_nanos() > 0);
        let seconds = ban.map_or(0, |ban| u32::try_from(seconds(ban)).unwrap_or(u32::MAX));
        self.shared.requests.moderate(act::KICK, peer.0, seconds).await.map(|_| ())
    }

    /// Deletes all objects and the room's fields, in one change. What peers say of themselves stays.
    pub async fn clear(&self) -> Result<(), StateError> {
        self.shared.requests.moderate(act::CLEAR, 0, 0).await.map(drop)
    }

    /// Hands the right to moderate over: the peer has it from now on and is the chosen host, and this client
    /// has it no more; its other rights stay. Both hold as long as their places.
    pub async fn hand_over(&self, peer: PeerId) -> Result<(), StateError> {
        self.shared.requests.moderate(act::HAND_OVER, peer.0, 0).await.map(drop)
    }

    /// Drops a peer's voice at the server, also when its user comes back as a new peer. Outlives what the
    /// peer says of itself.
    pub async fn mute(&self, peer: PeerId) -> Result<(), StateError> {
        self.shared.requests.moderate(act::MUTE, peer.0, 0).await.map(drop)
    }

    /// Lets a peer be heard again that a moderator has muted.
    pub async fn unmute(&self, peer: PeerId) -> Result<(), StateError> {
        self.shared.requests.moderate(act::UNMUTE, peer.0, 0).await.map(drop)
    }

    /// Drops the voice of everybody who may not moderate, newcomers too; single peers may be unmuted
    /// meanwhile. `false` lets everybody be heard again, also those who were muted one by one.
    pub async fn mute_all(&self, muted: bool) -> Result<(), StateError> {
        let act = if muted { act::MUTE_ALL } else { act::UNMUTE_ALL };
        self.shared.requests.moderate(act, 0, 0).await.map(drop)
    }

    /// Lets nobody new in but moderators, or everybody again. Who is in stays, and comes back when its session is lost.
    pub async fn lock(&self, locked: bool) -> Result<(), StateError> {
        let act = if locked { act::LOCK } else { act::UNLOCK };
        self.shared.requests.moderate(act, 0, 0).await.map(|_| ())
    }

    /// Takes the room out of the lobby, or puts it there again: whether it is listed and matched.
    pub async fn hide(&self, hidden: bool) -> Result<(), StateError> {
        let act = if hidden { act::HIDE } else { act::SHOW };
        self.shared.requests.moderate(act, 0, 0).await.map(|_| ())
    }

    /// Ends the room for everybody, also one that is kept: all hear
    /// [`RoomEvent::Closed`](crate::RoomEvent::Closed) with [`Code::RoomEnded`](crate::Code::RoomEnded),
    /// this client too, and often before the answer, which is [`StateError::Interrupted`] then.
    pub async fn end(&self) -> Result<(), StateError> {
        self.shared.requests.moderate(act::END, 0, 0).await.map(|_| ())
    }
}
