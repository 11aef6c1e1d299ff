//! The audit: who did what, when and from where. Entries are written with the change itself. They are
//! never changed, but for the name of a user who is to be forgotten.

use serde::Serialize;
use utoipa::ToSchema;

use super::{AuditedChange, OldRows, PageRequest, StoreError, time};
use crate::database::{Database, DatabaseError, Row};
use crate::id;
use crate::timestamp::Timestamp;

/// Entries that one transaction looks at: some milliseconds, so that other changes hardly wait.
const BATCH: u32 = 500;
/// What stands in an entry in place of a user who is forgotten.
const FORGOTTEN: &str = "(forgotten)";

/// Who makes a request, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name in the audit, as `key:<id>` or `local`.
    pub name: String,
    /// The network address of the request; empty: the request came from this process.
    pub ip: String,
    /// The id of the request.
    pub request_id: String,
}

/// An entry of the audit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// The id.
    pub id: String,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The id of the tenant that the act was about; absent: the whole server.
    pub tenant: Option<String>,
    /// Who did it, as `key:<id>` or `local`.
    pub actor: String,
    /// The email address of a person who did it; absent: the actor is no person, was deleted, is of the whole server
    /// while the reader is of one tenant, or the reader has neither
    /// the scope `operate` nor `manage`.
    pub actor_email: Option<String>,
    /// What was done, as `tenant.create`.
    pub action: String,
    /// The id of what it was done to.
    pub target: String,
    /// What else there is to know, for people.
    pub detail: String,
    /// The id of the request.
    pub request_id: String,
    /// The network address that the request came from.
    pub ip: String,
}

/// Notes an act in the audit.
///
/// # Errors
///
/// The database cannot be reached, or the system has no random bytes.
pub async fn note(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    action: &'static str,
    target: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (id, at, tenant, actor, action, target, detail, request_id, ip) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (actor, now) = (change.actor, change.now.micros());
    let values = vec![
        change.new_id()?.into(),
        now.into(),
        tenant.map(str::to_owned).into(),
        actor.name.as_str().into(),
        action.into(),
        target.into(),
        detail.into(),
        actor.request_id.as_str().into(),
        actor.ip.as_str().into(),
    ];
    change.transaction.run(sql, values).await?;
    Ok(())
}

/// Which entries of the audit are wanted. What is absent is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The id of the tenant.
    pub tenant: Option<String>,
    /// Who did it, as `person:<id>`; or a kind of actor, as `key`.
    pub actor: Option<String>,
    /// What was done, as `tenant.create`; or the first part, as `tenant`.
    pub action: Option<String>,
    /// The id of what it was done to.
    pub target: Option<String>,
    /// Done at this time or later.
    pub from: Option<Timestamp>,
    /// Done before this time.
    pub to: Option<Timestamp>,
    /// The id of the tenant whose people's email addresses are told; absent: those of all people.
    pub emails_of: Option<String>,
}

/// The entries of one tenant, or of all. Two statements, because SQLite would use no index for a tenant that may
/// be absent.
macro_rules! entries_where {
    ($tenant:literal) => {
        concat!(
            "SELECT audit.*, (SELECT email FROM person WHERE substr(audit.actor, 1, 7) = 'person:' \
             AND person.id = substr(audit.actor, 8) \
             AND (CAST($10 AS TEXT) IS NULL OR person.tenant = $10)) AS actor_email FROM audit WHERE ",
            $tenant,
            " AND id < $2 AND id >= $3 AND ($4 IS NULL OR actor = $4 OR substr(actor, 1, length($4) + 1) = $4 || ':') \
             AND ($5 IS NULL OR action = $5 OR substr(action, 1, length($5) + 1) = $5 || '.') \
             AND ($6 IS NULL OR target = $6) AND at >= $8 AND at < $9 ORDER BY id DESC LIMIT $7"
        )
    };
}
const OF_TENANT: &str = entries_where!("tenant = $1");
const OF_ALL: &str = entries_where!("CAST($1 AS TEXT) IS NULL");

