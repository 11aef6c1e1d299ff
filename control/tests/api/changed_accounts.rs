//! What ends when an account changes: sessions, and the links that set a password.

use std::time::Duration;

use axum::http::StatusCode;
use nucleus_control::Timestamp;
use nucleus_control::store::{Actor, AuditedChange, people};
use serde_json::{Value, json};

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

const ADA: &str = "ada@example.com";
const NEW_PASSWORD: &str = "a new long password";

async fn is_in(browser: &Browser<'_>) -> bool {
    browser.ask("GET", "/rooms", Value::Null).await.status == StatusCode::OK
}

#[tokio::test]
async fn a_new_password_ends_every_session() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let (mut own, mut other) = (Browser::new(&world), Browser::new(&world));
    own.sign_in(ADA, PASSWORD, "").await;
    other.sign_in(ADA, PASSWORD, "").await;
    assert!(is_in(&own).await && is_in(&other).await);
    let fields = [("password", PASSWORD), ("new_password", NEW_PASSWORD)];
    let changed = own.post("/account/password", &fields).await;
    assert_eq!(changed.location, "/signin?done=password", "{changed:?}");
    assert!(!is_in(&own).await && !is_in(&other).await);
}

/// The old password was right when it was looked up, and is not any more when the session begins.
#[tokio::test]
async fn no_session_begins_by_a_password_that_was_changed_meanwhile() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    // Passwords are verified one at a time: those of the strangers come first.
    let mut strangers: Vec<_> = (0..6).map(|_| Browser::new(&world)).collect();
    let [one, two, three, four, five, six] = &mut strangers[..] else { unreachable!() };
    let change = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let actor =
            Actor { name: "a test".to_owned(), ip: String::new(), request_id: String::new() };
        let now = Timestamp::from_seconds(1_800_000_000);
        let mut change = AuditedChange::begin(&world.database, &actor, now).await.unwrap();
        people::set_password(&mut change, &ada, "another hash").await.unwrap();
        change.commit_entry().await.unwrap();
    };
    tokio::join!(
        one.sign_in("1@example.com", PASSWORD, ""),
        two.sign_in("2@example.com", PASSWORD, ""),
        three.sign_in("3@example.com", PASSWORD, ""),
        four.sign_in("4@example.com", PASSWORD, ""),
        five.sign_in("5@example.com", PASSWORD, ""),
        six.sign_in("6@example.com", PASSWORD, ""),
        browser.sign_in(ADA, PASSWORD, ""),
        change,
    );
    assert!(!is_in(&browser).await, "signed in by a password that is none any more");
}

/// Makes a link to set the password of a person. Returns its token.
async fn new_link(world: &World, person: &str) -> String {
    let made = world.ask("POST", &format!("/people/{person}/link"), LOCAL, Value::Null).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.json()["url"].as_str().unwrap().split_once('=').unwrap().1.to_owned()
}

/// Uses a link. Returns where the browser goes on.
async fn use_link(world: &World, token: &str) -> String {
    let fields = [("token", token), ("password", "one more long password")];
    Browser::new(world).post("/link", &fields).await.location
}

#[tokio::test]
async fn a_new_role_ends_the_link() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let path = format!("/people/{ada}");
    let token = new_link(&world, &ada).await;
    let changed = world.ask("PATCH", &path, LOCAL, json!({"role": "operator"})).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    assert_eq!(use_link(&world, &token).await, "/link?failed=link");
    // A name gives nobody other rights.
    let token = new_link(&world, &ada).await;
    world.ask("PATCH", &path, LOCAL, json!({"name": "Ada L."})).await;
    assert_eq!(use_link(&world, &token).await, "/signin?done=password");
}

#[tokio::test]
async fn a_new_password_ends_the_link() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let token = new_link(&world, &ada).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    let fields = [("password", PASSWORD), ("new_password", NEW_PASSWORD)];
    let changed = browser.post("/account/password", &fields).await;
    assert_eq!(changed.location, "/signin?done=password", "{changed:?}");
    assert_eq!(use_link(&world, &token).await, "/link?failed=link");
}
