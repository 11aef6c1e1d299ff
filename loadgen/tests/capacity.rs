//! A test of `loadgen capacity` with a real server. `cargo test --workspace` builds the server's
//! binary too; with `-p nucleus-loadgen` alone, build it first: `cargo build`.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs `loadgen capacity` with these options, and returns the exit code, the standard output and
/// the JSON.
fn capacity(name: &str, options: &str) -> (Option<i32>, String, Value) {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["capacity", "--embedded", "--json"])
        .arg(&json)
        .args(options.split_whitespace())
        .output()
        .expect("the binary starts");
    let stdout = String::from_utf8(output.stdout).expect("stdout is text");
    let text = std::fs::read(&json).expect("the result is written");
    (output.status.code(), stdout, serde_json::from_slice(&text).expect("the result is JSON"))
}

/// A busy test machine makes the generator late, which no objective of the server shows. So the
/// objective is one that lateness cannot miss, and a result without a number is not a fault.
#[test]
fn a_search_ends_at_the_most_headsets_that_were_asked_for() {
    let options = "--start 20 --max-headsets 40 --duration 1s --objective pose.corrupt<=0";
    let (code, stdout, json) = capacity("max", options);
    let steps = json["steps"].as_array().expect("there are steps");
    assert_eq!(steps[0]["headsets"], 20, "{stdout}");
    assert_eq!(steps[0]["report"]["headsets"], 20, "each step has its report");
    if json["limited_by"] == "generator" {
        assert_eq!((code, &json["headsets"]), (Some(3), &Value::Null), "{stdout}");
        return;
    }
    assert_eq!((code, &json["valid"]), (Some(0), &Value::Bool(true)), "{stdout}");
    assert_eq!((&json["headsets"], &json["limited_by"]), (&40.into(), &"max".into()), "{stdout}");
    let last = steps.last().expect("there is a step");
    assert_eq!((&last["headsets"], &last["ok"]), (&40.into(), &true.into()));
    let last_line = stdout.lines().last().unwrap_or_default();
    assert!(last_line.starts_with("capacity  at least 40 headsets"), "{stdout}");
    assert!(last["report"]["server"]["cpu_share"].as_f64().is_some_and(|share| share > 0.0));
}

#[test]
fn a_server_that_keeps_nothing_has_a_capacity_of_0() {
    let options = "--start 2 --max-headsets 2 --duration 1s --objective server.cpu_s<0";
    let (code, stdout, json) = capacity("none", options);
    assert_eq!((code, &json["headsets"]), (Some(1), &0.into()), "{stdout}");
    assert_eq!((&json["limited_by"], &json["valid"]), (&"server".into(), &true.into()));
    let steps = json["steps"].as_array().expect("there are steps");
    assert_eq!(steps.len(), 2, "the step is tried a second time: {stdout}");
    assert!(stdout.lines().last().is_some_and(|line| line.contains("server.cpu_s<0: it is")));
}
