//! Signing in and out, one-time links, authenticator apps, and the cookie.

use std::time::Duration;

use axum::http::StatusCode;
use http_body_util::BodyExt;
use nucleus_control::Timestamp;
use nucleus_control::api::first_admin_link;
use nucleus_control::people::TotpSecret;
use serde_json::{Value, json};

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

const ADA: &str = "ada@example.com";

#[tokio::test]
async fn a_person_signs_in_and_out() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    let nobody = browser.ask("GET", "/rooms", Value::Null).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    for (email, password) in [(ADA, "another password"), ("nobody@example.com", PASSWORD)] {
        assert_eq!(browser.sign_in(email, password, "").await, "/signin?failed=wrong");
        assert_eq!(browser.cookie, None);
    }
    let fields = [("email", "ADA@example.com "), ("password", PASSWORD), ("next", "/rooms?a=b")];
    let answer = browser.post("/signin", &fields).await;
    assert_eq!(answer.location, "/rooms?a=b", "{answer:?}");
    let cookie = answer.set_cookie;
    assert!(
        cookie.starts_with("nucleus=") && cookie.contains("HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let rooms = browser.ask("GET", "/rooms", Value::Null).await;
    assert_eq!(rooms.status, StatusCode::OK, "{rooms:?}");
    let secret = browser.cookie.clone().unwrap();
    let secret = secret.split_once('=').unwrap().1;
    let bytes = world.database_bytes();
    assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "only its hash");

    let kept = browser.cookie.clone();
    let out = browser.post("/signout", &[]).await;
    assert_eq!(
        (out.status, out.location.as_str()),
        (StatusCode::SEE_OTHER, "/signin?done=signed_out")
    );
    assert_eq!(browser.cookie, None);
    browser.cookie = kept;
    let gone = browser.ask("GET", "/rooms", Value::Null).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED, "the cookie is worth nothing now");
    let audit = world.get("/audit", LOCAL).await.json();
    let acts: Vec<_> = audit["items"].as_array().unwrap().iter().collect();
    assert_eq!(acts[0]["action"], "person.sign_out");
    assert_eq!(acts[1]["action"], "person.sign_in");
    assert_eq!(acts[1]["ip"], "192.0.2.1");
}

#[tokio::test]
async fn a_session_ends_by_its_age() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let later = |seconds| *world.now.lock().unwrap() += seconds;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    let sessions = format!("/people/{ada}/sessions");
    let status = async |browser: &Browser<'_>| {
        let status = browser.ask("GET", "/rooms", Value::Null).await.status;
        // The time of a request is noted by a task of its own.
        let now = Timestamp::from_seconds(*world.now.lock().unwrap()).to_string();
        for _ in 0..500 {
            let seen = world.get(&sessions, LOCAL).await.json();
            let seen = seen["items"].as_array().unwrap().clone();
            if status != StatusCode::OK || seen.iter().any(|session| session["seen_at"] == *now) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        status
    };
    for _ in 0..3 {
        later(1_700);
        assert_eq!(status(&browser).await, StatusCode::OK);
    }
    later(1_801);
    assert_eq!(status(&browser).await, StatusCode::UNAUTHORIZED, "half an hour without a request");
    browser.sign_in(ADA, PASSWORD, "").await;
    for _ in 0..25 {
        later(1_700);
        assert_eq!(status(&browser).await, StatusCode::OK);
    }
    later(1_000);
    assert_eq!(status(&browser).await, StatusCode::UNAUTHORIZED, "twelve hours");
}

