//! `loadgen capacity`: finds the largest load that keeps the objective.

mod objective;
mod search;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::args::CapacityArgs;
use crate::drive::server_target::read_tokens;
use crate::faults::FaultPlan;
use crate::report::fail_if::FailIf;
use crate::report::{Report, SCHEMA};
use crate::run::{RunError, run};
use crate::signals::Signals;
use objective::Objective;
use search::{Limit, LimitedBy, NextStep, Search, SearchResult, StepOutcome};

/// The largest room of a server, which is the end of a search with `--grow-room`.
const MAX_ROOM: u32 = 4_000;
/// Characters of a bar.
const BAR: usize = 20;

/// The result of a search.
#[derive(Debug, Serialize)]
pub(crate) struct CapacityResult {
    schema: u32,
    /// Whether the number is one of the server: no step was impossible to measure, and the
    /// generator was not the limit.
    pub(crate) valid: bool,
    pub(crate) invalid_reasons: Vec<String>,
    /// The largest number of headsets that kept the objective; `None` if the search did not find it.
    pub(crate) headsets: Option<u32>,
    /// `server`, `generator`, `objective` or `max`; `None` if the search did not end.
    pub(crate) limited_by: Option<&'static str>,
    pub(crate) profile: String,
    network: String,
    /// Headsets in a room; `None` if all headsets were in one room.
    pub(crate) room_size: Option<u32>,
    objectives: Vec<String>,
    /// The same conditions.
    #[serde(skip)]
    pub(crate) conditions: Vec<FailIf>,
    /// Whether the load generator started the server, on its own machine.
    #[serde(skip)]
    pub(crate) is_embedded: bool,
    pub(crate) steps: Vec<CapacityStep>,
    /// Why the number is no larger: the smallest load that missed the objective, and what it missed.
    #[serde(skip)]
    pub(crate) why: Option<String>,
    /// The verdict as text.
    #[serde(skip)]
    verdict: String,
}

/// A step of a search.
#[derive(Debug, Serialize)]
pub(crate) struct CapacityStep {
    pub(crate) headsets: u32,
    /// Whether the step kept the objective.
    pub(crate) ok: bool,
    /// Whether the step says nothing about the server, because the generator could not offer the load.
    #[serde(skip)]
    generator_failed: bool,
    /// The figures; `None` if the run could not take place.
    pub(crate) report: Option<Report>,
    /// The conditions that were not kept, with their figures, or why the run proves nothing; empty
    /// if the step kept the objective.
    pub(crate) reason: String,
}

/// Searches, and writes a line to stdout for each step. A signal ends the search.
///
/// # Errors
///
/// If the first step could not take place.
pub(crate) fn find(
    args: &CapacityArgs,
    signals: &Arc<Signals>,
) -> Result<CapacityResult, RunError> {
    let objective = Objective::new(args);
    let end = if args.grow_room { MAX_ROOM } else { u32::MAX };
    let max = args.max_headsets.get().min(end).min(tokens_of(args)?);
    // In a room that grows, every number of headsets is a whole room.
    let room = if args.grow_room { 1 } else { args.room_size(max).get() };
    let mut search = Search::new(args.start.get(), max, room);
    let mut steps = Vec::new();
    let found = loop {
        let headsets = match search.next() {
            NextStep::End(found) => break Ok(found),
            NextStep::Measure(headsets) => headsets,
        };
        let began = Instant::now();
        let measured = run(&args.step(headsets), FaultPlan::default(), signals);
        let (step, outcome) = match judge(headsets, measured, &objective) {
            Ok(judged) => judged,
            Err(error) if steps.is_empty() => return Err(error),
            Err(error) => break Err(format!("{headsets} headsets: {error}")),
        };
        let reason = step.reason.clone();
        steps.push(step);
        let Ok(outcome) = outcome else { break Err(format!("{headsets} headsets: {reason}")) };
        search.record(outcome, began.elapsed());
        if let Some(step) = steps.last() {
            say(&line(step, outcome, &objective, search.time_left()));
        }
    };
    Ok(CapacityResult::new(args, &objective, steps, found))
}

