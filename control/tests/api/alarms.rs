//! What an operator should look at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, PlayedSurroundings, World};

/// The time at which the worlds of the tests begin.
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

async fn kinds(world: &World, key: &str) -> Vec<String> {
    let answer = world.get("/alarms", key).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let alarms = answer.json()["alarms"].as_array().unwrap().clone();
    alarms.iter().map(|alarm| alarm["kind"].as_str().unwrap().to_owned()).collect()
}

fn set_now(world: &World, seconds: u64) {
    *world.now.lock().unwrap() = seconds;
}

fn day(days: i64) -> String {
    let at = NOW.saturating_add_signed(days * DAY as i64);
    nucleus_control::Timestamp::from_seconds(at).to_string()
}

#[tokio::test]
async fn an_alarm_begins_and_ends_with_its_cause() {
    let around = Arc::<PlayedSurroundings>::default();
    let given = around.clone();
    let world = World::with(|settings| settings.surroundings = given).await;
    assert!(kinds(&world, LOCAL).await.is_empty());
    around.has_ended.store(true, Ordering::Relaxed);
    assert!(kinds(&world, LOCAL).await.is_empty(), "looked at a moment ago");
    set_now(&world, NOW + 10);
    assert_eq!(kinds(&world, LOCAL).await, ["certificate_invalid"]);
    // Rows that wait for a moment are no alarm.
    around.waiting.store(5, Ordering::Relaxed);
    set_now(&world, NOW + 20);
    assert_eq!(kinds(&world, LOCAL).await, ["certificate_invalid"]);
    set_now(&world, NOW + 90);
    assert_eq!(kinds(&world, LOCAL).await, ["certificate_invalid", "history_waits"]);
    let report = world.get("/alarms", LOCAL).await.json();
    let since: Vec<_> = [0, 1].map(|at: usize| report["alarms"][at]["since"].clone()).into();
    let at = |seconds| nucleus_control::Timestamp::from_seconds(seconds).to_string();
    assert_eq!(since, [json!(at(1_799_999_000)), json!(at(NOW + 20))]);
    around.waiting.store(0, Ordering::Relaxed);
    around.has_ended.store(false, Ordering::Relaxed);
    set_now(&world, NOW + 100);
    assert!(kinds(&world, LOCAL).await.is_empty());
}

#[tokio::test]
async fn a_tenant_hears_of_its_own_licence_and_webhooks() {
    let world = World::new().await;
    let mut keys = Vec::new();
    for name in ["acme", "beta"] {
        let id = world.tenant(name).await;
        let set = json!({"name": name, "ends_at": day(if name == "acme" { 3 } else { -3 })});
        let set = world.ask("PUT", &format!("/tenants/{id}"), LOCAL, set).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
        keys.push(world.key(Some(&id), &["read"]).await);
    }
    set_now(&world, NOW + 60);
    // The newest is the first: one ended three days ago, the other rings for eleven days.
    assert_eq!(kinds(&world, LOCAL).await, ["licence_ended", "licence_ends"]);
    assert_eq!(kinds(&world, &keys[0]).await, ["licence_ends"]);
    // The keys of a tenant end with its licence.
    let ended = world.get("/alarms", &keys[1]).await;
    assert_eq!(ended.status, StatusCode::FORBIDDEN, "{ended:?}");
    let report = world.get("/alarms", &keys[0]).await;
    assert!(!report.text.contains("beta"), "{report:?}");
    assert_eq!(report.json()["ends"][0]["name"], "acme");
    let whole = world.get("/alarms", LOCAL).await.json();
    assert_eq!(
        whole["ends"].as_array().unwrap().len(),
        2,
        "the certificate and one licence: {whole}"
    );
    assert_eq!(whole["ends"][0]["name"], Value::Null);
}

#[tokio::test]
async fn a_webhook_that_the_server_gave_up_rings_and_one_that_a_person_left_does_not() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for name in ["gone", "fails", "left", "well"] {
        let body = json!({"name": name, "url": "https://a.invalid/"});
        let made = world.ask("POST", "/webhooks", LOCAL, body).await;
        ids.push(made.json()["id"].as_str().unwrap().to_owned());
    }
    let left = format!("/webhooks/{}/switch", ids[2]);
    world.ask("POST", &left, LOCAL, json!({"on": false})).await;
    let run = async |sql: &'static str| {
        let mut transaction = world.database.begin().await.unwrap();
        transaction.run(sql, vec![]).await.unwrap();
        transaction.commit().await.unwrap();
    };
    run("UPDATE webhook SET off_reason = 'its address has answered 410 Gone' WHERE name = 'gone'")
        .await;
    run("INSERT INTO webhook_delivery (id, webhook, event, kind, body, created_at, tries, next_at) \
         SELECT name, id, 'e', 'room.ended', '{}', 1, CASE WHEN name = 'fails' THEN 3 ELSE 2 END, 9 \
         FROM webhook").await;
    set_now(&world, NOW + 60);
    let mut rung = kinds(&world, LOCAL).await;
    rung.sort();
    assert_eq!(rung, ["webhook_fails", "webhook_off"]);
}

