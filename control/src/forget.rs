//! Deletes what the database holds of a user, because the user asks for it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::database::Database;
use crate::history::{self, UserOfTenant};
use crate::store::{Actor, AuditedChange, StoreError, audit, bans, tenants};
use crate::timestamp::Timestamp;

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Forgotten {
    /// Sessions in the history. Calls stay, without the user.
    pub sessions: u64,
    /// Entries of the audit that named the user. They stay, without the name.
    pub audit_entries: u64,
    /// Bans that had ended.
    pub bans: u64,
    /// Whether a ban of the user is in force. It stays, because nobody may end a ban by asking to be
    /// forgotten. Lift it first if it must go.
    pub is_banned: bool,
}

/// Forgets a user of a tenant, in steps of a bounded size, each lasting. If it is broken off, the next call
/// goes on. Notes in the audit that it was done, without the user.
///
/// # Errors
///
/// [`StoreError::NotFound`] if there is no such tenant, or the database cannot be reached.
pub async fn user(
    database: &Database,
    actor: &Actor,
    now: Timestamp,
    tenant: &str,
    user: &str,
) -> Result<Forgotten, StoreError> {
    let tenant_name = &tenants::get(database, tenant).await?.name;
    let of = UserOfTenant { tenant, tenant_name, user };
    let sessions = history::forget(database, of).await?;
    let audit_entries = audit::forget_user(database, tenant, user).await?;
    let mut change = AuditedChange::begin(database, actor, now).await?;
    let (bans, is_banned) = bans::forget_user(&mut change, tenant, user).await?;
    let detail = format!("{sessions} sessions, {audit_entries} entries of the audit, {bans} bans");
    audit::note(&mut change, Some(tenant), "user.forget", "", &detail).await?;
    change.commit_entry().await?;
    Ok(Forgotten { sessions, audit_entries, bans, is_banned })
}
