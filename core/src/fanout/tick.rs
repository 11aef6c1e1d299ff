//! How long messages wait for others: the adaptive tick.
//!
//! A datagram costs the kernel the same whatever it holds, so a loaded shard lets messages wait and
//! sends fewer. The thread reports its load; the tick follows it. Thresholds and the measurements
//! behind them: docs/decisions/adaptive-tick.md.

use std::time::Duration;

use nucleus_protocol::realtime::MessageKind;

use crate::limits;

/// How long a shard may gather messages before it sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tick {
    /// Chosen from the load, so that a shard stays at or under half a core.
    #[default]
    Auto,
    /// Always the same.
    Fixed(Duration),
}

/// The ticks of `auto`, in ms. At 0 whatever one drained batch brought goes out at once; beyond 16
/// a relayed message hardly gets cheaper and a listener at 60 Hz sees poses stutter.
const TICKS: [u64; 5] = [0, 2, 5, 10, 16];
/// A load (share of a core) above this takes the next longer tick ...
const HIGH: f32 = 0.5;
/// ... and one above this the next but one: a shard that is nearly full must not creep up.
const VERY_HIGH: f32 = 0.8;
/// From 2 ms to none at all a shard may have to send five times as many datagrams.
const LOWEST: f32 = HIGH / 5.0;
/// A shorter tick is taken after the load has been low for so many reports: messages come in
/// spurts, and what talks in one second is silent in the next.
const PATIENCE: u32 = 10;

/// The tick in use.
#[derive(Debug)]
pub(super) struct TickControl {
    /// `None`: set by the operator.
    level: Option<usize>,
    tick: Duration,
    voice: Duration,
    low_reports: u32,
}

impl TickControl {
    pub(super) fn new(tick: Tick) -> Self {
        match tick {
            Tick::Fixed(tick) => Self { level: None, tick, voice: tick, low_reports: 0 },
            Tick::Auto => {
                let mut control = Self {
                    level: None,
                    tick: Duration::ZERO,
                    voice: Duration::ZERO,
                    low_reports: 0,
                };
                control.set(0);
                control
            }
        }
    }

    /// How long a message may wait.
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// Least time from one turn of the shard to the next: a wake-up costs as much as some datagrams, so
    /// flushes that are due within one turn share it. The socket is drained once a turn.
    pub(super) fn turn(&self) -> Duration {
        (self.tick / 2).min(limits::DRAIN_INTERVAL)
    }

    /// How long a message of `kind` may wait. Voice waits a step less than the rest: its listeners
    /// have a jitter buffer to fill, and whoever leaves first takes the others along.
    pub(super) fn patience(&self, kind: MessageKind) -> Duration {
        if kind == MessageKind::Voice { self.voice } else { self.tick }
    }

    /// Takes the load of the time since the last report, as a share of a core.
    pub(super) fn report_load(&mut self, load: f32) {
        let Some(level) = self.level else { return };
        if load > HIGH {
            self.low_reports = 0;
            let up = if load > VERY_HIGH { 2 } else { 1 };
            self.set((level + up).min(TICKS.len() - 1));
        } else if load > low(level) {
            self.low_reports = 0;
        } else {
            self.low_reports += 1;
            if self.low_reports >= PATIENCE && level > 0 {
                self.low_reports = 0;
                self.set(level - 1);
            }
        }
    }

    fn set(&mut self, level: usize) {
        self.level = Some(level);
        self.tick = Duration::from_millis(TICKS[level]);
        self.voice = Duration::from_millis(TICKS[level.saturating_sub(1)]);
    }
}

/// The load below which the next shorter tick would stay below [`HIGH`], were all of it spent on
/// datagrams.
fn low(level: usize) -> f32 {
    match level {
        0 | 1 => LOWEST,
        _ => HIGH * TICKS[level - 1] as f32 / TICKS[level] as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard whose load is all datagrams: `full` without a tick, and in proportion to the rest.
    fn settle(full: f32) -> Vec<u64> {
        let mut control = TickControl::new(Tick::Auto);
        let mut seen = Vec::new();
        for _ in 0..200 {
            let tick = control.tick().as_millis() as u64;
            let load = match tick {
                0 => full,
                tick => full / 2.5 / (tick as f32 / 2.0),
            };
            control.report_load(load.min(1.0));
            seen.push(control.tick().as_millis() as u64);
        }
        seen
    }

    #[test]
    fn the_tick_grows_until_the_load_is_bearable_and_stays() {
        for (full, expected) in [(0.1, 0), (0.45, 0), (0.7, 2), (2.0, 5), (5.5, 10), (50.0, 16)] {
            let seen = settle(full);
            let last = &seen[150..];
            assert!(last.iter().all(|tick| *tick == expected), "{full}: {last:?}");
        }
    }

    #[test]
    fn a_shard_that_falls_silent_is_quick_again() {
        let mut control = TickControl::new(Tick::Auto);
        (0..4).for_each(|_| control.report_load(0.95));
        assert_eq!(control.tick(), Duration::from_millis(16));
        (0..4 * PATIENCE).for_each(|_| control.report_load(0.01));
        assert_eq!(control.tick(), Duration::ZERO);
    }

    #[test]
    fn voice_waits_less_and_a_fixed_tick_is_fixed() {
        let mut auto = TickControl::new(Tick::Auto);
        (0..4).for_each(|_| auto.report_load(0.95));
        assert!(auto.patience(MessageKind::Voice) < auto.patience(MessageKind::Pose));
        let five = Duration::from_millis(5);
        let mut fixed = TickControl::new(Tick::Fixed(five));
        fixed.report_load(1.0);
        assert_eq!(
            (fixed.patience(MessageKind::Pose), fixed.patience(MessageKind::Voice)),
            (five, five)
        );
    }
}
