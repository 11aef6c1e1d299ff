//! How many requests an address may make.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use nucleus_core::rate::{Bucket, Rate};
use nucleus_protocol::time::Time;

/// Requests of one address: 100 a second are twice what a dashboard with 50 viewers behind one proxy
/// needs, and far below what the database takes.
const ADDRESS_RATE: Rate = Rate { per_second: 100, burst: 400 };
/// Most addresses that are counted. The one with the fullest bucket is forgotten first: it has asked
/// for nothing for the longest time.
const MAX_ADDRESSES: usize = 4_096;

/// The rates of the requests of each address.
#[derive(Default)]
pub(super) struct RequestRates(Mutex<HashMap<IpAddr, Bucket>>);

impl RequestRates {
    /// Counts a request. Returns whether it is within the rate.
    pub(super) fn take(&self, ip: IpAddr, now: Time) -> bool {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&ip) {
            buckets.retain(|_, bucket| bucket.available(now) < ADDRESS_RATE.burst);
            if buckets.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        buckets.entry(ip).or_insert_with(|| Bucket::new(now, ADDRESS_RATE)).try_take(now)
    }
}
