//! Computes the report from the measurements of all threads, and decides whether the run is valid.

use std::collections::BTreeMap;
use std::thread;

use hdrhistogram::Histogram;
use nucleus_net::{process_cpu_seconds, process_rss_bytes};

use super::metrics::Counters;
use crate::check::gaps::Gaps;
use crate::check::nearest::NearPoses;
use crate::check::outcome::WorkerOutcome;
use crate::check::session_log::RosterCounts;
use crate::check::states::StateFigures;
use crate::check::tally::{self, Tally};
use crate::load::channel::Channel;
use crate::load::plan::Plan;
use crate::report::{
    self, GeneratorFigures, Interest, Joins, Latency, Others, PoseChannel, Recovery, Report,
    ServerFigures, Sessions, ms,
};

/// The largest valid send lag at p99, ms. Above it, latencies measure the generator, not the
/// server.
const MAX_LAG_P99: f64 = 5.0;
/// The smallest valid share of the requested load.
const MIN_OFFERED: f64 = 0.97;
/// The largest valid share of datagrams that our own kernel drops.
const MAX_OWN_DROPS: f64 = 0.001;
/// Largest number of different problems that the report lists.
pub(crate) const NAMED_PROBLEMS: usize = 5;

/// The measurements of a run, without those of the realtime threads.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) attempted: u64,
    pub(crate) joined: u64,
    pub(crate) lost_sessions: u64,
    /// Session datagrams that were dropped because a realtime thread's queue was full.
    pub(crate) overflow: u64,
    pub(crate) resumed: u64,
    pub(crate) rejoined: u64,
    /// The times from the end of the last fault until headsets had a session again, µs.
    pub(crate) rejoins: Option<Histogram<u64>>,
    /// The headsets' rosters at the end.
    pub(crate) rosters: RosterCounts,
    pub(crate) duration_s: f64,
    pub(crate) own_cpu_s: f64,
    pub(crate) interrupted: bool,
    pub(crate) server_died: Option<String>,
    pub(crate) events: Option<Tally>,
    pub(crate) state: StateFigures,
    pub(crate) joins: Option<Histogram<u64>>,
    pub(crate) problems: BTreeMap<String, u64>,
    /// The problems that kept clients from joining.
    pub(crate) join_errors: BTreeMap<String, u64>,
    pub(crate) storms: Option<Joins>,
    pub(crate) late_joiners: Option<report::LateJoinersReport>,
    pub(crate) calls: Option<report::CallsReport>,
}

/// Reads the server's process and counters at the start and at the end of the window.
pub(crate) struct ServerWatch {
    http: Option<String>,
    pid: Option<u32>,
    before: ServerSample,
    after: ServerSample,
}

/// The server's process and counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct ServerSample {
    cpu_s: Option<f64>,
    rss: Option<u64>,
    counters: Option<Counters>,
}

impl ServerWatch {
    pub(crate) fn new(http: Option<String>, pid: Option<u32>) -> Self {
        ServerWatch { http, pid, before: ServerSample::default(), after: ServerSample::default() }
    }

    /// Reads the sample at the start of the window.
    pub(crate) fn begin(&mut self) {
        self.before = self.sample();
    }

    /// Reads the sample at the end of the window.
    pub(crate) fn end(&mut self) {
        self.after = self.sample();
    }

    fn sample(&self) -> ServerSample {
        ServerSample {
            cpu_s: self.pid.and_then(|pid| process_cpu_seconds(Some(pid)).ok()),
            rss: self.pid.and_then(|pid| process_rss_bytes(Some(pid)).ok()),
            counters: self.http.as_deref().and_then(|http| Counters::read(http).ok()),
        }
    }

    fn figures(&self) -> ServerFigures {
        let cpu = self.before.cpu_s.zip(self.after.cpu_s).map(|(before, after)| after - before);
        let counters = self.before.counters.zip(self.after.counters);
        let counters = counters.map(|(before, after)| after.since(&before));
        let source = match (cpu.is_some(), counters.is_some()) {
            (true, true) => "proc+metrics",
            (true, false) => "proc",
            (false, true) => "metrics",
            (false, false) => "none",
        };
        let counters = counters.unwrap_or_default();
        let server = ServerFigures {
            source: source.into(),
            cpu_s: cpu.unwrap_or(0.0),
            rss_bytes: self.after.rss.unwrap_or(0),
            datagrams_out: counters.datagrams_out,
            messages_out: counters.messages_out,
            kernel_drops: counters.kernel_drops,
            ..ServerFigures::default()
        };
        server.finish()
    }

