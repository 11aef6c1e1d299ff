//! The report: the figures of a run, in the format that scripts outside the repository read.

pub(crate) mod channels;
pub(crate) mod fail_if;
pub(crate) mod figures;
pub(crate) mod measurements;
mod metrics;
pub(crate) mod over_time;
pub(crate) mod progress;
pub(crate) mod server;
pub(crate) mod table;
pub(crate) mod validity;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::check::nearest::{NEAR_K, NearPoses};
use crate::check::states::StateFigures;
use crate::check::times::Times;
use crate::faults::Distortion;
use crate::load::channel::Channel;
use crate::load::profile::Traffic;
use channels::{Channels, Latency};
use over_time::OverTime;
use server::ServerFigures;

/// Version of the report's format.
pub(crate) const SCHEMA: u32 = 1;

/// The figures of a run. Times are in ms unless the name says otherwise; counters cover the
/// measured window. A figure that could not be measured is `None`, never 0.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) valid: bool,
    pub(crate) invalid_reasons: Vec<String>,
    /// The causes of `invalid_reasons`, in the same order.
    #[serde(skip)]
    pub(crate) invalid_causes: Vec<InvalidCause>,
    /// How received messages were distorted on purpose, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distortion: Option<DistortionFigures>,
    /// Remarks that do not make the run invalid.
    pub(crate) notes: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) profile: String,
    pub(crate) network: String,
    /// The server's setting `tick`; `unknown` if this run did not start the server.
    pub(crate) tick: String,
    pub(crate) headsets: u64,
    pub(crate) rooms: u64,
    /// The headsets in a room. The last room may have fewer.
    pub(crate) room_size: u64,
    /// The poses a second from each headset.
    pub(crate) pose_hz: f64,
    pub(crate) duration_s: f64,
    /// The messages that were compared with what their sender sent, byte for byte, as a share of
    /// the messages that arrived; `None` if none arrived.
    pub(crate) verified_share: Option<f64>,
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
    pub(crate) line: LineFigures,
    /// The figures over time, if they were recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) over_time: Option<OverTime>,
    pub(crate) generator: GeneratorFigures,
    pub(crate) server: ServerFigures,
    /// The errors of failed joins, and how often each occurred.
    #[serde(skip)]
    pub(crate) join_errors: BTreeMap<String, u64>,
}

/// The cause of a run that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidCause {
    /// The generator could not offer the load, or not measure it.
    Generator,
    /// The server ended or did not answer any more.
    ServerGone,
    /// The server did not admit headsets, or ended their sessions.
    Server,
    /// A signal, an option, or something else that does not depend on the load.
    Other,
}

/// The messages that the run distorted, to test the load generator itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DistortionFigures {
    pub(crate) how: Distortion,
    pub(crate) messages: u64,
}

/// The number of joins, and the time that they took. The time counts from the moment at which a
/// join was due by its schedule, so that a generator that starts joins late cannot hide a delay.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Joins {
    pub(crate) attempted: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
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
    /// Headsets that knew their round-trip time 5 s after the last fault, from a sample that arrived
    /// after the fault.
    pub(crate) round_trips: u64,
    /// The round-trip times that these headsets measured.
    pub(crate) round_trip_ms: Latency,
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
    /// The time from when a late joiner's join was due until it had both the complete roster and the
    /// complete state.
    pub(crate) whole_ms: Latency,
    /// Realtime messages that late joiners received.
    pub(crate) messages_received: u64,
    /// The messages among them that no headset of the room sent with these bytes.
    pub(crate) messages_corrupt: u64,
    /// The messages among them that carry the slot of nobody who sends.
    pub(crate) messages_misrouted: u64,
    /// The poses that arrived at the late joiner with the fewest, as a share of those that it should
    /// have received from 1 s after its join to the end of the window; `None` if no late joiner
    /// stayed so long.
    pub(crate) least_pose_share: Option<f64>,
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
    /// The time until a user reached its room, from the moment at which all users began.
    pub(crate) met_ms: Latency,
    /// Rooms that these users reached.
    pub(crate) rooms: u64,
    /// Users in the smallest of these rooms; `None` if nobody reached a room.
    pub(crate) smallest: Option<u64>,
    /// Users in the largest of these rooms; `None` if nobody reached a room.
    pub(crate) largest: Option<u64>,
}

/// The headsets that no fault affected.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Others {
    /// Share of the headsets that the fault affected.
    pub(crate) share: f64,
    /// The latency of poses between two headsets that no fault affected.
    pub(crate) pose_latency_ms: Latency,
}

