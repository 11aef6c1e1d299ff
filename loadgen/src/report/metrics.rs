//! Reads the server's own counters from its `/metrics`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Largest size of a response, bytes. The response of a server with many shards has tens of KB.
const MAX_ANSWER: u64 = 4 << 20;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Counters, summed over all shards. A counter that the server does not name is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) datagrams_out: Option<u64>,
    pub(crate) messages_out: Option<u64>,
    pub(crate) kernel_drops: Option<u64>,
    pub(crate) too_old: Option<u64>,
}

impl Counters {
    /// Reads the counters of the server at `http`, `host:port`.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or answers with anything but status 200.
    pub(crate) fn read(http: &str) -> io::Result<Self> {
        Ok(Self::parse(&fetch(http)?))
    }

    /// Returns how much the counters have grown since `earlier`. A counter that has become smaller
    /// began again in between, so its growth is unknown.
    pub(crate) fn since(&self, earlier: &Counters) -> Counters {
        let growth = |now: Option<u64>, before: Option<u64>| now?.checked_sub(before?);
        Counters {
            datagrams_out: growth(self.datagrams_out, earlier.datagrams_out),
            messages_out: growth(self.messages_out, earlier.messages_out),
            kernel_drops: growth(self.kernel_drops, earlier.kernel_drops),
            too_old: growth(self.too_old, earlier.too_old),
        }
    }

    /// Returns whether a counter is smaller than it was `earlier`: then the server was started anew.
    pub(crate) fn is_smaller_than(&self, earlier: &Counters) -> bool {
        let pairs = [
            (self.datagrams_out, earlier.datagrams_out),
            (self.messages_out, earlier.messages_out),
            (self.kernel_drops, earlier.kernel_drops),
            (self.too_old, earlier.too_old),
        ];
        pairs.iter().any(|(now, before)| now.zip(*before).is_some_and(|(now, was)| now < was))
    }

    fn parse(text: &str) -> Self {
        Counters {
            datagrams_out: sum(text, "nucleus_realtime_datagrams_out_total"),
            messages_out: sum(text, "nucleus_realtime_messages_out_total"),
            kernel_drops: sum(text, "nucleus_realtime_kernel_drops_total"),
            too_old: sum(text, "nucleus_realtime_too_old_total"),
        }
    }
}

/// Returns the sum over all series of a metric; `None` if there is no series, or one is not a
/// number.
fn sum(text: &str, name: &str) -> Option<u64> {
    let mut total = None;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' '])) else {
            continue;
        };
        let value: f64 = rest.rsplit_once(' ')?.1.trim().parse().ok()?;
        total = Some(total.unwrap_or(0.0) + value);
    }
    total.map(|total| total as u64)
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
    fn sums_over_the_shards() {
        let text = "# HELP nucleus_realtime_datagrams_out_total x\n\
            nucleus_realtime_datagrams_out_total{shard=\"0\"} 10\n\
            nucleus_realtime_datagrams_out_total{shard=\"1\"} 5\n\
            nucleus_realtime_datagrams_out_total_other 7\n\
            nucleus_realtime_messages_out_total 1e3\n\
            nucleus_realtime_kernel_drops_total{shard=\"0\"} nonsense\n";
        let counters = Counters {
            datagrams_out: Some(15),
            messages_out: Some(1_000),
            kernel_drops: None,
            too_old: None,
        };
        assert_eq!(Counters::parse(text), counters, "nonsense and absence are not 0");
        let earlier = Counters {
            datagrams_out: Some(5),
            messages_out: Some(2_000),
            kernel_drops: Some(0),
            too_old: Some(0),
        };
        let growth = Counters { datagrams_out: Some(10), ..Counters::default() };
        assert_eq!(counters.since(&earlier), growth);
    }
}
