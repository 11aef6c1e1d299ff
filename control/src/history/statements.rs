//! The statements of lists of the history: one for each combination of filters, so that the database takes
//! the rows in their order from an index.

use std::sync::LazyLock;

/// Which of the filters are there that an index can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterKinds {
    /// `$1`, the id of the tenant.
    pub(super) tenant: bool,
    /// `$4`, the name of the tenant.
    pub(super) tenant_name: bool,
    /// `$5`, the user.
    pub(super) user: bool,
    /// `$6`, the room.
    pub(super) room: RoomFilter,
}

/// How a room is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoomFilter {
    /// Not at all.
    Any,
    /// By its id.
    Id,
    /// By its name.
    Name,
}

/// The statements of one table, by [`FilterKinds::index`].
pub(super) type Statements = LazyLock<Vec<String>>;

/// What differs between the tables.
struct ListedTable {
    name: &'static str,
    columns: &'static str,
    of_user: &'static str,
    room_name: &'static str,
    begun: &'static str,
}

pub(super) static ROOMS: Statements = LazyLock::new(|| {
    all(&ListedTable {
        name: "room_history",
        columns: "*",
        // From the user's few sessions to their rooms, not from every room to its sessions.
        of_user: "room IN (SELECT visit.room FROM session_history AS visit WHERE visit.user_id = $5)",
        room_name: "name",
        begun: "started_at",
    })
});

/// The columns of a session without the moments, which have up to 4 KB.
const SESSION_COLUMNS: &str = "id, peer, room, tenant, tenant_name, product, room_name, user_id, name, role, \
    joined_at, left_at, code, resumes, fallback_ms, rtt_p50_us, rtt_p95_us, loss_ppm, withheld, bytes_in, bytes_out";

/// `$1` is the id of a room, `$2` the tenant, `$3` the most rows.
pub(super) static ENDED_IN_ROOM: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {SESSION_COLUMNS} FROM session_history WHERE room = $1 AND left_at IS NOT NULL \
         AND ($2 IS NULL OR tenant = $2) ORDER BY left_at DESC, id DESC LIMIT $3"
    )
});

/// `$1` and `$4` are the times between which the ends are, `$2` the tenant, `$3` the most rows, `$5` the code.
pub(super) static ENDED_BETWEEN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {SESSION_COLUMNS} FROM session_history WHERE left_at >= $1 AND left_at < $4 \
         AND ($2 IS NULL OR tenant = $2) AND ($5 IS NULL OR code = $5) \
         ORDER BY left_at DESC, id DESC LIMIT $3"
    )
});

pub(super) static SESSIONS: Statements = LazyLock::new(|| {
    all(&ListedTable {
        name: "session_history",
        columns: SESSION_COLUMNS,
        of_user: "user_id = $5",
        room_name: "room_name",
        begun: "joined_at",
    })
});

/// Calls have no room: the statements with one are never asked for.
pub(super) static CALLS: Statements = LazyLock::new(|| {
    all(&ListedTable {
        name: "call_history",
        columns: "*",
        of_user: "call IN (SELECT party.call FROM call_party AS party WHERE party.user_id = $5)",
        room_name: "call",
        begun: "started_at",
    })
});

impl FilterKinds {
    /// Every combination, in the order of [`index`](Self::index).
    fn all() -> impl Iterator<Item = Self> {
        let rooms = [RoomFilter::Any, RoomFilter::Id, RoomFilter::Name];
        (0..8 * rooms.len()).map(move |index| Self {
            tenant: index & 1 > 0,
            tenant_name: index & 2 > 0,
            user: index & 4 > 0,
            room: rooms[index / 8],
        })
    }

    fn index(self) -> usize {
        let Self { tenant, tenant_name, user, room } = self;
        usize::from(tenant)
            + 2 * usize::from(tenant_name)
            + 4 * usize::from(user)
            + 8 * room as usize
    }

