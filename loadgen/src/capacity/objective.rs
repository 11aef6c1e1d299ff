//! The objective of a search, and what a step says about it.

use super::search::{Limit, StepOutcome};
use crate::args::CapacityArgs;
use crate::load::channel::Channel;
use crate::load::profile::Talk;
use crate::report::fail_if::FailIf;
use crate::report::{InvalidCause, Report};

/// The CPU time of the generator and of a server on the same machine, as a share of the machine's
/// cores, from which on late messages say nothing about the server.
const FULL_MACHINE: f64 = 0.95;

/// The conditions that the server must keep.
#[derive(Debug)]
pub(super) struct Objective {
    conditions: Vec<FailIf>,
    /// Whether a figure that is unknown ends the search. Of the default conditions, a channel on
    /// which a small step expects no message keeps its condition.
    must_be_known: bool,
    /// Whether the server's CPU time is spent on the cores of the generator.
    shares_machine: bool,
}

impl Objective {
    /// Returns the objective of the command line, or the default for its profile. The default has
    /// no condition on the server's CPU time if no option says where to read it.
    pub(super) fn new(args: &CapacityArgs) -> Self {
        let is_embedded = args.server.target.is_none();
        let must_be_known = !args.objectives.is_empty();
        let conditions = if must_be_known {
            args.objectives.clone()
        } else {
            let knows_cpu = is_embedded || args.server.http.is_some();
            default_conditions(args, knows_cpu)
        };
        let shares_machine = is_embedded || args.server.server_pid.is_some();
        Objective { conditions, must_be_known, shares_machine }
    }

    /// Returns an objective without conditions.
    #[cfg(test)]
    pub(super) fn of_nothing() -> Self {
        Objective { conditions: Vec::new(), must_be_known: false, shares_machine: true }
    }

    /// Returns the conditions.
    pub(super) fn conditions(&self) -> &[FailIf] {
        &self.conditions
    }

    /// Returns the conditions as text.
    pub(super) fn texts(&self) -> Vec<String> {
        self.conditions.iter().map(ToString::to_string).collect()
    }

    /// Returns what a report says about the server.
    ///
    /// # Errors
    ///
    /// If the report says nothing about any load: then the search cannot go on.
    pub(super) fn judge(&self, report: &Report) -> Result<StepOutcome, String> {
        let has = |cause| report.invalid_causes.contains(&cause);
        if has(InvalidCause::Other) {
            return Err(report.invalid_reasons.join("; "));
        }
        if has(InvalidCause::ServerGone) {
            return Ok(StepOutcome::Missed(Limit::Server));
        }
        let missed = self.missed(report)?;
        // A generator that offers too little only makes the server's CPU time smaller.
        if missed.iter().any(|condition| condition.is_of_server()) {
            return Ok(StepOutcome::Missed(Limit::Server));
        }
        if has(InvalidCause::Generator) {
            return Ok(StepOutcome::GeneratorFailed);
        }
        if has(InvalidCause::Server) {
            return Ok(StepOutcome::Missed(Limit::Server));
        }
        if missed.is_empty() {
            Ok(StepOutcome::Kept)
        } else if self.is_machine_full(report) {
            Ok(StepOutcome::GeneratorFailed)
        } else {
            Ok(StepOutcome::Missed(Limit::Objective))
        }
    }

    /// Returns the conditions that a report does not keep, each with its figure, as text.
    pub(super) fn broken(&self, report: &Report) -> String {
        let missed = self.missed(report).unwrap_or_default();
        missed.iter().map(|condition| condition.with_figure(report)).collect::<Vec<_>>().join(", ")
    }

