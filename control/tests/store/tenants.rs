//! Tenants and the audit of their changes.

use nucleus_control::Timestamp;
use nucleus_control::store::{
    AuditFilter, AuditedChange, StoreError, TenantSettings, audit, revision, tenants,
};

use crate::databases::{actor, databases, page};

pub(crate) fn named(name: &str) -> TenantSettings {
    TenantSettings {
        name: name.to_owned(),
        products: vec!["atom".to_owned()],
        starts_at: None,
        ends_at: Some(Timestamp::from_seconds(2_000_000_000)),
        max_sessions: Some(50),
        max_rooms: None,
        max_kept_rooms: Some(0),
        active: true,
    }
}

fn of_tenant(id: &str) -> AuditFilter {
    AuditFilter { tenant: Some(id.to_owned()), ..AuditFilter::default() }
}

#[tokio::test]
async fn a_tenant_is_made_changed_and_deleted_and_the_audit_stays() {
    for (fresh, database) in databases().await {
        let (kind, actor, now) = (fresh.kind, actor(), Timestamp::from_seconds(1_800_000_000));
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let made = tenants::create(&mut change, &named("acme")).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(tenants::get(&database, &made.id).await.unwrap(), made, "{kind}");
        assert_eq!((made.created_at, made.max_sessions, made.max_rooms), (now, Some(50), None));

        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let twice = tenants::create(&mut change, &named("acme")).await;
        assert!(matches!(twice, Err(StoreError::Exists("tenant"))), "{kind}: {twice:?}");
        drop(change);

        let later = Timestamp::from_seconds(1_800_000_060);
        let mut change = AuditedChange::begin(&database, &actor, later).await.unwrap();
        let off = TenantSettings { active: false, products: Vec::new(), ..named("acme 2") };
        let changed = tenants::set(&mut change, &made.id, &off).await.unwrap();
        assert!(!changed.active && changed.products.is_empty() && changed.name == "acme 2");
        change.commit().await.unwrap();

        let mut change = AuditedChange::begin(&database, &actor, later).await.unwrap();
        tenants::delete(&mut change, &made.id).await.unwrap();
        let again = tenants::delete(&mut change, &made.id).await;
        assert!(matches!(again, Err(StoreError::NotFound("tenant"))), "{kind}: {again:?}");
        change.commit().await.unwrap();
        assert!(matches!(
            tenants::get(&database, &made.id).await,
            Err(StoreError::NotFound("tenant"))
        ));

        let entries =
            audit::entries(&database, &of_tenant(&made.id), &page(None, 10)).await.unwrap();
        let acts: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(acts.len(), 3, "{kind}: {acts:?}");
        assert_eq!(acts[2], "tenant.create", "{kind}: the oldest is last");
        assert!(entries.iter().all(|entry| entry.actor == "test" && entry.ip == "127.0.0.1"));
        let others =
            audit::entries(&database, &of_tenant("another"), &page(None, 10)).await.unwrap();
        assert!(others.is_empty(), "{kind}");
        assert_eq!(revision(&database).await.unwrap(), 3, "{kind}: one number for each commit");
    }
}

#[tokio::test]
async fn an_undone_change_leaves_nothing() {
    for (fresh, database) in databases().await {
        let actor = actor();
        let mut change = AuditedChange::begin(&database, &actor, Timestamp::now()).await.unwrap();
        let made = tenants::create(&mut change, &named("acme")).await.unwrap();
        drop(change);
        assert!(tenants::get(&database, &made.id).await.is_err(), "{}", fresh.kind);
        assert!(
            audit::entries(&database, &AuditFilter::default(), &page(None, 10))
                .await
                .unwrap()
                .is_empty(),
            "{}",
            fresh.kind
        );
        assert_eq!(revision(&database).await.unwrap(), 0, "{}", fresh.kind);
    }
}

#[tokio::test]
async fn pages_hold_every_row_once() {
    for (fresh, database) in databases().await {
        let actor = actor();
        for number in 0..25 {
            let now = Timestamp::from_seconds(1_800_000_000 + number);
            let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
            tenants::create(&mut change, &named(&format!("tenant {number}"))).await.unwrap();
            change.commit().await.unwrap();
        }
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let rows = tenants::list(&database, None, &page(after.as_deref(), 10)).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            names.extend(rows.into_iter().map(|tenant| tenant.name));
        }
        let expected: Vec<_> = (0..25).map(|number| format!("tenant {number}")).collect();
        assert_eq!(names, expected, "{}", fresh.kind);
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let rows =
                audit::entries(&database, &AuditFilter::default(), &page(after.as_deref(), 7))
                    .await
                    .unwrap();
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            ids.extend(rows.into_iter().map(|entry| entry.detail));
        }
        assert_eq!(ids, expected.into_iter().rev().collect::<Vec<_>>(), "{}", fresh.kind);
    }
}

/// Requests at the same time wait for each other; none fails because the database is locked.
#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_all_succeed() {
    for (fresh, database) in databases().await {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let database = database.clone();
            tasks.spawn(async move {
                let actor = actor();
                let mut change = AuditedChange::begin(&database, &actor, Timestamp::now()).await?;
                tenants::create(&mut change, &named(&format!("tenant {number}"))).await?;
                change.commit().await
            });
        }
        while let Some(result) = tasks.join_next().await {
            assert!(result.unwrap().is_ok(), "{}", fresh.kind);
        }
        assert_eq!(tenants::list(&database, None, &page(None, 200)).await.unwrap().len(), 40);
        assert_eq!(revision(&database).await.unwrap(), 40, "{}", fresh.kind);
    }
}
