//! Tests of the `peers` binary: every relay in it delivers each message once.

use std::process::{Command, Output};

use serde_json::Value;

const SYSTEMS: [&str; 5] = ["limit", "naive", "quinn", "renet", "enet"];

fn peers(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_peers")).args(args).output();
    command.expect("cargo builds the binary for this test")
}

#[test]
fn every_relay_delivers_every_message_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peers.json");
    let systems = SYSTEMS.join(",");
    let load = "--peers 8 --room-size 4 --hz 120 --tick 10ms --rounds 1 --seconds 0.5";
    let mut args: Vec<&str> = load.split_whitespace().collect();
    args.extend(["--systems", &systems, "--json", file.to_str().unwrap()]);
    let run = peers(&args);
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    // 3: on a busy machine the generator lags, and a round does not count.
    assert!(matches!(run.status.code(), Some(0 | 3)), "{stderr}");

    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["schema"], 1);
    let rows = report["rounds"].as_array().unwrap();
    assert_eq!(rows.len(), SYSTEMS.len());
    for (row, system) in rows.iter().zip(SYSTEMS) {
        assert_eq!(row["system"], system);
        // Each of eight peers sends 60 messages to three other peers.
        let figure = |name: &str| row[name].as_f64().unwrap();
        assert_eq!(figure("expected"), 8.0 * 60.0 * 3.0, "{row}");
        assert_eq!((figure("delivered"), figure("duplicated")), (figure("expected"), 0.0), "{row}");
        assert!(figure("cpu_ns_per_message") > 100.0, "{row}");
        let latency = row["latency_ms"]["p50"].as_f64().unwrap();
        assert!((0.1..1_000.0).contains(&latency), "{row}");
        // The three other peers of a room together send 3.6 messages in a tick, of which at least
        // two share a datagram.
        let together = figure("messages_per_datagram");
        match system {
            "naive" => assert_eq!(together, 1.0),
            // By the same rule, the same messages wait for each other. quinn's acknowledgements
            // are no datagrams of messages.
            "limit" | "quinn" => assert!(together > 3.0, "{row}"),
            _ => {}
        }
    }
    let table = String::from_utf8_lossy(&run.stdout).into_owned();
    let rivals = report["rivals_sha256"].as_str().unwrap();
    assert!(table.contains(&format!("The rivals' code: `{rivals}`")), "{table}");
    assert!(SYSTEMS.iter().all(|system| table.contains(system)), "{table}");
}

#[test]
fn mistakes_are_told_apart() {
    assert_eq!(peers(&["--peers", "1"]).status.code(), Some(2));
    let too_many = peers(&["--peers", "2000", "--systems", "renet"]);
    assert_eq!(too_many.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&too_many.stderr).contains("at most 1024"));
}
