//! The figures of the server's process and of its own counters, read at the start and at the end of
//! the window.

use nucleus_net::{process_cpu_seconds, process_rss_bytes};
use serde::Serialize;

use super::metrics::{Counters, MetricsPage};

/// The figures of the server's process and of the server's own counters. A figure that could not be
/// read at both ends of the window is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ServerFigures {
    /// The source of these figures: `proc+metrics`, `proc`, `metrics` or `none`. The CPU time and
    /// the memory come from `proc` where the server's process id is known, all else from `metrics`.
    pub(crate) source: &'static str,
    /// The server's version, `unknown` if it was not read from `/metrics`.
    pub(crate) version: String,
    pub(crate) cpu_s: Option<f64>,
    /// CPU time as a number of cores: 1 is one core all the time.
    pub(crate) cpu_cores: Option<f64>,
    /// The server's shards. Each shard is a thread that can use one core.
    pub(crate) shards: Option<u64>,
    /// `cpu_cores` as a share of the shards. Above 1, threads beside the shards needed CPU time.
    pub(crate) cpu_share: Option<f64>,
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) datagrams_out: Option<u64>,
    pub(crate) messages_out: Option<u64>,
    pub(crate) messages_per_datagram: Option<f64>,
    pub(crate) cpu_ns_per_message: Option<u64>,
    pub(crate) kernel_drops: Option<u64>,
    /// Messages that the server did not relay because they were too old when they arrived. Their
    /// receivers count them as lost.
    pub(crate) too_old: Option<u64>,
}

/// Reads the server's process and counters at the start and at the end of the window.
pub(crate) struct ServerWatch {
    http: Option<String>,
    pid: Option<u32>,
    before: ServerSample,
    after: ServerSample,
    version: Option<String>,
    /// The samples within the window, each with its time, µs; empty unless figures over time are
    /// recorded.
    samples: Vec<(u64, ServerSample)>,
    /// Whether the process was replaced during the window, so that its counters began again.
    replaced: bool,
}

/// The server's process and counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct ServerSample {
    cpu_s: Option<f64>,
    rss: Option<u64>,
    counters: Option<Counters>,
    shards: Option<u64>,
}

/// The server's figures between two samples; `None` where one of them is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServerSlot {
    pub(super) cpu_share: Option<f64>,
    pub(super) messages_per_datagram: Option<f64>,
    /// Superseded and suppressed messages as a share of those and the sent ones.
    pub(super) withheld: Option<f64>,
}

impl ServerSlot {
    fn between(
        (began, before): &(u64, ServerSample),
        (ended, after): &(u64, ServerSample),
    ) -> Self {
        let seconds = ended.saturating_sub(*began) as f64 / 1e6;
        // A process that was started anew has used less than the one before.
        let cpu_s = before.cpu_s.zip(after.cpu_s).map(|(before, after)| after - before);
        let cpu_cores = cpu_s.filter(|cpu_s| *cpu_s >= 0.0).and_then(|s| cores_of(s, seconds));
        let shards = after.shards.filter(|shards| *shards > 0);
        let grown = before.counters.zip(after.counters).map(|(b, a)| a.since(&b));
        let [datagrams, messages, _, _, superseded, suppressed] = grown.unwrap_or_default().0;
        let withheld = superseded.zip(suppressed).map(|(superseded, more)| superseded + more);
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        ServerSlot {
            cpu_share: cpu_cores.zip(shards).map(|(cores, shards)| cores / shards as f64),
            messages_per_datagram: messages.zip(datagrams).and_then(|(m, d)| share(m, d)),
            withheld: withheld.zip(messages).and_then(|(w, sent)| share(w, w + sent)),
        }
    }
}

impl ServerWatch {
    pub(crate) fn new(http: Option<String>, pid: Option<u32>) -> Self {
        let (before, after) = (ServerSample::default(), ServerSample::default());
        ServerWatch {
            http,
            pid,
            before,
            after,
            version: None,
            samples: Vec::new(),
            replaced: false,
        }
    }

    /// Reads the sample at the start of the window.
    pub(crate) fn begin(&mut self) {
        self.before = self.sample();
    }

    /// Reads the sample at the end of the window.
    pub(crate) fn end(&mut self) {
        self.after = self.sample();
    }

    /// Reads a sample within the window, at `now` (µs).
    pub(crate) fn sample_at(&mut self, now: u64) {
        let sample = self.sample();
        self.samples.push((now, sample));
    }

