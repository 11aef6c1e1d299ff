//! The ids of rows: UUIDs of version 7, which sort by the time at which they were made.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use uuid::Builder;

use crate::timestamp::Timestamp;

/// The system has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random bytes")]
pub struct NoRandomness;

/// The newest id's begin: milliseconds since 1970 and a counter of 12 bits.
static NEWEST: AtomicU64 = AtomicU64::new(0);
/// Bits of the counter.
const COUNTER: u32 = 12;

/// Makes the id of a row that is made at `now`. The ids of one process sort in the order of their
/// making, also within a millisecond and after the clock was set back.
///
/// # Errors
///
/// [`NoRandomness`]
pub(crate) fn new(now: Timestamp) -> Result<String, NoRandomness> {
    let mut random = [0; 10];
    rand::fill(&mut random[2..]).map_err(|_| NoRandomness)?;
    let millis = now.micros().unsigned_abs() / 1_000;
    let next = |newest: u64| (newest + 1).max(millis << COUNTER);
    let newest = NEWEST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| Some(next(at)));
    let begin = newest.map_or_else(next, next);
    let counter = (begin & ((1 << COUNTER) - 1)) as u16;
    random[..2].copy_from_slice(&counter.to_be_bytes());
    Ok(Builder::from_unix_timestamp_millis(begin >> COUNTER, &random).into_uuid().to_string())
}

/// Returns a text that sorts behind the ids of all rows that were made before `end`, and before all others.
pub(crate) fn before(end: Timestamp) -> String {
    let millis = end.micros().unsigned_abs() / 1_000;
    format!("{:08x}-{:04x}", millis >> 16, millis & 0xffff)
}

/// Whether a text may be the id of a row. Anything else is not found.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_of_their_making() {
        let now = Timestamp::from_seconds(2_000_000_000);
        let mut ids: Vec<_> = (0..10_000).map(|_| new(now).unwrap()).collect();
        ids.push(new(Timestamp::from_seconds(1_000)).unwrap());
        assert!(ids.is_sorted() && ids.iter().all(|id| is_id(id)));
        assert!(
            before(now) <= ids[0] && before(Timestamp::from_micros(now.micros() + 9_000)) > ids[0]
        );
        ids.dedup();
        assert_eq!(ids.len(), 10_001);
        assert_eq!(&ids[0][14..15], "7", "the version");
    }
}
