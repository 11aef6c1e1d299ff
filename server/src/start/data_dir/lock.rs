//! The lock of a data directory: only one server may use it. Two would overwrite each other's files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use super::files::{DataDirError, failed};

/// The file that a server locks as long as it runs. It stays when the server ends; the lock does not.
const NAME: &str = "server.lock";
/// Most bytes of the file that are read: a process id.
const PID_BYTES: u64 = 16;

/// The lock, which holds until this is dropped or the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    /// `None`: the file system has no locks, or takes no new file.
    _file: Option<File>,
}

impl DataDirLock {
    pub(super) fn take(dir: &Path) -> Result<Self, DataDirError> {
        let path = dir.join(NAME);
        let opened = open(&path).map_err(|error| failed("open", &path, error))?;
        let mut file = match opened.map_or_else(|| make(&path), Ok) {
            Ok(file) => file,
            Err(error) if takes_no_files(&error) => return Ok(Self::without(&error)),
            Err(error) => return Err(failed("make", &path, error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = dir.display().to_string();
                return Err(DataDirError::InUse { path, holder: holder(file) });
            }
            Err(TryLockError::Error(error)) => return Ok(Self::without(&error)),
        }
        // Only for the error text of another server. A full disk is no reason not to start.
        let _written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: Some(file) })
    }

    fn without(error: &io::Error) -> Self {
        tracing::warn!(
            "the data directory cannot be locked ({error}): make sure that no other server uses it"
        );
        Self { _file: None }
    }
}

/// Opens the file. `None`: it does not exist. A file that exists and cannot be opened is an error:
/// a server of another user may hold the lock.
fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true);
    // The owner of the directory must not lead a server of the administrator to another file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NOFOLLOW.bits() as i32,
    );
    // A lock needs no right to write.
    match options.clone().write(true).open(path).or_else(|_| options.open(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Makes the file and opens it.
fn make(path: &Path) -> io::Result<File> {
    match crate::private_file::create(path, b"") {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => open(path)?.ok_or_else(|| io::ErrorKind::NotFound.into()),
    }
}

/// Whether the error says that the directory takes no new files. Then a server starts without the
/// lock, with the keys that the directory has: the lock is against two servers that write.
fn takes_no_files(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::PermissionDenied
    )
}

/// Reads the process id that the holder of the lock has written.
fn holder(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
