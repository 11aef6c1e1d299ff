//! `loadgen`: drives simulated headsets against a Nucleus server.
//!
//! Exit codes: 0: the run completed and is valid. 1: it is valid, and a `--fail-if` condition held, a
//! figure of a chaos scenario exceeded its limit, or the capacity is 0. 2: the command line is wrong. 3: the run could
//! not take place, was interrupted, or is INVALID; an INVALID run ends with 3 even if a condition
//! held. With `--allow-invalid` an INVALID run ends with 0, or with 1 if a condition held.

mod args;
mod capacity;
mod chaos;
mod check;
mod drive;
mod exit;
mod faults;
mod json_file;
mod load;
mod page;
mod report;
mod run;
mod shared;
mod signals;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::{CapacityArgs, ChaosArgs, Cli, Command, RunArgs, check_file};
use exit::Verdict;
use faults::FaultPlan;
use json_file::JsonFile;
use page::{HtmlFile, Origin, capacity_page, run_page};
use report::table;
use run::RunError;
use signals::Signals;

fn main() -> ExitCode {
    // A mistake on the command line ends the process here with code 2.
    let verdict = match Cli::parse().command {
        Command::Run(args) => measure(&args),
        Command::Capacity(args) => find_capacity(&args),
        Command::Chaos(args) if args.list => {
            print(std::io::stdout(), &chaos::list());
            return ExitCode::SUCCESS;
        }
        Command::Chaos(args) => run_chaos(&args),
    };
    match verdict {
        Ok(verdict) => verdict.code().into(),
        Err(why) => {
            print(std::io::stderr(), &format!("loadgen: {why}\n"));
            exit::NO_RESULT.into()
        }
    }
}

/// Runs `loadgen run`.
///
/// # Errors
///
/// If there is no report, or it cannot be written, as one line.
fn measure(args: &RunArgs) -> Result<Verdict, String> {
    args.check().unwrap_or_else(|mistake| refuse(mistake));
    let faults = FaultPlan {
        fault_share: args.block_realtime,
        realtime_blocked: args.block_realtime > 0.0,
        ..FaultPlan::default()
    };
    let origin = Origin::of_this_process();
    let json = JsonFile::begin(args.json.as_deref())?;
    let html = HtmlFile::begin(args.html.as_deref())?;
    let signals = Signals::catch().map_err(RunError::Threads);
    let report = json.result_of(signals.and_then(|signals| run::run(args, faults, &signals)))?;
    print(std::io::stdout(), &table::Summary(&report).to_string());
    let held: Vec<_> = args.fail_if.iter().filter_map(|rule| rule.held(&report)).collect();
    for line in &held {
        print(std::io::stdout(), &format!("FAILED    {line}\n"));
    }
    json.write(&report)?;
    let is_embedded = args.server.target.is_none();
    html.write(|| run_page(&report, &args.fail_if, is_embedded, &origin))?;
    let (valid, passed) = (report.valid, held.is_empty());
    Ok(Verdict { valid, passed, allow_invalid: args.allow_invalid })
}

/// Runs `loadgen capacity`.
///
/// # Errors
///
/// If there is no result, or it cannot be written, as one line.
fn find_capacity(args: &CapacityArgs) -> Result<Verdict, String> {
    args.check().unwrap_or_else(|mistake| refuse(mistake));
    let origin = Origin::of_this_process();
    let json = JsonFile::begin(args.json.as_deref())?;
    let html = HtmlFile::begin(args.html.as_deref())?;
    let signals = Signals::catch().map_err(RunError::Threads);
    let result = json.result_of(signals.and_then(|signals| capacity::find(args, &signals)))?;
    // The answer of a long search is shown even if no file can be written.
    print(std::io::stdout(), &result.to_string());
    json.write(&result)?;
    html.write(|| capacity_page(&result, &origin))?;
    let (valid, passed) = (result.valid, result.headsets != Some(0));
    Ok(Verdict { valid, passed, allow_invalid: args.allow_invalid })
}

/// Runs `loadgen chaos`.
///
/// # Errors
///
/// If there is no result, or it cannot be written, as one line.
fn run_chaos(args: &ChaosArgs) -> Result<Verdict, String> {
    check_file("--json", args.json.as_deref()).unwrap_or_else(|mistake| refuse(mistake));
    let scenario = chaos::find(args).unwrap_or_else(|| {
        refuse(format!("there is no such scenario; choose one of\n{}", chaos::list()))
    });
    let json = JsonFile::begin(args.json.as_deref())?;
    let signals = Signals::catch().map_err(RunError::Threads);
    let result = json.result_of(signals.and_then(|signals| scenario.run(args, &signals)))?;
    json.write(&result)?;
    print(std::io::stdout(), &result.to_string());
    let (valid, passed) = (result.valid, result.reached);
    Ok(Verdict { valid, passed, allow_invalid: args.allow_invalid })
}

/// Ends the process with code 2 because of a mistake on the command line.
fn refuse(mistake: String) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, mistake).exit()
}

/// Prints a text. Ignores a closed pipe.
fn print(mut out: impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}
