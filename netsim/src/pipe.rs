//! One direction of a simulated network.

use std::collections::VecDeque;
use std::time::Duration;

use nucleus_protocol::time::Time;

use super::Conditions;

/// Most items in one pipe, enough for 12,000 datagrams a second with 5 s of delay. Further items
/// are dropped and counted as [`PipeCounters::queue_dropped`].
pub const MAX_IN_FLIGHT: usize = 65_536;

/// The counters of one pipe.
///
/// With nothing in flight, `sent + duplicated = delivered + lost + queue_dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipeCounters {
    /// Items put in.
    pub sent: u64,
    /// Items taken out, second copies included.
    pub delivered: u64,
    /// Items lost by the loss model.
    pub lost: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Items taken out after an item that was put in later.
    pub reordered: u64,
    /// Items and second copies dropped because the bottleneck's queue or the pipe was full.
    pub queue_dropped: u64,
}

/// An item on its way.
#[derive(Clone, Debug)]
struct InFlight<T> {
    due: Time,
    number: u64,
    item: T,
}

impl<T> InFlight<T> {
    fn rank(&self) -> (Time, u64) {
        (self.due, self.number)
    }
}

/// One direction of a network that carries items of type `T`.
#[derive(Clone, Debug)]
pub struct Pipe<T> {
    conditions: Conditions,
    rng: fastrand::Rng,
    /// Whether the loss model is in its bad state.
    bad: bool,
    /// When the bottleneck's queue will be empty, in nanoseconds.
    busy_until_ns: u128,
    /// Items that keep their order: the order of sending is that of arrival.
    in_order: VecDeque<InFlight<T>>,
    /// Reordered items, in the order of arrival.
    held_back: VecDeque<InFlight<T>>,
    /// Due time of the last item of `in_order`, kept when the queue is empty.
    last_due: Time,
    last_input: Time,
    /// Highest number of all items taken out so far.
    newest: u64,
    counters: PipeCounters,
}

/// Time without items after which the state of the loss model is drawn anew. Bursts of loss on
/// Wi-Fi take 30 to 150 ms.
const BURST_TIME: Duration = Duration::from_millis(150);

