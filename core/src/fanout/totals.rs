//! The figures of a peer's links together. They are read when a link closes, and when somebody asks, and
//! cost nothing for a message.

use std::time::Duration;

use nucleus_protocol::link::Link;

use super::sent_numbers::SentNumbers;
use crate::plane_event::LinkTotals;
use crate::room_stats::share_ppm;
use crate::traffic::LinkLosses;

/// Sums over links of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkSums {
    pub(super) on_fallback: Duration,
    pub(super) withheld: u64,
    pub(super) datagrams_in: u64,
    pub(super) datagrams_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Datagrams on the realtime port that the client has sent, up to the newest that has arrived.
    sent: u64,
    /// Those of them that have arrived.
    received: u64,
    /// Datagrams on the realtime port that were sent to the client, up to the newest that it has reported.
    sent_out: u64,
    /// Those of them that have arrived, as the client reports.
    received_out: u64,
}

impl LinkSums {
    /// Adds what a link has counted.
    pub(super) fn add(&mut self, link: &Link, numbers: &SentNumbers) {
        let (counters, counts, sent) = (link.counters(), link.received_counts(), numbers.sent());
        self.datagrams_in += counters.datagrams_in;
        self.datagrams_out += counters.datagrams_out;
        self.bytes_in += counters.bytes_in;
        self.bytes_out += counters.bytes_out;
        self.sent += sent;
        self.received += u64::from(counts.received).min(sent);
        // A client that has received nothing reports the newest as the first one.
        if let Some(report) = link.client_report().filter(|report| report.received > 0) {
            let sent = u64::from(report.largest) + 1;
            self.sent_out += sent;
            self.received_out += u64::from(report.received).min(sent);
        }
    }

    /// Returns what was sent and lost in both directions.
    pub(super) fn losses(&self) -> LinkLosses {
        LinkLosses {
            sent_in: self.sent,
            lost_in: self.sent - self.received,
            sent_out: self.sent_out,
            lost_out: self.sent_out - self.received_out,
        }
    }

    /// Returns the share of the client's datagrams that were lost, in parts per million.
    pub(super) fn loss_ppm(&self) -> Option<u32> {
        share_ppm(self.sent - self.received, self.sent)
    }

    /// Returns the figures as the history has them.
    pub(super) fn totals(self) -> LinkTotals {
        LinkTotals {
            on_fallback: self.on_fallback,
            // The session's, which the room adds.
            rtt_p50: None,
            rtt_p95: None,
            loss_ppm: self.loss_ppm(),
            withheld: self.withheld,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        }
    }
}
