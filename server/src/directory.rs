//! Which room instance a name stands for. Read when somebody joins, never for a packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::limits;
use crate::room::task::{RoomInput, RoomTask};
use crate::room::{JoinRequest, RoomConfig, Seat, Terms};
use crate::session::outgoing::Outgoing;
use crate::session::ticket::TicketKey;
use crate::shard::RoomId;
use crate::shard::handle::{SessionDatagram, ShardHandle, ShardMail};
use crate::token::App;

/// A room's identity: tenants and products never meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomKey {
    /// From the token.
    pub tenant: String,
    /// From the token.
    pub app: App,
    /// As joined.
    pub name: String,
}

/// A live room instance.
#[derive(Clone)]
pub struct RoomHandle {
    id: RoomId,
    mailbox: mpsc::Sender<RoomInput>,
    shard: Arc<ShardHandle>,
}

impl RoomHandle {
    async fn join(&self, request: Box<JoinRequest>, outgoing: Outgoing) -> Result<Seat, Code> {
        let (reply, answer) = oneshot::channel();
        self.post(RoomInput::Join(request, outgoing, reply)).await;
        answer.await.unwrap_or(Err(Code::ShuttingDown))
    }

    /// Posts to the room; waits while its mailbox is full. False when the instance is over.
    pub async fn post(&self, input: RoomInput) -> bool {
        self.mailbox.send(input).await.is_ok()
    }

    /// Tells the shard that the session has heard its peer; may be lost.
    pub fn alive(&self, seat: Seat) {
        self.datagram(seat, Bytes::new());
    }

    /// Hands a realtime datagram of the session to the room's shard, or drops it.
    pub fn datagram(&self, seat: Seat, bytes: Bytes) {
        self.shard.datagram(SessionDatagram { room: self.id, seat, bytes });
    }
}

/// See the module.
pub struct Directory {
    rooms: DashMap<RoomKey, RoomHandle>,
    shards: Vec<Arc<ShardHandle>>,
    clock: Clock,
    clock_epoch: u32,
    max_rooms: usize,
    template: RoomConfig,
    tickets: Arc<TicketKey>,
    /// Where rooms run.
    sessions: Handle,
    next_id: AtomicU64,
    next_epoch: AtomicU32,
    closing: AtomicBool,
}

impl Directory {
    /// An empty directory of at most `max_rooms` rooms, made like `template`, that run in the runtime
    /// which this is called in.
    pub fn new(
        shards: Vec<Arc<ShardHandle>>,
        clock: Clock,
        max_rooms: usize,
        template: RoomConfig,
        tickets: Arc<TicketKey>,
    ) -> Arc<Self> {
        Arc::new(Self {
            rooms: DashMap::new(),
            shards,
            clock,
            clock_epoch: template.clock_epoch,
            max_rooms,
            next_id: AtomicU64::new(1),
            next_epoch: AtomicU32::new(template.epoch),
            template,
            tickets,
            sessions: Handle::current(),
            closing: AtomicBool::new(false),
        })
    }

    /// Rooms alive.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// No room is alive.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Joins the room, making it if there is none. `wish` is the capacity of a new one; `request`
    /// is asked for again when an instance died under the join's feet.
    pub async fn join(
        self: &Arc<Self>,
        key: &RoomKey,
        wish: Option<u16>,
        mut request: impl FnMut() -> (Box<JoinRequest>, Outgoing),
    ) -> Result<(RoomHandle, Seat), Code> {
        for _ in 0..limits::JOIN_TRIES {
            let room = self.find_or_open(key, wish)?;
            let (join, outgoing) = request();
            match room.join(join, outgoing).await {
                Ok(seat) => return Ok((room, seat)),
                // The instance is over or about to be, and takes nobody: the next try makes one.
                Err(Code::ShuttingDown) => self.forget(key, room.id),
                Err(code) => return Err(code),
            }
        }
        Err(Code::Internal)
    }

    /// Takes a peer's place again, where room and place are still there.
    pub async fn resume(
        &self,
        key: &RoomKey,
        (request, outgoing): (Box<JoinRequest>, Outgoing),
    ) -> Result<(RoomHandle, Seat), Code> {
        let room = self.rooms.get(key).map(|room| room.clone()).ok_or(Code::TimedOut)?;
        room.join(request, outgoing).await.map(|seat| (room, seat))
    }

