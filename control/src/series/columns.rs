//! Which figures there are, and how the value of a step is made of two readings.

use std::time::Duration;

use nucleus_core::control::{SeriesFigures, ShardStatus};
use nucleus_core::histogram::Histogram;
use nucleus_core::room_stats::share_ppm;
use nucleus_core::traffic::LinkLosses;

/// Figures of the whole server.
pub(super) const COUNT_NAMES: usize = 10;
/// Figures of each shard.
pub(super) const SHARD_NAMES: usize = 5;

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeriesName {
    /// Sessions, those included that may still resume.
    Headsets,
    /// Live rooms.
    Rooms,
    /// The share of the links that are on the fallback.
    Fallback,
    /// Clients that were admitted in the step.
    Joins,
    /// Clients that were refused in the step, or that did not say what they want.
    FailedJoins,
    /// How long the server had half of the messages that were relayed in the step, at most.
    RelayP50,
    /// How long the server had 99 of 100 messages that were relayed in the step, at most.
    RelayP99,
    /// The share of the clients' datagrams on UDP 5056 that were lost in the step.
    LossIn,
    /// The share of the server's datagrams on UDP 5056 that were lost in the step, as the clients report.
    LossOut,
    /// Datagrams that the kernel dropped in the step.
    KernelDrops,
    /// The share of a core that each shard used.
    Cpu,
    /// Bytes that each shard received in a second.
    BytesIn,
    /// Bytes that each shard sent in a second.
    BytesOut,
    /// Datagrams that each shard received in a second.
    DatagramsIn,
    /// Datagrams that each shard sent in a second.
    DatagramsOut,
}

/// The unit of the values of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesUnit {
    /// A number of things at the end of the step.
    Count,
    /// A number of things in the step.
    PerStep,
    /// A number of things in a second.
    PerSecond,
    /// Parts per million.
    Ppm,
    /// Microseconds.
    Micros,
}

impl SeriesUnit {
    /// Returns the name of the unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::PerStep => "per_step",
            Self::PerSecond => "per_second",
            Self::Ppm => "ppm",
            Self::Micros => "us",
        }
    }
}

/// Where the values of a figure are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeriesPlace {
    /// Among those of the whole server.
    Whole(usize),
    /// Among those of each shard.
    Shard(usize),
}

impl SeriesName {
    /// Every figure: those of the whole server, then those of shards.
    pub const ALL: [Self; COUNT_NAMES + SHARD_NAMES] = [
        Self::Headsets,
        Self::Rooms,
        Self::Fallback,
        Self::Joins,
        Self::FailedJoins,
        Self::RelayP50,
        Self::RelayP99,
        Self::LossIn,
        Self::LossOut,
        Self::KernelDrops,
        Self::Cpu,
        Self::BytesIn,
        Self::BytesOut,
        Self::DatagramsIn,
        Self::DatagramsOut,
    ];

    /// Returns the name in addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Headsets => "headsets",
            Self::Rooms => "rooms",
            Self::Fallback => "fallback",
            Self::Joins => "joins",
            Self::FailedJoins => "failed_joins",
            Self::RelayP50 => "relay_p50",
            Self::RelayP99 => "relay_p99",
            Self::LossIn => "loss_in",
            Self::LossOut => "loss_out",
            Self::KernelDrops => "kernel_drops",
            Self::Cpu => "cpu",
            Self::BytesIn => "bytes_in",
            Self::BytesOut => "bytes_out",
            Self::DatagramsIn => "datagrams_in",
            Self::DatagramsOut => "datagrams_out",
        }
    }

    /// Returns the figure of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Returns the unit of the values.
    pub fn unit(self) -> SeriesUnit {
        match self {
            Self::Headsets | Self::Rooms => SeriesUnit::Count,
            Self::Joins | Self::FailedJoins | Self::KernelDrops => SeriesUnit::PerStep,
            Self::Fallback | Self::LossIn | Self::LossOut | Self::Cpu => SeriesUnit::Ppm,
            Self::RelayP50 | Self::RelayP99 => SeriesUnit::Micros,
            Self::BytesIn | Self::BytesOut | Self::DatagramsIn | Self::DatagramsOut => {
                SeriesUnit::PerSecond
            }
        }
    }

    pub(super) fn place(self) -> SeriesPlace {
        let at = Self::ALL.iter().position(|name| *name == self).unwrap_or_default();
        match at.checked_sub(COUNT_NAMES) {
            None => SeriesPlace::Whole(at),
            Some(at) => SeriesPlace::Shard(at),
        }
    }
}

/// Two readings, from which the values of a step are made.
pub(super) struct Columns<'a> {
    /// The reading one step before; `None`: there is none, so nothing is known of what came in the step.
    pub(super) before: Option<&'a SeriesFigures>,
    pub(super) now: &'a SeriesFigures,
    /// The time between the two.
    pub(super) elapsed: Duration,
}

