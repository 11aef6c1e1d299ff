//! The random processes that schedules consist of. Each process is a pure function of its seed. A
//! run can therefore be repeated, and several headsets can follow one process without exchanging
//! messages. All times are in µs.

/// Longest time before its epoch at which a process starts, µs. The shortest is half of this. By
/// the epoch the process no longer depends on its start, so that the first second of a run is like
/// any other.
const WARM_UP: f64 = 120_000_000.0;

/// The distribution of the length of a turn or of a pause, µs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TurnLength {
    /// Exponentially distributed with this mean.
    Exponential(f64),
    /// Uniformly distributed between these two times.
    Uniform(f64, f64),
    /// Infinite: the turn or the pause never ends.
    Endless,
}

impl TurnLength {
    fn draw(self, rng: &mut fastrand::Rng) -> f64 {
        match self {
            TurnLength::Exponential(mean) => exponential(rng, mean),
            TurnLength::Uniform(least, most) => least + rng.f64() * (most - least),
            TurnLength::Endless => f64::INFINITY,
        }
    }
}

fn exponential(rng: &mut fastrand::Rng, mean: f64) -> f64 {
    -(1.0 - rng.f64()).ln() * mean
}

/// Rounds an exact time to µs. The exact time is kept, so that errors do not add up.
fn round_down(micros: f64) -> u64 {
    micros as u64
}

/// A random sequence of turns with pauses between them. Each turn belongs to one taker, which is
/// drawn uniformly.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    rng: fastrand::Rng,
    length: TurnLength,
    pause: TurnLength,
    takers: u32,
    /// When the last turn ended.
    end: f64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    start: f64,
    end: f64,
    taker: u32,
}

impl Turns {
    /// Creates turns of a single taker. By `epoch` (µs) the process has reached its steady state.
    pub(crate) fn new(
        mut rng: fastrand::Rng,
        length: TurnLength,
        pause: TurnLength,
        epoch: u64,
    ) -> Self {
        let end = epoch as f64 - WARM_UP * (0.5 + 0.5 * rng.f64());
        Turns { rng, length, pause, takers: 1, end }
    }

    /// Returns the same turns, distributed among `takers` takers. 0 counts as 1.
    pub(crate) fn shared_by(self, takers: u32) -> Self {
        Turns { takers: takers.max(1), ..self }
    }

    fn next(&mut self) -> Turn {
        let start = self.end + self.pause.draw(&mut self.rng);
        self.end = start + self.length.draw(&mut self.rng);
        Turn { start, end: self.end, taker: self.rng.u32(0..self.takers) }
    }

    fn next_of(&mut self, taker: u32) -> Turn {
        loop {
            let turn = self.next();
            if turn.taker == taker {
                return turn;
            }
        }
    }
}

/// The ticks of one taker. They follow each other at a fixed period, from the start to the end of
/// each of the taker's turns.
#[derive(Clone, Debug)]
pub(crate) struct Ticks {
    turns: Turns,
    taker: u32,
    period: f64,
    turn: Turn,
    /// Number of ticks of the current turn that have passed.
    in_turn: u64,
    /// Number of ticks that were taken in all turns.
    taken: u64,
}

/// A tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScheduledTick {
    /// The tick's number, from 0.
    pub(crate) number: u64,
    /// Whether this is the first tick of its turn, or the first of all.
    pub(crate) first: bool,
}

impl Ticks {
    /// Creates the ticks of `taker` from `start` (µs) on: `hz` ticks a second during each of its
    /// turns. If a turn began before `start`, the ticks after `start` remain. Returns `None` if
    /// `hz` is 0 or there is no such taker.
    pub(crate) fn new(mut turns: Turns, taker: u32, hz: f64, start: u64) -> Option<Self> {
        if hz <= 0.0 || taker >= turns.takers {
            return None;
        }
        let (period, start) = (1_000_000.0 / hz, start as f64);
        loop {
            let turn = turns.next_of(taker);
            let in_turn = ((start - turn.start) / period).ceil().max(0.0);
            if turn.start + in_turn * period < turn.end {
                let in_turn = in_turn as u64;
                return Some(Ticks { turns, taker, period, turn, in_turn, taken: 0 });
            }
        }
    }

    fn exact_due(&self) -> f64 {
        self.turn.start + self.in_turn as f64 * self.period
    }

    /// Returns when the next tick is due, µs.
    pub(crate) fn due(&self) -> u64 {
        round_down(self.exact_due())
    }

