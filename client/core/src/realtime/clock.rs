//! [`ServerClock`]: the server's time as an application sees it.

use std::time::Duration;

use nucleus_protocol::time::Time;

use crate::playback::SlewedTime;

/// How much faster or slower than real time the server's time may go for the application, in parts of
/// a thousand: it makes up for an estimate that was wrong by 20 ms within a second.
const CLOCK_SLEW: u32 = 20;
/// A larger change of the server's time is no error of an estimate: its clock was set, or this device
/// has slept.
const LARGEST_SLEW: Duration = Duration::from_secs(1);

/// What the server has said of its clock in its answer to a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedClock {
    /// When the answer was handled, by the local clock.
    pub at: Time,
    /// The server's time when it sent the answer.
    pub server_time: Time,
    /// Names the clock: a server that was started again has another one.
    pub epoch: u32,
}

/// The server's time for the application: known from the join on, never backwards, and without jumps
/// once it is measured.
pub(super) struct ServerClock {
    joined: JoinedClock,
    /// Whether the application has been told a measured time.
    is_measured: bool,
    shown: SlewedTime,
}

impl ServerClock {
    pub(super) fn new(joined: JoinedClock) -> Self {
        let shown = SlewedTime::new(CLOCK_SLEW, LARGEST_SLEW);
        Self { joined, is_measured: false, shown }
    }

    /// Continues with another session. Its server may have another clock.
    pub(super) fn rejoin(&mut self, joined: JoinedClock) {
        if joined.epoch != self.joined.epoch {
            *self = Self::new(joined);
        }
    }

    /// Returns the server's time at the local time `now`. `measured` is what the link says of it.
    pub(super) fn at(&mut self, now: Time, measured: Option<Time>) -> Time {
        let Some(measured) = measured else {
            // The answer took some time to arrive, so this is a little behind the server.
            let estimate = self.joined.server_time + now.since(self.joined.at);
            return self.shown.go_on(now).unwrap_or_else(|| self.shown.at(now, estimate));
        };
        let is_first = !std::mem::replace(&mut self.is_measured, true);
        if is_first && self.shown.go_on(now).is_some_and(|shown| shown <= measured) {
            self.shown.restart();
        }
        self.shown.at(now, measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn joined(epoch: u32) -> JoinedClock {
        JoinedClock { at: Time::from_millis(500), server_time: Time::from_millis(90_000), epoch }
    }

    #[test]
    fn known_from_the_join_on_and_right_as_soon_as_it_is_measured() {
        let mut clock = ServerClock::new(joined(7));
        let start = Time::from_millis(500);
        assert_eq!(clock.at(start + 20 * MS, None), Time::from_millis(90_020));
        // The answer was under way for 80 ms.
        let measured = Time::from_millis(90_130);
        assert_eq!(clock.at(start + 50 * MS, Some(measured)), measured);
        // A later measurement is evened out.
        let later = clock.at(start + 150 * MS, Some(measured + 200 * MS));
        assert_eq!(later, measured + 102 * MS);
    }

    #[test]
    fn a_measurement_behind_the_estimate_does_not_turn_the_time_back() {
        let mut clock = ServerClock::new(joined(7));
        let start = Time::from_millis(500);
        let shown = clock.at(start, None);
        assert_eq!(clock.at(start + 50 * MS, Some(shown + 20 * MS)), shown + 50 * MS);
        // It goes more slowly until it is right.
        assert_eq!(clock.at(start + 150 * MS, Some(shown + 120 * MS)), shown + 148 * MS);
    }

    #[test]
    fn another_session_goes_on_unless_the_clock_is_another_one() {
        let mut clock = ServerClock::new(joined(7));
        let start = Time::from_millis(500);
        let measured = clock.at(start, Some(Time::from_millis(90_080)));
        // The new link has measured nothing yet, and the answer of the join is older.
        clock.rejoin(JoinedClock { at: start + 100 * MS, ..joined(7) });
        assert_eq!(clock.at(start + 200 * MS, None), measured + 200 * MS);
        clock.rejoin(JoinedClock { server_time: Time::from_millis(3), ..joined(8) });
        assert_eq!(clock.at(start + 200 * MS, None), Time::from_millis(203));
    }
}
