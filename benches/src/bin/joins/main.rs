//! `joins`: measures the server's CPU time for a complete join, and compares it with a bare QUIC
//! handshake.
//!
//! Every round starts both servers, with the same certificate, and measures one after the other.
//! The order alternates from round to round. Every connection stays open until its measurement has
//! ended, so that closing is not measured. Linux only: elsewhere the CPU time of another process
//! cannot be read.
//!
//! Exit codes: 0: the measurement succeeded. 2: the command line is wrong. 3: the measurement could
//! not run.

mod args;
mod bare;
mod clients;
mod report;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use nucleus_loadgen::embedded::{Embedded, EmbeddedError};

use args::{Cli, Command, RunArgs};
use bare::BareServer;
use clients::{ClientError, Credentials, Server, System};
use report::{Report, Row};

/// The exit code if there is no result.
const COULD_NOT_RUN: u8 = 3;

fn main() -> ExitCode {
    // A mistake on the command line ends the process here with code 2.
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Bare { data_dir }) => bare::serve(&data_dir).map_err(RunError::Bare),
        None => compare(&cli.run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Ignore errors, because stderr may be closed.
            let _ = writeln!(io::stderr(), "joins: {error}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// The error of a run without a result.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Nucleus(#[from] EmbeddedError),
    #[error("the bare server: {0}")]
    Bare(io::Error),
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    #[error("{}: {source}", .system.name())]
    Clients { system: System, source: ClientError },
    #[error("{0}")]
    Died(String),
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
}

fn compare(args: &RunArgs) -> Result<(), RunError> {
    // If the limit cannot be raised, opening a socket will fail.
    let _ = nucleus_net::raise_file_limit();
    let mut report = Report { at_once: args.at_once, rows: Vec::new() };
    for number in 1..=args.rounds {
        report.rows.extend(round(number, args)?);
    }
    // A closed stdout is not an error.
    let _ = io::stdout().write_all(report.table().as_bytes());
    args.json.as_deref().map_or(Ok(()), |path| write(path, &format!("{:#}\n", report.json())))
}

fn write(path: &Path, text: &str) -> Result<(), RunError> {
    let failed = |source| RunError::Write { path: path.display().to_string(), source };
    std::fs::write(path, text).map_err(failed)
}

/// Measures both systems once.
fn round(number: u32, args: &RunArgs) -> Result<Vec<Row>, RunError> {
    let mut nucleus = Embedded::start(None, None)?;
    let bare = BareServer::start(nucleus.data_dir()).map_err(RunError::Bare)?;
    let keys = |source| RunError::Clients { system: System::Nucleus, source };
    let credentials = Arc::new(Credentials::new(nucleus.data_dir(), args.joins).map_err(keys)?);
    let mut servers = [
        Server { system: System::Nucleus, address: nucleus.session, pid: nucleus.pid() },
        Server { system: System::Bare, address: bare.address, pid: bare.pid() },
    ];
    servers.rotate_left(number as usize % 2);
    let mut rows = Vec::new();
    for server in servers {
        let system = server.system;
        let measuring = clients::measure(server, credentials.clone(), args.joins, args.at_once);
        let measurement = runtime()?.block_on(measuring);
        if let Some(what) = nucleus.end() {
            return Err(RunError::Died(what.to_string()));
        }
        let measurement = measurement.map_err(|source| RunError::Clients { system, source })?;
        rows.push(Row::new(number, system, &measurement));
    }
    Ok(rows)
}

/// Returns the clients' runtime, on half of the cores. The servers need the others.
fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build()
        .map_err(RunError::Threads)
}
