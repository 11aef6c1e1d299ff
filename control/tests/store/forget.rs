//! A user is forgotten in one tenant, whatever the names of tenants are or were.

use nucleus_control::Timestamp;
use nucleus_control::database::Database;
use nucleus_control::history::{HistoryFilter, query};
use nucleus_control::store::{AuditedChange, TenantSettings, tenants};

use crate::databases::{actor, databases, page};
use crate::history::{LONG, Recording};
use crate::tenants::named;

/// Makes a tenant, or gives one another name. Returns its id.
async fn name_tenant(database: &Database, id: Option<&str>, name: &str) -> String {
    let actor = actor();
    let now = Timestamp::from_seconds(1_800_000_000);
    let mut change = AuditedChange::begin(database, &actor, now).await.unwrap();
    let settings: TenantSettings = named(name);
    let tenant = match id {
        Some(id) => tenants::set(&mut change, id, &settings).await.unwrap(),
        None => tenants::create(&mut change, &settings).await.unwrap(),
    };
    change.commit().await.unwrap();
    tenant.id
}

/// Returns the sessions and the calls of `user 4` and `ada` of a tenant.
async fn left(database: &Database, tenant: &str) -> (usize, usize) {
    let of = |user: &str| HistoryFilter {
        tenant: Some(tenant.to_owned()),
        user: Some(user.to_owned()),
        ..HistoryFilter::default()
    };
    let sessions = query::sessions(database, &of("user 4"), &page(None, 9)).await.unwrap();
    let calls = query::calls(database, &of("ada"), &page(None, 9)).await.unwrap();
    (sessions.len(), calls.len())
}

#[tokio::test]
async fn a_user_is_forgotten_under_old_names_of_the_tenant_and_in_no_other_tenant() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        let record = async |number: u8| {
            let recording = Recording::start(&database, dir.path());
            recording.post(number, 5);
            recording.handle.finish(LONG).await;
        };
        // Rows of a time before the tenant was in the database have only its name, which is always `acme`.
        record(1).await;
        let old = name_tenant(&database, None, "acme").await;
        record(2).await;
        name_tenant(&database, Some(&old), "acme old").await;
        let new = name_tenant(&database, None, "acme").await;
        record(3).await;
        assert_eq!((left(&database, &old).await, left(&database, &new).await), ((1, 1), (1, 1)));
        let forget = async |tenant: &str| {
            let mut forgotten = 0;
            for user in ["user 4", "ada"] {
                let now = Timestamp::from_seconds(1_800_000_000);
                let done =
                    nucleus_control::forget::user(&database, &actor(), now, tenant, user).await;
                forgotten += done.unwrap().sessions;
            }
            forgotten
        };
        let kind = fresh.kind;
        assert_eq!(forget(&old).await, 1, "{kind}");
        let both = (left(&database, &old).await, left(&database, &new).await);
        assert_eq!(both, ((0, 0), (1, 1)), "{kind}: the new tenant of the name keeps its rows");
        assert_eq!(forget(&new).await, 2, "{kind}: and the row that has only the name");
        assert_eq!(left(&database, &new).await, (0, 0), "{kind}");
    }
}
