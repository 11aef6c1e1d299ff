//! One run, from the first join to the report.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use nucleus_loadgen::embedded::{Embedded, EmbeddedError, ServerEnd};
use nucleus_net::{Clock, process_cpu_seconds, sleep_until};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::args::RunArgs;
use crate::check::events::EventLedger;
use crate::check::outcome::WorkerOutcome;
use crate::check::rosters::RosterLedger;
use crate::check::session_log::SessionLog;
use crate::check::states::StateLedger;
use crate::drive::calls::CallLoad;
use crate::drive::context::RunContext;
use crate::drive::late_joiners::LateJoiners;
use crate::drive::server_target::{ServerTarget, TargetError};
use crate::drive::sessions;
use crate::drive::storms::Storms;
use crate::drive::tasks::join_all;
use crate::drive::worker::Worker;
use crate::faults::{Fault, FaultPlan};
use crate::load::plan::Plan;
use crate::report::figures::figures;
use crate::report::measurements::Findings;
use crate::report::progress::Ticker;
use crate::report::server::ServerWatch;
use crate::report::validity;
use crate::report::{Report, Sessions};
use crate::shared::{EVENT_WAIT, REALTIME_WAIT, RunProgress, RunShared, Window};
use crate::signals::Signals;

/// The time between the last join and the window, µs.
const SETTLE: u64 = 2_000_000;
/// The time for joins to complete after the ramp, µs. Joins that have not completed by then have
/// failed.
const JOIN_WAIT: u64 = 15_000_000;
/// Extra wait after [`REALTIME_WAIT`] for the server's last report, µs. An active link reports once
/// a second, and a bad network delays the report.
const REPORT_WAIT: u64 = 300_000;
/// Longest time for all headsets to have an answer of the server and to leave. A thousand headsets
/// need one or two seconds.
const LEAVE_TIME: Duration = Duration::from_secs(10);
/// File descriptors that the run needs in addition to two for each headset.
const SPARE_FILES: u64 = 200;

/// The error of a run that produces no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{headsets} headsets need {needed} open files, the limit is {limit}: raise ulimit -n")]
    Files { headsets: u32, needed: u64, limit: u64 },
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    #[error("no headset could join: {0}")]
    NobodyJoined(String),
}

/// Runs the load and returns the report. Faults kill only a server that this run started. A signal
/// ends the run early.
///
/// # Errors
///
/// If the run cannot start, or no headset can join.
pub(crate) fn run(
    args: &RunArgs,
    faults: FaultPlan,
    signals: &Arc<Signals>,
) -> Result<Report, RunError> {
    let plan = Arc::new(args.plan(faults, Clock::new().now()));
    raise_file_limit(&plan)?;
    let mut embedded = None;
    let target = match &args.server.target {
        Some(host_port) => ServerTarget::given(host_port, &args.server)?,
        None => {
            let tick = args.server.tick.as_deref();
            let server = embedded.insert(Embedded::start(args.server.shards, tick)?);
            ServerTarget::embedded(server)?
        }
    };
    target.tokens.check(plan.headsets)?;
    let mut run = Run::start(plan, target, embedded, args.ramp, signals.clone())?;
    run.ramp(args.ramp)?;
    run.measure(args.duration);
    run.wait_for_late_messages();
    Ok(run.finish(args))
}

/// Raises the limit of open files to what the run needs. A user that calls or looks for a room has
/// two sessions, the social session and one in a room.
///
/// # Errors
///
/// If the limit is too low and cannot be raised.
fn raise_file_limit(plan: &Plan) -> Result<(), RunError> {
    let headsets = plan.headsets + plan.faults.late_joiners() + 2 * plan.faults.callers();
    let needed = 2 * u64::from(headsets) + SPARE_FILES;
    // If the limit is unknown, go on: opening a socket fails if the limit is too low.
    let limit = nucleus_net::raise_file_limit().unwrap_or(u64::MAX);
    if limit < needed { Err(RunError::Files { headsets, needed, limit }) } else { Ok(()) }
}

