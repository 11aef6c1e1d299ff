//! The figures of each channel: what was delivered, how late, and how old it was.

use serde::Serialize;

use super::{ms, share};
use crate::check::gaps::Gaps;
use crate::check::tally::Tally;
use crate::check::times::Times;
use crate::load::channel::Channel;
use crate::load::profile::Traffic;

/// The latency above which a message counts as [`ChannelReport::over_100ms`], µs: two thirds of the
/// 150 ms from mouth to ear that ITU-T G.114 recommends for speech.
const SLOW: u64 = 100_000;

/// The figures of each channel.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Channels {
    pub(crate) pose: PoseChannel,
    pub(crate) voice: ChannelReport,
    pub(crate) event: ChannelReport,
    /// The movements of objects, if the profile has objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<ChannelReport>,
    /// The pointers, if the profile has pointers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<ChannelReport>,
}

/// The figures of poses: those of every channel, and the gaps.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct PoseChannel {
    #[serde(flatten)]
    pub(crate) channel: ChannelReport,
    /// The longest time in the window that a receiver waited for the next pose of a sender; `None`
    /// if no pose was expected.
    pub(crate) gap_max_ms: Option<f64>,
    /// How often a receiver waited more than one second for the next pose of a sender; `None` if no
    /// pose was expected.
    pub(crate) gaps_over_1s: Option<u64>,
}

/// The figures of one channel: delivered + superseded + suppressed + lost = expected. The latencies
/// are those of the delivered messages alone, so they improve if a server delivers less. Read them
/// together with `delivered_share` and `age_ms`, which do not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ChannelReport {
    pub(crate) sent: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) superseded: u64,
    pub(crate) suppressed: u64,
    /// Superseded and suppressed: what the server kept back on purpose.
    pub(crate) withheld: u64,
    /// Messages that did not arrive in time, without a word from the server.
    pub(crate) lost: u64,
    /// The messages among the lost ones that did arrive, but so late that a client drops them.
    pub(crate) late: u64,
    /// The messages among the delivered ones that arrived more than 100 ms after they were due.
    pub(crate) over_100ms: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupt: u64,
    pub(crate) misrouted: u64,
    /// Delivered messages as a share of the expected, 0 to 1; `None` if none were expected.
    pub(crate) delivered_share: Option<f64>,
    /// Lost messages as a share of the expected, 0 to 1; `None` if none were expected.
    pub(crate) loss: Option<f64>,
    /// The time from when a message was due until it arrived, over the delivered messages.
    pub(crate) latency_ms: Latency,
    /// The age of information, as [`Ages`](crate::check::ages::Ages) defines it: how old the newest
    /// message is that a receiver has of a sender, over time. Only for channels with a fixed rate
    /// on which the newest message wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_ms: Option<Latency>,
}

/// Quantiles of a time, ms; `None` if nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl Channels {
    /// Returns empty figures of the channels that a run of this traffic has.
    pub(crate) fn of(traffic: &Traffic) -> Self {
        Self::with(|channel| traffic.has(channel))
    }

    /// Returns empty figures of every channel that a report can have.
    pub(crate) fn full() -> Self {
        Self::with(|_| true)
    }

    /// Returns empty figures, which have those optional channels for which `has` is true.
    fn with(has: impl Fn(Channel) -> bool) -> Self {
        let optional = |channel| has(channel).then(|| ChannelReport::empty(channel));
        Channels {
            pose: PoseChannel::new(ChannelReport::empty(Channel::Pose), Gaps::default()),
            object: optional(Channel::Object),
            pointer: optional(Channel::Pointer),
            ..Channels::default()
        }
    }

    /// Returns the channels of this run with their names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &ChannelReport)> {
        let always = [("pose", &self.pose.channel), ("voice", &self.voice), ("event", &self.event)];
        let object = self.object.as_ref().map(|channel| ("object", channel));
        let pointer = self.pointer.as_ref().map(|channel| ("pointer", channel));
        always.into_iter().chain(object).chain(pointer)
    }
}

impl PoseChannel {
    pub(crate) fn new(channel: ChannelReport, gaps: Gaps) -> Self {
        let gaps = (channel.expected > 0).then_some(gaps);
        PoseChannel {
            channel,
            gap_max_ms: gaps.map(|gaps| ms(gaps.max)),
            gaps_over_1s: gaps.map(|gaps| gaps.over_1s),
        }
    }
}

