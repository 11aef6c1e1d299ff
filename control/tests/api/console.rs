//! The pages of the dashboard, over HTTP: who sees what, what forms do, and that nothing hostile runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use nucleus_core::control::RoomAct;
use nucleus_core::ids::RoomInstanceId;
use serde_json::json;

use crate::browser::{Browser, PASSWORD, signed_in};
use crate::world::{LOCAL, World};

/// Every page that has no id in its address.
const PAGES: [&str; 15] = [
    "/",
    "/rooms",
    "/calls",
    "/bans",
    "/sessions",
    "/audit",
    "/tenants",
    "/tenants/new",
    "/keys",
    "/webhooks",
    "/webhooks/new",
    "/people",
    "/network",
    "/account",
    "/account?totp=new",
];

#[tokio::test]
async fn strangers_are_led_to_the_sign_in() {
    let world = World::new().await;
    let mut stranger = Browser::new(&world);
    for page in PAGES {
        let answer = stranger.get(page).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{page}: {answer:?}");
        assert!(answer.location.starts_with("/signin?next="), "{page}: {answer:?}");
    }
    let page = stranger.get("/signin?failed=wrong&next=/rooms").await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert!(page.text.contains("Email or password is wrong."), "{page:?}");
    let none = stranger.get("/nowhere").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{none:?}");
    assert!(none.text.contains("There is nothing here"), "{none:?}");
}

#[tokio::test]
async fn each_role_reads_its_pages() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let roles = [
        ("super_admin", None, 14),
        ("partner_admin", Some(acme.as_str()), 13),
        ("operator", None, 8),
        ("viewer", Some(acme.as_str()), 8),
    ];
    for (number, (role, tenant, least)) in roles.into_iter().enumerate() {
        let mut browser = signed_in(&world, &format!("p{number}@example.org"), role, tenant).await;
        let mut read = 0;
        for page in PAGES {
            let answer = browser.get(page).await;
            match answer.status {
                StatusCode::OK => {
                    assert!(answer.text.contains("<main id=\"main\""), "{role} {page}");
                    read += 1;
                }
                StatusCode::FORBIDDEN => {
                    assert!(answer.text.contains("You may not do this"), "{role} {page}");
                }
                _ => panic!("{role} {page}: {answer:?}"),
            }
        }
        assert!(read >= least, "{role} reads {read} pages");
    }
}

#[tokio::test]
async fn names_that_people_choose_never_become_markup() {
    let world = World::new().await;
    let hostile = "<script>alert(1)</script>";
    let body = json!({"name": hostile});
    let made = world.ask("POST", "/tenants", LOCAL, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    for page in
        ["/tenants", &format!("/tenants/{id}"), "/audit", "/rooms", "/people", "/webhooks/new"]
    {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}: {answer:?}");
        assert!(!answer.text.contains("<script>alert"), "{page}");
    }
    let csv = browser.get("/audit.csv").await;
    assert!(csv.status.is_success() && csv.text.contains("tenant.create"), "{csv:?}");
}

