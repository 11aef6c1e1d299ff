//! `loadgen chaos`: causes a fault on purpose, and checks the figures against their limits.

mod pause;
mod scenario;
mod scenarios;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Parser;
use serde::Serialize;

use crate::args::{ChaosArgs, Cli, Command, RunArgs};
use crate::report::Report;
use crate::report::figures::NAMED_PROBLEMS;
use crate::run::{RunError, run};
use crate::signals::Signals;
use scenario::{RatioLimit, Scenario};
use scenarios::SCENARIOS;

/// Number of rounds of a comparison. The median of the rounds' ratios counts.
const ROUNDS: usize = 3;

/// A figure and its upper limit. A figure that is unknown does not reach its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Figure {
    name: &'static str,
    figure: Option<f64>,
    limit: f64,
    reached: bool,
}

fn at_most(name: &'static str, figure: impl Into<Option<f64>>, limit: f64) -> Figure {
    let figure = figure.into();
    Figure { name, figure, limit, reached: figure.is_some_and(|figure| figure <= limit) }
}

/// Returns a figure that must be 0.
fn none(name: &'static str, figure: impl Into<Option<f64>>) -> Figure {
    at_most(name, figure, 0.0)
}

/// The result of a scenario.
#[derive(Debug, Serialize)]
pub(crate) struct ScenarioResult {
    scenario: &'static str,
    /// Whether every run of the scenario is valid.
    pub(crate) valid: bool,
    invalid_reasons: Vec<String>,
    /// Whether all figures are within their limits.
    pub(crate) reached: bool,
    figures: Vec<Figure>,
    /// The report of the last run.
    report: Report,
    /// The reports of all runs, in order.
    reports: Vec<Report>,
}

/// Returns the list of scenarios, one a line.
pub(crate) fn list() -> String {
    SCENARIOS.iter().map(|s| format!("{:<17} {}\n", s.name, s.about)).collect()
}

/// Returns the scenario that the command line names; `None` if there is none of that name.
pub(crate) fn find(args: &ChaosArgs) -> Option<&'static Scenario> {
    let name = args.name.as_deref()?;
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Runs the scenario with these options.
    ///
    /// # Errors
    ///
    /// If the first run could not take place.
    pub(crate) fn run(
        &self,
        args: &ChaosArgs,
        signals: &Arc<Signals>,
    ) -> Result<ScenarioResult, RunError> {
        let run_args = run_args(self, args);
        let run = |faulty| run(&run_args, (self.fault_plan)(faulty), signals);
        if let Some(ratio) = &self.ratio {
            return run_rounds(self, ratio, || signals.first(), run);
        }
        let report = run(true)?;
        Ok(ScenarioResult::new(self, (self.judge)(&report, true), vec![report], None))
    }
}

/// Runs rounds without and with the fault in turn, so that disturbances of the machine affect both.
/// For the figure that is compared, the median of the rounds' ratios counts; for every other
/// figure, the worst value of all rounds counts. A signal ends all rounds, and so does a run that
/// could not take place; the reports before it are kept.
///
/// # Errors
///
/// If the first run could not take place.
fn run_rounds(
    scenario: &Scenario,
    ratio: &RatioLimit,
    signal: impl Fn() -> Option<&'static str>,
    run: impl Fn(bool) -> Result<Report, RunError>,
) -> Result<ScenarioResult, RunError> {
    let (mut figures, mut reports): (Vec<Figure>, Vec<Report>) = (Vec::new(), Vec::new());
    let mut failure = None;
    for number in 0..2 * ROUNDS {
        if let Some(signal) = signal() {
            failure = Some(format!("interrupted by {signal} before run {}", number + 1));
            break;
        }
        let faulty = number % 2 == 1;
        match run(faulty) {
            Ok(report) => {
                figures = worst(figures, (scenario.judge)(&report, faulty));
                reports.push(report);
            }
            Err(error) if reports.is_empty() => return Err(error),
            Err(error) => {
                failure = Some(format!("run {} could not take place: {error}", number + 1));
                break;
            }
        }
    }
    figures.push(at_most(ratio.name, median_ratio(&reports, ratio.figure), ratio.limit));
    Ok(ScenarioResult::new(scenario, figures, reports, failure))
}

