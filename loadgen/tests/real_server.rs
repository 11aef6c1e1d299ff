//! Tests of the `loadgen` binary with a real server: how a run ends whose server ends, what a signal
//! does, how joins are timed, and what a server does that stood still. `cargo test --workspace`
//! builds the server's binary too; with `-p nucleus-loadgen` alone, build it first: `cargo build`.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest time until the window of a run begins and is reported.
const START: Duration = Duration::from_secs(60);
/// The longest time for a run that was interrupted to end.
const END: Duration = Duration::from_secs(30);

/// A `loadgen` process, with the lines that it writes about its progress.
struct Loadgen {
    child: Child,
    progress: mpsc::Receiver<String>,
    json: PathBuf,
}

/// How a process ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    json: Value,
}

impl Loadgen {
    /// Starts `loadgen` with these options.
    fn start(name: &str, options: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(options.split_whitespace()).stderr(Stdio::piped());
        Self::spawn(name, command)
    }

    /// Starts `loadgen` with the options of the command.
    fn spawn(name: &str, mut command: Command) -> Self {
        let loadgen = Path::new(env!("CARGO_BIN_EXE_loadgen"));
        assert!(loadgen.with_file_name("nucleus").is_file(), "build the server first: cargo build");
        let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
        // The file of an earlier run, which no run may leave as it is.
        fs::write(&json, r#"{ "valid": true, "invalid_reasons": [] }"#)
            .expect("the directory exists");
        command.arg("--json").arg(&json).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = child.stderr.take();
        let (sender, progress) = mpsc::channel();
        std::thread::spawn(move || {
            // A test may have passed a stderr of its own.
            let Some(stderr) = stderr else { return };
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // The test that reads may have ended.
                let _ = sender.send(line);
            }
        });
        Loadgen { child, progress, json }
    }

    /// Starts `loadgen` with these options, and waits until it measures.
    fn measuring(name: &str, options: &str) -> Self {
        let loadgen = Self::start(name, options);
        loadgen.wait_for_line(|line| line.contains("measuring"));
        loadgen
    }

    /// Waits for a line about the progress.
    fn wait_for_line(&self, is_expected: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + START;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.progress.recv_timeout(left).expect("loadgen did not get so far");
            if is_expected(&line) {
                return;
            }
        }
    }

    /// Waits until the server runs.
    fn wait_for_server(&self) {
        let deadline = Instant::now() + START;
        while self.servers().is_empty() {
            assert!(Instant::now() < deadline, "no server");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    /// Waits until the process has ended, at most `time`.
    fn ended_within(mut self, time: Duration) -> Ended {
        let deadline = Instant::now() + time;
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                break status.code();
            }
            assert!(Instant::now() < deadline, "loadgen goes on");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut stdout = String::new();
        let mut pipe = self.child.stdout.take().expect("stdout is piped");
        pipe.read_to_string(&mut stdout).expect("stdout is text");
        let json = fs::read(&self.json)
            .map_or(Value::Null, |text| serde_json::from_slice(&text).expect("the report is JSON"));
        Ended { code, stdout, json }
    }

    /// Returns the process ids of the servers that this process has started.
    fn servers(&self) -> Vec<u32> {
        servers_of(self.child.id())
    }
}