    /// Returns an error text if figures that the command line requested could not be read.
    fn unreadable(&self) -> Option<&'static str> {
        let counters = self.before.counters.is_some() && self.after.counters.is_some();
        let cpu = self.before.cpu_s.is_some() && self.after.cpu_s.is_some();
        if self.http.is_some() && !counters {
            Some("the server's /metrics could not be read")
        } else if self.pid.is_some() && !cpu {
            Some("the server's CPU time could not be read")
        } else {
            None
        }
    }
}

/// The sums over all realtime threads.
struct RealtimeTotals {
    channels: [Tally; Channel::COUNT],
    gaps: Gaps,
    near_poses: NearPoses,
    unaffected_latency: Histogram<u64>,
    realtime_back: Histogram<u64>,
    on_fallback: u64,
    fallbacks: u64,
    fell_back: u64,
    moved: u64,
    send_lag: Histogram<u64>,
    datagrams_in: u64,
    unsent: u64,
    rejected: u64,
    kernel_drops: u64,
    open_failures: BTreeMap<String, u64>,
    dead_threads: u64,
}

impl RealtimeTotals {
    fn of(outcomes: Vec<thread::Result<WorkerOutcome>>) -> Self {
        let mut total = RealtimeTotals {
            channels: Channel::ALL.map(|_| Tally::new()),
            gaps: Gaps::default(),
            near_poses: NearPoses::default(),
            unaffected_latency: tally::histogram(),
            realtime_back: tally::histogram(),
            on_fallback: 0,
            fallbacks: 0,
            fell_back: 0,
            moved: 0,
            send_lag: tally::histogram(),
            datagrams_in: 0,
            unsent: 0,
            rejected: 0,
            kernel_drops: 0,
            open_failures: BTreeMap::new(),
            dead_threads: 0,
        };
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => total.add(outcome),
                Err(_) => total.dead_threads += 1,
            }
        }
        total
    }

    fn add(&mut self, outcome: WorkerOutcome) {
        for (total, tally) in self.channels.iter_mut().zip(&outcome.channels) {
            total.merge(tally);
        }
        self.gaps.merge(outcome.gaps);
        self.near_poses.merge(outcome.near_poses);
        // Both histograms have the same bounds, so this cannot fail.
        let _ = self.send_lag.add(&outcome.send_lag);
        let _ = self.unaffected_latency.add(&outcome.unaffected_latency);
        let _ = self.realtime_back.add(&outcome.realtime_back);
        self.on_fallback += outcome.on_fallback;
        self.fallbacks += outcome.fallbacks;
        self.fell_back += outcome.fell_back;
        self.moved += outcome.moved;
        self.datagrams_in += outcome.datagrams_in;
        self.unsent += outcome.unsent;
        self.rejected += outcome.rejected;
        self.kernel_drops += outcome.kernel_drops;
        for (reason, count) in outcome.open_failures {
            *self.open_failures.entry(reason).or_default() += count;
        }
    }

    fn channel(&self, notes: &mut Vec<String>, channel: Channel) -> report::ChannelReport {
        channel_figures(notes, channel.name(), &self.channels[channel as usize])
    }
}

/// Completes `report`, which already names the run's profile and network.
pub(crate) fn figures(
    mut report: Report,
    plan: &Plan,
    findings: Findings,
    outcomes: Vec<thread::Result<WorkerOutcome>>,
    watch: ServerWatch,
) -> Report {
    let total = RealtimeTotals::of(outcomes);
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
        cpu_s: findings.own_cpu_s.max(0.0),
        send_lag_p99_ms: ms(total.send_lag.value_at_quantile(0.99)),
        datagrams_in: total.datagrams_in,
        kernel_drops: total.kernel_drops,
    };
    report.server = watch.figures();
    report.notes.extend(watch.unreadable().map(str::to_owned));
    let problems = findings.problems.iter().take(NAMED_PROBLEMS);
    report.notes.extend(problems.map(|(text, count)| format!("{count} x {text}")));
    report.join_errors.clone_from(&findings.join_errors);
    check_validity(&mut report, plan, &findings, &total);
    report
}

fn recovery(findings: &Findings, total: &RealtimeTotals) -> Recovery {
    let rejoins = findings.rejoins.clone().unwrap_or_else(tally::histogram);
    Recovery {
        back: total.realtime_back.len(),
        back_ms: Latency::new(&total.realtime_back),
        rejoins: rejoins.len(),
        rejoin_ms: Latency::new(&rejoins),
        rosters_right: findings.rosters.right,
        rosters_wrong: findings.rosters.wrong,
    }
}