/// Servers of one database have clocks of their own.
#[tokio::test]
async fn a_session_is_live_on_a_server_whose_clock_is_behind() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    for (behind, expected) in [(60, StatusCode::OK), (61, StatusCode::UNAUTHORIZED)] {
        *world.now.lock().unwrap() = 1_800_000_000 - behind;
        let status = browser.ask("GET", "/rooms", Value::Null).await.status;
        assert_eq!(status, expected, "{behind} s behind");
    }
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_ends() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let mut browsers = Vec::new();
    for _ in 0..17 {
        let mut browser = Browser::new(&world);
        browser.sign_in(ADA, PASSWORD, "").await;
        browsers.push(browser);
    }
    let sessions = world.get(&format!("/people/{ada}/sessions"), LOCAL).await.json();
    assert_eq!(sessions["items"].as_array().unwrap().len(), 16);
    let status = async |at: usize| browsers[at].ask("GET", "/rooms", Value::Null).await.status;
    assert_eq!(status(0).await, StatusCode::UNAUTHORIZED);
    assert_eq!((status(1).await, status(16).await), (StatusCode::OK, StatusCode::OK));
    // A browser that signs in again has one session.
    let mut again = Browser::new(&world);
    again.cookie = browsers[16].cookie.clone();
    again.sign_in(ADA, PASSWORD, "").await;
    assert_eq!(status(16).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(1).await, StatusCode::OK);
}

#[tokio::test]
async fn whoever_is_disabled_is_out_at_once() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    world.ask("PATCH", &format!("/people/{ada}"), LOCAL, json!({"disabled": true})).await;
    let gone = browser.ask("GET", "/rooms", Value::Null).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.sign_in(ADA, PASSWORD, "").await, "/signin?failed=wrong");
    world.ask("PATCH", &format!("/people/{ada}"), LOCAL, json!({"disabled": false})).await;
    assert_eq!(browser.sign_in(ADA, PASSWORD, "").await, "/");
}

#[tokio::test]
async fn the_first_administrator_is_made_by_a_link_that_works_once() {
    let world = World::new().await;
    let link = first_admin_link(&world.state).await.unwrap().unwrap();
    let token = link.strip_prefix("/link?token=").unwrap();
    let mut browser = Browser::new(&world);
    let mut send = async |token: &str, email: &str, password: &str| {
        let fields = [("token", token), ("email", email), ("password", password)];
        browser.post("/link", &fields).await.location
    };
    assert_eq!(send("nonsense", ADA, PASSWORD).await, "/link?failed=link");
    let back = format!("/link?token={token}&failed=");
    assert_eq!(send(token, "ada", PASSWORD).await, format!("{back}email"));
    assert_eq!(send(token, ADA, "short").await, format!("{back}short"));
    assert_eq!(send(token, ADA, &format!("{ADA} 1234")).await, format!("{back}like_email"));
    assert_eq!(send(token, ADA, PASSWORD).await, "/signin?done=password");
    assert_eq!(send(token, "ben@example.com", PASSWORD).await, "/link?failed=link");
    assert_eq!(first_admin_link(&world.state).await.unwrap(), None, "there is somebody");
    assert_eq!(browser.sign_in(ADA, PASSWORD, "").await, "/");
    let people = browser.ask("GET", "/people", Value::Null).await.json();
    assert_eq!(people["items"][0]["role"], "super_admin", "{people}");
}

#[tokio::test]
async fn two_links_of_two_starts_make_one_administrator() {
    let world = World::new().await;
    let one = first_admin_link(&world.state).await.unwrap().unwrap();
    let two = first_admin_link(&world.state).await.unwrap().unwrap();
    let (mut first, mut second) = (Browser::new(&world), Browser::new(&world));
    let token = |link: &str| link.split_once('=').unwrap().1.to_owned();
    let (one, two) = (token(&one), token(&two));
    let one = [("token", one.as_str()), ("email", ADA), ("password", PASSWORD)];
    let two = [("token", two.as_str()), ("email", "ben@example.com"), ("password", PASSWORD)];
    let (one, two) = tokio::join!(first.post("/link", &one), second.post("/link", &two));
    let mut locations = [one.location, two.location];
    locations.sort();
    assert_eq!(locations, ["/link?failed=link", "/signin?done=password"]);
    assert_eq!(world.get("/people", LOCAL).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_link_of_a_person_sets_the_password_within_an_hour() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    let new = async || {
        let link = world.ask("POST", &format!("/people/{ada}/link"), LOCAL, Value::Null).await;
        assert_eq!(link.status, StatusCode::CREATED, "{link:?}");
        link.json()["url"].as_str().unwrap().split_once('=').unwrap().1.to_owned()
    };
    let (old, token) = (new().await, new().await);
    let mut other = Browser::new(&world);
    let fields =
        |token: &str| [("token", token.to_owned()), ("password", "a new long password".into())];
    let mut send = async |token: &str| {
        let fields = fields(token);
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        other.post("/link", &fields).await.location
    };
    assert_eq!(send(&old).await, "/link?failed=link", "a newer one takes its place");
    assert_eq!(send(&token).await, "/signin?done=password");
    let gone = browser.ask("GET", "/rooms", Value::Null).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED, "all sessions have ended");
    assert_eq!(browser.sign_in(ADA, PASSWORD, "").await, "/signin?failed=wrong");
    assert_eq!(browser.sign_in(ADA, "a new long password", "").await, "/");
    let token = new().await;
    *world.now.lock().unwrap() += 3_600;
    assert_eq!(send(&token).await, "/link?failed=link", "an hour later");
}