/// The share of the poses from the nearest seats that receivers received.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Interest {
    /// The number of seats that count as near.
    pub(crate) near_k: u64,
    /// The share that arrived of the poses expected from the `near_k` nearest seats; `None` if none
    /// were expected.
    pub(crate) near_full_rate: Option<f64>,
}

/// What the realtime datagrams need of a line, with the headers of UDP and IP, as means over the
/// window. Up is from the headsets to the server. Sessions are not contained: they need little, unless
/// headsets are on the fallback. `None` if the window has no length.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LineFigures {
    /// Mbit/s of all headsets together.
    pub(crate) up_mbit_s: Option<f64>,
    pub(crate) down_mbit_s: Option<f64>,
    /// kbit/s, the mean of all headsets.
    pub(crate) up_kbit_s_per_headset: Option<f64>,
    pub(crate) down_kbit_s_per_headset: Option<f64>,
}

/// The generator's machine, its own CPU time, delays and losses.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GeneratorFigures {
    /// The generator's version.
    pub(crate) version: &'static str,
    /// The name of the machine's processor, `unknown` if the system does not tell.
    pub(crate) cpu_model: String,
    pub(crate) cpu_s: Option<f64>,
    /// CPU time as a number of cores: 1 is one core all the time.
    pub(crate) cpu_cores: Option<f64>,
    /// The cores that the generator may use.
    pub(crate) cores: u64,
    /// The time from when a message was due until it was sent, 99th percentile; `None` if no
    /// message was sent.
    pub(crate) send_lag_p99_ms: Option<f64>,
    /// Realtime datagrams received.
    pub(crate) datagrams_in: u64,
    /// Datagrams that our own sockets dropped because a buffer was full. Their messages count as
    /// lost. `None` if the system does not tell.
    pub(crate) kernel_drops: Option<u64>,
}

impl Report {
    /// Returns an empty report with the parts that a run of this traffic fills.
    pub(crate) fn of(traffic: &Traffic) -> Self {
        let channels = Channels::of(traffic);
        let interest = traffic.interest.then(Interest::default);
        let state = traffic.has(Channel::Object).then(StateFigures::default);
        Report { channels, interest, state, ..Report::new() }
    }

    /// Returns an empty report with every part that a report can have.
    pub(crate) fn full() -> Self {
        Report {
            channels: Channels::full(),
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
        Report { schema: SCHEMA, valid: true, ..Report::default() }
    }

    /// Marks the run as invalid, with a reason and its cause.
    pub(crate) fn invalidate(&mut self, cause: InvalidCause, reason: impl Into<String>) {
        self.valid = false;
        self.invalid_causes.push(cause);
        self.invalid_reasons.push(reason.into());
    }
}

impl LineFigures {
    /// Returns the figures of a window of `duration_s` seconds, in which `headsets` headsets sent and
    /// received this many bytes.
    pub(crate) fn new(bytes_up: u64, bytes_down: u64, headsets: u64, duration_s: f64) -> Self {
        let bits_s = |bytes: u64| (duration_s > 0.0).then(|| bytes as f64 * 8.0 / duration_s);
        let each = |bits_s: f64| bits_s / 1e3 / headsets.max(1) as f64;
        let [up, down] = [bytes_up, bytes_down].map(bits_s);
        LineFigures {
            up_mbit_s: up.map(|bits_s| bits_s / 1e6),
            down_mbit_s: down.map(|bits_s| bits_s / 1e6),
            up_kbit_s_per_headset: up.map(each),
            down_kbit_s_per_headset: down.map(each),
        }
    }
}

impl Joins {
    /// Returns the figures of `attempted` joins. `joins` has the times of those that succeeded, µs.
    pub(crate) fn new(attempted: u64, joins: &Times) -> Self {
        let Latency { p50, p99, .. } = Latency::new(joins);
        let ok = joins.len();
        Joins { attempted, ok, failed: attempted.saturating_sub(ok), p50_ms: p50, p99_ms: p99 }
    }
}

impl Interest {
    pub(crate) fn new(near: NearPoses) -> Self {
        let near_full_rate = share(near.delivered, near.expected);
        Interest { near_k: NEAR_K as u64, near_full_rate }
    }
}

/// Converts µs to ms.
pub(crate) fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// Returns a share of 0 to 1; `None` if there is nothing to share.
fn share(part: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| part as f64 / total as f64)
}