    /// Returns the server's figures between each sample in the window and the next one.
    pub(super) fn over_time(&self) -> Vec<ServerSlot> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs.map(|(before, after)| ServerSlot::between(before, after)).collect()
    }

    /// Follows the process that has replaced the server's. What the two have used and counted
    /// within the window is unknown from now on.
    pub(crate) fn follow(&mut self, pid: u32) {
        (self.pid, self.replaced) = (Some(pid), true);
        self.before = ServerSample::default();
    }

    /// Returns whether the server's process was there at the start of the window and is not there
    /// any more.
    pub(crate) fn is_gone(&self) -> bool {
        let is_gone = |pid| process_cpu_seconds(Some(pid)).is_err() || has_ended(pid);
        self.before.cpu_s.is_some() && self.pid.is_some_and(is_gone)
    }

    fn sample(&mut self) -> ServerSample {
        let page = self.http.as_deref().and_then(|http| MetricsPage::read(http).ok());
        self.version = page.as_ref().and_then(MetricsPage::version).or(self.version.take());
        let counters = page.as_ref().map(MetricsPage::counters);
        let shards = page.as_ref().and_then(MetricsPage::shards);
        let (cpu_s, rss) = match self.pid {
            Some(pid) => (process_cpu_seconds(Some(pid)).ok(), process_rss_bytes(Some(pid)).ok()),
            None => page.map_or((None, None), |page| (page.cpu_s(), page.rss_bytes())),
        };
        ServerSample { cpu_s, rss, counters, shards }
    }

    /// Returns the figures of a window of `duration_s` seconds.
    pub(super) fn figures(&self, duration_s: f64) -> ServerFigures {
        let cpu_s = self.before.cpu_s.zip(self.after.cpu_s).map(|(before, after)| after - before);
        let counters = self.before.counters.zip(self.after.counters);
        let counters = counters.map(|(before, after)| after.since(&before));
        let cpu_cores = cpu_s.and_then(|cpu_s| cores_of(cpu_s, duration_s));
        let shards = self.after.shards.filter(|shards| *shards > 0);
        let source = match (self.pid.and(self.after.cpu_s).is_some(), counters.is_some()) {
            (true, true) => "proc+metrics",
            (true, false) => "proc",
            (false, true) => "metrics",
            (false, false) => "none",
        };
        let [datagrams_out, messages_out, kernel_drops, too_old, ..] =
            counters.unwrap_or_default().0;
        let messages = messages_out.filter(|messages| *messages > 0);
        let datagrams = datagrams_out.filter(|datagrams| *datagrams > 0);
        let each = |(messages, datagrams)| messages as f64 / datagrams as f64;
        let cost = |(cpu_s, messages)| (cpu_s * 1e9 / messages as f64) as u64;
        ServerFigures {
            source,
            version: self.version.clone().unwrap_or_else(|| "unknown".to_owned()),
            cpu_s,
            cpu_cores,
            shards,
            cpu_share: cpu_cores.zip(shards).map(|(cores, shards)| cores / shards as f64),
            rss_bytes: self.after.rss,
            datagrams_out,
            messages_out,
            messages_per_datagram: messages_out.zip(datagrams).map(each),
            cpu_ns_per_message: cpu_s.zip(messages).map(cost),
            kernel_drops,
            too_old,
        }
    }

    /// Returns a note if a fault of the run has replaced the server's process.
    pub(super) fn replaced(&self) -> Option<&'static str> {
        let note = "the server's process was replaced, so its CPU time and counters are unknown";
        self.replaced.then_some(note)
    }

    /// Returns why figures that the run was to read are missing, if no fault of the run explains it.
    pub(super) fn unreadable(&self) -> Option<&'static str> {
        let (before, after) = (&self.before, &self.after);
        if self.replaced {
            None
        } else if self.http.is_some() && before.counters.is_none() {
            Some("the server's /metrics could not be read: check --http")
        } else if self.http.is_some() && after.counters.is_none() {
            Some("the server's /metrics stopped answering during the run")
        } else if self.began_again() {
            Some("the server's counters began again during the run: it was started anew")
        } else if self.pid.is_some() && before.cpu_s.is_none() {
            Some("the server's CPU time could not be read: check --server-pid")
        } else if self.pid.is_some() && after.cpu_s.is_none() {
            Some("the server's process ended during the run")
        } else {
            None
        }
    }

    /// Returns whether a counter has become smaller.
    fn began_again(&self) -> bool {
        let both = self.before.counters.zip(self.after.counters);
        both.is_some_and(|(before, after)| after.is_smaller_than(&before))
    }
}

