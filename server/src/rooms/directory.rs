//! How a room is found: by its lobby for a join, by its name for whoever comes back.

use std::sync::Arc;

use nucleus_core::ids::{ProductKey, RoomId, RoomKey, RoomPattern, SessionId};
use nucleus_core::limits;
use nucleus_core::lobby::{Find, Query, RoomSelection};
use nucleus_core::room::{JoinRequest, RoomOptions};
use nucleus_protocol::session::Code;

use super::lobby::Lobbies;
use super::lobby_watcher::LobbyWatcher;
use super::mail::{FoundRoom, LobbyMail};
use super::outgoing::Outgoing;
use super::registry::Registry;
use super::room_handle::RoomHandle;
use super::tenants::Tenants;

/// Finds rooms. Asked when somebody joins, never for a packet.
pub struct Directory {
    registry: Arc<Registry>,
    lobbies: Arc<Lobbies>,
}

impl Directory {
    /// Finds the rooms of a registry.
    pub fn new(registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self { lobbies: Lobbies::new(registry.clone()), registry })
    }

    /// The rooms that are alive.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What each tenant has.
    pub fn tenants(&self) -> &Arc<Tenants> {
        &self.registry.tenants
    }

    /// Joins the room that `selection` finds or makes under `key`, whose name may be empty for a match;
    /// `random` names a room that nobody has named. `join` is called again when the instance ended
    /// meanwhile, or refused a join that the lobby took to fit.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub async fn join(
        &self,
        key: &RoomKey,
        selection: RoomSelection,
        random: [u8; 16],
        mut join: impl FnMut() -> (Box<JoinRequest>, Outgoing),
    ) -> Result<(RoomHandle, SessionId), Code> {
        let (selection, mut passed) = (Arc::new(selection), Vec::new());
        for _ in 0..limits::JOIN_TRIES + limits::MATCH_TRIES {
            let FoundRoom { found, under_way } =
                self.find(key, &selection, random, &passed).await?;
            let room_key = key.owner.room(found.name);
            let room = self.registry.room(&room_key).filter(|room| room.id == found.room);
            let Some(room) = room else {
                self.forget(&room_key, found.room).await;
                continue;
            };
            let (request, outgoing) = join();
            let answer = room.join(request, outgoing).await;
            drop(under_way);
            match answer {
                Ok(session) => return Ok((room, session)),
                // The instance is over or about to be, and takes nobody: the next try makes one.
                Err(Code::ShuttingDown) => self.forget(&room_key, found.room).await,
                // It has filled up or closed since the lobby heard of it.
                Err(_) if found.matched => passed.push(found.room),
                Err(code) => return Err(code),
            }
        }
        Err(Code::Internal)
    }

    /// Takes a participant's place again, where room and place are still there.
    ///
    /// # Errors
    ///
    /// [`Code::TimedOut`]: they are not; or what the room refuses with.
    pub async fn resume(
        &self,
        key: &RoomKey,
        join: Box<JoinRequest>,
        outgoing: Outgoing,
    ) -> Result<(RoomHandle, SessionId), Code> {
        let room = self.registry.room(key).ok_or(Code::TimedOut)?;
        room.join(join, outgoing).await.map(|session| (room, session))
    }

    /// Makes a room that is by invitation and hidden, with a seat reserved for each invited user.
    ///
    /// # Errors
    ///
    /// [`Code::RoomExists`], [`Code::RoomFull`] (more invited users than a room takes or may have), or the
    /// code of a limit.
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

    /// Lets a user into a room that is by invitation, from now on (`invited`), or no more. Who is in the
    /// room already stays.
    ///
    /// # Errors
    ///
    /// [`Code::NoSuchRoom`], or [`Code::RoomFull`]: it has all the invited users that a room may have.
    pub(super) async fn invite(
        &self,
        key: &RoomKey,
        user: &str,
        invited: bool,
    ) -> Result<(), Code> {
        self.registry.room(key).ok_or(Code::NoSuchRoom)?.invite(user, invited).await
    }

    /// Watches the rooms of a lobby that fit `query` and that `admitted` admits to.
    pub fn watch(&self, key: &ProductKey, query: Query, admitted: RoomPattern) -> LobbyWatcher {
        let (lobby, changed) = self.lobbies.watch(key);
        LobbyWatcher::new(lobby, changed, query, admitted)
    }

    /// Asks the lobby; again, where it ended meanwhile.
    async fn find(
        &self,
        key: &RoomKey,
        selection: &Arc<RoomSelection>,
        random: [u8; 16],
        passed: &[RoomId],
    ) -> Result<FoundRoom, Code> {
        // An instance that is over may still stand there for a moment, and keep its name.
        if let Some(room) = self.registry.room(key).filter(|room| room.mailbox.is_closed()) {
            self.forget(key, room.id).await;
        }
        for _ in 0..limits::LOBBY_TRIES {
            let (selection, passed) = (selection.clone(), passed.to_vec());
            let find = Find { name: key.name.clone(), selection, random, passed };
            let lobby = self.lobbies.address(&key.owner);
            if let Ok(found) = lobby.ask(|asker| LobbyMail::Find(find, asker)).await.await {
                return found;
            }
        }
        Err(Code::Internal)
    }

    /// An instance is over, and may not have said so yet.
    async fn forget(&self, key: &RoomKey, room: RoomId) {
        self.lobbies.room_over(&key.owner, room).await;
        self.registry.forget(key, room);
    }
}

#[cfg(test)]
mod tests {
    use nucleus_core::ids::Product;
    use nucleus_core::limits::Limits;
    use nucleus_core::lobby::JoinMode;
    use nucleus_core::room::SecondDevice;
    use nucleus_net::Clock;
    use tokio::task::JoinSet;

    use super::*;
    use crate::rooms::{RoomTemplate, TicketKey};

    /// As many as may be joining at a time look for a room that is not there. The lobby ends again and
    /// again, for it has no room.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_storm_for_an_absent_room_is_told_that_there_is_none() {
        let limits = Limits::default();
        let template = RoomTemplate {
            limits,
            second_device: SecondDevice::Allow,
            server_instance: 1,
            tickets: Arc::new(TicketKey::new(&[7; 64]).unwrap()),
        };
        let tenants = Tenants::new(limits);
        let registry = Registry::new(Vec::new(), Clock::new(), template, tenants);
        let directory = Directory::new(registry);
        let owner = ProductKey { tenant: "acme".to_owned(), product: Product::Atom };
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
