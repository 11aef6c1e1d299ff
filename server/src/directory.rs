//! Which room instance a name stands for. Read when somebody joins, never for a packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::limits;
use crate::room::task::{RoomInput, RoomTask};
use crate::room::{JoinRequest, Listing, RoomConfig, RoomRates, Seat, Terms};
use crate::session::outgoing::Outgoing;
use crate::session::ticket::TicketKey;
use crate::shard::RoomId;
use crate::shard::handle::{SessionDatagram, ShardHandle, ShardMail};
use crate::tenants::{Counted, LobbyKey, Tenant, Tenants, UnderWay};
use crate::token::App;
use crate::wish::{Mode, Wish};

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
    rates: Arc<RoomRates>,
    clock: Clock,
    counted: Counted,
}

/// What a join sets out for.
struct Found {
    name: String,
    room: RoomHandle,
    /// By the lobby, which may be behind.
    matched: bool,
}

impl RoomHandle {
    async fn join(&self, request: Box<JoinRequest>, outgoing: Outgoing) -> Result<Seat, Code> {
        let (reply, answer) = oneshot::channel();
        self.post(RoomInput::Join(request, outgoing, reply)).await;
        answer.await.unwrap_or(Err(Code::ShuttingDown))
    }

    /// Waits until the room takes a reliable message of `len` bytes. Whether it had to.
    pub async fn has_room_for(&self, len: usize) -> bool {
        let mut waited = false;
        while let Err(wait) = self.rates.take(Time::from_micros(self.clock.now()), len) {
            waited = true;
            tokio::time::sleep(wait).await;
        }
        waited
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
    tenants: Arc<Tenants>,
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
        (tickets, tenants): (Arc<TicketKey>, Arc<Tenants>),
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
            tenants,
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

    /// What each tenant has.
    pub fn tenants(&self) -> &Arc<Tenants> {
        &self.tenants
    }

    /// Joins the room that `wish` finds or makes under `key`, whose name may be empty for a match;
    /// `random` names a room that nobody has named. `request` is asked for again when an instance
    /// died under the join's feet, or refused what the lobby took to fit.
    pub async fn join(
        self: &Arc<Self>,
        key: RoomKey,
        wish: &Wish,
        random: [u8; 16],
        mut request: impl FnMut() -> (Box<JoinRequest>, Outgoing),
    ) -> Result<(RoomHandle, Seat), Code> {
        let mut passed = Vec::new();
        let lobby = LobbyKey { tenant: key.tenant.clone(), app: key.app };
        for _ in 0..limits::JOIN_TRIES + limits::MATCH_TRIES {
            let found = self.find_or_open(&key, wish, random, &passed)?;
            let seats = wish.seats;
            let id = found.room.id;
            let under_way =
                UnderWay { tenants: self.tenants.clone(), lobby: lobby.clone(), id, seats };
            let (join, outgoing) = request();
            let answer = found.room.join(join, outgoing).await;
            drop(under_way);
            match answer {
                Ok(seat) => return Ok((found.room, seat)),
                // The instance is over or about to be, and takes nobody: the next try makes one.
                Err(Code::ShuttingDown) => {
                    let key = RoomKey { name: found.name, ..key.clone() };
                    self.forget(&key, id, &found.room.counted);
                }
                // It has filled up or closed since the lobby heard of it.
                Err(_) if found.matched => passed.push(id),
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
        let terms = Terms {
            hidden: true,
            guests: Some(guests),
            empty_ttl,
            first_within: Some(empty_ttl),
            ..Terms::default()
        };
        self.tenants.with(&key.tenant, |tenant| {
            if self.rooms.get(key).is_some_and(|room| !room.mailbox.is_closed()) {
                return Err(Code::RoomExists);
            }
            self.open(tenant, key, (0, None), terms, over).map(drop)
        })
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

    /// The room for a join that is about to set out. Nobody else looks for one of the tenant's
    /// meanwhile, so that two who make one at the same moment make one.
    fn find_or_open(
        self: &Arc<Self>,
        key: &RoomKey,
        wish: &Wish,
        random: [u8; 16],
        passed: &[RoomId],
    ) -> Result<Found, Code> {
        self.tenants.with(&key.tenant, |tenant| {
            let found = match wish.mode.matches() {
                true => self.matched(tenant, key, wish, passed),
                false => None,
            };
            let found = match found {
                Some(found) => found,
                None if wish.mode == Mode::Match => return Err(Code::NoSuchRoom),
                None => self.named(tenant, key, wish, random)?,
            };
            tenant.change(key.app, |lobby| lobby.set_out(found.room.id, wish.seats));
            Ok(found)
        })
    }

    fn matched(
        &self,
        tenant: &Tenant,
        key: &RoomKey,
        wish: &Wish,
        passed: &[RoomId],
    ) -> Option<Found> {
        if passed.len() >= limits::MATCH_TRIES {
            return None;
        }
        let admits = |name: &str| wish.admitted.admits(name);
        let lobby = tenant.lobby(key.app)?;
        let (_, name) = lobby.pick(&wish.query, admits, wish.seats, passed)?;
        let name = name.as_ref().to_owned();
        let room = self.rooms.get(&RoomKey { name: name.clone(), ..key.clone() })?.clone();
        Some(Found { name, room, matched: true })
    }

    /// The room of that name, there or made.
    fn named(
        self: &Arc<Self>,
        tenant: &mut Tenant,
        key: &RoomKey,
        wish: &Wish,
        random: [u8; 16],
    ) -> Result<Found, Code> {
        let mut key = key.clone();
        let room_of = |key: &RoomKey| {
            // An instance that is over may still stand there for a moment.
            self.rooms.get(key).filter(|room| !room.mailbox.is_closed()).map(|room| room.clone())
        };
        let is_free = !key.name.is_empty() && room_of(&key).is_none();
        if wish.mode == Mode::MatchOrCreate && !is_free {
            key.name = wish.name_from(random)?;
        }
        match room_of(&key) {
            Some(_) if wish.mode == Mode::Create => Err(Code::RoomExists),
            Some(room) => Ok(Found { name: key.name, room, matched: false }),
            None if !wish.mode.creates() => Err(Code::NoSuchRoom),
            None => {
                let made = (wish.capacity, Some(wish.user.as_str().into()));
                let room = self.open(tenant, &key, made, wish.terms.clone(), || ())?;
                Ok(Found { name: key.name, room, matched: false })
            }
        }
    }

    /// Opens a room where none is, or one that is over: of a capacity, by a user, if it is one.
    fn open(
        self: &Arc<Self>,
        tenant: &mut Tenant,
        key: &RoomKey,
        (capacity, maker): (u16, Option<Arc<str>>),
        terms: Terms,
        over: impl FnOnce() + Send + 'static,
    ) -> Result<RoomHandle, Code> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(Code::ShuttingDown);
        }
        let counted = Counted { kept: terms.kept, maker };
        tenant.may_open(self.tenants.limits(), &counted)?;
        if self.rooms.len() >= self.max_rooms {
            return Err(Code::ServerFull);
        }
        let id = RoomId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        let most = self.template.capacity;
        let capacity = if capacity == 0 { most } else { capacity.min(most) };
        let clock_epoch = self.clock_epoch;
        let config = RoomConfig { capacity, epoch, clock_epoch, terms, ..self.template.clone() };
        let (mailbox, receiver) = mpsc::channel(limits::ROOM_MAILBOX);
        let shard = self.emptiest_shard();
        let now = Time::from_micros(self.clock.now());
        let rates = Arc::new(RoomRates::new(now, config.rate));
        let (clock, counted_by) = (self.clock, counted.clone());
        let room = RoomHandle { id, mailbox, shard, rates, clock, counted: counted_by };
        if let Some(before) = self.rooms.insert(key.clone(), room.clone()) {
            tenant.closed(key.app, before.id, &before.counted);
        }
        tenant.opened(&counted);
        let shown = Listing::first(&config);
        let version = config.terms.version.clone();
        tenant.change(key.app, |lobby| lobby.open(id, &key.name, &version, shown));
        self.run(key.clone(), room.clone(), config, receiver, over);
        Ok(room)
    }

    fn run(
        self: &Arc<Self>,
        key: RoomKey,
        room: RoomHandle,
        config: RoomConfig,
        receiver: mpsc::Receiver<RoomInput>,
        over: impl FnOnce() + Send + 'static,
    ) {
        let (directory, clock) = (self.clone(), self.clock);
        let RoomHandle { id, mailbox, shard, counted, .. } = room;
        shard.rooms.fetch_add(1, Ordering::Relaxed);
        self.sessions.spawn(async move {
            shard.post(ShardMail::RoomOpened(id, mailbox)).await;
            let place = (shard.clone(), directory.tickets.clone(), directory.tenants.clone());
            RoomTask::run((id, key.clone()), config, clock, place, receiver).await;
            directory.forget(&key, id, &counted);
            shard.post(ShardMail::RoomClosed(id)).await;
            shard.rooms.fetch_sub(1, Ordering::Relaxed);
            over();
        });
    }

    fn forget(&self, key: &RoomKey, id: RoomId, counted: &Counted) {
        self.tenants.with(&key.tenant, |tenant| {
            if self.rooms.remove_if(key, |_, room| room.id == id).is_some() {
                tenant.closed(key.app, id, counted);
            }
        });
    }

    fn emptiest_shard(&self) -> Arc<ShardHandle> {
        let load = |s: &&Arc<ShardHandle>| {
            (s.published.links.load(Ordering::Relaxed), s.rooms.load(Ordering::Relaxed))
        };
        // There is at least one shard: the configuration says so.
        self.shards.iter().min_by_key(load).unwrap_or(&self.shards[0]).clone()
    }
}
