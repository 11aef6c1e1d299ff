//! The command line: its options, and the checks that one option alone cannot make.

mod capacity;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use nucleus_server::start::config::{ValueError, parse_shards, parse_tick};

use crate::faults::{Distortion, FaultPlan};
use crate::load::network::NetworkProfile;
use crate::load::plan::Plan;
use crate::load::profile::Profile;
use crate::load::slot_plan::SlotPlan;
use crate::report::fail_if::FailIf;
use crate::report::{Others, Report};
pub(crate) use capacity::CapacityArgs;

/// Largest number of threads that drive realtime links. With more threads, the loopback device
/// would be the limit.
const MAX_WORKERS: usize = 4;

/// Drives simulated headsets against a Nucleus server and reports loss, latency and cost.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands of `loadgen`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure one run: the joins (`--ramp`), a pause of 2 s, the measured time (`--duration`), and
    /// a report. Exits with 0 if the run is valid, with 1 if a --fail-if condition held, and with 3
    /// if the run could not take place or is INVALID.
    Run(Box<RunArgs>),
    /// Find the largest number of headsets, or with --grow-room the largest room, that keeps the
    /// objective. The last two loads are at most 2 % apart. Exits with 0 if there is a number, with
    /// 1 if the number is 0, and with 3 if there is none, for example because the load generator was
    /// the limit.
    Capacity(Box<CapacityArgs>),
    /// Start a server, cause a fault on purpose, and print figures with their limits. Exits with 0
    /// if all figures are within their limits, with 1 if not, and with 3 if a run of the scenario
    /// could not take place or is INVALID.
    Chaos(ChaosArgs),
}

/// The options of `loadgen chaos`.
#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
    /// List the scenarios and exit.
    #[arg(long, conflicts_with = "name")]
    pub(crate) list: bool,
    /// The scenario to run.
    #[arg(value_name = "NAME", required_unless_present = "list")]
    pub(crate) name: Option<String>,
    /// Number of headsets [default: the scenario's own].
    #[arg(long, value_name = "N")]
    pub(crate) headsets: Option<NonZeroU32>,
    /// Seed of all random choices of the load generator.
    #[arg(long, value_name = "S", default_value = "1")]
    pub(crate) seed: u64,
    /// Write the figures and the reports of all rounds as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Exit as if the report were valid, even if it is INVALID.
    #[arg(long)]
    pub(crate) allow_invalid: bool,
}

/// The options of `loadgen run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Number of headsets.
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) headsets: NonZeroU32,
    /// Number of headsets in one room [default: 10; 3 for the profile assist].
    #[arg(long, value_name = "K")]
    pub(crate) room_size: Option<NonZeroU32>,
    /// Length of the measured time, for example `500ms`, `30s` or `2m`.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// Time before the measured time over which the joins are evenly spread, for example `5s`.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) ramp: Duration,
    /// The messages that each headset sends.
    #[arg(long, value_name = "P", value_enum, default_value = "meeting")]
    pub(crate) profile: Profile,
    /// Poses a second from each headset, 0 to 1,000; 0 sends none [default: 30; 0 for the profile
    /// assist].
    #[arg(long, value_name = "HZ", value_parser = parse_hz)]
    pub(crate) pose_hz: Option<f64>,
    /// Simulated network of every headset, in both directions, for realtime messages and for the
    /// session: clean, wifi, lossy, far, awful, roaming, or the path of a TOML file.
    #[arg(long, value_name = "W", default_value = "clean")]
    pub(crate) network: NetworkProfile,
    /// Share of the headsets, 0 to 1, that never reach the realtime port. Their realtime messages
    /// travel inside the session.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    pub(crate) block_realtime: f64,
    /// Seed of all random choices of the load generator.
    #[arg(long, value_name = "S", default_value = "1")]
    pub(crate) seed: u64,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with the figures, over time too, to this file: one HTML file, which needs no
    /// other.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Exit with 1 if this condition holds, for example `pose.p99_ms > 60` or `joins.failed > 0`.
    /// A condition on a figure that is unknown holds. True counts as 1, for example in
    /// `valid == 0`. May be repeated.
    #[arg(long, value_name = "EXPR")]
    pub(crate) fail_if: Vec<FailIf>,
    /// Exit as if the report were valid, even if it is INVALID.
    #[arg(long)]
    pub(crate) allow_invalid: bool,
    /// Test the load generator itself: distort one of 10,000 realtime messages that arrive. The
    /// report must say so by number, and is INVALID.
    #[arg(long, value_name = "HOW", value_enum)]
    pub(crate) distort: Option<Distortion>,
}