fn channels(report: &mut Report, findings: &Findings, total: &RealtimeTotals) {
    let Report { channels, interest, notes, .. } = report;
    channels.pose = PoseChannel::new(total.channel(notes, Channel::Pose), total.gaps);
    channels.voice = total.channel(notes, Channel::Voice);
    let events = findings.events.clone().unwrap_or_else(Tally::new);
    channels.event = channel_figures(notes, "event", &events);
    if let Some(object) = &mut channels.object {
        *object = total.channel(notes, Channel::Object);
    }
    if let Some(pointer) = &mut channels.pointer {
        *pointer = total.channel(notes, Channel::Pointer);
    }
    if let Some(interest) = interest {
        *interest = Interest::new(total.near_poses);
    }
}

fn joins(findings: &Findings) -> Joins {
    let at = |q: f64| findings.joins.as_ref().map_or(0.0, |j| ms(j.value_at_quantile(q)));
    Joins {
        attempted: findings.attempted,
        ok: findings.joined,
        failed: findings.attempted - findings.joined.min(findings.attempted),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    }
}

/// Returns a channel's figures. Adds a note if the server's counts of withheld messages had to be
/// reduced.
fn channel_figures(notes: &mut Vec<String>, name: &str, tally: &Tally) -> report::ChannelReport {
    let (channel, cut) = report::ChannelReport::new(tally);
    if cut {
        notes.push(format!(
            "{name}: {} delivered, {} superseded and {} suppressed of {} expected; the server's own \
             counts, estimated at the window's start, were reduced",
            tally.delivered, tally.superseded, tally.suppressed, tally.expected
        ));
    }
    channel
}

/// Marks the report as invalid, with the reasons, if the run proves nothing about the server.
fn check_validity(report: &mut Report, plan: &Plan, findings: &Findings, total: &RealtimeTotals) {
    if findings.interrupted {
        report.invalidate("interrupted before its end");
    }
    if let Some(text) = &findings.server_died {
        report.invalidate(text.clone());
    }
    if total.dead_threads > 0 {
        report.invalidate(format!("{} realtime threads failed", total.dead_threads));
    }
    for (reason, count) in &total.open_failures {
        report.invalidate(format!("{count} headsets without a realtime socket: {reason}"));
    }
    if report.joins.failed > 0 {
        let failed = report.joins.failed;
        report.invalidate(format!("{failed} of {} joins failed", report.joins.attempted));
    }
    // A headset without a session sends no messages, although its schedule continues.
    let (lost, headsets) = (report.sessions.lost, report.headsets);
    if lost as f64 > headsets as f64 * (1.0 - MIN_OFFERED) {
        report.invalidate(format!("{lost} of {headsets} sessions were lost"));
    }
    let lag = report.generator.send_lag_p99_ms;
    if lag > MAX_LAG_P99 {
        report.invalidate(format!("the generator's sends lagged by {lag:.1} ms at p99"));
    }
    // Only these channels have a fixed rate. The others have turns of random length.
    for channel in [Channel::Pose, Channel::Pointer] {
        let expected_messages =
            plan.traffic.hz(channel) * f64::from(plan.headsets) * report.duration_s;
        let sent = total.channels[channel as usize].sent;
        if (sent as f64) < MIN_OFFERED * expected_messages {
            let name = channel.name();
            report.invalidate(format!(
                "only {sent} of {expected_messages:.0} messages were sent: {name}"
            ));
        }
    }
    let datagrams = (total.datagrams_in + total.kernel_drops).max(1) as f64;
    if total.kernel_drops as f64 / datagrams > MAX_OWN_DROPS {
        let drops = total.kernel_drops;
        report.invalidate(format!("the generator's own sockets dropped {drops} datagrams"));
    }
    let messages = total.channels.iter().map(|tally| tally.sent).sum::<u64>().max(1) as f64;
    if total.unsent as f64 / messages > MAX_OWN_DROPS {
        let unsent = total.unsent;
        report.invalidate(format!("the generator's own kernel refused {unsent} datagrams"));
    }
    if findings.overflow > 0 {
        let overflow = findings.overflow;
        report.invalidate(format!("the generator's own threads dropped {overflow} datagrams"));
    }
    if total.rejected > 0 {
        report.notes.push(format!(
            "{} realtime datagrams were refused: not authentic, too old or malformed",
            total.rejected
        ));
    }
}
