//! Pages of a server with 10,000 tenants: what belongs to the last one is found as well.

use axum::http::StatusCode;
use nucleus_control::Timestamp;
use serde_json::json;

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

const TENANTS: usize = 10_000;

/// Makes the tenants with an API key, an issuer and a webhook each, as an import into the database would, and
/// waits until the server has read them. Returns the id of the last one.
async fn crowded(world: &World) -> String {
    let at = Timestamp::from_seconds(1_700_000_000).micros();
    let mut transaction = world.database.begin().await.unwrap();
    for number in 0..TENANTS {
        let id = format!("00000000-0000-7000-8000-{number:012x}");
        for sql in [
            "INSERT INTO tenant (id, name, products, active, created_at) \
             VALUES ($1, 'tenant ' || $2, '[]', TRUE, $3)",
            "INSERT INTO api_key (id, tenant, name, hash, scopes, created_at) \
             VALUES ($1, $1, 'key ' || $2, 'none', '[\"read\"]', $3)",
            "INSERT INTO issuer (id, tenant, name, created_at) VALUES ($1, $1, 'issuer ' || $2, $3)",
            "INSERT INTO webhook (id, tenant, name, url, events, signer, created_at) \
             VALUES ($1, $1, 'webhook ' || $2, 'https://a.invalid/', '[]', 'other', $3)",
        ] {
            let values = vec![id.as_str().into(), number.to_string().into(), at.into()];
            transaction.run(sql, values).await.unwrap();
        }
    }
    transaction.commit().await.unwrap();
    // A change of this server reads all of them.
    world.tenant("the newest").await;
    format!("00000000-0000-7000-8000-{:012x}", TENANTS - 1)
}

#[tokio::test]
async fn the_last_of_ten_thousand_tenants_has_its_pages() {
    let world = World::new().await;
    let last = crowded(&world).await;
    person(&world, "root@example.org", "super_admin", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("root@example.org", PASSWORD, "").await;
    for path in [format!("/tenants/{last}"), format!("/keys?tenant={last}")] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        assert!(page.text.contains("key 9999"), "{path}: {page:?}");
        assert!(!page.text.contains("key 9998"), "{path}");
    }
    let page = browser.get(&format!("/tenants/{last}")).await;
    assert!(page.text.contains("issuer 9999"), "{page:?}");
    let page = browser.get(&format!("/webhooks/{last}")).await;
    assert!(page.text.contains("webhook 9999"), "{page:?}");
    // The keys of the whole server are few, and none of a tenant is among them.
    let own = world.key(None, &["read"]).await;
    let page = browser.get("/keys").await;
    assert!(page.text.contains("a test") && !page.text.contains("key 1"), "{own}: {page:?}");

    // The last page of webhooks names its tenants, not their ids.
    let before = "00000000-0000-7000-8000-0000000026ff";
    let page = browser.get(&format!("/webhooks?after={before}")).await;
    assert!(page.text.contains("tenant 9999"), "{page:?}");
    // A form asks for the name, because a list would have 10,000 rows.
    for path in ["/people", "/webhooks/new", "/rooms"] {
        let page = browser.get(path).await;
        assert!(page.text.len() < 30_000, "{path} has {} bytes", page.text.len());
        assert!(page.text.contains("name=\"tenant\" value=\"\""), "{path}: {page:?}");
    }
    let wrong = [
        ("email", "eve@example.org"),
        ("role", "viewer"),
        ("sees", "tenant"),
        ("tenant", "tenant x"),
    ];
    let page = browser.post("/people", &wrong).await;
    assert!(page.text.contains("There is no tenant of this name."), "{page:?}");
    assert!(page.text.contains("value=\"tenant x\""), "{page:?}");
    let right = [
        ("email", "eve@example.org"),
        ("role", "viewer"),
        ("sees", "tenant"),
        ("tenant", "tenant 9999"),
    ];
    let page = browser.post("/people", &right).await;
    assert!(page.text.contains("eve@example.org") && page.text.contains("tenant 9999"), "{page:?}");
    let people = world.get("/people", LOCAL).await.json();
    let eve =
        people["items"].as_array().unwrap().iter().find(|one| one["email"] == "eve@example.org");
    assert_eq!(eve.unwrap()["tenant"], json!(last));
}

#[tokio::test]
async fn lists_are_asked_for_by_owner_and_tenants_by_ids() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let key = world.key(Some(&acme), &["read"]).await;
    world.key(None, &["read"]).await;
    let count = async |path: String, key: &str| {
        let answer = world.get(&path, key).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        answer.json()["items"].as_array().unwrap().len()
    };
    assert_eq!(count("/keys".to_owned(), LOCAL).await, 2);
    assert_eq!(count(format!("/keys?tenant={acme}"), LOCAL).await, 1);
    assert_eq!(count("/keys?tenant=server".to_owned(), LOCAL).await, 1);
    assert_eq!(count("/issuers?tenant=server".to_owned(), LOCAL).await, 0);
    assert_eq!(count(format!("/keys?tenant={acme}"), &key).await, 1);
    for foreign in ["/keys?tenant=server", &format!("/issuers?tenant={beta}")] {
        let answer = world.get(foreign, &key).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{foreign}: {answer:?}");
    }
    assert_eq!(count(format!("/tenants?ids={acme},{beta},none"), LOCAL).await, 2);
    assert_eq!(count(format!("/tenants?ids={acme},{beta},none"), &key).await, 1, "its own alone");
    assert_eq!(count("/tenants?name=beta".to_owned(), LOCAL).await, 1);
    assert_eq!(count("/tenants?name=beta".to_owned(), &key).await, 0);
    let many: Vec<_> = (0..201).map(|number| number.to_string()).collect();
    let path = format!("/tenants?ids={}", many.join(","));
    assert_eq!(world.get(&path, LOCAL).await.status, StatusCode::BAD_REQUEST);
}
