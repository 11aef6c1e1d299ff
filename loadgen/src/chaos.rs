//! `loadgen chaos`: a fault on purpose, and whether the figures that are promised for it are reached.

use std::time::Duration;

use clap::Parser;
use serde::Serialize;

use crate::args::{ChaosArgs, Cli, Command, RunArgs};
use crate::faults::{Fault, Trouble};
use crate::report::Report;
use crate::run::{RunError, run};

/// A scenario.
struct Scenario {
    name: &'static str,
    about: &'static str,
    /// Its run, as on the command line.
    run: &'static [&'static str],
    /// Share of the headsets that a blocked realtime port concerns.
    share: f64,
    script: fn() -> Vec<(Duration, Fault)>,
    judge: fn(&Report) -> Vec<Figure>,
    /// Once, or against runs without the fault.
    measure: fn(&Scenario, &ChaosArgs) -> Result<Verdict, RunError>,
}

/// A figure and what it may be at most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    name: &'static str,
    figure: f64,
    limit: f64,
    reached: bool,
}

fn at_most(name: &'static str, figure: f64, limit: f64) -> Figure {
    Figure { name, figure, limit, reached: figure <= limit }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// When the realtime port is blocked in mid-session, and when it opens again.
const BLOCKED: (Duration, Duration) = (seconds(5), seconds(15));
/// When it gets dark, and light again.
const DARK: (Duration, Duration) = (seconds(5), seconds(15));
/// When the server is killed.
const KILLED: Duration = seconds(5);
/// When others join all at once, ms, and how many.
const STORMS: [u64; 5] = [500, 1_400, 2_300, 3_200, 4_100];
const STORM_JOINS: u32 = 500;
/// What everybody's poses may take longer meanwhile.
const STORM_RATIO: f64 = 1.25;
/// Rounds of a comparison; the median of their ratios counts.
const ROUNDS: usize = 3;
/// What the others' poses may take longer while a tenth is on the fallback.
const OTHERS_RATIO: f64 = 1.2;

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "blocked-realtime",
        about: "UDP 5056 is blocked in mid-session for ten seconds, and opened again",
        run: &["--headsets", "200", "--room-size", "10", "--duration", "25s"],
        share: 1.0,
        script: || {
            vec![(BLOCKED.0, Fault::BlockRealtime(true)), (BLOCKED.1, Fault::BlockRealtime(false))]
        },
        judge: |r| {
            let mut figures = vec![
                at_most("longest pose gap, ms", r.channels.pose.gap_max_ms, 1_000.0),
                at_most("longest way back to 5056, ms", back(r).max, 3_000.0),
                at_most("headsets not back on 5056", missing(r), 0.0),
                at_most("headsets that did not fall back", absent(r, r.sessions.fell), 0.0),
            ];
            figures.extend(intact(r));
            figures
        },
        measure: once,
    },
    Scenario {
        name: "fallback-tenth",
        about: "a tenth of the headsets is on the fallback throughout; the others' pose p99",
        run: &["--headsets", "500", "--room-size", "10", "--duration", "15s"],
        share: 0.1,
        script: Vec::new,
        judge: intact,
        measure: compare,
    },
    Scenario {
        name: "roaming",
        about: "everybody's addresses change every five seconds",
        run: &[
            "--headsets",
            "200",
            "--room-size",
            "10",
            "--duration",
            "60s",
            "--network",
            "roaming",
        ],
        share: 0.0,
        script: Vec::new,
        judge: |r| {
            let mut figures = intact(r);
            figures.push(at_most("longest pose gap, ms", r.channels.pose.gap_max_ms, 1_000.0));
            figures.push(at_most("headsets that did not move", absent(r, r.sessions.moved), 0.0));
            figures
        },
        measure: once,
    },
    Scenario {
        name: "sleep",
        about: "everybody is dark for ten seconds and back at once, every second one as a new process",
        run: &["--headsets", "200", "--room-size", "10", "--duration", "25s"],
        share: 0.0,
        script: || vec![(DARK.0, Fault::Dark(true)), (DARK.1, Fault::Dark(false))],
        judge: |r| {
            let recovery = r.recovery.clone().unwrap_or_default();
            let themselves = (r.headsets / 2) as f64 - r.sessions.resumed as f64;
            let mut figures = vec![
                at_most("longest way back, ms", recovery.back_ms.max, 3_000.0),
                at_most("longest way back to a session, ms", recovery.rejoin_ms.max, 3_000.0),
                at_most("headsets not back", missing(r), 0.0),
                at_most("not themselves", themselves, 0.0),
                at_most(ROSTERS, absent(r, recovery.rosters_right), 0.0),
            ];
            figures.extend(intact(r));
            figures
        },
        measure: once,
    },
    Scenario {
        name: "restart",
        about: "the server is killed with SIGKILL and started again",
        run: &[
            "--headsets",
            "2000",
            "--room-size",
            "10",
            "--duration",
            "25s",
            "--ramp",
            "10s",
            "--pose-hz",
            "5",
        ],
        share: 0.0,
        script: || vec![(KILLED, Fault::RestartServer)],
        judge: |r| {
            let recovery = r.recovery.clone().unwrap_or_default();
            vec![
                at_most("rejoined, p50, ms", recovery.rejoin_ms.p50, 2_000.0),
                at_most("rejoined, p99, ms", recovery.rejoin_ms.p99, 8_000.0),
                at_most("rejoined, all, ms", recovery.rejoin_ms.max, 15_000.0),
                at_most("not rejoined", absent(r, recovery.rejoins), 0.0),
                at_most(ROSTERS, absent(r, recovery.rosters_right), 0.0),
                cut_short(r),
            ]
        },
        measure: once,
    },
    Scenario {
        name: "join-storm",
        about: "500 others join at once, five times in five seconds; the pose p99 of those who are in",
        run: &["--headsets", "500", "--room-size", "10", "--duration", "5s", "--ramp", "2s"],
        share: 0.0,
        script: || {
            let storm = |at| (Duration::from_millis(at), Fault::JoinStorm(STORM_JOINS));
            STORMS.map(storm).to_vec()
        },
        judge: |r| {
            let storm = r.storm.clone().unwrap_or_default();
            let mut figures = intact(r);
            figures.push(at_most("joins of the storms, p99, ms", storm.p99_ms, 5_000.0));
            figures
        },
        measure: compare_with_calm,
    },
    Scenario {
        name: "awful",
        about: "a network that loses a tenth in bursts and takes 150 ms +- 50 each way",
        run: &["--headsets", "50", "--room-size", "10", "--duration", "60s", "--network", "awful"],
        share: 0.0,
        script: Vec::new,
        judge: intact,
        measure: once,
    },
];