/// Returns the median of the ratios of the rounds, each of which has a report without the fault and
/// one with it; `None` if a ratio is unknown or a round is missing.
fn median_ratio(reports: &[Report], figure: fn(&Report) -> Option<f64>) -> Option<f64> {
    let (rounds, rest) = reports.as_chunks::<2>();
    let ratio = |[without, with]: &[Report; 2]| {
        let (without, with) = (figure(without)?, figure(with)?);
        (without > 0.0 && with > 0.0).then(|| with / without)
    };
    let mut ratios = rounds.iter().map(ratio).collect::<Option<Vec<f64>>>()?;
    ratios.sort_by(f64::total_cmp);
    (rest.is_empty() && ratios.len() == ROUNDS).then(|| ratios[ROUNDS / 2])
}

/// Returns the worse value of each figure in two runs. An unknown value is the worst.
fn worst(before: Vec<Figure>, round: Vec<Figure>) -> Vec<Figure> {
    if before.is_empty() {
        return round;
    }
    let badness = |figure: &Figure| figure.figure.unwrap_or(f64::INFINITY);
    let pairs = before.into_iter().zip(round);
    pairs.map(|(a, b)| if badness(&b) > badness(&a) { b } else { a }).collect()
}

impl ScenarioResult {
    /// Returns the result of the runs with these reports. One run that is INVALID makes the
    /// scenario INVALID, and so does `failure`, the reason why there are not all runs.
    fn new(
        scenario: &Scenario,
        figures: Vec<Figure>,
        reports: Vec<Report>,
        failure: Option<String>,
    ) -> Self {
        let several = reports.len() > 1;
        let mut invalid_reasons = Vec::new();
        for (number, report) in reports.iter().enumerate() {
            let of_run = if several { format!("run {}: ", number + 1) } else { String::new() };
            let reasons = report.invalid_reasons.iter();
            invalid_reasons.extend(reasons.map(|reason| format!("{of_run}{reason}")));
        }
        let all_ran = !reports.is_empty() && failure.is_none();
        let valid = all_ran && reports.iter().all(|report| report.valid);
        invalid_reasons.extend(failure);
        ScenarioResult {
            scenario: scenario.name,
            valid,
            invalid_reasons,
            reached: figures.iter().all(|figure| figure.reached),
            figures,
            report: reports.last().cloned().unwrap_or_default(),
            reports,
        }
    }

    /// Returns the errors of failed joins in all runs, and how often each occurred.
    fn join_errors(&self) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (text, count) in self.reports.iter().flat_map(|report| &report.join_errors) {
            *all.entry(text.as_str()).or_default() += count;
        }
        all
    }
}

fn run_args(scenario: &Scenario, args: &ChaosArgs) -> RunArgs {
    let seed = args.seed.to_string();
    let line = ["loadgen", "run", "--embedded", "--seed", &seed].into_iter();
    let mut run = match Cli::parse_from(line.chain(scenario.options.split_whitespace())).command {
        Command::Run(run) => *run,
        _ => unreachable!("the command line says `run`"),
    };
    run.headsets = args.headsets.unwrap_or(run.headsets);
    run
}

