//! `loadgen`: simulated headsets against a Nucleus server.
//!
//! Exit codes: 0 the run completed (whether it proves anything is in the report), 1 a `--fail-if`
//! held, 2 usage, 3 the run could not take place.

mod args;
mod books;
mod channel;
mod embedded;
mod events;
mod fail_if;
mod figures;
mod gaps;
mod headset;
mod metrics;
mod nearest;
mod network;
mod payload;
mod plan;
mod profile;
mod progress;
mod report;
mod run;
mod said;
mod schedule;
mod sequence;
mod sessions;
mod shared;
mod sim_socket;
mod table;
mod tally;
mod target;
mod ticks;
mod withheld;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::{Cli, Command, RunArgs};
use report::Report;

/// A `--fail-if` held.
const FAILED: u8 = 1;
/// There was no run.
const COULD_NOT_RUN: u8 = 3;

fn main() -> ExitCode {
    // Mistakes on the command line end here, with code 2.
    let Command::Run(args) = Cli::parse().command;
    if let Err(mistake) = args.check() {
        Cli::command().error(ErrorKind::ValueValidation, mistake).exit();
    }
    let report = match run::run(&args) {
        Ok(report) => report,
        Err(error) => return could_not_run(&error.to_string()),
    };
    say(std::io::stdout(), &table::Summary(&report).to_string());
    if let Err(error) = write_json(&args, &report) {
        return could_not_run(&error);
    }
    let held: Vec<_> = args.fail_if.iter().filter_map(|rule| rule.held(&report)).collect();
    for line in &held {
        say(std::io::stdout(), &format!("FAILED    {line}\n"));
    }
    if held.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn write_json(args: &RunArgs, report: &Report) -> Result<(), String> {
    let Some(path) = &args.json else { return Ok(()) };
    let mut text = serde_json::to_string_pretty(report).map_err(|e| e.to_string())?;
    text.push('\n');
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn could_not_run(why: &str) -> ExitCode {
    say(std::io::stderr(), &format!("loadgen: {why}\n"));
    ExitCode::from(COULD_NOT_RUN)
}

/// A closed pipe on the other side is no reason to fail.
fn say(mut out: impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}
