//! The directory of rooms: a join finds its room by the lobby, a resume by the room's name.

use std::sync::Arc;

use nucleus_core::ids::{ProductKey, RoomId, RoomInstanceId, RoomKey, RoomPattern};
use nucleus_core::limits;
use nucleus_core::lobby::{Find, Query, RoomSelection};
use nucleus_core::room::{JoinRequest, RoomOptions};
use nucleus_protocol::session::Code;

use super::lobby::LobbyDirectory;
use super::lobby_watcher::LobbyWatcher;
use super::mail::{JoinTarget, JoinedRoom, LobbyMail, NewcomerSeats, Place, RoomJoin};
use super::outgoing::Outgoing;
use super::registry::RoomRegistry;
use super::room_handle::RoomHandle;
use super::tenants::Tenants;

/// Finds rooms for joins and resumes. The packet path does not use it.
pub struct RoomDirectory {
    registry: Arc<RoomRegistry>,
    lobbies: Arc<LobbyDirectory>,
}

impl RoomDirectory {
    /// Makes the directory of a registry's rooms.
    pub fn new(registry: Arc<RoomRegistry>) -> Arc<Self> {
        Arc::new(Self { lobbies: LobbyDirectory::new(registry.clone()), registry })
    }

    /// Returns the registry of live rooms.
    pub fn registry(&self) -> &Arc<RoomRegistry> {
        &self.registry
    }

    /// Returns the counts of each tenant.
    pub fn tenants(&self) -> &Arc<Tenants> {
        &self.registry.tenants
    }

    /// Joins the room that `selection` finds or makes under `key`. The name in `key` may be empty
    /// if any matching room will do; the name of a new room is then made from `random`.
    ///
    /// A new participant holds `place` as long as it is in the room. Calls `join` for each try. Tries
    /// again if the room instance has ended meanwhile, or if the lobby chose the room by a match and
    /// the room refuses.
    ///
    /// # Errors
    ///
    /// The code to refuse the client with.
    pub async fn join(
        &self,
        key: &RoomKey,
        selection: RoomSelection,
        random: [u8; 16],
        place: &Arc<Place>,
        mut join: impl FnMut() -> (Box<JoinRequest>, Outgoing),
    ) -> Result<(RoomHandle, JoinedRoom), Code> {
        let (selection, mut refused_by) = (Arc::new(selection), Vec::new());
        for _ in 0..limits::JOIN_TRIES + limits::MATCH_TRIES {
            let JoinTarget { found, arrival } =
                self.find(key, &selection, random, &refused_by).await?;
            let room_key = key.owner.room(found.name);
            let room = self.registry.room(&room_key).filter(|room| room.id == found.room);
            let Some(room) = room else {
                self.forget(&room_key, found.room).await;
                continue;
            };
            let (request, outgoing) = join();
            let newcomer = Some(NewcomerSeats { place: place.clone(), arrival });
            match room.join(RoomJoin { request, outgoing, newcomer }).await {
                Ok(joined) => return Ok((room, joined)),
                // The instance has ended or is about to. The next try makes a new one.
                Err(Code::ShuttingDown) => self.forget(&room_key, found.room).await,
                // The room has filled up or closed since its last listing.
                Err(_) if found.matched => refused_by.push(found.room),
                Err(code) => return Err(code),
            }
        }
        Err(Code::Internal)
    }

    /// Returns the id of the live instance of a room. `None`: there is none.
    pub fn live_instance(&self, key: &RoomKey) -> Option<RoomInstanceId> {
        self.registry.room(key).filter(|room| !room.mailbox.is_closed()).map(|room| room.instance)
    }

    /// Resumes a participant in its room.
    ///
    /// # Errors
    ///
    /// [`Code::TimedOut`] if the room has ended; otherwise the code that the room refuses with.
    pub async fn resume(
        &self,
        key: &RoomKey,
        request: Box<JoinRequest>,
        outgoing: Outgoing,
    ) -> Result<(RoomHandle, JoinedRoom), Code> {
        let room = self.registry.room(key).ok_or(Code::TimedOut)?;
        let resume = RoomJoin { request, outgoing, newcomer: None };
        room.join(resume).await.map(|joined| (room, joined))
    }

