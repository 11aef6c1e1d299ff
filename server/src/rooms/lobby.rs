//! The task of one lobby: opens rooms for it, and tells joins and watchers what it says. And all lobbies,
//! by whose they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use nucleus_core::ids::{ProductKey, RequestId, RoomId};
use nucleus_core::limits;
use nucleus_core::lobby::{Found, ListingChanges, Lobby, LobbyInput, LobbyOutput};
use nucleus_protocol::session::Code;
use tokio::sync::{mpsc, oneshot, watch};

use super::lobby_address::LobbyAddress;
use super::mail::{Asker, FoundRoom, LobbyMail, UnderWay};
use super::registry::{NewRoom, Registry};
use super::task::{self, Task};

/// A live lobby.
struct LobbyHandle {
    id: u64,
    address: LobbyAddress,
    /// The number of the newest change.
    changed: watch::Sender<u64>,
}

/// All lobbies. One is made by whoever needs it first, and goes when it has no room and no watcher.
pub(super) struct Lobbies {
    lobbies: DashMap<ProductKey, LobbyHandle>,
    registry: Arc<Registry>,
    next_id: AtomicU64,
}

impl Lobbies {
    pub(super) fn new(registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self { lobbies: DashMap::new(), registry, next_id: AtomicU64::new(1) })
    }

    /// Where a lobby is reached.
    pub(super) fn address(self: &Arc<Self>, key: &ProductKey) -> LobbyAddress {
        self.lobbies.entry(key.clone()).or_insert_with(|| self.open(key)).address.clone()
    }

    /// Tells a lobby that a room is over, where there is such a lobby.
    pub(super) async fn room_over(&self, key: &ProductKey, room: RoomId) {
        let lobby = self.lobbies.get(key).map(|lobby| lobby.address.clone());
        if let Some(lobby) = lobby {
            let _over = lobby.mailbox().send(LobbyMail::Input(LobbyInput::RoomOver(room))).await;
        }
    }

    /// Where a lobby is reached, and the number of its newest change. The lobby does not end while this
    /// receiver exists.
    pub(super) fn watch(
        self: &Arc<Self>,
        key: &ProductKey,
    ) -> (LobbyAddress, watch::Receiver<u64>) {
        // The entry is locked meanwhile, so the lobby does not end between the two.
        let lobby = self.lobbies.entry(key.clone()).or_insert_with(|| self.open(key));
        (lobby.address.clone(), lobby.changed.subscribe())
    }

    fn open(self: &Arc<Self>, key: &ProductKey) -> LobbyHandle {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (mailbox, receiver) = mpsc::channel(limits::LOBBY_MAILBOX);
        let changed = watch::Sender::new(0);
        let task = LobbyTask {
            id,
            key: key.clone(),
            lobbies: self.clone(),
            mailbox: mailbox.clone(),
            changed: changed.clone(),
            newest_request: 0,
            finds: HashMap::new(),
            news: HashMap::new(),
        };
        let registry = &self.registry;
        let lobby = Lobby::new(registry.template.limits.room_capacity);
        registry.runtime.spawn(task::run(lobby, task, registry.clock, receiver));
        LobbyHandle { id, address: LobbyAddress::new(mailbox), changed }
    }
}

/// What surrounds a lobby.
struct LobbyTask {
    id: u64,
    key: ProductKey,
    lobbies: Arc<Lobbies>,
    /// The lobby's own, for its rooms.
    mailbox: mpsc::Sender<LobbyMail>,
    changed: watch::Sender<u64>,
    newest_request: u64,
    finds: HashMap<RequestId, oneshot::Sender<Result<FoundRoom, Code>>>,
    news: HashMap<RequestId, oneshot::Sender<ListingChanges>>,
}

impl Task for LobbyTask {
    type Machine = Lobby;
    type Mail = LobbyMail;

    fn accept(&mut self, mail: LobbyMail) -> LobbyInput {
        self.newest_request += 1;
        let request = RequestId(self.newest_request);
        match mail {
            LobbyMail::Input(input) => input,
            LobbyMail::Find(find, Asker { reply, place }) => {
                drop(place);
                if reply.is_closed() {
                    // The join was given up: no room is made for nobody.
                    return LobbyInput::Timeout;
                }
                self.finds.insert(request, reply);
                LobbyInput::Find { request, find }
            }
            LobbyMail::News(seen, Asker { reply, place }) => {
                drop(place);
                self.news.insert(request, reply);
                LobbyInput::ListingChanges { request, seen }
            }
        }
    }

    async fn carry_out(&mut self, output: LobbyOutput) -> Option<LobbyInput> {
        match output {
            LobbyOutput::OpenRoom { name, capacity, maker, options } => {
                let (key, lobby) = (self.key.room(name), self.mailbox.clone());
                let new = NewRoom { key, capacity, maker, options: *options, lobby };
                return Some(LobbyInput::RoomOpened(self.lobbies.registry.open(new)));
            }
            LobbyOutput::Found { request, result } => self.found(request, result),
            LobbyOutput::ListingChanges { request, changes } => {
                if let Some(reply) = self.news.remove(&request) {
                    // Whoever does not wait any more does not want to know.
                    let _ = reply.send(changes);
                }
            }
            LobbyOutput::Changed(newest) => {
                self.changed.send_replace(newest);
            }
        }
        None
    }

    fn may_end(&mut self) -> bool {
        let unwatched = |lobby: &LobbyHandle| lobby.changed.receiver_count() == 0;
        let ends = |_: &ProductKey, lobby: &LobbyHandle| lobby.id == self.id && unwatched(lobby);
        self.lobbies.lobbies.remove_if(&self.key, ends).is_some()
    }
}

impl LobbyTask {
    fn found(&mut self, request: RequestId, result: Result<Found, Code>) {
        let Some(reply) = self.finds.remove(&request) else { return };
        let found = result.map(|found| {
            let (room, seats) = (found.room, found.seats);
            let under_way = UnderWay { lobby: self.mailbox.clone(), room, seats };
            FoundRoom { found, under_way }
        });
        // A join that was given up drops what it was sent, and its seats are counted no more.
        let _ = reply.send(found);
    }
}
