//! The command line of `peers`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use nucleus_server::start::config::{Tick, parse_tick};

use crate::relay::RelayTask;
use crate::rooms::Rooms;
use crate::systems::System;

/// Largest length of a window, s. Sequence numbers then stay within 16 bits.
const MAX_SECONDS: f64 = 60.0;

/// Compares relay servers under the same load by their CPU time for a delivered message.
#[derive(Debug, Parser)]
#[command(name = "peers", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one of the servers. The comparison starts the servers itself.
    #[command(hide = true)]
    Serve {
        /// The server to run.
        #[arg(value_enum)]
        system: System,
        #[command(flatten)]
        load: LoadArgs,
    },
}

/// The options of a server.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LoadArgs {
    /// Number of peers, 2 to 10,000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) peers: u32,
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
}

/// The options that the comparison and its servers share.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RuleArgs {
    /// Number of peers in a room, 2 to 1,000.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(crate) room_size: u32,
    /// How long a room's messages wait for others, counted from the first one that waits, 1ms to
    /// 50ms.
    #[arg(long, default_value = "5ms", value_parser = tick)]
    pub(crate) tick: Duration,
}

impl LoadArgs {
    /// Returns the task of a server.
    pub(crate) fn task(self) -> RelayTask {
        let rooms = Rooms { peers: self.peers, size: self.rule.room_size };
        RelayTask { rooms, tick: self.rule.tick.as_micros() as u64 }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Number of peers, 2 to 10,000. Several numbers, separated by commas, are measured one after
    /// the other, and the report has a part for each.
    #[arg(
        long,
        default_value = "100",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(2..=10_000)
    )]
    pub(crate) peers: Vec<u32>,
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    /// Poses that each peer sends a second, 1 to 500.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) hz: u32,
    /// Number of rounds. Each round measures every system once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// The systems to compare, in the order of the first round [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) systems: Vec<System>,
    /// Length of one measurement in seconds, 0.1 to 60.
    #[arg(long, default_value_t = 2.5, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

fn tick(text: &str) -> Result<Duration, String> {
    match parse_tick(text) {
        Ok(Tick::Fixed(tick)) if tick.subsec_nanos() % 1_000_000 == 0 => Ok(tick),
        _ => Err("write whole milliseconds, 1ms to 50ms".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=MAX_SECONDS).contains(seconds));
    seconds.ok_or_else(|| format!("write a number from 0.1 to {MAX_SECONDS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["peers"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn the_contract_s_line_is_understood() {
        let cli = parse(
            "--peers 100 --room-size 10 --hz 60 --tick 5ms --rounds 5 --systems limit,nucleus",
        );
        let run = cli.unwrap().run;
        assert_eq!(run.systems, [System::Limit, System::Nucleus]);
        let task = LoadArgs { peers: run.peers[0], rule: run.rule }.task();
        assert_eq!((task.tick, task.rooms.peers, task.rooms.size), (5_000, 100, 10));
        assert_eq!(run.peers, [100]);
        assert_eq!(parse("--peers 100,300,600").unwrap().run.peers, [100, 300, 600]);
        assert_eq!(parse("").unwrap().run.peers, [100]);
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "--tick auto",
            "--tick 5",
            "--seconds 0",
            "--peers 1",
            "--peers 100,1",
            "--systems x",
            "run",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
