//! Token buckets. The caller passes in the time.

use std::time::Duration;

use nucleus_protocol::time::Time;

/// A token bucket that enforces a [`Rate`].
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    /// Tokens left, in millionths of a token, so that the refill of one microsecond is a whole
    /// number.
    left: u64,
    refilled: Time,
}

const SCALE: u64 = 1_000_000;

impl Bucket {
    /// Creates a full bucket.
    pub fn new(now: Time, rate: Rate) -> Self {
        Self { rate, left: rate.burst.saturating_mul(SCALE), refilled: now }
    }

    /// Refills the bucket and returns how much may be taken at `now`.
    pub fn available(&mut self, now: Time) -> u64 {
        let micros = now.since(self.refilled).as_micros() as u64;
        self.refilled = self.refilled.max(now);
        let full = self.rate.burst.saturating_mul(SCALE);
        self.left = self.left.saturating_add(micros.saturating_mul(self.rate.per_second)).min(full);
        self.left / SCALE
    }

    /// Takes `amount`, or everything that is left if that is less. Call [`Self::available`] first.
    pub fn take(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(amount.saturating_mul(SCALE));
    }

    /// Takes one token if there is one. Returns whether there was.
    pub fn try_take(&mut self, now: Time) -> bool {
        let available = self.available(now) > 0;
        self.take(u64::from(available));
        available
    }

    /// Returns how long it takes until `amount`, or the burst if that is less, is available; zero
    /// if it is available now.
    pub fn wait_for(&mut self, now: Time, amount: u64) -> Duration {
        self.available(now);
        let wanted = amount.min(self.rate.burst).saturating_mul(SCALE);
        let missing = wanted.saturating_sub(self.left);
        Duration::from_micros(missing.div_ceil(self.rate.per_second.max(1)))
    }

    /// Returns how long it takes until the bucket is full.
    pub fn full_in(&mut self, now: Time) -> Duration {
        self.wait_for(now, self.rate.burst)
    }
}

/// A token bucket that hands out turns: each caller learns when its turn is, and needs no second try.
/// The bucket may owe what it has promised.
#[derive(Clone, Debug)]
pub struct DebtBucket {
    rate: Rate,
    /// Tokens left in millionths. Negative: promised turns are still to come.
    left: i64,
    refilled: Time,
}

impl DebtBucket {
    /// Creates a full bucket.
    pub fn new(now: Time, rate: Rate) -> Self {
        Self { rate, left: scaled(rate.burst), refilled: now }
    }

    /// Takes `amount`, and returns how long to wait for it. An amount above the burst waits until the
    /// bucket is full.
    pub fn reserve(&mut self, now: Time, amount: u64) -> Duration {
        let micros = now.since(self.refilled).as_micros() as u64;
        self.refilled = self.refilled.max(now);
        // The product is in millionths already.
        let refill = i64::try_from(micros.saturating_mul(self.rate.per_second));
        let refilled = self.left.saturating_add(refill.unwrap_or(i64::MAX));
        self.left = refilled.min(scaled(self.rate.burst));
        let missing = scaled(amount.min(self.rate.burst)).saturating_sub(self.left).max(0) as u64;
        self.left = self.left.saturating_sub(scaled(amount));
        Duration::from_micros(missing.div_ceil(self.rate.per_second.max(1)))
    }

    /// Gives back what was reserved and not needed.
    pub fn refund(&mut self, amount: u64) {
        self.left = self.left.saturating_add(scaled(amount)).min(scaled(self.rate.burst));
    }
}

fn scaled(amount: u64) -> i64 {
    i64::try_from(amount.saturating_mul(SCALE)).unwrap_or(i64::MAX)
}

/// A limit on how much may be taken.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The average amount that may be taken per second.
    pub per_second: u64,
    /// The burst: the largest amount that may be taken at once.
    pub burst: u64,
}

/// Limits messages and their bytes, each by its own token bucket.
#[derive(Clone, Debug)]
pub struct MessageRate {
    messages: Bucket,
    bytes: Bucket,
}

impl MessageRate {
    /// Creates both buckets, full.
    pub fn new(now: Time, messages: Rate, bytes: Rate) -> Self {
        Self { messages: Bucket::new(now, messages), bytes: Bucket::new(now, bytes) }
    }

    /// Returns how long it takes until a message of `len` bytes may be taken; zero if it may be
    /// taken now.
    pub fn wait_for(&mut self, now: Time, len: u64) -> Duration {
        self.messages.wait_for(now, 1).max(self.bytes.wait_for(now, len))
    }

    /// Returns how long it takes until both buckets are full.
    pub fn full_in(&mut self, now: Time) -> Duration {
        self.messages.full_in(now).max(self.bytes.full_in(now))
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
        let mut bucket = Bucket::new(Time::ZERO, Rate { per_second: 100, burst: 10 });
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
    fn reservations_keep_the_rate_and_the_order() {
        let mut turns = DebtBucket::new(Time::ZERO, Rate { per_second: 100, burst: 10 });
        let waits: Vec<u64> =
            (0..30).map(|_| turns.reserve(Time::ZERO, 1).as_millis() as u64).collect();
        let expected: Vec<u64> = (0..30_u64).map(|n| (n + 1).saturating_sub(10) * 10).collect();
        assert_eq!(waits, expected);
        // More than a burst waits until all earlier turns are over and the bucket is full.
        assert_eq!(turns.reserve(Time::ZERO, 1_000), Duration::from_millis(300));
        turns.refund(1_000);
        assert_eq!(turns.reserve(Time::ZERO, 1), Duration::from_millis(210));
        turns.refund(u64::MAX);
        assert_eq!(turns.reserve(Time::from_millis(u64::MAX / 1_000), 10), Duration::ZERO);
        assert!(turns.reserve(Time::ZERO, u64::MAX) > Duration::ZERO, "no overflow");
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let rate = Rate { per_second: 1_000, burst: 1 };
        let mut bucket = Bucket::new(Time::from_millis(10), rate);
        assert!(bucket.try_take(Time::from_millis(10)));
        assert!(!bucket.try_take(Time::from_millis(5)));
        assert!(!bucket.try_take(Time::from_millis(10)));
    }
}
