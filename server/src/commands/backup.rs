//! `nucleus backup` and `nucleus restore`: a directory with everything that a server needs to go on
//! elsewhere: its identity, its keys, its bans and its database.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nucleus_control::database::{Database, DatabaseAddress, DatabaseError};

use crate::private_file;

/// The database in a data directory.
const DATABASE: &str = "nucleus.db";
/// The other files, without which a server would be another one: clients could not come back with their
/// tickets.
const FILES: [&str; 8] = [
    "token-key.pem",
    "ticket-key",
    "reset-key",
    "address-token-key",
    "webhook-key",
    "bans.json",
    "acme-account.json",
    "acme-certificate.pem",
];
/// The server's id. It is copied last: a directory without it is no whole copy.
const ID: &str = "server-id";
/// How the names of development certificates begin.
const CERTIFICATES: &str = "tls-";

/// Why a backup or a restore failed. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The source is no data directory and no backup.
    #[error("{0} is no data directory of a server: it has no file server-id")]
    NotAServer(PathBuf),
    /// The target has files already.
    #[error("{0} exists and is not empty: nothing was written")]
    NotEmpty(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The database cannot be copied.
    #[error("the database cannot be copied: {0}")]
    Database(#[from] DatabaseError),
}

/// Copies a data directory to `to`, which is made. A server may run on it. Returns what to tell people.
///
/// # Errors
///
/// [`BackupError`]. What was written before stays, and is no whole backup.
pub async fn backup(data: &Path, to: &Path) -> Result<String, BackupError> {
    let has_database = copy(data, to)?;
    if !has_database {
        copy_file(&data.join(ID), &to.join(ID))?;
        return Ok(
            "done; there is no SQLite database: back PostgreSQL up with pg_dump\n".to_owned()
        );
    }
    let database = Database::open(&DatabaseAddress::Sqlite(data.join(DATABASE)));
    let target = to.join(DATABASE);
    let made = private_file::create(&target, b"");
    made.map_err(|source| BackupError::File { path: target.clone(), source })?;
    let copied = database.copy_into(&target).await;
    database.close().await;
    copied?;
    copy_file(&data.join(ID), &to.join(ID))?;
    Ok("done\n".to_owned())
}

/// Makes a data directory from a backup. No server may run on either of them.
///
/// # Errors
///
/// [`BackupError`]
pub fn restore(from: &Path, data: &Path) -> Result<String, BackupError> {
    if copy(from, data)? {
        copy_file(&from.join(DATABASE), &data.join(DATABASE))?;
    }
    copy_file(&from.join(ID), &data.join(ID))?;
    Ok("done\n".to_owned())
}

/// Copies all files but the database and the id to a directory that is empty or missing. Returns whether
/// there is a database.
fn copy(from: &Path, to: &Path) -> Result<bool, BackupError> {
    match std::fs::metadata(from.join(ID)) {
        Ok(metadata) if metadata.is_file() => {}
        // Not the user of the server: the files may well be there.
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Err(BackupError::File { path: from.join(ID), source });
        }
        _ => return Err(BackupError::NotAServer(from.to_owned())),
    }
    let of = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File { path, source }
    };
    private_file::create_dir(to).map_err(of(to))?;
    if std::fs::read_dir(to).map_err(of(to))?.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let mut names: Vec<String> = FILES.map(str::to_owned).to_vec();
    for entry in std::fs::read_dir(from).map_err(of(from))? {
        let name = entry.map_err(of(from))?.file_name();
        names
            .extend(name.to_str().filter(|name| name.starts_with(CERTIFICATES)).map(str::to_owned));
    }
    for name in names.iter().filter(|name| from.join(name).exists()) {
        copy_file(&from.join(name), &to.join(name))?;
    }
    Ok(from.join(DATABASE).exists())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let of = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File { path, source }
    };
    let mut source = open(from).map_err(of(from))?;
    private_file::create(to, b"").map_err(of(to))?;
    let copied = File::options().append(true).open(to).and_then(|mut target| {
        io::copy(&mut source, &mut target)?;
        target.sync_all()
    });
    copied.map_err(of(to))
}

/// Opens a regular file. The directory may belong to somebody else than who runs the command, and a link
/// in it could name any file of the machine.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed(),
    );
    let file = options.open(path)?;
    let is_file = file.metadata()?.is_file();
    is_file.then_some(file).ok_or_else(|| io::Error::other("this is no regular file"))
}

#[cfg(test)]
mod tests {
    use nucleus_control::store::{Actor, AuditedChange, TenantSettings, tenants};

    use super::*;
    use crate::start::data_dir::DataDir;

    async fn tenant_names(data: &Path) -> Vec<String> {
        let database = Database::open(&DatabaseAddress::Sqlite(data.join(DATABASE)));
        let all = tenants::all(&database).await.unwrap();
        database.close().await;
        all.into_iter().map(|tenant| tenant.name).collect()
    }

    #[tokio::test]
    async fn a_restored_server_is_the_same_server() {
        let dir = tempfile::tempdir().unwrap();
        let [data, saved, other] = ["data", "saved", "other"].map(|name| dir.path().join(name));
        let first = DataDir::open(&data).unwrap();
        let database = Database::open(&DatabaseAddress::Sqlite(data.join(DATABASE)));
        database.migrate().await.unwrap();
        let actor = Actor { name: "t".into(), ip: String::new(), request_id: String::new() };
        let now = nucleus_control::Timestamp::now();
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let settings = TenantSettings {
            name: "acme".to_owned(),
            products: Vec::new(),
            starts_at: None,
            ends_at: None,
            max_sessions: None,
            max_rooms: None,
            max_kept_rooms: None,
            active: true,
        };
        tenants::create(&mut change, &settings).await.unwrap();
        change.commit().await.unwrap();

        // The database stays open, as a running server has it.
        assert_eq!(backup(&data, &saved).await.unwrap(), "done\n");
        restore(&saved, &other).unwrap();
        let second = DataDir::open(&other).unwrap();
        assert_eq!(second.server_id(), first.server_id());
        assert_eq!(second.ticket_key(), first.ticket_key());
        assert_eq!(second.certificate_pin(), first.certificate_pin());
        assert_eq!(tenant_names(&other).await, ["acme"]);

        // A copy that was broken off has no id.
        let part = dir.path().join("part");
        copy(&saved, &part).unwrap();
        assert!(matches!(restore(&part, &dir.path().join("y")), Err(BackupError::NotAServer(_))));

        for (from, to) in [(&saved, &other), (&dir.path().join("no"), &dir.path().join("x"))] {
            assert!(restore(from, to).is_err());
        }
        assert!(matches!(backup(&data, &saved).await, Err(BackupError::NotEmpty(_))));
        database.close().await;
    }
}
