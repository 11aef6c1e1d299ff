//! The tables, and how those of an older server become those of this one.
//!
//! Each step is one transaction, so a server that is killed goes on at its next start.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};

use super::DatabaseError;

/// The steps: number, name and statements. A released step never changes.
const STEPS: [(i64, &str, &str); 8] = [
    (1, "start", include_str!("migrations/0001_start.sql")),
    (2, "bans", include_str!("migrations/0002_bans.sql")),
    (3, "history", include_str!("migrations/0003_history.sql")),
    (4, "webhooks", include_str!("migrations/0004_webhooks.sql")),
    (5, "lists", include_str!("migrations/0005_lists.sql")),
    (6, "accounts", include_str!("migrations/0006_accounts.sql")),
    (7, "moments", include_str!("migrations/0007_moments.sql")),
    (8, "ends", include_str!("migrations/0008_ends.sql")),
];

/// Takes the steps that the database lacks.
pub(super) async fn run<C: Migrate>(connection: &mut C) -> Result<(), DatabaseError> {
    let migrations = STEPS.map(|(number, name, sql)| {
        Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let known = STEPS[STEPS.len() - 1].0;
    let migrator = Migrator::with_migrations(migrations.to_vec());
    let migrated = migrator.run_direct(None, connection, false).await;
    migrated.map_err(|error| DatabaseError::of_migration(error, known))
}
