//! What the database holds: tenants, people, API keys, issuers of join tokens, webhooks, and the audit.
//!
//! Every change is one transaction: the rows, the entry of the audit, and the number of the newest
//! change, by which other servers of the same database learn of it.

pub mod answers;
pub mod api_keys;
pub mod audit;
pub mod bans;
pub mod console_sessions;
pub mod deliveries;
mod delivery_places;
pub mod issuers;
mod old_rows;
pub mod one_time_links;
pub mod people;
pub mod tenants;
pub mod webhooks;

pub use answers::KeptAnswer;
pub use api_keys::{ApiKey, NewApiKey};
pub use audit::{Actor, AuditEntry, AuditFilter};
pub use bans::{NewTenantBan, TenantBan};
pub use console_sessions::{ConsoleSession, NewConsoleSession};
pub use deliveries::WebhookDelivery;
pub use delivery_places::DeliveryPlaces;
pub use issuers::{Issuer, IssuerWithKeys, NewIssuer};
pub use old_rows::OldRows;
pub use one_time_links::OneTimeLink;
pub use people::{NewPerson, Person, PersonChange, PersonSecrets};
pub use tenants::{Tenant, TenantSettings};
pub use webhooks::{NewWebhook, SilentWebhook, Webhook};

use crate::database::{Database, DatabaseError, DatabaseTransaction, Row};
use crate::id::{self, NoRandomness};
use crate::timestamp::Timestamp;

/// Why a request to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row does not exist.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Another row has the same name.
    #[error("there is a {0} of this name already")]
    Exists(&'static str),
    /// There are as many of them as there may be: what they are, with their owner, and the limit.
    #[error("there are {1} {0}, and no more may be made: delete one first")]
    TooMany(&'static str, u32),
    /// The database failed.
    #[error(transparent)]
    Database(DatabaseError),
    /// The system has no random bytes for an id.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl StoreError {
    /// As [`DatabaseError::is_refused`].
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Database(error) => error.is_refused(),
            Self::Exists(_) => true,
            Self::NotFound(_) | Self::TooMany(..) | Self::NoRandomness(_) => false,
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

/// Sorts behind all ids, which are made of hexadecimal digits.
pub(crate) const BEHIND_ALL_IDS: &str = "g";

/// Names what a row is, for an error that says that one like it exists.
fn exists(kind: &'static str) -> impl Fn(DatabaseError) -> StoreError {
    move |error| match error {
        DatabaseError::Exists => StoreError::Exists(kind),
        other => StoreError::Database(other),
    }
}

/// A part of a list, in the order of the ids.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// The id after which the part begins; `None`: at the first.
    pub after: Option<String>,
    /// Most rows, 1 to 200.
    pub limit: u32,
}

/// A change that is being made by somebody at some time. Dropping it undoes it.
#[derive(Debug)]
pub struct AuditedChange<'a> {
    transaction: DatabaseTransaction,
    actor: &'a Actor,
    now: Timestamp,
}

impl<'a> AuditedChange<'a> {
    /// Begins a change by `actor` at `now`.
    ///
    /// # Errors
    ///
    /// The database cannot be reached, or stays locked.
    pub async fn begin(
        database: &Database,
        actor: &'a Actor,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self { transaction: database.begin().await?, actor, now })
    }

    fn new_id(&self) -> Result<String, StoreError> {
        Ok(id::new(self.now)?)
    }

    /// Makes an entry of the audit lasting, with which nothing has changed that servers hold in memory.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit).
    pub async fn commit_entry(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }

    /// Makes the change lasting.
    ///
    /// # Errors
    ///
    /// The database cannot be reached, or its disk is full.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let next = "INSERT INTO meta (name, value) VALUES ('revision', 1) \
                    ON CONFLICT (name) DO UPDATE SET value = meta.value + 1";
        self.transaction.run(next, vec![]).await?;
        Ok(self.transaction.commit().await?)
    }
}

/// Checks that there is a tenant.
async fn check_tenant(change: &mut AuditedChange<'_>, id: &str) -> Result<(), StoreError> {
    let sql = "SELECT id FROM tenant WHERE id = $1";
    let rows = change.transaction.rows(sql, vec![id.into()]).await?;
    rows.first().map(drop).ok_or(StoreError::NotFound("tenant"))
}

/// Returns a part of a list: `$1` of `sql` is the tenant or NULL, `$2` the last id before, `$3` the most rows.
async fn read_page<T>(
    database: &Database,
    sql: &'static str,
    tenant: Option<&str>,
    page: &PageRequest,
    read: impl Fn(&Row) -> Result<T, DatabaseError>,
) -> Result<Vec<T>, StoreError> {
    let after = page.after.clone().unwrap_or_default();
    let values = vec![tenant.map(str::to_owned).into(), after.into(), i64::from(page.limit).into()];
    let rows = database.rows(sql, values).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Returns the number of the newest change.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn revision(database: &Database) -> Result<i64, StoreError> {
    let rows = database.rows("SELECT value FROM meta WHERE name = 'revision'", vec![]).await?;
    Ok(rows.first().map(|row| row.get("value")).transpose()?.unwrap_or(0))
}

/// Returns a time that has been reached for sure: that of the last deletion of old rows, or else of the newest
/// row of the audit or the history. `None`: there are none.
///
/// # Errors
///
/// The database cannot be reached.
pub(crate) async fn known_time(database: &Database) -> Result<Option<Timestamp>, StoreError> {
    for sql in [
        "SELECT value AS at FROM meta WHERE name = 'known_time'",
        "SELECT MAX(at) AS at FROM ( \
         SELECT at FROM (SELECT at FROM audit ORDER BY id DESC LIMIT 1) AS newest UNION ALL \
         SELECT at FROM (SELECT joined_at AS at FROM session_history ORDER BY id DESC LIMIT 1) AS newest \
         ) AS newest",
    ] {
        let rows = database.rows(sql, vec![]).await?;
        if let Some(at) = rows.first().map(|row| time(row, "at")).transpose()?.flatten() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Notes a time that has been reached for sure.
///
/// # Errors
///
/// The database cannot be reached.
pub(crate) async fn set_known_time(database: &Database, at: Timestamp) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "INSERT INTO meta (name, value) VALUES ('known_time', $1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    transaction.run(sql, vec![at.micros().into()]).await?;
    Ok(transaction.commit().await?)
}

/// Reads a JSON list of a column.
pub(crate) fn json_list(row: &Row, column: &str) -> Result<Vec<String>, DatabaseError> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| DatabaseError::Unreadable(format!("{column}: {error}")))
}

/// Writes a JSON list for a column.
fn to_json(list: &[impl AsRef<str>]) -> String {
    let list: Vec<_> = list.iter().map(AsRef::as_ref).collect();
    serde_json::Value::from(list).to_string()
}

/// Reads a time of a column that may be missing.
pub(crate) fn time(row: &Row, column: &str) -> Result<Option<Timestamp>, DatabaseError> {
    Ok(row.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
}