/// Returns CPU time within a window as a number of cores; `None` if the window has no length.
pub(super) fn cores_of(cpu_s: f64, duration_s: f64) -> Option<f64> {
    (duration_s > 0.0).then(|| cpu_s / duration_s)
}

/// Returns whether a process has ended although it still has its id: its parent has not waited for
/// it. False where the system does not tell.
fn has_ended(pid: u32) -> bool {
    // The name of the program stands in parentheses and may contain any character. The state
    // follows it.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_nobody_has_waited_for_is_gone() {
        use std::process::{Command, Stdio};
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut watch = ServerWatch::new(None, Some(child.id()));
        watch.begin();
        assert!(!watch.is_gone());
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !watch.is_gone() {
            assert!(std::time::Instant::now() < deadline, "a zombie counts as alive");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        child.wait().unwrap();
    }

    fn counters(datagrams_out: Option<u64>, messages_out: Option<u64>) -> Option<Counters> {
        Some(Counters([datagrams_out, messages_out, None, None, None, None]))
    }

    fn watch(before: ServerSample, after: ServerSample) -> ServerWatch {
        ServerWatch { before, after, ..ServerWatch::new(Some("h:1".into()), Some(1)) }
    }

    #[test]
    fn a_figure_is_known_if_it_was_read_at_both_ends() {
        let before = ServerSample {
            cpu_s: Some(1.0),
            rss: Some(5),
            counters: counters(Some(10), Some(100)),
            shards: Some(2),
        };
        let after = ServerSample {
            cpu_s: Some(1.5),
            rss: Some(7),
            counters: counters(Some(20), Some(140)),
            shards: Some(2),
        };
        let figures = watch(before, after).figures(2.0);
        assert_eq!((figures.cpu_cores, figures.cpu_share), (Some(0.25), Some(0.125)));
        assert_eq!((figures.cpu_s, figures.rss_bytes), (Some(0.5), Some(7)));
        assert_eq!((figures.datagrams_out, figures.messages_out), (Some(10), Some(40)));
        assert_eq!(figures.messages_per_datagram, Some(4.0));
        assert_eq!(figures.cpu_ns_per_message, Some(12_500_000));
        assert_eq!((figures.kernel_drops, figures.too_old), (None, None));

        for (before, after) in [
            (ServerSample::default(), after),
            (before, ServerSample::default()),
            (before, ServerSample { counters: counters(Some(5), None), cpu_s: None, ..after }),
        ] {
            let figures = watch(before, after).figures(2.0);
            let known = [figures.cpu_s.is_some(), figures.messages_per_datagram.is_some()];
            assert_eq!((known, figures.datagrams_out), ([false; 2], None));
            assert_eq!((figures.messages_out, figures.cpu_ns_per_message), (None, None));
        }
    }

    #[test]
    fn a_process_that_was_replaced_has_no_cpu_time_in_the_window() {
        let sample = ServerSample {
            cpu_s: Some(1.0),
            rss: Some(5),
            counters: counters(Some(1), None),
            ..ServerSample::default()
        };
        let mut watch = watch(sample, sample);
        assert_eq!((watch.unreadable(), watch.replaced()), (None, None));
        watch.follow(2);
        let figures = watch.figures(2.0);
        assert_eq!(
            (figures.cpu_s, figures.datagrams_out, figures.rss_bytes),
            (None, None, Some(5))
        );
        assert!(watch.unreadable().is_none() && watch.replaced().is_some());
    }

    #[test]
    fn figures_that_were_to_be_read_and_are_missing_are_told() {
        let known = ServerSample {
            cpu_s: Some(1.0),
            rss: Some(5),
            counters: counters(Some(7), None),
            ..ServerSample::default()
        };
        let none = ServerSample::default();
        let told = |before, after| watch(before, after).unreadable().unwrap_or_default();
        assert_eq!(told(known, known), "");
        assert!(told(none, none).contains("--http"));
        assert!(told(known, none).contains("stopped answering"));
        let began_again = ServerSample { counters: counters(Some(6), None), ..known };
        assert!(told(known, began_again).contains("started anew"));
        let without_cpu = ServerSample { cpu_s: None, ..known };
        assert!(told(without_cpu, without_cpu).contains("--server-pid"));
        assert!(told(known, without_cpu).contains("process ended"));
        assert_eq!(ServerWatch::new(None, None).unreadable(), None, "nothing was to be read");
    }
}
