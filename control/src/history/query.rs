//! Reads the history, and deletes what is too old or belongs to a user who must be forgotten.

use serde::Serialize;
use utoipa::ToSchema;

use crate::database::{Database, DatabaseError, DatabaseTransaction, Row, Value};
use crate::store::{BEHIND_ALL_IDS, PageRequest, json_list, time};
use crate::timestamp::Timestamp;

/// Rows of a table that are deleted together: some ten milliseconds, for which no one else can write to
/// SQLite.
const BATCH: u32 = 1_000;

/// Which rows of the history are wanted.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// The id of the tenant to which the caller is limited; `None`: none.
    pub tenant: Option<String>,
    /// The name of a tenant.
    pub tenant_name: Option<String>,
    /// A user: who was there, called, or was called.
    pub user: Option<String>,
    /// The id or the name of a room.
    pub room: Option<String>,
    /// Begun at this time or later.
    pub from: Option<Timestamp>,
    /// Begun before this time.
    pub to: Option<Timestamp>,
}

impl HistoryFilter {
    /// Returns the values of `$1` to `$8`.
    fn values(&self, page: &PageRequest) -> Vec<Value> {
        let before = page.after.clone().unwrap_or_else(|| BEHIND_ALL_IDS.to_owned());
        vec![
            self.tenant.clone().into(),
            before.into(),
            i64::from(page.limit).into(),
            self.tenant_name.clone().into(),
            self.user.clone().into(),
            self.room.clone().into(),
            self.from.map(Timestamp::micros).into(),
            self.to.map(Timestamp::micros).into(),
        ]
    }
}

/// A room that there is or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PastRoom {
    /// The id of the row.
    pub id: String,
    /// The room's id, as in `rooms/{id}`.
    pub room: String,
    /// The tenant's name.
    pub tenant: String,
    /// The product.
    pub product: String,
    /// The name that clients joined by.
    pub name: String,
    /// When the room began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When the room ended; absent: it goes on, or the server was killed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Joins, without resumes; known at the end.
    pub joins: Option<u64>,
    /// Most participants at a time; known at the end.
    pub most_peers: Option<u32>,
}

/// A participant of a room, over all its resumes. What was not measured is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PastSession {
    /// The id of the row.
    pub id: String,
    /// The peer's id, as in `peers/{id}`.
    pub peer: String,
    /// The room's id.
    pub room: String,
    /// The tenant's name.
    pub tenant: String,
    /// The product.
    pub product: String,
    /// The name of the room.
    pub room_name: String,
    /// The user id.
    pub user: String,
    /// The display name.
    pub name: String,
    /// The role.
    pub role: String,
    /// When the participant joined.
    #[schema(value_type = String, format = DateTime)]
    pub joined_at: Timestamp,
    /// When the participant left for good; absent: it is there, or the server was killed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub left_at: Option<Timestamp>,
    /// Why it ended, as in the protocol: `left`, `timed_out` and others.
    pub code: Option<String>,
    /// How often the participant has resumed.
    pub resumes: Option<u32>,
    /// How long the realtime messages went through QUIC instead of UDP 5056, in milliseconds.
    pub fallback_ms: Option<u64>,
    /// The median round trip, in microseconds.
    pub rtt_p50_us: Option<u64>,
    /// The round trip that 95 of 100 measurements do not exceed, in microseconds.
    pub rtt_p95_us: Option<u64>,
    /// Lost datagrams of the client, in parts per million.
    pub loss_ppm: Option<u32>,
    /// Messages that were not sent because the receiver's budget was used up.
    pub withheld: Option<u64>,
    /// Bytes of realtime datagrams from the client.
    pub bytes_in: Option<u64>,
    /// Bytes of realtime datagrams to the client.
    pub bytes_out: Option<u64>,
}

