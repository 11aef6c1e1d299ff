//! Decides whether a run is valid: whether it proves anything about the server.

use super::measurements::Findings;
use super::server::ServerWatch;
use super::{DistortionFigures, InvalidCause, Report};
use crate::check::outcome::WorkerOutcome;
use crate::check::tally::Tally;
use crate::faults::Distortion;
use crate::load::channel::Channel;
use crate::load::plan::Plan;
use crate::shared::Window;

/// The largest valid send lag at p99, ms. Above it, latencies measure the generator, not the
/// server.
const MAX_LAG_P99: f64 = 5.0;
/// The smallest valid share of the requested load.
pub(super) const MIN_OFFERED: f64 = 0.97;
/// The longest time at the end of a window in which nobody receives anything, µs.
const MAX_SILENCE: u64 = 2_000_000;
/// The least CPU time of a server for a message that it relays, ns. The bare relay of the benchmarks
/// needs five times as much.
const LEAST_CPU_NS: f64 = 50.0;
/// What to do if the generator was the limit.
const GENERATOR_REMEDY: &str =
    "give the generator more cores or a machine of its own, or use fewer headsets";
/// The largest valid share of datagrams that our own kernel drops.
const MAX_OWN_DROPS: f64 = 0.001;

/// Marks the report as invalid, with the reasons, if the run proves nothing about the server.
pub(super) fn check(
    report: &mut Report,
    plan: &Plan,
    findings: &Findings,
    total: &WorkerOutcome,
    watch: &ServerWatch,
) {
    if let Some(signal) = findings.interrupted {
        report.invalidate(InvalidCause::Other, format!("interrupted by {signal} before its end"));
    }
    if let Some(DistortionFigures { how, messages }) = report.distortion {
        let how = match how {
            Distortion::Drop => "lost",
            Distortion::Misroute => "given to a headset of another room",
            Distortion::Delay => "delayed by 100 ms",
        };
        let reason = format!("--distort: {messages} received messages were {how} on purpose");
        report.invalidate(InvalidCause::Other, reason);
    }
    if let Some(reason) = &findings.fault_failed {
        report.invalidate(InvalidCause::Other, reason);
    }
    if let Some(end) = &findings.server_end {
        report.invalidate(
            InvalidCause::ServerGone,
            format!("the server ended during the run: {}", end.how),
        );
        report.notes.extend(end.last_lines.iter().map(|line| format!("the server's log: {line}")));
    } else if let Some(reason) = watch.unreadable() {
        report.invalidate(InvalidCause::Other, reason);
    }
    if findings.server_end.is_none() {
        check_server_figures(report, plan, total);
    }
    let (asked, answered) = (findings.asked, findings.answered);
    if let Some(silence) = findings.silence.filter(|_| findings.server_end.is_none()) {
        report.invalidate(InvalidCause::ServerGone, format!(
            "no realtime message arrived in the last {:.1} s of the run, as if the server were gone",
            silence as f64 / 1e6
        ));
    } else if findings.is_unanswered() && findings.server_end.is_none() {
        report.invalidate(InvalidCause::ServerGone, format!(
            "none of {asked} sessions had an answer at the end of the run, as if the server were gone"
        ));
    } else if (answered as f64) < MIN_OFFERED * asked as f64 {
        report.invalidate(
            InvalidCause::Server,
            format!(
                "only {answered} of {asked} sessions had an answer at the end, less than {} %: look \
                 at the server's log",
                percent(MIN_OFFERED)
            ),
        );
    } else if answered < asked {
        let silent = asked - answered;
        report.notes.push(format!("{silent} of {asked} sessions had no answer at the end in time"));
    }
    if total.dead_threads > 0 {
        report.invalidate(
            InvalidCause::Other,
            format!("{} realtime threads failed", total.dead_threads),
        );
    }
    for (reason, count) in &total.open_failures {
        report.invalidate(
            InvalidCause::Generator,
            format!("{count} headsets without a realtime socket: {reason}"),
        );
    }
    if report.joins.failed > 0 {
        let failed = report.joins.failed;
        report.invalidate(
            InvalidCause::Server,
            format!(
                "{failed} of {} joins failed, none may: the notes say why",
                report.joins.attempted
            ),
        );
    }
    // A headset that has lost its session for good sends no messages, although its schedule
    // continues. One that has joined again as a new peer does.
    let gone = report.sessions.lost.saturating_sub(report.sessions.rejoined);
    let headsets = report.headsets;
    if gone as f64 > headsets as f64 * (1.0 - MIN_OFFERED) {
        report.invalidate(
            InvalidCause::Server,
            format!(
                "{gone} of {headsets} headsets lost their session for good, more than {} %: the notes \
                 say why",
                percent(1.0 - MIN_OFFERED)
            ),
        );
    }
    if let Some(lag) = report.generator.send_lag_p99_ms.filter(|lag| *lag > MAX_LAG_P99) {
        report.invalidate(InvalidCause::Generator, format!(
            "the generator's sends lagged by {lag:.1} ms at p99, more than {MAX_LAG_P99} ms: {GENERATOR_REMEDY}"
        ));
    }
    check_offered(report, plan, findings, total);
    let is_expected = |tally: &Tally| tally.expected > 0;
    let mut tallies = total.messages.channels.iter().chain([&findings.events]);
    if plan.traffic.sends() && !tallies.any(is_expected) {
        report.invalidate(
            InvalidCause::Other,
            "no message was to be delivered: each headset was alone, or none was due",
        );
    }
    match total.kernel_drops {
        None => report.notes.push("the generator's own lost datagrams are unknown".into()),
        Some(drops) => {
            let datagrams = (total.sockets.datagrams_in + drops).max(1) as f64;
            if drops as f64 / datagrams > MAX_OWN_DROPS {
                report.invalidate(
                    InvalidCause::Generator,
                    format!(
                        "the generator's own sockets dropped {drops} datagrams, more than {} %: {GENERATOR_REMEDY}",
                        percent(MAX_OWN_DROPS)
                    ),
                );
            }
        }
    }
    let messages =
        total.messages.channels.iter().map(|tally| tally.sent).sum::<u64>().max(1) as f64;
    let unsent = total.sockets.unsent + findings.late_unsent;
    if unsent as f64 / messages > MAX_OWN_DROPS {
        report.invalidate(
            InvalidCause::Generator,
            format!(
                "the generator's own kernel refused {unsent} datagrams, more than {} %: {GENERATOR_REMEDY}",
                percent(MAX_OWN_DROPS)
            ),
        );
    }
    if findings.overflow > 0 {
        let overflow = findings.overflow;
        report.invalidate(
            InvalidCause::Generator,
            format!(
                "the generator's own threads dropped {overflow} datagrams, none may be: {GENERATOR_REMEDY}"
            ),
        );
    }
    if total.sockets.rejected > 0 {
        report.notes.push(format!(
            "{} realtime datagrams were refused: not authentic, too old or malformed",
            total.sockets.rejected
        ));
    }
}

