//! Files that only their owner may read.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Writes a new file, down to the disk.
///
/// # Errors
///
/// The file exists, or cannot be written.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
    // The new name must survive a power failure too. Only Unix opens a directory.
    #[cfg(unix)]
    fs::File::open(dir)?.sync_all()?;
    Ok(())
}
