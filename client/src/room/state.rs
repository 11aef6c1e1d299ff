//! The methods of [`Room`] that read and change the shared state, and those for moderation.

use std::time::Duration;

use nucleus_client_core::RequestNumber;
use nucleus_client_core::room::{RequestResult, RoomClient, StateError};
use nucleus_protocol::session::act;
use nucleus_protocol::time::Time;

use super::Room;
use crate::on_drop::OnDrop;
use crate::roster::PeerId;
use crate::state::{Batch, EntityId, Field, Object, ObjectId};

/// The room's shared state.
///
/// Reading never waits for the network. The state that is read may be newer than the events that
/// the application has taken: a change can be read before its [`crate::RoomEvent::State`] is
/// returned.
///
/// ```no_run
/// use nucleus_client::{Batch, Code, EntityId, ObjectMode, Room, StateError};
///
/// # async fn run(room: &Room) -> Result<(), StateError> {
/// let cup = room.new_object_id();
/// let batch = Batch::new().create(cup, ObjectMode::TAKE).set(cup, "color", "red");
/// room.change(batch).await?;
///
/// // Increments a counter, even if other peers increment it at the same time.
/// loop {
///     let field = room.field(EntityId::Room, "round");
///     let version = field.as_ref().map_or(0, |field| field.version);
///     let round = field.and_then(|field| field.value.as_integer()).unwrap_or(0);
///     let next = Batch::new().compare_and_set(EntityId::Room, "round", version, round + 1);
///     match room.change(next).await {
///         Err(StateError::Refused { code: Some(Code::Conflict), .. }) => {}
///         result => break result.map(|_| ()),
///     }
/// }
/// # }
/// ```
impl Room {
    /// Returns a field of the room, a peer or an object, if it exists.
    pub fn field(&self, entity: impl Into<EntityId>, key: &str) -> Option<Field> {
        self.client.read().replica().field(entity.into(), key).cloned()
    }

    /// Returns all fields of an entity in the order of their keys; at most 64.
    pub fn fields(&self, entity: impl Into<EntityId>) -> Vec<(String, Field)> {
        let client = self.client.read();
        client
            .replica()
            .fields(entity.into())
            .map(|(key, field)| (key.to_owned(), field.clone()))
            .collect()
    }

    /// Returns an object, if it exists.
    pub fn object(&self, id: ObjectId) -> Option<Object> {
        self.client.read().replica().object(id).copied()
    }

    /// Returns all objects in the order of their ids; at most 4,096.
    pub fn objects(&self) -> Vec<Object> {
        self.client.read().replica().objects().copied().collect()
    }

    /// Returns the host: the chosen host ([`Batch::host`]) while it is present, or else the present
    /// peer with the smallest id. `None` while no peer is present.
    ///
    /// All clients that have received the same roster and state agree on the host.
    pub fn host(&self) -> Option<PeerId> {
        self.client.read().host()
    }

    /// Returns the version of the state. It is 0 until the first snapshot arrives, soon after the
    /// join, and in a room whose state was never changed.
    pub fn state_version(&self) -> u64 {
        self.client.read().replica().version()
    }

    /// Returns the SHA-256 digest of the whole state, see [`crate::state::Replica::digest`].
    pub fn state_digest(&self) -> [u8; 32] {
        self.client.read().replica().digest()
    }

    /// Returns a new id for an object that this client will create. The id consists of this
    /// client's peer id and a counter. Do not use an id from before a
    /// [`crate::RoomEvent::Rejoined`]: it contains the earlier peer id.
    pub fn new_object_id(&self) -> ObjectId {
        self.client.read().new_object_id()
    }

    /// Requests the changes of `batch`, which the server applies all together or not at all.
    /// Returns the version of the state that contains them.
    ///
    /// When this method returns, this client's copy of the state contains the changes, or, after a
    /// refusal, the state on which the server decided. The exception: if the session was lost right
    /// after the reply, the copy is up to date after the resume.
    ///
    /// Unlike an event, a request is not repeated after a lost session, because a late change may
    /// be wrong: see [`StateError::Interrupted`]. If the returned future is dropped, the change may
    /// still be applied. At most 16 requests are pending at the same time, and further ones wait.
    /// The server takes 30 requests a second on average. May be awaited in the task that calls
    /// [`Room::next`].
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn change(&self, batch: Batch) -> Result<u64, StateError> {
        let mut operations = Some(batch.into_operations()?);
        let change = |client: &mut RoomClient, now| {
            client.change(now, operations.take().unwrap_or_default())
        };
        self.request(change).await
    }
}

