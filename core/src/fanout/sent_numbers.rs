//! How many datagrams a client has sent on UDP 5056, by the packet numbers that arrive.

use nucleus_protocol::time::Time;

use crate::limits::{self, Limits};
use crate::rate::{Bucket, Rate};

/// Counts what a client has sent up to the newest datagram that has arrived.
///
/// A number that has not arrived is a lost datagram, or one that the client never sent. So a client that
/// leaves out millions of numbers would falsify the loss of its room and of the server. At most as many lost
/// datagrams are believed as the client may send.
#[derive(Clone, Debug)]
pub(super) struct SentNumbers {
    /// The number behind the largest one that has arrived.
    next: u32,
    /// Numbers that were left out and are not believed.
    unbelieved: u32,
    /// How many more lost datagrams are believed.
    believed: Bucket,
}

impl SentNumbers {
    pub(super) fn new(now: Time, limits: &Limits) -> Self {
        let per_second = limits::datagram_rate(limits).per_second;
        // A headset sends some 60 a second: enough for more than a minute in which nothing arrives.
        let burst = 5 * per_second;
        Self { next: 0, unbelieved: 0, believed: Bucket::new(now, Rate { per_second, burst }) }
    }

    /// Takes the largest number that has arrived. Returns false if numbers were left out that the client
    /// cannot have sent.
    pub(super) fn note(&mut self, now: Time, largest: u32) -> bool {
        let left_out = largest.saturating_sub(self.next);
        self.next = self.next.max(largest.saturating_add(1));
        left_out == 0 || self.believe(now, left_out)
    }

    /// Returns the number of datagrams that the client has sent.
    pub(super) fn sent(&self) -> u64 {
        u64::from(self.next - self.unbelieved)
    }

    #[cold]
    fn believe(&mut self, now: Time, left_out: u32) -> bool {
        let lost = self.believed.available(now).min(left_out.into());
        self.believed.take(lost);
        // At most `left_out`, which is at most `next`.
        self.unbelieved += left_out - lost as u32;
        lost == u64::from(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_client_cannot_have_sent_are_not_believed() {
        let limits = Limits::default();
        let rate = limits::datagram_rate(&limits).per_second;
        let mut sent = SentNumbers::new(Time::ZERO, &limits);
        assert_eq!(sent.sent(), 0, "nothing has arrived");
        assert!(sent.note(Time::ZERO, 3), "the first three were lost");
        assert!(sent.note(Time::ZERO, 2), "late");
        assert!(sent.note(Time::ZERO, 4));
        assert_eq!(sent.sent(), 5);
        assert!(!sent.note(Time::ZERO, 200_000_000));
        let believed = 5 * rate - 3;
        assert_eq!(sent.sent(), 5 + believed + 1);
        assert!(!sent.note(Time::from_millis(1_000), 300_000_000));
        assert_eq!(sent.sent(), 5 + believed + 1 + rate + 1);
    }
}