impl std::fmt::Display for ScenarioResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (text, count) in self.join_errors().iter().take(NAMED_PROBLEMS) {
            writeln!(f, "note      {count} x {text}")?;
        }
        for reason in &self.invalid_reasons {
            writeln!(f, "INVALID   {reason}")?;
        }
        // Scripts read the figures, which come last.
        writeln!(f, "{:<46} {:>12} {:>12}", self.scenario, "figure", "limit")?;
        for Figure { name, figure, limit, reached } in &self.figures {
            let mark = if *reached { "" } else { "  MISSED" };
            let figure = figure.map_or("unknown".to_owned(), |figure| format!("{figure:.2}"));
            writeln!(f, "{name:<46} {figure:>12} {limit:>12.2}{mark}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{InvalidCause, LateJoinersReport};

    #[test]
    fn every_scenario_is_a_run() {
        for scenario in &SCENARIOS {
            let name = Some(scenario.name.to_owned());
            let args = ChaosArgs {
                list: false,
                name,
                headsets: None,
                seed: 1,
                json: None,
                allow_invalid: false,
            };
            let run = run_args(scenario, &args);
            assert!(run.check().is_ok(), "{}", scenario.name);
            let script = (scenario.fault_plan)(true).script;
            assert!(script.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(script.iter().all(|(at, _)| *at < run.duration));
            assert!(list().contains(scenario.name));
        }
    }

    fn result_of(figures: Vec<Figure>, reports: Vec<Report>) -> ScenarioResult {
        ScenarioResult::new(&SCENARIOS[0], figures, reports, None)
    }

    /// Returns a valid report with this send lag.
    fn lagging(lag: Option<f64>) -> Report {
        let mut report = Report::full();
        report.generator.send_lag_p99_ms = lag;
        report
    }

    #[test]
    fn a_figure_that_is_missed_or_unknown_misses_the_scenario() {
        let good = at_most("a", 1.0, 1.0);
        assert!(result_of(vec![good.clone()], vec![Report::full()]).reached);
        for bad in [at_most("b", 1.1, 1.0), at_most("b", None, 1.0)] {
            let result = result_of(vec![good.clone(), bad], vec![Report::full()]);
            assert!(!result.reached && result.to_string().ends_with("MISSED\n"));
        }
    }

    #[test]
    fn one_invalid_run_makes_the_scenario_invalid_and_every_report_is_kept() {
        let mut invalid = Report::full();
        invalid.invalidate(InvalidCause::Generator, "the sends lagged");
        let figures = vec![at_most("a", 1.0, 1.0)];
        let result = result_of(figures, vec![Report::full(), invalid, Report::full()]);
        assert!(!result.valid && result.reached);
        let text = result.to_string();
        assert!(text.starts_with("INVALID   run 2: the sends lagged\n"), "{text}");
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["a", "1.00", "1.00"]);
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(json["reports"].as_array().unwrap().len(), 3);
        assert_eq!((&json["valid"], &json["reports"][1]["valid"]), (&false.into(), &false.into()));
        assert_eq!(json["report"], json["reports"][2]);
        assert!(result_of(Vec::new(), vec![Report::full(); 2]).valid);
        assert!(!result_of(Vec::new(), Vec::new()).valid, "nothing ran");
    }

    /// Runs the rounds of a scenario. The signal comes before the run `signal`, and the run `error`
    /// cannot take place; both count from 1.
    fn rounds(signal: usize, error: usize) -> Result<ScenarioResult, RunError> {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "crowd").unwrap();
        let runs = std::cell::Cell::new(0);
        let run = |_| {
            runs.set(runs.get() + 1);
            if runs.get() == error {
                return Err(RunError::NobodyJoined("no answer in time".into()));
            }
            Ok(Report::full())
        };
        let signalled = || (runs.get() + 1 == signal).then_some("SIGTERM");
        run_rounds(scenario, scenario.ratio.as_ref().unwrap(), signalled, run)
    }

    #[test]
    fn a_signal_between_two_runs_makes_the_scenario_invalid() {
        let result = rounds(4, 0).unwrap();
        assert_eq!((result.valid, result.reports.len()), (false, 3));
        assert_eq!(result.invalid_reasons, ["interrupted by SIGTERM before run 4"]);
        let result = rounds(1, 0).unwrap();
        assert_eq!((result.valid, result.reports.len()), (false, 0));
        assert!(rounds(0, 0).unwrap().valid);
    }

    #[test]
    fn a_run_that_cannot_take_place_loses_no_report_before_it() {
        let result = rounds(0, 5).unwrap();
        assert_eq!((result.valid, result.reached, result.reports.len()), (false, false, 4));
        let reason = "run 5 could not take place: no headset could join: no answer in time";
        assert_eq!(result.invalid_reasons, [reason]);
        assert!(rounds(0, 1).is_err());
    }

    #[test]
    fn a_ratio_needs_every_round() {
        let figure = |report: &Report| report.generator.send_lag_p99_ms;
        let pair = |with| [lagging(Some(2.0)), lagging(with)];
        let rounds = |with: [Option<f64>; ROUNDS]| with.map(pair).concat();
        let all = rounds([Some(8.0), Some(2.0), Some(3.0)]);
        assert_eq!(median_ratio(&all, figure), Some(1.5));
        assert_eq!(median_ratio(&all[..4], figure), None, "a round is missing");
        assert_eq!(median_ratio(&all[..5], figure), None, "half a round is missing");
        assert_eq!(median_ratio(&rounds([Some(8.0), None, Some(3.0)]), figure), None);
        assert_eq!(median_ratio(&rounds([Some(8.0), Some(0.0), Some(3.0)]), figure), None);
    }

    #[test]
    fn the_worst_of_a_figure_is_the_unknown_one() {
        let values = |figure: Option<f64>| vec![at_most("a", figure, 1.0)];
        let worse = |a, b| worst(values(a), values(b))[0].figure;
        assert_eq!(worse(Some(1.0), Some(2.0)), Some(2.0));
        assert_eq!((worse(None, Some(2.0)), worse(Some(2.0), None)), (None, None));
    }

    #[test]
    fn a_late_joiner_that_hears_next_to_nothing_misses_its_scenario() {
        let name = "share of the poses that one late joiner misses";
        let reached = |scenario: &str, least_pose_share| {
            let scenario = SCENARIOS.iter().find(|one| one.name == scenario).unwrap();
            let late = LateJoinersReport {
                messages_received: 1_000,
                least_pose_share,
                ..LateJoinersReport::default()
            };
            let report = Report { late_joiners: Some(late), ..Report::full() };
            let figures = (scenario.judge)(&report, true);
            figures.iter().find(|figure| figure.name == name).unwrap().reached
        };
        for scenario in ["crowd", "late-join"] {
            assert!(reached(scenario, Some(0.99)), "{scenario}");
            assert!(!reached(scenario, Some(0.01)) && !reached(scenario, None), "{scenario}");
        }
    }

    #[test]
    fn more_late_joiners_than_invited_are_no_panic() {
        let late = LateJoinersReport { invited: 1, whole: 2, ..LateJoinersReport::default() };
        let report = Report { late_joiners: Some(late), ..Report::full() };
        for scenario in &SCENARIOS {
            (scenario.judge)(&report, true);
        }
    }

    #[test]
    fn a_scenario_in_which_next_to_nothing_arrives_is_missed() {
        for scenario in &SCENARIOS {
            let mut report = Report::full();
            report.channels.pose.channel.delivered_share = Some(0.01);
            report.channels.voice.delivered_share = Some(0.01);
            let figures = (scenario.judge)(&report, true);
            for name in ["poses not delivered, share", "voice not delivered, share"] {
                let share = figures.iter().find(|figure| figure.name == name).unwrap();
                assert!(!share.reached, "{}: {name}", scenario.name);
            }
        }
    }

    #[test]
    fn a_wrong_message_on_any_realtime_channel_is_missed() {
        let changes: [fn(&mut Report); 4] = [
            |report| report.channels.pose.channel.misrouted = 1,
            |report| report.channels.voice.corrupt = 1,
            |report| report.channels.object.as_mut().unwrap().duplicated = 1,
            |report| report.channels.pointer.as_mut().unwrap().corrupt = 1,
        ];
        for change in changes {
            let mut report = Report::full();
            change(&mut report);
            let figures = scenario::basic_figures(&report, 1.0);
            let name = "realtime messages twice, misrouted or corrupt";
            assert!(!figures.iter().find(|figure| figure.name == name).unwrap().reached);
        }
    }

    #[test]
    fn failed_joins_say_why() {
        let report = |range: std::ops::Range<u64>| Report {
            join_errors: range.map(|n| (format!("join failed: error {n}"), n)).collect(),
            ..Report::full()
        };
        let figures = vec![at_most("joins failed", 7.0, 0.0)];
        let result = result_of(figures, vec![report(1..3), report(2..8)]);
        let text = result.to_string();
        assert!(text.contains("1 x join failed: error 1\n"), "{text}");
        assert!(text.contains("4 x join failed: error 2\n"), "{text}");
        assert_eq!(text.matches("join failed:").count(), NAMED_PROBLEMS);
        assert!(!serde_json::to_string(&result).unwrap().contains("join failed:"));
    }
}