/// Everybody once and present, and nobody else, in as many rosters as there are headsets.
const ROSTERS: &str = "rosters with a ghost, a double or a gap";

/// Headsets that a count lacks.
fn absent(r: &Report, count: u64) -> f64 {
    r.headsets as f64 - count as f64
}

/// A run that was interrupted, or in which nothing arrived, proves nothing.
fn cut_short(r: &Report) -> Figure {
    let interrupted = r.invalid_reasons.iter().any(|reason| reason.starts_with("interrupted"));
    let silent = r.channels.pose.channel.delivered == 0 || r.channels.event.delivered == 0;
    at_most("cut short, or nothing delivered", f64::from(u8::from(interrupted || silent)), 0.0)
}

/// No session lost, every event there once and in order, nothing wrong on the realtime plane.
fn intact(r: &Report) -> Vec<Figure> {
    let event = &r.channels.event;
    let pose = &r.channels.pose.channel;
    vec![
        cut_short(r),
        at_most("joins failed", r.joins.failed as f64, 0.0),
        at_most("sessions lost", r.sessions.lost as f64, 0.0),
        at_most("events lost", event.lost as f64, 0.0),
        at_most("events out of order or twice", (event.reordered + event.duplicated) as f64, 0.0),
        at_most(
            "poses twice, misrouted or corrupt",
            (pose.duplicated + pose.misrouted + pose.corrupt) as f64,
            0.0,
        ),
    ]
}

fn back(r: &Report) -> crate::report::Latency {
    r.recovery.as_ref().map(|r| r.back_ms.clone()).unwrap_or_default()
}

fn missing(r: &Report) -> f64 {
    absent(r, r.recovery.as_ref().map_or(0, |recovery| recovery.back))
}

/// What a scenario came to.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
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
pub(crate) fn chaos(args: &ChaosArgs) -> Option<Result<Verdict, RunError>> {
    let name = args.name.as_deref()?;
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name)?;
    Some((scenario.measure)(scenario, args))
}

