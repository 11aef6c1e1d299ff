//! Computes the report from the measurements of all threads.

use std::thread;

use super::channels::{ChannelReport, Latency, PoseChannel};
use super::measurements::{Findings, RealtimeTotals};
use super::server::ServerWatch;
use super::validity;
use super::{GeneratorFigures, Interest, Joins, Others, Recovery, Report, Sessions};
use crate::check::outcome::WorkerOutcome;
use crate::check::tally::Tally;
use crate::check::times;
use crate::load::channel::Channel;
use crate::load::plan::Plan;

/// Largest number of different problems that the report lists.
pub(crate) const NAMED_PROBLEMS: usize = 5;

/// Completes `report`, which already names the run's profile and network.
pub(crate) fn figures(
    mut report: Report,
    plan: &Plan,
    findings: Findings,
    outcomes: Vec<thread::Result<WorkerOutcome>>,
    watch: ServerWatch,
) -> Report {
    let total = RealtimeTotals::of(outcomes);
    let mut arrivals = total.arrivals;
    arrivals.merge(findings.arrivals);
    report.verified_share = arrivals.verified_share();
    report.seed = plan.seed;
    report.headsets = plan.headsets.into();
    report.rooms = plan.rooms().into();
    report.duration_s = findings.duration_s;
    report.joins = joins(&findings);
    report.sessions = Sessions {
        lost: findings.lost_sessions,
        resumed: findings.resumed,
        rejoined: findings.rejoined,
        on_fallback: total.on_fallback,
        fallbacks: total.fallbacks,
        fell: total.fell_back,
        moved: total.moved,
    };
    report.recovery = plan.has_faults.then(|| recovery(&findings, &total));
    report.others = (plan.fault_share > 0.0).then(|| Others {
        share: plan.fault_share,
        pose_latency_ms: Latency::new(&total.unaffected_latency),
    });
    report.storm.clone_from(&findings.storms);
    report.late_joiners.clone_from(&findings.late_joiners);
    report.calls.clone_from(&findings.calls);
    channels(&mut report, &findings, &total);
    if let Some(state) = &mut report.state {
        *state = findings.state.clone();
    }
    report.generator = GeneratorFigures {
        cpu_s: findings.own_cpu_s,
        send_lag_p99_ms: Latency::new(&total.send_lag).p99,
        datagrams_in: total.datagrams_in,
        kernel_drops: total.kernel_drops,
    };
    report.server = watch.figures();
    report.notes.extend(watch.replaced().map(str::to_owned));
    let problems = findings.problems.iter().take(NAMED_PROBLEMS);
    report.notes.extend(problems.map(|(text, count)| format!("{count} x {text}")));
    report.join_errors.clone_from(&findings.join_errors);
    validity::check(&mut report, plan, &findings, &total, &watch);
    report
}

fn recovery(findings: &Findings, total: &RealtimeTotals) -> Recovery {
    let rejoins = findings.rejoins.clone().unwrap_or_else(times::histogram);
    Recovery {
        back: total.realtime_back.len(),
        back_ms: Latency::new(&total.realtime_back),
        rejoins: rejoins.len(),
        rejoin_ms: Latency::new(&rejoins),
        round_trips: total.round_trips.len(),
        round_trip_ms: Latency::new(&total.round_trips),
        rosters_right: findings.rosters.right,
        rosters_wrong: findings.rosters.wrong,
    }
}

fn channels(report: &mut Report, findings: &Findings, total: &RealtimeTotals) {
    let Report { channels, interest, notes, .. } = report;
    channels.pose = PoseChannel::new(realtime_channel(total, notes, Channel::Pose), total.gaps);
    channels.voice = realtime_channel(total, notes, Channel::Voice);
    let events = findings.events.clone().unwrap_or_else(Tally::new);
    channels.event = channel_figures(notes, "event", &events);
    if let Some(object) = &mut channels.object {
        *object = realtime_channel(total, notes, Channel::Object);
    }
    if let Some(pointer) = &mut channels.pointer {
        *pointer = realtime_channel(total, notes, Channel::Pointer);
    }
    if let Some(interest) = interest {
        *interest = Interest::new(total.near_poses);
    }
}

fn joins(findings: &Findings) -> Joins {
    let times = findings.joins.clone().unwrap_or_else(times::histogram);
    let ok = findings.joined;
    let failed = findings.attempted.saturating_sub(ok);
    Joins { ok, failed, ..Joins::new(findings.attempted, &times) }
}

/// Returns the figures of a realtime channel.
fn realtime_channel(
    total: &RealtimeTotals,
    notes: &mut Vec<String>,
    channel: Channel,
) -> ChannelReport {
    let tally = &total.channels[channel as usize];
    let age_ms = channel.has_age().then(|| Latency::new(tally.ages.samples()));
    ChannelReport { age_ms, ..channel_figures(notes, channel.name(), tally) }
}

/// Returns a channel's figures. Adds a note if the server's counts of withheld messages had to be
/// reduced.
fn channel_figures(notes: &mut Vec<String>, name: &str, tally: &Tally) -> ChannelReport {
    let (channel, cut) = ChannelReport::new(tally);
    if cut {
        notes.push(format!(
            "{name}: {} delivered, {} superseded and {} suppressed of {} expected; the server's own \
             counts, estimated at the window's start, were reduced",
            tally.delivered, tally.superseded, tally.suppressed, tally.expected
        ));
    }
    channel
}
