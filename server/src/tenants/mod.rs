//! What each tenant has: rooms, sessions, and a lobby for each product. Touched when somebody joins,
//! leaves or watches and when a room changes what it shows, never for a packet.
//!
//! One entry of a map, held for as long as it takes to look and decide, and never over an await: who
//! looks for a room and makes one finds what the one before it made. The directory's map of rooms is
//! locked inside of it, never around it.

mod place;
mod watcher;

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use nucleus_protocol::session::Code;
use tokio::sync::watch;

use crate::lobby::Lobby;
use crate::room::Listing;
use crate::shard::RoomId;
use crate::token::App;
pub use place::{SessionPlace, UnderWay};
pub use watcher::Watcher;

/// How much one tenant may have.
#[derive(Clone, Copy, Debug)]
pub struct TenantLimits {
    /// Rooms, of all products together.
    pub rooms: u32,
    /// Rooms that are kept, among them.
    pub kept_rooms: u32,
    /// Sessions.
    pub sessions: u32,
    /// Sessions of one of its users, and rooms that one has made: empty ones outlive their sessions.
    pub user_sessions: u32,
}

/// See the module.
pub struct Tenants {
    tenants: DashMap<String, Tenant>,
    limits: TenantLimits,
}

/// What a room counts for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// It is among those that are kept.
    pub(crate) kept: bool,
    /// The user who made it, if it was one.
    pub(crate) maker: Option<Arc<str>>,
}

/// One tenant; gone when it has nothing.
#[derive(Default)]
pub struct Tenant {
    rooms: u32,
    kept_rooms: u32,
    /// Rooms by who made them.
    makers: HashMap<Arc<str>, u32>,
    sessions: u32,
    users: HashMap<String, u32>,
    lobbies: HashMap<App, Watched>,
}

/// A lobby with those who look at it.
struct Watched {
    lobby: Lobby,
    changed: watch::Sender<u64>,
}

impl Default for Watched {
    fn default() -> Self {
        Self { lobby: Lobby::default(), changed: watch::Sender::new(0) }
    }
}

/// Which lobby a room or a watcher belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LobbyKey {
    /// Whose.
    pub tenant: String,
    /// Which product's.
    pub app: App,
}

impl Tenants {
    /// Nobody has anything yet.
    pub fn new(limits: TenantLimits) -> Arc<Self> {
        Arc::new(Self { tenants: DashMap::new(), limits })
    }

    /// Tenants that have something.
    pub fn len(&self) -> usize {
        self.tenants.len()
    }

    /// No tenant has anything.
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Alone with a tenant's books.
    pub(crate) fn with<R>(&self, tenant: &str, act: impl FnOnce(&mut Tenant) -> R) -> R {
        let result = act(&mut self.tenants.entry(tenant.to_owned()).or_default());
        self.tenants.remove_if(tenant, |_, tenant| tenant.is_empty());
        result
    }

    pub(crate) fn limits(&self) -> TenantLimits {
        self.limits
    }

    /// What a room shows has changed.
    pub fn show(&self, at: &LobbyKey, id: RoomId, shown: Listing) {
        self.with(&at.tenant, |tenant| tenant.change(at.app, |lobby| lobby.show(id, shown)));
    }

    /// A room has given seats.
    pub fn seat(&self, at: &LobbyKey, id: RoomId, taken: usize) {
        self.with(&at.tenant, |tenant| tenant.change(at.app, |lobby| lobby.seat(id, taken)));
    }
}

impl Tenant {
    /// Whether one room more may be made.
    ///
    /// # Errors
    ///
    /// [`Code::TenantRooms`] or [`Code::UserSessions`].
    pub(crate) fn may_open(&self, limits: TenantLimits, room: &Counted) -> Result<(), Code> {
        let kept_full = room.kept && self.kept_rooms >= limits.kept_rooms;
        if self.rooms >= limits.rooms || kept_full {
            return Err(Code::TenantRooms);
        }
        let made = room.maker.as_ref().and_then(|maker| self.makers.get(maker));
        if made.is_some_and(|made| *made >= limits.user_sessions) {
            return Err(Code::UserSessions);
        }
        Ok(())
    }