#[tokio::test]
async fn forms_do_what_they_say_and_the_audit_names_the_person() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    let made =
        browser.post("/tenants", &[("name", "beta"), ("active", "true"), ("max_rooms", "7")]).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{made:?}");
    let page = browser.get(&made.location).await;
    assert!(page.text.contains("Saved") && page.text.contains("value=\"7\""), "{page:?}");
    let wrong = browser.post("/tenants", &[("name", "gamma"), ("max_rooms", "many")]).await;
    assert_eq!(wrong.status, StatusCode::OK);
    assert!(wrong.text.contains("This is no whole number."), "{wrong:?}");
    let twice = browser.post("/tenants", &[("name", "beta"), ("active", "true")]).await;
    assert!(twice.text.contains("beta") && twice.location.is_empty(), "{twice:?}");

    let key =
        browser.post("/keys", &[("name", "a key"), ("scopes", "read"), ("scopes", "tokens")]).await;
    assert!(key.text.contains("nuk_"), "{key:?}");
    let keys = browser.get("/keys").await;
    assert!(keys.text.contains("a key") && !keys.text.contains("nuk_"), "{keys:?}");

    let mut ann = vec![("email", "ann@example.org"), ("role", "viewer")];
    let none = browser.post("/people", &ann).await;
    assert!(none.text.contains("Choose what the person sees."), "{none:?}");
    ann.push(("sees", "tenant"));
    let none = browser.post("/people", &ann).await;
    assert!(none.text.contains("Choose the tenant that the person sees."), "{none:?}");
    ann[2] = ("sees", "server");
    let both = browser.post("/people", &[&ann[..], &[("tenant", "beta")]].concat()).await;
    assert!(both.text.contains("not both"), "a tenant is not overlooked: {both:?}");
    let person = browser.post("/people", &ann).await;
    assert!(person.text.contains("/link?token="), "{person:?}");
    let token = person.text.split("/link?token=").nth(1).unwrap();
    let token = token.split('<').next().unwrap().to_owned();
    let mut ann = Browser::new(&world);
    let link = ann.get(&format!("/link?token={token}")).await;
    assert!(link.text.contains("ann@example.org"), "{link:?}");
    let set = ann.post("/link", &[("token", &token), ("password", PASSWORD)]).await;
    assert_eq!(set.location, "/signin?done=password", "{set:?}");
    assert_eq!(ann.sign_in("ann@example.org", PASSWORD, "").await, "/");
    let used = ann.get(&format!("/link?token={token}")).await;
    assert!(used.text.contains("This link is over"), "{used:?}");
    let refused = ann.post("/tenants", &[("name", "delta")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");

    let audit = browser.get("/audit").await;
    assert!(audit.text.contains("person:") && audit.text.contains("tenant.create"), "{audit:?}");
}

#[tokio::test]
async fn forms_of_other_sites_do_nothing() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    browser.site = vec![("sec-fetch-site", "cross-site")];
    for form in ["/tenants", "/keys", "/people", "/drain", "/webhooks", "/issuers"] {
        let answer = browser.post(form, &[("name", "evil"), ("email", "evil@example.org")]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{form}: {answer:?}");
        assert!(answer.text.contains("The form came from another site"), "{form}: {answer:?}");
    }
    let tenants = world.get("/tenants", LOCAL).await.json();
    assert_eq!(tenants["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    for (bytes, expected) in
        [(15 << 10, StatusCode::UNPROCESSABLE_ENTITY), (17 << 10, StatusCode::PAYLOAD_TOO_LARGE)]
    {
        let key = "x".repeat(bytes);
        let fields = [("tenant", acme.as_str()), ("name", "a"), ("public_key", &key)];
        let answer = browser.post("/issuers", &fields).await;
        assert_eq!(answer.status, expected, "{bytes} bytes: {}", answer.text);
        let mut stranger = Browser::new(&world);
        let answer =
            stranger.post("/signin", &[("email", "root@example.org"), ("password", &key)]).await;
        let is_refused = answer.status == StatusCode::PAYLOAD_TOO_LARGE;
        assert_eq!(is_refused, expected == StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    }
}

#[tokio::test]
async fn pages_say_what_they_may_load_and_assets_are_kept() {
    let world = World::new().await;
    let mut stranger = Browser::new(&world);
    let response = stranger.headers("/signin").await;
    let policy = response[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert_eq!(response[header::CACHE_CONTROL], "no-store");
    let page = stranger.get("/signin").await.text;
    let asset = page.split("href=\"/assets/").nth(1).unwrap().split('"').next().unwrap();
    let response = stranger.headers(&format!("/assets/{asset}")).await;
    assert!(response[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
}

/// Reads a stream until it has sent a part of a page.
pub(crate) async fn first_part(mut body: Body) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains("data: ") {
            let frame = body.frame().await.expect("the stream goes on").unwrap();
            text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("a part arrives");
    text
}

#[tokio::test]
async fn live_parts_arrive_and_keep_no_session_alive() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    browser.accept = "text/html, text/event-stream";
    for live in ["/live/overview", "/live/rooms", "/live/rooms/0101010101010101", "/live/calls"] {
        let (status, body) = browser.stream(live).await;
        assert_eq!(status, StatusCode::OK, "{live}");
        let part = first_part(body).await;
        assert!(part.contains("data: <"), "{live}: {part}");
        let has_lock = part.contains("/0101010101010101/lock\"");
        assert_eq!(has_lock, live.ends_with("01"), "a lock shows in every window: {live}");
    }
    let (status, _) = browser.stream("/charts/latency").await;
    assert_eq!(status, StatusCode::OK);
    *world.now.lock().unwrap() += 1_700;
    let (_, body) = browser.stream("/live/overview").await;
    first_part(body).await;
    *world.now.lock().unwrap() += 101;
    let (status, _) = browser.stream("/charts/latency").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "no sign-in form inside a page");
    browser.accept = "text/html";
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "the session has ended: {page:?}");
}

#[tokio::test]
async fn the_page_of_a_room_says_that_it_has_ended() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "operator", None).await;
    let page = browser.get("/rooms/0101010101010101").await;
    assert!(page.text.contains("hx-sse:close=\"ended\""), "{page:?}");
    browser.accept = "text/html, text/event-stream";
    let (_, mut body) = browser.stream("/live/rooms/0101010101010101").await;
    world.planes.have_ended.store(true, Ordering::Relaxed);
    let mut text = String::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            text += std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the stream ends");
    assert!(text.contains("This room has ended") && text.contains("/sessions?room="), "{text}");
    assert!(text.ends_with("event: ended\ndata: \n\n"), "{text}");
}

#[tokio::test]
async fn a_room_is_shown_and_acted_upon() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "operator", None).await;
    let room = "/rooms/0101010101010101";
    let page = browser.get(room).await;
    assert!(page.status == StatusCode::OK && page.text.contains("acme lobby"), "{page:?}");
    assert!(page.text.contains("acme-kept-out") && page.text.contains("12\u{a0}min"), "{page:?}");
    // Each button keeps its meaning while the page changes: the one without use is off.
    let lock = "name=\"locked\" value=\"true\">";
    let unlock = "name=\"locked\" value=\"false\" disabled>";
    assert!(page.text.contains(lock) && page.text.contains(unlock), "{page:?}");
    let peer = format!("{room}/peers/0101010101010101-7");
    for (act, field, done) in [
        (format!("{room}/lock"), ("locked", "true"), "room-locked"),
        (format!("{room}/lock"), ("locked", "false"), "room-unlocked-already"),
        (format!("{peer}/mute"), ("muted", "true"), "muted"),
        (format!("{peer}/kick"), ("ban_seconds", "0"), "kicked"),
        (format!("{peer}/kick"), ("ban_seconds", "3600"), "kicked-alone"),
    ] {
        let answer = browser.post(&act, &[field]).await;
        // The room of the only participant ends with the kick.
        let page = if act.ends_with("/kick") { "/rooms" } else { room };
        assert_eq!(answer.location, format!("{page}?done={done}"), "{act}: {answer:?}");
    }
    let closed = browser.post(&format!("{room}/close"), &[]).await;
    assert_eq!(closed.location, "/rooms?done=room-closed", "{closed:?}");
    let absent = browser.get("/rooms/0303030303030303").await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{absent:?}");
    for odd in ["/rooms/..%2F..%2Faudit", "/rooms/%00", "/sessions/%FF", "/rooms/a?b#c"] {
        let answer = browser.get(odd).await;
        assert!(answer.status.is_client_error(), "{odd}: {answer:?}");
    }
}

