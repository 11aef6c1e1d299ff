//! When a certificate is ordered from a certificate authority by ACME (RFC 8555).

use crate::validity::Validity;

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;

/// The pause after a failed order, in seconds. It doubles with each further failure. Public authorities
/// admit five failed validations of a name in an hour: these are four.
const FIRST_PAUSE_S: u64 = 300;
/// The longest pause after a failed order, in seconds.
const LONGEST_PAUSE_S: u64 = 6 * HOUR_S;
/// Certificates of fewer seconds are renewed at half of their time, and others when a third is left:
/// the advice of Let's Encrypt for both.
const SHORT_LIVED_S: u64 = 10 * DAY_S;

/// Decides when to order a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcmeSchedule {
    /// Orders in a row that failed.
    failures: u32,
    /// No order before this second, since 1970.
    not_before: u64,
}

impl AcmeSchedule {
    /// Whether a certificate is to be ordered at `now`, in seconds since 1970. `held` is the certificate
    /// that there is for the wanted names.
    pub fn is_due(&self, now: u64, held: Option<Validity>) -> bool {
        // A clock that was set back must not make the pause longer.
        let may = now >= self.not_before || self.not_before - now > LONGEST_PAUSE_S;
        may && held.is_none_or(|held| is_old(held, now))
    }

    /// Notes that an order failed at `now`. Returns the pause before the next one, in seconds.
    pub fn failed(&mut self, now: u64) -> u64 {
        let pause = FIRST_PAUSE_S.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE_S);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(pause);
        pause
    }

    /// Notes that a certificate was issued at `now`. Returns false if it would have to be renewed at
    /// once, which shows that this machine's clock is wrong: the order counts as [`failed`](Self::failed).
    pub fn issued(&mut self, now: u64, validity: Validity) -> bool {
        if is_old(validity, now) {
            self.failed(now);
            return false;
        }
        *self = Self::default();
        true
    }

    /// Ends the pause after a failed order: the operator says that the cause is mended.
    pub fn hurry(&mut self) {
        self.not_before = 0;
    }
}

/// Whether a certificate is to be renewed. One that is not valid yet is not: a new one would not be valid
/// either.
fn is_old(Validity { start, end }: Validity, now: u64) -> bool {
    let life = end.saturating_sub(start);
    let left = if life < SHORT_LIVED_S { life / 2 } else { life / 3 };
    now >= end.saturating_sub(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 20_000 * DAY_S;

    fn issued_at(now: u64, days: u64) -> Validity {
        Validity { start: now, end: now + days * DAY_S }
    }

    #[test]
    fn a_certificate_is_renewed_before_anybody_is_warned_of_its_end() {
        let schedule = AcmeSchedule::default();
        assert!(schedule.is_due(NOW, None));
        for (days, renewed_after) in [(90, 60), (47, 32), (6, 3)] {
            let held = issued_at(NOW, days);
            let due = |day: u64| schedule.is_due(NOW + day * DAY_S, Some(held));
            let first = (0..days).find(|day| due(*day)).unwrap();
            assert_eq!(first, renewed_after, "{days} days");
            assert!(due(days + 1_000), "it has ended");
            assert_eq!(held.notice(NOW + first * DAY_S), None);
            assert!(!schedule.is_due(NOW - 400 * DAY_S, Some(held)), "the clock was set back");
        }
    }

    #[test]
    fn failures_stay_below_the_limits_of_public_authorities() {
        let mut schedule = AcmeSchedule::default();
        let mut tried = Vec::new();
        for now in (NOW..NOW + 2 * DAY_S).step_by(60) {
            if schedule.is_due(now, None) {
                schedule.failed(now);
                tried.push(now - NOW);
            }
        }
        assert_eq!(tried[..5], [0, 300, 900, 2_100, 4_500]);
        let in_an_hour =
            |from: u64| tried.iter().filter(|at| (from..from + HOUR_S).contains(at)).count();
        assert!((0..2 * DAY_S).step_by(60).all(|from| in_an_hour(from) <= 4));
        assert!(tried.windows(2).all(|two| two[1] - two[0] <= LONGEST_PAUSE_S));
        schedule.hurry();
        assert!(schedule.is_due(NOW + 2 * DAY_S, None));
    }

    #[test]
    fn a_wrong_clock_orders_no_certificates_in_a_row() {
        let mut schedule = AcmeSchedule::default();
        let ahead = NOW + 5_000 * DAY_S;
        assert!(!schedule.issued(ahead, issued_at(NOW, 90)));
        assert!(!schedule.is_due(ahead, Some(issued_at(NOW, 90))));
        assert!(schedule.is_due(NOW, None), "the clock is right again");
        assert!(schedule.issued(NOW, issued_at(NOW, 90)));
        assert_eq!(schedule, AcmeSchedule::default());
        schedule.failed(u64::MAX);
        assert!(schedule.is_due(NOW, None));
    }
}
