//! `loadgen chaos`: a fault on purpose, and whether the figures that are promised for it are reached.

mod scenarios;

use clap::Parser;
use serde::Serialize;

use crate::args::{ChaosArgs, Cli, Command, RunArgs};
use crate::report::Report;
use crate::run::{RunError, run};
use scenarios::{SCENARIOS, Scenario};

/// Rounds of a comparison; the median of their ratios counts.
const ROUNDS: usize = 3;

/// A figure and what it may be at most.
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

/// What a scenario came to.
#[derive(Debug, Serialize)]
pub(crate) struct ScenarioResult {
    scenario: &'static str,
    pub(crate) reached: bool,
    figures: Vec<Figure>,
    report: Report,
}

/// The scenarios, one a line.
pub(crate) fn list() -> String {
    SCENARIOS.iter().map(|s| format!("{:<17} {}\n", s.name, s.about)).collect()
}

/// Runs one; `None` when there is none of that name.
pub(crate) fn chaos(args: &ChaosArgs) -> Option<Result<ScenarioResult, RunError>> {
    let name = args.name.as_deref()?;
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name)?;
    Some(if scenario.ratio.is_some() { in_turn(scenario, args) } else { once(scenario, args) })
}

fn once(scenario: &Scenario, args: &ChaosArgs) -> Result<ScenarioResult, RunError> {
    let report = run(&run_args(scenario, args), (scenario.fault_plan)(true))?;
    Ok(result_of(scenario, (scenario.judge)(&report, true), report))
}

/// Rounds without and with the fault in turn, so that the machine's moods meet both: the median of the
/// ratios of a figure counts, and of every other figure the worst.
fn in_turn(scenario: &Scenario, args: &ChaosArgs) -> Result<ScenarioResult, RunError> {
    let mut ratios = Vec::new();
    let (mut figures, mut last): (Vec<Figure>, _) = (Vec::new(), None);
    let Some(ratio) = &scenario.ratio else { return once(scenario, args) };
    for _ in 0..ROUNDS {
        let mut took = [0.0; 2];
        for (took, faulty) in took.iter_mut().zip([false, true]) {
            let report = run(&run_args(scenario, args), (scenario.fault_plan)(faulty))?;
            *took = (ratio.of)(&report);
            figures = worst(figures, (scenario.judge)(&report, faulty));
            last = Some(report);
        }
        ratios.push(if took[0] > 0.0 && took[1] > 0.0 { took[1] / took[0] } else { f64::MAX });
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ROUNDS / 2).copied().unwrap_or(f64::MAX);
    figures.push(at_most(ratio.name, median, ratio.limit));
    Ok(result_of(scenario, figures, last.unwrap_or_default()))
}

/// The worse of the same figures of two runs.
fn worst(before: Vec<Figure>, round: Vec<Figure>) -> Vec<Figure> {
    if before.is_empty() {
        return round;
    }
    let pairs = before.into_iter().zip(round);
    pairs.map(|(a, b)| if b.figure > a.figure { b } else { a }).collect()
}

fn result_of(scenario: &Scenario, figures: Vec<Figure>, report: Report) -> ScenarioResult {
    let reached = figures.iter().all(|figure| figure.reached);
    ScenarioResult { scenario: scenario.name, reached, figures, report }
}

fn run_args(scenario: &Scenario, args: &ChaosArgs) -> RunArgs {
    let seed = args.seed.to_string();
    let line = ["loadgen", "run", "--embedded", "--seed", &seed].into_iter();
    let mut run = match Cli::parse_from(line.chain(scenario.run.iter().copied())).command {
        Command::Run(run) => *run,
        Command::Chaos(_) => unreachable!("it says run"),
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
        let scenario_result = result_of(&SCENARIOS[0], figures, Report::default());
        assert!(!scenario_result.reached && scenario_result.to_string().ends_with("MISSED\n"));
    }
}
