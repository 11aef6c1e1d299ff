//! Reports: what each end tells the other about the link, so that the server can control its rate
//! and the client can tell its application how the network is.

use std::time::Duration;

use super::control::{REPORT, REPORT_INTERVAL};
use super::frame::{self, MessageKind};
use crate::codec::{Reader, Truncated};
use crate::limits;

/// Cumulative figures of a client about what it received on its link. All counts wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientReport {
    /// Largest packet number received.
    pub largest: u32,
    /// Datagrams received on the realtime port.
    pub received: u32,
    /// Bytes of these datagrams.
    pub bytes: u32,
    /// Datagrams received with the ECN mark "congestion experienced".
    pub ce: u32,
    /// Datagrams received with any ECN mark.
    pub ect: u32,
    /// The delay of the datagrams since the last report; `None` if none had a send time.
    pub delay: Option<DelayReport>,
}

/// The delay of the datagrams with a send time since the last report. Times are raw: the client's
/// clock and the server's differ by an unknown offset, and the estimate of the offset would hide a
/// part of a standing queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayReport {
    /// The client's clock when the newest of these datagrams arrived, us modulo 2^32.
    pub arrival: u32,
    /// The send time of that datagram.
    pub send_time: u32,
    /// Least difference between the client's clock at the arrival of a datagram and its send time,
    /// us modulo 2^32.
    pub delay_min: u32,
    /// Mean difference minus the least one, in units of 10 us, at most 65,535.
    pub spread: u16,
    /// Time from that arrival to the writing of the report, in units of 0.1 ms, at most 65,535.
    pub hold: u16,
}

/// Cumulative counts of messages of one [`MessageKind`] that the server did not deliver on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Messages past their age limit that a newer message replaced.
    pub superseded: u32,
    /// Messages withheld because they were over the recipient's budget.
    pub suppressed: u32,
    /// Messages dropped because a limit of the server was reached.
    pub dropped: u32,
    /// Reserved: messages withheld because their sender is far away. 0 today.
    pub distant: u32,
}

/// Figures of the server about a link. The counts are cumulative and wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Largest packet number received from the client.
    pub largest: u32,
    /// Datagrams received from the client.
    pub received: u32,
    /// Most bits a second that the server sends to this client on the realtime plane; 0: unknown.
    pub rate: u32,
    /// How many voices the server sends to this client at once; 255: all.
    pub speakers: u8,
    /// How much the server withholds from this client, one of [`quality`].
    pub quality: u8,
    /// Why it withholds this, one of [`cause`].
    pub cause: u8,
    /// Delay from the client to the server that queues add, in units of 0.1 ms; 65,535: unknown.
    pub uplink_delay: u16,
    /// Undelivered messages, indexed by [`MessageKind::index`].
    pub kinds: [KindCounts; MessageKind::ALL.len()],
}

/// How much the server withholds from a client: values of [`ServerReport::quality`].
pub mod quality {
    /// Nothing.
    pub const FULL: u8 = 0;
    /// Poses come less often.
    pub const POSES_THINNED: u8 = 1;
    /// Only the loudest voices come.
    pub const SPEAKERS_LIMITED: u8 = 2;
    /// As little as possible comes.
    pub const LEAST: u8 = 3;
}

/// Why the server withholds messages: values of [`ServerReport::cause`].
pub mod cause {
    /// It withholds none.
    pub const NONE: u8 = 0;
    /// The network to the client.
    pub const NETWORK: u8 = 1;
    /// The load of the server.
    pub const SERVER: u8 = 2;
}

/// The value of [`ServerReport::speakers`] for all voices.
pub const ALL_SPEAKERS: u8 = 255;
/// The value of [`ServerReport::uplink_delay`] for an unknown delay.
pub const UNKNOWN_DELAY: u16 = u16::MAX;

impl Default for ServerReport {
    fn default() -> Self {
        Self {
            largest: 0,
            received: 0,
            rate: 0,
            speakers: ALL_SPEAKERS,
            quality: quality::FULL,
            cause: cause::NONE,
            uplink_delay: UNKNOWN_DELAY,
            kinds: Default::default(),
        }
    }
}

impl ClientReport {
    /// Length of the longest frame in bytes.
    pub const FRAME_BYTES: usize = 2 + Self::BODY + Self::DELAY;
    const BODY: usize = 20;
    const DELAY: usize = 16;

    /// Returns whether the report may be true of a link on which the packets up to the number before
    /// `next_number` were sent. Each packet number is received once at most.
    pub fn may_be_true(&self, next_number: u32) -> bool {
        let is_nothing = (self.largest, self.received) == (0, 0);
        is_nothing || self.largest < next_number && self.received <= self.largest.saturating_add(1)
    }

    /// Reads the body: 20 bytes, or at least 36 with the delay.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let [largest, received, bytes, ce, ect] =
            [r.u32()?, r.u32()?, r.u32()?, r.u32()?, r.u32()?];
        let delay = if body.len() == Self::BODY { None } else { Some(DelayReport::parse(&mut r)?) };
        Ok(Self { largest, received, bytes, ce, ect, delay })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let delay = if self.delay.is_some() { Self::DELAY } else { 0 };
        frame::put_header(out, REPORT, Self::BODY + delay);
        for word in [self.largest, self.received, self.bytes, self.ce, self.ect] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        if let Some(delay) = &self.delay {
            delay.encode(out);
        }
    }
}

