//! The Prometheus text of `/metrics`. Every label is a shard's number or a code's name: nothing a
//! peer sent ever becomes one.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nucleus_core::fanout::FanoutCounters;

use crate::edge::SessionContext;
use crate::shard::ShardHandle;

/// Where the figures come from.
pub struct Metrics {
    context: Arc<SessionContext>,
    shards: Vec<Arc<ShardHandle>>,
    joined_capacity: usize,
    unjoined_capacity: usize,
}

impl Metrics {
    /// Before the first session: the joined_capacity are all free then.
    pub fn new(context: Arc<SessionContext>, shards: Vec<Arc<ShardHandle>>) -> Self {
        let joined_capacity = context.joined.available_permits();
        let unjoined_capacity = context.unjoined.available_permits();
        Self { context, shards, joined_capacity, unjoined_capacity }
    }

    /// The whole page.
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
        let drops = "Datagrams the kernel dropped because the receive buffer was full.";
        gauge("nucleus_realtime_kernel_drops_total", "counter", drops, |s| {
            &s.published.kernel_drops
        });
        let failures = "Datagrams the kernel did not take.";
        gauge("nucleus_realtime_send_failures_total", "counter", failures, |s| {
            &s.published.send_failures
        });
        let overflow = "Datagrams of sessions the shard had no room for.";
        gauge("nucleus_realtime_session_overflow_total", "counter", overflow, |s| {
            &s.published.session_overflow
        });
        let tick = "Longest time that a message waits for others.";
        gauge("nucleus_realtime_tick_microseconds", "gauge", tick, |s| &s.published.tick_micros);
        gauge("nucleus_realtime_links", "gauge", "Links alive.", |s| &s.published.links);
        let fallback = "Links whose client has fallen back to QUIC datagrams.";
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
                "Attempts over the limit of unjoined sessions.",
                &c.counters.turned_away,
            ),
            ("failed_handshakes", "TLS handshakes that failed.", &c.counters.failed_handshakes),
            ("joins", "Joins, resumes among them.", &c.counters.joins),
            ("resumes", "Peers that came back with their ticket.", &c.counters.resumes),
            ("enters", "Sessions that entered without a room.", &c.counters.enters),
            ("events_in", "Reliable events taken from peers.", &c.counters.events_in),
            ("events_out", "Reliable events written to peers.", &c.counters.events_out),
            ("bulk_in", "Pieces of the bulk lane taken from peers.", &c.counters.bulk_in),
            ("bulk_out", "Pieces of the bulk lane written to peers.", &c.counters.bulk_out),
            ("state_in", "Requests for changes of shared state.", &c.counters.state_in),
            ("state_out", "Snapshots and updates of it written.", &c.counters.state_out),
        ];
        for (name, help, value) in counters {
            let name = format!("nucleus_session_{name}_total");
            page.head(&name, "counter", help);
            page.line(&name, None, value.load(Ordering::Relaxed));
        }
        let ended = "nucleus_session_ended_total";
        page.head(ended, "counter", "Sessions refused or ended, by code.");
        for (code, count) in c.counters.by_code() {
            page.line(ended, Some(("code", &code)), count);
        }
        let taken =
            |joined_capacity: usize, free: usize| joined_capacity.saturating_sub(free) as u64;
        let joined = taken(self.joined_capacity, c.joined.available_permits());
        let unjoined = taken(self.unjoined_capacity, c.unjoined.available_permits());
        let gauges = [
            ("nucleus_sessions", "Joined sessions.", joined),
            ("nucleus_sessions_unjoined", "Sessions that have not joined.", unjoined),
            (
                "nucleus_halls",
                "Tenants' halls with somebody in them.",
                c.social_directory.count() as u64,
            ),
            ("nucleus_rooms", "Rooms alive.", c.directory.registry().count() as u64),
        ];
        for (name, help, value) in gauges {
            page.head(name, "gauge", help);
            page.line(name, None, value);
        }
    }
}

struct Page(String);

// Writing into a String cannot fail, so the results below are dropped.
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
