//! The recorder of the history: into the database, and into the spool while it does not answer.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleus_control::database::Database;
use nucleus_control::events::EventFeed;
use nucleus_control::history::{
    HistoryFilter, HistoryRecorder, RecorderHandle, RecorderSettings, UserOfTenant, forget, query,
};
use nucleus_control::webhooks::{WebhookSettings, WebhookSigner};
use nucleus_control::{RetentionKeeper, RetentionSettings, Timestamp};
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomInstanceId};
use nucleus_core::moments::{Moment, MomentKind, MomentLog};
use nucleus_core::plane_event::{
    CallRef, CallTotals, LinkTotals, PlaneEvent, RoomRef, RoomTotals, RoomVisitor, Visit,
};
use nucleus_protocol::session::Code;
use tokio::task::JoinHandle;

use crate::databases::{databases, open, page};

/// What the recorder needs of webhooks.
pub(crate) fn webhooks(database: &Database) -> Arc<WebhookSettings> {
    Arc::new(WebhookSettings {
        database: database.clone(),
        signer: WebhookSigner::new(&[7; 64]),
        private_addresses: false,
        now: Arc::new(Timestamp::now),
        wake: Arc::default(),
        counters: Arc::default(),
        places: Arc::default(),
    })
}

/// Time enough for everything.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A running recorder.
pub(crate) struct Recording {
    feed: EventFeed,
    pub(crate) handle: RecorderHandle,
    pub(crate) task: JoinHandle<()>,
}

impl Recording {
    pub(crate) fn start(database: &Database, dir: &Path) -> Self {
        let (feed, posted) = EventFeed::new();
        let spool = dir.join("spool.jsonl");
        let settings = RecorderSettings { feed: feed.clone(), posted, spool };
        let (recorder, handle) = HistoryRecorder::new(settings);
        let task = tokio::spawn(recorder.run(database.clone(), webhooks(database)));
        Self { feed, handle, task }
    }

    /// Posts the events of a room with so many sessions, and of a call. The room is full of those
    /// whose numbers begin with `number`.
    pub(crate) fn post(&self, number: u8, sessions: u32) {
        let owner = ProductKey { tenant: "acme".to_owned(), product: Product::ATOM };
        let instance = RoomInstanceId([number; 8]);
        let room = RoomRef { instance, key: Arc::new(owner.room(format!("room {number}"))) };
        self.feed.post(PlaneEvent::RoomStarted(room.clone()));
        let visitor = |peer| {
            let (name, role) = ("Ada \"\n\0".to_owned(), "trainer".to_owned());
            let user = format!("user {peer}");
            Arc::new(RoomVisitor { peer: PeerId(peer), user, name, role })
        };
        for peer in 1..=sessions {
            self.feed.post(PlaneEvent::PeerJoined(room.clone(), visitor(peer)));
        }
        for peer in 1..=sessions {
            let links = LinkTotals { withheld: 3, loss_ppm: Some(7), ..LinkTotals::default() };
            let lasted = Duration::from_secs(60);
            let joined = MomentKind::Joined { took: Duration::from_millis(peer.into()) };
            let joined = Moment { after: Duration::ZERO, kind: joined };
            let moments = MomentLog::stored([joined], 0);
            let links = Some(links);
            let visit = Visit { lasted, code: Code::Left, resumes: 2, links, moments };
            self.feed.post(PlaneEvent::PeerLeft(room.clone(), visitor(peer), Box::new(visit)));
        }
        let lasted = Duration::from_secs(90);
        let totals = RoomTotals { lasted, joins: sessions.into(), most_peers: sessions };
        self.feed.post(PlaneEvent::RoomEnded(room, totals));
        let call =
            CallRef { call: number.into(), owner: Arc::new(owner), caller: "ada".to_owned() };
        self.feed.post(PlaneEvent::CallStarted(call.clone()));
        let members = vec!["ada".to_owned(), "ben".to_owned()];
        let (talked, missed) = (Some(Duration::from_secs(5)), vec!["cleo".to_owned()]);
        let totals = CallTotals { lasted, talked, members, missed };
        self.feed.post(PlaneEvent::CallEnded(call, Box::new(totals)));
    }

