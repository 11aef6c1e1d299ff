//! The task of one lobby, which opens rooms for the lobby and delivers its replies to joins and
//! watchers. Also the map of all lobbies, by tenant and product.

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
use super::mail::{JoinTarget, LobbyMail, PendingArrival, ReplyTo};
use super::registry::{NewRoom, RoomRegistry};
use super::task::{self, Task};

/// A live lobby.
struct LobbyHandle {
    id: u64,
    address: LobbyAddress,
    /// The number of the newest change that watchers can see.
    changed: watch::Sender<u64>,
}

/// The map of all lobbies. A lobby is made when it is first needed, and ends when it has no room
/// and no watcher.
pub(super) struct LobbyDirectory {
    lobbies: DashMap<ProductKey, LobbyHandle>,
    registry: Arc<RoomRegistry>,
    next_id: AtomicU64,
}

impl LobbyDirectory {
    pub(super) fn new(registry: Arc<RoomRegistry>) -> Arc<Self> {
        Arc::new(Self { lobbies: DashMap::new(), registry, next_id: AtomicU64::new(1) })
    }

    /// Returns the address of a lobby. Makes the lobby if it does not exist.
    pub(super) fn address(self: &Arc<Self>, key: &ProductKey) -> LobbyAddress {
        self.lobbies.entry(key.clone()).or_insert_with(|| self.open(key)).address.clone()
    }

    /// Tells a lobby, if it exists, that a room has ended.
    pub(super) async fn room_over(&self, key: &ProductKey, room: RoomId) {
        let lobby = self.lobbies.get(key).map(|lobby| lobby.address.clone());
        if let Some(lobby) = lobby {
            let _ended = lobby.mailbox().send(LobbyMail::Input(LobbyInput::RoomOver(room))).await;
        }
    }

    /// Returns the address of a lobby, and the number of its newest change. Makes the lobby if it
    /// does not exist. The lobby does not end while the receiver exists.
    pub(super) fn watch(
        self: &Arc<Self>,
        key: &ProductKey,
    ) -> (LobbyAddress, watch::Receiver<u64>) {
        // The entry stays locked until this returns, so the lobby cannot end in between.
        let lobby = self.lobbies.entry(key.clone()).or_insert_with(|| self.open(key));
        (lobby.address.clone(), lobby.changed.subscribe())
    }

    fn open(self: &Arc<Self>, key: &ProductKey) -> LobbyHandle {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (mailbox, receiver) = mpsc::channel(limits::LOBBY_MAILBOX);
        let changed = watch::Sender::new(0);
        let task = LobbyShell {
            id,
            key: key.clone(),
            lobbies: self.clone(),
            mailbox: mailbox.clone(),
            changed: changed.clone(),
            newest_request: 0,
            finds: HashMap::new(),
            changes: HashMap::new(),
        };
        let registry = &self.registry;
        let lobby = Lobby::new(registry.template.limits.room_capacity);
        registry.runtime.spawn(task::run(lobby, task, registry.clock, receiver));
        LobbyHandle { id, address: LobbyAddress::new(mailbox), changed }
    }
}

/// The shell of one lobby.
struct LobbyShell {
    id: u64,
    key: ProductKey,
    lobbies: Arc<LobbyDirectory>,
    /// The mailbox of this task, for the lobby's rooms.
    mailbox: mpsc::Sender<LobbyMail>,
    changed: watch::Sender<u64>,
    newest_request: u64,
    finds: HashMap<RequestId, oneshot::Sender<Result<JoinTarget, Code>>>,
    changes: HashMap<RequestId, oneshot::Sender<ListingChanges>>,
}

impl Task for LobbyShell {
    type Machine = Lobby;
    type Mail = LobbyMail;

    fn accept(&mut self, mail: LobbyMail) -> LobbyInput {
        self.newest_request += 1;
        let request = RequestId(self.newest_request);
        match mail {
            LobbyMail::Input(input) => input,
            LobbyMail::Find(find, ReplyTo { reply, permit }) => {
                drop(permit);
                if reply.is_closed() {
                    // The join was abandoned, so no room must be made for it.
                    return LobbyInput::Timeout;
                }
                self.finds.insert(request, reply);
                LobbyInput::Find { request, find }
            }
            LobbyMail::Changes(seen, ReplyTo { reply, permit }) => {
                drop(permit);
                self.changes.insert(request, reply);
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
                if let Some(reply) = self.changes.remove(&request) {
                    // Fails if the watcher was dropped.
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

impl LobbyShell {
    fn found(&mut self, request: RequestId, result: Result<Found, Code>) {
        let Some(reply) = self.finds.remove(&request) else { return };
        let found = result.map(|found| {
            let (room, seats) = (found.room, found.seats);
            let arrival = PendingArrival { lobby: self.mailbox.clone(), room, seats };
            JoinTarget { found, arrival }
        });
        // Fails if the join was abandoned. The reply is then dropped, which frees the seats of the
        // join.
        let _ = reply.send(found);
    }
}