impl DelayReport {
    fn parse(r: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            arrival: r.u32()?,
            send_time: r.u32()?,
            delay_min: r.u32()?,
            spread: r.u16()?,
            hold: r.u16()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for word in [self.arrival, self.send_time, self.delay_min] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.spread.to_le_bytes());
        out.extend_from_slice(&self.hold.to_le_bytes());
    }
}

impl KindCounts {
    /// Counts of one kind that this version knows.
    const COUNTS: usize = 4;

    fn counts(&mut self) -> [&mut u32; Self::COUNTS] {
        [&mut self.superseded, &mut self.suppressed, &mut self.dropped, &mut self.distant]
    }
}

impl ServerReport {
    /// Length of the whole frame in bytes.
    pub const FRAME_BYTES: usize = 2 + Self::BODY;
    const BODY: usize = 19 + 4 * KindCounts::COUNTS * MessageKind::ALL.len();

    /// Reads the body. Skips kinds and counts that this version does not know.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields and lists.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let mut report = Self {
            largest: r.u32()?,
            received: r.u32()?,
            rate: r.u32()?,
            speakers: r.u8()?,
            quality: r.u8()?,
            cause: r.u8()?,
            uplink_delay: r.u16()?,
            kinds: Default::default(),
        };
        let (kinds, counts) = (r.u8()?, r.u8()?);
        for kind in 0..usize::from(kinds) {
            let mut ignored = KindCounts::default();
            let mut known = report.kinds.get_mut(kind).unwrap_or(&mut ignored).counts().into_iter();
            for _ in 0..counts {
                let count = r.u32()?;
                if let Some(known) = known.next() {
                    *known = count;
                }
            }
        }
        Ok(report)
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put_header(out, REPORT, Self::BODY);
        for word in [self.largest, self.received, self.rate] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&[self.speakers, self.quality, self.cause]);
        out.extend_from_slice(&self.uplink_delay.to_le_bytes());
        out.extend_from_slice(&[MessageKind::ALL.len() as u8, KindCounts::COUNTS as u8]);
        for mut kind in self.kinds {
            for count in kind.counts() {
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
    }
}

/// The interval at which the server wants the client's reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportInterval {
    /// The interval in units of 10 ms. A reader cuts it to 5 to 100.
    pub interval: u8,
}

impl ReportInterval {
    /// Length of the frame in bytes.
    pub const FRAME_BYTES: usize = 3;

    /// Makes the frame of an interval, cut to the allowed range.
    pub fn new(interval: Duration) -> Self {
        let range = limits::REPORT_INTERVAL_MIN..=limits::REPORT_INTERVAL_MAX;
        let interval = interval.clamp(*range.start(), *range.end());
        Self { interval: (interval.as_millis() / 10) as u8 }
    }

    /// Returns the interval, cut to the allowed range.
    pub fn duration(self) -> Duration {
        Duration::from_millis(10 * u64::from(self.interval))
            .clamp(limits::REPORT_INTERVAL_MIN, limits::REPORT_INTERVAL_MAX)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is empty.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        Ok(Self { interval: Reader::new(body).u8()? })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put(out, REPORT_INTERVAL, &[self.interval]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_more_kinds_and_counts_is_read() {
        let mut body = Vec::new();
        ServerReport::default().encode(&mut body);
        let mut body = body[2..19 + 2 - 2].to_vec();
        body.extend_from_slice(&[5, 6]);
        (0..30u32).for_each(|count| body.extend_from_slice(&count.to_le_bytes()));
        let report = ServerReport::parse(&body).unwrap();
        let third = KindCounts { superseded: 12, suppressed: 13, dropped: 14, distant: 15 };
        assert_eq!(report.kinds[2], third);
        assert!(ServerReport::parse(&body[..body.len() - 1]).is_err());
    }

    #[test]
    fn a_report_with_fewer_kinds_and_counts_is_read() {
        let mut body = vec![0; 17];
        body.extend_from_slice(&[1, 2, 7, 0, 0, 0, 8, 0, 0, 0]);
        let report = ServerReport::parse(&body).unwrap();
        let first = KindCounts { superseded: 7, suppressed: 8, ..KindCounts::default() };
        assert_eq!(
            report.kinds,
            [first, KindCounts::default(), KindCounts::default(), KindCounts::default()]
        );
    }

    #[test]
    fn the_delay_is_whole_or_absent() {
        for len in 0..40 {
            let read = ClientReport::parse(&vec![1; len]);
            assert_eq!(read.is_ok(), len == 20 || len >= 36, "{len} bytes");
            assert_eq!(read.is_ok_and(|report| report.delay.is_some()), len >= 36, "{len} bytes");
        }
    }

    #[test]
    fn intervals_are_cut() {
        for (interval, ms) in [(0, 50), (5, 50), (10, 100), (100, 1_000), (255, 1_000)] {
            assert_eq!(ReportInterval { interval }.duration(), Duration::from_millis(ms));
        }
        assert_eq!(ReportInterval::new(Duration::from_secs(9)).interval, 100);
    }
}