/// A run in progress.
struct Run {
    plan: Arc<Plan>,
    shared: Arc<RunShared>,
    context: Arc<RunContext>,
    runtime: Runtime,
    sessions: Vec<tokio::task::JoinHandle<()>>,
    workers: Vec<JoinHandle<WorkerOutcome>>,
    /// A signal ends the measurement.
    signals: Arc<Signals>,
    ticker: Ticker,
    watch: ServerWatch,
    /// When the server's figures are read next for the figures over time, µs.
    next_sample: u64,
    findings: Findings,
    /// The storms; `None` if the script has none.
    storms: Option<Storms>,
    /// The late joiners; `None` if the script has none.
    late_joiners: Option<LateJoiners>,
    /// The calls and matches; `None` if the script has none.
    calls: Option<CallLoad>,
    /// The server, which is dropped last, after all of its clients.
    embedded: Option<Embedded>,
}

impl Run {
    fn start(
        plan: Arc<Plan>,
        target: ServerTarget,
        embedded: Option<Embedded>,
        ramp: Duration,
        signals: Arc<Signals>,
    ) -> Result<Self, RunError> {
        let shared = Arc::new(RunShared::new(plan.faults.realtime_blocked));
        let start_worker = |number| Worker::start(number, &plan, &shared);
        let (commands, workers) = (0..plan.workers).map(start_worker).collect::<io::Result<_>>()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads((cores / 2).clamp(1, 4))
            .thread_name("sessions")
            .enable_all()
            .build()?;
        let watch = ServerWatch::new(target.http.clone(), target.pid);
        let context = Arc::new(RunContext {
            events: EventLedger::new(&plan),
            states: StateLedger::new(&plan),
            plan: plan.clone(),
            shared: shared.clone(),
            target,
            workers: commands,
            log: SessionLog::default(),
            asks_before_leave: AtomicBool::new(true),
            leave: watch::Sender::new(false),
            process_kills: watch::Sender::new(0),
            roster_requests: watch::Sender::new(0),
            rosters: RosterLedger::default(),
        });
        let sessions = runtime.block_on(sessions::start(&context, ramp));
        let faults = &plan.faults;
        let storms = faults.storms().then(|| Storms::new(context.clone())).transpose()?;
        let joins_late = faults.late_joiners() > 0;
        let late_joiners = joins_late.then(|| LateJoiners::new(context.clone())).transpose()?;
        let calls = (faults.callers() > 0).then(|| CallLoad::new(context.clone())).transpose()?;
        Ok(Run {
            plan,
            ticker: Ticker::new(shared.clone()),
            shared,
            context,
            runtime,
            sessions,
            workers,
            signals,
            watch,
            next_sample: u64::MAX,
            findings: Findings::default(),
            storms,
            late_joiners,
            calls,
            embedded,
        })
    }

    /// Waits until every headset has joined or has failed to join.
    ///
    /// # Errors
    ///
    /// If no headset joined.
    fn ramp(&mut self, ramp: Duration) -> Result<(), RunError> {
        let deadline = self.now() + ramp.as_micros() as u64 + JOIN_WAIT;
        let all = u64::from(self.plan.headsets);
        let settled = |progress: &RunProgress| {
            progress.joined.load(Relaxed) + progress.failed.load(Relaxed) >= all
        };
        self.wait("joining", deadline, |run| settled(&run.shared.progress));
        let joined = self.shared.progress.joined.load(Relaxed);
        self.findings.joined = joined;
        if joined == 0 && !self.interrupted() {
            let problems = self.context.log.figures().problems;
            let most_frequent = problems.into_iter().max_by_key(|(_, count)| *count);
            let why = most_frequent.map_or_else(|| "no answer in time".into(), |(text, _)| text);
            return Err(RunError::NobodyJoined(why));
        }
        Ok(())
    }

