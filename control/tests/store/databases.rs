//! Open databases for tests.

use nucleus_control::database::DatabaseAddress;
use nucleus_control::database::{Database, DatabaseError};
use nucleus_control::store::{Actor, PageRequest};

use crate::fresh::{Fresh, fresh};

/// Opens a database and brings its tables up to date.
pub(crate) async fn open(address: &DatabaseAddress) -> Result<Database, DatabaseError> {
    let database = Database::open(address);
    database.migrate().await?;
    Ok(database)
}

/// Returns an open database of each of [`fresh`].
pub(crate) async fn databases() -> Vec<(Fresh, Database)> {
    let mut databases = Vec::new();
    for fresh in fresh().await {
        let database = open(&fresh.address).await.unwrap();
        databases.push((fresh, database));
    }
    databases
}

pub(crate) fn actor() -> Actor {
    Actor { name: "test".to_owned(), ip: "127.0.0.1".to_owned(), request_id: "r1".to_owned() }
}

pub(crate) fn page(after: Option<&str>, limit: u32) -> PageRequest {
    PageRequest { after: after.map(str::to_owned), limit }
}