impl Drop for Loadgen {
    /// Leaves no process behind if the test fails.
    fn drop(&mut self) {
        for pid in self.servers() {
            kill("KILL", pid);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(signal: &str, pid: u32) {
    let script = format!("kill -{signal} {pid}");
    let status = Command::new("sh").args(["-c", &script]).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
}

/// Returns the process ids of the servers that the `loadgen` with this process id has started. Their
/// data directory is named after it.
fn servers_of(loadgen: u32) -> Vec<u32> {
    let mark = format!("nucleus-loadgen-{loadgen}-");
    let processes = fs::read_dir("/proc").expect("Linux has /proc").filter_map(Result::ok);
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let is_server = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        // A watchdog names the directory too.
        command.contains(&mark) && command.contains("--data-dir")
    };
    pids.filter(is_server).collect()
}

/// Waits until a `loadgen` that has ended has no server any more, at most 5 s.
fn assert_no_server(loadgen: u32) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !servers_of(loadgen).is_empty() {
        assert!(Instant::now() < deadline, "the server goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Conditions of CI's smoke test.
const GATES: &str =
    "--fail-if joins.failed>0 --fail-if pose.corrupt>0 --fail-if event.duplicated>0";
const RUN: &str = "run --embedded --headsets 4 --room-size 2 --ramp 100ms --duration 60s";

/// Runs with CI's conditions and these options, and kills the server in the window.
fn killed_server(name: &str, options: &str) -> Ended {
    let loadgen = Loadgen::measuring(name, &format!("{RUN} {GATES} {options}"));
    let servers = loadgen.servers();
    assert_eq!(servers.len(), 1, "one server");
    kill("KILL", servers[0]);
    loadgen.ended_within(END)
}

#[test]
fn a_run_whose_server_is_killed_in_the_window_is_invalid() {
    let ended = killed_server("killed", "");
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    let reason = "the server ended during the run: signal 9";
    assert!(ended.stdout.contains(&format!("INVALID   {reason}\n")), "{}", ended.stdout);
    assert_eq!(ended.json["valid"], false);
    assert_eq!(ended.json["invalid_reasons"][0], reason);
    // Every session ended with the server, although no client had noticed yet.
    let (joined, lost) = (&ended.json["joins"]["ok"], &ended.json["sessions"]["lost"]);
    assert_eq!((joined, lost), (&json!(4), &json!(4)));
}

/// A server that `loadgen` did not start.
struct Server {
    child: Child,
    data_dir: PathBuf,
    session: String,
}

impl Server {
    fn start(name: &str) -> Self {
        let data_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut child =
            Command::new(Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("nucleus"))
                .args(["serve", "--session", "127.0.0.1:0", "--realtime", "127.0.0.1:0"])
                .args(["--http", "off", "--log-format", "json", "--data-dir"])
                .arg(&data_dir)
                .stderr(Stdio::piped())
                .spawn()
                .expect("the server is built: cargo build");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let session = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            let fields = line.get("fields").unwrap_or(&line);
            (fields["message"] == "ready").then(|| fields["session"].as_str().map(str::to_owned))?
        });
        // The server must not block on its log.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, data_dir, session: session.expect("the server gets ready") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_run_with_a_foreign_server_that_vanishes_is_invalid() {
    let mut server = Server::start("vanishes");
    let target = format!("--target {} --data-dir {}", server.session, server.data_dir.display());
    let load = "--headsets 4 --room-size 2 --ramp 100ms --duration 8s --fail-if server.cpu_s>0";
    let loadgen = Loadgen::measuring("vanished", &format!("run {target} {load}"));
    server.child.kill().unwrap();
    let ended = loadgen.ended_within(END + Duration::from_secs(10));
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert!(ended.stdout.contains("as if the server were gone\n"), "{}", ended.stdout);
    assert_eq!(ended.json["sessions"]["lost"], 4);
    // Nobody told where to read the server's CPU time.
    assert!(ended.stdout.contains("FAILED    server.cpu_s>0: it is unknown\n"), "{}", ended.stdout);
    assert_eq!(ended.json["server"]["cpu_s"], Value::Null);
}

#[test]
fn an_idle_run_with_a_foreign_server_that_vanishes_is_invalid() {
    let mut server = Server::start("vanishes-idle");
    let target = format!("--target {} --data-dir {}", server.session, server.data_dir.display());
    let load = "--headsets 4 --room-size 2 --ramp 100ms --duration 5s --profile idle";
    let loadgen = Loadgen::measuring("vanished-idle", &format!("run {target} {load}"));
    server.child.kill().unwrap();
    let ended = loadgen.ended_within(END + Duration::from_secs(10));
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    let reason = "INVALID   none of 4 sessions had an answer at the end of the run";
    assert!(ended.stdout.contains(reason), "{}", ended.stdout);
    assert_eq!(ended.json["sessions"]["lost"], 4);
}

#[test]
fn an_idle_run_with_a_foreign_server_that_stays_is_valid() {
    let server = Server::start("stays-idle");
    let target = format!("--target {} --data-dir {}", server.session, server.data_dir.display());
    let load = "--headsets 4 --room-size 1 --ramp 100ms --duration 1s --profile idle";
    let loadgen = Loadgen::start("stayed-idle", &format!("run {target} {load}"));
    let ended = loadgen.ended_within(START);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.json["notes"], json!([]), "every session had an answer: {}", ended.stdout);
}

#[test]
fn an_invalid_run_that_is_allowed_is_judged_by_its_rules() {
    let ended = killed_server("gated", "--allow-invalid --fail-if valid==0");
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("FAILED    valid==0: it is 0\n"), "{}", ended.stdout);
}

#[test]
fn a_scenario_whose_server_is_killed_is_invalid() {
    let loadgen = Loadgen::measuring("scenario", "chaos awful --headsets 4");
    kill("KILL", loadgen.servers()[0]);
    let ended = loadgen.ended_within(END);
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    let reason = "INVALID   the server ended during the run: signal 9\n";
    assert!(ended.stdout.contains(reason), "{}", ended.stdout);
    assert_eq!(ended.json["valid"], false);
    assert_eq!(ended.json["reports"][0]["valid"], false);
}

#[test]
fn a_signal_ends_all_rounds_of_a_scenario_and_its_server() {
    let loadgen = Loadgen::measuring("signal", "chaos fallback-tenth --headsets 20");
    let pid = loadgen.child.id();
    assert!(!loadgen.servers().is_empty());
    loadgen.signal("TERM");
    let ended = loadgen.ended_within(END);
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert!(ended.stdout.contains("interrupted by SIGTERM"), "{}", ended.stdout);
    assert_eq!(ended.json["reports"].as_array().map(Vec::len), Some(1), "one of six runs began");
    assert_eq!(servers_of(pid), [0; 0]);
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    let loadgen = Loadgen::measuring("twice", RUN);
    let (pid, servers) = (loadgen.child.id(), loadgen.servers());
    // A server that stands still does not end by SIGTERM, so the first signal takes long.
    kill("STOP", servers[0]);
    loadgen.signal("INT");
    std::thread::sleep(Duration::from_millis(500));
    loadgen.signal("TERM");
    let ended = loadgen.ended_within(Duration::from_secs(5));
    assert_eq!(ended.code, Some(3));
    assert_no_server(pid);
    let reasons = json!(["not finished"]);
    assert_eq!((&ended.json["valid"], &ended.json["invalid_reasons"]), (&json!(false), &reasons));
}

#[test]
fn a_run_that_cannot_take_place_leaves_no_earlier_result() {
    // The file holds neither a token nor the certificate of a CA.
    let no_server = "--target 127.0.0.1:9 --token Cargo.toml --ca Cargo.toml";
    for command in [format!("run {no_server}"), format!("run {no_server} --allow-invalid")] {
        let ended = Loadgen::start("no-server", &command).ended_within(END);
        assert_eq!((ended.code, &ended.json["valid"]), (Some(3), &json!(false)), "{command}");
        assert_eq!(ended.json["invalid_reasons"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn figures_of_a_server_that_is_not_there_make_a_run_invalid() {
    let server = Server::start("wrong-http");
    let target = format!("--target {} --data-dir {}", server.session, server.data_dir.display());
    let load = "--headsets 4 --room-size 2 --ramp 100ms --duration 1s";
    for (named, reason) in
        [("--http 127.0.0.1:9", "--http"), ("--server-pid 4194305", "--server-pid")]
    {
        let command = format!("run {target} {named} {load}");
        let ended = Loadgen::start("wrong-figures", &command).ended_within(END);
        assert_eq!(ended.code, Some(3), "{}", ended.stdout);
        assert!(ended.stdout.contains(&format!("check {reason}")), "{}", ended.stdout);
    }
}

#[test]
fn a_run_of_headsets_that_are_alone_is_invalid() {
    let load = "--headsets 2 --room-size 1 --ramp 100ms --duration 1s";
    let ended = Loadgen::start("alone", &format!("run {load}")).ended_within(END);
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    let reason = "INVALID   no message was to be delivered";
    assert!(ended.stdout.contains(reason), "{}", ended.stdout);
}

#[test]
fn a_second_signal_ends_a_process_whose_stderr_nobody_reads() {
    let (_unread, mut stderr) = std::io::pipe().expect("the system has pipes");
    // A pipe of Linux holds 64 KiB. Every further write waits.
    stderr.write_all(&[b'.'; 64 << 10]).expect("the pipe is open");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(RUN.split_whitespace()).stderr(stderr);
    let loadgen = Loadgen::spawn("stuck", command);
    let pid = loadgen.child.id();
    loadgen.wait_for_server();
    std::thread::sleep(Duration::from_millis(500));
    kill("STOP", loadgen.servers()[0]);
    loadgen.signal("TERM");
    std::thread::sleep(Duration::from_millis(500));
    loadgen.signal("TERM");
    assert_eq!(loadgen.ended_within(Duration::from_secs(5)).code, Some(3));
    assert_no_server(pid);
}

#[test]
fn a_hangup_that_is_ignored_ends_no_run() {
    let mut command = Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_loadgen")]).stderr(Stdio::piped());
    let options = "run --embedded --headsets 2 --room-size 2 --ramp 100ms --duration 5s";
    command.args(options.split_whitespace());
    let loadgen = Loadgen::spawn("nohup", command);
    loadgen.wait_for_line(|line| line.contains("measuring"));
    loadgen.signal("HUP");
    let ended = loadgen.ended_within(END);
    assert!(!ended.stdout.contains("interrupted"), "{}", ended.stdout);
    assert!(ended.json["duration_s"].as_f64().is_some_and(|s| s > 4.9), "{}", ended.stdout);
}

#[test]
fn a_load_generator_that_is_killed_leaves_no_server_behind() {
    let loadgen = Loadgen::measuring("orphan", RUN);
    let pid = loadgen.child.id();
    assert!(!servers_of(pid).is_empty());
    loadgen.signal("KILL");
    let ended = loadgen.ended_within(Duration::from_secs(5));
    assert_eq!(ended.code, None, "it did not end by itself");
    assert_no_server(pid);
}

/// The report says by number what was distorted. That each message is found is shown where no busy machine
/// loses others: in the tests of the ledger.
#[test]
fn a_run_finds_the_messages_that_it_distorts() {
    // Two rooms for each of up to four threads.
    let options = "run --embedded --headsets 80 --room-size 10 --pose-hz 60 --ramp 500ms \
                   --duration 3s --distort";
    for (how, figure) in [("drop", "lost"), ("misroute", "misrouted"), ("delay", "over_100ms")] {
        let ended = Loadgen::start(how, &format!("{options} {how}")).ended_within(START);
        let json = &ended.json;
        let distorted = json["distortion"]["messages"].as_u64().unwrap_or(0);
        let found = ["pose", "voice"].map(|channel| json["channels"][channel][figure].as_u64());
        let found: u64 = found.into_iter().flatten().sum();
        let words = format!("{how}: {found} of {distorted}: {}", ended.stdout);
        // 80 headsets have 9 others each: 130,000 poses, beside the voice.
        assert!(distorted >= 1 && found >= distorted, "{words}");
        // Nothing else misroutes messages.
        assert!(how != "misroute" || found == distorted, "{words}");
        let reasons = json["invalid_reasons"].to_string();
        let reason = format!("--distort: {distorted} received messages");
        assert!(json["valid"] == false && reasons.contains(&reason), "{reasons}");
    }
}

/// The bytes are counted at the headsets' sockets, the messages where they are checked.
#[test]
fn a_report_says_what_line_the_run_needs() {
    let options = "run --embedded --headsets 6 --room-size 3 --pose-hz 20 --ramp 100ms \
                   --duration 3s --allow-invalid --tick 10ms";
    let ended = Loadgen::start("line", options).ended_within(START);
    let json = &ended.json;
    assert_eq!(
        (&json["room_size"], &json["pose_hz"], &json["tick"]),
        (&json!(3), &json!(20.0), &json!("10ms"))
    );
    let number = |path: &str| json.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let messages = |count: &str| {
        ["pose", "voice"]
            .map(|channel| number(&format!("/channels/{channel}/{count}")))
            .iter()
            .sum::<f64>()
    };
    // A message takes at least 40 bytes where it shares a datagram, and at most 200 where it has one
    // of its own.
    for (line, count) in [("up", "sent"), ("down", "delivered")] {
        let bytes = number(&format!("/line/{line}_mbit_s")) * 1e6 / 8.0 * number("/duration_s");
        let least_and_most = messages(count) * 40.0..messages(count) * 200.0;
        assert!(least_and_most.contains(&bytes), "{line}: {bytes} bytes: {}", ended.stdout);
        let all = number(&format!("/line/{line}_kbit_s_per_headset")) * 6.0 / 1e3;
        assert!((all - number(&format!("/line/{line}_mbit_s"))).abs() < 1e-6, "{all}");
    }
    assert_eq!(json["server"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(ended.stdout.contains("\nline      up "), "{}", ended.stdout);
    let verdict = if json["valid"] == true { "\nVALID " } else { "\nINVALID " };
    assert!(ended.stdout.contains(verdict), "{}", ended.stdout);
}

#[test]
fn a_join_that_starts_late_is_timed_from_when_it_was_due() {
    let options = "run --embedded --headsets 40 --room-size 10 --ramp 20s --duration 1s";
    let loadgen = Loadgen::start("joins", &format!("{options} --allow-invalid"));
    // A join is due every 500 ms for 20 s, and the first line comes after 5 s. The generator stands
    // still when several joins are due.
    loadgen.wait_for_line(|line| line.contains("joining: ") && !line.contains("joining: 0 joined"));
    loadgen.signal("STOP");
    std::thread::sleep(Duration::from_millis(2_500));
    loadgen.signal("CONT");
    let ended = loadgen.ended_within(START + END);
    assert_eq!((ended.code, &ended.json["joins"]["ok"]), (Some(0), &json!(40)), "{}", ended.stdout);
    let p99 = ended.json["joins"]["p99_ms"].as_f64().unwrap();
    assert!(p99 > 1_000.0, "the joins of 2.5 s began late: {p99}");
}

#[test]
fn a_server_that_stands_still_loses_nobody_and_relays_nothing_too_old() {
    let loadgen = Loadgen::start("pause", "chaos pause-3 --headsets 20");
    let ended = loadgen.ended_within(START + END);
    // On a busy test machine the generator lags and drops datagrams. That changes none of these
    // figures.
    let reasons = ended.json["invalid_reasons"].as_array().expect("the scenario has reasons");
    let is_of_generator = |reason: &Value| {
        let text = reason.as_str().unwrap_or_default();
        text.contains("the generator's") || text.contains("messages were sent: ")
    };
    assert!(reasons.iter().all(is_of_generator), "{}", ended.stdout);
    let figures = ended.json["figures"].as_array().expect("the scenario has figures");
    for figure in figures {
        if figure["name"] == "largest RTT 5 s later, ms" {
            // Clients do not always keep the scenario's limit: a reply that a stop delays by less
            // than 500 ms counts like one that the network delays. Those of the stop itself are up
            // to 3 s.
            let round_trip = figure["figure"].as_f64().expect("the round trips are known");
            assert!(round_trip < 500.0, "{}", ended.stdout);
        } else {
            assert_eq!(figure["reached"], true, "{}", ended.stdout);
        }
    }
}
