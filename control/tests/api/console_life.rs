//! The pages of rooms, sessions, calls and bans: from a name to why its session ended, and what can be done.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomInstanceId};
use nucleus_core::plane_event::{PlaneEvent, RoomRef, RoomVisitor};

use crate::browser::{Browser, signed_in};
use crate::history::{Recording, record};
use crate::world::{LOCAL, World};

const ROOM: &str = "/rooms/0101010101010101";
const PEER: &str = "0101010101010101-7";

/// Records that the participant of the live room of acme has joined.
async fn join(world: &World) {
    let recording = Recording::new(world);
    let owner = ProductKey { tenant: "acme".to_owned(), product: Product::ATOM };
    let key = Arc::new(owner.room("acme lobby"));
    let room = RoomRef { instance: RoomInstanceId([1; 8]), key };
    let visitor = RoomVisitor {
        peer: PeerId(7),
        user: "acme-user".to_owned(),
        name: "Ada ÉMILE".to_owned(),
        role: "member".to_owned(),
    };
    recording.feed.post(PlaneEvent::RoomStarted(room.clone()));
    recording.feed.post(PlaneEvent::PeerJoined(room, Arc::new(visitor)));
    recording.finish().await;
}

async fn text(browser: &mut Browser<'_>, path: &str) -> String {
    let page = browser.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {page:?}");
    page.text
}

#[tokio::test]
async fn a_part_of_a_name_leads_to_its_session() {
    let world = World::new().await;
    join(&world).await;
    let mut browser = signed_in(&world, "root@example.org", "viewer", None).await;
    for name in ["da", "ADA", "émile", "ACME-u"] {
        let page =
            text(&mut browser, &nucleus_console::link::query("/sessions", &[("name", name)])).await;
        assert!(page.contains("Ada ÉMILE") && page.contains("Here now"), "{name}: {page}");
    }
    let none = text(&mut browser, "/sessions?name=bob").await;
    assert!(none.contains("No session fits") && !none.contains("ÉMILE"), "{none}");
    let room = text(&mut browser, ROOM).await;
    assert!(room.contains(&format!("href=\"/sessions/{PEER}\"")), "{room}");
    let session = text(&mut browser, &format!("/sessions/{PEER}")).await;
    for words in ["Here, on the fallback", "UDP 5056", "is written when the session ends"] {
        assert!(session.contains(words), "{words}: {session}");
    }
    assert!(!session.contains("data-dialog"), "a viewer acts upon nobody: {session}");
    world.planes.have_ended.store(true, Ordering::Relaxed);
    let list = text(&mut browser, "/sessions").await;
    assert!(list.contains("End not known") && !list.contains("Here now"), "{list}");
    let session = text(&mut browser, &format!("/sessions/{PEER}")).await;
    assert!(session.contains("The end is not known"), "{session}");
}