/// The options that choose the server.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// Start a server on free ports of this machine. This is the default without --target.
    #[arg(long, conflicts_with_all = [
        "target", "data_dir", "token", "pins", "ca", "insecure_dev", "http", "server_pid",
    ])]
    pub(crate) embedded: bool,
    /// Address of the session port of a running server.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port)]
    pub(crate) target: Option<String>,
    /// Data directory of the running server. The key in it signs the join tokens, and the
    /// certificate in it is trusted.
    #[arg(long, value_name = "DIR", requires = "target", conflicts_with = "token")]
    pub(crate) data_dir: Option<PathBuf>,
    /// File with join tokens that admit to every room of their tenant, one a line: a batch of
    /// `nucleus token --batch N`, of which each headset takes one, or one token for all headsets. With
    /// one token, all headsets are one user, so the server's limits.user_sessions (default 1000) must
    /// be large enough.
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) token: Option<PathBuf>,
    /// SHA-256 of the certificate of the running server, 64 hexadecimal digits. Repeat the option
    /// for a certificate that will be renewed.
    #[arg(long = "pin", value_name = "SHA256", requires = "target", value_parser = parse_pin)]
    pub(crate) pins: Vec<[u8; 32]>,
    /// PEM file with the CA that signed the server's certificate.
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "pins")]
    pub(crate) ca: Option<PathBuf>,
    /// Accept any certificate. Use this only with your own server.
    #[arg(long, requires = "target", conflicts_with_all = ["pins", "ca"])]
    pub(crate) insecure_dev: bool,
    /// HTTP address of the running server. The report then contains the server's own counters.
    #[arg(long, value_name = "HOST:PORT", requires = "target", value_parser = parse_host_port)]
    pub(crate) http: Option<String>,
    /// Process id of the running server on this machine. The report then contains the server's CPU
    /// time and memory.
    #[arg(long, value_name = "PID", requires = "target")]
    pub(crate) server_pid: Option<u32>,
    /// Number of shards of the server that is started.
    #[arg(long, value_name = "N", conflicts_with = "target", value_parser = parse_shards)]
    pub(crate) shards: Option<u16>,
    /// Flush interval of the server that is started: `auto`, or a time such as `5ms`.
    #[arg(long, value_name = "TIME", conflicts_with = "target", value_parser = check_tick)]
    pub(crate) tick: Option<String>,
}

impl ServerArgs {
    /// Returns the flush interval of the server, `unknown` if the run does not start it.
    pub(crate) fn tick(&self) -> &str {
        let known = if self.target.is_some() { "unknown" } else { "auto" };
        self.tick.as_deref().unwrap_or(known)
    }
}

impl RunArgs {
    /// Checks rules that concern several options or the file system.
    ///
    /// # Errors
    ///
    /// A usage error, as one line.
    pub(crate) fn check(&self) -> Result<(), String> {
        let server = &self.server;
        if server.target.is_some() && server.data_dir.is_none() && server.token.is_none() {
            return Err(
                "--target needs a source of join tokens: --data-dir DIR or --token FILE".into()
            );
        }
        // Opening a data directory that is not there would create one, with a key that is not the
        // server's.
        if let Some(dir) = server.data_dir.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(format!("--data-dir: {} is not a directory", dir.display()));
        }
        if let Some(file) = server.token.as_ref().filter(|file| !file.exists()) {
            return Err(format!("--token: there is no file {}", file.display()));
        }
        if self.duration.is_zero() {
            return Err("--duration must be longer than 0".into());
        }
        let mut shape = Report::of(&self.profile.traffic(self.pose_hz));
        shape.others = (self.block_realtime > 0.0).then(Others::default);
        if let Some(rule) = self.fail_if.iter().find(|rule| !rule.fits(&shape)) {
            let profile = self.profile.name();
            return Err(format!(
                "--fail-if: a run of profile {profile} has no figure for `{rule}`"
            ));
        }
        let plan = self.plan(FaultPlan::default(), 0);
        if self.distort == Some(Distortion::Misroute) && plan.rooms() < 2 * plan.workers {
            return Err(format!(
                "--distort misroute needs at least {} rooms: each of {} threads needs two",
                2 * plan.workers,
                plan.workers
            ));
        }
        check_file("--html", self.html.as_deref())?;
        check_file("--json", self.json.as_deref())
    }

    /// Returns the plan of a run with these options and faults that starts at `now` (µs).
    pub(crate) fn plan(&self, faults: FaultPlan, now: u64) -> Plan {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = (cores - 1).clamp(1, MAX_WORKERS) as u32;
        Plan {
            seed: self.seed,
            headsets: self.headsets.get(),
            room_size: self.room_size().get(),
            traffic: self.profile.traffic(self.pose_hz),
            network: (!self.network.is_clean() || faults.needs_network())
                .then(|| self.network.conditions.clone()),
            workers: workers.min(self.rooms()),
            schedule_epoch: now,
            faults,
            distortion: self.distort,
            time_slots: match self.html {
                Some(_) => SlotPlan::of(self.duration.as_micros() as u64),
                None => SlotPlan::default(),
            },
        }
    }

    /// Returns the headsets in one room.
    pub(crate) fn room_size(&self) -> NonZeroU32 {
        self.room_size.unwrap_or(self.profile.room_size())
    }

    /// Returns the number of rooms. The last may have fewer headsets.
    pub(crate) fn rooms(&self) -> u32 {
        self.headsets.get().div_ceil(self.room_size().get())
    }
}