    /// Waits until so many events are in the spool.
    pub(crate) async fn spooled(&self, rows: u64) {
        for _ in 0..2_000 {
            if self.handle.figures().spool_rows() == rows {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} events are in the spool, not {rows}", self.handle.figures().spool_rows());
    }
}

/// Events of [`Recording::post`] besides those of sessions.
pub(crate) const OTHERS: u64 = 4;

pub(crate) async fn count(database: &Database, sql: &'static str) -> i64 {
    database.rows(sql, vec![]).await.unwrap()[0].get("n").unwrap()
}

/// Checks that so many rooms with so many sessions each have begun and ended.
pub(crate) async fn check(database: &Database, rooms: i64, sessions: i64, kind: &str) {
    for (sql, expected) in [
        ("SELECT COUNT(*) AS n FROM room_history WHERE ended_at > started_at", rooms),
        ("SELECT COUNT(*) AS n FROM room_history", rooms),
        (
            "SELECT COUNT(*) AS n FROM session_history WHERE left_at IS NOT NULL AND code = 'left' \
             AND resumes = 2 AND withheld = 3 AND loss_ppm = 7 AND rtt_p50_us IS NULL",
            sessions,
        ),
        ("SELECT COUNT(*) AS n FROM session_history", sessions),
        ("SELECT COUNT(*) AS n FROM call_history WHERE talked_ms = 5000", rooms),
        ("SELECT COUNT(*) AS n FROM call_party", 3 * rooms),
    ] {
        assert_eq!(count(database, sql).await, expected, "{kind}: {sql}");
    }
}

#[tokio::test]
async fn events_become_rows_once_and_are_published() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::start(&database, dir.path());
        let mut published = recording.handle.subscribe();
        recording.post(1, 700);
        recording.handle.finish(LONG).await;
        check(&database, 1, 700, fresh.kind).await;
        let mut ids = Vec::new();
        while let Ok(batch) = published.try_recv() {
            assert!(batch.len() <= 500);
            ids.extend(batch.iter().map(|event| event.id.clone()));
        }
        assert!(ids.is_sorted() && ids.len() as u64 == 2 * 700 + OTHERS);
        assert_eq!(recording.handle.figures().dropped(), 0);
    }
}

/// Another program locks SQLite. Meanwhile the server is killed and started again.
#[tokio::test]
async fn a_locked_database_loses_nothing_and_catches_up() {
    let fresh = crate::fresh::fresh().await.remove(0);
    let database = open(&fresh.address).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let other = Database::open(&fresh.address);
    let lock = other.begin().await.unwrap();
    let first = Recording::start(&database, dir.path());
    first.post(1, 300);
    first.spooled(600 + OTHERS).await;
    first.post(2, 300);
    first.spooled(1_200 + 2 * OTHERS).await;
    // As at kill -9: the task does nothing at its end.
    first.task.abort();
    let second = Recording::start(&database, dir.path());
    second.post(3, 300);
    second.spooled(1_800 + 3 * OTHERS).await;
    assert_eq!(count(&database, "SELECT COUNT(*) AS n FROM session_history").await, 0);
    let copy = std::fs::read(dir.path().join("spool.jsonl")).unwrap();
    drop(lock);
    second.spooled(0).await;
    check(&database, 3, 900, fresh.kind).await;
    assert!(!dir.path().join("spool.jsonl").exists());
    assert_eq!(second.handle.figures().dropped(), 0);
    second.task.abort();

    // Killed before the file was removed, with a line that was not written to its end: all events come
    // again, and change nothing.
    let mut copy = copy;
    copy.extend_from_slice(b"{\"id\":\"half");
    std::fs::write(dir.path().join("spool.jsonl"), copy).unwrap();
    let third = Recording::start(&database, dir.path());
    while third.handle.figures().dropped() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    third.spooled(0).await;
    check(&database, 3, 900, fresh.kind).await;
    assert_eq!(third.handle.figures().dropped(), 1, "the damaged line");
}

