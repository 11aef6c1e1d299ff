//! API keys.

use nucleus_control::Timestamp;
use nucleus_control::store::{AuditedChange, NewApiKey, StoreError, api_keys, tenants};

use crate::databases::{actor, databases, page};
use crate::tenants::named;

fn key(number: u32, tenant: Option<&str>) -> NewApiKey {
    NewApiKey {
        id: format!("00000000-0000-7000-8000-{number:012}"),
        tenant: tenant.map(str::to_owned),
        name: "web server".to_owned(),
        hash: "h".repeat(64),
        scopes: vec!["read".to_owned(), "tokens".to_owned()],
        expires_at: None,
    }
}

#[tokio::test]
async fn a_key_belongs_to_its_tenant_and_stays_revoked() {
    for (fresh, database) in databases().await {
        let (kind, actor, now) = (fresh.kind, actor(), Timestamp::from_seconds(1_800_000_000));
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let acme = tenants::create(&mut change, &named("acme")).await.unwrap().id;
        let other = tenants::create(&mut change, &named("other")).await.unwrap().id;
        let made = api_keys::create(&mut change, &key(1, Some(&acme))).await.unwrap();
        api_keys::create(&mut change, &key(2, None)).await.unwrap();
        let nobodys = api_keys::create(&mut change, &key(3, Some("nobody"))).await;
        assert!(matches!(nobodys, Err(StoreError::NotFound("tenant"))), "{kind}");
        change.commit().await.unwrap();
        let of = async |tenant: Option<&str>| {
            api_keys::list(&database, tenant, &page(None, 10)).await.unwrap().len()
        };
        assert_eq!((of(Some(&acme)).await, of(Some(&other)).await, of(None).await), (1, 0, 2));

        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let foreign = api_keys::revoke(&mut change, Some(&other), &made.id).await;
        assert!(matches!(foreign, Err(StoreError::NotFound("API key"))), "{kind}");
        let revoked = api_keys::revoke(&mut change, Some(&acme), &made.id).await.unwrap();
        assert_eq!(revoked.revoked_at, Some(now), "{kind}");
        change.commit().await.unwrap();
        let later = Timestamp::from_seconds(1_800_000_100);
        let mut change = AuditedChange::begin(&database, &actor, later).await.unwrap();
        let again = api_keys::revoke(&mut change, None, &made.id).await.unwrap();
        assert_eq!(again.revoked_at, Some(now), "{kind}: the first time counts");
        change.commit().await.unwrap();

        api_keys::note_use(&database, &made.id, later).await.unwrap();
        let (used, _) = api_keys::get(&database, &made.id).await.unwrap();
        assert_eq!(used.last_used_at, Some(later), "{kind}");

        let mut change = AuditedChange::begin(&database, &actor, later).await.unwrap();
        tenants::delete(&mut change, &acme).await.unwrap();
        change.commit().await.unwrap();
        assert!(
            api_keys::get(&database, &made.id).await.is_err(),
            "{kind}: keys go with their tenant"
        );
    }
}
