//! Signals, and a process that is paused.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use nucleus_client::{
    Code, ConnectError, ConnectOptions, JoinError, Room, RoomEvent, Trust, connect,
};

use crate::clients::{check_poses, hear, join, try_join};
use crate::heavy::alone;
use crate::log_reader::LogReader;
use crate::server::{RESUMES, Server, Setup};
use crate::shim::{Disk, Shim};

/// Writes a certificate that signs itself and ends in so many days, and its key. Returns its pin.
fn write_identity(dir: &Path, days: i64) -> [u8; 32] {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let day = |days: i64| {
        let seconds = now.checked_add_signed(days * 86_400).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (day(-100), day(days));
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    let digest = digest::digest(&digest::SHA256, certificate.der());
    digest.as_ref().try_into().unwrap()
}

fn tls_config(dir: &Path) -> String {
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name).display().to_string());
    format!("[tls]\ncert_file = \"{cert}\"\nkey_file = \"{key}\"\n")
}

async fn join_pinned(
    server: &Server,
    token: &str,
    room: &str,
    pin: [u8; 32],
) -> Result<Room, ConnectError> {
    let options = ConnectOptions::new(server.session(), token).room(room);
    connect(options.trust(Trust::Pins(vec![pin]))).await
}

/// Waits until new sessions get the certificate with this pin.
async fn until_served(server: &Server, token: &str, pin: [u8; 32]) {
    let mut tries = 0;
    while let Err(error) = join_pinned(server, token, "door", pin).await {
        tries += 1;
        assert!(tries < 100, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_no_session_is_lost() {
    let _alone = alone();
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = write_identity(files.path(), 90);
    let server = Setup { config: tls_config(files.path()), ..Setup::new(dir.path()) }.start();
    let token = server.token("ada", "participant");
    let mut headsets = Vec::new();
    for n in 0..200 {
        let room = format!("room-{}", n / 10);
        headsets.push(join_pinned(&server, &token, &room, first).await.unwrap());
    }
    let mut pin = first;
    for _ in 0..100 {
        let old = pin;
        pin = write_identity(files.path(), 90);
        server.signal("HUP");
        until_served(&server, &token, pin).await;
        assert!(join_pinned(&server, &token, "door", old).await.is_err(), "the old one is served");
    }
    assert_eq!(server.metric(RESUMES), 0);
    assert!(server.metric("nucleus_sessions") >= 200);
    drop(headsets);
}

#[tokio::test]
async fn a_bad_certificate_is_not_taken_and_ends_nothing() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = write_identity(files.path(), 90);
    let (log, stderr) = LogReader::new();
    let config = tls_config(files.path());
    let server = Setup { config, stderr, ..Setup::new(dir.path()) }.start();
    let token = server.token("ada", "participant");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| files.path().join(name));
    let good = std::fs::read(&certificate).unwrap();
    let is_reloaded = || server.metric("nucleus_config_last_reload_success");
    assert_eq!(is_reloaded(), 1, "nothing has failed");
    std::fs::write(&certificate, "nonsense").unwrap();
    server.signal("HUP");
    log.wait_for(&["certificate was not reloaded", "cert.pem"]);
    std::fs::write(&certificate, good).unwrap();
    std::fs::remove_file(key).unwrap();
    server.signal("HUP");
    log.wait_for(&["certificate was not reloaded", "key.pem"]);
    assert_eq!(is_reloaded(), 0);
    until_served(&server, &token, first).await;
    let mended = write_identity(files.path(), 90);
    server.signal("HUP");
    until_served(&server, &token, mended).await;
    server.until("the success is told", |_| is_reloaded() == 1);
}

#[tokio::test]
async fn a_hangup_ends_no_server_in_development_mode() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Setup::new(dir.path()).start();
    for _ in 0..10 {
        server.signal("HUP");
    }
    check_poses(&server, "den").await;
    assert!(server.ended().is_none());
}

#[test]
fn an_expired_certificate_is_told_in_the_log_and_in_the_metrics() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (days, word) in [(-1, "ended on"), (3, "ends on")] {
        write_identity(files.path(), days);
        let (log, stderr) = LogReader::new();
        let config = tls_config(files.path());
        let server = Setup { config, stderr, ..Setup::new(dir.path()) }.start();
        log.wait_for(&["cert.pem", word]);
        let end = server.metric("nucleus_tls_certificate_expiry_timestamp_seconds");
        assert!(end.abs_diff(now.checked_add_signed(days * 86_400).unwrap()) < 600);
    }
}

#[tokio::test]
async fn who_connects_while_the_server_stops_is_told_so() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let others = "[servers]\nothers = [\"127.0.0.1:9\"]\n".to_owned();
    let (log, stderr) = LogReader::new();
    let mut server = Setup { config: others, stderr, ..Setup::new(dir.path()) }.start();
    let _room = join(&server, "ada", "den", "participant").await;
    let token = server.token("bob", "participant");
    server.signal("TERM");
    log.wait_for(&["stopping"]);
    let refused = try_join(&server, token, "den").await.err().expect("joined a server that stops");
    let code = match &refused {
        ConnectError::Join(JoinError::Refused { code, .. }) => *code,
        _ => None,
    };
    assert_eq!(code, Some(Code::ShuttingDown), "{refused}");
    assert!(server.wait(Duration::from_secs(10)).success());
}

/// The disk hangs, and the server waits for it as long as it may. A second signal ends it at once.
#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shim = Shim::new(scratch.path(), dir.path());
    let (log, stderr) = LogReader::new();
    let mut server = Setup { shim: Some(shim.clone()), stderr, ..Setup::new(dir.path()) }.start();
    let host = join(&server, "host", "den", "host").await;
    let bob = join(&server, "bob", "den", "participant").await;
    shim.set_disk(Disk::Hangs);
    // The file of bans is written.
    host.kick(bob.me(), Some(Duration::from_secs(600))).await.unwrap();
    server.signal("TERM");
    log.wait_for(&["stopping"]);
    // Time for the server to get as far as the disk.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.ended().is_none(), "it did not wait for the disk");
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(3)).code(), Some(130));
}

/// Paused for less than a session may be silent: nobody is lost.
#[tokio::test]
async fn a_paused_server_loses_nobody() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let server = Setup::new(dir.path()).start();
    let mut rooms = Vec::new();
    for n in 0..5 {
        rooms.push(join(&server, &format!("user-{n}"), "den", "participant").await);
    }
    for seconds in [3, 12] {
        server.signal("STOP");
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        server.signal("CONT");
        server.until("ready again", Server::is_ready);
        check_poses(&server, "den").await;
        assert_eq!(server.metric(RESUMES), 0, "after {seconds} s");
    }
    for room in &rooms {
        let seen: BTreeSet<_> = room.peers().iter().map(|peer| peer.id).collect();
        let others = rooms.iter().map(Room::me).filter(|&id| id != room.me());
        for id in others {
            assert!(seen.contains(&id), "{:?} sees {seen:?}, not {id:?}", room.me());
        }
    }
}

#[tokio::test]
async fn a_killed_server_starts_again_on_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Setup::new(dir.path()).start();
    let room = join(&server, "ada", "den", "participant").await;
    let server = server.kill().start();
    hear(&room, |event| {
        matches!(event, RoomEvent::Resumed { .. } | RoomEvent::Rejoined { .. }).then_some(())
    })
    .await;
    check_poses(&server, "den").await;
}