/// A call that there is or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PastCall {
    /// The id of the row.
    pub id: String,
    /// The call's id: 16 hexadecimal digits.
    pub call: String,
    /// The tenant's name.
    pub tenant: String,
    /// The product.
    pub product: String,
    /// The user id of who called; empty: the user's data was deleted.
    pub caller: String,
    /// When the call began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When the call ended; absent: it goes on, or the server was killed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// The time from the first acceptance to the end, in milliseconds; absent: nobody has accepted.
    pub talked_ms: Option<u64>,
    /// The user ids of all who were members, the caller first.
    pub members: Vec<String>,
    /// The user ids of those who were called and never became members.
    pub missed: Vec<String>,
}

/// Returns rooms, those that began last first.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn rooms(
    database: &Database,
    filter: &HistoryFilter,
    page: &PageRequest,
) -> Result<Vec<PastRoom>, DatabaseError> {
    let sql = "SELECT * FROM room_history WHERE ($1 IS NULL OR tenant = $1) AND id < $2 \
               AND ($4 IS NULL OR tenant_name = $4) \
               AND ($5 IS NULL OR EXISTS (SELECT 1 FROM session_history \
               WHERE session_history.room = room_history.room AND session_history.user_id = $5)) \
               AND ($6 IS NULL OR room = $6 OR name = $6) \
               AND ($7 IS NULL OR started_at >= $7) AND ($8 IS NULL OR started_at < $8) \
               ORDER BY id DESC LIMIT $3";
    let room = |row: &Row| {
        Ok(PastRoom {
            id: row.get("id")?,
            room: row.get("room")?,
            tenant: row.get("tenant_name")?,
            product: row.get("product")?,
            name: row.get("name")?,
            started_at: Timestamp::from_micros(row.get("started_at")?),
            ended_at: time(row, "ended_at")?,
            joins: row.number("joins")?,
            most_peers: row.number("most_peers")?,
        })
    };
    database.rows(sql, filter.values(page)).await?.iter().map(room).collect()
}

/// Returns sessions, those that joined last first.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn sessions(
    database: &Database,
    filter: &HistoryFilter,
    page: &PageRequest,
) -> Result<Vec<PastSession>, DatabaseError> {
    let sql = "SELECT * FROM session_history WHERE ($1 IS NULL OR tenant = $1) AND id < $2 \
               AND ($4 IS NULL OR tenant_name = $4) AND ($5 IS NULL OR user_id = $5) \
               AND ($6 IS NULL OR room = $6 OR room_name = $6) \
               AND ($7 IS NULL OR joined_at >= $7) AND ($8 IS NULL OR joined_at < $8) \
               ORDER BY id DESC LIMIT $3";
    let session = |row: &Row| {
        Ok(PastSession {
            id: row.get("id")?,
            peer: row.get("peer")?,
            room: row.get("room")?,
            tenant: row.get("tenant_name")?,
            product: row.get("product")?,
            room_name: row.get("room_name")?,
            user: row.get("user_id")?,
            name: row.get("name")?,
            role: row.get("role")?,
            joined_at: Timestamp::from_micros(row.get("joined_at")?),
            left_at: time(row, "left_at")?,
            code: row.get("code")?,
            resumes: row.number("resumes")?,
            fallback_ms: row.number("fallback_ms")?,
            rtt_p50_us: row.number("rtt_p50_us")?,
            rtt_p95_us: row.number("rtt_p95_us")?,
            loss_ppm: row.number("loss_ppm")?,
            withheld: row.number("withheld")?,
            bytes_in: row.number("bytes_in")?,
            bytes_out: row.number("bytes_out")?,
        })
    };
    database.rows(sql, filter.values(page)).await?.iter().map(session).collect()
}

