//! Compiles the C programs of `tests/c` and `examples`, and runs them with the library and a real server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../../../client/tests/e2e/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nucleus_client::{Pose, Transform};
use support::TestServer;

/// Where cargo puts `libnucleus.so`: the folder of the tests, or the one above.
fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let is_there = |folder: &&Path| folder.join("libnucleus.so").exists();
    let found = [folder.as_path(), folder.parent().unwrap()].into_iter().find(is_there);
    found.unwrap_or_else(|| panic!("no libnucleus.so in {}", folder.display())).to_owned()
}

/// Compiles a program, and returns how to run it.
fn compile(source: &str, to: &Path) -> Command {
    let (root, library) = (Path::new(env!("CARGO_MANIFEST_DIR")), library());
    let program = to.join(Path::new(source).file_stem().unwrap());
    let compiled = Command::new("cc")
        .args(["-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(root.join(source))
        .arg("-I")
        .arg(root.join("include"))
        .arg("-L")
        .arg(&library)
        .args(["-lnucleus", "-lm"])
        .status();
    assert!(compiled.unwrap().success(), "{source} does not compile");
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", library).stdin(Stdio::null());
    command
}

/// Waits until a program ends. Ends it after two minutes.
fn wait(mut program: Child) -> Output {
    let end = Instant::now() + Duration::from_secs(120);
    while program.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            program.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    program.wait_with_output().unwrap()
}

async fn run(source: &str, users: &[&str]) {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = compile(source, folder.path());
    command.arg(server.on.session.to_string());
    command.args(users.iter().map(|user| server.token(user)));
    let program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = tokio::task::spawn_blocking(|| wait(program)).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source}: {}: {text}", output.status);
    assert_eq!(output.stdout, b"ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_headsets_in_a_room() {
    run("tests/c/room.c", &["ada", "bob"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_a_caller_are_errors() {
    run("tests/c/misuse.c", &["ada"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_sees_another_headset_and_leaves() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = compile("examples/headset.c", folder.path());
    command.arg(server.on.session.to_string()).arg(server.token("ada")).arg("Ada");
    let mut headset = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(headset.stdout.take().unwrap()).lines();
    let has_seen = tokio::task::spawn_blocking(|| {
        let mut awaited = vec!["joined demo as peer", "is at 1.00", "has left"];
        let mut printed = Vec::new();
        for line in lines.map_while(Result::ok) {
            awaited.retain(|text| !line.contains(text));
            printed.push(line);
            if awaited.is_empty() {
                return;
            }
        }
        panic!("the headset has not printed {awaited:?}: {printed:?}");
    });
    let options = server.options(server.token("bob")).room("demo");
    let other = nucleus_client::connect(options).await.unwrap();
    let head = Transform { position: [1.0, 1.7, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    for _ in 0..200 {
        other.send_pose(&Pose { head, left: None, right: None }).unwrap();
        other.poll().for_each(drop);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(other);
    let seen = tokio::time::timeout(Duration::from_secs(30), has_seen).await;
    headset.kill().unwrap();
    headset.wait().unwrap();
    seen.unwrap().unwrap();
}
