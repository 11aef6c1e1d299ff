//! Who did what: the filters of the audit, by the API, the page and the file.

use std::cell::RefCell;

use axum::http::StatusCode;
use serde_json::json;

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

async fn actions(world: &World, query: &str, key: &str) -> Vec<String> {
    let answer = world.get(&format!("/audit?limit=200{query}"), key).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

/// A world in which the command line, a key and a person have done something, an hour apart.
async fn busy_world() -> (World, [String; 2], String) {
    let world = World::new().await;
    let ids = [world.tenant("acme").await, world.tenant("beta").await];
    let key = world.key(Some(&ids[0]), &["read", "manage"]).await;
    *world.now.lock().unwrap() += 3_600;
    let body = json!({"name": "a", "scopes": ["read"]});
    let made = world.ask("POST", "/keys", &key, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    person(&world, "root@example.org", "super_admin", None).await;
    *world.now.lock().unwrap() += 3_600;
    Browser::new(&world).sign_in("root@example.org", PASSWORD, "").await;
    (world, ids, key)
}

#[tokio::test]
async fn entries_are_asked_for_by_actor_action_target_tenant_and_time() {
    let (world, [acme, beta], key) = busy_world().await;
    let of = async |query: &str| actions(&world, query, LOCAL).await;
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(of(&format!("&actor=key:{id}")).await, ["key.create"]);
    assert_eq!(of("&actor=key").await, ["key.create"], "a kind of actors");
    assert_eq!(of("&actor=ke").await, [""; 0], "no part of a kind");
    let signed_in = ["person.sign_in", "person.password"];
    assert_eq!(of("&actor=root@example.org").await[..1], signed_in[..1], "by the email address");
    assert_eq!(of("&actor=ROOT@example.org&action=person.sign_in").await, ["person.sign_in"]);
    assert_eq!(of("&action=tenant").await, ["tenant.create"; 2]);
    assert_eq!(of("&action=tenant.create").await, ["tenant.create"; 2]);
    assert_eq!(of("&action=tenant.c").await, [""; 0], "no part of an action");
    assert_eq!(of(&format!("&target={beta}")).await, ["tenant.create"]);
    for tenant in [acme.as_str(), "acme"] {
        let found = of(&format!("&tenant={tenant}")).await;
        assert_eq!(found, ["key.create", "key.create", "tenant.create"], "{tenant}");
    }
    let at = |hours: u64| {
        nucleus_control::Timestamp::from_seconds(1_800_000_000 + 3_600 * hours).to_string()
    };
    assert_eq!(of(&format!("&from={}", at(2))).await, ["person.sign_in"]);
    let between = of(&format!("&from={}&to={}&action=key", at(1), at(2))).await;
    assert_eq!(between, ["key.create"]);
    assert_eq!(of(&format!("&to={}", at(0))).await, [""; 0]);
    for wrong in ["&from=yesterday", &format!("&actor={}", "x".repeat(129)), "&who=me"] {
        let answer = world.get(&format!("/audit?limit=200{wrong}"), LOCAL).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn a_filter_shows_nothing_of_another_tenant() {
    let (world, [_, beta], key) = busy_world().await;
    for query in [format!("&tenant={beta}"), "&tenant=beta".to_owned(), format!("&target={beta}")] {
        assert_eq!(actions(&world, &query, &key).await, [""; 0], "{query}");
    }
    assert_eq!(actions(&world, "&action=tenant", &key).await, ["tenant.create"], "its own");
}

#[tokio::test]
async fn pages_of_a_filtered_list_go_on_where_they_ended() {
    let (world, ..) = busy_world().await;
    let first = world.get("/audit?limit=1&action=tenant", LOCAL).await.json();
    let next = format!("&action=tenant&cursor={}", first["next"].as_str().unwrap());
    assert_eq!(actions(&world, &next, LOCAL).await, ["tenant.create"]);
}

#[tokio::test]
async fn the_page_and_its_file_have_the_same_entries() {
    let (world, ..) = busy_world().await;
    let mut browser = Browser::new(&world);
    browser.sign_in("root@example.org", PASSWORD, "").await;
    let page = browser.get("/audit?action=tenant&tenant=beta").await;
    assert_eq!(page.text.matches(">tenant.create</code>").count(), 1, "{page:?}");
    assert!(page.text.contains("value=\"beta\""), "the fields keep what was asked: {page:?}");
    assert!(!page.text.contains("key.create"), "{page:?}");
    assert!(page.text.contains("/audit.csv?action=tenant&#38;tenant=beta"), "{page:?}");
    let file = browser.get("/audit.csv?action=tenant&tenant=beta").await;
    assert_eq!(file.text.lines().count(), 2, "{file:?}");
    assert!(file.text.contains("\"tenant.create\"") && file.text.contains("\"beta\""), "{file:?}");
    let none = browser.get("/audit?action=nothing").await;
    assert!(none.text.contains("No entry fits"), "{none:?}");
    // 1,800,007,200 is on 15 January 2027.
    let day = browser.get("/audit?from=2027-01-15&to=2027-01-15&actor=root@example.org").await;
    assert!(day.text.contains("person.sign_in"), "{day:?}");
    let wrong = browser.get("/audit?from=soon").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong:?}");
}

#[tokio::test]
async fn few_files_are_made_at_a_time() {
    let (world, ..) = busy_world().await;
    let mut browser = Browser::new(&world);
    browser.sign_in("root@example.org", PASSWORD, "").await;
    let cookie = browser.cookie.clone();
    // The files of rooms wait for the planes, which answer only after one of them was refused.
    let held = RefCell::new(Some(world.planes.answers.write().await));
    let export = async |path: &'static str| {
        let mut browser = Browser::new(&world);
        browser.cookie.clone_from(&cookie);
        let status = browser.get(path).await.status;
        if status == StatusCode::TOO_MANY_REQUESTS {
            drop(held.take());
        }
        status
    };
    let [a, b, c] = ["/rooms.csv"; 3].map(&export);
    let (a, b, c) = tokio::join!(a, b, c);
    let mut all = [a, b, c];
    all.sort();
    assert_eq!(all, [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]);
    assert_eq!(export("/audit.csv").await, StatusCode::OK, "the places are free again");
}

#[tokio::test]
async fn a_person_is_shown_by_the_email_address_to_those_who_may_know_it() {
    let (world, [acme, _], key) = busy_world().await;
    person(&world, "ann@example.org", "partner_admin", Some(&acme)).await;
    for email in ["ann@example.org", "root@example.org"] {
        let mut browser = Browser::new(&world);
        browser.sign_in(email, PASSWORD, "").await;
        browser.post("/keys", &[("name", email), ("scopes", "read"), ("tenant", &acme)]).await;
    }
    let emails = async |key: &str| {
        let list = world.get("/audit?action=key.create&actor=person&limit=2", key).await.json();
        let rows = list["items"].as_array().unwrap().clone();
        rows.iter().map(|row| row["actor_email"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(emails(LOCAL).await, [json!("root@example.org"), json!("ann@example.org")]);
    let own = emails(&key).await;
    assert_eq!(own, [json!(null), json!("ann@example.org")], "a super admin is not of the tenant");
    for (scopes, known) in [(&["read"][..], false), (&["read", "operate"], true)] {
        let key = world.key(None, scopes).await;
        let told = emails(&key).await.iter().all(|email| !email.is_null());
        assert_eq!(told, known, "whoever only reads learns no address: {scopes:?}");
    }

    let mut browser = Browser::new(&world);
    browser.sign_in("root@example.org", PASSWORD, "").await;
    let page = browser.get("/audit?action=key.create").await;
    assert!(page.text.contains("<bdi>ann@example.org</bdi>"), "{page:?}");
    assert!(page.text.contains("title=\"person:"), "the id stays as a title: {page:?}");
    for (email, role, words) in [
        ("vic@example.org", "viewer", "<bdi>a person</bdi>"),
        (
            "pat@example.org",
            "partner_admin",
            "<bdi>the server&#39;s operator, or a deleted person</bdi>",
        ),
    ] {
        person(&world, email, role, Some(&acme)).await;
        let mut browser = Browser::new(&world);
        browser.sign_in(email, PASSWORD, "").await;
        let page = browser.get("/audit?action=key.create").await;
        assert!(page.text.contains(words), "{email}: {page:?}");
        // Nobody finds out by guesses whose address the page does not show.
        let guess = browser.get("/audit?action=key.create&actor=root@example.org").await;
        assert!(!guess.text.contains("key.create</code>"), "{email}: {guess:?}");
    }
    let file = browser.get("/audit.csv?action=key.create&actor=person").await;
    assert!(
        file.text.contains("\"person:") && file.text.contains(",\"ann@example.org\""),
        "{file:?}"
    );
}