/// Returns a share in percent, with a tenth where it has one.
pub(super) fn percent(share: f64) -> f64 {
    (share * 1_000.0).round() / 10.0
}

/// Marks the report as invalid if the server's figures cannot be of the server that relayed the
/// messages.
fn check_server_figures(report: &mut Report, plan: &Plan, total: &WorkerOutcome) {
    // On the fallback, messages do not leave by the realtime port.
    if plan.faults.fault_share > 0.0 {
        return;
    }
    let delivered = total.messages.channels.iter().map(|tally| tally.delivered).sum::<u64>();
    // The window of the server's counters differs a little from that of the messages.
    if let Some(out) = report.server.messages_out.filter(|out| out * 2 < delivered) {
        report.invalidate(InvalidCause::Other, format!(
            "the server at --http sent {out} messages, the headsets received {delivered}: it is \
             another server"
        ));
    }
    let too_cheap = |cpu_s: &f64| cpu_s * 1e9 < LEAST_CPU_NS * delivered as f64;
    if let Some(cpu_s) = report.server.cpu_s.filter(too_cheap) {
        report.invalidate(
            InvalidCause::Other,
            format!(
                "the process whose figures were read used {cpu_s:.2} s of CPU, the headsets received \
             {delivered} messages: it is another process"
            ),
        );
    }
}

