//! The registry of live rooms, by name. Opens rooms and removes the ended ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use nucleus_control::events::EventFeed;
use nucleus_core::ids::{RoomId, RoomInstanceId, RoomKey, ServerInstanceId};
use nucleus_core::limits::{self, Limits};
use nucleus_core::lobby::LobbyInput;
use nucleus_core::plane_event::RoomRef;
use nucleus_core::room::{Room, RoomConfig, RoomInput, RoomOptions, SecondDevice};
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::mail::{LobbyMail, RoomMail};
use super::room::{Members, RoomShell, RoomTurn};
use super::room_handle::{RoomHandle, RoomIdentity};
use super::room_reports::RoomReports;
use super::task;
use super::tenants::{CountedRoom, Tenants};
use super::ticket::TicketKey;
use crate::bans::BanStore;
use crate::random::random;
use crate::shard::{PostOutcome, ShardHandle, ShardMail};

/// The settings that all rooms share.
pub struct RoomTemplate {
    /// The server's limits.
    pub limits: Limits,
    /// What happens when a user joins a room with a second device.
    pub second_device: SecondDevice,
    /// The server instance id.
    pub server_instance: ServerInstanceId,
    /// The epoch of the server's clock.
    pub clock_epoch: u32,
    /// Seals resume tickets.
    pub tickets: Arc<TicketKey>,
    /// Where clients that lost their session may enter again, each as `host:port`.
    pub entries: Arc<[Vec<u8>]>,
    /// The bans that are kept over a restart.
    pub bans: Arc<BanStore>,
    /// Where rooms and calls tell what happens.
    pub events: EventFeed,
}

/// A room to be opened.
pub(super) struct NewRoom {
    pub(super) key: RoomKey,
    pub(super) capacity: u16,
    /// The user who makes the room; `None` if the server makes it.
    pub(super) maker: Option<String>,
    pub(super) options: RoomOptions,
    /// The mailbox of the lobby that lists the room.
    pub(super) lobby: mpsc::Sender<LobbyMail>,
}

/// The live rooms.
pub struct RoomRegistry {
    pub(super) rooms: DashMap<RoomKey, RoomHandle>,
    pub(super) shards: Vec<Arc<ShardHandle>>,
    pub(super) clock: Clock,
    pub(super) template: RoomTemplate,
    pub(super) tenants: Arc<Tenants>,
    /// The runtime of the tasks of rooms, lobbies and users outside rooms.
    pub(super) runtime: Handle,
    next_id: AtomicU64,
    closing: AtomicBool,
}

impl RoomRegistry {
    /// Makes an empty registry. Must be called in a tokio runtime, which then runs the tasks.
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
            template,
            tenants,
            runtime: Handle::current(),
            closing: AtomicBool::new(false),
        })
    }

    /// Returns the number of live rooms.
    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    /// Returns the bans that are kept over a restart.
    pub fn bans(&self) -> &BanStore {
        &self.template.bans
    }

    /// Returns the room of this name.
    pub(super) fn room(&self, key: &RoomKey) -> Option<RoomHandle> {
        self.rooms.get(key).map(|room| room.clone())
    }

    /// Opens a room. The lobby has checked that no live room has this name. Replaces a room that
    /// has ended.
    ///
    /// # Errors
    ///
    /// [`Code::ShuttingDown`], or the code of a limit.
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
        let RoomTemplate { limits, second_device, server_instance, clock_epoch, .. } =
            self.template;
        let instance = RoomInstanceId(random());
        let config = RoomConfig {
            limits,
            capacity,
            second_device,
            instance,
            server_instance,
            clock_epoch,
            options,
            bans: self.template.bans.of(&key),
        };
        let (mailbox, receiver) = mpsc::channel(limits::ROOM_MAILBOX);
        if config.options.first_within.is_some() {
            // Begins its first turn, in which it reports its start, before anybody joins. The mailbox is
            // empty.
            let _posted = mailbox.try_send(RoomMail::Input(RoomInput::Timeout));
        }
        let (shard, key) = (self.emptiest_shard(), Arc::new(key));
        let identity = RoomIdentity { id, key: key.clone(), instance, capacity };
        let room = RoomHandle::new(identity, mailbox, shard.clone(), counted, self.clock, &limits);
        if let Some(ended) = self.rooms.insert((*key).clone(), room.clone()) {
            self.tenants.close_room(&key.owner.tenant, &ended.counted);
        }
        // The room is counted before its task runs, because the next room may already look for the
        // emptiest shard.
        shard.rooms.fetch_add(1, Ordering::Relaxed);
        let task = RoomShell {
            id,
            key: key.clone(),
            tickets: self.template.tickets.clone(),
            entries: self.template.entries.clone(),
            shard,
            lobby,
            bans: self.template.bans.clone(),
            reports: RoomReports {
                feed: self.template.events.clone(),
                room: RoomRef { instance, key: key.clone() },
            },
            tenants: self.tenants.clone(),
            counted: room.counted.clone(),
            rate: room.rate.clone(),
            figures: room.figures.clone(),
            members: Members::default(),
            turn: RoomTurn::default(),
        };
        self.runtime.spawn(self.clone().run(room, config, task, receiver));
        Ok(id)
    }

    async fn run(
        self: Arc<Self>,
        room: RoomHandle,
        config: RoomConfig,
        task: RoomShell,
        receiver: mpsc::Receiver<RoomMail>,
    ) {
        let RoomHandle { id, mailbox, shard, .. } = room;
        let (key, lobby) = (task.key.clone(), task.lobby.clone());
        shard.post(ShardMail::RoomOpened(id, link_events(mailbox))).await;
        let machine = Room::new(Time::from_micros(self.clock.now()), config);
        task::run(machine, task, self.clock, receiver).await;
        // Tells the lobby first. As long as the room is in the registry, a join can see that the
        // room has ended.
        let _ended = lobby.send(LobbyMail::Input(LobbyInput::RoomOver(id))).await;
        self.forget(&key, id);
        shard.post(ShardMail::RoomClosed(id)).await;
        shard.rooms.fetch_sub(1, Ordering::Relaxed);
    }

    /// Removes a room instance that has ended or is about to.
    pub(super) fn forget(&self, key: &RoomKey, id: RoomId) {
        if let Some((_, room)) = self.rooms.remove_if(key, |_, room| room.id == id) {
            self.tenants.close_room(&key.owner.tenant, &room.counted);
        }
    }

    /// Ends all rooms with `code` and opens no more. Returns when all rooms have ended.
    pub async fn shut_down(&self, code: Code) {
        self.closing.store(true, Ordering::SeqCst);
        // Repeats, because a join that was in progress may have opened another room.
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
        // The configuration ensures that there is at least one shard.
        self.shards.iter().min_by_key(load).unwrap_or(&self.shards[0]).clone()
    }
}

/// Makes the function by which a shard posts link events to a room.
fn link_events(mailbox: mpsc::Sender<RoomMail>) -> crate::shard::PostLinkEvent {
    Box::new(move |session, event| {
        match mailbox.try_send(RoomMail::Input(RoomInput::Link(session, event))) {
            Err(mpsc::error::TrySendError::Full(_)) => PostOutcome::MailboxFull,
            _ => PostOutcome::Accepted,
        }
    })
}
