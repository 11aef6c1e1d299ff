//! The search for the largest load that keeps the objective, as a state machine without input or
//! output: the caller carries out each step and passes in its outcome and the time that it took.
//!
//! The load doubles until a step does not keep the objective. Then it is halfway between the largest
//! load that kept it and the smallest that did not, until the two are at most 2 % apart. Machines are
//! noisy, so each step that did not keep the objective is tried a second time before it counts.

use std::time::Duration;

/// The fewest headsets of a step: a headset alone receives nothing.
const LEAST: u32 = 2;
/// The largest distance between the last two loads, in percent of the smaller one.
const LAST_STEP_PERCENT: u32 = 2;
/// The same where the generator was the limit. The search then has no number to refine.
const LAST_STEP_OF_GENERATOR_PERCENT: u32 = 10;

/// The limit that a step has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// The server: its CPU time, or that it failed.
    Server,
    /// Another figure of the objective.
    Objective,
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepOutcome {
    /// The server kept the objective.
    Kept,
    /// The server did not keep the objective.
    Missed(Limit),
    /// The run is INVALID because the generator could not offer the load.
    GeneratorFailed,
}

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SearchResult {
    /// The largest load that kept the objective; 0 if no load did.
    pub(super) kept: u32,
    pub(super) limited_by: LimitedBy,
}

/// The reason why a search has found no larger number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitedBy {
    /// The server did not keep the objective.
    Objective(Limit),
    /// The generator could not offer more, so the number of the server is unknown.
    Generator,
    /// A larger load was not asked for.
    Max,
}

/// What the caller has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Measure this number of headsets, and [`record`](Search::record) the outcome.
    Measure(u32),
    /// The search has ended.
    End(SearchResult),
}

/// The smallest load that did not keep the objective.
#[derive(Clone, Copy, Debug)]
struct UpperBound {
    headsets: u32,
    limited_by: LimitedBy,
}

/// A search in progress.
#[derive(Debug)]
pub(super) struct Search {
    start: u32,
    max: u32,
    /// Headsets in a full room. Loads are whole rooms where the steps are large enough.
    room: u32,
    /// The largest load that kept the objective; 0 before the first.
    kept: u32,
    upper: Option<UpperBound>,
    /// The load and the first outcome of a step that is tried a second time.
    again: Option<(u32, LimitedBy)>,
    steps: u32,
    took: Duration,
}

impl Search {
    /// Begins a search from `start` headsets up to `max`, in rooms of `room`. Values below the least
    /// load of 2 headsets, and a start above `max`, are moved to the nearest possible value.
    pub(super) fn new(start: u32, max: u32, room: u32) -> Self {
        let max = max.max(LEAST);
        Search {
            start: start.clamp(LEAST, max),
            max,
            room: room.max(1),
            kept: 0,
            upper: None,
            again: None,
            steps: 0,
            took: Duration::ZERO,
        }
    }

    /// Returns the next step.
    pub(super) fn next(&self) -> NextStep {
        if let Some((headsets, _)) = self.again {
            return NextStep::Measure(headsets);
        }
        match self.upper {
            Some(upper) if self.is_narrow(upper) => {
                NextStep::End(SearchResult { kept: self.kept, limited_by: upper.limited_by })
            }
            Some(upper) => NextStep::Measure(self.between(upper.headsets)),
            None if self.kept >= self.max => {
                NextStep::End(SearchResult { kept: self.kept, limited_by: LimitedBy::Max })
            }
            None if self.kept == 0 => NextStep::Measure(self.start),
            None => NextStep::Measure(self.kept.saturating_mul(2).min(self.max)),
        }
    }

    /// Records the outcome of the step that [`next`](Self::next) returned, and how long it took.
    /// Ignored after the end of the search.
    pub(super) fn record(&mut self, outcome: StepOutcome, took: Duration) {
        let NextStep::Measure(headsets) = self.next() else { return };
        self.steps += 1;
        self.took += took;
        let limited_by = match outcome {
            StepOutcome::Kept => {
                self.kept = headsets;
                self.again = None;
                return;
            }
            StepOutcome::Missed(limit) => LimitedBy::Objective(limit),
            StepOutcome::GeneratorFailed => LimitedBy::Generator,
        };
        match self.again.take() {
            None => self.again = Some((headsets, limited_by)),
            // Of two tries, one in which the generator did its part counts.
            Some((_, first)) => {
                let is_generator = limited_by == LimitedBy::Generator;
                let limited_by = if is_generator { first } else { limited_by };
                self.upper = Some(UpperBound { headsets, limited_by });
            }
        }
    }

