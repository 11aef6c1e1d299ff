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
const STEP_1: &str = include_str!("../../src/database/migrations/0001_start.sql");
/// Names the database that a child of the test migrates.
const ADDRESS: &str = "NUCLEUS_TEST_MIGRATE";
/// Kills of one run.
const MOMENTS: u32 = 100;
/// Kills that must come before the end of the migration. A machine that is busy may miss some.
const WANTED: u32 = 25;

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

/// Returns all rows of schema 1.
async fn content(database: &Database) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, columns) in TABLES {
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

/// Makes the database of schema 1 with its data.
async fn fill(fresh: &Fresh) {
    match &fresh.address {
        DatabaseAddress::Sqlite(path) => {
            let url = format!("sqlite://{}?mode=rwc", path.display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            for sql in ["PRAGMA journal_mode = WAL", SCHEMA_1, DATA] {
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
            connection.close().await.unwrap();
        }
        DatabaseAddress::Postgres(options) => {
            let mut connection = PgConnection::connect_with(options).await.unwrap();
            let clean = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
            sqlx::raw_sql(clean).execute(&mut connection).await.unwrap();
            let kind = MigrationType::Simple;
            let step = Migration::new(1, "start".into(), kind, STEP_1.into_sql_str(), false);
            let migrator = Migrator::with_migrations(vec![step]);
            migrator.run_direct(None, &mut connection, false).await.unwrap();
            sqlx::raw_sql(DATA).execute(&mut connection).await.unwrap();
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

/// Removes what the last moment left, and makes the database of schema 1 again.
async fn again(fresh: &Fresh) {
    if let DatabaseAddress::Sqlite(path) = &fresh.address {
        for end in ["", "-wal", "-shm"] {
            let _absent = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }
    fill(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_migrates_starts_again_with_all_data() {
    for fresh in fresh().await {
        let kind = fresh.kind;
        // How long the whole migration takes, to spread the moments over it.
        let mut time = Duration::ZERO;
        for _ in 0..3 {
            again(&fresh).await;
            let (mut child, mut out) = start(&fresh);
            let begin = Instant::now();
            assert!(says(&mut out, "end"), "{kind}: the migration failed");
            time = time.max(begin.elapsed());
            child.wait().unwrap();
        }
        again(&fresh).await;
        let database = Database::open(&fresh.address);
        let (before, old) = (content(&database).await, schema(&database).await);
        assert!(before.len() >= 50 && old == 1, "{kind}: {} rows, schema {old}", before.len());
        database.close().await;
        let (mut killed, mut left_old) = (0, 0);
        for moment in 0..MOMENTS {
            again(&fresh).await;
            let (mut child, mut out) = start(&fresh);
            std::thread::sleep(time * moment / MOMENTS);
            child.kill().unwrap();
            child.wait().unwrap();
            killed += u32::from(!says(&mut out, "end"));

            let database = Database::open(&fresh.address);
            left_old += u32::from(schema(&database).await == old);
            let opened = database.migrate().await;
            assert!(opened.is_ok(), "{kind}, moment {moment} of {time:?}: {opened:?}");
            assert_eq!(content(&database).await, before, "{kind}, moment {moment} of {time:?}");
            let bans = database.rows("SELECT id FROM ban", vec![]).await;
            assert!(bans.is_ok_and(|bans| bans.is_empty()), "{kind}, moment {moment}");
            database.close().await;
        }
        // Shown by --nocapture, and with a failure.
        let counts =
            format!("{kind}: {killed} of {MOMENTS} killed in {time:?}, {left_old} at schema 1");
        std::io::stderr().write_all(format!("{counts}\n").as_bytes()).unwrap();
        assert!(killed >= WANTED && left_old > 0, "{counts}");
    }
}