    /// Returns the next tick and advances by one tick, even if later ticks are due too.
    pub(crate) fn take(&mut self) -> ScheduledTick {
        let number = self.taken;
        let tick = ScheduledTick { number, first: number == 0 || self.in_turn == 0 };
        self.taken += 1;
        self.in_turn += 1;
        if self.exact_due() >= self.turn.end {
            (self.turn, self.in_turn) = (self.turns.next_of(self.taker), 0);
        }
        tick
    }
}

/// A Poisson process.
#[derive(Clone, Debug)]
pub(crate) struct Poisson {
    rng: fastrand::Rng,
    mean: f64,
    due: f64,
}

impl Poisson {
    /// Creates a process with `per_s` events a second on average, from `start` (µs) on. Returns
    /// `None` if `per_s` is 0.
    pub(crate) fn new(mut rng: fastrand::Rng, per_s: f64, start: u64) -> Option<Self> {
        let mean = 1_000_000.0 / per_s;
        let due = start as f64 + exponential(&mut rng, mean);
        (per_s > 0.0).then_some(Self { rng, mean, due })
    }

    /// Returns when the next event is due, µs.
    pub(crate) fn due(&self) -> u64 {
        round_down(self.due)
    }

    /// Advances to the next event.
    pub(crate) fn take(&mut self) {
        self.due += exponential(&mut self.rng, self.mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng(seed: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(seed)
    }

    fn dues(mut ticks: Ticks, until: u64) -> Vec<(u64, ScheduledTick)> {
        let mut dues = Vec::new();
        while ticks.due() < until {
            dues.push((ticks.due(), ticks.take()));
        }
        dues
    }

    #[test]
    fn ticks_stay_on_their_grid_whenever_they_are_taken() {
        let turns = || Turns::new(rng(1), TurnLength::Endless, TurnLength::Exponential(0.0), 500);
        let ticks = Ticks::new(turns(), 0, 30.0, 500).unwrap();
        let dues = dues(ticks, 20_000_000);
        assert!((500..33_834).contains(&dues[0].0), "{}", dues[0].0);
        for (k, (due, tick)) in dues.iter().enumerate() {
            assert!(due.abs_diff(dues[0].0 + k as u64 * 1_000_000 / 30) <= 1, "{k}");
            assert_eq!(*tick, ScheduledTick { number: k as u64, first: k == 0 });
        }
        assert!(Ticks::new(turns(), 0, 0.0, 500).is_none());
        assert!(Ticks::new(turns(), 1, 30.0, 500).is_none(), "there is no such taker");
    }

    #[test]
    fn takers_take_turns_and_the_rest_of_one_that_has_begun() {
        let turns = || {
            let turns =
                Turns::new(rng(2), TurnLength::Uniform(2e6, 5e6), TurnLength::Exponential(1e6), 0);
            turns.shared_by(3)
        };
        let of = |taker, start| dues(Ticks::new(turns(), taker, 20.0, start).unwrap(), 600_000_000);
        let mut all: Vec<_> = (0..3)
            .flat_map(|taker| of(taker, 0).into_iter().map(move |due| (due.0, taker)))
            .collect();
        all.sort_unstable();
        // A turn lasts 2-5 s, and no other taker ticks during it.
        let mut lengths = Vec::new();
        for run in all.chunk_by(|a, b| a.1 == b.1 && b.0 - a.0 <= 50_001) {
            lengths.push(run.len());
        }
        let whole = &lengths[1..lengths.len() - 1];
        assert!(whole.iter().all(|len| (40..=200).contains(len)), "{whole:?}");
        let late = of(1, 300_000_000);
        let early: Vec<_> = of(1, 0).into_iter().filter(|due| due.0 >= 300_000_000).collect();
        let times =
            |dues: &[(u64, ScheduledTick)]| dues.iter().map(|due| due.0).collect::<Vec<_>>();
        assert_eq!(times(&late), times(&early), "the start only decides what is left out");
    }

    #[test]
    fn poisson_processes_keep_their_rate() {
        let mut count = 0;
        for seed in 0..1_000 {
            let mut process = Poisson::new(rng(seed), 0.3, 0).unwrap();
            while process.due() < 20_000_000 {
                process.take();
                count += 1;
            }
        }
        assert!((5_700..6_300).contains(&count), "{count}");
        assert!(Poisson::new(rng(1), 0.0, 0).is_none());
    }
}
