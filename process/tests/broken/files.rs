//! The data directory and its disk, and the limit of open files.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::clients::{check_poses, join};
use crate::server::{Setup, binary, public_binary};
use crate::shim::{Disk, Shim};

/// An account without rights.
const NOBODY: u32 = 65_534;

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_second_server_on_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Setup::new(dir.path()).start();
    let line = Setup::new(dir.path()).refused();
    assert!(line.contains("another server uses the data directory"), "{line}");
    assert!(line.contains(&dir.path().display().to_string()), "{line}");
    // A token needs no lock.
    first.token("ada", "participant");
    drop(first);
    Setup::new(dir.path()).start();
}

#[test]
fn too_few_file_descriptors_are_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let line = Setup { files: Some(8), ..Setup::new(dir.path()) }.refused();
    assert!(line.contains("LimitNOFILE"), "{line}");
    assert!(names_in(dir.path()).is_empty(), "it made files before it looked");
}

#[tokio::test]
async fn a_file_system_without_hard_links_is_enough() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shim = Shim::new(scratch.path(), dir.path()).without_links();
    let server = Setup { shim: Some(shim), ..Setup::new(dir.path()) }.start();
    check_poses(&server, "den").await;
    let drafts = names_in(dir.path()).into_iter().filter(|name| name.starts_with('.')).count();
    assert_eq!(drafts, 0, "drafts were left behind");
}

#[test]
fn a_full_disk_is_told_in_one_line_and_leaves_no_halves() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = dir.path().join("data");
    let shim = Shim::new(scratch.path(), &data);
    shim.set_disk(Disk::Full);
    let setup = || Setup { shim: Some(shim.clone()), ..Setup::new(&data) };
    let line = setup().refused();
    assert!(line.contains("No space left on device"), "{line}");
    assert_eq!(names_in(&data), [""; 0], "parts of files were left behind");
    shim.set_disk(Disk::Well);
    setup().start();
    shim.set_disk(Disk::Full);
    setup().start();
}

/// A server that has its keys needs no disk.
#[tokio::test]
async fn a_read_only_disk_is_enough_for_a_server_that_has_its_keys() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = dir.path().join("data");
    let shim = Shim::new(scratch.path(), &data);
    shim.set_disk(Disk::ReadOnly);
    let setup = || Setup { shim: Some(shim.clone()), ..Setup::new(&data) };
    let line = setup().refused();
    assert!(line.contains("Read-only file system"), "{line}");
    shim.set_disk(Disk::Well);
    drop(setup().start());
    shim.set_disk(Disk::ReadOnly);
    let server = setup().start();
    check_poses(&server, "den").await;
}

/// Bans cannot be written. They hold all the same, and the failure is counted.
#[tokio::test]
async fn a_disk_that_fills_or_hangs_later_stops_nobody() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shim = Shim::new(scratch.path(), dir.path());
    let mut server = Setup { shim: Some(shim.clone()), ..Setup::new(dir.path()) }.start();
    let host = join(&server, "host", "den", "host").await;
    shim.set_disk(Disk::Full);
    let bob = join(&server, "bob", "den", "participant").await;
    host.kick(bob.me(), Some(Duration::from_secs(600))).await.unwrap();
    server.until("the failure is counted", |s| s.metric("nucleus_bans_write_failures_total") > 0);
    shim.set_disk(Disk::Hangs);
    let cyd = join(&server, "cyd", "den", "participant").await;
    host.kick(cyd.me(), Some(Duration::from_secs(600))).await.unwrap();
    check_poses(&server, "yard").await;
    server.until("ready", |server| server.is_ready());
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(9)).success(), "it waits for the disk");
}

/// Whether the test runs as root, and so made `dir` for root. Only root can run a server as somebody
/// else.
fn is_root(dir: &Path) -> bool {
    std::fs::metadata(dir).unwrap().uid() == 0
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// No lock is needed where no server can write. A lock of somebody else counts as taken.
#[tokio::test]
async fn a_directory_that_may_only_be_read_is_enough_for_a_server_that_has_its_keys() {
    let parent = tempfile::tempdir().unwrap();
    if !is_root(parent.path()) {
        return;
    }
    set_mode(parent.path(), 0o755);
    let data = parent.path().join("data");
    drop(Setup::new(&data).start());
    set_mode(&data, 0o755);
    names_in(&data).iter().for_each(|name| set_mode(&data.join(name), 0o644));
    let lock = data.join("server.lock");
    std::fs::remove_file(&lock).unwrap();
    let as_nobody = || Setup { user: Some(NOBODY), ..Setup::new(&data) };
    let server = as_nobody().start();
    check_poses(&server, "den").await;
    drop(server);
    std::fs::write(&lock, "").unwrap();
    set_mode(&lock, 0o600);
    let line = as_nobody().refused();
    assert!(line.contains("cannot open") && line.contains("Permission denied"), "{line}");
}

/// `sudo nucleus token` on a directory of the server's user, before the server's first start.
#[test]
fn keys_that_the_administrator_makes_can_be_read_by_the_server() {
    let parent = tempfile::tempdir().unwrap();
    if !is_root(parent.path()) {
        return;
    }
    chown(parent.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let dir = parent.path().join("data");
    let token = ["token", "--product", "atom", "--tenant", "acme", "--user", "ada", "--data-dir"];
    let mut as_root = Command::new(binary());
    assert!(as_root.args(token).arg(&dir).output().unwrap().status.success());
    let mut as_nobody = Command::new(public_binary(&parent.path().join("nucleus")));
    let output = as_nobody.uid(NOBODY).gid(NOBODY).args(token).arg(&dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
