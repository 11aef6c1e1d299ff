//! Time as a value. The driver of a state machine reads the clock; the state machine never does.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use crate::limits;

/// A moment, in microseconds since an origin that the driver chose.
///
/// Only differences between two times have a meaning. Arithmetic saturates, so that a time from a
/// peer cannot cause an overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// The latest moment.
    pub const MAX: Time = Time(u64::MAX);

    /// Returns the moment `micros` µs after the origin.
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// Returns the moment `millis` ms after the origin.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000))
    }

    /// Returns the microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the milliseconds since the origin, modulo 2^16: the capture time in a frame.
    pub const fn as_wire_millis(self) -> u16 {
        (self.0 / 1_000) as u16
    }

    /// Returns how long before this moment something was captured, from the capture time in a
    /// frame. A capture time that is up to [`limits::CAPTURE_IN_FUTURE`] ahead counts as now:
    /// clocks differ a little, and a claim must not make a message younger than its arrival.
    ///
    /// The age is in ms.
    pub const fn capture_age(self, captured: u16) -> u16 {
        let age = self.as_wire_millis().wrapping_sub(captured);
        if age > u16::MAX - limits::CAPTURE_IN_FUTURE { 0 } else { age }
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later than `self`.
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