    /// Returns the statement of a combination.
    pub(super) fn of(self, statements: &'static Statements) -> &'static str {
        &statements[self.index()]
    }
}

fn all(table: &ListedTable) -> Vec<String> {
    FilterKinds::all().map(|kinds| statement(table, kinds)).collect()
}

/// `$2` and `$9` are the ids between which the rows are, `$3` the most rows, `$7` and `$8` the times.
fn statement(table: &ListedTable, kinds: FilterKinds) -> String {
    let ListedTable { name, columns, of_user, room_name, begun } = table;
    // The rooms and calls of one user are few: they are found by the user alone, and sorted. An expression in
    // place of a column keeps the database from another way.
    let is_sorted = kinds.user && *name != "session_history";
    let column = |name: &str| if is_sorted { format!("{name} || ''") } else { name.to_owned() };
    let id = column("id");
    let mut sql = format!("SELECT {columns} FROM {name} WHERE {id} >= $9 AND {id} < $2");
    if kinds.tenant {
        sql = format!("{sql} AND {} = $1", column("tenant"));
    }
    if kinds.tenant_name {
        sql = format!("{sql} AND {} = $4", column("tenant_name"));
    }
    if kinds.user {
        sql = format!("{sql} AND {of_user}");
    }
    match kinds.room {
        RoomFilter::Any => {}
        RoomFilter::Id => sql = format!("{sql} AND {} = $6", column("room")),
        RoomFilter::Name => sql = format!("{sql} AND {} = $6", column(room_name)),
    }
    format!(
        "{sql} AND ($7 IS NULL OR {begun} >= $7) AND ($8 IS NULL OR {begun} < $8) \
         ORDER BY id DESC LIMIT $3"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, DatabaseAddress, Value};

    fn values() -> Vec<Value> {
        let text = || Value::from("a");
        let number = || Value::from(1_i64);
        let page = [text(), text(), number(), text(), text(), text(), number(), number(), text()];
        page.to_vec()
    }

    fn values_of_ends(count: usize) -> Vec<Value> {
        let first = if count == 3 { Value::from("a") } else { Value::from(1_i64) };
        let all = [first, Value::from("a"), 1_i64.into(), 2_i64.into(), Value::from("a")];
        all[..count].to_vec()
    }

    /// No list reads a whole table, and none sorts but the rooms or the calls of one user.
    #[tokio::test]
    async fn every_list_takes_its_rows_from_an_index_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let address = DatabaseAddress::Sqlite(dir.path().join("nucleus.db"));
        let database = Database::open(&address);
        database.migrate().await.unwrap();
        let mut checked = 0;
        for (table, statements) in [("rooms", &ROOMS), ("sessions", &SESSIONS), ("calls", &CALLS)] {
            for (index, kinds) in FilterKinds::all().enumerate() {
                assert_eq!(kinds.index(), index);
                if table == "calls" && kinds.room != RoomFilter::Any {
                    continue;
                }
                let sql = kinds.of(statements);
                let explain = format!("EXPLAIN QUERY PLAN {sql}").leak();
                let rows = database.rows(explain, values()).await.unwrap();
                let plan: Vec<String> = rows.iter().map(|row| row.get("detail").unwrap()).collect();
                let plan = plan.join("; ");
                assert!(!plan.contains("SCAN"), "{table} {kinds:?}: {plan}");
                let of_user = kinds.user && table != "sessions";
                assert_eq!(plan.contains("TEMP B-TREE"), of_user, "{table} {kinds:?}: {plan}");
                if of_user {
                    assert!(plan.contains("_of_user"), "{table} {kinds:?}: {plan}");
                }
                checked += 1;
            }
        }
        assert_eq!(checked, 24 + 24 + 8);
        for (sql, values) in [(&*ENDED_IN_ROOM, 3), (&*ENDED_BETWEEN, 5)] {
            let explain = format!("EXPLAIN QUERY PLAN {sql}").leak();
            let rows = database.rows(explain, values_of_ends(values)).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail").unwrap()).collect();
            let plan = plan.join("; ");
            assert!(plan.contains("_end (") && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
        }
    }
}
