//! `loadgen chaos`: causes a fault on purpose, and checks the figures against their limits.

mod scenarios;

use std::collections::BTreeMap;

use clap::Parser;
use serde::Serialize;

use crate::args::{ChaosArgs, Cli, Command, RunArgs};
use crate::report::Report;
use crate::report::figures::NAMED_PROBLEMS;
use crate::run::{RunError, run};
use scenarios::{SCENARIOS, Scenario};

/// Number of rounds of a comparison. The median of the rounds' ratios counts.
const ROUNDS: usize = 3;

/// A figure and its upper limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Figure {
    name: &'static str,
    figure: f64,
    limit: f64,
    reached: bool,
}

fn at_most(name: &'static str, figure: f64, limit: f64) -> Figure {
    Figure { name, figure, limit, reached: figure <= limit }
}

/// The result of a scenario.
#[derive(Debug, Serialize)]
pub(crate) struct ScenarioResult {
    scenario: &'static str,
    pub(crate) reached: bool,
    figures: Vec<Figure>,
    report: Report,
    /// The errors of failed joins in all rounds, and how often each occurred.
    #[serde(skip)]
    join_errors: BTreeMap<String, u64>,
}

/// Returns the list of scenarios, one a line.
pub(crate) fn list() -> String {
    SCENARIOS.iter().map(|s| format!("{:<17} {}\n", s.name, s.about)).collect()
}

/// Runs a scenario. Returns `None` if there is no scenario of that name.
pub(crate) fn chaos(args: &ChaosArgs) -> Option<Result<ScenarioResult, RunError>> {
    let name = args.name.as_deref()?;
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name)?;
    Some(if scenario.ratio.is_some() {
        run_rounds(scenario, args)
    } else {
        run_once(scenario, args)
    })
}

fn run_once(scenario: &Scenario, args: &ChaosArgs) -> Result<ScenarioResult, RunError> {
    let report = run(&run_args(scenario, args), (scenario.fault_plan)(true))?;
    let join_errors = report.join_errors.clone();
    Ok(result_of(scenario, (scenario.judge)(&report, true), report, join_errors))
}

/// Runs rounds without and with the fault in turn, so that disturbances of the machine affect both.
/// For the figure that is compared, the median of the rounds' ratios counts; for every other
/// figure, the worst value of all rounds counts.
fn run_rounds(scenario: &Scenario, args: &ChaosArgs) -> Result<ScenarioResult, RunError> {
    let mut ratios = Vec::new();
    let (mut figures, mut last): (Vec<Figure>, _) = (Vec::new(), None);
    let Some(ratio) = &scenario.ratio else { return run_once(scenario, args) };
    let mut join_errors = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut values = [0.0; 2];
        for (value, faulty) in values.iter_mut().zip([false, true]) {
            let report = run(&run_args(scenario, args), (scenario.fault_plan)(faulty))?;
            *value = (ratio.figure)(&report);
            add_counts(&mut join_errors, &report.join_errors);
            figures = worst(figures, (scenario.judge)(&report, faulty));
            last = Some(report);
        }
        let [without, with] = values;
        ratios.push(if without > 0.0 && with > 0.0 { with / without } else { f64::MAX });
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ROUNDS / 2).copied().unwrap_or(f64::MAX);
    figures.push(at_most(ratio.name, median, ratio.limit));
    Ok(result_of(scenario, figures, last.unwrap_or_default(), join_errors))
}

/// Adds the counts of `more` to those of `counts`.
fn add_counts(counts: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (text, count) in more {
        *counts.entry(text.clone()).or_default() += count;
    }
}

/// Returns the worse value of each figure in two runs.
fn worst(before: Vec<Figure>, round: Vec<Figure>) -> Vec<Figure> {
    if before.is_empty() {
        return round;
    }
    let pairs = before.into_iter().zip(round);
    pairs.map(|(a, b)| if b.figure > a.figure { b } else { a }).collect()
}

fn result_of(
    scenario: &Scenario,
    figures: Vec<Figure>,
    report: Report,
    join_errors: BTreeMap<String, u64>,
) -> ScenarioResult {
    let reached = figures.iter().all(|figure| figure.reached);
    ScenarioResult { scenario: scenario.name, reached, figures, report, join_errors }
}

fn run_args(scenario: &Scenario, args: &ChaosArgs) -> RunArgs {
    let seed = args.seed.to_string();
    let line = ["loadgen", "run", "--embedded", "--seed", &seed].into_iter();
    let mut run = match Cli::parse_from(line.chain(scenario.run.iter().copied())).command {
        Command::Run(run) => *run,
        Command::Chaos(_) => unreachable!("the command line says `run`"),
    };
    run.headsets = args.headsets.unwrap_or(run.headsets);
    run
}

impl std::fmt::Display for ScenarioResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:<44} {:>12} {:>12}", self.scenario, "figure", "limit")?;
        for Figure { name, figure, limit, reached } in &self.figures {
            let mark = if *reached { "" } else { "  MISSED" };
            writeln!(f, "{name:<44} {figure:>12.2} {limit:>12.2}{mark}")?;
        }
        for (text, count) in self.join_errors.iter().take(NAMED_PROBLEMS) {
            writeln!(f, "note      {count} x {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_a_run() {
        for scenario in &SCENARIOS {
            let name = Some(scenario.name.to_owned());
            let args = ChaosArgs { list: false, name, headsets: None, seed: 1, json: None };
            let run = run_args(scenario, &args);
            assert!(run.check().is_ok(), "{}", scenario.name);
            let script = (scenario.fault_plan)(true).script;
            assert!(script.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(script.iter().all(|(at, _)| *at < run.duration));
            assert!(list().contains(scenario.name));
        }
    }

    #[test]
    fn a_figure_that_is_missed_misses_the_scenario() {
        let figures = vec![at_most("a", 1.0, 1.0), at_most("b", 1.1, 1.0)];
        let scenario_result = result_of(&SCENARIOS[0], figures, Report::default(), BTreeMap::new());
        assert!(!scenario_result.reached && scenario_result.to_string().ends_with("MISSED\n"));
    }

    #[test]
    fn failed_joins_say_why() {
        let errors = |range: std::ops::Range<u64>| -> BTreeMap<String, u64> {
            range.map(|n| (format!("join failed: error {n}"), n)).collect()
        };
        let mut join_errors = errors(1..3);
        add_counts(&mut join_errors, &errors(2..8));
        let figures = vec![at_most("joins failed", 7.0, 0.0)];
        let result = result_of(&SCENARIOS[0], figures, Report::default(), join_errors);
        let text = result.to_string();
        assert!(text.contains("1 x join failed: error 1\n"), "{text}");
        assert!(text.contains("4 x join failed: error 2\n"), "{text}");
        assert_eq!(text.matches("join failed:").count(), NAMED_PROBLEMS);
        assert!(!serde_json::to_string(&result).unwrap().contains("join failed:"));
    }
}