fn once(scenario: &Scenario, args: &ChaosArgs) -> Result<Verdict, RunError> {
    let script = (scenario.script)();
    let trouble = Trouble { share: scenario.share, blocked: false, script };
    let report = run(&run_args(scenario, args), trouble)?;
    let figures = (scenario.judge)(&report);
    Ok(verdict(scenario, figures, report))
}

/// Runs with and without the fallback in turn, so that the machine's moods meet both.
fn compare(scenario: &Scenario, args: &ChaosArgs) -> Result<Verdict, RunError> {
    let trouble = |blocked| Trouble { share: scenario.share, blocked, ..Trouble::default() };
    let p99 = |r: &Report| r.others.as_ref().map_or(0.0, |others| others.pose_latency_ms.p99);
    let judge = |r: &Report, blocked| {
        let share = (r.headsets as f64 * scenario.share).floor().max(1.0);
        let wanted = if blocked { share } else { 0.0 };
        let off = (wanted - r.sessions.on_fallback as f64).abs();
        let mut figures = vec![at_most("headsets on the wrong plane", off, 0.0)];
        figures.extend((scenario.judge)(r));
        figures
    };
    let ratio = ("the others' pose p99, times that without", OTHERS_RATIO);
    in_turn(scenario, args, trouble, judge, p99, ratio)
}

/// Runs with and without the storms in turn.
fn compare_with_calm(scenario: &Scenario, args: &ChaosArgs) -> Result<Verdict, RunError> {
    let trouble = |stormy| Trouble {
        script: if stormy { (scenario.script)() } else { Vec::new() },
        ..Trouble::default()
    };
    let p99 = |r: &Report| r.channels.pose.channel.latency_ms.p99;
    let ratio = ("pose p99, times that without", STORM_RATIO);
    let judge = |r: &Report, stormy| {
        let wanted = if stormy { STORMS.len() as f64 * f64::from(STORM_JOINS) } else { 0.0 };
        let joined = r.storm.as_ref().map_or(0, |storm| storm.ok);
        let mut figures = vec![at_most("joins of the storms failed", wanted - joined as f64, 0.0)];
        figures.extend((scenario.judge)(r));
        figures
    };
    in_turn(scenario, args, trouble, judge, p99, ratio)
}

/// Rounds without and with the fault; the median of the ratios of `p99` counts, and of every other
/// figure the worst.
fn in_turn(
    scenario: &Scenario,
    args: &ChaosArgs,
    trouble: impl Fn(bool) -> Trouble,
    judge: impl Fn(&Report, bool) -> Vec<Figure>,
    p99: impl Fn(&Report) -> f64,
    (name, limit): (&'static str, f64),
) -> Result<Verdict, RunError> {
    let mut ratios = Vec::new();
    let (mut figures, mut last): (Vec<Figure>, _) = (Vec::new(), None);
    for _ in 0..ROUNDS {
        let mut took = [0.0; 2];
        for (took, faulty) in took.iter_mut().zip([false, true]) {
            let report = run(&run_args(scenario, args), trouble(faulty))?;
            *took = p99(&report);
            figures = worst(figures, judge(&report, faulty));
            last = Some(report);
        }
        ratios.push(if took[0] > 0.0 && took[1] > 0.0 { took[1] / took[0] } else { f64::MAX });
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ROUNDS / 2).copied().unwrap_or(f64::MAX);
    figures.push(at_most(name, ratio, limit));
    Ok(verdict(scenario, figures, last.unwrap_or_default()))
}

/// The worse of the same figures of two runs.
fn worst(before: Vec<Figure>, round: Vec<Figure>) -> Vec<Figure> {
    if before.is_empty() {
        return round;
    }
    let pairs = before.into_iter().zip(round);
    pairs.map(|(a, b)| if b.figure > a.figure { b } else { a }).collect()
}

fn verdict(scenario: &Scenario, figures: Vec<Figure>, report: Report) -> Verdict {
    let reached = figures.iter().all(|figure| figure.reached);
    Verdict { scenario: scenario.name, reached, figures, report }
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

impl std::fmt::Display for Verdict {
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
            let script = (scenario.script)();
            assert!(script.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(script.iter().all(|(at, _)| *at < run.duration));
            assert!(list().contains(scenario.name));
        }
    }

    #[test]
    fn a_figure_that_is_missed_misses_the_scenario() {
        let figures = vec![at_most("a", 1.0, 1.0), at_most("b", 1.1, 1.0)];
        let verdict = verdict(&SCENARIOS[0], figures, Report::default());
        assert!(!verdict.reached && verdict.to_string().ends_with("MISSED\n"));
    }
}
