//! The schedule of development certificates.
//!
//! Clients trust a development certificate by its digest, the pin. Browsers take such a certificate
//! only if it is valid for at most 14 days, so a server needs a new one again and again. A join
//! token names the next certificate before it serves.
//!
//! Time is divided into weeks. Each week has its own certificate, which is made at least a week
//! before it serves, if the server runs then. The number of the week determines everything but the
//! key: two processes with one data directory need the same certificates at the same time, and a
//! clock that is set back finds the certificates that were there before.

use std::ops::RangeInclusive;

use crate::limits::DEVELOPMENT_CERTIFICATES;

const DAY_S: u64 = 86_400;
const WEEK_S: u64 = 7 * DAY_S;
/// How long a certificate is valid before its week begins and after it ends. Covers clients whose
/// clocks differ, and a server that cannot write the next certificate.
const MARGIN_S: u64 = 3 * DAY_S;
/// The last week with a certificate, in the year 9636. X.509 has no date after the year 9999.
const LAST_WEEK: u32 = 400_000;

// The longest validity that browsers take (`serverCertificateHashes` of WebTransport).
const _: () = assert!(WEEK_S + 2 * MARGIN_S < 14 * DAY_S);

/// A week in which a development certificate serves, counted from 1 January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceWeek(u32);

impl ServiceWeek {
    /// Returns the week of `now`, in seconds since 1970.
    pub fn at(now: u64) -> Self {
        Self((now / WEEK_S).min(LAST_WEEK.into()) as u32)
    }

    /// Returns the week with a number. `None`: X.509 cannot express its dates.
    pub fn new(number: u32) -> Option<Self> {
        (number <= LAST_WEEK).then_some(Self(number))
    }

    /// Returns the number of the week.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Returns the first and the last second for which the certificate of this week is valid, since
    /// 1970. They are 13 days apart.
    pub fn validity(self) -> RangeInclusive<u64> {
        let start = u64::from(self.0) * WEEK_S;
        start.saturating_sub(MARGIN_S)..=start + WEEK_S + MARGIN_S
    }

    /// Whether tokens that are signed at `now` name the certificate of this week. They name those
    /// of this week and the next one. They also name that of last week: a server may be late by a
    /// moment, or its clock may be set back.
    pub fn is_pinned(self, now: u64) -> bool {
        self.0.abs_diff(Self::at(now).0) <= 1
    }
}

/// Returns the weeks whose certificates must exist at `now`: this one and the next.
pub fn needed_weeks(now: u64) -> [ServiceWeek; 2] {
    let current = ServiceWeek::at(now);
    [current, ServiceWeek((current.0 + 1).min(LAST_WEEK))]
}

/// Returns which of the certificates that exist serves at `now`: that of this week. If it is
/// missing, the newest older one serves, and without such a one the oldest newer one.
pub fn week_in_service(existing: &[ServiceWeek], now: u64) -> Option<ServiceWeek> {
    let current = ServiceWeek::at(now);
    let until_now = existing.iter().filter(|week| **week <= current).max();
    until_now.or_else(|| existing.iter().min()).copied()
}

/// Returns the certificates that are to be removed at `now`, so that
/// [`DEVELOPMENT_CERTIFICATES`] stay. The oldest go first; those that tokens name stay.
pub fn surplus_weeks(mut existing: Vec<ServiceWeek>, now: u64) -> Vec<ServiceWeek> {
    let count = existing.len().saturating_sub(DEVELOPMENT_CERTIFICATES);
    existing.sort_unstable();
    existing.retain(|week| !week.is_pinned(now));
    existing.truncate(count);
    existing
}

/// Returns until when a client can join with a token that is signed at `now` and trusts by its
/// pins, in seconds since 1970: the end of the next week.
pub fn pins_end(now: u64) -> u64 {
    let [_, next] = needed_weeks(now);
    (u64::from(next.0) + 1) * WEEK_S
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Thursday at midnight, as every week begins.
    const START: u64 = 2_970 * WEEK_S;

    fn weeks(numbers: &[u32]) -> Vec<ServiceWeek> {
        numbers.iter().copied().map(ServiceWeek).collect()
    }

    #[test]
    fn a_certificate_is_valid_longer_than_its_week_and_less_than_14_days() {
        for now in [START, START + WEEK_S - 1] {
            let validity = ServiceWeek::at(now).validity();
            assert!(validity.contains(&(now - 3 * DAY_S)) && validity.contains(&(now + 3 * DAY_S)));
            assert!(validity.end() - validity.start() < 14 * DAY_S);
        }
        assert_eq!(*ServiceWeek::at(0).validity().start(), 0);
    }

    #[test]
    fn no_time_is_out_of_range() {
        assert_eq!(ServiceWeek::at(u64::MAX).number(), LAST_WEEK);
        assert_eq!(needed_weeks(u64::MAX), [ServiceWeek(LAST_WEEK); 2]);
        assert!(*ServiceWeek(LAST_WEEK).validity().end() < 253_402_300_800, "the year 10000");
        assert_eq!(ServiceWeek::new(LAST_WEEK + 1), None);
        assert!(pins_end(u64::MAX) > pins_end(0));
    }

    #[test]
    fn the_certificate_of_this_week_serves_or_else_the_nearest() {
        let serves =
            |existing: &[u32]| week_in_service(&weeks(existing), START).map(ServiceWeek::number);
        assert_eq!(serves(&[2_969, 2_970, 2_971]), Some(2_970));
        assert_eq!(serves(&[2_971, 2_960, 2_965]), Some(2_965));
        assert_eq!(serves(&[2_980, 2_971]), Some(2_971));
        assert_eq!(serves(&[]), None);
    }

    #[test]
    fn the_oldest_are_removed_and_the_pinned_stay() {
        let mut numbers: Vec<u32> = (2_960..=2_971).rev().collect();
        let removed = surplus_weeks(weeks(&numbers), START);
        assert_eq!(removed, weeks(&[2_960, 2_961, 2_962, 2_963]));
        // The clock was ahead for some weeks, and is right again.
        numbers = vec![2_970, 2_971, 3_000, 3_001, 3_002, 3_003, 3_004, 3_005, 3_006];
        assert_eq!(surplus_weeks(weeks(&numbers), START), weeks(&[3_000]));
        assert_eq!(surplus_weeks(weeks(&[2_000, 2_970]), START), []);
    }
}