    /// Makes a hidden room by invitation, with a seat reserved for each invited user.
    ///
    /// # Errors
    ///
    /// [`Code::RoomExists`]; [`Code::RoomFull`] if there are more invited users than the room's
    /// capacity or than [`limits::INVITED_USERS`]; or the code of a limit.
    pub(super) async fn open_private(
        &self,
        key: &RoomKey,
        options: RoomOptions,
    ) -> Result<RoomHandle, Code> {
        let invited = options.invited.as_ref().map_or(0, Vec::len);
        if invited > limits::INVITED_USERS.min(self.registry.template.limits.room_capacity.into()) {
            return Err(Code::RoomFull);
        }
        let selection = Arc::new(RoomSelection::by_server(options));
        let found = self.find(key, &selection, [0; 16], &[]).await?.found;
        let room = self.registry.room(key).filter(|room| room.id == found.room);
        room.ok_or(Code::ShuttingDown)
    }

    /// Invites a user to a room, or withdraws the invitation if `invited` is false. A user who has
    /// joined already stays in the room.
    ///
    /// # Errors
    ///
    /// [`Code::NoSuchRoom`]; [`Code::ShuttingDown`] if the room is about to end; or
    /// [`Code::RoomFull`] if the room has [`limits::INVITED_USERS`] already.
    pub(super) async fn invite(
        &self,
        key: &RoomKey,
        user: &str,
        invited: bool,
    ) -> Result<(), Code> {
        self.registry.room(key).ok_or(Code::NoSuchRoom)?.invite(user, invited).await
    }

    /// Watches the rooms of a lobby that match `query` and whose names `admitted` admits to.
    pub fn watch(&self, key: &ProductKey, query: Query, admitted: RoomPattern) -> LobbyWatcher {
        let (lobby, changed) = self.lobbies.watch(key);
        LobbyWatcher::new(lobby, changed, query, admitted)
    }

    /// Asks the lobby for a room. Tries again if the lobby has ended meanwhile.
    async fn find(
        &self,
        key: &RoomKey,
        selection: &Arc<RoomSelection>,
        random: [u8; 16],
        refused_by: &[RoomId],
    ) -> Result<JoinTarget, Code> {
        // An instance that has ended may stay in the registry for a moment, where it occupies the
        // name.
        if let Some(room) = self.registry.room(key).filter(|room| room.mailbox.is_closed()) {
            self.forget(key, room.id).await;
        }
        for _ in 0..limits::LOBBY_TRIES {
            let (selection, passed) = (selection.clone(), refused_by.to_vec());
            let find = Find { name: key.name.clone(), selection, random, passed };
            let lobby = self.lobbies.address(&key.owner);
            let mail = |reply_to| LobbyMail::Find(find, reply_to);
            if let Ok(target) = lobby.request(mail).await.await {
                return target;
            }
        }
        Err(Code::Internal)
    }

    /// Removes an instance that has ended, which may not have removed itself yet.
    async fn forget(&self, key: &RoomKey, room: RoomId) {
        self.lobbies.room_over(&key.owner, room).await;
        self.registry.forget(key, room);
    }
}

#[cfg(test)]
mod tests {
    use nucleus_control::events::EventFeed;
    use nucleus_core::ids::{Product, ServerInstanceId};
    use nucleus_core::limits::Limits;
    use nucleus_core::lobby::JoinMode;
    use nucleus_core::room::SecondDevice;
    use nucleus_net::Clock;
    use tokio::task::JoinSet;

    use super::*;
    use crate::bans::BanStore;
    use crate::rooms::{RoomTemplate, TicketKey};

    /// As many joins as the limit of unjoined sessions look for an absent room. Meanwhile the lobby
    /// ends again and again, because it has no room.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_storm_for_an_absent_room_is_told_that_there_is_none() {
        let (limits, dir) = (Limits::default(), tempfile::tempdir().unwrap());
        let template = RoomTemplate {
            limits,
            second_device: SecondDevice::Allow,
            server_instance: ServerInstanceId([1; 8]),
            clock_epoch: 1,
            tickets: Arc::new(TicketKey::new(&[7; 64]).unwrap()),
            entries: Vec::new().into(),
            bans: BanStore::open(dir.path()).unwrap(),
            events: EventFeed::new().0,
        };
        let tenants = Tenants::new(limits, Arc::default());
        let registry = RoomRegistry::new(Vec::new(), Clock::new(), template, tenants);
        let directory = RoomDirectory::new(registry);
        let owner = ProductKey { tenant: "acme".to_owned(), product: Product::ATOM };
        let any = RoomSelection::by_server(RoomOptions::default());
        let selection = Arc::new(RoomSelection { mode: JoinMode::Join, ..any });
        let mut joins = JoinSet::new();
        for _ in 0..limits.unjoined {
            let (directory, selection) = (directory.clone(), selection.clone());
            let key = owner.room("den".to_owned());
            joins.spawn(async move { directory.find(&key, &selection, [0; 16], &[]).await.err() });
        }
        for code in joins.join_all().await {
            assert_eq!(code, Some(Code::NoSuchRoom));
        }
    }
}
