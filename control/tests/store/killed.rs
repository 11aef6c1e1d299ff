//! A server that is killed (SIGKILL) while it migrates a database with data of the schema before.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nucleus_control::database::{Database, DatabaseAddress};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr, SqliteConnection};

use crate::databases::open;
use crate::fresh::{Fresh, fresh};

const SCHEMA_1: &str = include_str!("fixtures/schema_1.sql");
const DATA: &str = include_str!("fixtures/schema_1_data.sql");
const DATA_4: &str = include_str!("fixtures/schema_4_data.sql");
const STEPS: [(&str, &str); 4] = [
    ("start", include_str!("../../src/database/migrations/0001_start.sql")),
    ("bans", include_str!("../../src/database/migrations/0002_bans.sql")),
    ("history", include_str!("../../src/database/migrations/0003_history.sql")),
    ("webhooks", include_str!("../../src/database/migrations/0004_webhooks.sql")),
];
/// Names the database that a child of the test migrates.
const ADDRESS: &str = "NUCLEUS_TEST_MIGRATE";

/// A schema from which servers of the field come.
struct OldSchema {
    number: i64,
    tables: &'static [(&'static str, &'static [&'static str])],
    /// Kills of one run.
    moments: u32,
    /// Kills that must come before the end of the migration. A machine that is busy may miss some.
    wanted: u32,
}

const OLD_SCHEMAS: [OldSchema; 2] = [
    OldSchema { number: 1, tables: &TABLES, moments: 100, wanted: 25 },
    OldSchema { number: 4, tables: &TABLES_4, moments: 40, wanted: 8 },
];

/// The columns of tables that schema 4 has beside those of schema 1.
const TABLES_4: [(&str, &[&str]); 5] = [
    ("tenant", &["id", "name", "active"]),
    ("room_history", &["id", "room", "tenant_name", "name", "started_at", "ended_at", "joins"]),
    ("session_history", &["id", "peer", "room", "user_id", "joined_at", "left_at", "rtt_p50_us"]),
    ("webhook", &["id", "tenant", "name", "url", "events", "signer", "off_reason", "created_at"]),
    ("webhook_delivery", &["id", "webhook", "event", "body", "tries", "next_at", "delivered_at"]),
];

/// The columns of each table of schema 1, as one text for each row.
const TABLES: [(&str, &[&str]); 6] = [
    ("meta", &["name", "value"]),
    (
        "tenant",
        &[
            "id",
            "name",
            "products",
            "starts_at",
            "ends_at",
            "max_sessions",
            "max_rooms",
            "max_kept_rooms",
            "active",
            "created_at",
        ],
    ),
    (
        "api_key",
        &[
            "id",
            "tenant",
            "name",
            "hash",
            "scopes",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
        ],
    ),
    (
        "issuer",
        &[
            "id",
            "tenant",
            "name",
            "alg",
            "kid",
            "public_key",
            "jwks_url",
            "audience",
            "keys",
            "keys_at",
            "created_at",
        ],
    ),
    ("audit", &["id", "at", "tenant", "actor", "action", "target", "detail", "request_id", "ip"]),
    ("kept_answer", &["key_hash", "at", "request", "answer"]),
];

/// Returns all rows of the old schema.
async fn content(database: &Database, old: &OldSchema) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, columns) in old.tables {
        let columns: Vec<_> =
            columns.iter().map(|name| format!("COALESCE(CAST({name} AS TEXT), 'NULL')")).collect();
        let row = columns.join(" || '|' || ");
        // One statement for each table, as often as the test asks.
        let sql = format!("SELECT {row} AS content FROM {table} ORDER BY content").leak();
        for row in database.rows(sql, vec![]).await.unwrap() {
            rows.push(format!("{table}: {}", row.get::<String>("content").unwrap()));
        }
    }
    rows
}

async fn schema(database: &Database) -> i64 {
    let sql = "SELECT MAX(version) AS version FROM _sqlx_migrations";
    database.rows(sql, vec![]).await.unwrap()[0].get("version").unwrap()
}

