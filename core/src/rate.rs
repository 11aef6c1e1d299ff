//! Token buckets with the time passed in.

use std::time::Duration;

use nucleus_protocol::time::Time;

/// Takes at most `burst` at once and `per_second` on average.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u64,
    burst: u64,
    /// What is left, in millionths, so that one microsecond's refill is whole.
    left: u64,
    refilled: Time,
}

const SCALE: u64 = 1_000_000;

impl Bucket {
    /// A full bucket.
    pub fn new(now: Time, per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, left: burst.saturating_mul(SCALE), refilled: now }
    }

    /// What may be taken now.
    pub fn available(&mut self, now: Time) -> u64 {
        let micros = now.since(self.refilled).as_micros() as u64;
        self.refilled = self.refilled.max(now);
        let full = self.burst.saturating_mul(SCALE);
        self.left = self.left.saturating_add(micros.saturating_mul(self.per_second)).min(full);
        self.left / SCALE
    }

    /// Takes `amount`, or what is left when that is less. Call [`Self::available`] first.
    pub fn take(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(amount.saturating_mul(SCALE));
    }

    /// Takes one if there is one.
    pub fn try_take(&mut self, now: Time) -> bool {
        let there = self.available(now) > 0;
        self.take(u64::from(there));
        there
    }

    /// How long until there are `amount` (at most the burst) again; zero when there are.
    pub fn wait_for(&mut self, now: Time, amount: u64) -> Duration {
        self.available(now);
        let wanted = amount.min(self.burst).saturating_mul(SCALE);
        let missing = wanted.saturating_sub(self.left);
        Duration::from_micros(missing.div_ceil(self.per_second.max(1)))
    }
}

/// How much may be taken.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// On average.
    pub per_second: u64,
    /// At once.
    pub burst: u64,
}

/// Messages and their bytes, each in a bucket of its own.
#[derive(Clone, Debug)]
pub struct MessageRate {
    messages: Bucket,
    bytes: Bucket,
}

impl MessageRate {
    /// Full buckets.
    pub fn new(now: Time, messages: Rate, bytes: Rate) -> Self {
        let bucket = |Rate { per_second, burst }| Bucket::new(now, per_second, burst);
        Self { messages: bucket(messages), bytes: bucket(bytes) }
    }

    /// How long until a message of `len` bytes may be taken; zero: now.
    pub fn wait_for(&mut self, now: Time, len: u64) -> Duration {
        self.messages.wait_for(now, 1).max(self.bytes.wait_for(now, len))
    }

    /// Takes a message of `len` bytes. Call [`Self::wait_for`] first.
    pub fn take(&mut self, len: u64) {
        self.messages.take(1);
        self.bytes.take(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_and_burst_hold() {
        let mut bucket = Bucket::new(Time::ZERO, 100, 10);
        let mut taken = 0;
        for ms in 0..1_000 {
            while bucket.try_take(Time::from_millis(ms)) {
                taken += 1;
            }
        }
        assert_eq!(taken, 10 + 99);
        assert!(!bucket.try_take(Time::from_millis(999)));
        let wait = bucket.wait_for(Time::from_millis(999), 1);
        assert!(bucket.try_take(Time::from_millis(999) + wait));
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut bucket = Bucket::new(Time::from_millis(10), 1_000, 1);
        assert!(bucket.try_take(Time::from_millis(10)));
        assert!(!bucket.try_take(Time::from_millis(5)));
        assert!(!bucket.try_take(Time::from_millis(10)));
    }
}
