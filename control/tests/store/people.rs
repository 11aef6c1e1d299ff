//! People, their sessions and their links in the database.

use nucleus_control::Timestamp;
use nucleus_control::people::{PersonRole, hash_secret};
use nucleus_control::store::{
    AuditedChange, NewConsoleSession, NewPerson, OneTimeLink, PersonChange, StoreError,
    console_sessions, one_time_links, people, tenants,
};

use crate::databases::{actor, databases, page};
use crate::tenants::named;

fn new(email: &str, tenant: Option<&str>) -> NewPerson {
    NewPerson {
        tenant: tenant.map(str::to_owned),
        email: email.to_owned(),
        name: email.to_owned(),
        role: PersonRole::Operator,
        password_hash: Some("a hash".to_owned()),
    }
}

#[tokio::test]
async fn people_are_bounded_and_go_with_their_tenant() {
    for (fresh, database) in databases().await {
        let (kind, actor, now) = (fresh.kind, actor(), Timestamp::from_seconds(1_800_000_000));
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let acme = tenants::create(&mut change, &named("acme")).await.unwrap().id;
        for number in 0..3 {
            let new = new(&format!("u{number}@acme"), Some(&acme));
            people::create(&mut change, &new, 3).await.unwrap();
        }
        let more = people::create(&mut change, &new("u3@acme", Some(&acme)), 3).await;
        assert!(matches!(more, Err(StoreError::TooMany("people", 3))), "{kind}: {more:?}");
        let of_server = people::create(&mut change, &new("root@acme", None), 3).await.unwrap();
        change.commit_entry().await.unwrap();

        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let twice = people::create(&mut change, &new("root@acme", None), 3).await;
        assert!(matches!(twice, Err(StoreError::Exists("person"))), "{kind}: {twice:?}");
        drop(change);

        let of_acme = people::list(&database, Some(&acme), &page(None, 10)).await.unwrap();
        assert_eq!((of_acme.len(), of_acme[0].email.as_str()), (3, "u0@acme"), "{kind}");
        let foreign = people::get(&database, Some(&acme), &of_server.id).await;
        assert!(matches!(foreign, Err(StoreError::NotFound("person"))), "{kind}: {foreign:?}");
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        tenants::delete(&mut change, &acme).await.unwrap();
        change.commit().await.unwrap();
        let rest = people::list(&database, None, &page(None, 10)).await.unwrap();
        assert_eq!(rest, [of_server], "{kind}");
    }
}

#[tokio::test]
async fn a_change_leaves_the_rest_as_it_is() {
    for (fresh, database) in databases().await {
        let (kind, actor, now) = (fresh.kind, actor(), Timestamp::from_seconds(1_800_000_000));
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let made = people::create(&mut change, &new("ada@acme", None), 3).await.unwrap();
        people::set_totp(&mut change, &made.id, "sealed", 7).await.unwrap();
        let id = made.id.as_str();
        let mut set =
            async |to: PersonChange| people::change(&mut change, None, id, &to).await.unwrap();
        let none = set(PersonChange::default()).await;
        assert_eq!(none, people::Person { has_totp: true, ..made.clone() }, "{kind}");
        let off = set(PersonChange { disabled: Some(true), ..PersonChange::default() }).await;
        assert_eq!((off.disabled_at, off.role, off.has_totp), (Some(now), made.role, true));
        let to =
            PersonChange { remove_totp: true, name: Some("A".to_owned()), ..Default::default() };
        let without = set(to).await;
        assert_eq!(
            (without.disabled_at, without.has_totp, without.name.as_str()),
            (Some(now), false, "A")
        );
        let role = Some(PersonRole::Viewer);
        let on = set(PersonChange { disabled: Some(false), role, ..Default::default() }).await;
        assert_eq!((on.disabled_at, on.role), (None, PersonRole::Viewer), "{kind}");
        assert!(people::use_totp(&mut change, id, 8).await.unwrap(), "{kind}");
        for step in [8, 7] {
            assert!(!people::use_totp(&mut change, id, step).await.unwrap(), "{kind}: {step}");
        }
        change.commit_entry().await.unwrap();
    }
}

