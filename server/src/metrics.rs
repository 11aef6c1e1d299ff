//! Renders the Prometheus text of `/metrics`. The labels are `shard`, `code`, `reason` and `outcome`,
//! and the `version` of the build; their values are numbers and names of this program, never text from
//! a peer. So the number of series depends on the number of shards alone.

mod page;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nucleus_control::history::HistoryFigures;
use nucleus_control::people::{SignInCounters, SignInOutcome};
use nucleus_control::webhooks::{DeliveryCounters, DeliveryOutcome};
use nucleus_core::fanout::{CounterMetric, FanoutCounters, FanoutHistograms};
use nucleus_core::validity::Validity;

use crate::edge::SessionContext;
use crate::shard::{Published, ShardHandle};
use crate::unix_time::unix_now;
use page::{MetricKind, Page};

/// Reads the figures of the process that no session changes.
pub struct ProcessFigures {
    /// Returns when the served certificate is valid; `None` if that cannot be read.
    pub certificate: Box<dyn Fn() -> Option<Validity> + Send + Sync>,
    /// Returns how many lines of the log were lost.
    pub lost_log_lines: fn() -> u64,
    /// Whether the operator's files could be read when they were read last.
    pub is_reloaded: Arc<AtomicBool>,
    /// The figures of the history.
    pub history: HistoryFigures,
}

/// Reads the server's counters and renders them.
pub struct Metrics {
    context: Arc<SessionContext>,
    shards: Vec<Arc<ShardHandle>>,
    process: ProcessFigures,
    /// Number of sessions that may be joined at a time.
    joined_capacity: usize,
    /// When the server was started, in seconds since 1970.
    started: u64,
}

impl Metrics {
    /// Makes the source of the metrics. Must be called before the first session, while all permits
    /// are free: their number is the capacity.
    pub fn new(
        context: Arc<SessionContext>,
        shards: Vec<Arc<ShardHandle>>,
        process: ProcessFigures,
    ) -> Self {
        let joined_capacity = context.joined.available_permits();
        Self { context, shards, process, joined_capacity, started: unix_now() }
    }

    /// Renders all metrics. `database_answers`: whether the database of the control plane does.
    /// `deliveries`: what came of what webhooks were told. `sign_ins`: what came of attempts to sign in.
    pub fn render(
        &self,
        database_answers: bool,
        deliveries: &DeliveryCounters,
        sign_ins: &SignInCounters,
        task_ends: u64,
    ) -> String {
        let mut page = Page::new();
        let (build, help) = ("nucleus_build_info", "The version of the server. The value is 1.");
        page.metric(build, MetricKind::Gauge, help);
        page.series(build, ("version", env!("CARGO_PKG_VERSION")), 1);
        let published: Vec<&Published> = self.shards.iter().map(|s| &*s.published).collect();
        write_shards(&mut page, &published);
        let over_rate = &self.context.counters.datagrams_over_rate;
        write_drops(&mut page, &published, over_rate.load(Ordering::Relaxed));
        self.write_joins(&mut page);
        self.write_sessions(&mut page);
        self.write_certificate(&mut page);
        self.write_upkeep(&mut page, database_answers);
        write_deliveries(&mut page, deliveries);
        write_sign_ins(&mut page, sign_ins);
        let name = "nucleus_control_task_ends_total";
        let help = "Tasks of the control plane that have ended, by a fault in the server.";
        page.single(name, MetricKind::Counter, help, task_ends);
        process::write(&mut page, self.started);
        page.into_text()
    }

    fn write_joins(&self, page: &mut Page) {
        let joins = &self.context.counters.joins;
        let name = "nucleus_session_joins_total";
        let help = "Clients that asked to join a room or to enter outside rooms, by outcome.";
        page.metric(name, MetricKind::Counter, help);
        for (outcome, count) in joins.by_outcome() {
            page.series(name, ("outcome", outcome.name()), count);
        }
        let name = "nucleus_session_join_duration_seconds";
        let help = "Time from a client's first packet until it was admitted.";
        page.histogram(name, help, &joins.durations());
    }