#[tokio::test]
async fn the_page_of_a_room_lets_in_again_who_is_kept_out() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "operator", None).await;
    let (room, user) = ("/rooms/0101010101010101", "acme/zoë \"%20\"?");
    let lift = format!("{room}/bans/lift");
    let page = browser.get(room).await.text;
    assert_eq!(page.matches(&format!("action=\"{lift}\"")).count(), 2, "{page}");
    assert!(page.contains("Let in again") && page.contains("value=\"acme-kept-out\""), "{page}");
    assert!(page.contains("value=\"acme/zoë &#34;%20&#34;?\""), "{page}");
    let done = browser.post(&lift, &[("user", user)]).await;
    assert_eq!(done.location, format!("{room}?done=let-in"), "{done:?}");
    let act = (RoomInstanceId([1; 8]), RoomAct::Unban(user.to_owned()));
    assert_eq!(*world.acts.lock().unwrap(), [act]);
    let page = browser.get(&done.location).await.text;
    assert!(page.contains("The user can join this room again"), "{page}");
    assert!(page.contains("Let in again <bdi>acme/zoë"), "{page}");

    // The time was over before the button was pressed.
    let late = browser.post(&lift, &[("user", "nobody")]).await;
    assert_eq!(late.location, format!("{room}?done=let-in"), "{late:?}");
    let empty = browser.post(&lift, &[]).await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST, "{empty:?}");
    let absent = browser.post("/rooms/0303030303030303/bans/lift", &[("user", user)]).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{absent:?}");

    let mut viewer = signed_in(&world, "viewer@example.org", "viewer", None).await;
    let page = viewer.get(room).await.text;
    assert!(page.contains("acme-kept-out") && !page.contains("Let in again<"), "{page}");
    let refused = viewer.post(&lift, &[("user", user)]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}

