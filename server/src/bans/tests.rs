use std::fs;
use std::time::Instant;

use nucleus_core::ids::{Product, ProductKey};

use super::*;

const DAY: u64 = 86_400;

fn room(name: &str) -> RoomKey {
    ProductKey { tenant: "acme".to_owned(), product: Product::ASSIST }.room(name)
}

fn ban(user: &str, seconds: u64) -> Ban {
    Ban { user: user.to_owned(), time: Duration::from_secs(seconds) }
}

fn users(store: &BanStore, name: &str) -> Vec<String> {
    store.of(&room(name)).into_iter().map(|ban| ban.user).collect()
}

/// Waits until the thread has done something.
fn until(done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "not within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn content(dir: &Path) -> String {
    fs::read_to_string(file::path(dir)).unwrap_or_default()
}

fn names_in(dir: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
    names.sort();
    names
}

/// Returns a file with one ban of the user "ada" in the room "den".
fn file_with(version: u32, user: &str, until: u64) -> String {
    format!(
        r#"{{"version":{version},"bans":[{{"tenant":"acme","product":"assist","room":"den","user":"{user}","until":{until}}}]}}"#
    )
}

#[tokio::test]
async fn bans_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = BanStore::open(dir.path()).unwrap();
    assert_eq!(names_in(dir.path()), [""; 0], "no file without a ban");
    for (name, user) in [("den", "ada"), ("den", "\"Zoë\" \\"), ("yard", "bob"), ("old", "cyd")] {
        store.add(&room(name), &ban(user, DAY));
    }
    store.end(&room("old"));
    store.add(&room("den"), &ban("forgiven", DAY));
    store.remove(&room("den"), "forgiven");
    store.close().await;
    assert_eq!(names_in(dir.path()), ["bans.json"]);
    let store = BanStore::open(dir.path()).unwrap();
    assert_eq!(users(&store, "den"), ["ada", "\"Zoë\" \\"]);
    assert_eq!((users(&store, "yard"), store.count()), (vec!["bob".to_owned()], 3));
    let left = store.of(&room("den"))[0].time.as_secs();
    assert!((DAY - 20..=DAY).contains(&left), "{left}");
    // The bans of the new instance are kept until it ends by itself.
    store.close().await;
    let store = BanStore::open(dir.path()).unwrap();
    store.end(&room("den"));
    store.close().await;
    assert_eq!(BanStore::open(dir.path()).unwrap().count(), 1);
}

/// The second store is that of a server that starts after the first one was killed.
#[test]
fn a_ban_is_in_the_file_although_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let killed = BanStore::open(dir.path()).unwrap();
    killed.add(&room("den"), &ban("ada", 60));
    until(|| content(dir.path()).contains("ada"));
    fs::write(dir.path().join(".bans.json.draft"), b"half a file").unwrap();
    let store = BanStore::open(dir.path()).unwrap();
    assert_eq!(users(&store, "den"), ["ada"]);
    store.add(&room("den"), &ban("bob", 60));
    until(|| content(dir.path()).contains("bob"));
}