impl Columns<'_> {
    /// Returns the values of the figures of the whole server.
    pub(super) fn whole(&self) -> [Option<u64>; COUNT_NAMES] {
        let status = &self.now.status;
        let sum = |of: fn(&ShardStatus) -> u64| status.shards.iter().map(of).sum::<u64>();
        let fallback = share_ppm(sum(|shard| shard.on_fallback), sum(|shard| shard.links));
        let drops = |figures: &SeriesFigures| {
            figures.status.shards.iter().map(|shard| shard.kernel_drops).sum()
        };
        [
            Some(status.sessions),
            Some(status.rooms),
            fallback.map(u64::from),
            self.growth(|figures| figures.joins),
            self.growth(|figures| figures.failed_joins),
            self.relay(50),
            self.relay(99),
            self.loss(|losses| (losses.lost_in, losses.sent_in)),
            self.loss(|losses| (losses.lost_out, losses.sent_out)),
            self.growth(drops),
        ]
    }

    /// Returns the values of the figures of a shard.
    pub(super) fn of_shard(&self, shard: usize) -> [Option<u64>; SHARD_NAMES] {
        let cpu = |figures: &SeriesFigures| {
            figures.cpu.get(shard).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(0))
        };
        let micros = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
        let share = self.growth(cpu).map(|used| used.saturating_mul(1_000_000) / micros);
        let rate = |of: fn(&ShardStatus) -> u64| {
            let read = |figures: &SeriesFigures| figures.status.shards.get(shard).map_or(0, of);
            self.growth(read).map(|count| per_second(count, micros))
        };
        [
            share,
            rate(|shard| shard.bytes_in),
            rate(|shard| shard.bytes_out),
            rate(|shard| shard.datagrams_in),
            rate(|shard| shard.datagrams_out),
        ]
    }

    /// Returns by how much a sum has grown in the step.
    fn growth(&self, of: impl Fn(&SeriesFigures) -> u64) -> Option<u64> {
        Some(of(self.now).saturating_sub(of(self.before?)))
    }

    /// Returns the share of what was lost in the step on the shards that have answered both times; `None`:
    /// nothing was sent, or it is not known.
    fn loss(&self, of: fn(&LinkLosses) -> (u64, u64)) -> Option<u64> {
        let mut losses = LinkLosses::default();
        for (before, now) in self.before?.losses.iter().zip(&self.now.losses) {
            let (Some(before), Some(now)) = (before, now) else { continue };
            losses.add(now.since(*before));
        }
        let (lost, sent) = of(&losses);
        share_ppm(lost, sent).map(u64::from)
    }

    /// Returns the latency that so many of 100 messages of the step do not exceed.
    fn relay(&self, percent: u64) -> Option<u64> {
        percentile(&self.before?.relay_latency, &self.now.relay_latency, percent)
    }
}

fn per_second(count: u64, micros: u64) -> u64 {
    let rate = u128::from(count) * 1_000_000 / u128::from(micros.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Returns the value that so many of 100 values do not exceed, of those that came between two readings of a
/// histogram: within its bucket in proportion. Of values over all bounds, the largest bound. `None`: none
/// came.
fn percentile(before: &Histogram, now: &Histogram, percent: u64) -> Option<u64> {
    let new = now.counts().iter().zip(before.counts()).map(|(now, old)| now.saturating_sub(*old));
    let new: Vec<u64> = new.collect();
    let all: u64 = new.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = (all * percent).div_ceil(100).max(1);
    let (mut below, mut low) = (0, 0);
    for (count, high) in new.iter().zip(now.scale().bounds) {
        if below + count >= rank {
            let part = (high - low) * (rank - below) / count.max(&1);
            return Some(low + part);
        }
        (below, low) = (below + count, *high);
    }
    Some(low)
}

/// Returns what the next step needs of a reading.
pub(super) fn latest(figures: &SeriesFigures) -> SeriesFigures {
    SeriesFigures { rooms: Vec::new(), ..figures.clone() }
}

#[cfg(test)]
mod tests {
    use nucleus_core::histogram::HistogramScale;

    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in SeriesName::ALL {
            assert_eq!(SeriesName::parse(name.name()), Some(name));
        }
        assert_eq!(SeriesName::parse("cpu0"), None);
        assert_eq!(SeriesName::KernelDrops.place(), SeriesPlace::Whole(COUNT_NAMES - 1));
        assert_eq!(SeriesName::DatagramsOut.place(), SeriesPlace::Shard(SHARD_NAMES - 1));
    }

    #[test]
    fn a_percentile_is_that_of_the_step_alone() {
        let mut before = Histogram::new(HistogramScale::micros(&[1_000, 2_000, 10_000]));
        (0..1_000).for_each(|_| before.observe(9_000));
        let mut now = before;
        assert_eq!(percentile(&before, &now, 50), None, "nothing came");
        (0..98).for_each(|_| now.observe(1_500));
        (0..2).for_each(|_| now.observe(50_000));
        let median = percentile(&before, &now, 50).unwrap();
        assert!((1_000..=2_000).contains(&median), "{median}");
        assert_eq!(percentile(&before, &now, 98), Some(2_000));
        assert_eq!(percentile(&before, &now, 99), Some(10_000), "over all bounds");
    }
}
