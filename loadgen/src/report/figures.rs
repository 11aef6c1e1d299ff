//! Computes the report from the measurements of all threads.

use std::thread;

use super::channels::{ChannelReport, Latency, PoseChannel};
use super::measurements::Findings;
use super::over_time::OverTime;
use super::server::{ServerWatch, cores_of};
use super::validity;
use super::{
    DistortionFigures, GeneratorFigures, Interest, Joins, LineFigures, Others, Recovery, Report,
};
use crate::check::outcome::{MessageCounts, SocketCounts, WorkerOutcome};
use crate::check::tally::Tally;
use crate::load::channel::Channel;
use crate::load::plan::Plan;

/// Largest number of different problems that the report lists.
pub(crate) const NAMED_PROBLEMS: usize = 5;

/// Completes `report`, which already has the run's profile and network, the sessions that were lost
/// and came back, and the figures of what is beside the headsets' messages.
pub(crate) fn figures(
    mut report: Report,
    plan: &Plan,
    findings: Findings,
    outcomes: Vec<thread::Result<WorkerOutcome>>,
    watch: ServerWatch,
) -> Report {
    let total = WorkerOutcome::sum(outcomes);
    let mut arrivals = total.messages.arrivals;
    arrivals.merge(findings.arrivals);
    report.verified_share = arrivals.verified_share();
    report.seed = plan.seed;
    report.headsets = plan.headsets.into();
    report.rooms = plan.rooms().into();
    report.room_size = plan.room_size.into();
    report.pose_hz = plan.traffic.hz(Channel::Pose);
    report.duration_s = findings.duration_s;
    let attempted = report.headsets;
    report.joins = Joins {
        ok: findings.joined,
        failed: attempted.saturating_sub(findings.joined),
        ..Joins::new(attempted, &findings.sessions.joins)
    };
    report.sessions.on_fallback = total.on_fallback;
    report.sessions.fallbacks = total.fallbacks;
    report.sessions.fell = total.fell_back;
    report.sessions.moved = total.moved;
    report.recovery = plan.faults.breaks().then(|| recovery(&findings, &total));
    report.others = (plan.faults.fault_share > 0.0).then(|| Others {
        share: plan.faults.fault_share,
        pose_latency_ms: Latency::new(&total.messages.unaffected_latency),
    });
    let messages = total.messages.distorted;
    report.distortion = plan.distortion.map(|how| DistortionFigures { how, messages });
    channels(&mut report, &findings.events, &total.messages);
    report.over_time = OverTime::new(
        plan.time_slots,
        (findings.duration_s * 1e6) as u64,
        &total,
        &watch.over_time(),
    );
    let SocketCounts { bytes_in, bytes_out, .. } = total.sockets;
    report.line = LineFigures::new(bytes_out, bytes_in, report.headsets, report.duration_s);
    if report.sessions.fallbacks > 0 || report.sessions.on_fallback > 0 {
        report.notes.push(
            "the Mbit/s do not contain what headsets on the fallback sent and received".to_owned(),
        );
    }
    report.generator = GeneratorFigures {
        version: env!("CARGO_PKG_VERSION"),
        cpu_model: cpu_model(),
        cpu_s: findings.own_cpu_s,
        cpu_cores: findings.own_cpu_s.and_then(|cpu_s| cores_of(cpu_s, report.duration_s)),
        cores: thread::available_parallelism().map_or(1, usize::from) as u64,
        send_lag_p99_ms: Latency::new(&total.messages.send_lag).p99,
        datagrams_in: total.sockets.datagrams_in,
        kernel_drops: total.kernel_drops,
    };
    report.server = watch.figures(report.duration_s);
    report.notes.extend(watch.replaced().map(str::to_owned));
    let problems = findings.sessions.problems.iter().take(NAMED_PROBLEMS);
    report.notes.extend(problems.map(|(text, count)| format!("{count} x {text}")));
    report.join_errors.clone_from(&findings.sessions.join_errors);
    validity::check(&mut report, plan, &findings, &total, &watch);
    report
}

/// Returns the name of the machine's processor; `unknown` if the system does not tell.
fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or("unknown", |(_, name)| name.trim()).to_owned()
}

fn recovery(findings: &Findings, total: &WorkerOutcome) -> Recovery {
    let sessions = &findings.sessions;
    Recovery {
        back: total.realtime_back.len(),
        back_ms: Latency::new(&total.realtime_back),
        rejoins: sessions.rejoins.len(),
        rejoin_ms: Latency::new(&sessions.rejoins),
        round_trips: total.round_trips.len(),
        round_trip_ms: Latency::new(&total.round_trips),
        rosters_right: sessions.rosters_right,
        rosters_wrong: sessions.rosters_wrong,
    }
}

fn channels(report: &mut Report, events: &Tally, total: &MessageCounts) {
    let Report { channels, interest, notes, .. } = report;
    let realtime = |notes: &mut Vec<String>, channel: Channel| {
        let tally = &total.channels[channel as usize];
        let age_ms = channel.has_age().then(|| Latency::new(tally.ages.samples()));
        ChannelReport { age_ms, ..channel_figures(notes, channel.name(), tally) }
    };
    channels.pose = PoseChannel::new(realtime(notes, Channel::Pose), total.gaps);
    channels.voice = realtime(notes, Channel::Voice);
    channels.event = channel_figures(notes, "event", events);
    if let Some(object) = &mut channels.object {
        *object = realtime(notes, Channel::Object);
    }
    if let Some(pointer) = &mut channels.pointer {
        *pointer = realtime(notes, Channel::Pointer);
    }
    if let Some(interest) = interest {
        *interest = Interest::new(total.near_poses);
    }
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
