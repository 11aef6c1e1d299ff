//! The options of `loadgen capacity`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{RunArgs, ServerArgs, check_file, parse_duration, parse_hz};
use crate::load::network::NetworkProfile;
use crate::load::profile::Profile;
use crate::report::Report;
use crate::report::fail_if::FailIf;

/// Joins a second while the headsets of a step join. One core of a server does five times as many.
const JOINS_PER_S: u32 = 500;
/// The shortest time for the joins of a step.
const SHORTEST_RAMP: Duration = Duration::from_secs(1);

/// The options of `loadgen capacity`.
#[derive(Debug, Args)]
pub(crate) struct CapacityArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The messages that each headset sends.
    #[arg(long, value_name = "P", value_enum, default_value = "meeting")]
    pub(crate) profile: Profile,
    /// Number of headsets in one room [default: 10; 3 for the profile assist].
    #[arg(long, value_name = "K", conflicts_with = "grow_room")]
    pub(crate) room_size: Option<NonZeroU32>,
    /// Find the largest room: all headsets of a step are in one room.
    #[arg(long)]
    pub(crate) grow_room: bool,
    /// Poses a second from each headset, 0 to 1,000; 0 sends none [default: 30; 0 for the profile
    /// assist].
    #[arg(long, value_name = "HZ", value_parser = parse_hz)]
    pub(crate) pose_hz: Option<f64>,
    /// Simulated network of every headset, as in `loadgen run`. Each network but clean needs an
    /// --objective that it can keep.
    #[arg(long, value_name = "W", default_value = "clean")]
    pub(crate) network: NetworkProfile,
    /// Number of headsets of the first step.
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) start: NonZeroU32,
    /// The most headsets of a step.
    #[arg(long, value_name = "N", default_value = "100000")]
    pub(crate) max_headsets: NonZeroU32,
    /// Length of the measured time of each step.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// What must be true of a step, for example `pose.age_p99_ms <= 60`. May be repeated, and
    /// replaces the default: a loss of poses and of voice of 0.1 %, an age of poses and a latency
    /// of voice of 60 ms at p99, and 0.8 of the server's cores.
    #[arg(long = "objective", value_name = "EXPR")]
    pub(crate) objectives: Vec<FailIf>,
    /// Seed of all random choices of the load generator.
    #[arg(long, value_name = "S", default_value = "1")]
    pub(crate) seed: u64,
    /// Write the result as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with the number, what limits it and the line to order to this file: one HTML
    /// file, which needs no other.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Exit as if the result were valid, even if it is INVALID.
    #[arg(long)]
    pub(crate) allow_invalid: bool,
}

impl CapacityArgs {
    /// Checks rules that concern several options or the file system.
    ///
    /// # Errors
    ///
    /// A usage error, as one line.
    pub(crate) fn check(&self) -> Result<(), String> {
        let shape = Report::of(&self.profile.traffic(self.pose_hz));
        if let Some(rule) = self.objectives.iter().find(|rule| !rule.fits(&shape)) {
            let profile = self.profile.name();
            return Err(format!(
                "--objective: a run of profile {profile} has no figure for `{rule}`"
            ));
        }
        check_file("--json", self.json.as_deref())?;
        check_file("--html", self.html.as_deref())?;
        self.step(self.start.get()).check()
    }

    /// Returns the headsets in one room of a step with this number of headsets.
    pub(crate) fn room_size(&self, headsets: u32) -> NonZeroU32 {
        let whole = NonZeroU32::new(headsets).filter(|_| self.grow_room);
        whole.or(self.room_size).unwrap_or(self.profile.room_size())
    }

    /// Returns the options of the run of a step.
    pub(crate) fn step(&self, headsets: u32) -> RunArgs {
        let joins = Duration::from_secs(1) * headsets / JOINS_PER_S;
        RunArgs {
            server: self.server.clone(),
            headsets: NonZeroU32::new(headsets).unwrap_or(NonZeroU32::MIN),
            room_size: Some(self.room_size(headsets)),
            duration: self.duration,
            ramp: joins.max(SHORTEST_RAMP),
            profile: self.profile,
            pose_hz: self.pose_hz,
            network: self.network.clone(),
            block_realtime: 0.0,
            seed: self.seed,
            json: None,
            html: None,
            fail_if: Vec::new(),
            allow_invalid: false,
            distort: None,
        }
    }
}