/// Returns how many headsets the file of `--token` has tokens for.
///
/// # Errors
///
/// If the file cannot be read, or has no token.
fn tokens_of(args: &CapacityArgs) -> Result<u32, RunError> {
    let Some(path) = &args.server.token else { return Ok(u32::MAX) };
    Ok(match read_tokens(path)?.len() {
        1 => u32::MAX,
        batch => u32::try_from(batch).unwrap_or(u32::MAX),
    })
}

/// Returns a step, and what it says about the server: an error if it says nothing about any load.
///
/// # Errors
///
/// If the run could not take place for a reason that does not depend on the load.
fn judge(
    headsets: u32,
    measured: Result<Report, RunError>,
    objective: &Objective,
) -> Result<(CapacityStep, Result<StepOutcome, ()>), RunError> {
    let without_report = |reason: RunError, outcome| {
        let generator_failed = outcome == StepOutcome::GeneratorFailed;
        let reason = reason.to_string();
        let step = CapacityStep { headsets, ok: false, generator_failed, report: None, reason };
        Ok((step, Ok(outcome)))
    };
    let report = match measured {
        Ok(report) => report,
        Err(error @ RunError::Files { .. }) => {
            return without_report(error, StepOutcome::GeneratorFailed);
        }
        Err(error @ RunError::NobodyJoined(_)) => {
            return without_report(error, StepOutcome::Missed(Limit::Server));
        }
        Err(error) => return Err(error),
    };
    let judged = objective.judge(&report);
    let broken = Some(objective.broken(&report)).filter(|text| !text.is_empty());
    let mut reasons: Vec<String> =
        broken.into_iter().chain(report.invalid_reasons.iter().cloned()).collect();
    let ok = judged == Ok(StepOutcome::Kept);
    let generator_failed = judged == Ok(StepOutcome::GeneratorFailed);
    let outcome = judged.map_err(|reason| {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    });
    let (reason, report) = (reasons.join("; "), Some(report));
    Ok((CapacityStep { headsets, ok, generator_failed, report, reason }, outcome))
}

/// Returns the line of a step: the headsets, whether the objective was kept, how near it is to its
/// limit, and the time that the search still needs.
fn line(
    step: &CapacityStep,
    outcome: StepOutcome,
    objective: &Objective,
    left: Option<Duration>,
) -> String {
    let word = match outcome {
        StepOutcome::Kept => "kept",
        StepOutcome::Missed(_) => "missed",
        StepOutcome::GeneratorFailed => "INVALID",
    };
    let nearest = step.report.as_ref().and_then(|report| objective.nearest(report));
    let share = nearest.map_or(1.0, |(share, _)| share);
    let filled = ((share * BAR as f64) as usize).min(BAR);
    let bar: String = "#".repeat(filled) + &".".repeat(BAR - filled);
    let why = match (step.ok, nearest) {
        (true, Some((share, condition))) => format!("{:.0} % of {condition}", share * 100.0),
        _ => step.reason.clone(),
    };
    let left = left.unwrap_or_default().as_secs();
    let left = format!("{}:{:02} left", left / 60, left % 60);
    format!("{:>6} headsets  {word:<7}  [{bar}]  about {left}  {why}", step.headsets)
}

/// Writes a line to stdout. Ignores a closed pipe.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

impl CapacityResult {
    fn new(
        args: &CapacityArgs,
        objective: &Objective,
        steps: Vec<CapacityStep>,
        found: Result<SearchResult, String>,
    ) -> Self {
        let (valid, headsets, limited_by) = match found {
            Err(_) => (false, None, None),
            Ok(SearchResult { limited_by: LimitedBy::Generator, .. }) => {
                (false, None, Some("generator"))
            }
            Ok(SearchResult { kept, limited_by }) => (true, Some(kept), Some(name_of(limited_by))),
        };
        let verdict = match &found {
            Ok(found) => verdict(*found, &steps),
            Err(reason) => format!("unknown: the search did not end. {reason}"),
        };
        CapacityResult {
            schema: SCHEMA,
            valid,
            invalid_reasons: if valid { Vec::new() } else { vec![verdict.clone()] },
            headsets,
            limited_by,
            profile: args.profile.name(),
            network: args.network.name.clone(),
            room_size: (!args.grow_room).then(|| args.room_size(0).get()),
            objectives: objective.texts(),
            conditions: objective.conditions().to_vec(),
            is_embedded: args.server.target.is_none(),
            why: found.ok().and_then(|found| why(found, &steps)),
            steps,
            verdict,
        }
    }
}

