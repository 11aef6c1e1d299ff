//! Files and directories that only their owner may read. What the administrator makes in a directory
//! of the server's user belongs to that user, so that the server can read it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

#[cfg(unix)]
use foreign_dir::ForeignDir;

#[cfg(unix)]
mod foreign_dir;

/// The rights of a file: its owner reads and writes it.
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;
/// The rights of a directory: its owner uses it.
#[cfg(unix)]
const DIR_MODE: u32 = 0o700;

/// Writes a new file, down to the disk.
///
/// # Errors
///
/// The file exists, or cannot be written. Then nothing of it stays behind.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    #[cfg(unix)]
    if let Some((dir, name)) = ForeignDir::above(path)? {
        return dir.create(name, bytes);
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, FILE_MODE);
    let mut file = options.open(path)?;
    let written = write(&mut file, bytes);
    if written.is_err() {
        // A full disk keeps the name and a part of the content.
        let _removed = fs::remove_file(path);
    }
    written
}

fn write(file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory and the missing ones above it.
///
/// # Errors
///
/// A directory cannot be made.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
    }
    match create_one_dir(path) {
        // Another process has made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

fn create_one_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some((dir, name)) = ForeignDir::above(path)? {
        return dir.create_dir(name);
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, DIR_MODE);
    builder.create(path)
}

/// Gives a file a second name, if no file has that name yet. Afterwards the file has both names, or
/// only the new one.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if the name is taken, or another error of the system.
pub(crate) fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // Some file systems have no hard links: FAT, and many that are mounted from elsewhere.
            rename_if_free(draft, path)
        }
        result => result,
    }
}

#[cfg(target_os = "linux")]
fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Of two processes that make a file at the same moment on such a file system, the second one
        // wins. Both run by a person, within a millisecond.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Replaces a file by a new one, or makes it. After a crash the file has the old content or the new
/// one, never a part.
///
/// # Errors
///
/// The file cannot be written. It then still has its old content.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!(".{name}.draft"));
    // A process that was killed may have left a draft.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create(&draft, bytes)?;
    fs::rename(&draft, dir.join(name))?;
    sync_dir(dir)
}

/// Writes a directory to the disk, so that its new names survive a power failure. Only Unix opens a
/// directory, and not every file system can write one by itself. On such a one the names are as safe
/// as they can be.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match fs::File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(error) if cannot_sync_dirs(&error) => Ok(()),
        result => result,
    }
}

/// Whether the error says that a directory cannot be written by itself. Otherwise the disk has
/// failed.
fn cannot_sync_dirs(error: &io::Error) -> bool {
    let kinds = [
        // EINVAL.
        io::ErrorKind::InvalidInput,
        // EOPNOTSUPP and ENOSYS.
        io::ErrorKind::Unsupported,
        // EPERM and EACCES. The directory may also be one that this user cannot read.
        io::ErrorKind::PermissionDenied,
    ];
    // The standard library has no kind for EBADF.
    #[cfg(unix)]
    let is_bad_descriptor = error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error());
    #[cfg(not(unix))]
    let is_bad_descriptor = false;
    kinds.contains(&error.kind()) || is_bad_descriptor
}

#[cfg(test)]
mod tests;