impl ChannelReport {
    /// Returns the figures of a channel on which nothing was sent.
    fn empty(channel: Channel) -> Self {
        let age_ms = channel.has_age().then(Latency::default);
        ChannelReport { age_ms, ..ChannelReport::default() }
    }

    /// Returns a channel's figures, and whether the server's counts of withheld messages had to be
    /// reduced. These counts are estimated at the window's start, so that their sum with the
    /// delivered messages can exceed the expected messages.
    pub(crate) fn new(tally: &Tally) -> (Self, bool) {
        let missing = tally.expected.saturating_sub(tally.delivered);
        let superseded = tally.superseded.min(missing);
        let suppressed = tally.suppressed.min(missing - superseded);
        let lost = missing - superseded - suppressed;
        let cut = superseded + suppressed < tally.superseded + tally.suppressed
            || tally.delivered > tally.expected;
        let channel = ChannelReport {
            sent: tally.sent,
            expected: tally.expected,
            delivered: tally.delivered.min(tally.expected),
            superseded,
            suppressed,
            withheld: superseded + suppressed,
            lost,
            late: tally.late.min(lost),
            over_100ms: tally.latency.len() - tally.latency.count_between(0, SLOW),
            duplicated: tally.duplicated,
            reordered: tally.reordered,
            corrupt: tally.corrupt,
            misrouted: tally.misrouted,
            delivered_share: share(tally.delivered.min(tally.expected), tally.expected),
            loss: share(lost, tally.expected),
            latency_ms: Latency::new(&tally.latency),
            age_ms: None,
        };
        (channel, cut)
    }
}

impl Latency {
    pub(crate) fn new(micros: &Times) -> Self {
        let known = |value: u64| (!micros.is_empty()).then(|| ms(value));
        let at = |q: f64| known(micros.value_at_quantile(q));
        Latency {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: known(micros.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_balances_whatever_is_counted() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let tally = Tally {
                expected: rng.u64(0..100),
                delivered: rng.u64(0..120),
                superseded: rng.u64(0..50),
                suppressed: rng.u64(0..50),
                late: rng.u64(0..50),
                ..Tally::default()
            };
            let (c, cut) = ChannelReport::new(&tally);
            assert_eq!(c.delivered + c.superseded + c.suppressed + c.lost, c.expected);
            let counted = tally.delivered + tally.superseded + tally.suppressed;
            assert_eq!(cut, counted > tally.expected);
            assert!(c.late <= c.lost);
            let (share, loss) = (c.delivered_share, c.loss);
            assert_eq!((share.is_some(), loss.is_some()), (c.expected > 0, c.expected > 0));
            assert!((0.0..=1.0).contains(&(share.unwrap_or(0.0) + loss.unwrap_or(0.0))));
        }
    }

    #[test]
    fn an_empty_channel_has_no_loss() {
        let (channel, cut) = ChannelReport::new(&Tally::default());
        assert_eq!((channel, cut), (ChannelReport::default(), false));
    }

    #[test]
    fn latencies_are_in_ms() {
        let mut tally = Tally::default();
        (1..=1_000).for_each(|n| tally.latency.record(n * 100));
        let latency = ChannelReport::new(&tally).0.latency_ms;
        for (found, expected) in [(latency.p50, 50.0), (latency.p99, 99.0), (latency.max, 100.0)] {
            assert!(found.is_some_and(|found| (found - expected).abs() < 0.2), "{latency:?}");
        }
    }

    #[test]
    fn what_took_more_than_100_ms_is_counted() {
        let mut tally = Tally::default();
        for micros in [1, 99_900, 100_200, 5_000_000] {
            tally.latency.record(micros);
        }
        assert_eq!(ChannelReport::new(&tally).0.over_100ms, 2);
    }

    #[test]
    fn what_nothing_was_measured_of_is_unknown() {
        let figures = ChannelReport::new(&Tally::default()).0;
        assert_eq!(figures.latency_ms, Latency::default());
        assert_eq!(
            (figures.latency_ms.p99, figures.loss, figures.delivered_share),
            (None, None, None)
        );
        let pose = PoseChannel::new(figures, Gaps::default());
        assert_eq!((pose.gap_max_ms, pose.gaps_over_1s), (None, None));
    }
}