fn name_of(limited_by: LimitedBy) -> &'static str {
    match limited_by {
        LimitedBy::Objective(Limit::Server) => "server",
        LimitedBy::Objective(Limit::Objective) => "objective",
        LimitedBy::Generator => "generator",
        LimitedBy::Max => "max",
    }
}

/// Says what the smallest load missed that is larger than the number; `None` if there is none.
fn why(found: SearchResult, steps: &[CapacityStep]) -> Option<String> {
    let above = steps.iter().filter(|step| step.headsets > found.kept && !step.ok);
    // Of the tries with the smallest load that failed, the last counts; but one that says something
    // about the server counts before one that does not.
    let step = above.rev().min_by_key(|step| (step.headsets, step.generator_failed))?;
    Some(format!("With {} headsets: {}.", step.headsets, step.reason))
}

/// Returns the verdict on a search that has ended.
fn verdict(found: SearchResult, steps: &[CapacityStep]) -> String {
    let kept = found.kept;
    let why = why(found, steps).map(|why| format!(" {why}")).unwrap_or_default();
    match found.limited_by {
        LimitedBy::Max => format!("at least {kept} headsets, the most that were asked for."),
        LimitedBy::Generator => format!(
            "unknown, because the load generator was the limit. The server carried {kept} \
             headsets.{why} Give the generator a machine of its own (--target) or more cores."
        ),
        LimitedBy::Objective(limit) => {
            let limit = if limit == Limit::Server { "server" } else { "objective" };
            format!("{kept} headsets, limited by the {limit}.{why}")
        }
    }
}

impl std::fmt::Display for CapacityResult {
    /// Writes the verdict, as the last line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.valid { "capacity" } else { "INVALID " };
        writeln!(f, "objective {}", self.objectives.join(", "))?;
        writeln!(f, "{word}  {}", self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(headsets: u32, ok: bool, reason: &str) -> CapacityStep {
        let generator_failed = reason == "far";
        CapacityStep { headsets, ok, generator_failed, report: None, reason: reason.into() }
    }

    #[test]
    fn the_verdict_names_the_number_and_what_limits_it() {
        let steps = [
            step(100, true, ""),
            step(200, false, "far"),
            step(102, false, "noise"),
            step(102, false, "server.cpu_share <= 0.8: it is 0.81"),
            step(102, false, "far"),
        ];
        let text = |limited_by| verdict(SearchResult { kept: 100, limited_by }, &steps);
        assert_eq!(
            text(LimitedBy::Objective(Limit::Server)),
            "100 headsets, limited by the server. With 102 headsets: server.cpu_share <= 0.8: it \
             is 0.81."
        );
        assert!(text(LimitedBy::Max).starts_with("at least 100 headsets"));
        let unknown = text(LimitedBy::Generator);
        assert!(unknown.starts_with("unknown") && unknown.contains("--target"), "{unknown}");
    }

    #[test]
    fn too_few_open_files_are_the_generators_limit() {
        let failed = RunError::Files { headsets: 9, needed: 9, limit: 1 };
        let nobody = RunError::NobodyJoined("no answer".into());
        let objective = Objective::of_nothing();
        let outcome = |error| judge(9, Err(error), &objective).map(|(_, outcome)| outcome).ok();
        assert_eq!(outcome(failed), Some(Ok(StepOutcome::GeneratorFailed)));
        assert_eq!(outcome(nobody), Some(Ok(StepOutcome::Missed(Limit::Server))));
        assert_eq!(outcome(RunError::Threads(std::io::ErrorKind::Other.into())), None);
    }
}
