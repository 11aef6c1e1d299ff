//! Reads the history.

use serde::Serialize;
use utoipa::ToSchema;

use super::statements::{self, FilterKinds, RoomFilter, Statements};
use crate::database::{Database, DatabaseError, Row, Value};
use crate::id;
use crate::room_id::RoomAddress;
use crate::store::{BEHIND_ALL_IDS, PageRequest, json_list, time};
use crate::timestamp::Timestamp;

/// Most sessions that a search by a part of a name looks at: with pages of [`LOOK_PAGE`] some tenths of a
/// second, and no index would help.
const LOOKED_AT: usize = 20_000;
/// Sessions that such a search reads at a time: half a megabyte.
const LOOK_PAGE: u32 = 1_000;

/// Which rows of the history are wanted.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// The id of the tenant to which the caller is limited; `None`: none.
    pub tenant: Option<String>,
    /// The name of a tenant.
    pub tenant_name: Option<String>,
    /// A user: who was there, called, or was called.
    pub user: Option<String>,
    /// A part of the display name or of the user id, in any case: of sessions alone.
    pub name: Option<String>,
    /// The id or the name of a room.
    pub room: Option<String>,
    /// Begun at this time or later.
    pub from: Option<Timestamp>,
    /// Begun before this time.
    pub to: Option<Timestamp>,
}

impl HistoryFilter {
    /// Returns the values of `$1` to `$9`.
    fn values(&self, page: &PageRequest) -> Vec<Value> {
        let before = page.after.clone().unwrap_or_else(|| BEHIND_ALL_IDS.to_owned());
        // A row is made when something begins, or later.
        let first = self.from.map(id::before).unwrap_or_default();
        vec![
            self.tenant.clone().into(),
            before.into(),
            i64::from(page.limit).into(),
            self.tenant_name.clone().into(),
            self.user.clone().into(),
            self.room.clone().into(),
            self.from.map(Timestamp::micros).into(),
            self.to.map(Timestamp::micros).into(),
            first.into(),
        ]
    }

    /// What a text of the filter may be that names a room. A name may look like an id.
    fn rooms(&self) -> &'static [RoomFilter] {
        match &self.room {
            None => &[RoomFilter::Any],
            Some(room) if room.parse::<RoomAddress>().is_ok() => {
                &[RoomFilter::Id, RoomFilter::Name]
            }
            Some(_) => &[RoomFilter::Name],
        }
    }

    /// Returns the rows of a page, the newest first.
    async fn list(
        &self,
        database: &Database,
        statements: &'static Statements,
        rooms: &[RoomFilter],
        page: &PageRequest,
    ) -> Result<Vec<Row>, DatabaseError> {
        let mut found = Vec::new();
        for room in rooms {
            let kinds = FilterKinds {
                tenant: self.tenant.is_some(),
                tenant_name: self.tenant_name.is_some(),
                user: self.user.is_some(),
                room: *room,
            };
            let rows = database.rows(kinds.of(statements), self.values(page)).await?;
            for row in rows {
                found.push((row.get::<String>("id")?, row));
            }
        }
        if rooms.len() > 1 {
            found.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
            found.dedup_by(|(one, _), (other, _)| one == other);
            found.truncate(page.limit as usize);
        }
        Ok(found.into_iter().map(|(_, row)| row).collect())
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
    /// The id of the tenant; null: it was not in the database.
    pub tenant_id: Option<String>,
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
    /// The median round trip of the session, in microseconds, within an eighth. QUIC measures it in the
    /// server: over UDP 5056 it may be another one.
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
    let rows = filter.list(database, &statements::ROOMS, filter.rooms(), page).await?;
    rows.iter().map(room).collect()
}

/// Returns sessions, those that joined last first. With [`HistoryFilter::name`], only the newest 20,000 that the
/// other filters leave behind the cursor are looked at.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn sessions(
    database: &Database,
    filter: &HistoryFilter,
    page: &PageRequest,
) -> Result<Vec<PastSession>, DatabaseError> {
    let Some(name) = &filter.name else {
        let rows = filter.list(database, &statements::SESSIONS, filter.rooms(), page).await?;
        return rows.iter().map(past_session).collect();
    };
    let (wanted, mut found) = (name.to_lowercase(), Vec::new());
    let mut looked = PageRequest { after: page.after.clone(), limit: LOOK_PAGE };
    for _ in 0..LOOKED_AT / LOOK_PAGE as usize {
        let rows = filter.list(database, &statements::SESSIONS, filter.rooms(), &looked).await?;
        for row in &rows {
            let session = past_session(row)?;
            looked.after = Some(session.id.clone());
            let has = |text: &str| text.to_lowercase().contains(&wanted);
            if has(&session.name) || has(&session.user) {
                found.push(session);
            }
            if found.len() >= page.limit as usize {
                return Ok(found);
            }
        }
        if rows.len() < LOOK_PAGE as usize {
            break;
        }
    }
    Ok(found)
}

/// Which sessions that have ended are wanted.
#[derive(Clone, Debug)]
pub(crate) enum EndedWhere {
    /// Those of a room.
    InRoom(RoomAddress),
    /// Those that ended at a time from `from` on and before `to`, with a code or with any.
    Between { from: Timestamp, to: Timestamp, code: Option<String> },
}

/// Returns sessions that have ended, those that ended last first: of a tenant; `None`: of any.
///
/// # Errors
///
/// The database cannot be reached.
pub(crate) async fn ended_sessions(
    database: &Database,
    wanted: EndedWhere,
    tenant: Option<&str>,
    limit: u32,
) -> Result<Vec<PastSession>, DatabaseError> {
    let (tenant, limit) = (Value::from(tenant.map(str::to_owned)), Value::from(i64::from(limit)));
    let rows = match wanted {
        EndedWhere::InRoom(room) => {
            let values = vec![room.to_string().into(), tenant, limit];
            database.rows(&statements::ENDED_IN_ROOM, values).await?
        }
        EndedWhere::Between { from, to, code } => {
            let values = vec![from.micros().into(), tenant, limit, to.micros().into(), code.into()];
            database.rows(&statements::ENDED_BETWEEN, values).await?
        }
    };
    rows.iter().map(past_session).collect()
}

/// Reads a session.
pub(super) fn past_session(row: &Row) -> Result<PastSession, DatabaseError> {
    Ok(PastSession {
        id: row.get("id")?,
        peer: row.get("peer")?,
        room: row.get("room")?,
        tenant: row.get("tenant_name")?,
        tenant_id: row.get("tenant")?,
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
    let rows = filter.list(database, &statements::CALLS, &[RoomFilter::Any], page).await?;
    rows.iter().map(call).collect()
}