    /// Estimates the time until the search ends, from the mean time of a step so far. `None` before
    /// the first step. While no step has missed the objective, counts on the next one to do so.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let mean = self.took.checked_div(self.steps)?;
        Some(mean * self.steps_left())
    }

    /// Estimates the number of steps until the search ends.
    fn steps_left(&self) -> u32 {
        let mut of_end = Search { again: None, ..*self };
        let mut steps = 0;
        // Half of the steps miss the objective, and each of those is measured twice.
        while let NextStep::Measure(headsets) = of_end.next() {
            let kept = steps % 2 == 1;
            if kept {
                of_end.kept = headsets;
            } else {
                let limited_by = LimitedBy::Objective(Limit::Objective);
                of_end.upper = Some(UpperBound { headsets, limited_by });
            }
            steps += 1;
        }
        steps + steps / 2
    }

    /// Returns whether the two bounds are so near that the search ends.
    fn is_narrow(&self, upper: UpperBound) -> bool {
        let percent = match upper.limited_by {
            LimitedBy::Generator => LAST_STEP_OF_GENERATOR_PERCENT,
            _ => LAST_STEP_PERCENT,
        };
        let distance = upper.headsets.saturating_sub(self.kept);
        let widest = u64::from(self.kept) * u64::from(percent) / 100;
        distance <= 1 || upper.headsets <= LEAST || u64::from(distance) <= widest
    }

    /// Returns the load halfway between the bounds: in whole rooms, if that is strictly between
    /// them.
    fn between(&self, upper: u32) -> u32 {
        let middle = self.kept + (upper - self.kept) / 2;
        let rooms = middle / self.room * self.room;
        let is_between = rooms > self.kept && rooms < upper;
        if is_between { rooms } else { middle }.max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with a limit, on a machine whose measurements are off by a share of up to `noise`.
    /// One step in ten is disturbed: it misses the objective at any load. The step after it is not.
    struct SimulatedServer {
        limit: u32,
        /// The most that the generator can offer.
        generator: u32,
        noise: f64,
        is_disturbed: bool,
        rng: fastrand::Rng,
    }

    impl SimulatedServer {
        fn new(limit: u32, generator: u32) -> Self {
            let rng = fastrand::Rng::with_seed(1);
            SimulatedServer { limit, generator, noise: 0.0, is_disturbed: false, rng }
        }

        fn outcome(&mut self, headsets: u32) -> StepOutcome {
            let noise = 1.0 + self.noise * (2.0 * self.rng.f64() - 1.0);
            self.is_disturbed = self.noise > 0.0 && !self.is_disturbed && self.rng.u32(..10) == 0;
            if self.is_disturbed || f64::from(headsets) * noise > f64::from(self.limit) {
                StepOutcome::Missed(Limit::Server)
            } else if headsets > self.generator {
                StepOutcome::GeneratorFailed
            } else {
                StepOutcome::Kept
            }
        }

        /// Searches from `start`, and returns the result and the loads of all steps.
        fn search(&mut self, start: u32, max: u32, room: u32) -> (SearchResult, Vec<u32>) {
            let (mut search, mut steps) = (Search::new(start, max, room), Vec::new());
            loop {
                match search.next() {
                    NextStep::End(result) => return (result, steps),
                    NextStep::Measure(headsets) => {
                        steps.push(headsets);
                        assert!(steps.len() < 100, "the search loops: {steps:?}");
                        search.record(self.outcome(headsets), Duration::from_secs(1));
                    }
                }
            }
        }
    }

    const BY_SERVER: LimitedBy = LimitedBy::Objective(Limit::Server);

    #[test]
    fn without_noise_the_number_is_the_limit_or_at_most_2_percent_below() {
        let mut rng = fastrand::Rng::with_seed(21);
        for seed in 0..5_000 {
            let limit = rng.u32(2..200_000);
            let (start, room) = (rng.u32(1..5_000), rng.u32(1..500));
            let mut server = SimulatedServer::new(limit, u32::MAX);
            let (result, steps) = server.search(start, u32::MAX, room);
            assert_eq!(result.limited_by, BY_SERVER, "seed {seed}");
            let missing = limit.checked_sub(result.kept).expect("a load above the limit was kept");
            assert!(missing * 50 <= limit, "seed {seed}: {} of {limit}", result.kept);
            // From 1 headset 17 doublings; 17 halvings where the start is far too high; 6 steps to
            // 2 %. Half of the steps are measured twice.
            assert!(steps.len() <= 60, "seed {seed}: {} steps", steps.len());
        }
    }

    #[test]
    fn with_noise_the_number_is_within_10_percent() {
        for seed in 0..5_000 {
            let rng = fastrand::Rng::with_seed(seed);
            let mut server =
                SimulatedServer { noise: 0.04, rng, ..SimulatedServer::new(0, u32::MAX) };
            server.limit = server.rng.u32(100..50_000);
            let (result, steps) = server.search(100, u32::MAX, 10);
            let found = f64::from(result.kept) / f64::from(server.limit);
            assert!((0.9..=1.1).contains(&found), "seed {seed}: {found}");
            assert!(steps.len() <= 50, "seed {seed}: {} steps", steps.len());
        }
    }

    #[test]
    fn the_last_step_is_at_most_2_percent() {
        let (result, mut steps) = SimulatedServer::new(6_370, u32::MAX).search(1_000, 100_000, 10);
        steps.retain(|headsets| *headsets > result.kept);
        let smallest_missed = steps.into_iter().min().expect("a step missed");
        assert!(smallest_missed - result.kept <= result.kept / 50, "{result:?} {smallest_missed}");
        assert_eq!(result.kept % 10, 0, "whole rooms");
    }

    #[test]
    fn a_generator_that_is_the_limit_gives_no_number_of_the_server() {
        for (limit, generator, expected) in [
            (9_000, 3_000, LimitedBy::Generator),
            (3_000, 9_000, BY_SERVER),
            // The generator fails at 4,000 and 8,000 only. The server's limit lies below.
            (3_000, 3_500, BY_SERVER),
        ] {
            let mut server = SimulatedServer::new(limit, generator);
            let (result, steps) = server.search(1_000, 100_000, 10);
            assert_eq!(result.limited_by, expected, "{limit} {generator}: {steps:?}");
            assert!(result.kept <= limit.min(generator));
        }
    }

    #[test]
    fn of_two_tries_the_one_with_a_working_generator_counts() {
        let missed = StepOutcome::Missed(Limit::Objective);
        for tries in
            [[missed, StepOutcome::GeneratorFailed], [StepOutcome::GeneratorFailed, missed]]
        {
            let mut search = Search::new(2, 4, 1);
            tries.into_iter().for_each(|outcome| search.record(outcome, Duration::ZERO));
            let limited_by = LimitedBy::Objective(Limit::Objective);
            assert_eq!(search.next(), NextStep::End(SearchResult { kept: 0, limited_by }));
        }
    }

    #[test]
    fn a_step_that_missed_once_is_tried_again_once() {
        let mut search = Search::new(100, 400, 10);
        search.record(StepOutcome::Missed(Limit::Objective), Duration::ZERO);
        assert_eq!(search.next(), NextStep::Measure(100));
        search.record(StepOutcome::Kept, Duration::ZERO);
        assert_eq!(search.next(), NextStep::Measure(200));
        search.record(StepOutcome::Missed(Limit::Objective), Duration::ZERO);
        search.record(StepOutcome::Missed(Limit::Objective), Duration::ZERO);
        assert_eq!(search.next(), NextStep::Measure(150));
    }

    #[test]
    fn the_largest_load_that_was_asked_for_is_measured() {
        let (result, steps) = SimulatedServer::new(5_000, u32::MAX).search(100, 350, 10);
        assert_eq!(result, SearchResult { kept: 350, limited_by: LimitedBy::Max });
        assert_eq!(steps, [100, 200, 350]);
        let (result, steps) = SimulatedServer::new(5_000, u32::MAX).search(100, 40, 10);
        assert_eq!((result.kept, steps.len()), (40, 1));
    }

    #[test]
    fn a_server_that_keeps_nothing_has_the_number_0() {
        let (result, _) = SimulatedServer::new(1, u32::MAX).search(1_000, 100_000, 10);
        assert_eq!(result, SearchResult { kept: 0, limited_by: BY_SERVER });
    }

    #[test]
    fn the_time_left_is_near_the_truth_after_the_first_miss() {
        let mut server = SimulatedServer::new(6_370, u32::MAX);
        let mut search = Search::new(1_000, 100_000, 10);
        assert_eq!(search.time_left(), None);
        let mut estimates = Vec::new();
        while let NextStep::Measure(headsets) = search.next() {
            search.record(server.outcome(headsets), Duration::from_secs(30));
            estimates.extend(search.upper.and(search.time_left()));
        }
        let steps_left = (0..estimates.len() as u32).rev();
        for (estimate, left) in estimates.iter().zip(steps_left) {
            let truth = Duration::from_secs(30) * left;
            assert!(estimate.abs_diff(truth) <= Duration::from_secs(120), "{estimate:?} {truth:?}");
        }
        assert_eq!(estimates.last(), Some(&Duration::ZERO));
    }
}