#[tokio::test]
async fn busy_planes_or_a_query_that_fails_end_no_alarm_for_a_minute() {
    let world = World::new().await;
    let run = async |sql: &'static str| {
        let mut transaction = world.database.begin().await.unwrap();
        transaction.run(sql, vec![]).await.unwrap();
        transaction.commit().await.unwrap();
    };
    let body = json!({"name": "gone", "url": "https://a.invalid/"});
    world.ask("POST", "/webhooks", LOCAL, body).await;
    run("UPDATE webhook SET off_reason = 'gone'").await;
    world.planes.is_full.store(true, Ordering::Relaxed);
    let both = ["nearly_full", "webhook_off"];
    let since = async || {
        let report = world.get("/alarms", LOCAL).await.json();
        let alarms = report["alarms"].as_array().unwrap().clone();
        alarms.iter().map(|alarm| alarm["since"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&world, LOCAL).await, both);
    let begin = since().await;
    {
        let _busy = world.planes.answers.write().await;
        run("ALTER TABLE webhook RENAME TO away").await;
        set_now(&world, NOW + 20);
        assert_eq!(kinds(&world, LOCAL).await, both, "nobody knows better");
        set_now(&world, NOW + 70);
        assert!(kinds(&world, LOCAL).await.is_empty(), "nobody knows any more");
        set_now(&world, NOW + 20);
        run("ALTER TABLE away RENAME TO webhook").await;
    }
    set_now(&world, NOW + 80);
    assert_eq!(kinds(&world, LOCAL).await, both);
    let again = since().await;
    assert_ne!(again, begin, "they ended meanwhile");
    {
        let _busy = world.planes.answers.write().await;
        set_now(&world, NOW + 100);
        assert_eq!(kinds(&world, LOCAL).await, both);
    }
    set_now(&world, NOW + 110);
    assert_eq!(
        (kinds(&world, LOCAL).await, since().await),
        (both.map(str::to_owned).into(), again)
    );
}

#[tokio::test]
async fn many_webhooks_of_one_tenant_hide_none_of_another() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let mut transaction = world.database.begin().await.unwrap();
    for number in 0..150 {
        let tenant = if number == 140 { &acme } else { &beta };
        let sql = "INSERT INTO webhook (id, tenant, name, url, events, signer, off_reason, created_at) \
                   VALUES ($1, $2, $1, 'https://a.invalid/', '[]', '', 'gone', 0)";
        let id = format!("webhook {number:03}");
        transaction.run(sql, vec![id.into(), tenant.as_str().into()]).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let key = world.key(Some(&acme), &["read"]).await;
    let own = world.get("/alarms", &key).await.json();
    assert_eq!(own["alarms"][0]["subject"], "webhook 140", "{own}");
    assert_eq!(own["alarms"].as_array().unwrap().len(), 1);
    assert_eq!(kinds(&world, LOCAL).await.len(), 100);
}

#[tokio::test]
async fn an_alarm_is_on_the_overview_with_what_to_do() {
    let around = Arc::<PlayedSurroundings>::default();
    let given = around.clone();
    let world = World::with(|settings| settings.surroundings = given).await;
    person(&world, "root@example.org", "super_admin", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("root@example.org", PASSWORD, "").await;
    let well = browser.get("/").await;
    assert!(!well.text.contains("<h2 id=\"al\">"), "{well:?}");
    assert!(well.text.contains("Certificate of <bdi>xr.example.org</bdi>"), "{well:?}");
    assert!(well.text.contains("<span class=\"mark good\">34 days</span>"), "{well:?}");
    around.has_ended.store(true, Ordering::Relaxed);
    set_now(&world, NOW + 10);
    let page = browser.get("/").await;
    assert!(page.text.contains("The certificate has ended: clients refuse the server"), "{page:?}");
    assert!(page.text.contains("Look at this now"), "the verdict: {page:?}");
    assert!(page.text.contains("SIGHUP. <a href=\"/network\">Network</a>"), "{page:?}");
    assert!(page.text.contains("<span class=\"mark bad\">ended</span>"), "{page:?}");
    let network = browser.get("/network").await;
    assert!(network.text.contains("from your files, until <time"), "{network:?}");
}

#[tokio::test]
async fn a_fresh_server_says_whether_it_is_ready_for_visitors() {
    let world = World::new().await;
    world.planes.have_ended.store(true, Ordering::Relaxed);
    let ada = person(&world, "root@example.org", "super_admin", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("root@example.org", PASSWORD, "").await;
    let page = browser.get("/").await;
    for shown in [
        "UDP 5055, sessions",
        "UDP 443, sessions",
        "UDP 5056, realtime",
        "TCP 443, this dashboard over HTTPS",
        "Certificate from your files, until <time",
        "0 of 1",
        "None: your programs ask the API",
    ] {
        assert!(page.text.contains(shown), "{shown}: {page:?}");
    }
    let run = async |sql: &'static str, id: &str| {
        let mut transaction = world.database.begin().await.unwrap();
        transaction.run(sql, vec![id.into()]).await.unwrap();
        transaction.commit().await.unwrap();
    };
    run("UPDATE person SET totp = 'sealed' WHERE id = $1", &ada).await;
    let body = json!({"name": "a", "url": "https://a.invalid/"});
    world.ask("POST", "/webhooks", LOCAL, body).await;
    let page = browser.get("/").await;
    assert!(page.text.contains("1 of 1") && page.text.contains("1 on"), "{page:?}");
}