#[tokio::test]
async fn a_session_says_why_it_ended_and_what_to_do() {
    let world = World::new().await;
    record(&world).await;
    let mut browser = signed_in(&world, "root@example.org", "viewer", None).await;
    let page = text(&mut browser, &format!("/sessions/{PEER}")).await;
    for words in [
        "Dropped at <time",
        "closed the connection without leaving",
        "look into the client’s log",
        "the place was free again at",
        "beta-user</bdi></a> was lost at about that time",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test]
async fn nobody_learns_who_dropped_at_another_tenant() {
    let world = World::new().await;
    // The sessions belong to the tenant only if it is there before them.
    let acme = world.tenant("acme").await;
    record(&world).await;
    let mut partner = signed_in(&world, "ann@acme.example", "viewer", Some(&acme)).await;
    let page = text(&mut partner, &format!("/sessions/{PEER}")).await;
    assert!(page.contains("No other session of your tenant was lost"), "{page}");
    assert!(!page.contains("beta-user"), "{page}");
}

#[tokio::test]
async fn a_room_has_its_lines_and_its_newest_events() {
    let world = World::new().await;
    join(&world).await;
    let mut browser = signed_in(&world, "root@example.org", "operator", None).await;
    browser.post(&format!("{ROOM}/lock"), &[("locked", "true")]).await;
    let page = text(&mut browser, ROOM).await;
    for words in [
        "What happened",
        "\"><bdi>Ada ÉMILE</bdi></a> joined",
        "The room was locked by",
        "Worst link",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for chart in ["loss", "peers"] {
        let path = format!("{ROOM}/charts/{chart}");
        assert!(page.contains(&format!("hx-get=\"{path}\"")), "{page}");
        assert!(text(&mut browser, &path).await.contains("<figure"), "{chart}");
    }
    let absent = browser.get(&format!("{ROOM}/charts/other")).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{absent:?}");
    world.planes.have_ended.store(true, Ordering::Relaxed);
    let page = text(&mut browser, ROOM).await;
    assert!(page.contains("not live on this server"), "{page}");
    assert!(
        page.contains("/sessions?room=0101010101010101") && !page.contains("data-live"),
        "{page}"
    );
}

/// Inserts a session of the live room of acme, or of a room that is not live, with its times in microseconds.
async fn insert(world: &World, number: u32, room: &str, name: &str, times: (i64, Option<i64>)) {
    let sql = "INSERT INTO session_history (id, peer, room, tenant_name, product, room_name, user_id, name, \
               role, joined_at, left_at, code) VALUES ($1, $1, $2, 'acme', 'atom', 'lobby', $3, $3, \
               'member', $4, $5, 'left')";
    let id = format!("{number:08x}");
    let values = vec![id.into(), room.into(), name.into(), times.0.into(), times.1.into()];
    let mut transaction = world.database.begin().await.unwrap();
    transaction.run(sql, values).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn the_newest_events_of_a_room_are_found_behind_many_others() {
    const NOW: i64 = 1_800_000_000_000_000;
    let world = World::new().await;
    world.tenant("acme").await;
    let room = "0101010101010101";
    // The host joined first of all and leaves now.
    insert(&world, 0, room, "Hugo", (NOW - 80_000_000, Some(NOW - 1_000_000))).await;
    for number in 1..=220 {
        let joined = NOW - 70_000_000 + i64::from(number);
        insert(&world, number, room, "Ida", (joined, None)).await;
    }
    insert(&world, 500, "0303030303030303", "Olaf", (NOW, Some(NOW))).await;
    let mut browser = signed_in(&world, "root@example.org", "operator", None).await;
    browser.post(&format!("{ROOM}/lock"), &[("locked", "true")]).await;
    let mut transaction = world.database.begin().await.unwrap();
    for number in 0..120 {
        let sql = "INSERT INTO audit (id, at, tenant, actor, action, target, detail, request_id, ip) \
                   VALUES ($1, $2, NULL, 'a', 'room.close', 'another room', '', '', '')";
        let id = format!("f0000000-0000-7000-8000-{number:012x}");
        transaction.run(sql, vec![id.into(), NOW.into()]).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let page = text(&mut browser, ROOM).await;
    for words in ["Hugo</bdi></a>: ", "The room was locked by", "Ida</bdi></a> joined"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("Olaf") && !page.contains("Hugo</bdi></a> joined"), "{page}");
    let ended = format!("/history/sessions?room={room}&order=left");
    let list = world.get(&ended, LOCAL).await.json();
    assert_eq!(
        (list["items"][0]["name"].as_str(), list["items"][1].is_null()),
        (Some("Hugo"), true)
    );
    assert!(list["next"].is_null(), "{list}");
    for wrong in [
        "/history/sessions?order=left",
        "/history/sessions?order=left&room=lobby",
        "/history/sessions?order=left&from=2026-12-01T10:00:00Z",
        "/history/sessions?order=left&from=2026-12-01T10:00:00Z&to=2026-12-01T11:00:00Z",
        &format!("{ended}&code=timed_out"),
        &format!("{ended}&cursor=00000000"),
        &format!("{ended}&user=Hugo"),
        "/history/rooms?order=left",
        "/history/calls?order=left",
    ] {
        let refused = world.get(wrong, LOCAL).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}: {refused:?}");
        assert!(refused.text.contains("`order`"), "{wrong}: {refused:?}");
    }
}

#[tokio::test]
async fn a_list_of_sessions_does_not_wait_for_one_busy_room_after_another() {
    let world = World::new().await;
    for number in 0..80 {
        let name = format!("Ida {number}");
        insert(&world, number, &format!("{number:016x}"), &name, (1, None)).await;
    }
    let mut browser = signed_in(&world, "root@example.org", "viewer", None).await;
    let page = text(&mut browser, "/sessions").await;
    assert_eq!(page.matches("not in a live room of this server").count(), 80, "{page}");
    let _busy = world.planes.answers.write().await;
    let begin = std::time::Instant::now();
    let page = text(&mut browser, "/sessions").await;
    // At most 4 s pass until the counts in the menu are given up, and 3 s until the rooms are.
    assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(page.matches("the room gives no answer").count(), 80, "{page}");
}

#[tokio::test]
async fn the_overview_of_a_tenant_counts_its_headsets_in_all_rooms() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut browser = signed_in(&world, "vera@example.org", "viewer", Some(&acme)).await;
    // No room is among the fullest of the series.
    let page = text(&mut browser, "/").await;
    let tile = page.split("Headsets").nth(1).unwrap().chars().take(200).collect::<String>();
    assert!(tile.contains(">3<") && tile.contains("at this moment"), "{tile}");
}

#[tokio::test]
async fn a_user_is_banned_from_the_roster_and_the_ban_is_lifted() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut browser = signed_in(&world, "root@example.org", "operator", None).await;
    assert!(text(&mut browser, "/bans").await.contains("Nobody is banned"));
    let act = format!("{ROOM}/peers/{PEER}/ban");
    let fields = [("reason", "shouts"), ("seconds", "3600")];
    let done = browser.post(&act, &fields).await;
    assert_eq!(done.location, format!("{ROOM}?done=banned"), "{done:?}");
    let bans = world.get("/bans", LOCAL).await.json()["items"].clone();
    assert_eq!(
        (&bans[0]["user"], &bans[0]["tenant"]),
        (&"acme-user".into(), &acme.as_str().into())
    );
    assert_eq!(bans[0]["reason"], "shouts");
    let page = text(&mut browser, "/bans?user=acme-user").await;
    assert!(page.contains("shouts") && page.contains("Lift…"), "{page}");
    let other = text(&mut browser, "/bans?user=nobody").await;
    assert!(other.contains("This user is not banned") && !other.contains("shouts"), "{other}");
    let wrong = browser.post("/bans", &[("tenant", ""), ("user", "bob")]).await;
    assert!(wrong.text.contains("`tenant` is missing") && wrong.location.is_empty(), "{wrong:?}");
    let wrong =
        browser.post("/bans", &[("tenant", &acme), ("user", "bob"), ("seconds", "x")]).await;
    assert!(wrong.location.is_empty(), "{wrong:?}");
    let made = browser.post("/bans", &[("tenant", &acme), ("user", "bob"), ("seconds", "")]).await;
    assert_eq!(made.location, "/bans?done=banned", "{made:?}");
    let id = bans[0]["id"].as_str().unwrap();
    let lifted = browser.post(&format!("/bans/{id}/lift"), &[]).await;
    assert_eq!(lifted.location, "/bans?done=ban-lifted", "{lifted:?}");
    let left = world.get("/bans", LOCAL).await.json()["items"].clone();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["user"]), (1, &"bob".into()));
    // The tenant beta is not in the database.
    let beta = browser.post("/rooms/0202020202020202/peers/0202020202020202-7/ban", &fields).await;
    assert_eq!(beta.status, StatusCode::NOT_FOUND, "{beta:?}");
    let absent = browser.post(&format!("{ROOM}/peers/0101010101010101-8/ban"), &fields).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{absent:?}");
    let mut viewer = signed_in(&world, "vera@example.org", "viewer", None).await;
    let page = text(&mut viewer, "/bans").await;
    assert!(page.contains("bob") && !page.contains("Lift…"), "{page}");
    let refused = viewer.post(&act, &fields).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}

