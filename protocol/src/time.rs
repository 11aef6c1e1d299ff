//! Time as a value: whoever drives a state machine reads a clock, nobody below does.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment, in microseconds since an origin that the driver chose.
///
/// Only differences mean anything. Arithmetic saturates: a peer that names a silly time must not
/// be able to stop the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// Later than everything.
    pub const MAX: Time = Time(u64::MAX);

    /// The moment `micros` µs after the origin.
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// The moment `millis` ms after the origin.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the origin, modulo 2^16: the capture time a frame carries.
    pub const fn as_wire_millis(self) -> u16 {
        (self.0 / 1_000) as u16
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}