#[tokio::test]
async fn a_code_of_an_authenticator_app_is_needed_and_counts_once() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let now = || Timestamp::from_seconds(*world.now.lock().unwrap());
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    let page = browser.post("/account/totp", &[]).await;
    assert_eq!(page.location, "/account?totp=new", "a page shows the secret");
    browser.accept = "application/json";
    let begun = browser.post("/account/totp", &[]).await;
    browser.accept = "text/html";
    assert_eq!(begun.status, StatusCode::OK, "{begun:?}");
    let begun: Value = serde_json::from_str(&begun.text).unwrap();
    let text = |name: &str| begun[name].as_str().unwrap().to_owned();
    let secret = TotpSecret::parse(&text("secret")).unwrap();
    assert!(text("address").contains(&text("secret")));
    let enrolment = text("enrolment");
    let mut enrol = async |enrolment: &str, code: &str| {
        let fields = [("enrolment", enrolment), ("code", code)];
        browser.post("/account/totp", &fields).await.location
    };
    // The page shows the same secret again, which the app has by now.
    let wrong = enrol(&enrolment, "000000").await;
    let query = serde_urlencoded::to_string([("enrolment", &enrolment)]).unwrap();
    assert_eq!(wrong, format!("/account?totp=new&{query}&failed=wrong_code"));
    assert_eq!(enrol("sealed1.AAAA", "000000").await, "/account?totp=new&failed=enrolment");
    let forged = format!("9999999999999999 {}", secret.text().as_str());
    assert_eq!(enrol(&forged, &secret.code_at(now())).await, "/account?totp=new&failed=enrolment");
    assert_eq!(enrol(&enrolment, &secret.code_at(now())).await, "/account?done=totp");
    let again = browser.post("/account/totp", &[]).await;
    assert_eq!(again.location, "/account?failed=has_app", "an open browser takes no app over");
    let bytes = world.database_bytes();
    let plain = secret.text();
    assert!(!bytes.windows(plain.len()).any(|part| part == plain.as_bytes()), "it is sealed");

    let mut other = Browser::new(&world);
    assert_eq!(other.sign_in(ADA, PASSWORD, "").await, "/signin?failed=code");
    let used = secret.code_at(now());
    assert_eq!(other.sign_in(ADA, PASSWORD, &used).await, "/signin?failed=wrong_code", "used");
    *world.now.lock().unwrap() += 30;
    let code = secret.code_at(now());
    assert_eq!(other.sign_in(ADA, "another password", &code).await, "/signin?failed=wrong");
    let mut third = Browser::new(&world);
    let both =
        tokio::join!(other.sign_in(ADA, PASSWORD, &code), third.sign_in(ADA, PASSWORD, &code));
    let mut both = [both.0, both.1];
    both.sort();
    assert_eq!(both, ["/", "/signin?failed=wrong_code"], "of two at once one gets in");
    world.ask("PATCH", &format!("/people/{ada}"), LOCAL, json!({"remove_totp": true})).await;
    assert_eq!(Browser::new(&world).sign_in(ADA, PASSWORD, "").await, "/");
}