/// The steps up to a schema.
fn steps(schema: i64) -> Migrator {
    let steps = (1..=schema).zip(STEPS).map(|(number, (name, sql))| {
        Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(steps.collect())
}

/// Makes the database of an old schema with its data.
async fn fill(fresh: &Fresh, old: &OldSchema) {
    let data: &[&str] = if old.number == 1 { &[DATA] } else { &[DATA, DATA_4] };
    match &fresh.address {
        DatabaseAddress::Sqlite(path) => {
            let url = format!("sqlite://{}?mode=rwc", path.display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut connection).await.unwrap();
            if old.number == 1 {
                // As a server of that time has left it.
                sqlx::raw_sql(SCHEMA_1).execute(&mut connection).await.unwrap();
            } else {
                steps(old.number).run_direct(None, &mut connection, false).await.unwrap();
            }
            for sql in data {
                sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
            }
            connection.close().await.unwrap();
        }
        DatabaseAddress::Postgres(options) => {
            let mut connection = PgConnection::connect_with(options).await.unwrap();
            let clean = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
            sqlx::raw_sql(clean).execute(&mut connection).await.unwrap();
            steps(old.number).run_direct(None, &mut connection, false).await.unwrap();
            for sql in data {
                sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
            }
            connection.close().await.unwrap();
        }
    }
}

/// Not a test: the process that the test below kills.
#[tokio::test]
async fn child_migrates() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let address = match address.parse() {
        Ok(address) => address,
        Err(_) => DatabaseAddress::Sqlite(Path::new(&address).to_owned()),
    };
    let say = |text: &str| {
        let mut out = std::io::stdout();
        out.write_all(text.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    say("\nbegin\n");
    open(&address).await.unwrap();
    say("\nend\n");
}

/// Starts a child, and waits until it begins to migrate.
fn start(fresh: &Fresh) -> (Child, BufReader<std::process::ChildStdout>) {
    let address = match &fresh.address {
        DatabaseAddress::Sqlite(path) => path.display().to_string(),
        DatabaseAddress::Postgres(options) => format!(
            "postgres://{}@{}:{}/{}",
            options.get_username(),
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap()
        ),
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["killed::child_migrates", "--exact", "--nocapture"])
        .env(ADDRESS, address)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    assert!(says(&mut out, "begin"));
    (child, out)
}

/// Reads lines until one is `text`. Returns false if there is none.
fn says(out: &mut impl BufRead, text: &str) -> bool {
    out.lines().map_while(Result::ok).any(|line| line == text)
}

/// Removes what the last moment left, and makes the database of the old schema again.
async fn again(fresh: &Fresh, old: &OldSchema) {
    if let DatabaseAddress::Sqlite(path) = &fresh.address {
        for end in ["", "-wal", "-shm"] {
            let _absent = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }
    fill(fresh, old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_migrates_starts_again_with_all_data() {
    for fresh in fresh().await {
        for old in &OLD_SCHEMAS {
            kill_at_all_moments(&fresh, old).await;
        }
    }
}

async fn kill_at_all_moments(fresh: &Fresh, old: &OldSchema) {
    let (kind, moments) = (format!("{} of schema {}", fresh.kind, old.number), old.moments);
    // How long the whole migration takes, to spread the moments over it.
    let mut time = Duration::ZERO;
    for _ in 0..3 {
        again(fresh, old).await;
        let (mut child, mut out) = start(fresh);
        let begin = Instant::now();
        assert!(says(&mut out, "end"), "{kind}: the migration failed");
        time = time.max(begin.elapsed());
        child.wait().unwrap();
    }
    again(fresh, old).await;
    let database = Database::open(&fresh.address);
    let (before, number) = (content(&database, old).await, schema(&database).await);
    assert!(before.len() >= 50, "{kind}: {} rows", before.len());
    assert_eq!(number, old.number, "{kind}");
    database.close().await;
    let (mut killed, mut left_old) = (0, 0);
    for moment in 0..moments {
        again(fresh, old).await;
        let (mut child, mut out) = start(fresh);
        std::thread::sleep(time * moment / moments);
        child.kill().unwrap();
        child.wait().unwrap();
        killed += u32::from(!says(&mut out, "end"));

        let database = Database::open(&fresh.address);
        left_old += u32::from(schema(&database).await == old.number);
        let opened = database.migrate().await;
        assert!(opened.is_ok(), "{kind}, moment {moment} of {time:?}: {opened:?}");
        assert_eq!(content(&database, old).await, before, "{kind}, moment {moment} of {time:?}");
        let sql =
            "SELECT id FROM ban UNION ALL SELECT id FROM webhook WHERE deleted_at IS NOT NULL";
        let new = database.rows(sql, vec![]).await;
        assert!(new.is_ok_and(|new| new.is_empty()), "{kind}, moment {moment}");
        database.close().await;
    }
    // Shown by --nocapture, and with a failure.
    let counts = format!("{kind}: {killed} of {moments} killed in {time:?}, {left_old} left old");
    std::io::stderr().write_all(format!("{counts}\n").as_bytes()).unwrap();
    assert!(killed >= old.wanted && left_old > 0, "{counts}");
}