    /// Returns the condition that is nearest to its limit, with the figure as a share of the limit.
    pub(super) fn nearest(&self, report: &Report) -> Option<(f64, &FailIf)> {
        let shares = self.conditions.iter().filter_map(|c| Some((c.share_of_limit(report)?, c)));
        shares.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    fn missed(&self, report: &Report) -> Result<Vec<&FailIf>, String> {
        let mut missed = Vec::new();
        for condition in &self.conditions {
            match condition.holds_for(report) {
                Some(true) => {}
                Some(false) => missed.push(condition),
                None if self.must_be_known || condition.is_of_server() => {
                    return Err(format!("the figure of the objective `{condition}` is unknown"));
                }
                None => {}
            }
        }
        Ok(missed)
    }

    fn is_machine_full(&self, report: &Report) -> bool {
        let server = report.server.cpu_cores.filter(|_| self.shares_machine).unwrap_or(0.0);
        let cores = report.generator.cores as f64;
        report.generator.cpu_cores.is_some_and(|own| own + server >= FULL_MACHINE * cores)
    }
}

/// Returns the default conditions for the channels on which the profile sends.
fn default_conditions(args: &CapacityArgs, knows_cpu: bool) -> Vec<FailIf> {
    let traffic = args.profile.traffic(args.pose_hz);
    let texts = [
        (traffic.has(Channel::Pose) && traffic.pose_hz > 0.0, "pose.loss <= 0.001"),
        (traffic.has(Channel::Pose) && traffic.pose_hz > 0.0, "pose.age_p99_ms <= 60"),
        (traffic.talk != Talk::Nobody, "voice.loss <= 0.001"),
        (traffic.talk != Talk::Nobody, "voice.p99_ms <= 60"),
        (knows_cpu, "server.cpu_share <= 0.8"),
    ];
    let chosen = texts.into_iter().filter(|(is_needed, _)| *is_needed);
    chosen.filter_map(|(_, text)| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn objective(line: &str) -> Objective {
        let words = ["loadgen", "capacity"].into_iter().chain(line.split_whitespace());
        match Cli::parse_from(words).command {
            Command::Capacity(args) => Objective::new(&args),
            _ => unreachable!("the command line says `capacity`"),
        }
    }

    /// Returns the report of a step that keeps every condition of the default.
    fn kept() -> Report {
        let mut report = Report::full();
        let pose = &mut report.channels.pose.channel;
        (pose.loss, pose.age_ms.as_mut().unwrap().p99) = (Some(0.001), Some(60.0));
        (report.channels.voice.loss, report.channels.voice.latency_ms.p99) = (Some(0.0), Some(9.0));
        (report.server.cpu_share, report.server.cpu_cores) = (Some(0.8), Some(0.8));
        (report.generator.cpu_cores, report.generator.cores) = (Some(1.0), 2);
        report
    }

    fn judged(change: impl FnOnce(&mut Report)) -> Result<StepOutcome, String> {
        let mut report = kept();
        change(&mut report);
        objective("").judge(&report)
    }

    #[test]
    fn each_default_condition_can_be_missed() {
        const MISSED: Result<StepOutcome, String> = Ok(StepOutcome::Missed(Limit::Objective));
        assert_eq!(judged(|_| ()), Ok(StepOutcome::Kept));
        assert_eq!(judged(|r| r.channels.pose.channel.loss = Some(0.0011)), MISSED);
        assert_eq!(judged(|r| r.channels.voice.loss = Some(0.0011)), MISSED);
        assert_eq!(judged(|r| r.channels.voice.latency_ms.p99 = Some(60.1)), MISSED);
        let age =
            |r: &mut Report| r.channels.pose.channel.age_ms.as_mut().unwrap().p99 = Some(61.0);
        assert_eq!(judged(age), MISSED);
        let by_server = Ok(StepOutcome::Missed(Limit::Server));
        assert_eq!(judged(|r| r.server.cpu_share = Some(0.81)), by_server);
        // Nobody talks in a small step.
        assert_eq!(judged(|r| r.channels.voice.latency_ms.p99 = None), Ok(StepOutcome::Kept));
        assert!(judged(|r| r.server.cpu_share = None).is_err());
    }

    #[test]
    fn a_generator_that_fails_says_nothing_unless_the_server_failed_too() {
        let invalid = |cause, share: f64| {
            judged(|report| {
                report.invalidate(cause, "a reason");
                report.server.cpu_share = Some(share);
            })
        };
        let by_server = Ok(StepOutcome::Missed(Limit::Server));
        assert_eq!(invalid(InvalidCause::Generator, 0.5), Ok(StepOutcome::GeneratorFailed));
        assert_eq!(invalid(InvalidCause::Generator, 0.9), by_server);
        assert_eq!(invalid(InvalidCause::Server, 0.5), by_server);
        assert_eq!(invalid(InvalidCause::ServerGone, 0.5), by_server);
        assert_eq!(invalid(InvalidCause::Other, 0.9), Err("a reason".into()));
    }

    #[test]
    fn on_a_full_machine_late_messages_are_not_the_servers() {
        let late = |own: f64| {
            judged(|report| {
                report.channels.voice.latency_ms.p99 = Some(100.0);
                report.generator.cpu_cores = Some(own);
            })
        };
        assert_eq!(late(1.09), Ok(StepOutcome::Missed(Limit::Objective)));
        assert_eq!(late(1.11), Ok(StepOutcome::GeneratorFailed));
    }

    #[test]
    fn the_default_fits_the_profile_and_the_server() {
        assert_eq!(objective("").conditions.len(), 5);
        assert_eq!(objective("--pose-hz 0").conditions.len(), 3);
        assert_eq!(objective("--profile idle").texts(), ["server.cpu_share <= 0.8"]);
        assert_eq!(objective("--target h:1 --token t").conditions.len(), 4);
        let own = objective("--objective pose.lost<1 --objective event.lost<1");
        assert_eq!(own.texts(), ["pose.lost<1", "event.lost<1"]);
        let mut unknown = kept();
        unknown.channels.voice.latency_ms.p99 = None;
        assert!(objective("--objective voice.p99_ms<9").judge(&unknown).is_err());
    }
}
