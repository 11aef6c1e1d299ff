//! The report: what a run measured, in the shape that scripts outside the repository read.

pub(crate) mod fail_if;
pub(crate) mod figures;
mod metrics;
pub(crate) mod progress;
pub(crate) mod table;

use serde::Serialize;

use crate::check::gaps::Gaps;
use crate::check::nearest::{NEAR_K, NearPoses};
use crate::check::states::StateFigures;
use crate::check::tally::Tally;
use crate::load::channel;
use crate::load::profile::Traffic;

/// Version of the report's shape.
const SCHEMA: u32 = 1;

/// A run's figures. Times in ms unless the name says otherwise, counters over the measured window.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) valid: bool,
    pub(crate) invalid_reasons: Vec<String>,
    /// What a reader should know that makes nothing invalid.
    pub(crate) notes: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) profile: String,
    pub(crate) network: String,
    pub(crate) headsets: u64,
    pub(crate) rooms: u64,
    pub(crate) duration_s: f64,
    pub(crate) verified_share: f64,
    pub(crate) joins: Joins,
    pub(crate) sessions: Sessions,
    pub(crate) channels: Channels,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interest: Option<Interest>,
    /// Where the profile changes the rooms' shared state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<StateFigures>,
    /// Where there was a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery: Option<Recovery>,
    /// Where a fault concerned some of the headsets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) others: Option<Others>,
    /// Joins of those who came all at once, beside the run's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storm: Option<Joins>,
    /// Who came into the first room while the run was under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late_joiners: Option<LateJoinersReport>,
    /// Who found each other meanwhile, by a match or by calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meetings: Option<CallsReport>,
    pub(crate) generator: GeneratorFigures,
    pub(crate) server: ServerFigures,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Joins {
    pub(crate) attempted: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sessions {
    /// Peers whose place was lost before the run ended, and not by us.
    pub(crate) lost: u64,
    /// Times that a lost session was taken up again, as the same peer.
    pub(crate) resumed: u64,
    /// Of the lost: those who came back as a new peer.
    pub(crate) rejoined: u64,
    /// Headsets whose messages travelled inside QUIC at the end.
    pub(crate) on_fallback: u64,
    /// Times that a realtime port went silent, and headsets that it happened to.
    pub(crate) fallbacks: u64,
    pub(crate) fell: u64,
    /// Headsets whose addresses changed.
    pub(crate) moved: u64,
}

/// How a run got over its last fault.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Recovery {
    /// Headsets that were heard again over the realtime port, and after how long.
    pub(crate) back: u64,
    pub(crate) back_ms: Latency,
    /// Sessions begun again, and after how long.
    pub(crate) rejoins: u64,
    pub(crate) rejoin_ms: Latency,
    /// Rosters at the end: everybody once and present, or not.
    pub(crate) rosters_right: u64,
    pub(crate) rosters_wrong: u64,
}

/// Late joiners of the first room.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LateJoinersReport {
    pub(crate) invited: u64,
    /// Those who had the whole roster and state, and how long after their first packet.
    pub(crate) whole: u64,
    pub(crate) whole_ms: Latency,
    /// Realtime messages that they have heard.
    pub(crate) heard: u64,
    /// Rosters that were handed in when everybody was asked, and of these the same one of everybody,
    /// present.
    pub(crate) rosters: u64,
    pub(crate) rosters_right: u64,
}

/// Who found each other.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CallsReport {
    pub(crate) expected: u64,
    /// Those who came into a room, and how long after they began to look or to call.
    pub(crate) met: u64,
    pub(crate) met_ms: Latency,
    /// The rooms, and how many came into the least and the most popular one.
    pub(crate) rooms: u64,
    pub(crate) smallest: u64,
    pub(crate) largest: u64,
}

/// The poses of those whom the fault does not concern.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Others {
    /// Share of the headsets that it concerns.
    pub(crate) share: f64,
    pub(crate) pose_latency_ms: Latency,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Channels {
    pub(crate) pose: PoseChannel,
    pub(crate) voice: ChannelReport,
    pub(crate) event: ChannelReport,
    /// Where the profile has objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<ChannelReport>,
    /// Where it has pointers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<ChannelReport>,
}

/// What is measured of poses alone, beside what is of every channel.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct PoseChannel {
    #[serde(flatten)]
    pub(crate) channel: ChannelReport,
    /// The longest time without a pose of one sender at one receiver, from the window's start to its
    /// end.
    pub(crate) gap_max_ms: f64,
    pub(crate) gaps_over_1s: u64,
}

/// How much of what interests a receiver most it had.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Interest {
    pub(crate) near_k: u64,
    /// Of the poses expected from the `near_k` nearest seats, the share that arrived.
    pub(crate) near_full_rate: f64,
}

/// delivered + superseded + suppressed + lost = expected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ChannelReport {
    pub(crate) sent: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) superseded: u64,
    pub(crate) suppressed: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupt: u64,
    pub(crate) misrouted: u64,
    pub(crate) loss: f64,
    pub(crate) latency_ms: Latency,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GeneratorFigures {
    pub(crate) cpu_s: f64,
    pub(crate) send_lag_p99_ms: f64,
    /// Realtime datagrams received.
    pub(crate) datagrams_in: u64,
    /// Datagrams our own sockets had no room for; they count as lost.
    pub(crate) kernel_drops: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ServerFigures {
    /// Where these figures come from: `proc+metrics`, `proc`, `metrics` or `none`.
    pub(crate) source: String,
    pub(crate) cpu_s: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) datagrams_out: u64,
    pub(crate) messages_out: u64,
    pub(crate) messages_per_datagram: f64,
    pub(crate) cpu_ns_per_message: u64,
    pub(crate) kernel_drops: u64,
}