/// Marks the report as invalid if less was sent on a channel than was due by its schedule.
fn check_offered(report: &mut Report, plan: &Plan, findings: &Findings, total: &WorkerOutcome) {
    for channel in Channel::ALL {
        let sent = total.messages.channels[channel as usize].sent;
        let mut due = total.scheduled[channel as usize] as f64;
        // These channels have a fixed rate. So what all headsets together should have sent is known,
        // also if some never began. The others have turns of random length.
        if matches!(channel, Channel::Pose | Channel::Pointer) {
            let headsets = f64::from(plan.headsets);
            due = due.max(plan.traffic.hz(channel) * headsets * report.duration_s);
        }
        offered(report, channel.name(), sent, due);
    }
    offered(report, "event", findings.events.sent, findings.scheduled_events as f64);
}

fn offered(report: &mut Report, name: &str, sent: u64, due: f64) {
    if (sent as f64) < MIN_OFFERED * due {
        report.invalidate(
            InvalidCause::Generator,
            format!(
                "{name}: only {sent} of {due:.0} messages were sent, less than {} %: {GENERATOR_REMEDY}",
                percent(MIN_OFFERED)
            ),
        );
    }
}

/// Returns for how long no realtime message had arrived at the end of the window, µs, if messages
/// were due and this is too long: a server that is gone does not say so. `last` is when the last
/// message arrived, µs; 0 if none did.
pub(crate) fn silence(plan: &Plan, window: Window, last: u64) -> Option<u64> {
    let is_steady = |channel| plan.traffic.hz(channel) >= 1.0;
    let messages_are_due = [Channel::Pose, Channel::Pointer].into_iter().any(is_steady);
    let has_receivers = plan.headsets > 1 && plan.room_size > 1;
    let length = window.end.saturating_sub(window.start);
    let silence = window.end.saturating_sub(last).min(length);
    let is_too_long = silence > MAX_SILENCE || (silence == length && length > 0);
    (messages_are_due && has_receivers && is_too_long).then_some(silence)
}

#[cfg(test)]
mod tests {
    use nucleus_loadgen::embedded::ServerEnd;

    use super::*;
    use crate::load::profile::Profile;

    const WINDOW: Window = Window { start: 10_000_000, end: 20_000_000 };

    fn checked(findings: &Findings, change: impl FnOnce(&mut Report)) -> Report {
        let mut report = Report::full();
        report.headsets = 100;
        change(&mut report);
        let plan = Plan::of_two_rooms();
        check(&mut report, &plan, findings, &totals(), &ServerWatch::new(None, None));
        report
    }

    /// Returns the totals of realtime threads that expected a pose.
    fn totals() -> WorkerOutcome {
        let mut totals = WorkerOutcome::sum(Vec::new());
        totals.messages.channels[Channel::Pose as usize].expected = 1;
        totals
    }

    #[test]
    fn a_run_without_its_server_proves_nothing() {
        assert!(checked(&Findings::default(), |_| ()).valid);
        let end = ServerEnd { how: "signal 9".into(), last_lines: vec!["last words".into()] };
        let findings =
            Findings { server_end: Some(end), silence: Some(3_000_000), ..Findings::default() };
        let report = checked(&findings, |_| ());
        assert_eq!(report.invalid_reasons, ["the server ended during the run: signal 9"]);
        assert_eq!(report.notes, ["the server's log: last words"]);
        let findings = Findings { silence: Some(3_100_000), ..Findings::default() };
        let report = checked(&findings, |_| ());
        assert!(report.invalid_reasons[0].contains("in the last 3.1 s"), "{report:?}");
        let findings = Findings { asked: 4, ..Findings::default() };
        let report = checked(&findings, |_| ());
        assert!(report.invalid_reasons[0].contains("none of 4 sessions"), "{report:?}");
        let findings = Findings { asked: 100, answered: 97, ..Findings::default() };
        let report = checked(&findings, |_| ());
        assert!(report.valid && report.notes[0].contains("3 of 100 sessions"), "{report:?}");
        let findings = Findings { asked: 100, answered: 96, ..Findings::default() };
        assert!(!checked(&findings, |_| ()).valid, "half of the server may be stuck");
        let findings = Findings { interrupted: Some("SIGTERM"), ..Findings::default() };
        let report = checked(&findings, |_| ());
        assert_eq!(report.invalid_reasons, ["interrupted by SIGTERM before its end"]);
        let findings = Findings { fault_failed: Some("no signal".into()), ..Findings::default() };
        assert_eq!(checked(&findings, |_| ()).invalid_reasons, ["no signal"]);
    }

