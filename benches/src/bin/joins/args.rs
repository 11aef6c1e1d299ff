//! The command line of `joins`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures the server's CPU time for a join, and compares it with a bare QUIC handshake.
#[derive(Debug, Parser)]
#[command(name = "joins", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the bare server, which only accepts handshakes. The comparison starts this server
    /// itself.
    #[command(hide = true)]
    Bare {
        /// The data directory with the server's certificate.
        data_dir: PathBuf,
    },
}

/// The options of a measurement.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Number of joins of each system in each round, 1 to 20,000.
    #[arg(long, value_name = "N", default_value = "2000", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) joins: u32,
    /// Number of rounds. Each round measures both systems once.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Number of joins at the same time, 1 to 1,000. When one completes, the next begins.
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) at_once: u32,
    /// Write the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
