//! The adaptive tick: how long messages wait to be sent together.
//!
//! A datagram costs the kernel the same whatever it holds, so a loaded shard lets messages wait and
//! sends fewer datagrams. The thread reports its load, and the tick follows the load. The
//! thresholds and the measurements behind them are in docs/decisions/adaptive-tick.md.

use std::time::Duration;

use nucleus_protocol::realtime::MessageKind;

use crate::limits;

/// How long a shard may gather messages before it sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tick {
    /// Chosen from the load, so that a shard stays at or under half a core.
    #[default]
    Auto,
    /// Fixed by the operator.
    Fixed(Duration),
}

/// The ticks of `auto`, in ms. At 0 the messages of one drained batch are sent at once. Beyond 16 a
/// relayed message hardly gets cheaper, and a listener at 60 Hz sees poses stutter.
const TICKS: [u64; 5] = [0, 2, 5, 10, 16];
/// A load (share of a core) above this lengthens the tick by one level.
const HIGH: f32 = 0.5;
/// A load above this lengthens the tick by two levels, because a shard that is nearly full must
/// react fast.
const VERY_HIGH: f32 = 0.8;
/// A load at or below this shortens the tick from 2 ms to 0. The shard may have to send five times
/// as many datagrams then.
const LOWEST: f32 = HIGH / 5.0;
/// Reports of low load in a row after which the tick is shortened. Traffic comes in bursts, and a
/// room that is active in one second may be silent in the next.
const LOW_REPORTS_BEFORE_SHORTER: u32 = 10;

/// Chooses the tick of a shard from the reported load, or keeps the tick that the operator has
/// fixed.
#[derive(Debug)]
pub(super) struct TickControl {
    /// The index in [`TICKS`]; `None` for a tick fixed by the operator.
    level: Option<usize>,
    tick: Duration,
    /// The tick of voice messages.
    voice: Duration,
    /// Reports of low load in a row.
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

    /// Returns the longest time that a message may wait.
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// Returns the shortest time from one turn of the shard to the next. A wake-up costs as much as
    /// several datagrams, so flushes that are due within one turn share a wake-up. The socket is
    /// drained once per turn.
    pub(super) fn turn(&self) -> Duration {
        (self.tick / 2).min(limits::DRAIN_INTERVAL)
    }

    /// Returns how long a message of `kind` may wait. Voice waits one level less than other
    /// messages, because a longer wait makes the listeners' jitter buffers longer. The flush for a
    /// voice message also sends all other messages of its room.
    pub(super) fn max_wait(&self, kind: MessageKind) -> Duration {
        if kind == MessageKind::Voice { self.voice } else { self.tick }
    }

    /// Takes the load since the last report, as a share of a core, and adjusts the tick.
    pub(super) fn report_load(&mut self, load: f32) {
        let Some(level) = self.level else { return };
        if load > HIGH {
            self.low_reports = 0;
            let levels = if load > VERY_HIGH { 2 } else { 1 };
            self.set((level + levels).min(TICKS.len() - 1));
        } else if load > low_load(level) {
            self.low_reports = 0;
        } else {
            self.low_reports += 1;
            if self.low_reports >= LOW_REPORTS_BEFORE_SHORTER && level > 0 {
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

/// Returns the load at which the next shorter tick keeps the load at [`HIGH`], on the assumption
/// that all load is caused by datagrams. Levels 0 and 1 have [`LOWEST`].
fn low_load(level: usize) -> f32 {
    match level {
        0 | 1 => LOWEST,
        _ => HIGH * TICKS[level - 1] as f32 / TICKS[level] as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a shard whose load is caused by datagrams alone: `full` without a tick, less with a
    /// longer tick. Returns the ticks in use.
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
        (0..4 * LOW_REPORTS_BEFORE_SHORTER).for_each(|_| control.report_load(0.01));
        assert_eq!(control.tick(), Duration::ZERO);
    }

    #[test]
    fn voice_waits_less_and_a_fixed_tick_is_fixed() {
        let mut auto = TickControl::new(Tick::Auto);
        (0..4).for_each(|_| auto.report_load(0.95));
        assert!(auto.max_wait(MessageKind::Voice) < auto.max_wait(MessageKind::Pose));
        let five = Duration::from_millis(5);
        let mut fixed = TickControl::new(Tick::Fixed(five));
        fixed.report_load(1.0);
        assert_eq!(
            (fixed.max_wait(MessageKind::Pose), fixed.max_wait(MessageKind::Voice)),
            (five, five)
        );
    }
}
