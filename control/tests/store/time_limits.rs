//! Statements that hang, connections that are dead, and requests that are given up.

use std::time::{Duration, Instant};

use nucleus_control::Timestamp;
use nucleus_control::database::{Database, DatabaseAddress};
use nucleus_control::store::{AuditedChange, tenants};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::databases::{actor, databases, page};
use crate::fresh::Fresh;
use crate::tenants::named;

/// Connections of a pool.
const CONNECTIONS: usize = 4;
/// Longest time of a statement, with some for a machine that is busy.
const ENDS: Duration = Duration::from_secs(8);

/// A statement that does not end.
fn endless(fresh: &Fresh) -> &'static str {
    match fresh.kind {
        "SQLite" => {
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number) \
             SELECT COUNT(*) FROM number"
        }
        _ => "SELECT 1 FROM pg_sleep(1000)",
    }
}

async fn works(database: &Database, kind: &str) {
    let actor = actor();
    let name = format!("works {}", Timestamp::now().micros());
    let change = async {
        let mut change = AuditedChange::begin(database, &actor, Timestamp::now()).await?;
        tenants::create(&mut change, &named(&name)).await?;
        change.commit().await
    };
    timeout(ENDS, change).await.expect(kind).expect(kind);
    timeout(ENDS, tenants::list(database, None, &page(None, 10))).await.expect(kind).expect(kind);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_does_not_end_is_ended_and_holds_no_connection() {
    for (fresh, database) in databases().await {
        let mut hanging = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (database, sql) = (database.clone(), endless(&fresh));
            hanging.spawn(async move { timeout(ENDS, database.rows(sql, vec![])).await });
        }
        while let Some(ended) = hanging.join_next().await {
            assert!(matches!(ended, Ok(Ok(Err(_)))), "{}: {ended:?}", fresh.kind);
        }
        works(&database, fresh.kind).await;

        let mut change = database.begin().await.unwrap();
        change.run("DELETE FROM tenant", vec![]).await.unwrap();
        let ended = timeout(ENDS, change.rows(endless(&fresh), vec![])).await;
        assert!(matches!(ended, Ok(Err(_))), "{}: {ended:?}", fresh.kind);
        drop(change);
        works(&database, fresh.kind).await;
        let tenants = tenants::list(&database, None, &page(None, 10)).await.unwrap();
        assert_eq!(tenants.len(), 2, "{}: the deletion is undone", fresh.kind);
    }
}

/// Another server, or a person at the database, holds the lock that a change needs.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_ends_the_wait_and_holds_no_connection() {
    for (fresh, database) in databases().await {
        let other = Database::open(&fresh.address);
        let mut lock = other.begin().await.unwrap();
        if fresh.kind == "PostgreSQL" {
            lock.run("LOCK TABLE tenant IN ACCESS EXCLUSIVE MODE", vec![]).await.unwrap();
        }
        let changes = async {
            for _ in 0..2 {
                let actor = actor();
                let mut change = AuditedChange::begin(&database, &actor, Timestamp::now()).await?;
                tenants::create(&mut change, &named("waits")).await?;
            }
            Ok::<_, nucleus_control::store::StoreError>(())
        };
        let ended = timeout(ENDS, changes).await;
        assert!(matches!(ended, Ok(Err(_))), "{}: {ended:?}", fresh.kind);
        drop(lock);
        works(&database, fresh.kind).await;
    }
}

/// As many requests as there are connections are given up while they wait. The next one must not wait for
/// what they waited for.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_given_up_hold_no_connection() {
    for (fresh, database) in databases().await {
        let mut given_up = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (database, sql) = (database.clone(), endless(&fresh));
            given_up.spawn(async move {
                timeout(Duration::from_millis(300), database.rows(sql, vec![])).await
            });
        }
        while let Some(ended) = given_up.join_next().await {
            assert!(matches!(ended, Ok(Err(_))), "{}: {ended:?}", fresh.kind);
        }
        let start = Instant::now();
        let read = timeout(ENDS, tenants::list(&database, None, &page(None, 10))).await;
        assert!(matches!(read, Ok(Ok(_))), "{}: {read:?}", fresh.kind);
        assert!(start.elapsed() < Duration::from_secs(3), "{}: {start:?}", fresh.kind);

        // The same in a transaction, with a change that must not last.
        for _ in 0..2 * CONNECTIONS {
            let begun = database.begin().await;
            let mut change = begun.unwrap_or_else(|error| panic!("{}: {error}", fresh.kind));
            let sql = "INSERT INTO meta (name, value) VALUES ('given up', 1)";
            change.run(sql, vec![]).await.unwrap();
            let waiting = change.rows(endless(&fresh), vec![]);
            assert!(timeout(Duration::from_millis(100), waiting).await.is_err());
        }
        works(&database, fresh.kind).await;
        let sql = "SELECT value FROM meta WHERE name = 'given up'";
        assert!(database.rows(sql, vec![]).await.unwrap().is_empty(), "{}", fresh.kind);
    }
}

/// A way to a server that can fall silent: its connections stay open, and nothing comes on them any more.
/// New connections work.
struct SilentWay {
    port: u16,
    silence: watch::Sender<()>,
}

impl SilentWay {
    async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let silence = watch::Sender::new(());
        let falls_silent = silence.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                let mut falls_silent = falls_silent.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ended = copy_bidirectional(&mut client, &mut server) => return,
                        _silent = falls_silent.changed() => {}
                    }
                    sleep(Duration::from_secs(60)).await;
                    drop((client, server));
                });
            }
        });
        Self { port: own, silence }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_is_replaced() {
    for (fresh, _) in databases().await {
        let DatabaseAddress::Postgres(options) = &fresh.address else { continue };
        let way = SilentWay::to(options.get_host().to_owned(), options.get_port()).await;
        let options = (**options).clone().host("127.0.0.1").port(way.port);
        let database = Database::open(&DatabaseAddress::Postgres(Box::new(options)));
        let all = async |sql: &'static str| {
            let mut all = JoinSet::new();
            for _ in 0..CONNECTIONS {
                let database = database.clone();
                all.spawn(async move { timeout(ENDS, database.rows(sql, vec![])).await });
            }
            all.join_all().await
        };
        // All connections are idle when they die.
        all("SELECT 1 FROM pg_sleep(0.2)").await;
        way.silence.send_replace(());
        works(&database, fresh.kind).await;

        // All connections are in use when they die.
        let falls_silent = async {
            sleep(Duration::from_millis(700)).await;
            way.silence.send_replace(());
        };
        let (ended, ()) = tokio::join!(all("SELECT 1 FROM pg_sleep(3)"), falls_silent);
        assert!(ended.iter().all(|ended| matches!(ended, Ok(Err(_)))), "{ended:?}");
        works(&database, fresh.kind).await;

        // A transaction is open when its connection dies.
        let mut change = database.begin().await.unwrap();
        way.silence.send_replace(());
        let ended = timeout(ENDS, change.run("DELETE FROM tenant", vec![])).await;
        assert!(matches!(ended, Ok(Err(_))), "{ended:?}");
        drop(change);
        works(&database, fresh.kind).await;
    }
}
