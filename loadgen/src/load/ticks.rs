//! The processes that schedules are made of: pure functions of their seed, so that a run can be
//! repeated and several headsets can agree on one without a word. All times in µs.

/// µs before its beginning from which a process is played, at least half of it: by then nothing
/// tells how it started, and so the first second of a run is like any other.
const WARM_UP: f64 = 120_000_000.0;

/// How long something lasts, µs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TurnLength {
    /// Of this mean, without memory.
    Exponential(f64),
    /// Evenly between the two.
    Uniform(f64, f64),
    /// For ever.
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

/// A moment in µs, rounded from the exact one so that no error adds up.
fn whole(micros: f64) -> u64 {
    micros as u64
}

/// Turns and pauses between them; each turn is one taker's, drawn evenly.
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
    /// Turns that have settled by `epoch` (µs), for one taker.
    pub(crate) fn new(
        mut rng: fastrand::Rng,
        length: TurnLength,
        pause: TurnLength,
        epoch: u64,
    ) -> Self {
        let end = epoch as f64 - WARM_UP * (0.5 + 0.5 * rng.f64());
        Turns { rng, length, pause, takers: 1, end }
    }

    /// The same for several takers, at least one.
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

/// One taker's ticks: at a fixed period from the beginning to the end of each of its turns.
#[derive(Clone, Debug)]
pub(crate) struct Ticks {
    turns: Turns,
    taker: u32,
    period: f64,
    turn: Turn,
    /// Of the turn, that have passed.
    in_turn: u64,
    /// Of all, that were taken.
    taken: u64,
}

/// A tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScheduledTick {
    /// Its number.
    pub(crate) number: u64,
    /// The first of its turn, or of all.
    pub(crate) first: bool,
}

impl Ticks {
    /// Ticks from `start` (µs) on, `hz` a second; none at 0. Of a turn that has begun before, the
    /// rest is kept.
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

    /// When the next tick is due, µs.
    pub(crate) fn due(&self) -> u64 {
        whole(self.exact_due())
    }

    /// That tick; the schedule moves on, however late it was.
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
    /// From `start` (µs) on, `per_s` a second; nothing at 0.
    pub(crate) fn new(mut rng: fastrand::Rng, per_s: f64, start: u64) -> Option<Self> {
        let mean = 1_000_000.0 / per_s;
        let due = start as f64 + exponential(&mut rng, mean);
        (per_s > 0.0).then_some(Self { rng, mean, due })
    }

    /// When the next is due, µs.
    pub(crate) fn due(&self) -> u64 {
        whole(self.due)
    }

    /// Moves on to the one after it.
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
        // A turn lasts 2-5 s: nobody else ticks between the first and the last tick of one.
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