impl<T: Clone> Pipe<T> {
    /// Creates an empty pipe. `seed` determines its randomness.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        let mut pipe = Self {
            conditions: Conditions::CLEAN,
            rng: fastrand::Rng::with_seed(seed),
            bad: false,
            busy_until_ns: 0,
            in_order: VecDeque::new(),
            held_back: VecDeque::new(),
            last_due: Time::ZERO,
            last_input: Time::ZERO,
            newest: 0,
            counters: PipeCounters::default(),
        };
        pipe.set_conditions(conditions);
        pipe
    }

    /// Changes the conditions for items put in from now on.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.bad = chance(&mut self.rng, conditions.loss.bad_share());
        self.conditions = conditions;
    }

    /// Returns the current conditions.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Puts an item of `size_bytes` bytes on the wire into the pipe.
    pub fn handle_input(&mut self, now: Time, size_bytes: usize, item: T) {
        self.counters.sent += 1;
        let number = self.counters.sent;
        let Some(passed) = self.pass_bottleneck(now, size_bytes) else { return };
        if self.is_lost(now) {
            self.counters.lost += 1;
            return;
        }
        if chance(&mut self.rng, self.conditions.duplicate) {
            self.counters.duplicated += 1;
            self.launch(passed, number, item.clone());
        }
        self.launch(passed, number, item);
    }

    /// Returns when the next item is due; `None` if the pipe is empty.
    pub fn deadline(&self) -> Option<Time> {
        let held_back = self.held_back.front().map(|next| next.due);
        self.in_order.front().map(|next| next.due).into_iter().chain(held_back).min()
    }

    /// Takes out the next item that has arrived by `now`.
    pub fn poll_output(&mut self, now: Time) -> Option<T> {
        let queue = self.next_queue();
        if queue.front()?.due > now {
            return None;
        }
        let arrived = queue.pop_front()?;
        self.counters.delivered += 1;
        self.counters.reordered += u64::from(arrived.number < self.newest);
        self.newest = self.newest.max(arrived.number);
        Some(arrived.item)
    }

    /// Returns the counters.
    pub fn counters(&self) -> PipeCounters {
        self.counters
    }

    /// Returns the number of items in the pipe, second copies included; at most [`MAX_IN_FLIGHT`].
    pub fn in_flight(&self) -> usize {
        self.in_order.len() + self.held_back.len()
    }

    /// Returns when the item leaves the bottleneck, or `None` if the bottleneck's queue is full.
    fn pass_bottleneck(&mut self, now: Time, size_bytes: usize) -> Option<Time> {
        let Some(bps) = self.conditions.bandwidth_bps else { return Some(now) };
        let bps = u128::from(bps.max(1));
        let now_ns = u128::from(now.as_micros()) * 1_000;
        let start = self.busy_until_ns.max(now_ns);
        let waiting_bytes = (start - now_ns) * bps / 8_000_000_000;
        if waiting_bytes + size_bytes as u128 > self.conditions.queue_bytes as u128 {
            self.counters.queue_dropped += 1;
            return None;
        }
        self.busy_until_ns = start + size_bytes as u128 * 8_000_000_000 / bps;
        Some(Time::from_micros(
            u64::try_from(self.busy_until_ns.div_ceil(1_000)).unwrap_or(u64::MAX),
        ))
    }

    /// Draws whether an item is lost, and the state of the loss model for the next item.
    fn is_lost(&mut self, now: Time) -> bool {
        let loss = self.conditions.loss;
        // A burst also ends by time. Otherwise a sender with few items would stay in a burst for
        // seconds.
        if now.since(self.last_input) > BURST_TIME {
            self.bad = chance(&mut self.rng, loss.bad_share());
        }
        self.last_input = self.last_input.max(now);
        let (loss_probability, change_probability) = if self.bad {
            (loss.loss_bad, loss.bad_to_good)
        } else {
            (loss.loss_good, loss.good_to_bad)
        };
        let lost = chance(&mut self.rng, loss_probability);
        self.bad ^= chance(&mut self.rng, change_probability);
        lost
    }

    /// Draws a delay and puts one copy into a queue.
    fn launch(&mut self, from: Time, number: u64, item: T) {
        if self.in_flight() >= MAX_IN_FLIGHT {
            self.counters.queue_dropped += 1;
            return;
        }
        let delay = between(&mut self.rng, self.conditions.delay_min, self.conditions.delay_max);
        let due = (from + delay).max(self.last_due);
        if chance(&mut self.rng, self.conditions.reorder) {
            let (least, most) = Conditions::REORDER_DELAY;
            let due = due + between(&mut self.rng, least, most);
            self.hold_back(InFlight { due, number, item });
        } else {
            self.last_due = due;
            self.in_order.push_back(InFlight { due, number, item });
        }
    }

    fn hold_back(&mut self, late: InFlight<T>) {
        let index = self.held_back.partition_point(|other| other.rank() <= late.rank());
        self.held_back.insert(index, late);
    }

    /// Returns the queue whose first item is due first.
    fn next_queue(&mut self) -> &mut VecDeque<InFlight<T>> {
        match (self.in_order.front(), self.held_back.front()) {
            (Some(next), Some(late)) if late.rank() < next.rank() => &mut self.held_back,
            (None, Some(_)) => &mut self.held_back,
            _ => &mut self.in_order,
        }
    }
}

/// Returns `true` with this probability. Draws no random number if the result is certain.
fn chance(rng: &mut fastrand::Rng, probability: f64) -> bool {
    probability > 0.0 && (probability >= 1.0 || rng.f64() < probability)
}

/// Draws a duration from `least` to `most`, evenly in steps of 1 µs. Returns `least` if `most` is
/// not longer.
fn between(rng: &mut fastrand::Rng, least: Duration, most: Duration) -> Duration {
    if most <= least {
        return least;
    }
    let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
    least.saturating_add(Duration::from_micros(rng.u64(0..=spread)))
}

