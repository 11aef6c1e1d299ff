//! The command line of `nucleus history`.

use clap::{Args, Subcommand};

use super::values::parse_time;

/// What of the history is shown.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Show rooms
    Rooms(HistoryArgs),
    /// Show participants of rooms, each over all its resumes
    Sessions(HistoryArgs),
    /// Show what happened in one session, and why it ended
    Session {
        /// The session's id, as `nucleus history sessions` shows it
        session: String,
    },
    /// Show calls
    Calls(HistoryArgs),
}

/// Which rows of the history are shown.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The user, as in join tokens
    #[arg(long)]
    pub user: Option<String>,
    /// The room's id or name
    #[arg(long)]
    pub room: Option<String>,
    /// The tenant's name
    #[arg(long)]
    pub tenant: Option<String>,
    /// Begun at this time or later, such as 2026-11-29T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<String>,
    /// Begun before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<String>,
    /// Most rows, 1 to 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
}
