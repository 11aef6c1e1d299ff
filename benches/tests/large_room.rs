//! Tests of the `large_room` binary with real servers. `cargo test --workspace` builds the server's
//! binary too; with `-p nucleus-benches` alone, build it first: `cargo build`.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest time until both servers run.
const START: Duration = Duration::from_secs(60);

fn large_room(args: &str) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_large_room"));
    assert!(program.with_file_name("nucleus").is_file(), "build the server first: cargo build");
    let mut command = Command::new(program);
    command.args(args.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("cargo builds the binary for this test")
}

/// Returns the process ids of the servers of a `large_room` process, whose data directories are
/// named after it.
fn servers_of(parent: u32) -> Vec<u32> {
    let mark = format!("nucleus-loadgen-{parent}-");
    let processes = fs::read_dir("/proc").expect("Linux has /proc").filter_map(Result::ok);
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let is_server = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        command.contains(&mark) && command.contains("--data-dir")
    };
    pids.filter(is_server).collect()
}

#[test]
fn a_measurement_without_its_servers_has_no_result() {
    let child = large_room("--members 20 --senders 1 --rounds 1 --seconds 15");
    let deadline = Instant::now() + START;
    let servers = loop {
        let servers = servers_of(child.id());
        if servers.len() == 2 {
            break servers;
        }
        assert!(Instant::now() < deadline, "no servers");
        std::thread::sleep(Duration::from_millis(20));
    };
    // The flood settles for 3 s and is measured for 15 s.
    std::thread::sleep(Duration::from_secs(6));
    let kills = servers.iter().map(|pid| format!("kill -KILL {pid}; ")).collect::<String>();
    assert!(Command::new("sh").args(["-c", &kills]).status().is_ok());
    let output = child.wait_with_output().expect("the process ends");
    let reason = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{reason}");
    assert!(reason.contains("the server ended during the run: signal 9"), "{reason}");
    assert!(output.stdout.is_empty(), "a table without servers");
}