    /// Makes a room for these guests alone, hidden, with a seat held for each; it ends when nobody has
    /// been in it for `empty_ttl`. `over` is called once, when it has ended, whatever the reason.
    ///
    /// # Errors
    ///
    /// [`Code::RoomExists`], [`Code::RoomFull`] (more guests than a room takes or may have), or the
    /// code of a limit; `over` is not called then.
    pub fn open_private(
        self: &Arc<Self>,
        key: &RoomKey,
        guests: Vec<String>,
        empty_ttl: Duration,
        over: impl FnOnce() + Send + 'static,
    ) -> Result<(), Code> {
        if guests.len() > limits::GUESTS.min(self.template.capacity.into()) {
            return Err(Code::RoomFull);
        }
        if self.closing.load(Ordering::SeqCst) {
            return Err(Code::ShuttingDown);
        }
        let terms = Terms {
            hidden: true,
            guests: Some(guests),
            empty_ttl,
            first_within: Some(empty_ttl),
            ..Terms::default()
        };
        let full = self.rooms.len() >= self.max_rooms;
        match self.rooms.entry(key.clone()) {
            Entry::Occupied(_) => Err(Code::RoomExists),
            Entry::Vacant(_) if full => Err(Code::ServerFull),
            Entry::Vacant(vacant) => {
                vacant.insert(self.open(key, None, terms, over));
                Ok(())
            }
        }
    }

    /// Lets a user into a room that is by invitation, from now on.
    ///
    /// # Errors
    ///
    /// [`Code::NoSuchRoom`], or [`Code::RoomFull`]: it has all the guests that a room may have.
    pub async fn invite(&self, key: &RoomKey, user: &str) -> Result<(), Code> {
        self.guest(key, user, true).await
    }

    /// Takes an invitation back. Who is in the room already stays.
    ///
    /// # Errors
    ///
    /// [`Code::NoSuchRoom`].
    pub async fn uninvite(&self, key: &RoomKey, user: &str) -> Result<(), Code> {
        self.guest(key, user, false).await
    }

    async fn guest(&self, key: &RoomKey, user: &str, invited: bool) -> Result<(), Code> {
        let room = self.rooms.get(key).map(|room| room.clone()).ok_or(Code::NoSuchRoom)?;
        let (done, answer) = oneshot::channel();
        room.post(RoomInput::Guest { user: user.to_owned(), invited, done }).await;
        answer.await.unwrap_or(Err(Code::NoSuchRoom))
    }

    /// Ends a room, if there is one, and tells everybody in it `code`.
    pub async fn end(&self, key: &RoomKey, code: Code) {
        let room = self.rooms.get(key).map(|room| room.clone());
        if let Some(room) = room {
            room.post(RoomInput::Shutdown(code)).await;
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

    fn find_or_open(
        self: &Arc<Self>,
        key: &RoomKey,
        wish: Option<u16>,
    ) -> Result<RoomHandle, Code> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(Code::ShuttingDown);
        }
        let full = self.rooms.len() >= self.max_rooms;
        match self.rooms.entry(key.clone()) {
            Entry::Occupied(room) => Ok(room.get().clone()),
            Entry::Vacant(_) if full => Err(Code::ServerFull),
            Entry::Vacant(vacant) => {
                let terms = Terms::default();
                Ok(vacant.insert(self.open(key, wish, terms, || ())).clone())
            }
        }
    }

    fn open(
        self: &Arc<Self>,
        key: &RoomKey,
        wish: Option<u16>,
        terms: Terms,
        over: impl FnOnce() + Send + 'static,
    ) -> RoomHandle {
        let id = RoomId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        let (mailbox, receiver) = mpsc::channel(limits::ROOM_MAILBOX);
        let shard = self.emptiest_shard();
        let handle = RoomHandle { id, mailbox: mailbox.clone(), shard: shard.clone() };
        let capacity = wish.unwrap_or(u16::MAX).min(self.template.capacity);
        let clock_epoch = self.clock_epoch;
        let config = RoomConfig { capacity, epoch, clock_epoch, terms, ..self.template.clone() };
        shard.rooms.fetch_add(1, Ordering::Relaxed);
        let (directory, key, clock) = (self.clone(), key.clone(), self.clock);
        self.sessions.spawn(async move {
            shard.post(ShardMail::RoomOpened(id, mailbox)).await;
            let tickets = directory.tickets.clone();
            let place = (shard.clone(), tickets);
            RoomTask::run((id, key.clone()), config, clock, place, receiver).await;
            directory.forget(&key, id);
            shard.post(ShardMail::RoomClosed(id)).await;
            shard.rooms.fetch_sub(1, Ordering::Relaxed);
            over();
        });
        handle
    }

    fn forget(&self, key: &RoomKey, instance: RoomId) {
        self.rooms.remove_if(key, |_, room| room.id == instance);
    }

    fn emptiest_shard(&self) -> Arc<ShardHandle> {
        let load = |s: &&Arc<ShardHandle>| {
            (s.published.links.load(Ordering::Relaxed), s.rooms.load(Ordering::Relaxed))
        };
        // There is at least one shard: the configuration says so.
        self.shards.iter().min_by_key(load).unwrap_or(&self.shards[0]).clone()
    }
}
