//! The report: the figures of a run, in the format that scripts outside the repository read.

pub(crate) mod fail_if;
pub(crate) mod figures;
mod metrics;
pub(crate) mod progress;
pub(crate) mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::check::gaps::Gaps;
use crate::check::nearest::{NEAR_K, NearPoses};
use crate::check::states::StateFigures;
use crate::check::tally::Tally;
use crate::load::channel;
use crate::load::profile::Traffic;

/// Version of the report's format.
const SCHEMA: u32 = 1;

/// The figures of a run. Times are in ms unless the name says otherwise; counters cover the
/// measured window.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) valid: bool,
    pub(crate) invalid_reasons: Vec<String>,
    /// Remarks that do not make the run invalid.
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
    /// The rooms' shared state, if the profile changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<StateFigures>,
    /// The recovery from faults, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery: Option<Recovery>,
    /// The headsets that no fault affected, if faults affected a share of the headsets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) others: Option<Others>,
    /// The joins of storms, which `joins` does not contain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storm: Option<Joins>,
    /// The late joiners of the first room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late_joiners: Option<LateJoinersReport>,
    /// The matches and calls during the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<CallsReport>,
    pub(crate) generator: GeneratorFigures,
    pub(crate) server: ServerFigures,
    /// The errors of failed joins, and how often each occurred.
    #[serde(skip)]
    pub(crate) join_errors: BTreeMap<String, u64>,
}

/// The number of joins, and the time that they took.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Joins {
    pub(crate) attempted: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The figures of the sessions: how many were lost, were resumed, or used the fallback.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sessions {
    /// Sessions that ended before the run did, and were not resumed.
    pub(crate) lost: u64,
    /// How often a session was resumed as the same peer.
    pub(crate) resumed: u64,
    /// Lost sessions after which the headset joined again as a new peer.
    pub(crate) rejoined: u64,
    /// Headsets on the fallback at the end.
    pub(crate) on_fallback: u64,
    /// How often the realtime port stopped answering, over all headsets.
    pub(crate) fallbacks: u64,
    /// Headsets whose realtime port stopped answering at least once.
    pub(crate) fell: u64,
    /// Headsets whose addresses changed.
    pub(crate) moved: u64,
}

/// The recovery from the last fault of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Recovery {
    /// Headsets that used the realtime port again after the last fault.
    pub(crate) back: u64,
    /// The time from the end of the last fault until these headsets used the realtime port.
    pub(crate) back_ms: Latency,
    /// Headsets that had a session again after the last fault.
    pub(crate) rejoins: u64,
    /// The time from the end of the last fault until these headsets had a session.
    pub(crate) rejoin_ms: Latency,
    /// Rosters at the end that contain every member once and present, and no other peer.
    pub(crate) rosters_right: u64,
    /// All other rosters at the end.
    pub(crate) rosters_wrong: u64,
}

/// The late joiners of the first room.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LateJoinersReport {
    /// Late joiners that were started.
    pub(crate) invited: u64,
    /// Late joiners that received the complete roster and state.
    pub(crate) whole: u64,
    /// The time from a late joiner's first packet until it had both the complete roster and the
    /// complete state.
    pub(crate) whole_ms: Latency,
    /// Realtime messages that late joiners received.
    pub(crate) messages_received: u64,
    /// Rosters that were handed in when the rosters were collected.
    pub(crate) rosters: u64,
    /// The largest number of equal rosters among them in which everybody is present.
    pub(crate) rosters_right: u64,
}

/// The matches and calls of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CallsReport {
    /// Users that looked for a room or took part in a call.
    pub(crate) expected: u64,
    /// Users that reached a room.
    pub(crate) met: u64,
    /// The time until a user reached its room.
    pub(crate) met_ms: Latency,
    /// Rooms that these users reached.
    pub(crate) rooms: u64,
    /// Users in the smallest of these rooms.
    pub(crate) smallest: u64,
    /// Users in the largest of these rooms.
    pub(crate) largest: u64,
}

/// The headsets that no fault affected.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Others {
    /// Share of the headsets that the fault affected.
    pub(crate) share: f64,
    /// The latency of poses between two headsets that no fault affected.
    pub(crate) pose_latency_ms: Latency,
}

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
    /// The longest time in the window that a receiver waited for the next pose of a sender.
    pub(crate) gap_max_ms: f64,
    /// How often a receiver waited more than one second for the next pose of a sender.
    pub(crate) gaps_over_1s: u64,
}

/// The share of the poses from the nearest seats that receivers received.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Interest {
    /// The number of seats that count as near.
    pub(crate) near_k: u64,
    /// The share that arrived of the poses expected from the `near_k` nearest seats.
    pub(crate) near_full_rate: f64,
}

/// The figures of one channel: delivered + superseded + suppressed + lost = expected.
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
    /// Lost messages as a share of the expected, 0 to 1.
    pub(crate) loss: f64,
    pub(crate) latency_ms: Latency,
}

/// Quantiles of a time, ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// The generator's own CPU time, delays and losses.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GeneratorFigures {
    pub(crate) cpu_s: f64,
    /// The time from when a message was due until it was sent, 99th percentile.
    pub(crate) send_lag_p99_ms: f64,
    /// Realtime datagrams received.
    pub(crate) datagrams_in: u64,
    /// Datagrams that our own sockets dropped because a buffer was full. Their messages count as
    /// lost.
    pub(crate) kernel_drops: u64,
}

/// The figures of the server's process and of the server's own counters. A figure without a source
/// is 0.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ServerFigures {
    /// The source of these figures: `proc+metrics`, `proc`, `metrics` or `none`. The CPU time and
    /// the memory come from `proc`, the counters from `metrics`.
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
    /// Returns an empty report with the parts that a run of this traffic fills.
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

    /// Returns an empty report with every part that a report can have.
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
            calls: Some(CallsReport::default()),
            ..Report::new()
        }
    }

    fn new() -> Self {
        Report { schema: SCHEMA, valid: true, verified_share: 1.0, ..Report::default() }
    }

    /// Marks the run as invalid, with a reason.
    pub(crate) fn invalidate(&mut self, reason: impl Into<String>) {
        self.valid = false;
        self.invalid_reasons.push(reason.into());
    }
}

impl Joins {
    /// Returns the figures of `attempted` joins. `joins` has the times of those that succeeded, µs.
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
    /// Returns whether the CPU time and the memory are known.
    pub(crate) fn has_process(&self) -> bool {
        self.source.starts_with("proc")
    }

    /// Returns whether the counters are known.
    pub(crate) fn has_counters(&self) -> bool {
        self.source.ends_with("metrics")
    }

    /// Computes the ratios.
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

/// Converts µs to ms.
pub(crate) fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

fn share(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 / total as f64 }
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
