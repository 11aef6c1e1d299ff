//! `peers`: compares relay servers by their CPU time for a delivered message.
//!
//! One generator drives each system in turn with the same poses. Every round measures every system
//! once, so that a disturbance of the machine affects them all. A server is a separate process,
//! alone on the first core; the generator runs on the second. Linux only: elsewhere the CPU time of
//! another process cannot be read.
//!
//! A round counts for a system if the generator kept its schedule and the system delivered 99 % of
//! the messages. A system's figures and a ratio are known if the majority of the rounds count.
//!
//! Exit codes: 0: every system and every ratio is known. 2: the command line is wrong. 3: the
//! comparison could not run, or a system or a ratio is unknown.

mod args;
mod client;
mod cores;
mod gathering;
mod generator;
mod ledger;
mod message;
mod relay;
mod report;
mod rivals;
mod rooms;
mod schedule;
mod systems;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Map, Value, json};

use args::{Cli, Command, LoadArgs, RunArgs};
use cores::Cores;
use generator::{Generator, MeasureError};
use report::{Report, Row};
use systems::{Running, StartError, System};

/// The exit code if there is no result.
const COULD_NOT_RUN: u8 = 3;

fn main() -> ExitCode {
    // A mistake on the command line ends the process here with code 2.
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Serve { system, load }) => {
            relay::exit_with_parent();
            system.serve(load.task()).map_err(RunError::Serve)
        }
        None => compare(&cli.run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("peers: {error}"));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// The error of a run without a result.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("the relay ended: {0}")]
    Serve(io::Error),
    #[error("the cores cannot be divided: {0}")]
    Cores(io::Error),
    #[error("{}: {source}", .system.name())]
    Start { system: System, source: StartError },
    #[error("{}: {source}", .system.name())]
    Measure { system: System, source: MeasureError },
    #[error("{}: {what}", .system.name())]
    Died { system: System, what: String },
    #[error("{}: {count} messages reached a wrong receiver; the first: {first}", .system.name())]
    Misdirected { system: System, count: u64, first: String },
    #[error("{} takes at most {max} peers: leave it out with --systems", .system.name())]
    TooMany { system: System, max: u32 },
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
    #[error("too few rounds count for {0}; see the warnings above")]
    Unproven(String),
}

fn compare(args: &RunArgs) -> Result<(), RunError> {
    // Ignore an error, because only thousands of peers need a higher limit.
    let _ = nucleus_net::raise_file_limit();
    let cores = Cores::divide().map_err(RunError::Cores)?;
    let systems = match args.systems.as_slice() {
        [] => System::ALL.to_vec(),
        named => named.to_vec(),
    };
    for system in &systems {
        let most = args.peers.iter().copied().max().unwrap_or(0);
        if let Some(max) = system.max_peers().filter(|max| *max < most) {
            return Err(RunError::TooMany { system: *system, max });
        }
    }
    let loads = args.peers.iter().map(|peers| LoadArgs { peers: *peers, rule: args.rule });
    let rivals = format!("The rivals' code: `{}`\n\n", rivals::sha256());
    // A closed stdout is not an error.
    let _ = io::stdout().write_all(rivals.as_bytes());
    let reports: Result<Vec<Report>, RunError> =
        loads.map(|load| compare_under(load, args, cores, systems.clone())).collect();
    finish(&reports?, args.json.as_deref())
}

/// Compares the systems under one load.
fn compare_under(
    load: LoadArgs,
    args: &RunArgs,
    cores: Cores,
    systems: Vec<System>,
) -> Result<Report, RunError> {
    let (settings, rounds) = (settings(load, args), args.rounds);
    let mut report = Report { settings, systems, rounds, rows: Vec::new() };
    for round in 1..=args.rounds {
        let mut order = report.systems.clone();
        let first = (round as usize - 1) % order.len();
        order.rotate_left(first);
        for system in order {
            let row = measure(system, round, load, args, cores)?;
            row.warning().iter().for_each(|warning| tell(warning));
            report.rows.push(row);
        }
    }
    // A closed stdout is not an error.
    let _ = io::stdout().write_all(report.table().as_bytes());
    Ok(report)
}

/// Measures one system in one round.
fn measure(
    system: System,
    round: u32,
    load: LoadArgs,
    args: &RunArgs,
    cores: Cores,
) -> Result<Row, RunError> {
    let task = load.task();
    let running = system.start(task, cores);
    let Running { mut server, clients } =
        running.map_err(|source| RunError::Start { system, source })?;
    let generator = Generator::new(clients);
    let found = generator
        .and_then(|generator| generator.measure(task.rooms, args.hz, args.seconds, server.pid()));
    if let Some(what) = server.died() {
        return Err(RunError::Died { system, what });
    }
    let found = found.map_err(|source| RunError::Measure { system, source })?;
    if let Some(first) = &found.ledger.first_misdirected {
        let (count, first) = (found.ledger.misdirected, first.clone());
        return Err(RunError::Misdirected { system, count, first });
    }
    Ok(Row::new(round, system, args.seconds, &found))
}

fn settings(load: LoadArgs, args: &RunArgs) -> Map<String, Value> {
    let settings = json!({
        "peers": load.peers,
        "room_size": load.rule.room_size,
        "hz": args.hz,
        "tick_ms": load.rule.tick.as_millis() as u64,
        "seconds": args.seconds,
        "message_bytes": message::FRAME,
        "rivals_sha256": rivals::sha256(),
    });
    settings.as_object().cloned().unwrap_or_default()
}

/// Writes the reports, one for each load.
fn finish(reports: &[Report], json: Option<&Path>) -> Result<(), RunError> {
    if let Some(path) = json {
        let text = format!("{:#}\n", report::json_of(reports));
        let path_text = path.display().to_string();
        std::fs::write(path, text).map_err(|source| RunError::Write { path: path_text, source })?;
    }
    let unknown: Vec<String> = reports.iter().flat_map(Report::unknown).collect();
    if unknown.is_empty() { Ok(()) } else { Err(RunError::Unproven(unknown.join(", "))) }
}

/// Prints a line on stderr. Ignores errors.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
