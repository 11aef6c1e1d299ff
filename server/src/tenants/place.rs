//! What is given back when it is dropped: a session's place with its tenant, and the seats that a
//! join is on its way to.

use std::sync::Arc;

use nucleus_protocol::session::Code;

use super::{LobbyKey, Tenants};
use crate::shard::RoomId;

/// A session's place among those of its tenant and its user.
pub struct SessionPlace {
    tenants: Arc<Tenants>,
    tenant: String,
    user: String,
}

impl SessionPlace {
    /// A place for a new session.
    ///
    /// # Errors
    ///
    /// [`Code::UserSessions`] or [`Code::TenantFull`].
    pub fn take(tenants: &Arc<Tenants>, tenant: &str, user: &str) -> Result<Self, Code> {
        let limits = tenants.limits;
        tenants.with(tenant, |books| {
            if books.users.get(user).is_some_and(|count| *count >= limits.user_sessions) {
                return Err(Code::UserSessions);
            }
            if books.sessions >= limits.sessions {
                return Err(Code::TenantFull);
            }
            books.sessions += 1;
            *books.users.entry(user.to_owned()).or_default() += 1;
            Ok(())
        })?;
        Ok(Self::of(tenants, tenant, user))
    }

    /// A place for a session that takes up a lost one, whatever there are: the lost one may count
    /// still, and goes when this one is in.
    pub fn take_again(tenants: &Arc<Tenants>, tenant: &str, user: &str) -> Self {
        tenants.with(tenant, |books| {
            books.sessions += 1;
            *books.users.entry(user.to_owned()).or_default() += 1;
        });
        Self::of(tenants, tenant, user)
    }

    fn of(tenants: &Arc<Tenants>, tenant: &str, user: &str) -> Self {
        let (tenant, user) = (tenant.to_owned(), user.to_owned());
        Self { tenants: tenants.clone(), tenant, user }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.tenants.with(&self.tenant, |books| {
            books.sessions = books.sessions.saturating_sub(1);
            let left = books.users.get_mut(&self.user).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                books.users.remove(&self.user);
            }
        });
    }
}

/// Seats that a join is on its way to; the lobby counts them until the room has answered.
pub struct UnderWay {
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) lobby: LobbyKey,
    pub(crate) id: RoomId,
    pub(crate) seats: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.tenants.with(&self.lobby.tenant, |books| {
            books.change(self.lobby.app, |lobby| lobby.arrive(self.id, self.seats));
        });
    }
}