    #[test]
    fn headsets_that_joined_again_send_and_those_that_are_gone_do_not() {
        let lost = |lost, rejoined| {
            checked(&Findings::default(), |report| {
                (report.sessions.lost, report.sessions.rejoined) = (lost, rejoined);
            })
        };
        assert!(lost(100, 100).valid && lost(3, 0).valid);
        assert!(!lost(100, 0).valid && !lost(100, 96).valid);
    }

    #[test]
    fn a_channel_that_was_not_sent_as_scheduled_proves_nothing() {
        let reasons = |voice: [u64; 2], events: [u64; 2]| {
            let mut total = totals();
            total.scheduled[Channel::Voice as usize] = voice[0];
            total.messages.channels[Channel::Voice as usize].sent = voice[1];
            let findings = Findings {
                events: Tally { sent: events[1], ..Tally::default() },
                scheduled_events: events[0],
                ..Findings::default()
            };
            let (mut report, plan) = (Report::full(), Plan::of_two_rooms());
            check(&mut report, &plan, &findings, &total, &ServerWatch::new(None, None));
            report.invalid_reasons
        };
        assert_eq!(reasons([100, 97], [100, 97]), [""; 0]);
        let sent =
            |what| [format!("{what} messages were sent, less than 97 %: {GENERATOR_REMEDY}")];
        assert_eq!(reasons([100, 96], [0, 0]), sent("voice: only 96 of 100"));
        assert_eq!(reasons([100, 0], [0, 0]), sent("voice: only 0 of 100"));
        assert_eq!(reasons([0, 0], [9, 0]), sent("event: only 0 of 9"));
    }

    #[test]
    fn a_run_in_which_nothing_was_to_be_delivered_proves_nothing() {
        let is_valid = |traffic, expected| {
            let plan = Plan { traffic, ..Plan::of_two_rooms() };
            let mut totals = totals();
            totals.messages.channels[Channel::Pose as usize].expected = expected;
            let (mut report, watch) = (Report::full(), ServerWatch::new(None, None));
            check(&mut report, &plan, &Findings::default(), &totals, &watch);
            report.valid
        };
        let [meeting, idle] = [Profile::Meeting, Profile::Idle].map(|p| p.traffic(Some(0.0)));
        assert!(is_valid(meeting, 1) && !is_valid(meeting, 0));
        assert!(is_valid(idle, 0), "it measures connections");
    }

    #[test]
    fn figures_of_another_server_prove_nothing() {
        let reasons = |messages_out, cpu_s| {
            let mut totals = totals();
            let tally = &mut totals.messages.channels[Channel::Pose as usize];
            (tally.expected, tally.delivered) = (1_000_000, 1_000_000);
            let mut report = Report::full();
            (report.server.messages_out, report.server.cpu_s) = (messages_out, cpu_s);
            let (plan, watch) = (Plan::of_two_rooms(), ServerWatch::new(None, None));
            check(&mut report, &plan, &Findings::default(), &totals, &watch);
            report.invalid_reasons.concat()
        };
        assert_eq!(reasons(None, None), "");
        assert_eq!(reasons(Some(990_000), Some(0.4)), "");
        assert!(reasons(Some(7), Some(0.4)).contains("another server"));
        assert!(reasons(Some(990_000), Some(0.01)).contains("another process"));
    }

    #[test]
    fn silence_at_the_end_is_noticed_if_messages_were_due() {
        let plan = Plan::of_two_rooms();
        assert_eq!(silence(&plan, WINDOW, 18_000_000), None);
        assert_eq!(silence(&plan, WINDOW, 17_999_999), Some(2_000_001));
        assert_eq!(silence(&plan, WINDOW, 0), Some(10_000_000), "not longer than the window");
        assert_eq!(silence(&plan, WINDOW, 21_000_000), None, "the wait after the window");
        let short = Window { start: 0, end: 500_000 };
        assert_eq!((silence(&plan, short, 0), silence(&plan, short, 100)), (Some(500_000), None));
        let idle = Plan { traffic: Profile::Idle.traffic(None), ..plan.clone() };
        assert_eq!(silence(&idle, WINDOW, 0), None);
        assert_eq!(silence(&Plan { room_size: 1, ..plan }, WINDOW, 0), None);
    }
}
