//! What the server says it withheld from one link, over the window alone.
//!
//! Its reports come once a second while there is traffic and count from the link's beginning. The
//! count at the window's start is read off the line between the reports before and after it; the
//! last report counts for the end, because nothing is sent any more by then.

use nucleus_protocol::realtime::control::ServerReport;

use crate::load::channel::Channel;

/// Superseded and suppressed messages of the channels.
type Counts = [(u64, u64); Channel::COUNT];

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct WithheldCounts {
    newest: ServerReport,
    /// When the newest came, µs.
    newest_at: u64,
    counts: Counts,
    /// Counts at the window's start.
    at_window_start: Option<Counts>,
}

impl WithheldCounts {
    /// Of a link that opens at `now` (µs).
    pub(crate) fn new(now: u64) -> Self {
        let (newest, counts) = (ServerReport::default(), Counts::default());
        WithheldCounts { newest, newest_at: now, counts, at_window_start: None }
    }

    /// Takes the link's newest report, which may be the same as before.
    pub(crate) fn record(&mut self, now: u64, window_start: u64, report: &ServerReport) {
        if *report == self.newest {
            return;
        }
        let after = Channel::ALL.map(|channel| {
            let (kind, before) = (channel.kind().index(), self.counts[channel as usize]);
            let (old, new) = (self.newest.kinds[kind], report.kinds[kind]);
            let superseded = new.superseded.wrapping_sub(old.superseded);
            let suppressed = new.suppressed.wrapping_sub(old.suppressed);
            (before.0 + u64::from(superseded), before.1 + u64::from(suppressed))
        });
        if self.at_window_start.is_none() && now >= window_start {
            self.at_window_start =
                Some(between((self.newest_at, self.counts), (now, after), window_start));
        }
        (self.newest, self.newest_at, self.counts) = (*report, now, after);
    }

    /// Another link counts from nothing.
    pub(crate) fn start_new_link(&mut self) {
        self.newest = ServerReport::default();
    }

    /// Superseded and suppressed since the window's start.
    pub(crate) fn since_start(&self, channel: Channel) -> (u64, u64) {
        let at_window_start = self.at_window_start.unwrap_or(self.counts)[channel as usize];
        let counts = self.counts[channel as usize];
        (counts.0.saturating_sub(at_window_start.0), counts.1.saturating_sub(at_window_start.1))
    }
}

/// The counts at `at`, on the line between two times.
fn between(before: (u64, Counts), after: (u64, Counts), newest_at: u64) -> Counts {
    let span = after.0.saturating_sub(before.0).max(1);
    let part = newest_at.saturating_sub(before.0).min(span);
    let line = |from: u64, to: u64| {
        from + (u128::from(to - from) * u128::from(part) / u128::from(span)) as u64
    };
    Channel::ALL.map(|channel| {
        let (from, to) = (before.1[channel as usize], after.1[channel as usize]);
        (line(from.0, to.0), line(from.1, to.1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(withheld.since_start(channel), (0, 0));
            withheld.record(2_000, 1_250, &report(20, 300));
            assert_eq!(withheld.since_start(channel), (8, 150));
            withheld.record(3_000, 1_250, &report(21, 300));
            assert_eq!(withheld.since_start(channel), (9, 150));
            let others = Channel::ALL.into_iter().filter(|other| *other != channel);
            assert!(others.into_iter().all(|other| withheld.since_start(other) == (0, 0)));
        }
    }

    #[test]
    fn the_server_s_counters_may_wrap() {
        let mut withheld = WithheldCounts::new(0);
        withheld.record(1, 2, &report(Channel::Voice, u32::MAX - 1, 0));
        withheld.record(2, 2, &report(Channel::Voice, u32::MAX, 0));
        withheld.record(3, 2, &report(Channel::Voice, 3, 0));
        assert_eq!(withheld.since_start(Channel::Voice), (4, 0));
    }
}
