//! The rate of the reliable messages of one room, which all its members share.
//!
//! A message costs the server one delivery for each recipient. So the rate counts what comes in and
//! what goes out. The caller reserves for the most recipients that a message may have: those that it
//! names, else all members. The room gives back what the message did not need.

use std::time::Duration;

use nucleus_protocol::limits::MAX_EVENT_MESSAGE;
use nucleus_protocol::time::Time;

use crate::limits::Limits;
use crate::rate::{DebtBucket, Rate};

/// The rate of a room's reliable messages.
#[derive(Clone, Debug)]
pub struct RoomRate {
    messages: DebtBucket,
    bytes: DebtBucket,
    deliveries: DebtBucket,
    delivered_bytes: DebtBucket,
}

/// What messages cost when they go out: one delivery for each message and recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCost {
    /// Deliveries.
    pub deliveries: u64,
    /// Bytes of all deliveries together.
    pub bytes: u64,
}

impl DeliveryCost {
    /// Returns the cost of a message of `len` bytes to `recipients`.
    pub fn of(len: usize, recipients: usize) -> Self {
        let (len, deliveries) = (len as u64, recipients as u64);
        Self { deliveries, bytes: len * deliveries }
    }

    /// Adds another cost.
    pub fn add(&mut self, other: Self) {
        self.deliveries += other.deliveries;
        self.bytes += other.bytes;
    }

    /// Returns what is left of this cost after `used`.
    pub fn without(self, used: Self) -> Self {
        Self {
            deliveries: self.deliveries.saturating_sub(used.deliveries),
            bytes: self.bytes.saturating_sub(used.bytes),
        }
    }
}

impl RoomRate {
    /// Creates the rate of a new room. Each burst is two seconds' worth, and at least the largest
    /// message to one recipient.
    pub fn new(now: Time, limits: &Limits) -> Self {
        let bucket = |per_second: u64, least: u64| {
            DebtBucket::new(now, Rate { per_second, burst: (2 * per_second).max(least) })
        };
        let largest = MAX_EVENT_MESSAGE as u64;
        Self {
            messages: bucket(limits.room_events_per_s.into(), 1),
            bytes: bucket(limits.room_event_bytes_per_s.into(), largest),
            deliveries: bucket(limits.room_deliveries_per_s.into(), 1),
            delivered_bytes: bucket(limits.room_delivery_bytes_per_s.into(), largest),
        }
    }

    /// Takes what a message of `len` bytes needs that may cost `cost`, if it need not wait and nobody
    /// waits. Returns whether it did.
    pub fn try_take(&mut self, now: Time, len: usize, cost: DeliveryCost) -> bool {
        let mut after = self.clone();
        let free = after.reserve(now, len, cost).is_zero();
        if free {
            *self = after;
        }
        free
    }

    /// Reserves the next turn for a message of `len` bytes that may cost `cost`, and returns how long
    /// it must wait. Messages get their turns in the order of these calls, so a large one is not
    /// overtaken by small ones for ever.
    pub fn reserve(&mut self, now: Time, len: usize, cost: DeliveryCost) -> Duration {
        let waits = [
            self.messages.reserve(now, 1),
            self.bytes.reserve(now, len as u64),
            self.deliveries.reserve(now, cost.deliveries),
            self.delivered_bytes.reserve(now, cost.bytes),
        ];
        waits.into_iter().max().unwrap_or_default()
    }

    /// Gives back all that a message of `len` bytes has reserved: it is not sent.
    pub fn give_back(&mut self, len: usize, cost: DeliveryCost) {
        self.messages.refund(1);
        self.bytes.refund(len as u64);
        self.refund(cost);
    }

    /// Gives back what reserved messages did not need.
    pub fn refund(&mut self, unused: DeliveryCost) {
        self.deliveries.refund(unused.deliveries);
        self.delivered_bytes.refund(unused.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(messages: u32, bytes: u32) -> Limits {
        let (room_events_per_s, room_event_bytes_per_s) = (messages, bytes);
        Limits { room_events_per_s, room_event_bytes_per_s, ..Limits::default() }
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// Returns how many messages of `len` bytes to one recipient get their turn without a wait.
    fn taken(rate: &RoomRate, now: Time, len: usize) -> usize {
        let mut rate = rate.clone();
        let cost = DeliveryCost::of(len, 1);
        (0..1_000).take_while(|_| rate.reserve(now, len, cost).is_zero()).count()
    }

    #[test]
    fn all_together_have_one_rate() {
        let mut rate = RoomRate::new(at(0), &limits(10, 100_000));
        assert_eq!(taken(&rate, at(0), 10), 20, "messages");
        assert_eq!(taken(&rate, at(0), 20_000), 10, "bytes");
        for _ in 0..20 {
            rate.reserve(at(0), 10, DeliveryCost::of(10, 1));
        }
        assert_eq!(taken(&rate, at(500), 10), 5);
    }

    #[test]
    fn the_largest_message_fits_the_least_rate() {
        let least = Limits {
            room_events_per_s: 1,
            room_event_bytes_per_s: 4_096,
            room_deliveries_per_s: 1_000,
            room_delivery_bytes_per_s: 1 << 20,
            ..Limits::default()
        };
        assert!(least.check().is_ok());
        let mut rate = RoomRate::new(at(0), &least);
        let cost = DeliveryCost::of(MAX_EVENT_MESSAGE, 4_000);
        assert!(rate.reserve(at(0), MAX_EVENT_MESSAGE, cost).is_zero());
        let wait = rate.reserve(at(0), 1, DeliveryCost::of(1, 1));
        assert!(wait > Duration::ZERO && wait < Duration::from_secs(120), "{wait:?}");
    }

    /// A crowd waits in front of the rate: everybody gets one turn, in order, without a second try.
    #[test]
    fn a_crowd_gets_its_turns_in_order() {
        let mut rate = RoomRate::new(at(0), &limits(1_000, 512 << 10));
        let mut last = Duration::ZERO;
        for n in 0..10_000_usize {
            // Each seventh message is a large one.
            let len = if n.is_multiple_of(7) { MAX_EVENT_MESSAGE } else { 100 };
            let wait = rate.reserve(at(0), len, DeliveryCost::of(len, 2));
            assert!(wait >= last, "message {n} overtakes");
            last = wait;
        }
        let bytes = 10_000 / 7 * MAX_EVENT_MESSAGE + 10_000 * 6 / 7 * 100;
        let expected = bytes as f64 / f64::from(512 << 10) - 2.0;
        assert!((last.as_secs_f64() - expected).abs() < 0.5, "{last:?}, not {expected} s");
    }

    #[test]
    fn what_goes_out_counts_and_what_does_not_is_given_back() {
        let rate = RoomRate::new(at(0), &Limits::default());
        let per_second = u64::from(Limits::default().room_deliveries_per_s);
        let taken = |refunds: bool| {
            let mut rate = rate.clone();
            let cost = DeliveryCost::of(100, 1_000);
            let mut count = 0;
            while count < 10_000 && rate.reserve(at(0), 100, cost).is_zero() {
                count += 1;
                if refunds {
                    rate.refund(cost.without(DeliveryCost::of(100, 1)));
                }
            }
            count
        };
        assert_eq!(taken(false), 2 * per_second / 1_000, "to everybody");
        assert_eq!(taken(true), 2 * u64::from(Limits::default().room_events_per_s), "to one");
    }
}