    fn write_sessions(&self, page: &mut Page) {
        let c = &self.context;
        let counters = [
            ("attempts", "Connection attempts.", &c.counters.attempts),
            (
                "turned_away",
                "Connection attempts refused because of the limit of unjoined sessions.",
                &c.counters.turned_away,
            ),
            (
                "over_network_share",
                "Connection attempts refused because places were short and their network had its share.",
                &c.counters.over_network_share,
            ),
            (
                "failed_handshakes",
                "TLS handshakes that failed, and connections of browsers that broke HTTP/3.",
                &c.counters.failed_handshakes,
            ),
            (
                "pages_refused",
                "Browsers that were refused a session for their page's origin or for the path.",
                &c.counters.pages_refused,
            ),
            ("events_in", "Reliable events received from peers.", &c.counters.events_in),
            ("events_out", "Reliable events written to peers.", &c.counters.events_out),
            ("bulk_in", "Pieces of the bulk lane received from peers.", &c.counters.bulk_in),
            ("bulk_out", "Pieces of the bulk lane written to peers.", &c.counters.bulk_out),
            (
                "state_in",
                "Requests for changes of the shared state received from peers.",
                &c.counters.state_in,
            ),
            (
                "state_out",
                "Snapshots and updates of the shared state written to peers.",
                &c.counters.state_out,
            ),
        ];
        for (name, help, value) in counters {
            let name = format!("nucleus_session_{name}_total");
            page.single(&name, MetricKind::Counter, help, value.load(Ordering::Relaxed));
        }
        let ended = "nucleus_session_ended_total";
        let help = "Sessions that were refused or have ended, by code.";
        page.metric(ended, MetricKind::Counter, help);
        for (code, count) in c.counters.by_code() {
            page.series(ended, ("code", code), count);
        }
        let joined = self.joined_capacity.saturating_sub(c.joined.available_permits());
        let gauges = [
            (
                "nucleus_sessions",
                "Participants of rooms, those included who may still resume, and sessions outside rooms.",
                joined,
            ),
            ("nucleus_sessions_limit", "Most sessions at a time.", self.joined_capacity),
            ("nucleus_sessions_unjoined", "Sessions that have not joined yet.", c.unjoined.taken()),
            (
                "nucleus_social_products",
                "Products of tenants with a user outside rooms.",
                c.social_directory.count(),
            ),
            ("nucleus_rooms", "Live rooms.", c.directory.registry().count()),
        ];
        for (name, help, value) in gauges {
            page.single(name, MetricKind::Gauge, help, value);
        }
    }

    /// The dates of the certificate that new sessions get. Absent if they cannot be read.
    fn write_certificate(&self, page: &mut Page) {
        let Some(validity) = (self.process.certificate)() else { return };
        let dates = [
            ("start", "First second of the certificate's validity, since 1970.", validity.start),
            ("expiry", "Last second of the certificate's validity, since 1970.", validity.end),
        ];
        for (name, help, value) in dates {
            let name = format!("nucleus_tls_certificate_{name}_timestamp_seconds");
            page.single(&name, MetricKind::Gauge, help, value);
        }
    }

    /// What an operator must look after: the database, files and the log.
    fn write_upkeep(&self, page: &mut Page, database_answers: bool) {
        let bans = self.context.directory.registry().bans();
        let is_reloaded = self.process.is_reloaded.load(Ordering::Relaxed);
        let gauges = [
            ("nucleus_database_up", "Whether the database answers.", u64::from(database_answers)),
            (
                "nucleus_config_last_reload_success",
                "Whether the files of certificate and token keys could be read when they were read last.",
                u64::from(is_reloaded),
            ),
            ("nucleus_bans", "Bans that are kept over a restart.", bans.count() as u64),
            (
                "nucleus_history_spool_rows",
                "Events of the history that wait for the database, in a file or because the disk is full.",
                self.process.history.spool_rows(),
            ),
        ];
        for (name, help, value) in gauges {
            page.single(name, MetricKind::Gauge, help, value);
        }
        let counters = [
            (
                "nucleus_bans_write_failures_total",
                "Times that the file of bans could not be written.",
                bans.write_failures(),
            ),
            (
                "nucleus_log_dropped_total",
                "Lines of the log that stderr did not take.",
                (self.process.lost_log_lines)(),
            ),
            (
                "nucleus_history_dropped_total",
                "Events of the history that were lost: a queue was full, the spool file damaged, or the database refused the row.",
                self.process.history.dropped(),
            ),
        ];
        for (name, help, value) in counters {
            page.single(name, MetricKind::Counter, help, value);
        }
    }
}

/// Writes the figures of the shards. What is dropped and the histograms are sums over all shards, so
/// that a server with many shards has not too many series.
fn write_shards(page: &mut Page, shards: &[&Published]) {
    let mut of_each = |name: &str, kind, help, read: &dyn Fn(&Published) -> u64| {
        page.metric(name, kind, help);
        for (shard, published) in shards.iter().enumerate() {
            page.series(name, ("shard", shard), read(published));
        }
    };
    let counter = |published: &Published, at| published.counters().nth(at).unwrap_or(0);
    for (at, (metric, help)) in FanoutCounters::METRICS.iter().enumerate() {
        if let CounterMetric::Own(name) = metric {
            let name = format!("nucleus_realtime_{name}_total");
            of_each(&name, MetricKind::Counter, help.trim(), &|shard| counter(shard, at));
        }
    }
    let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let help = "Datagrams dropped by the kernel because the receive buffer was full.";
    let name = "nucleus_realtime_kernel_drops_total";
    of_each(name, MetricKind::Counter, help, &|shard| load(&shard.kernel_drops));
    let (name, help) = ("nucleus_realtime_links", "Live links.");
    of_each(name, MetricKind::Gauge, help, &|shard| load(&shard.links));
    let help = "Live links whose client is on the fallback, QUIC datagrams.";
    let name = "nucleus_realtime_links_on_fallback";
    of_each(name, MetricKind::Gauge, help, &|shard| load(&shard.on_fallback));

    let name = "nucleus_realtime_cpu_seconds_total";
    page.metric(name, MetricKind::Counter, "CPU time that the shard's thread has used.");
    for (shard, published) in shards.iter().enumerate() {
        page.series(name, ("shard", shard), load(&published.cpu_micros) as f64 / 1e6);
    }
    for (at, (name, help)) in FanoutHistograms::METRICS.iter().enumerate() {
        let histograms = shards.iter().filter_map(|shard| shard.histograms().nth(at));
        let all = histograms.reduce(|mut all, more| {
            all.add(&more);
            all
        });
        if let Some(all) = all {
            page.histogram(&format!("nucleus_realtime_{name}"), help, &all);
        }
    }
}

