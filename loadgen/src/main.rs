//! `loadgen`: drives simulated headsets against a Nucleus server.
//!
//! Exit codes: 0: the run completed and is valid. 1: it is valid, and a `--fail-if` condition held or
//! a figure of a chaos scenario exceeded its limit. 2: the command line is wrong. 3: the run could
//! not take place, was interrupted, or is INVALID; an INVALID run ends with 3 even if a condition
//! held. With `--allow-invalid` an INVALID run ends with 0, or with 1 if a condition held.

mod args;
mod chaos;
mod check;
mod drive;
mod exit;
mod faults;
mod json_file;
mod load;
mod report;
mod run;
mod shared;
mod signals;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::{ChaosArgs, Cli, Command, RunArgs};
use chaos::ScenarioRun;
use exit::Verdict;
use faults::FaultPlan;
use json_file::JsonFile;
use report::table;
use signals::Signals;

fn main() -> ExitCode {
    // A mistake on the command line ends the process here with code 2.
    match Cli::parse().command {
        Command::Run(args) => measure(&args),
        Command::Chaos(args) => run_chaos(&args),
    }
}

/// Runs `loadgen run`.
fn measure(args: &RunArgs) -> ExitCode {
    if let Err(mistake) = args.check() {
        Cli::command().error(ErrorKind::ValueValidation, mistake).exit();
    }
    let realtime_blocked = args.block_realtime > 0.0;
    let fault_plan =
        FaultPlan { fault_share: args.block_realtime, realtime_blocked, ..FaultPlan::default() };
    let json = match JsonFile::begin(args.json.as_deref()) {
        Ok(json) => json,
        Err(error) => return could_not_run(&error),
    };
    let report = match Signals::catch().map_err(run::RunError::Threads) {
        Ok(signals) => run::run(args, fault_plan, &signals),
        Err(error) => Err(error),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            json.write_failure(&error.to_string());
            return could_not_run(&error.to_string());
        }
    };
    print(std::io::stdout(), &table::Summary(&report).to_string());
    if let Err(error) = json.write(&report) {
        return could_not_run(&error);
    }
    let held: Vec<_> = args.fail_if.iter().filter_map(|rule| rule.held(&report)).collect();
    for line in &held {
        print(std::io::stdout(), &format!("FAILED    {line}\n"));
    }
    let (valid, passed) = (report.valid, held.is_empty());
    Verdict { valid, passed, allow_invalid: args.allow_invalid }.code().into()
}

/// Runs `loadgen chaos`.
fn run_chaos(args: &ChaosArgs) -> ExitCode {
    if args.list {
        print(std::io::stdout(), &chaos::list());
        return ExitCode::SUCCESS;
    }
    if let Err(mistake) = args.check() {
        Cli::command().error(ErrorKind::ValueValidation, mistake).exit();
    }
    let Some(scenario) = ScenarioRun::of(args) else {
        let mistake = format!("there is no such scenario; choose one of\n{}", chaos::list());
        Cli::command().error(ErrorKind::ValueValidation, mistake).exit();
    };
    let json = match JsonFile::begin(args.json.as_deref()) {
        Ok(json) => json,
        Err(error) => return could_not_run(&error),
    };
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return could_not_run(&format!("cannot catch signals: {error}")),
    };
    let scenario_result = match scenario.run(&signals) {
        Ok(scenario_result) => scenario_result,
        Err(error) => {
            json.write_failure(&error.to_string());
            return could_not_run(&error.to_string());
        }
    };
    if let Err(error) = json.write(&scenario_result) {
        return could_not_run(&error);
    }
    print(std::io::stdout(), &scenario_result.to_string());
    let (valid, passed) = (scenario_result.valid, scenario_result.reached);
    Verdict { valid, passed, allow_invalid: args.allow_invalid }.code().into()
}

fn could_not_run(why: &str) -> ExitCode {
    print(std::io::stderr(), &format!("loadgen: {why}\n"));
    ExitCode::from(exit::NO_RESULT)
}

/// Prints a text. Ignores a closed pipe.
fn print(mut out: impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}
