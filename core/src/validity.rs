//! When a certificate is valid, and when its operator must be told.

const DAY_S: u64 = 86_400;

/// The time in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second, since 1970.
    pub start: u64,
    /// The last second, since 1970.
    pub end: u64,
}

/// What an operator must know of a certificate that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityNotice {
    /// The certificate is not valid yet. Clients refuse it, or the machine's clock is wrong.
    NotYetValid,
    /// The certificate ends soon, and nothing has renewed it.
    EndsSoon,
    /// The certificate has ended. Clients refuse it.
    Ended,
}

impl Validity {
    /// Returns what the operator must know at `now`, in seconds since 1970; `None` if all is well.
    ///
    /// "Soon" is a sixth of the whole validity, at most 14 days. A certificate of 90 days is usually
    /// renewed 30 days before its end, and a development certificate 3 days before.
    pub fn notice(&self, now: u64) -> Option<ValidityNotice> {
        let Self { start, end } = *self;
        let soon = (end.saturating_sub(start) / 6).min(14 * DAY_S);
        if now < start {
            Some(ValidityNotice::NotYetValid)
        } else if now > end {
            Some(ValidityNotice::Ended)
        } else if end - now < soon {
            Some(ValidityNotice::EndsSoon)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::ServiceWeek;

    #[test]
    fn an_operator_hears_of_a_certificate_before_its_clients_do() {
        let validity = Validity { start: 1_000 * DAY_S, end: 1_090 * DAY_S };
        for (day, notice) in [
            (999, Some(ValidityNotice::NotYetValid)),
            (1_000, None),
            (1_075, None),
            (1_077, Some(ValidityNotice::EndsSoon)),
            (1_090, Some(ValidityNotice::EndsSoon)),
            (1_091, Some(ValidityNotice::Ended)),
        ] {
            assert_eq!(validity.notice(day * DAY_S), notice, "day {day}");
        }
    }

    #[test]
    fn a_development_certificate_that_is_renewed_is_never_mentioned() {
        let week = ServiceWeek::new(2_970).unwrap();
        let validity = Validity { start: *week.validity().start(), end: *week.validity().end() };
        for hour in 0..7 * 24 {
            assert_eq!(validity.notice(2_970 * 7 * DAY_S + hour * 3_600), None, "hour {hour}");
        }
    }

    #[test]
    fn nonsense_is_no_overflow() {
        for (start, end) in [(0, 0), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            for now in [0, 1, u64::MAX] {
                let _notice = Validity { start, end }.notice(now);
            }
        }
    }
}