/// Returns calls, those that began last first. A filter by room is ignored.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn calls(
    database: &Database,
    filter: &HistoryFilter,
    page: &PageRequest,
) -> Result<Vec<PastCall>, DatabaseError> {
    let sql = "SELECT * FROM call_history WHERE ($1 IS NULL OR tenant = $1) AND id < $2 \
               AND ($4 IS NULL OR tenant_name = $4) \
               AND ($5 IS NULL OR EXISTS (SELECT 1 FROM call_party \
               WHERE call_party.call = call_history.call AND call_party.user_id = $5)) \
               AND ($6 IS NULL OR $6 = $6) \
               AND ($7 IS NULL OR started_at >= $7) AND ($8 IS NULL OR started_at < $8) \
               ORDER BY id DESC LIMIT $3";
    let call = |row: &Row| {
        Ok(PastCall {
            id: row.get("id")?,
            call: row.get("call")?,
            tenant: row.get("tenant_name")?,
            product: row.get("product")?,
            caller: row.get("caller")?,
            started_at: Timestamp::from_micros(row.get("started_at")?),
            ended_at: time(row, "ended_at")?,
            talked_ms: row.number("talked_ms")?,
            members: json_list(row, "members")?,
            missed: json_list(row, "missed")?,
        })
    };
    database.rows(sql, filter.values(page)).await?.iter().map(call).collect()
}

/// Deletes what the history says of a user of a tenant. Calls stay without the user's name. Events of
/// the user that wait in the spool at this moment are not deleted. Returns the number of sessions that
/// were deleted.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn forget(
    transaction: &mut DatabaseTransaction,
    tenant_name: &str,
    user: &str,
) -> Result<u64, DatabaseError> {
    let of_user = || vec![tenant_name.into(), user.into()];
    let sql = "SELECT call_history.call AS call, caller, members, missed FROM call_history \
               JOIN call_party ON call_party.call = call_history.call \
               WHERE call_party.tenant_name = $1 AND call_party.user_id = $2";
    for row in transaction.rows(sql, of_user()).await? {
        let caller: String = row.get("caller")?;
        let without = |list| -> Result<String, DatabaseError> {
            let mut names = json_list(&row, list)?;
            names.retain(|name| name != user);
            Ok(serde_json::Value::from(names).to_string())
        };
        let values = vec![
            row.get::<String>("call")?.into(),
            Some(caller).filter(|caller| caller != user).unwrap_or_default().into(),
            without("members")?.into(),
            without("missed")?.into(),
        ];
        let sql = "UPDATE call_history SET caller = $2, members = $3, missed = $4 WHERE call = $1";
        transaction.run(sql, values).await?;
    }
    let sql = "DELETE FROM call_party WHERE tenant_name = $1 AND user_id = $2";
    transaction.run(sql, of_user()).await?;
    let sql = "DELETE FROM session_history WHERE tenant_name = $1 AND user_id = $2";
    transaction.run(sql, of_user()).await
}

/// Deletes a batch of the rows of each table that began before a time. Returns whether there may be more.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn delete_before(database: &Database, time: Timestamp) -> Result<bool, DatabaseError> {
    let mut transaction = database.begin().await?;
    let mut more = false;
    for (sql, counts) in [
        (
            "DELETE FROM call_party WHERE call IN (SELECT call FROM call_history \
             WHERE started_at < $1 ORDER BY started_at, id LIMIT $2)",
            false,
        ),
        (
            "DELETE FROM call_history WHERE id IN (SELECT id FROM call_history \
             WHERE started_at < $1 ORDER BY started_at, id LIMIT $2)",
            true,
        ),
        (
            "DELETE FROM session_history WHERE id IN (SELECT id FROM session_history \
             WHERE joined_at < $1 ORDER BY joined_at, id LIMIT $2)",
            true,
        ),
        (
            "DELETE FROM room_history WHERE id IN (SELECT id FROM room_history \
             WHERE started_at < $1 ORDER BY started_at, id LIMIT $2)",
            true,
        ),
    ] {
        let values = vec![time.micros().into(), i64::from(BATCH).into()];
        let deleted = transaction.run(sql, values).await?;
        more |= counts && deleted >= u64::from(BATCH);
    }
    transaction.commit().await?;
    Ok(more)
}