#[tokio::test]
async fn saving_a_tenant_keeps_what_the_form_does_not_show() {
    let world = World::new().await;
    let body = json!({"name": "acme", "ends_at": "2027-03-01T20:30:00Z"});
    let id =
        world.ask("POST", "/tenants", LOCAL, body).await.json()["id"].as_str().unwrap().to_owned();
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    let page = format!("/tenants/{id}");
    let form =
        [("name", "acme"), ("active", "true"), ("ends_at", "2027-03-01"), ("max_rooms", "9")];
    let saved = browser.post(&page, &form).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{saved:?}");
    let tenant = world.get(&page, LOCAL).await.json();
    assert_eq!(
        (&tenant["ends_at"], &tenant["max_rooms"]),
        (&json!("2027-03-01T20:30:00Z"), &json!(9))
    );
}

#[tokio::test]
async fn people_of_a_tenant_that_is_not_in_force_see_nothing() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut browser = signed_in(&world, "ann@acme.example", "partner_admin", Some(&acme)).await;
    assert_eq!(browser.get("/rooms").await.status, StatusCode::OK);
    let off = json!({"name": "acme", "active": false});
    world.ask("PUT", &format!("/tenants/{acme}"), LOCAL, off).await;
    let refused = browser.get("/rooms").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}

#[tokio::test]
async fn an_error_keeps_the_menu_and_says_the_way_back() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    for (path, status, words, back) in [
        ("/sessions/none", StatusCode::NOT_FOUND, "There is nothing here", "/sessions"),
        ("/nowhere", StatusCode::NOT_FOUND, "There is nothing here", "/"),
        ("/audit?from=soon", StatusCode::BAD_REQUEST, "`from`", "/audit"),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, status, "{path}: {page:?}");
        assert!(page.text.contains("<nav id=\"nav\"") && page.text.contains(words), "{page:?}");
        assert!(page.text.contains(&format!("<a class=\"btn main\" href=\"{back}\">")), "{page:?}");
    }
    // A form that the API refuses keeps the status, and says why.
    let people = world.get("/people", LOCAL).await.json();
    let own = people["items"][0]["id"].as_str().unwrap();
    let page = browser.post(&format!("/people/{own}/disable"), &[("disabled", "true")]).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "{page:?}");
    assert!(page.text.contains("this is your own account"), "{page:?}");
    assert!(page.text.contains(&format!("href=\"/people/{own}\">Go back")), "{page:?}");
    let kick = "/rooms/0101010101010101/peers/none/mute";
    let page = browser.post(kick, &[("muted", "true")]).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "{page:?}");
    assert!(page.text.contains("href=\"/rooms\">Go back"), "{page:?}");
    // What is neither on nor off switches nothing.
    let room = "/rooms/0101010101010101";
    let peer = world.get(room, LOCAL).await.json();
    let peer = peer["members"][0]["id"].as_str().unwrap().to_owned();
    for (path, field) in [
        (format!("{room}/lock"), "locked"),
        (format!("{room}/peers/{peer}/mute"), "muted"),
        (format!("/people/{own}/disable"), "disabled"),
    ] {
        for value in ["banana", "", "1"] {
            let page = browser.post(&path, &[(field, value)]).await;
            assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path} {value}: {page:?}");
        }
    }
    assert!(world.acts.lock().unwrap().is_empty(), "nothing was done");
    // A stranger sees no menu.
    browser.cookie = None;
    let page = browser.get("/nowhere").await;
    assert!(!page.text.contains("<nav id=\"nav\""), "{page:?}");
}

#[tokio::test]
async fn a_list_of_one_says_so() {
    let world = World::new().await;
    let sign_in = Browser::new(&world).get("/signin").await.text;
    assert!(sign_in.contains("<p class=\"muted\">to <bdi>xr.example.org</bdi></p>"), "{sign_in}");
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    let people = browser.get("/people").await.text;
    assert!(people.contains("<span class=\"muted\">1 person</span>"), "{people}");
}