#[tokio::test]
async fn a_person_changes_the_own_password() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    let change = async |browser: &mut Browser<'_>, old: &str, new: &str| {
        let fields = [("password", old), ("new_password", new)];
        browser.post("/account/password", &fields).await.location
    };
    let nobody = change(&mut browser, PASSWORD, "a new long password").await;
    assert_eq!(nobody, "/signin?failed=ended");
    browser.sign_in(ADA, PASSWORD, "").await;
    let wrong = change(&mut browser, "another password", "a new long password").await;
    assert_eq!(wrong, "/account?failed=wrong");
    assert_eq!(change(&mut browser, PASSWORD, "short").await, "/account?failed=short");
    let changed = change(&mut browser, PASSWORD, "a new long password").await;
    assert_eq!(changed, "/signin?done=password");
    assert_eq!(browser.sign_in(ADA, PASSWORD, "").await, "/signin?failed=wrong");
    assert_eq!(browser.sign_in(ADA, "a new long password", "").await, "/");
}

#[tokio::test]
async fn a_page_of_another_address_causes_nothing() {
    let world = World::with(|settings| {
        settings.sign_in.as_mut().unwrap().url = Some("https://proxy.example.com".to_owned());
    })
    .await;
    person(&world, ADA, "super_admin", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    for (site, is_own) in [
        (vec![], false),
        (vec![("sec-fetch-site", "cross-site")], false),
        (vec![("sec-fetch-site", "same-site")], false),
        (vec![("sec-fetch-site", "cross-site"), ("origin", "http://nucleus.example.com")], false),
        (vec![("origin", "null")], false),
        (vec![("origin", "https://evil.example.com")], false),
        (vec![("origin", "http://nucleus.example.com.evil.example")], false),
        (vec![("origin", "https://nucleus.example.com")], false),
        (vec![("origin", "http://nucleus.example.com")], true),
        (vec![("origin", "https://proxy.example.com")], true),
        (vec![("sec-fetch-site", "same-origin")], true),
        (vec![("sec-fetch-site", "none")], true),
    ] {
        browser.site = site;
        let made = browser.ask("POST", "/tenants", json!({"name": "acme"})).await.status;
        let expected = if is_own { StatusCode::CREATED } else { StatusCode::FORBIDDEN };
        assert!(made == expected || (is_own && made == StatusCode::CONFLICT), "{:?}", browser.site);
        let form = browser_like(&world, &browser).post("/signin", &[]).await.status;
        assert_eq!(form == StatusCode::FORBIDDEN, !is_own, "{:?}", browser.site);
        assert_eq!(browser.ask("GET", "/rooms", Value::Null).await.status, StatusCode::OK, "reads");
    }
}

fn browser_like<'a>(world: &'a World, other: &Browser<'a>) -> Browser<'a> {
    Browser { site: other.site.clone(), cookie: other.cookie.clone(), ..Browser::new(world) }
}

#[tokio::test]
async fn over_tls_the_cookie_has_a_name_that_no_other_host_can_set() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser { over_tls: true, ..Browser::new(&world) };
    let fields = [("email", ADA), ("password", PASSWORD)];
    let cookie = browser.post("/signin", &fields).await.set_cookie;
    assert!(cookie.starts_with("__Host-nucleus=") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(browser.ask("GET", "/rooms", Value::Null).await.status, StatusCode::OK);
    let plain = browser.cookie.as_ref().map(|pair| pair.replace("__Host-", ""));
    browser.cookie = plain;
    assert_eq!(browser.ask("GET", "/rooms", Value::Null).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_the_setting_nobody_signs_in() {
    let world = World::with(|settings| settings.sign_in = None).await;
    let answer = Browser::new(&world).post("/signin", &[("email", ADA), ("password", "a")]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    assert_eq!(first_admin_link(&world.state).await.unwrap(), None);
    let body = json!({"email": ADA, "role": "viewer", "password": PASSWORD});
    let made = world.ask("POST", "/people", LOCAL, body).await;
    assert_eq!(made.status, StatusCode::CONFLICT, "{made:?}");
}

#[tokio::test]
async fn a_stream_ends_with_the_session_of_its_person() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    browser.accept = "text/event-stream";
    let (status, mut body) = browser.stream("/api/v1/live").await;
    assert_eq!(status, StatusCode::OK);
    world.ask("DELETE", &format!("/people/{ada}/sessions"), LOCAL, Value::Null).await;
    let until_end = async { while body.frame().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), until_end).await.expect("the stream ends");
    let refused = browser.ask("GET", "/live", Value::Null).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}