/// Checks the directory of a file before a run of minutes, not after it.
///
/// # Errors
///
/// A usage error, as one line.
pub(crate) fn check_file(option: &str, path: Option<&Path>) -> Result<(), String> {
    if let Some(dir) = path.filter(|path| path.is_dir()) {
        return Err(format!("{option}: {} is a directory", dir.display()));
    }
    if let Some(pipe) = path.filter(|path| is_named_pipe(path)) {
        return Err(format!("{option}: {} is a pipe, which may wait for ever", pipe.display()));
    }
    let parent = path.and_then(Path::parent);
    let missing = parent.filter(|dir| !dir.as_os_str().is_empty() && !dir.is_dir());
    missing.map_or(Ok(()), |dir| Err(format!("{option}: there is no directory {}", dir.display())))
}

/// Returns whether a path is a named pipe itself. The pipes of a shell (`/dev/stdout`, `/dev/fd/63`)
/// are links.
fn is_named_pipe(path: &Path) -> bool {
    #[cfg(unix)]
    let is_pipe =
        |file: std::fs::Metadata| std::os::unix::fs::FileTypeExt::is_fifo(&file.file_type());
    #[cfg(not(unix))]
    let is_pipe = |_: std::fs::Metadata| false;
    path.symlink_metadata().is_ok_and(is_pipe)
}

/// Parses a time with its unit: ms, s or m.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err("write a number with ms, s or m, for example 30s".into()),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|e| e.to_string())
}

/// Checks that a text has the form `host:port`. The name is looked up when the run starts.
fn parse_host_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    let is_known = !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0);
    if is_known { Ok(text.to_owned()) } else { Err("write HOST:PORT, for example h:5055".into()) }
}

/// Checks a flush interval as the server does, and returns it as it is written.
fn check_tick(text: &str) -> Result<String, ValueError> {
    parse_tick(text).map(|_| text.to_owned())
}

/// The largest rate of poses, per second. No headset renders faster.
const MAX_HZ: f64 = 1_000.0;

fn parse_hz(text: &str) -> Result<f64, String> {
    let hz: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.0..=MAX_HZ).contains(&hz) { Ok(hz) } else { Err("must be 0 to 1,000".into()) }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("must be 0 to 1".into()) }
}