#[test]
#[cfg(unix)]
fn only_the_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = BanStore::open(dir.path()).unwrap();
    store.add(&room("den"), &ban("ada", 60));
    until(|| content(dir.path()).contains("ada"));
    let mode = fs::metadata(file::path(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_set_aside_and_the_server_starts() {
    let end = unix_now() + DAY;
    let good = file_with(1, "ada", end);
    let bad = [
        Vec::new(),
        b"nonsense".to_vec(),
        b"[]".to_vec(),
        vec![0; 4_096],
        good.as_bytes()[..good.len() - 1].to_vec(),
        format!("{good}{good}").into_bytes(),
        good.replace("assist", "no name").into_bytes(),
        good.replace(&end.to_string(), "-1").into_bytes(),
        file_with(2, "ada", end).into_bytes(),
        br#"{"version":2,"another":"format"}"#.to_vec(),
        file_with(1, "", end).into_bytes(),
        file_with(1, &"u".repeat(129), end).into_bytes(),
        [good.as_bytes(), &vec![b' '; limits::BANS_FILE_BYTES as usize]].concat(),
    ];
    for bad in bad {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file::path(dir.path()), &bad).unwrap();
        let store = BanStore::open(dir.path()).unwrap();
        assert_eq!(store.count(), 0);
        assert_eq!(names_in(dir.path()), ["bans.damaged.json"]);
        assert!(fs::read(dir.path().join("bans.damaged.json")).unwrap() == bad, "it was changed");
        store.add(&room("den"), &ban("bob", 60));
        store.close().await;
        assert_eq!(users(&BanStore::open(dir.path()).unwrap(), "den"), ["bob"]);
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(file::path(dir.path()), good).unwrap();
    assert_eq!(users(&BanStore::open(dir.path()).unwrap(), "den"), ["ada"]);
}

#[test]
fn a_directory_in_place_of_the_file_is_set_aside_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        fs::create_dir(file::path(dir.path())).unwrap();
        let store = BanStore::open(dir.path()).unwrap();
        store.add(&room("den"), &ban("ada", 60));
        until(|| content(dir.path()).contains("ada"));
        fs::remove_file(file::path(dir.path())).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_takes_no_file_ends_no_ban() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let store = BanStore::open(&dir).unwrap();
    store.add(&room("den"), &ban("ada", 60));
    until(|| store.write_failures() == 1);
    store.add(&room("den"), &ban("bob", 60));
    assert_eq!(users(&store, "den"), ["ada", "bob"]);
    // The thread tries again, at the latest when the server stops.
    fs::create_dir(&dir).unwrap();
    store.close().await;
    assert_eq!(users(&BanStore::open(&dir).unwrap(), "den"), ["ada", "bob"]);
}

/// The thread wakes up without a change, and leaves the bans to the rooms.
#[test]
fn an_idle_store_takes_bans() {
    let dir = tempfile::tempdir().unwrap();
    let store = BanStore::open_with(dir.path(), Duration::from_millis(1)).unwrap();
    for user in ["ada", "bob"] {
        std::thread::sleep(Duration::from_millis(50));
        store.add(&room("den"), &ban(user, 60));
        until(|| content(dir.path()).contains(user));
    }
}

#[test]
fn a_file_that_cannot_be_written_is_tried_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let store = BanStore::open_with(&dir, Duration::from_millis(1)).unwrap();
    store.add(&room("den"), &ban("ada", 60));
    until(|| store.write_failures() == 2);
    fs::create_dir(&dir).unwrap();
    until(|| content(&dir).contains("ada"));
}

/// A ban that ends while the server runs: nobody makes another, and the file loses it.
#[test]
fn the_file_loses_a_ban_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = BanStore::open_with(dir.path(), Duration::from_millis(1)).unwrap();
    store.add(&room("den"), &ban("ada", 1));
    until(|| content(dir.path()).contains("ada"));
    until(|| !content(dir.path()).contains("ada"));
    assert_eq!(store.count(), 0);
}

#[test]
fn the_file_loses_the_bans_that_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(file::path(dir.path()), file_with(1, "ada", unix_now())).unwrap();
    let store = BanStore::open(dir.path()).unwrap();
    assert_eq!(store.count(), 0);
    until(|| !content(dir.path()).contains("ada"));
    assert_eq!(content(dir.path()), r#"{"version":1,"bans":[]}"#);
}

/// The largest file, with names of which JSON escapes each character, is not too large to be read.
#[tokio::test]
async fn the_largest_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = BanStore::open(dir.path()).unwrap();
    let owner = ProductKey { tenant: "\u{1}".repeat(64), product: Product::ASSIST };
    for number in 0..limits::BAN_RECORDS {
        let room = owner.room(format!("{}{:04}", "\u{1}".repeat(124), number / limits::BANS));
        store.add(&room, &ban(&format!("{}{number:04}", "\u{1}".repeat(124)), DAY));
    }
    store.close().await;
    assert_eq!(BanStore::open(dir.path()).unwrap().count(), limits::BAN_RECORDS);
}
