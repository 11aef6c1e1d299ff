//! Reads the server's own counters from its `/metrics`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Largest size of a response, bytes. The response of a server with many shards has tens of KB.
const MAX_ANSWER: u64 = 4 << 20;
const TIMEOUT: Duration = Duration::from_secs(2);

/// The metrics, or series of metrics, that are read, in the order of [`Counters`].
const METRICS: [&str; 6] = [
    "nucleus_realtime_datagrams_out_total",
    "nucleus_realtime_messages_out_total",
    "nucleus_realtime_kernel_drops_total",
    "nucleus_realtime_drops_total{reason=\"too_old\"}",
    "nucleus_realtime_superseded_total",
    "nucleus_realtime_suppressed_total",
];

/// Counters, summed over all shards: datagrams out, messages out, kernel drops, and messages that
/// were too old, superseded and suppressed. A counter that the server does not name is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(pub(super) [Option<u64>; METRICS.len()]);

/// The server's page of metrics at one moment.
pub(crate) struct MetricsPage(String);

impl MetricsPage {
    /// Reads the page of the server at `http`, `host:port`.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or answers with anything but status 200.
    pub(crate) fn read(http: &str) -> io::Result<Self> {
        fetch(http).map(MetricsPage)
    }

    /// Returns the counters.
    pub(crate) fn counters(&self) -> Counters {
        Counters::parse(&self.0)
    }

    /// Returns the server's version.
    pub(crate) fn version(&self) -> Option<String> {
        let line = self.0.lines().find(|line| line.starts_with("nucleus_build_info{"))?;
        let (_, rest) = line.split_once("version=\"")?;
        rest.split_once('"').map(|(version, _)| version.to_owned())
    }

    /// Returns the number of shards: each has a series of its own.
    pub(crate) fn shards(&self) -> Option<u64> {
        let is_shard = |line: &&str| line.starts_with("nucleus_realtime_cpu_seconds_total{shard=");
        let count = self.0.lines().filter(is_shard).count() as u64;
        (count > 0).then_some(count)
    }

    /// Returns the CPU time of the server's process, s.
    pub(crate) fn cpu_s(&self) -> Option<f64> {
        sum(&self.0, "process_cpu_seconds_total")
    }

    /// Returns the memory of the server's process that is in RAM, bytes.
    pub(crate) fn rss_bytes(&self) -> Option<u64> {
        sum(&self.0, "process_resident_memory_bytes").map(|bytes| bytes as u64)
    }
}

impl Counters {
    /// Returns how much the counters have grown since `earlier`. A counter that has become smaller
    /// began again in between, so its growth is unknown.
    pub(crate) fn since(&self, earlier: &Counters) -> Counters {
        Counters(std::array::from_fn(|i| self.0[i]?.checked_sub(earlier.0[i]?)))
    }

    /// Returns whether a counter is smaller than it was `earlier`: then the server was started anew.
    pub(crate) fn is_smaller_than(&self, earlier: &Counters) -> bool {
        let mut pairs = self.0.into_iter().zip(earlier.0);
        pairs.any(|(now, before)| now.zip(before).is_some_and(|(now, before)| now < before))
    }

    fn parse(text: &str) -> Self {
        Counters(METRICS.map(|name| sum(text, name).map(|count| count as u64)))
    }
}

/// Returns the sum over all series of a metric; `None` if there is no series, or one is not a
/// number.
fn sum(text: &str, name: &str) -> Option<f64> {
    let mut total = None;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' '])) else {
            continue;
        };
        let value: f64 = rest.rsplit_once(' ')?.1.trim().parse().ok()?;
        total = Some(total.unwrap_or(0.0) + value);
    }
    total
}

fn fetch(http: &str) -> io::Result<String> {
    let address = http.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In HTTP/1.0 the response ends with the connection and is never chunked.
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {http}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let ok = head.split(' ').nth(1) == Some("200");
    if ok { Ok(body.to_owned()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_and_the_shards() {
        let text = "process_cpu_seconds_total 12.5\nprocess_resident_memory_bytes 4096\n\
            nucleus_realtime_cpu_seconds_total{shard=\"0\"} 1\n\
            nucleus_realtime_cpu_seconds_total{shard=\"1\"} 1.5\n";
        let page = MetricsPage(text.into());
        assert_eq!((page.cpu_s(), page.rss_bytes()), (Some(12.5), Some(4_096)));
        assert_eq!(page.shards(), Some(2));
        let other = MetricsPage("up 1\n".into());
        assert_eq!((other.cpu_s(), other.rss_bytes(), other.shards()), (None, None, None));
    }

    #[test]
    fn sums_over_the_shards() {
        let text = "# HELP nucleus_realtime_datagrams_out_total x\n\
            nucleus_realtime_datagrams_out_total{shard=\"0\"} 10\n\
            nucleus_realtime_datagrams_out_total{shard=\"1\"} 5\n\
            nucleus_realtime_datagrams_out_total_other 7\n\
            nucleus_realtime_messages_out_total 1e3\n\
            nucleus_realtime_drops_total{reason=\"too_old\"} 4\n\
            nucleus_realtime_drops_total{reason=\"muted\"} 8\n\
            nucleus_realtime_kernel_drops_total{shard=\"0\"} nonsense\n";
        let counters = Counters([Some(15), Some(1_000), None, Some(4), None, None]);
        assert_eq!(Counters::parse(text), counters, "nonsense and absence are not 0");
        let earlier = Counters([Some(5), Some(2_000), Some(0), Some(0), None, None]);
        let growth = Counters([Some(10), None, None, Some(4), None, None]);
        assert_eq!(counters.since(&earlier), growth);
    }
}