#[cfg(test)]
mod tests {
    use super::super::Loss;
    use super::*;

    /// Sends `count` numbered items of 100 bytes, one every `gap`. Returns when each item came out.
    fn run(pipe: &mut Pipe<u64>, count: u64, gap: Duration) -> Vec<(Time, u64)> {
        let mut now = Time::ZERO;
        let mut out = Vec::new();
        for item in 0..count {
            pipe.handle_input(now, 100, item);
            now += gap;
            drain(pipe, now, &mut out);
        }
        drain(pipe, Time::MAX, &mut out);
        out
    }

    /// Takes out every item that arrives until `end`, at its due time.
    fn drain(pipe: &mut Pipe<u64>, end: Time, out: &mut Vec<(Time, u64)>) {
        while let Some(due) = pipe.deadline().filter(|due| *due <= end) {
            out.push((due, pipe.poll_output(due).expect("an item at its due time")));
        }
    }

    const GAP: Duration = Duration::from_millis(10);

    fn lossy() -> Conditions {
        Conditions::preset("lossy").expect("a preset")
    }

    #[test]
    fn clean_delivers_at_once_and_in_order() {
        let mut pipe = Pipe::new(1, Conditions::CLEAN);
        for item in 0..1_000 {
            let now = Time::from_millis(item);
            pipe.handle_input(now, 1_200, item);
            assert_eq!(pipe.deadline(), Some(now));
            assert_eq!(pipe.poll_output(now), Some(item));
            assert_eq!((pipe.poll_output(now), pipe.deadline()), (None, None));
        }
        let expected = PipeCounters { sent: 1_000, delivered: 1_000, ..PipeCounters::default() };
        assert_eq!(pipe.counters(), expected);
    }

    #[test]
    fn jitter_keeps_order_and_its_bounds() {
        for seed in 0..50 {
            let mut pipe = Pipe::new(seed, Conditions::delayed(5, 30, Loss::NONE));
            let out = run(&mut pipe, 500, GAP);
            assert_eq!(out.len(), 500, "seed {seed}");
            for (index, (due, item)) in out.into_iter().enumerate() {
                assert_eq!(item, index as u64, "seed {seed}");
                let delay = due.since(Time::ZERO + GAP * index as u32);
                assert!((5..=30).contains(&delay.as_millis()), "seed {seed}: {delay:?}");
            }
        }
    }

    #[test]
    fn only_the_reordered_share_is_overtaken() {
        let mut total = 0;
        for seed in 0..50 {
            let mut pipe = Pipe::new(
                seed,
                Conditions { reorder: 0.02, ..Conditions::delayed(5, 30, Loss::NONE) },
            );
            let out = run(&mut pipe, 2_000, GAP);
            let mut newest = 0;
            let late = out
                .iter()
                .filter(|(_, item)| (*item < newest, newest = newest.max(*item)).0)
                .count();
            assert_eq!((out.len(), pipe.counters().reordered), (2_000, late as u64), "seed {seed}");
            total += late;
        }
        let share = total as f64 / 100_000.0;
        assert!((share - 0.02).abs() < 0.003, "{share}");
    }

    #[test]
    fn loss_has_its_mean_and_its_bursts() {
        for (mean, length) in [(0.01, 3.0), (0.05, 1.0), (0.05, 3.0), (0.10, 5.0), (0.5, 8.0)] {
            let (mut lost, mut bursts) = (0, 0);
            for seed in 0..40 {
                let mut pipe = Pipe::new(
                    seed,
                    Conditions { loss: Loss::bursts(mean, length), ..Conditions::CLEAN },
                );
                let arrived = run(&mut pipe, 10_000, GAP);
                let mut next = 0;
                for item in arrived.into_iter().map(|(_, item)| item).chain([10_000]) {
                    lost += item - next;
                    bursts += u64::from(item > next);
                    next = item + 1;
                }
            }
            let share = lost as f64 / 400_000.0;
            assert!((share / mean - 1.0).abs() < 0.1, "{share} lost instead of {mean}");
            let measured = lost as f64 / bursts as f64;
            assert!(
                (measured / length - 1.0).abs() < 0.1,
                "bursts of {measured} instead of {length}"
            );
        }
    }