/// Parses a SHA-256 in hexadecimal, with or without colons.
pub(crate) fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    let digits = text.replace(':', "");
    let mut pin = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return Err("must be 64 hexadecimal digits".into());
    }
    for (i, byte) in pin.iter_mut().enumerate() {
        let pair = &digits[2 * i..2 * i + 2];
        *byte = u8::from_str_radix(pair, 16).map_err(|_| "must be hexadecimal digits")?;
    }
    Ok(pin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<RunArgs, clap::Error> {
        let cli = Cli::try_parse_from(["loadgen", "run"].iter().chain(args))?;
        match cli.command {
            Command::Run(run) => Ok(*run),
            _ => unreachable!("the command line says `run`"),
        }
    }

    #[test]
    fn the_contract_s_command_lines() {
        let args = run(&[
            "--embedded",
            "--headsets",
            "25",
            "--room-size",
            "10",
            "--duration",
            "30s",
            "--ramp",
            "500ms",
            "--profile",
            "idle",
            "--pose-hz",
            "0",
            "--network",
            "wifi",
            "--seed",
            "7",
            "--json",
            "x.json",
            "--fail-if",
            "pose.p99_ms > 60",
            "--fail-if",
            "joins.failed>0",
        ])
        .unwrap();
        assert_eq!((args.rooms(), args.fail_if.len()), (3, 2));
        assert_eq!((args.duration.as_secs(), args.ramp.as_millis()), (30, 500));
        assert!(run(&["--target", "h:5055", "--data-dir", "."]).unwrap().check().is_ok());
        assert!(run(&["--target", "h:5055", "--token", "t", "--insecure-dev"]).is_ok());
        assert!(run(&[]).is_ok());
    }

    #[test]
    fn assist_is_small_and_without_poses_unless_told() {
        let asked = |args: &[&str]| {
            let args = run(args).unwrap();
            (args.room_size().get(), args.profile.traffic(args.pose_hz).pose_hz)
        };
        assert_eq!(asked(&[]), (10, 30.0));
        assert_eq!(asked(&["--profile", "assist"]), (3, 0.0));
        let told = ["--profile", "assist", "--room-size", "10", "--pose-hz", "20"];
        assert_eq!(asked(&told), (10, 20.0));
        assert_eq!(asked(&["--pose-hz", "0"]), (10, 0.0));
    }

    #[test]
    fn mistakes_are_usage_errors_that_say_what_there_is() {
        let text = |args: &[&str]| run(args).unwrap_err().render().to_string();
        assert!(text(&["--profile", "party"]).contains("meeting"));
        assert!(text(&["--network", "dial-up"]).contains("lossy"));
        assert!(text(&["--fail-if", "pose.p9_ms > 1"]).contains("`pose.p99_ms`"));
        assert!(run(&["--embedded", "--target", "h:1"]).is_err());
        assert!(run(&["--headsets", "0"]).is_err());
        assert!(run(&["--duration", "30"]).is_err() && run(&["--duration=-1s"]).is_err());
        assert!(run(&["--pose-hz", "NaN"]).is_err() && run(&["--pose-hz=-1"]).is_err());
        assert!(run(&["--shards", "0"]).is_err() && run(&["--tick", "99ms"]).is_err());
        for host_port in ["h", "h:", ":5055", "h:0", "h:65536", "[::1]"] {
            assert!(run(&["--target", host_port, "--token", "t"]).is_err(), "{host_port}");
        }
        assert!(run(&["--embedded", "--server-pid", "1"]).is_err());
        let checked = |args: &[&str]| run(args).unwrap().check();
        assert!(checked(&["--target", "h:5055"]).is_err());
        assert!(checked(&["--target", "[::1]:5055", "--data-dir", "/no/such"]).is_err());
        assert!(checked(&["--json", "/no/such/x.json"]).is_err());
        assert!(checked(&["--json", "."]).is_err() && checked(&["--json", "x.json"]).is_ok());
    }

    #[test]
    fn a_gate_on_what_the_profile_does_not_have_is_a_mistake() {
        let checked = |profile: &str, rule: &str| {
            run(&["--profile", profile, "--fail-if", rule]).unwrap().check().is_ok()
        };
        assert!(checked("training", "object.loss > 0") && !checked("meeting", "object.loss > 0"));
        assert!(checked("assist", "pointer.p99_ms > 9") && !checked("idle", "pointer.p99_ms > 9"));
        assert!(checked("auditorium", "interest.near_full_rate < 1"));
        assert!(!checked("assist", "interest.near_full_rate < 1"));
        assert!(checked("assist", "pose.gap_max_ms > 1000"));
    }

    #[test]
    fn pins() {
        assert_eq!(parse_pin(&"0f".repeat(32)), Ok([15; 32]));
        assert!(parse_pin("0f").is_err() && parse_pin(&"zz".repeat(32)).is_err());
        assert!(parse_pin(&"é".repeat(32)).is_err());
        let (one, other) = ("0f".repeat(32), "1f".repeat(32));
        let target = ["--target", "h:5055", "--token", "t", "--pin", &one, "--pin", &other];
        assert_eq!(run(&target).unwrap().server.pins, [[15; 32], [31; 32]]);
    }
}