/// Writes what was dropped. `sessions_over_rate`: datagrams of clients on the fallback over the rate of
/// their link, which no shard has seen.
fn write_drops(page: &mut Page, shards: &[&Published], sessions_over_rate: u64) {
    let name = "nucleus_realtime_drops_total";
    let help = "Datagrams and messages that were dropped, by reason. Superseded and suppressed messages, and what the kernel drops, are counted by themselves.";
    page.metric(name, MetricKind::Counter, help);
    let mut reason = |reason: &str, read: &dyn Fn(&Published) -> u64| {
        let sum: u64 = shards.iter().map(|shard| read(shard)).sum();
        page.series(name, ("reason", reason), sum);
    };
    for (at, (metric, _)) in FanoutCounters::METRICS.iter().enumerate() {
        if let CounterMetric::Drop(name) = metric {
            reason(name, &|shard| shard.counters().nth(at).unwrap_or(0));
        }
    }
    // The send buffer stayed full, or the address was refused.
    reason("send_failed", &|shard| shard.send_failures.load(Ordering::Relaxed));
    // The shard's mailbox for datagrams of clients on the fallback was full.
    reason("mailbox_full", &|shard| shard.session_overflow.load(Ordering::Relaxed));
    page.series(name, ("reason", "session_rate"), sessions_over_rate);
}

/// Writes what came of what webhooks were told.
fn write_deliveries(page: &mut Page, deliveries: &DeliveryCounters) {
    let name = "nucleus_webhook_deliveries_total";
    let help = "Tries to tell webhooks of events, by outcome.";
    page.metric(name, MetricKind::Counter, help);
    for outcome in DeliveryOutcome::ALL {
        page.series(name, ("outcome", outcome.name()), deliveries.get(outcome));
    }
}

/// Writes what came of attempts to sign in to the dashboard.
fn write_sign_ins(page: &mut Page, sign_ins: &SignInCounters) {
    let name = "nucleus_signin_attempts_total";
    let help = "Attempts of people to sign in to the dashboard, by outcome.";
    page.metric(name, MetricKind::Counter, help);
    for outcome in SignInOutcome::ALL {
        page.series(name, ("outcome", outcome.name()), sign_ins.get(outcome));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nucleus_core::limits::MAX_SHARDS;

    use super::*;

    /// Series of a page.
    fn series(page: &str) -> Vec<&str> {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
    }

    fn page_of(shards: u16) -> String {
        let published: Vec<_> = (0..shards).map(|_| Published::default()).collect();
        let mut page = Page::new();
        let published: Vec<_> = published.iter().collect();
        write_shards(&mut page, &published);
        write_drops(&mut page, &published, 0);
        page.into_text()
    }

    /// The other metrics have less than 200 series, see the test with a whole server.
    #[test]
    fn the_largest_server_has_few_enough_series() {
        let page = page_of(MAX_SHARDS);
        let series = series(&page);
        assert!(series.len() <= 1_300, "{} series", series.len());
        assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len(), "one twice");
    }

    #[test]
    fn drops_and_histograms_are_summed_over_the_shards() {
        let shards = [Published::default(), Published::default()];
        shards[0].send_failures.store(2, Ordering::Relaxed);
        shards[1].send_failures.store(3, Ordering::Relaxed);
        shards[1].cpu_micros.store(1_500_000, Ordering::Relaxed);
        let mut page = Page::new();
        let both = [&shards[0], &shards[1]];
        write_shards(&mut page, &both);
        write_drops(&mut page, &both, 7);
        let page = page.into_text();
        for line in [
            "nucleus_realtime_drops_total{reason=\"send_failed\"} 5",
            "nucleus_realtime_drops_total{reason=\"session_rate\"} 7",
            "nucleus_realtime_cpu_seconds_total{shard=\"1\"} 1.5",
            "nucleus_realtime_relay_latency_seconds_bucket{le=\"0.0005\"} 0",
            "nucleus_realtime_datagrams_in_total{shard=\"0\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
