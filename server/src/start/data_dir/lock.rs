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
    /// `None`: the file system has no locks.
    _file: Option<File>,
}

impl DataDirLock {
    pub(super) fn take(dir: &Path) -> Result<Self, DataDirError> {
        let path = dir.join(NAME);
        let mut file = match open(&path) {
            Ok(file) => file,
            // On a disk that takes no new files a server can still run, with the keys that it has.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull
                ) =>
            {
                return Ok(Self::without(&error));
            }
            Err(error) => return Err(failed("open", &path, error)),
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

/// Opens the file, and makes it if it does not exist.
fn open(path: &Path) -> io::Result<File> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // A lock needs no right to write.
        Err(_) => return File::open(path),
        opened => return opened,
    }
    match crate::private_file::create(path, b"") {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => OpenOptions::new().read(true).write(true).open(path),
    }
}

/// Reads the process id that the holder of the lock has written.
fn holder(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
