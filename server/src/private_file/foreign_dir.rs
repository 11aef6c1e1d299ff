//! A directory that belongs to another user than the administrator, who makes files in it.
//!
//! Its owner may be a service that an attacker has taken over, and can replace whatever is in the
//! directory at any time. So the administrator follows no path a second time: a file is made below
//! the opened directory, and its open handle is given away, not its name. Otherwise a symbolic link
//! could take the place of the file, and the administrator would give `/etc/shadow` to the service.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Gid, Mode, OFlags, Uid};
use rustix::process::geteuid;

use super::{DIR_MODE, FILE_MODE, write};

/// An open directory of another user.
pub(super) struct ForeignDir {
    dir: OwnedFd,
    owner: (Uid, Gid),
}

impl ForeignDir {
    /// Opens the directory that contains `path`. Returns it with the last part of `path`. `None`: it
    /// is the administrator's own, or this process is not the administrator's and cannot give files
    /// away.
    ///
    /// # Errors
    ///
    /// The directory cannot be opened.
    pub(super) fn above(path: &Path) -> io::Result<Option<(Self, &OsStr)>> {
        let Some(name) = path.file_name().filter(|_| geteuid().is_root()) else { return Ok(None) };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let dir = open_dir(CWD, parent.as_os_str(), OFlags::empty())?;
        let stat = rustix::fs::fstat(&dir)?;
        let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        Ok((!owner.0.is_root()).then_some((Self { dir, owner }, name)))
    }

    /// Writes a new file, down to the disk, and gives it to the owner of the directory.
    ///
    /// # Errors
    ///
    /// The file exists, or cannot be written. Then nothing of it stays behind.
    pub(super) fn create(&self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        // Fails if the name is taken, also by a symbolic link.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(FILE_MODE as _);
        let mut file = File::from(rustix::fs::openat(&self.dir, name, flags, mode)?);
        let written = write(&mut file, bytes);
        match written {
            Ok(()) => self.give(&file),
            Err(_) => _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()),
        }
        written
    }

    /// Makes a directory and gives it to the owner of this one.
    ///
    /// # Errors
    ///
    /// The name is taken, or the directory cannot be made.
    pub(super) fn create_dir(&self, name: &OsStr) -> io::Result<()> {
        rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(DIR_MODE as _))?;
        let made = open_dir(self.dir.as_fd(), name, OFlags::NOFOLLOW)?;
        // Not empty: the owner has moved another directory here.
        if is_empty(&made)? {
            self.give(&made);
        }
        Ok(())
    }

    fn give(&self, made: impl AsFd) {
        let (user, group) = self.owner;
        // Fails without the right to do so, in a container for example. The administrator can read
        // the file then.
        let _given = rustix::fs::fchown(made, Some(user), Some(group));
    }
}

fn open_dir(below: impl AsFd, path: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(below, path, flags, Mode::empty())?)
}

fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(dir)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
