//! The rooms that are alive, by name, and how one is opened.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;
use nucleus_core::ids::{RoomId, RoomKey};
use nucleus_core::limits::{self, Limits};
use nucleus_core::lobby::LobbyInput;
use nucleus_core::room::{Room, RoomConfig, RoomInput, RoomOptions, SecondDevice};
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::mail::{LobbyMail, RoomMail};
use super::room::{PendingReplies, RoomTask};
use super::room_handle::RoomHandle;
use super::task;
use super::tenants::{CountedRoom, Tenants};
use super::ticket::TicketKey;
use crate::shard::{PostOutcome, ShardHandle, ShardMail};

/// What all rooms have in common.
pub struct RoomTemplate {
    /// The server's bounds.
    pub limits: Limits,
    /// What becomes of a user's second device.
    pub second_device: SecondDevice,
    /// Tells this run of the server from others. The instance ids of rooms count on from it.
    pub server_instance: u32,
    /// Seals what brings a participant back.
    pub tickets: Arc<TicketKey>,
}

/// A room to be opened.
pub(super) struct NewRoom {
    pub(super) key: RoomKey,
    pub(super) capacity: u16,
    /// The user who makes it, if it is one.
    pub(super) maker: Option<String>,
    pub(super) options: RoomOptions,
    /// The lobby that knows it.
    pub(super) lobby: mpsc::Sender<LobbyMail>,
}

/// The rooms that are alive.
pub struct Registry {
    rooms: DashMap<RoomKey, RoomHandle>,
    shards: Vec<Arc<ShardHandle>>,
    pub(super) clock: Clock,
    pub(super) template: RoomTemplate,
    pub(super) tenants: Arc<Tenants>,
    /// Where rooms, lobbies and users outside rooms run.
    pub(super) runtime: Handle,
    next_id: AtomicU64,
    next_instance: AtomicU32,
    closing: AtomicBool,
}

impl Registry {
    /// No rooms; they will run in the runtime that this is called in.
    pub fn new(
        shards: Vec<Arc<ShardHandle>>,
        clock: Clock,
        template: RoomTemplate,
        tenants: Arc<Tenants>,
    ) -> Arc<Self> {
        Arc::new(Self {
            rooms: DashMap::new(),
            shards,
            clock,
            next_id: AtomicU64::new(1),
            next_instance: AtomicU32::new(template.server_instance),
            template,
            tenants,
            runtime: Handle::current(),
            closing: AtomicBool::new(false),
        })
    }

    /// Rooms alive.
    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    /// The room of that name.
    pub(super) fn room(&self, key: &RoomKey) -> Option<RoomHandle> {
        self.rooms.get(key).map(|room| room.clone())
    }

    /// Opens a room where none is, or one that is over.
    ///
    /// # Errors
    ///
    /// The code of a limit.
    pub(super) fn open(self: &Arc<Self>, new: NewRoom) -> Result<RoomId, Code> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(Code::ShuttingDown);
        }
        let NewRoom { key, capacity, maker, options, lobby } = new;
        let counted = CountedRoom { kept: options.kept, maker: maker.map(Arc::from) };
        self.tenants.open_room(&key.owner.tenant, &counted)?;
        if self.rooms.len() >= self.template.limits.rooms as usize {
            self.tenants.close_room(&key.owner.tenant, &counted);
            return Err(Code::ServerFull);
        }
        let id = RoomId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let RoomTemplate { limits, second_device, server_instance, .. } = self.template;
        let config = RoomConfig {
            limits,
            capacity,
            second_device,
            instance: self.next_instance.fetch_add(1, Ordering::Relaxed),
            clock_epoch: server_instance,
            options,
        };
        let (mailbox, receiver) = mpsc::channel(limits::ROOM_MAILBOX);
        let shard = self.emptiest_shard();
        let room = RoomHandle::new(id, mailbox, shard.clone(), counted, self.clock, &limits);
        if let Some(over) = self.rooms.insert(key.clone(), room.clone()) {
            self.tenants.close_room(&key.owner.tenant, &over.counted);
        }
        // At once: the next room looks for the emptiest shard.
        shard.rooms.fetch_add(1, Ordering::Relaxed);
        let task = RoomTask {
            id,
            key,
            server_instance,
            tickets: self.template.tickets.clone(),
            shard,
            lobby,
            requests: PendingReplies::default(),
            sessions: HashMap::new(),
        };
        self.runtime.spawn(self.clone().run(room, config, task, receiver));
        Ok(id)
    }

    async fn run(
        self: Arc<Self>,
        room: RoomHandle,
        config: RoomConfig,
        task: RoomTask,
        receiver: mpsc::Receiver<RoomMail>,
    ) {
        let RoomHandle { id, mailbox, shard, .. } = room;
        let (key, lobby) = (task.key.clone(), task.lobby.clone());
        shard.post(ShardMail::RoomOpened(id, link_events(mailbox))).await;
        let machine = Room::new(Time::from_micros(self.clock.now()), config);
        task::run(machine, task, self.clock, receiver).await;
        // The lobby first: as long as the room stands in the registry, a join sees that it is over.
        let _gone = lobby.send(LobbyMail::Input(LobbyInput::RoomOver(id))).await;
        self.forget(&key, id);
        shard.post(ShardMail::RoomClosed(id)).await;
        shard.rooms.fetch_sub(1, Ordering::Relaxed);
    }

    /// The instance is over, or about to be.
    pub(super) fn forget(&self, key: &RoomKey, id: RoomId) {
        if let Some((_, room)) = self.rooms.remove_if(key, |_, room| room.id == id) {
            self.tenants.close_room(&key.owner.tenant, &room.counted);
        }
    }

    /// Ends every room and opens no more; returns when all are gone.
    pub async fn shut_down(&self, code: Code) {
        self.closing.store(true, Ordering::SeqCst);
        // Again and again: a join that was under way may have opened one more.
        while !self.rooms.is_empty() {
            let rooms: Vec<RoomHandle> = self.rooms.iter().map(|r| r.value().clone()).collect();
            for room in rooms {
                room.post(RoomInput::Shutdown(code)).await;
            }
            tokio::time::sleep(limits::CLOSING_PAUSE).await;
        }
    }

    fn emptiest_shard(&self) -> Arc<ShardHandle> {
        let load = |s: &&Arc<ShardHandle>| {
            (s.published.links.load(Ordering::Relaxed), s.rooms.load(Ordering::Relaxed))
        };
        // There is at least one shard: the configuration says so.
        self.shards.iter().min_by_key(load).unwrap_or(&self.shards[0]).clone()
    }
}

/// How a shard tells a room of its links.
fn link_events(mailbox: mpsc::Sender<RoomMail>) -> crate::shard::LinkEvents {
    Box::new(move |session, event| {
        match mailbox.try_send(RoomMail::Input(RoomInput::Link(session, event))) {
            Err(mpsc::error::TrySendError::Full(_)) => PostOutcome::MailboxFull,
            _ => PostOutcome::Accepted,
        }
    })
}