#[tokio::test]
async fn the_newest_come_first_in_pages_and_filters_hold() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::start(&database, dir.path());
        (1..=3).for_each(|room| recording.post(room, 10));
        recording.handle.finish(LONG).await;
        let all = HistoryFilter::default();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let part = query::sessions(&database, &all, &page(after.as_deref(), 7)).await.unwrap();
            let Some(last) = part.last() else { break };
            after = Some(last.id.clone());
            seen.extend(part);
        }
        assert_eq!(seen.len(), 30, "{}", fresh.kind);
        assert!(seen.is_sorted_by(|newer, older| newer.id > older.id));
        assert_eq!((seen[0].room_name.as_str(), seen[0].user.as_str()), ("room 3", "user 10"));
        assert_eq!(seen[0].name.trim_end_matches(['\0', '\u{fffd}']), "Ada \"\n");
        let some = |text: &str| Some(text.to_owned());
        let users = |filter: HistoryFilter| {
            let database = database.clone();
            async move { query::sessions(&database, &filter, &page(None, 200)).await.unwrap().len() }
        };
        let default = HistoryFilter::default;
        assert_eq!(users(HistoryFilter { user: some("user 4"), ..default() }).await, 3);
        assert_eq!(users(HistoryFilter { room: some("room 2"), ..default() }).await, 10);
        assert_eq!(users(HistoryFilter { room: some("0202020202020202"), ..default() }).await, 10);
        assert_eq!(users(HistoryFilter { tenant_name: some("acme"), ..default() }).await, 30);
        assert_eq!(users(HistoryFilter { tenant_name: some("beta"), ..default() }).await, 0);
        assert_eq!(users(HistoryFilter { tenant: some("an id"), ..default() }).await, 0);
        let late = Some(Timestamp::now());
        assert_eq!(users(HistoryFilter { from: late, ..default() }).await, 0);
        assert_eq!(users(HistoryFilter { to: late, ..default() }).await, 30);
        let of_user = HistoryFilter { user: some("user 4"), ..default() };
        assert_eq!(query::rooms(&database, &of_user, &page(None, 200)).await.unwrap().len(), 3);
        let of_cleo = HistoryFilter { user: some("cleo"), ..default() };
        let calls = query::calls(&database, &of_cleo, &page(None, 200)).await.unwrap();
        assert_eq!(calls.len(), 3);
        assert_eq!(
            (calls[0].members.join(","), calls[0].missed.join(",")),
            ("ada,ben".into(), "cleo".into())
        );
    }
}

#[tokio::test]
async fn old_rows_are_deleted_and_a_user_is_forgotten() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::start(&database, dir.path());
        recording.post(1, 1_200);
        recording.handle.finish(LONG).await;
        for tenant in ["beta", "acme"] {
            for user in ["user 4", "ada", "cleo"] {
                let of = UserOfTenant { tenant: "an id", tenant_name: tenant, user };
                forget(&database, of).await.unwrap();
            }
            let left = if tenant == "beta" { 1_200 } else { 1_199 };
            let sql = "SELECT COUNT(*) AS n FROM session_history";
            assert_eq!(count(&database, sql).await, left, "{}", fresh.kind);
        }
        let calls =
            query::calls(&database, &HistoryFilter::default(), &page(None, 9)).await.unwrap();
        assert_eq!(
            (calls[0].caller.as_str(), calls[0].members.as_slice()),
            ("", &["ben".to_owned()][..])
        );
        assert!(calls[0].missed.is_empty());

        let now = Timestamp::now();
        let sweep = async |now: Timestamp| {
            let now = Arc::new(move || now);
            let database = database.clone();
            let counters = Arc::default();
            let settings =
                RetentionSettings { database, audit_days: 1, history_days: 1, counters, now };
            RetentionKeeper::new(settings).delete().await.unwrap();
        };
        sweep(now).await;
        assert_eq!(count(&database, "SELECT COUNT(*) AS n FROM session_history").await, 1_199);
        let two_days_later = Timestamp::from_micros(now.micros() + 2 * 86_400_000_000);
        sweep(two_days_later).await;
        for sql in [
            "SELECT COUNT(*) AS n FROM session_history",
            "SELECT COUNT(*) AS n FROM room_history",
            "SELECT COUNT(*) AS n FROM call_history",
            "SELECT COUNT(*) AS n FROM call_party",
        ] {
            assert_eq!(count(&database, sql).await, 0, "{}: {sql}", fresh.kind);
        }
    }
}

/// The figure: SQLite is locked for a minute under events of 80 sessions a second. No event is lost, and
/// the history has caught up in 30 s.
/// `cargo nextest run -p nucleus-control --run-ignored only a_minute_of`
#[tokio::test]
#[ignore = "takes more than a minute"]
async fn a_minute_of_a_locked_database_is_caught_up_in_half_a_minute() {
    let fresh = crate::fresh::fresh().await.remove(0);
    let database = open(&fresh.address).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let recording = Recording::start(&database, dir.path());
    let lock = Database::open(&fresh.address).begin().await.unwrap();
    let (rooms, sessions) = (240_u8, 20);
    for room in 1..=rooms {
        recording.post(room, sessions);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    drop(lock);
    let unlocked = Instant::now();
    let waiting = recording.handle.figures().spool_rows();
    assert!(waiting > 5_000, "{waiting} events waited");
    recording.handle.finish(LONG).await;
    recording.spooled(0).await;
    let caught_up = unlocked.elapsed();
    check(&database, rooms.into(), i64::from(rooms) * i64::from(sessions), fresh.kind).await;
    assert_eq!(recording.handle.figures().dropped(), 0);
    assert!(caught_up < Duration::from_secs(30), "caught up in {caught_up:?}");
}
