//! A stderr that takes nothing.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nucleus_client::{Room, StateError};
use tokio::task::JoinSet;

use crate::clients::{check_poses, join, try_join};
use crate::heavy::alone;
use crate::log_reader::LogReader;
use crate::server::{Server, Setup};

/// Acts of moderation in one room: no more than a room accepts at once.
const ACTS: usize = 20;

/// Lets a host lock and unlock a room. Each act is a line in the log.
async fn moderate(host: Room) -> Result<(), StateError> {
    for act in 0..ACTS {
        host.lock(act % 2 == 0).await?;
    }
    Ok(())
}

async fn moderate_in_rooms(server: &Server, rooms: usize) {
    let mut hosts = JoinSet::new();
    for n in 0..rooms {
        hosts.spawn(moderate(
            join(server, &format!("host-{n}"), &format!("room-{n}"), "host").await,
        ));
    }
    for done in hosts.join_all().await {
        done.unwrap();
    }
}

/// SIGTERM ends the server in its time.
fn check_stop(mut server: Server) {
    let start = Instant::now();
    server.signal("TERM");
    let status = server.wait(Duration::from_secs(9));
    assert!(status.success(), "{status} after {:?}", start.elapsed());
}

#[tokio::test]
async fn a_full_stderr_loses_lines_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = Setup { stderr: full.into(), ..Setup::new(dir.path()) }.start();
    moderate_in_rooms(&server, 2).await;
    check_poses(&server, "den").await;
    server.until("lost lines are counted", |s| s.metric("nucleus_log_dropped_total") >= 40);
    // Some seconds without clients. The notices of the loss fail too, and are no lost lines.
    let lost = || server.metric("nucleus_log_dropped_total");
    std::thread::sleep(Duration::from_secs(2));
    let before = lost();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(lost(), before, "lines were lost without any to log");
    check_stop(server);
}

#[tokio::test]
async fn a_closed_stderr_loses_lines_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let server = Setup { stderr: writer.into(), ..Setup::new(dir.path()) }.start();
    // As `head -2` does.
    let mut lines = BufReader::new(reader).lines();
    assert!(lines.next().unwrap().unwrap().contains("ready"));
    drop(lines);
    moderate_in_rooms(&server, 2).await;
    check_poses(&server, "den").await;
    server.until("lost lines are counted", |s| s.metric("nucleus_log_dropped_total") >= 40);
    check_stop(server);
}

/// Nobody reads the pipe. At level trace it is full after a moment.
#[tokio::test]
async fn a_stuck_stderr_holds_nobody_up() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let setup = Setup { stderr: writer.into(), level: "trace", ..Setup::new(dir.path()) };
    let server = setup.start();
    moderate_in_rooms(&server, 25).await;
    let mut joins = JoinSet::new();
    for n in 0..50 {
        let token = server.token(&format!("user-{n}"), "participant");
        let (address, room) = (server.session(), format!("room-{}", n % 5 + 100));
        joins.spawn(async move {
            let options = nucleus_client::ConnectOptions::new(address, token).room(room);
            nucleus_client::connect(options).await
        });
    }
    let joined = joins.join_all().await.into_iter().filter(Result::is_ok).count();
    assert_eq!(joined, 50);
    server.until("ready", Server::is_ready);
    assert!(server.metric("nucleus_log_dropped_total") > 0, "the pipe was not stuck");
    check_stop(server);
    drop(reader);
}

/// The pipe is read again, and the log says how many lines it lacks.
#[tokio::test]
async fn a_log_that_goes_on_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let setup = Setup { stderr: writer.into(), level: "trace", ..Setup::new(dir.path()) };
    let server = setup.start();
    while server.metric("nucleus_log_dropped_total") == 0 {
        drop(try_join(&server, server.token("ada", "participant"), "den").await.unwrap());
    }
    let log = LogReader::of(reader);
    log.wait_for(&["lines of the log were lost"]);
    check_stop(server);
    log.wait_for(&["stopping"]);
}

/// A failure after the log was set up is told behind it, and a stuck stderr does not hold it up.
#[test]
fn a_failed_start_ends_although_stderr_is_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let first = Setup::new(dir.path()).start();
    let (reader, writer) = std::io::pipe().unwrap();
    // Fills the pipe, and keeps it full.
    let mut filler = Command::new("sh");
    filler.args(["-c", "yes"]).stdout(writer.try_clone().unwrap()).stderr(Stdio::null());
    let mut filler = filler.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let mut second = Command::new(crate::server::binary());
    second.args(["--http", "off", "--data-dir"]).arg(dir.path()).stderr(writer);
    second.args(["--session", "127.0.0.1:0", "--realtime", "127.0.0.1:0"]);
    let mut second = second.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = second.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "it waits for stderr");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(2));
    filler.kill().unwrap();
    filler.wait().unwrap();
    drop((reader, first));
}
