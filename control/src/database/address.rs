//! Where the database is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// Where the database is.
#[derive(Clone)]
pub enum DatabaseAddress {
    /// A SQLite file, which is created if it does not exist.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

/// A text that is not the address of a PostgreSQL database. The text may hold a password, so it is not
/// repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address of the database must be of the form postgres://user:password@host:port/database"
)]
pub struct AddressError;

impl FromStr for DatabaseAddress {
    type Err = AddressError;

    /// Reads `postgres://user:password@host:port/database`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(AddressError);
        }
        let options = text.parse::<PgConnectOptions>().map_err(|_| AddressError)?;
        Ok(Self::Postgres(Box::new(options.application_name("nucleus"))))
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                write!(f, "postgres://{}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }
}

/// Never shows a password.
impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Creates a file that only its owner can read, unless it exists. SQLite gives the same rights to the
/// files beside it.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password() {
        let text = "postgres://nucleus:secret-7@db.example:5433/control";
        let address: DatabaseAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), "postgres://db.example:5433/control");
        assert!(!format!("{address:?}").contains("secret"));
        for wrong in ["", "sqlite://x", "postgres:/x", "mysql://a/b", "postgres://a:b@c:notaport/d"]
        {
            let error = wrong.parse::<DatabaseAddress>().expect_err(wrong);
            assert!(error.to_string().contains("postgres://user"));
        }
    }
}
