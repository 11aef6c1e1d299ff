//! Checks what the program prints for a wrong command line: one line on stderr, and exit code 2.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking and says why")]

use std::process::{Command, Output};

fn nucleus(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nucleus")).args(args).output().unwrap()
}

#[test]
fn a_usage_error_is_one_line_and_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "tick = 5\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, named) in [
        (&["--what"][..], "--what"),
        (&["fly"], "fly"),
        (&["--shards", "70000"], "--shards"),
        (&["token", "--product", "atom"], "--tenant"),
        (&["token", "--product", "Radio 1", "--tenant", "t", "--user", "u"], "--product"),
        (&["--config", file], "tick"),
        (&["--http", "off", "--data-dir", file], "--data-dir"),
    ] {
        let output = nucleus(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.starts_with("nucleus: ") && stderr.contains(named), "{args:?}: {stderr}");
        assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_token_that_outlives_its_pins_has_a_note_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    for (ttl, has_note) in [("1h", false), ("30d", true)] {
        let args = ["token", "--product", "atom", "--tenant", "t", "--user", "u", "--ttl", ttl];
        let output = nucleus(&[&args[..], &["--data-dir", dir]].concat());
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.starts_with("nucleus: note: "), has_note, "{stderr}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for (args, text) in [(["--help"], "Usage: nucleus"), (["--version"], "nucleus ")] {
        let output = nucleus(&args);
        assert!(output.status.success(), "{args:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(text), "{args:?}");
    }
}