    /// Measures over the window.
    fn measure(&mut self, duration: Duration) {
        let start = self.now() + SETTLE;
        let end = start + duration.as_micros() as u64;
        self.shared.open_window(Window { start, end });
        self.wait("settling", start, |_| false);
        let cpu_before = process_cpu_seconds(None).ok();
        self.watch.begin();
        self.next_sample = start;
        self.measure_until(start, end);
        // The last slot may be a short one.
        if self.plan.time_slots.length > 0 && !self.interrupted() {
            self.watch.sample_at(self.now());
        }
        let cpu_after = process_cpu_seconds(None).ok();
        self.findings.own_cpu_s = cpu_before.zip(cpu_after).map(|(before, after)| after - before);
        self.watch.end();
        if self.interrupted() {
            self.shared.cut_window();
        }
        let window = self.shared.window();
        self.findings.duration_s = window.end.saturating_sub(window.start) as f64 / 1e6;
    }

    /// Waits from `start` to `end` (µs) and causes the faults of the script.
    fn measure_until(&mut self, start: u64, end: u64) {
        for (after, fault) in self.plan.clone().faults.script.iter().copied() {
            self.wait("measuring", start + after.as_micros() as u64, |_| false);
            if self.interrupted() {
                return;
            }
            self.start_fault(fault);
        }
        self.wait("measuring", end, |_| false);
    }

    fn start_fault(&mut self, fault: Fault) {
        let (storms, late_joiners) = (self.storms.iter_mut(), self.late_joiners.iter_mut());
        let calls = self.calls.iter_mut();
        match fault {
            Fault::JoinStorm(joins) => storms.for_each(|storms| storms.start(joins)),
            Fault::AddObjects(objects) => late_joiners.for_each(|late| late.add_objects(objects)),
            Fault::LateJoiners(count, span) => late_joiners.for_each(|late| late.add(count, span)),
            Fault::Match(count) => calls.for_each(|calls| calls.match_up(count)),
            Fault::Calls(pairs) => calls.for_each(|calls| calls.call(pairs)),
            Fault::CollectRosters => self.context.roster_requests.send_modify(|count| *count += 1),
            Fault::RestartServer => self.restart_server(),
            Fault::PauseServer(on) => {
                if let Some(Err(error)) = self.embedded.as_ref().map(|server| server.pause(on)) {
                    let failure = format!("cannot pause the server: {error}");
                    self.findings.fault_failed = Some(failure);
                }
                self.shared.faults.apply(self.now(), fault);
            }
            Fault::Outage(starts) => {
                self.shared.faults.apply(self.now(), fault);
                if starts {
                    self.context.process_kills.send_modify(|count| *count += 1);
                }
            }
            Fault::BlockRealtime(_) | Fault::Move => self.shared.faults.apply(self.now(), fault),
        }
    }

    /// Kills the server that this run started, and starts it again.
    fn restart_server(&mut self) {
        let Some(server) = &mut self.embedded else { return };
        let killed = self.shared.clock.now();
        match server.restart() {
            Ok(()) => self.watch.follow(server.pid()),
            Err(error) => {
                let how = error.to_string();
                self.findings.server_end = Some(ServerEnd { how, last_lines: Vec::new() });
            }
        }
        // The fault ends with the kill: from that moment the clients wait for a server.
        self.shared.faults.apply(killed, Fault::RestartServer);
    }

    /// Waits for messages that are still on their way: 1 s for realtime messages, up to 10 s for
    /// events.
    fn wait_for_late_messages(&mut self) {
        let end = self.shared.window().end;
        self.wait("waiting", end + REALTIME_WAIT + REPORT_WAIT, |_| false);
        let complete = |run: &Run| run.context.events.complete() && run.context.states.settled();
        self.wait("waiting for events", end + EVENT_WAIT, complete);
    }