    pub(crate) fn opened(&mut self, room: &Counted) {
        self.rooms += 1;
        self.kept_rooms += u32::from(room.kept);
        if let Some(maker) = &room.maker {
            *self.makers.entry(maker.clone()).or_default() += 1;
        }
    }

    pub(crate) fn closed(&mut self, app: App, id: RoomId, room: &Counted) {
        self.rooms = self.rooms.saturating_sub(1);
        self.kept_rooms = self.kept_rooms.saturating_sub(u32::from(room.kept));
        if let Some(maker) = &room.maker
            && let Some(made) = self.makers.get_mut(maker)
        {
            *made = made.saturating_sub(1);
            if *made == 0 {
                self.makers.remove(maker);
            }
        }
        self.change(app, |lobby| lobby.close(id));
    }

    pub(crate) fn lobby(&self, app: App) -> Option<&Lobby> {
        self.lobbies.get(&app).map(|watched| &watched.lobby)
    }

    /// Changes a lobby; its watchers hear of what they can see.
    pub(crate) fn change<R>(&mut self, app: App, act: impl FnOnce(&mut Lobby) -> R) -> R {
        let watched = self.lobbies.entry(app).or_default();
        let before = watched.lobby.changes();
        let result = act(&mut watched.lobby);
        if watched.lobby.changes() != before {
            watched.changed.send_replace(watched.lobby.changes());
        }
        result
    }

    fn is_empty(&self) -> bool {
        let anybody = self.lobbies.values().any(|watched| watched.changed.receiver_count() > 0);
        self.rooms == 0 && self.sessions == 0 && !anybody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_gone_when_it_has_nothing() {
        let limits = TenantLimits { rooms: 3, kept_rooms: 1, sessions: 2, user_sessions: 1 };
        let tenants = Tenants::new(limits);
        let of = |kept, maker: &str| Counted { kept, maker: Some(maker.into()) };
        let (kept, plain, own) = (of(true, "ada"), of(false, "grace"), Counted::default());
        tenants.with("a", |a| {
            assert_eq!(a.may_open(limits, &kept), Ok(()));
            a.opened(&kept);
            assert_eq!(a.may_open(limits, &of(true, "grace")), Err(Code::TenantRooms));
            assert_eq!(a.may_open(limits, &of(false, "ada")), Err(Code::UserSessions));
            assert_eq!(a.may_open(limits, &plain), Ok(()));
            a.opened(&plain);
            assert_eq!(a.may_open(limits, &own), Ok(()));
            a.opened(&own);
            assert_eq!(a.may_open(limits, &own), Err(Code::TenantRooms));
        });
        tenants.with("b", |b| assert_eq!(b.may_open(limits, &kept), Ok(())));
        assert_eq!(tenants.len(), 1);
        tenants.with("a", |a| {
            a.closed(App::Atom, RoomId(1), &kept);
            assert_eq!(a.may_open(limits, &of(false, "ada")), Ok(()));
            a.closed(App::Atom, RoomId(2), &plain);
            a.closed(App::Atom, RoomId(3), &own);
        });
        assert!(tenants.is_empty());
    }

    #[test]
    fn sessions_are_counted_by_tenant_and_user() {
        let limits = TenantLimits { rooms: 2, kept_rooms: 1, sessions: 3, user_sessions: 2 };
        let tenants = Tenants::new(limits);
        let admit = |tenant, user| SessionPlace::take(&tenants, tenant, user);
        let (one, two) = (admit("a", "ada").unwrap(), admit("a", "ada").unwrap());
        assert_eq!(admit("a", "ada").err(), Some(Code::UserSessions));
        let again = SessionPlace::take_again(&tenants, "a", "ada");
        assert_eq!(admit("a", "grace").err(), Some(Code::TenantFull));
        assert!(admit("b", "grace").is_ok());
        drop((one, again));
        let three = admit("a", "grace").unwrap();
        drop((two, three));
        assert!(tenants.is_empty());
    }
}
