//! The messages that the server reports as withheld from one link, within the window.
//!
//! The server's reports arrive once a second while there is traffic, and count from the link's
//! start. The count at the window's start is interpolated between the reports before and after that
//! moment. The last report gives the count at the window's end, because nothing is sent after it.

use std::ops::Range;

use nucleus_protocol::realtime::report::ServerReport;

use crate::load::channel::Channel;

/// The number of withheld messages of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelWithheld {
    pub(crate) superseded: u64,
    pub(crate) suppressed: u64,
}

/// The numbers of withheld messages of all channels.
type Counts = [ChannelWithheld; Channel::COUNT];

impl ChannelWithheld {
    /// Combines both numbers with those of `other`.
    fn zip(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        ChannelWithheld {
            superseded: combine(self.superseded, other.superseded),
            suppressed: combine(self.suppressed, other.suppressed),
        }
    }
}

/// Counts the messages that the server withheld from one headset.
#[derive(Clone, Debug)]
pub(crate) struct WithheldCounts {
    newest: ServerReport,
    /// When the newest report arrived, µs.
    newest_at: u64,
    counts: Counts,
    /// The counts at the window's start, once a report has arrived after it.
    at_window_start: Option<Counts>,
}

impl WithheldCounts {
    /// Creates the counts of a link that opens at `now` (µs).
    pub(crate) fn new(now: u64) -> Self {
        let (newest, counts) = (ServerReport::default(), Counts::default());
        WithheldCounts { newest, newest_at: now, counts, at_window_start: None }
    }

    /// Records the link's newest report. Ignores a report that was recorded before.
    pub(crate) fn record(&mut self, now: u64, window_start: u64, report: &ServerReport) {
        if *report == self.newest {
            return;
        }
        let after = Channel::ALL.map(|channel| {
            let kind = channel.kind().index();
            let (old, new) = (self.newest.kinds[kind], report.kinds[kind]);
            let growth = ChannelWithheld {
                superseded: new.superseded.wrapping_sub(old.superseded).into(),
                suppressed: new.suppressed.wrapping_sub(old.suppressed).into(),
            };
            self.counts[channel as usize].zip(growth, |count, growth| count + growth)
        });
        if self.at_window_start.is_none() && now >= window_start {
            let time = self.newest_at..now;
            self.at_window_start = Some(between(&self.counts, &after, time, window_start));
        }
        (self.newest, self.newest_at, self.counts) = (*report, now, after);
    }

    /// Starts again with another link, whose reports count from 0.
    pub(crate) fn start_new_link(&mut self) {
        self.newest = ServerReport::default();
    }

    /// Returns a channel's counts since the window's start.
    pub(crate) fn since_start(&self, channel: Channel) -> ChannelWithheld {
        let start = self.at_window_start.unwrap_or(self.counts)[channel as usize];
        self.counts[channel as usize].zip(start, u64::saturating_sub)
    }
}

/// Returns the counts at `at` (µs), interpolated linearly between those at the start and at the end
/// of `time`.
fn between(before: &Counts, after: &Counts, time: Range<u64>, at: u64) -> Counts {
    let span = time.end.saturating_sub(time.start).max(1);
    let part = at.saturating_sub(time.start).min(span);
    let line = |from: u64, to: u64| {
        from + (u128::from(to - from) * u128::from(part) / u128::from(span)) as u64
    };
    Channel::ALL.map(|channel| before[channel as usize].zip(after[channel as usize], line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(superseded: u64, suppressed: u64) -> ChannelWithheld {
        ChannelWithheld { superseded, suppressed }
    }

    fn report(channel: Channel, superseded: u32, suppressed: u32) -> ServerReport {
        let mut report = ServerReport::default();
        report.kinds[channel.kind().index()].superseded = superseded;
        report.kinds[channel.kind().index()].suppressed = suppressed;
        report
    }

    #[test]
    fn counts_each_channel_from_the_window_s_start() {
        for channel in Channel::ALL {
            let report = |superseded, suppressed| report(channel, superseded, suppressed);
            let mut withheld = WithheldCounts::new(0);
            withheld.record(1_000, 1_250, &report(10, 100));
            withheld.record(1_200, 1_250, &report(10, 100));
            assert_eq!(withheld.since_start(channel), counts(0, 0));
            withheld.record(2_000, 1_250, &report(20, 300));
            assert_eq!(withheld.since_start(channel), counts(8, 150));
            withheld.record(3_000, 1_250, &report(21, 300));
            assert_eq!(withheld.since_start(channel), counts(9, 150));
            let others = Channel::ALL.into_iter().filter(|other| *other != channel);
            assert!(others.into_iter().all(|other| withheld.since_start(other) == counts(0, 0)));
        }
    }

    #[test]
    fn the_server_s_counters_may_wrap() {
        let mut withheld = WithheldCounts::new(0);
        withheld.record(1, 2, &report(Channel::Voice, u32::MAX - 1, 0));
        withheld.record(2, 2, &report(Channel::Voice, u32::MAX, 0));
        withheld.record(3, 2, &report(Channel::Voice, 3, 0));
        assert_eq!(withheld.since_start(Channel::Voice), counts(4, 0));
    }
}
