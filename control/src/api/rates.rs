//! How many requests an address may make.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nucleus_core::rate::{Bucket, Rate};
use nucleus_protocol::time::Time;

/// Requests of one address: 100 a second are twice what a dashboard with 50 viewers behind one proxy
/// needs, and far below what the database takes.
const ADDRESS_RATE: Rate = Rate { per_second: 100, burst: 400 };
/// Most addresses that are counted at a time. Those that have asked for nothing for a while are
/// forgotten; while all have just asked, requests of further ones are refused.
const MAX_ADDRESSES: usize = 4_096;

/// The rates of the requests of each address.
pub(super) struct RequestRates {
    /// The begin of the time of the buckets, which no change of the clock disturbs.
    start: Instant,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl Default for RequestRates {
    fn default() -> Self {
        Self { start: Instant::now(), buckets: Mutex::default() }
    }
}

impl RequestRates {
    /// Counts a request. Returns whether it is within the rate.
    pub(super) fn take(&self, ip: IpAddr) -> bool {
        let micros = self.start.elapsed().as_micros();
        let now = Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let ip = network(ip);
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&ip) {
            buckets.retain(|_, bucket| bucket.available(now) < ADDRESS_RATE.burst);
            if buckets.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        buckets.entry(ip).or_insert_with(|| Bucket::new(now, ADDRESS_RATE)).try_take(now)
    }
}

/// The address by which a request is counted. A subscriber has a whole /64 of IPv6.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & (u128::MAX << 64)).into()),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_has_one_rate() {
        let rates = RequestRates::default();
        let taken = |text: &str| (0..1_000).filter(|_| rates.take(text.parse().unwrap())).count();
        let of_one = taken("2001:db8:1:2::1");
        assert!((400..600).contains(&of_one), "{of_one}");
        assert!(taken("2001:db8:1:2:ffff::1") < 100, "the same network");
        assert!(taken("2001:db8:1:3::1") >= 400, "another network");
        assert!(taken("192.0.2.1") >= 400);
        assert!(taken("::ffff:192.0.2.1") < 100, "the same address");
    }
}