impl Report {
    /// An empty report of this schema, with the parts that this traffic fills.
    pub(crate) fn of(traffic: &Traffic) -> Self {
        let channel = |channel| traffic.has(channel).then(ChannelReport::default);
        let channels = Channels {
            object: channel(channel::Channel::Object),
            pointer: channel(channel::Channel::Pointer),
            ..Channels::default()
        };
        let interest = traffic.interest.then(Interest::default);
        let state = traffic.has(channel::Channel::Object).then(StateFigures::default);
        Report { channels, interest, state, ..Report::new() }
    }

    /// An empty report with every part that one can have.
    pub(crate) fn full() -> Self {
        let channels = Channels {
            object: Some(ChannelReport::default()),
            pointer: Some(ChannelReport::default()),
            ..Channels::default()
        };
        Report {
            channels,
            interest: Some(Interest::default()),
            state: Some(StateFigures::default()),
            recovery: Some(Recovery::default()),
            others: Some(Others::default()),
            storm: Some(Joins::default()),
            late_joiners: Some(LateJoinersReport::default()),
            meetings: Some(CallsReport::default()),
            ..Report::new()
        }
    }

    fn new() -> Self {
        Report { schema: SCHEMA, valid: true, verified_share: 1.0, ..Report::default() }
    }

    /// Records why the run proves nothing.
    pub(crate) fn invalidate(&mut self, reason: impl Into<String>) {
        self.valid = false;
        self.invalid_reasons.push(reason.into());
    }
}

impl Joins {
    /// Of `attempted` joins, those that took so long (µs).
    pub(crate) fn new(attempted: u64, joins: &hdrhistogram::Histogram<u64>) -> Self {
        Joins {
            attempted,
            ok: joins.len(),
            failed: attempted - joins.len(),
            p50_ms: ms(joins.value_at_quantile(0.5)),
            p99_ms: ms(joins.value_at_quantile(0.99)),
        }
    }
}

impl Channels {
    /// Those there are, by name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &ChannelReport)> {
        let always = [("pose", &self.pose.channel), ("voice", &self.voice), ("event", &self.event)];
        let object = self.object.as_ref().map(|channel| ("object", channel));
        let pointer = self.pointer.as_ref().map(|channel| ("pointer", channel));
        always.into_iter().chain(object).chain(pointer)
    }
}

impl PoseChannel {
    pub(crate) fn new(channel: ChannelReport, gaps: Gaps) -> Self {
        PoseChannel { channel, gap_max_ms: ms(gaps.max), gaps_over_1s: gaps.over_1s }
    }
}

impl Interest {
    pub(crate) fn new(near: NearPoses) -> Self {
        let near_full_rate = share(near.delivered, near.expected);
        Interest { near_k: NEAR_K as u64, near_full_rate }
    }
}

impl ChannelReport {
    /// A channel's figures. What the server says it withheld can overlap what was delivered (its
    /// count at the window's start is an estimate): then it is cut, and `true` says so.
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
            lost,
            duplicated: tally.duplicated,
            reordered: tally.reordered,
            corrupt: tally.corrupt,
            misrouted: tally.misrouted,
            loss: share(lost, tally.expected),
            latency_ms: Latency::new(&tally.latency),
        };
        (channel, cut)
    }
}

impl Latency {
    pub(crate) fn new(micros: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |q: f64| ms(micros.value_at_quantile(q));
        let max = ms(micros.max());
        Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max }
    }
}

impl ServerFigures {
    /// Fills in the ratios.
    pub(crate) fn finish(mut self) -> Self {
        if self.datagrams_out > 0 {
            self.messages_per_datagram = self.messages_out as f64 / self.datagrams_out as f64;
        }
        if self.messages_out > 0 {
            self.cpu_ns_per_message = (self.cpu_s * 1e9 / self.messages_out as f64) as u64;
        }
        self
    }
}

/// ms with three places from µs.
pub(crate) fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_balances_whatever_is_counted() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let mut tally = Tally::new();
            tally.expected = rng.u64(0..100);
            tally.delivered = rng.u64(0..120);
            tally.superseded = rng.u64(0..50);
            tally.suppressed = rng.u64(0..50);
            let (c, cut) = ChannelReport::new(&tally);
            assert_eq!(c.delivered + c.superseded + c.suppressed + c.lost, c.expected);
            let counted = tally.delivered + tally.superseded + tally.suppressed;
            assert_eq!(cut, counted > tally.expected);
            assert!((0.0..=1.0).contains(&c.loss));
        }
    }

    #[test]
    fn an_empty_channel_has_no_loss() {
        let (channel, cut) = ChannelReport::new(&Tally::new());
        assert_eq!((channel, cut), (ChannelReport::default(), false));
    }

    #[test]
    fn latencies_are_in_ms() {
        let mut tally = Tally::new();
        (1..=1_000).for_each(|n| tally.record_latency(n * 100));
        let latency = ChannelReport::new(&tally).0.latency_ms;
        assert!((latency.p50 - 50.0).abs() < 0.2 && (latency.p99 - 99.0).abs() < 0.2);
        assert!((latency.max - 100.0).abs() < 0.2);
    }
}
