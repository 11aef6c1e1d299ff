//! Renders the Prometheus text of `/metrics`. Each label is a shard's number or a code's name,
//! never text from a peer.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nucleus_core::fanout::FanoutCounters;
use nucleus_core::validity::Validity;

use crate::edge::SessionContext;
use crate::shard::ShardHandle;

/// Reads the figures of the process that no session changes.
pub struct ProcessFigures {
    /// Returns when the served certificate is valid; `None` if that cannot be read.
    pub certificate: Box<dyn Fn() -> Option<Validity> + Send + Sync>,
    /// Returns how many lines of the log were lost.
    pub lost_log_lines: fn() -> u64,
}

/// Reads the server's counters and renders them.
pub struct Metrics {
    context: Arc<SessionContext>,
    shards: Vec<Arc<ShardHandle>>,
    process: ProcessFigures,
    /// Number of sessions that may be joined at a time.
    joined_capacity: usize,
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
        Self { context, shards, process, joined_capacity }
    }

    /// Renders all metrics.
    pub fn render(&self) -> String {
        let mut page = Page(String::with_capacity(8 << 10));
        self.shard_counters(&mut page);
        self.sessions(&mut page);
        page.0
    }

    fn shard_counters(&self, page: &mut Page) {
        for (at, (name, help)) in FanoutCounters::NAMES.iter().enumerate() {
            let name = format!("nucleus_realtime_{name}_total");
            page.head(&name, "counter", help.trim());
            for (shard, handle) in self.shards.iter().enumerate() {
                let value = handle.published.counters().nth(at).unwrap_or(0);
                page.line(&name, Some(("shard", &shard)), value);
            }
        }
        let mut gauge = |name: &str, kind, help, read: fn(&ShardHandle) -> &AtomicU64| {
            page.head(name, kind, help);
            for (shard, handle) in self.shards.iter().enumerate() {
                page.line(name, Some(("shard", &shard)), read(handle).load(Ordering::Relaxed));
            }
        };
        let drops = "Datagrams dropped by the kernel because the receive buffer was full.";
        gauge("nucleus_realtime_kernel_drops_total", "counter", drops, |s| {
            &s.published.kernel_drops
        });
        let failures = "Datagrams that could not be sent: the send buffer stayed full, or the address was refused.";
        gauge("nucleus_realtime_send_failures_total", "counter", failures, |s| {
            &s.published.send_failures
        });
        let overflow = "Datagrams of clients on the fallback that were dropped because the shard's mailbox was full.";
        gauge("nucleus_realtime_session_overflow_total", "counter", overflow, |s| {
            &s.published.session_overflow
        });
        let tick =
            "Current tick: the longest time that a message waits to share a datagram with others.";
        gauge("nucleus_realtime_tick_microseconds", "gauge", tick, |s| &s.published.tick_micros);
        gauge("nucleus_realtime_links", "gauge", "Live links.", |s| &s.published.links);
        let fallback = "Live links whose client is on the fallback, QUIC datagrams.";
        gauge("nucleus_realtime_links_on_fallback", "gauge", fallback, |s| {
            &s.published.on_fallback
        });
    }

    fn sessions(&self, page: &mut Page) {
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
            ("joins", "Sessions that joined a room, including resumes.", &c.counters.joins),
            ("resumes", "Sessions that resumed a participant with a ticket.", &c.counters.resumes),
            ("enters", "Sessions that entered outside rooms.", &c.counters.enters),
            ("events_in", "Reliable events received from peers.", &c.counters.events_in),
            ("events_out", "Reliable events written to peers.", &c.counters.events_out),
            ("bulk_in", "Pieces of the bulk lane received from peers.", &c.counters.bulk_in),
            ("bulk_out", "Pieces of the bulk lane written to peers.", &c.counters.bulk_out),
            (
                "datagrams_over_rate",
                "Datagrams of clients on the fallback over the rate of their link, dropped unread.",
                &c.counters.datagrams_over_rate,
            ),
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
            page.head(&name, "counter", help);
            page.line(&name, None, value.load(Ordering::Relaxed));
        }
        let ended = "nucleus_session_ended_total";
        page.head(ended, "counter", "Sessions that were refused or have ended, by code.");
        for (code, count) in c.counters.by_code() {
            page.line(ended, Some(("code", &code)), count);
        }
        let in_use = |capacity: usize, free: usize| capacity.saturating_sub(free) as u64;
        let joined = in_use(self.joined_capacity, c.joined.available_permits());
        let unjoined = c.unjoined.taken() as u64;
        let gauges = [
            (
                "nucleus_sessions",
                "Participants of rooms, those included who may still resume, and sessions outside rooms.",
                joined,
            ),
            ("nucleus_sessions_unjoined", "Sessions that have not joined yet.", unjoined),
            (
                "nucleus_halls",
                "Products of tenants with a user outside rooms.",
                c.social_directory.count() as u64,
            ),
            ("nucleus_rooms", "Live rooms.", c.directory.registry().count() as u64),
        ];
        for (name, help, value) in gauges {
            page.head(name, "gauge", help);
            page.line(name, None, value);
        }
        self.bans(page);
        self.certificate(page);
        let lost = "nucleus_log_lines_lost_total";
        page.head(lost, "counter", "Lines of the log that stderr did not take.");
        page.line(lost, None, (self.process.lost_log_lines)());
    }

    /// The dates of the certificate that new sessions get. Absent if they cannot be read.
    fn certificate(&self, page: &mut Page) {
        let Some(validity) = (self.process.certificate)() else { return };
        let dates = [
            ("start", "First second of the certificate's validity, since 1970.", validity.start),
            ("end", "Last second of the certificate's validity, since 1970.", validity.end),
        ];
        for (name, help, value) in dates {
            let name = format!("nucleus_certificate_{name}_seconds");
            page.head(&name, "gauge", help);
            page.line(&name, None, value);
        }
    }

    fn bans(&self, page: &mut Page) {
        let bans = self.context.directory.registry().bans();
        page.head("nucleus_bans", "gauge", "Bans that are kept over a restart.");
        page.line("nucleus_bans", None, bans.count() as u64);
        let failures = "nucleus_bans_write_failures_total";
        page.head(failures, "counter", "Times that the file of bans could not be written.");
        page.line(failures, None, bans.write_failures());
    }
}

/// The text of the page. Writing to a `String` cannot fail, so the results are dropped.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _written = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, label: Option<(&str, &dyn Display)>, value: u64) {
        let _written = match label {
            Some((key, label)) => writeln!(self.0, "{name}{{{key}=\"{label}\"}} {value}"),
            None => writeln!(self.0, "{name} {value}"),
        };
    }
}