#[tokio::test]
async fn the_user_of_a_session_is_banned_and_forgotten() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    record(&world).await;
    let session = format!("/sessions/{PEER}");
    let mut operator = signed_in(&world, "op@example.org", "operator", Some(&acme)).await;
    let page = text(&mut operator, &session).await;
    assert!(
        page.contains("data-dialog=\"ban\"") && !page.contains("data-dialog=\"forget\""),
        "{page}"
    );
    let banned = operator.post(&format!("{session}/ban"), &[("seconds", "60")]).await;
    assert_eq!(banned.location, format!("{session}?done=banned"), "{banned:?}");
    let refused = operator.post(&format!("{session}/forget"), &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let mut manager = signed_in(&world, "root@example.org", "super_admin", None).await;
    let page = text(&mut manager, &session).await;
    assert!(page.contains("data-dialog=\"forget\""), "{page}");
    let forgotten = manager.post(&format!("{session}/forget"), &[]).await;
    assert_eq!(forgotten.location, "/sessions?done=forgotten", "{forgotten:?}");
    assert_eq!(manager.get(&session).await.status, StatusCode::NOT_FOUND);
    // The session of the other tenant is as it was, and its user cannot be banned: the tenant is not known.
    let page = text(&mut manager, "/sessions/0202020202020202-7").await;
    assert!(!page.contains("data-dialog"), "{page}");
}

#[tokio::test]
async fn past_calls_are_listed() {
    let world = World::new().await;
    record(&world).await;
    let mut browser = signed_in(&world, "root@example.org", "viewer", None).await;
    let page = text(&mut browser, "/calls").await;
    let past = page.split("id=\"pa\">Past calls").nth(1).unwrap();
    assert!(past.contains("acme-user") && past.contains("beta-user"), "{past}");
    assert!(past.contains("Nobody accepted"), "{past}");
    let page = text(&mut browser, "/calls?user=beta-user").await;
    let past = page.split("id=\"pa\">Past calls").nth(1).unwrap();
    assert!(past.contains("beta-user") && !past.contains("acme-user"), "{past}");
}

#[tokio::test]
async fn only_sessions_and_bans_are_found_by_their_new_filters() {
    let world = World::new().await;
    record(&world).await;
    let found = world.get("/history/sessions?name=ACME&limit=1", LOCAL).await.json();
    assert_eq!(found["items"][0]["user"], "acme-user", "{found}");
    let next = found["next"].as_str().unwrap();
    let rest = world.get(&format!("/history/sessions?name=acme&cursor={next}"), LOCAL).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 0, "{rest}");
    let long = "x".repeat(129);
    for wrong in [
        "/history/rooms?name=a",
        "/history/calls?name=a",
        &format!("/history/sessions?name={long}"),
        &format!("/bans?user={long}"),
    ] {
        let answer = world.get(wrong, LOCAL).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {answer:?}");
    }
}
