//! Reads the server's own counters from its `/metrics`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Largest size of a response, bytes. The response of a server with many shards has tens of KB.
const MAX_ANSWER: u64 = 4 << 20;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Counters, summed over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) datagrams_out: u64,
    pub(crate) messages_out: u64,
    pub(crate) kernel_drops: u64,
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

    /// Returns how much the counters have grown since `earlier`.
    pub(crate) fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            datagrams_out: self.datagrams_out.saturating_sub(earlier.datagrams_out),
            messages_out: self.messages_out.saturating_sub(earlier.messages_out),
            kernel_drops: self.kernel_drops.saturating_sub(earlier.kernel_drops),
        }
    }

    fn parse(text: &str) -> Self {
        Counters {
            datagrams_out: sum(text, "nucleus_realtime_datagrams_out_total"),
            messages_out: sum(text, "nucleus_realtime_messages_out_total"),
            kernel_drops: sum(text, "nucleus_realtime_kernel_drops_total"),
        }
    }
}

/// Returns the sum over all series of a metric.
fn sum(text: &str, name: &str) -> u64 {
    let series = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then_some(())?;
        rest.rsplit_once(' ')?.1.trim().parse::<f64>().ok()
    });
    series.sum::<f64>() as u64
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
        let counters = Counters { datagrams_out: 15, messages_out: 1_000, kernel_drops: 0 };
        assert_eq!(Counters::parse(text), counters);
        let earlier = Counters { datagrams_out: 5, messages_out: 2_000, kernel_drops: 0 };
        let difference = Counters { datagrams_out: 10, messages_out: 0, kernel_drops: 0 };
        assert_eq!(counters.since(&earlier), difference);
    }
}
