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
        (&["issuers", "create", "x", "--tenant", "t"], "--public-key-file <FILE>|--jwks-url <URL>"),
        (&["webhooks", "replay", "019"], "--since <TIME>|--delivery <ID>"),
        (&["tenants", "create", "t", "--ends", "yesterday"], "--ends <TIME|never>': a time is"),
        (&["ban", "u", "--tenant", "t", "--for", "30000000d"], "--for <TIME>': a ban lasts"),
        (&["keys", "create", "--name", "x", "--scope", "foo"], "--scope <SCOPES>': a scope is one"),
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

/// A server that began without its database would let in whom it has banned.
#[test]
fn a_damaged_or_lost_database_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let serve = || {
        let any = "127.0.0.1:0";
        let at =
            ["serve", "--data-dir", data, "--session", any, "--realtime", any, "--http", "off"];
        let output = nucleus(&at);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last = stderr.lines().last().unwrap_or_default().to_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(last.starts_with("nucleus: the database "), "{stderr}");
        last
    };
    let (database, copy) = (dir.path().join("nucleus.db"), dir.path().join("tenants-copy.json"));
    std::fs::write(&database, "garbage".repeat(1_000)).unwrap();
    assert!(serve().contains("restore a backup"));
    std::fs::write(&copy, "{\"at\": ").unwrap();
    std::fs::write(&database, "").unwrap();
    assert!(serve().contains("is missing or empty"));
    std::fs::remove_file(&database).unwrap();
    assert!(serve().contains("or delete"));
}