    fn finish(mut self, args: &RunArgs) -> Report {
        self.shared.finish();
        let outcomes: Vec<_> = self.workers.drain(..).map(JoinHandle::join).collect();
        self.look_at_server();
        let last = outcomes.iter().flatten().map(|outcome| outcome.messages.arrivals.last).max();
        let window = self.shared.window();
        self.findings.silence = validity::silence(&self.plan, window, last.unwrap_or(0));
        let progress = &self.shared.progress;
        // Count the lost sessions before the headsets leave.
        let lost_with = |server_has_ended| progress.lost_sessions(server_has_ended);
        let (lost_with_server, lost) = (lost_with(true), lost_with(false));
        let sessions = Sessions {
            resumed: progress.resumed.load(Relaxed),
            rejoined: progress.rejoined.load(Relaxed),
            ..Sessions::default()
        };
        self.findings.events = self.context.events.tally();
        self.findings.scheduled_events = self.context.events.scheduled(window);
        self.findings.arrivals.merge(self.context.events.arrivals());
        let mut report = Report {
            profile: args.profile.name(),
            network: args.network.name.clone(),
            tick: args.server.tick().to_owned(),
            sessions,
            storm: self.storms.take().map(Storms::end),
            ..Report::of(&self.plan.traffic)
        };
        self.leave();
        let progress = &self.shared.progress;
        self.findings.asked = progress.asked.load(Relaxed);
        self.findings.answered = progress.answered.load(Relaxed);
        self.findings.overflow = progress.overflow.load(Relaxed);
        let is_gone = self.findings.server_is_gone();
        report.sessions.lost = if is_gone { lost_with_server } else { lost };
        self.ticker.end();
        if let Some(late_joiners) = self.late_joiners.take() {
            let (late_joiners, links) = late_joiners.end();
            report.late_joiners = Some(late_joiners);
            self.findings.late_unsent = links.unsent;
            self.findings.arrivals.merge(links.arrivals);
        }
        report.calls = self.calls.take().map(CallLoad::end);
        report.state = report.state.map(|_| self.context.states.figures());
        self.findings.sessions = self.context.log.figures();
        self.findings.interrupted = self.signals.first();
        let report = figures(report, &self.plan, self.findings, outcomes, self.watch);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        report
    }

    /// Lets all headsets leave, and waits for them.
    fn leave(&mut self) {
        self.context.asks_before_leave.store(!self.interrupted(), Relaxed);
        self.context.leave.send_replace(true);
        let sessions = std::mem::take(&mut self.sessions);
        self.runtime.block_on(join_all(sessions, LEAVE_TIME));
        self.look_at_server();
    }

    /// Waits until `deadline` (µs), until `done`, until a signal, or until the server's end.
    fn wait(&mut self, phase: &str, deadline: u64, done: impl Fn(&Run) -> bool) {
        while self.now() < deadline && !done(self) && !self.interrupted() {
            self.look_at_server();
            self.sample_due(self.now());
            self.ticker.tick(phase);
            sleep_until(deadline.min(self.now() + 50_000));
        }
    }

    /// Reads the server's figures at the end of each slot of the window, if figures over time are
    /// recorded.
    fn sample_due(&mut self, now: u64) {
        let length = self.plan.time_slots.length;
        if length > 0 && now >= self.next_sample && self.next_sample < self.shared.window().end {
            self.next_sample += length;
            self.watch.sample_at(self.now());
        }
    }

    /// Notices the server's end.
    fn look_at_server(&mut self) {
        if self.findings.server_end.is_none() {
            self.findings.server_end = match &mut self.embedded {
                Some(server) => server.end(),
                None => self.watch.is_gone().then(|| ServerEnd {
                    how: "its process is gone".into(),
                    last_lines: Vec::new(),
                }),
            };
        }
    }

    /// Returns whether the run must not measure any further.
    fn interrupted(&self) -> bool {
        self.signals.first().is_some() || self.findings.server_end.is_some()
    }

    fn now(&self) -> u64 {
        self.shared.clock.now()
    }
}
