//! Counts the rooms and sessions of each tenant and user, and enforces their limits. The counts
//! change when a session joins or ends and when a room opens or ends, never for a packet.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use nucleus_core::control::TenantStatus;
use nucleus_core::ids::ProductKey;
use nucleus_core::limits::Limits;
use nucleus_core::tenancy::{NotLicensed, TenantPolicies};
use nucleus_protocol::session::Code;

/// Counts the rooms and sessions of each tenant and user, and refuses those beyond the limits.
pub struct Tenants {
    tenants: DashMap<String, TenantCounts>,
    limits: Limits,
    /// The tenants' own limits.
    policies: Arc<ArcSwap<TenantPolicies>>,
}

/// The properties of a room that decide in which counts it is.
#[derive(Clone, Debug, Default)]
pub(super) struct CountedRoom {
    /// Whether the room stays when it is empty.
    pub(super) kept: bool,
    /// The user who made the room; `None` if the server made it.
    pub(super) maker: Option<Arc<str>>,
}

/// The counts of one tenant. Removed when the tenant has neither rooms nor sessions.
#[derive(Default)]
struct TenantCounts {
    rooms: u32,
    kept_rooms: u32,
    /// Number of rooms by the user who made them.
    makers: HashMap<Arc<str>, u32>,
    /// Rooms that outlive their last participant.
    empty_rooms: u32,
    /// Number of these rooms by the user who made them.
    empty_makers: HashMap<Arc<str>, u32>,
    sessions: u32,
    /// Number of sessions by user.
    users: HashMap<String, u32>,
}

impl Tenants {
    /// Makes empty counts with these limits, of which `policies` may give a tenant less.
    pub fn new(limits: Limits, policies: Arc<ArcSwap<TenantPolicies>>) -> Arc<Self> {
        Arc::new(Self { tenants: DashMap::new(), limits, policies })
    }

    /// Checks whether a user of a tenant may join a product at `now`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The reason why not.
    pub fn check_licence(&self, key: &ProductKey, user: &str, now: u64) -> Result<(), NotLicensed> {
        self.policies.load().check(&key.tenant, key.product, user, now)
    }

    /// Returns what a tenant has.
    pub fn status(&self, tenant: &str) -> TenantStatus {
        let counts = self.tenants.get(tenant);
        counts.map_or_else(TenantStatus::default, |counts| TenantStatus {
            sessions: counts.sessions.into(),
            rooms: counts.rooms.into(),
        })
    }

    /// Returns the limits of a tenant: the server's, or its own where these are less.
    fn limits_of(&self, tenant: &str) -> Limits {
        let mut limits = self.limits;
        if let Some(policy) = self.policies.load().of(tenant) {
            let less = |limit: u32, own: Option<u32>| own.map_or(limit, |own| own.min(limit));
            limits.tenant_sessions = less(limits.tenant_sessions, policy.max_sessions);
            limits.tenant_rooms = less(limits.tenant_rooms, policy.max_rooms);
            limits.kept_rooms = less(limits.kept_rooms, policy.max_kept_rooms);
        }
        limits
    }

    fn with<R>(&self, tenant: &str, act: impl FnOnce(&mut TenantCounts) -> R) -> R {
        let result = act(&mut self.tenants.entry(tenant.to_owned()).or_default());
        self.tenants.remove_if(tenant, |_, tenant| {
            tenant.rooms == 0 && tenant.sessions == 0 && tenant.empty_rooms == 0
        });
        result
    }

    /// Counts a new room.
    ///
    /// # Errors
    ///
    /// [`Code::TenantRooms`] if the tenant has reached its limit of rooms or kept rooms;
    /// [`Code::UserSessions`] if the maker has as many rooms as a user may have sessions.
    pub(super) fn open_room(&self, tenant: &str, room: &CountedRoom) -> Result<(), Code> {
        let limits = self.limits_of(tenant);
        self.with(tenant, |tenant| {
            tenant.check_room(&limits, room)?;
            tenant.rooms += 1;
            tenant.kept_rooms += u32::from(room.kept);
            if let Some(maker) = &room.maker {
                *tenant.makers.entry(maker.clone()).or_default() += 1;
            }
            Ok(())
        })
    }