/// Moderation.
///
/// Needs a role or grant that allows it; otherwise the server refuses with
/// [`Code::Forbidden`](crate::Code::Forbidden). The server logs each act. For errors see
/// [`StateError`].
impl Room {
    /// Removes a peer from the room. The other peers receive
    /// [`RoomEvent::PeerLeft`](crate::RoomEvent::PeerLeft) with
    /// [`Code::Kicked`](crate::Code::Kicked).
    ///
    /// With a `ban` (rounded up to seconds, at most a day), the other sessions of the same user in
    /// this room are removed too, and the user cannot join again until the ban ends. Without a ban,
    /// a peer whose session is lost at that moment does not learn of the kick, and its client joins
    /// again as a new peer.
    pub async fn kick(&self, peer: PeerId, ban: Option<Duration>) -> Result<(), StateError> {
        let seconds = |ban: Duration| ban.as_secs() + u64::from(ban.subsec_nanos() > 0);
        let seconds = ban.map_or(0, |ban| u32::try_from(seconds(ban)).unwrap_or(u32::MAX));
        self.moderate(act::KICK, peer.0, seconds).await
    }

    /// Deletes all objects and the room's fields in one change. The fields of peers stay.
    pub async fn clear(&self) -> Result<(), StateError> {
        self.moderate(act::CLEAR, 0, 0).await
    }

    /// Hands the right to moderate to another peer, which also becomes the chosen host. This client
    /// loses the right to moderate and keeps its other rights. Each change lasts until the peer
    /// concerned leaves the room.
    pub async fn hand_over(&self, peer: PeerId) -> Result<(), StateError> {
        self.moderate(act::HAND_OVER, peer.0, 0).await
    }

    /// Mutes a peer: the server drops its voice. The mute stays when the user joins again as a new
    /// peer, and does not depend on whether the peer mutes or unmutes itself.
    pub async fn mute(&self, peer: PeerId) -> Result<(), StateError> {
        self.moderate(act::MUTE, peer.0, 0).await
    }

    /// Ends the mute of a peer that a moderator has muted.
    pub async fn unmute(&self, peer: PeerId) -> Result<(), StateError> {
        self.moderate(act::UNMUTE, peer.0, 0).await
    }

    /// Mutes all peers that may not moderate (`true`), or ends all mutes (`false`). `true` also
    /// mutes peers that join later, and single peers can be unmuted afterwards. `false` also ends
    /// the mutes of single peers.
    pub async fn mute_all(&self, muted: bool) -> Result<(), StateError> {
        let act = if muted { act::MUTE_ALL } else { act::UNMUTE_ALL };
        self.moderate(act, 0, 0).await
    }

    /// Locks or unlocks the room. Only moderators can join a locked room. The peers in the room
    /// stay, and can resume a lost session.
    pub async fn lock(&self, locked: bool) -> Result<(), StateError> {
        let act = if locked { act::LOCK } else { act::UNLOCK };
        self.moderate(act, 0, 0).await
    }

    /// Hides the room from the lobby or shows it again. A hidden room is neither listed nor
    /// matched.
    pub async fn hide(&self, hidden: bool) -> Result<(), StateError> {
        let act = if hidden { act::HIDE } else { act::SHOW };
        self.moderate(act, 0, 0).await
    }

    /// Ends the room for all peers, even if it was created with
    /// [`RoomOptions::kept`](crate::RoomOptions::kept).
    ///
    /// All clients receive [`RoomEvent::Closed`](crate::RoomEvent::Closed) with
    /// [`Code::RoomEnded`](crate::Code::RoomEnded). This client often receives it before the reply;
    /// this method then returns [`StateError::Interrupted`].
    pub async fn end(&self) -> Result<(), StateError> {
        self.moderate(act::END, 0, 0).await
    }

    async fn moderate(&self, act: u8, peer: u32, seconds: u32) -> Result<(), StateError> {
        let moderate = |client: &mut RoomClient, now| client.moderate(now, act, peer, seconds);
        self.request(moderate).await.map(drop)
    }

    /// Makes a request as soon as fewer than 16 are pending, and waits for its result.
    async fn request(
        &self,
        mut start: impl FnMut(&mut RoomClient, Time) -> Result<RequestNumber, StateError>,
    ) -> RequestResult {
        let started = self.client.wait_for(|client, now| {
            let is_ready = client.can_request() != Err(StateError::TooMany);
            is_ready.then(|| start(client, now))
        });
        let request = started.await?;
        // Wakes those who wait for its place.
        let _forget = OnDrop(|| self.client.change(|client, _| client.forget(request)));
        self.client.wait_for(|client, _| client.take_result(request)).await
    }
}
