//! What the control plane asks of rooms: which there are, what is in one, and acts upon it.

use std::sync::Arc;

use nucleus_core::control::{
    ControlError, RoomAct, RoomDetail, RoomProperty, RoomSearch, RoomSummary, search_rooms,
};
use nucleus_core::ids::RoomInstanceId;
use nucleus_protocol::time::Time;

use super::registry::RoomRegistry;
use super::room_handle::RoomHandle;
use crate::shard::ShardHandle;

impl RoomRegistry {
    /// Returns the rooms that match a search, and the number of all that match.
    ///
    /// # Errors
    ///
    /// [`ControlError::CursorEnded`].
    pub fn search(&self, search: &RoomSearch) -> Result<(Vec<RoomSummary>, usize), ControlError> {
        let own = |tenant: &str| search.tenant.as_ref().is_none_or(|own| own == tenant);
        let rooms = self.rooms.iter();
        let rooms = rooms.filter(|room| own(&room.key.owner.tenant));
        let rooms = rooms.map(|room| self.summary(&room)).collect();
        search_rooms(rooms, search)
    }

    /// Returns what is in a room.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`].
    pub async fn inspect(&self, instance: RoomInstanceId) -> Result<RoomDetail, ControlError> {
        let room = self.instance(instance).ok_or(ControlError::NoSuchRoom)?;
        let content = *room.inspect().await?;
        Ok(RoomDetail { room: self.summary(&room), content })
    }

    /// Returns a room and its fields in the shared state.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`].
    pub async fn fields(
        &self,
        instance: RoomInstanceId,
    ) -> Result<(RoomSummary, Vec<RoomProperty>), ControlError> {
        let room = self.instance(instance).ok_or(ControlError::NoSuchRoom)?;
        let fields = room.fields().await?;
        Ok((self.summary(&room), fields))
    }

    /// Carries out an act of an operator upon a room.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`] or [`ControlError::NoSuchPeer`].
    pub async fn operate(
        &self,
        instance: RoomInstanceId,
        act: RoomAct,
    ) -> Result<(), ControlError> {
        let room = self.instance(instance).ok_or(ControlError::NoSuchRoom)?;
        room.operate(act).await
    }

    /// Removes a user from all rooms of a tenant.
    pub async fn remove_user(&self, tenant: &str, user: &str) {
        let of_tenant = self.rooms.iter().filter(|room| room.key.owner.tenant == tenant);
        let rooms: Vec<RoomHandle> = of_tenant.map(|room| room.clone()).collect();
        for room in rooms {
            // A room that has ended meanwhile has nobody in it.
            let _removed = room.operate(RoomAct::Remove(user.to_owned())).await;
        }
    }

    /// Returns the live room with this id.
    pub(super) fn instance(&self, instance: RoomInstanceId) -> Option<RoomHandle> {
        self.rooms.iter().find(|room| room.instance == instance).map(|room| room.clone())
    }

    /// Returns the number of a shard.
    pub(super) fn number_of(&self, shard: &Arc<ShardHandle>) -> Option<usize> {
        self.shards.iter().position(|known| Arc::ptr_eq(known, shard))
    }

    pub(super) fn summary(&self, room: &RoomHandle) -> RoomSummary {
        let now = Time::from_micros(self.clock.now());
        RoomSummary {
            instance: room.instance,
            key: room.key.clone(),
            peers: room.figures.peers(),
            capacity: room.figures.capacity.into(),
            locked: room.figures.is_locked(),
            hidden: room.figures.is_hidden(),
            kept: room.counted.kept,
            age: now.since(room.figures.opened),
            shard: self.number_of(&room.shard).unwrap_or(0) as u16,
        }
    }
}