    /// Stops counting a room that has ended.
    pub(super) fn close_room(&self, tenant: &str, room: &CountedRoom) {
        self.with(tenant, |tenant| {
            tenant.rooms = tenant.rooms.saturating_sub(1);
            tenant.kept_rooms = tenant.kept_rooms.saturating_sub(u32::from(room.kept));
            if let Some(maker) = &room.maker {
                count_down(&mut tenant.makers, maker.as_ref());
            }
        });
    }

    /// Counts a room that has become empty, until the result is dropped. `None`: the tenant or the
    /// room's maker has as many empty rooms as the limits allow. A kept room does not count.
    pub(super) fn count_empty(
        self: &Arc<Self>,
        tenant: &str,
        room: &CountedRoom,
    ) -> Option<EmptyRoomCount> {
        let Limits { tenant_empty_rooms, user_empty_rooms, .. } = self.limits;
        self.with(tenant, |counts| {
            let made = room.maker.as_ref().and_then(|maker| counts.empty_makers.get(maker));
            let user_full = made.is_some_and(|made| *made >= user_empty_rooms);
            if counts.empty_rooms >= tenant_empty_rooms || user_full || user_empty_rooms == 0 {
                return None;
            }
            counts.empty_rooms += 1;
            if let Some(maker) = &room.maker {
                *counts.empty_makers.entry(maker.clone()).or_default() += 1;
            }
            let maker = room.maker.clone();
            Some(EmptyRoomCount { tenants: self.clone(), tenant: tenant.to_owned(), maker })
        })
    }
}

/// Counts an empty room until it is dropped.
pub(super) struct EmptyRoomCount {
    tenants: Arc<Tenants>,
    tenant: String,
    maker: Option<Arc<str>>,
}

impl Drop for EmptyRoomCount {
    fn drop(&mut self) {
        self.tenants.with(&self.tenant, |counts| {
            counts.empty_rooms = counts.empty_rooms.saturating_sub(1);
            if let Some(maker) = &self.maker {
                count_down(&mut counts.empty_makers, maker.as_ref());
            }
        });
    }
}

impl TenantCounts {
    fn check_room(&self, limits: &Limits, room: &CountedRoom) -> Result<(), Code> {
        let kept_full = room.kept && self.kept_rooms >= limits.kept_rooms;
        if self.rooms >= limits.tenant_rooms || kept_full {
            return Err(Code::TenantRooms);
        }
        let made = room.maker.as_ref().and_then(|maker| self.makers.get(maker));
        if made.is_some_and(|made| *made >= limits.user_sessions) {
            return Err(Code::UserSessions);
        }
        Ok(())
    }
}

/// Decrements the count of `name`, and removes a count of zero.
fn count_down<K>(counts: &mut HashMap<K, u32>, name: &str)
where
    K: std::borrow::Borrow<str> + Eq + std::hash::Hash,
{
    let Some(count) = counts.get_mut(name) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 {
        counts.remove(name);
    }
}

/// Counts one participant, or one session outside rooms, of a tenant and a user until it is dropped.
pub struct SessionCount {
    tenants: Arc<Tenants>,
    tenant: String,
    user: String,
}

impl SessionCount {
    /// Counts a new session.
    ///
    /// # Errors
    ///
    /// [`Code::UserSessions`] or [`Code::TenantFull`]: the user or the tenant has reached its limit
    /// of sessions.
    pub fn take(tenants: &Arc<Tenants>, tenant: &str, user: &str) -> Result<Self, Code> {
        let Limits { user_sessions, tenant_sessions, .. } = tenants.limits_of(tenant);
        tenants.with(tenant, |counts| {
            if counts.users.get(user).is_some_and(|count| *count >= user_sessions) {
                return Err(Code::UserSessions);
            }
            if counts.sessions >= tenant_sessions {
                return Err(Code::TenantFull);
            }
            counts.add_session(user);
            Ok(())
        })?;
        Ok(Self::of(tenants, tenant, user))
    }

