//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// What a join costs the server, against a bare QUIC handshake.
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
    /// The server that only shakes hands; started by the comparison itself.
    #[command(hide = true)]
    Bare {
        /// Whose certificate it shows.
        data_dir: PathBuf,
    },
}

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Joins of each system in each round, 1 to 20,000.
    #[arg(long, value_name = "N", default_value = "2000", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) joins: u32,
    /// Rounds; each measures both systems once.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Joins that are under way at a time, 1 to 1,000: the next begins when one is done.
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) at_once: u32,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
