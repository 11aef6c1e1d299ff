#![cfg(unix)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const NOBODY: u32 = 65_534;

/// A directory of another user, and beside it a file of the administrator.
struct Foreign {
    _parent: tempfile::TempDir,
    dir: PathBuf,
    secret: PathBuf,
}

impl Foreign {
    /// `None`: only the administrator makes files for somebody else.
    fn new() -> Option<Self> {
        let parent = tempfile::tempdir().unwrap();
        let (dir, secret) = (parent.path().join("service"), parent.path().join("shadow"));
        fs::create_dir(&dir).unwrap();
        fs::write(&secret, "root").unwrap();
        let is_root = fs::metadata(&secret).unwrap().uid() == 0;
        is_root.then(|| {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
            Self { _parent: parent, dir, secret }
        })
    }

    /// Runs `make` while the owner of the directory replaces what is made by a symbolic link to the
    /// administrator's file. Returns whether the owner was in time.
    fn attack(&self, name: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> bool {
        let (path, link, ended) =
            (self.dir.join(name), self.dir.join("link"), AtomicBool::new(false));
        let _old = fs::remove_file(&link);
        symlink(&self.secret, &link).unwrap();
        thread::scope(|scope| {
            let attacker = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let is_gone = fs::symlink_metadata(&path).is_ok()
                        && (fs::remove_file(&path).is_ok() || fs::remove_dir(&path).is_ok());
                    if is_gone {
                        return fs::rename(&link, &path).is_ok();
                    }
                }
                false
            });
            // Whether it works does not matter.
            let _made = make(&path);
            ended.store(true, Ordering::Relaxed);
            attacker.join().unwrap()
        })
    }

    fn check_secret(&self) {
        assert_eq!(fs::metadata(&self.secret).unwrap().uid(), 0, "the file was given away");
        assert_eq!(fs::read(&self.secret).unwrap(), b"root");
    }
}

/// What is made in a directory of somebody else belongs to its owner, and only the owner reads it.
#[test]
fn the_owner_of_the_directory_gets_what_is_made_in_it() {
    let Some(foreign) = Foreign::new() else { return };
    let dir = foreign.dir.join("a/b");
    create_dir(&dir).unwrap();
    create(&dir.join("key"), b"key").unwrap();
    for (path, mode) in [("a", 0o700), ("a/b", 0o700), ("a/b/key", 0o600)] {
        let made = fs::metadata(foreign.dir.join(path)).unwrap();
        assert_eq!((made.uid(), made.gid()), (NOBODY, NOBODY), "{path}");
        assert_eq!(made.permissions().mode() & 0o777, mode, "{path}");
    }
    let again = create(&dir.join("key"), b"other").unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(dir.join("key")).unwrap(), b"key");
}

#[test]
fn a_link_in_the_place_of_a_new_file_is_not_followed() {
    let Some(foreign) = Foreign::new() else { return };
    // Long enough for an attacker while it is written.
    let content = vec![0; 8 << 20];
    let in_time =
        (0..10).filter(|n| foreign.attack(&format!("key-{n}"), |path| create(path, &content)));
    assert!(in_time.count() > 0, "nothing was attacked");
    foreign.check_secret();
}

#[test]
fn a_link_in_the_place_of_a_new_directory_is_not_followed() {
    let Some(foreign) = Foreign::new() else { return };
    for n in 0..500 {
        foreign.attack(&format!("data-{n}"), create_dir);
        foreign.check_secret();
    }
}

#[test]
fn an_existing_link_is_not_followed() {
    let Some(foreign) = Foreign::new() else { return };
    symlink(&foreign.secret, foreign.dir.join("key")).unwrap();
    symlink(foreign.dir.join("nowhere"), foreign.dir.join("new")).unwrap();
    for name in ["key", "new"] {
        let error = create(&foreign.dir.join(name), b"key").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
    }
    assert!(!foreign.dir.join("nowhere").exists());
    foreign.check_secret();
}

/// That a file system cannot write a directory by itself is no error. A failed disk is one.
#[test]
fn a_file_system_that_cannot_sync_directories_is_enough() {
    use rustix::io::Errno;
    for errno in [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS, Errno::PERM, Errno::BADF] {
        assert!(cannot_sync_dirs(&errno.into()), "{errno}");
    }
    for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS] {
        assert!(!cannot_sync_dirs(&errno.into()), "{errno}");
    }
}