    fn of(tenants: &Arc<Tenants>, tenant: &str, user: &str) -> Self {
        let (tenant, user) = (tenant.to_owned(), user.to_owned());
        Self { tenants: tenants.clone(), tenant, user }
    }
}

impl TenantCounts {
    fn add_session(&mut self, user: &str) {
        self.sessions += 1;
        *self.users.entry(user.to_owned()).or_default() += 1;
    }
}

impl Drop for SessionCount {
    fn drop(&mut self) {
        self.tenants.with(&self.tenant, |counts| {
            counts.sessions = counts.sessions.saturating_sub(1);
            count_down(&mut counts.users, &self.user);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_gone_when_it_has_nothing() {
        let tenants = Tenants::new(
            Limits {
                tenant_rooms: 3,
                kept_rooms: 1,
                tenant_sessions: 2,
                user_sessions: 1,
                ..Limits::default()
            },
            Arc::default(),
        );
        let made_by = |kept, maker: &str| CountedRoom { kept, maker: Some(maker.into()) };
        let (kept, plain, by_server) =
            (made_by(true, "ada"), made_by(false, "grace"), CountedRoom::default());
        assert_eq!(tenants.open_room("a", &kept), Ok(()));
        assert_eq!(tenants.open_room("a", &made_by(true, "grace")), Err(Code::TenantRooms));
        assert_eq!(tenants.open_room("a", &made_by(false, "ada")), Err(Code::UserSessions));
        assert_eq!(tenants.open_room("a", &plain), Ok(()));
        assert_eq!(tenants.open_room("a", &by_server), Ok(()));
        assert_eq!(tenants.open_room("a", &by_server), Err(Code::TenantRooms));
        assert_eq!(tenants.open_room("b", &kept), Ok(()));
        tenants.close_room("b", &kept);
        assert_eq!(tenants.tenants.len(), 1);
        tenants.close_room("a", &kept);
        assert_eq!(tenants.open_room("a", &made_by(false, "ada")), Ok(()));
        for room in [&made_by(false, "ada"), &plain, &by_server] {
            tenants.close_room("a", room);
        }
        assert!(tenants.tenants.is_empty());
    }

    #[test]
    fn empty_rooms_are_counted_by_tenant_and_maker() {
        let tenants = Tenants::new(
            Limits { tenant_empty_rooms: 3, user_empty_rooms: 2, ..Limits::default() },
            Arc::default(),
        );
        let empty = |tenant, maker: &str| {
            let room = CountedRoom { kept: false, maker: Some(maker.into()) };
            tenants.count_empty(tenant, &room)
        };
        let (one, two) = (empty("a", "ada").unwrap(), empty("a", "ada").unwrap());
        assert!(empty("a", "ada").is_none(), "a user's limit");
        let three = empty("a", "grace").unwrap();
        assert!(empty("a", "bob").is_none(), "the tenant's limit");
        assert!(empty("b", "ada").is_some(), "another tenant has its own");
        drop(one);
        let four = empty("a", "ada").unwrap();
        drop((two, three, four));
        let counts = tenants.tenants.get("a");
        assert!(counts.is_none_or(|counts| counts.empty_rooms == 0));
    }

    #[test]
    fn sessions_are_counted_by_tenant_and_user() {
        let tenants = Tenants::new(
            Limits {
                tenant_rooms: 2,
                kept_rooms: 1,
                tenant_sessions: 3,
                user_sessions: 2,
                ..Limits::default()
            },
            Arc::default(),
        );
        let admit = |tenant, user| SessionCount::take(&tenants, tenant, user);
        let (one, two) = (admit("a", "ada").unwrap(), admit("a", "ada").unwrap());
        assert_eq!(admit("a", "ada").err(), Some(Code::UserSessions));
        let other = admit("a", "bob").unwrap();
        assert_eq!(admit("a", "grace").err(), Some(Code::TenantFull));
        assert!(admit("b", "grace").is_ok());
        drop((one, other));
        let three = admit("a", "grace").unwrap();
        drop((two, three));
        assert!(tenants.tenants.is_empty());
    }
}