#[tokio::test]
async fn sessions_are_bounded_found_by_their_hash_and_deleted_when_old() {
    for (fresh, database) in databases().await {
        let (kind, actor) = (fresh.kind, actor());
        let at = |seconds: u64| Timestamp::from_seconds(1_800_000_000 + seconds);
        let mut change = AuditedChange::begin(&database, &actor, at(0)).await.unwrap();
        let ada = people::create(&mut change, &new("ada@acme", None), 3).await.unwrap();
        for number in 0..20 {
            let id_hash = hash_secret(&number.to_string());
            let new = NewConsoleSession { id_hash, agent: "a browser".to_owned(), way: "by test" };
            console_sessions::begin(&mut change, &ada, &new).await.unwrap();
        }
        change.commit_entry().await.unwrap();
        let found = async |number: u32, seconds| {
            let hash = hash_secret(&number.to_string());
            console_sessions::find(&database, &hash, at(seconds)).await.unwrap()
        };
        assert!(found(3, 1).await.is_none(), "{kind}: the oldest four have gone");
        let (session, person) = found(4, 1).await.unwrap();
        assert_eq!((person.id, session.created_at), (ada.id.clone(), at(0)), "{kind}");
        assert_eq!(person.signed_in_at, Some(at(0)), "{kind}");
        assert!(found(4, 1_800).await.is_none(), "{kind}: idle");
        console_sessions::note_use(&database, &session.id, at(1_700)).await.unwrap();
        assert!(found(4, 1_800).await.is_some(), "{kind}");
        let list = console_sessions::list(&database, &ada.id, at(1)).await.unwrap();
        assert_eq!(list.len(), 16, "{kind}");
        console_sessions::delete_ended(&database, at(1_801)).await.unwrap();
        let list = console_sessions::list(&database, &ada.id, at(1_701)).await.unwrap();
        assert_eq!(list.len(), 1, "{kind}: only the one that was used");
        let mut change = AuditedChange::begin(&database, &actor, at(9)).await.unwrap();
        people::set_password(&mut change, &ada.id, "another hash").await.unwrap();
        change.commit_entry().await.unwrap();
        assert!(found(4, 1_800).await.is_none(), "{kind}: a new password ends all");
    }
}

#[tokio::test]
async fn a_link_is_taken_once() {
    for (fresh, database) in databases().await {
        let (kind, actor) = (fresh.kind, actor());
        let at = |seconds: u64| Timestamp::from_seconds(1_800_000_000 + seconds);
        let mut change = AuditedChange::begin(&database, &actor, at(0)).await.unwrap();
        let ada = people::create_first(&mut change, &new("ada@acme", None)).await.unwrap();
        let second = people::create_first(&mut change, &new("ben@acme", None)).await;
        assert!(matches!(second, Err(StoreError::Exists("person"))), "{kind}: {second:?}");
        let of_ada = OneTimeLink::Password(ada.id.clone());
        one_time_links::create(&mut change, &of_ada, "old").await.unwrap();
        let end = one_time_links::create(&mut change, &of_ada, "new").await.unwrap();
        assert_eq!(end, at(3_600), "{kind}");
        one_time_links::create(&mut change, &OneTimeLink::FirstAdmin, "first").await.unwrap();
        change.commit_entry().await.unwrap();
        let find = async |hash: &str, seconds| {
            one_time_links::find(&database, hash, at(seconds)).await.unwrap()
        };
        assert_eq!(find("old", 0).await, None, "{kind}");
        assert_eq!(find("new", 3_599).await, Some(of_ada), "{kind}");
        assert_eq!(find("new", 3_600).await, None, "{kind}");
        assert_eq!(find("first", 0).await, Some(OneTimeLink::FirstAdmin), "{kind}");
        let mut change = AuditedChange::begin(&database, &actor, at(1)).await.unwrap();
        one_time_links::take(&mut change, "new").await.unwrap();
        let twice = one_time_links::take(&mut change, "new").await;
        assert!(matches!(twice, Err(StoreError::NotFound("link"))), "{kind}: {twice:?}");
        one_time_links::delete_first_admin(&mut change).await.unwrap();
        change.commit_entry().await.unwrap();
        assert_eq!((find("new", 2).await, find("first", 2).await), (None, None), "{kind}");
    }
}