/// Returns entries of the audit, the newest first.
///
/// # Errors
///
/// The database cannot be reached, or does not find the entries in time.
pub async fn entries(
    database: &Database,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<Vec<AuditEntry>, StoreError> {
    let before = page.after.clone().unwrap_or_else(|| super::BEHIND_ALL_IDS.to_owned());
    // Ids sort by time. After the clock was set back they run ahead of it, never behind, so only the earlier time
    // bounds the rows that are looked at.
    let from = filter.from.map(id::before).unwrap_or_default();
    let sql = if filter.tenant.is_some() { OF_TENANT } else { OF_ALL };
    let values = vec![
        filter.tenant.clone().into(),
        before.into(),
        from.into(),
        filter.actor.clone().into(),
        filter.action.clone().into(),
        filter.target.clone().into(),
        i64::from(page.limit).into(),
        filter.from.map_or(i64::MIN, Timestamp::micros).into(),
        filter.to.map_or(i64::MAX, Timestamp::micros).into(),
        filter.emails_of.clone().into(),
    ];
    let rows = database.rows(sql, values).await?;
    let entry = |row: &Row| -> Result<_, DatabaseError> {
        Ok(AuditEntry {
            id: row.get("id")?,
            at: time(row, "at")?.unwrap_or(Timestamp::from_micros(0)),
            tenant: row.get("tenant")?,
            actor: row.get("actor")?,
            actor_email: row.get("actor_email")?,
            action: row.get("action")?,
            target: row.get("target")?,
            detail: row.get("detail")?,
            request_id: row.get("request_id")?,
            ip: row.get("ip")?,
        })
    };
    Ok(rows.iter().map(entry).collect::<Result<_, _>>()?)
}

/// Deletes entries that are too old, in one transaction. Returns how many.
///
/// # Errors
///
/// The database cannot be reached, or refuses to delete one of them.
pub async fn delete_old(database: &Database, old: &OldRows) -> Result<u64, StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "DELETE FROM audit WHERE id IN \
               (SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2 OFFSET $3)";
    let deleted = transaction.run(sql, old.values_from(id::before(old.end).into())).await?;
    transaction.commit().await?;
    Ok(deleted)
}

/// Takes the name of a user out of all entries about a tenant, [`BATCH`] entries at a time. Returns how many
/// named the user.
///
/// # Errors
///
/// The database cannot be reached.
pub(crate) async fn forget_user(
    database: &Database,
    tenant: &str,
    user: &str,
) -> Result<u64, StoreError> {
    let (mut after, mut forgotten) = (String::new(), 0);
    loop {
        let sql = "SELECT id, target, detail FROM audit WHERE tenant = $1 AND id > $2 \
                   ORDER BY id LIMIT $3";
        let values = vec![tenant.into(), after.clone().into(), i64::from(BATCH).into()];
        let rows = database.rows(sql, values).await?;
        let mut changed = Vec::new();
        for row in &rows {
            after = row.get("id")?;
            let (target, detail): (String, String) = (row.get("target")?, row.get("detail")?);
            if target == user {
                // The detail may say more of the user, as the reason of a ban does.
                changed.push((after.clone(), FORGOTTEN.to_owned(), String::new()));
            } else if names(&detail, user) {
                changed.push((after.clone(), target, FORGOTTEN.to_owned()));
            }
        }
        if !changed.is_empty() {
            forgotten += changed.len() as u64;
            let mut transaction = database.begin().await?;
            for (id, target, detail) in changed {
                let sql = "UPDATE audit SET target = $2, detail = $3 WHERE id = $1";
                transaction.run(sql, vec![id.into(), target.into(), detail.into()]).await?;
            }
            transaction.commit().await?;
        }
        if rows.len() < BATCH as usize {
            return Ok(forgotten);
        }
    }
}

/// Whether a detail names a user: "room: user", perhaps with more behind a comma or in brackets.
fn names(detail: &str, user: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(", ") || rest.starts_with(" (");
    let behind = |(at, colon): (usize, &str)| {
        detail[at + colon.len()..].strip_prefix(user).is_some_and(ends)
    };
    detail.match_indices(": ").any(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_names_a_user_as_a_whole() {
        for (detail, is_named) in [
            ("lobby: ada", true),
            ("lobby: ada, banned for 5 s", true),
            ("lobby: ada (no answer in time: perhaps not done)", true),
            ("a: b: ada", true),
            ("lobby: adam", false),
            ("lobby: not ada", false),
            ("ada", false),
        ] {
            assert_eq!(names(detail, "ada"), is_named, "{detail}");
        }
        assert!(names("lobby: x: y, banned for 5 s", "x: y"));
    }
}