    #[test]
    fn copies_have_their_share_and_everything_is_accounted_for() {
        let mut copies = 0;
        for seed in 0..50 {
            let mut pipe = Pipe::new(seed, lossy());
            let out = run(&mut pipe, 2_000, GAP);
            let counters = pipe.counters();
            assert_eq!(
                counters.sent + counters.duplicated,
                counters.delivered + counters.lost,
                "seed {seed}"
            );
            assert_eq!(
                (counters.delivered, pipe.in_flight()),
                (out.len() as u64, 0),
                "seed {seed}"
            );
            copies += counters.duplicated;
        }
        let share = copies as f64 / 100_000.0;
        assert!((share - 0.01).abs() < 0.002, "{share}");
    }

    #[test]
    fn the_seed_decides() {
        let outcome = |seed| run(&mut Pipe::new(seed, lossy()), 1_000, GAP);
        assert_eq!(outcome(7), outcome(7));
        assert_ne!(outcome(7), outcome(8));
    }

    #[test]
    fn the_bottleneck_paces_and_drops_the_tail() {
        let conditions =
            Conditions { bandwidth_bps: Some(800_000), queue_bytes: 1_000, ..Conditions::CLEAN };
        let mut pipe = Pipe::new(1, conditions);
        for item in 0..15 {
            pipe.handle_input(Time::ZERO, 100, item);
        }
        let mut out = Vec::new();
        drain(&mut pipe, Time::MAX, &mut out);
        let expected: Vec<_> = (0..10).map(|item| (Time::from_millis(item + 1), item)).collect();
        assert_eq!((out, pipe.counters().queue_dropped), (expected, 5));
    }

    #[test]
    fn what_is_in_flight_is_bounded() {
        let mut pipe = Pipe::new(
            1,
            Conditions { duplicate: 1.0, ..Conditions::delayed(1_000, 1_000, Loss::NONE) },
        );
        for item in 0..MAX_IN_FLIGHT as u64 {
            pipe.handle_input(Time::ZERO, 1, item);
        }
        assert_eq!(
            (pipe.in_flight(), pipe.counters().queue_dropped),
            (MAX_IN_FLIGHT, MAX_IN_FLIGHT as u64)
        );
    }

    #[test]
    fn new_conditions_leave_what_is_on_its_way() {
        let mut pipe = Pipe::new(1, Conditions::delayed(50, 50, Loss::NONE));
        pipe.handle_input(Time::ZERO, 1, 1);
        pipe.set_conditions(Conditions { loss: Loss::independent(1.0), ..Conditions::CLEAN });
        pipe.handle_input(Time::ZERO, 1, 2);
        pipe.set_conditions(Conditions::CLEAN);
        pipe.handle_input(Time::ZERO, 1, 3);
        assert_eq!(pipe.poll_output(Time::from_millis(49)), None);
        let now = Time::from_millis(50);
        assert_eq!([(); 3].map(|()| pipe.poll_output(now)), [Some(1), Some(3), None]);
    }

    #[test]
    fn silly_numbers_do_no_harm() {
        let conditions = Conditions {
            delay_min: Duration::MAX,
            delay_max: Duration::ZERO,
            bandwidth_bps: Some(0),
            queue_bytes: usize::MAX,
            loss: Loss {
                loss_good: f64::NAN,
                loss_bad: 7.0,
                good_to_bad: -1.0,
                bad_to_good: f64::INFINITY,
            },
            ..Conditions::CLEAN
        };
        let mut pipe = Pipe::new(1, conditions);
        for item in 0..100 {
            pipe.handle_input(Time::MAX, usize::MAX, item);
        }
        assert_eq!((pipe.deadline(), pipe.in_flight()), (Some(Time::MAX), 1));
    }
}
