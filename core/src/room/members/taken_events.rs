//! The events that a room has taken from one peer, and when they are acknowledged to its client.
//!
//! A client keeps each event until it is acknowledged. An acknowledgement is never urgent, because
//! a resume tells the counts by itself. So the room waits until enough events have come, or until
//! an event comes whose packet QUIC acknowledges anyway.

use nucleus_protocol::limits::{EVENT_ACK_AGE, EVENT_ACK_BYTES, EVENT_ACK_COUNT, EVENT_ACK_LATEST};
use nucleus_protocol::session::Lane;
use nucleus_protocol::time::Time;

use crate::limits;

/// The events taken from a peer, over all its sessions.
#[derive(Default)]
pub(super) struct TakenEvents {
    /// How many events the room has taken, by lane, wrapping.
    counts: [u32; 2],
    /// Those that the client does not know to be taken. `None`: there are none.
    unacknowledged: Option<Unacknowledged>,
}

/// Events that are not acknowledged yet, of both lanes together.
struct Unacknowledged {
    /// From this time on the next event is acknowledged at once, with all of them.
    soon: Time,
    /// When they are acknowledged at the latest.
    latest: Time,
    events: u32,
    bytes: usize,
}

/// When an event is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckDue {
    /// At once, with all earlier ones.
    Now,
    /// At this time, or earlier with a later event. The peer has no other unacknowledged event.
    At(Time),
    /// Together with the unacknowledged events before it.
    WithEarlier,
}

impl TakenEvents {
    /// Returns how many events the room has taken, by lane, wrapping.
    pub(super) fn counts(&self) -> [u32; 2] {
        self.counts
    }

    /// Counts an event with a payload of `bytes`, and returns when to acknowledge it.
    pub(super) fn count(&mut self, now: Time, lane: Lane, bytes: usize) -> AckDue {
        let count = &mut self.counts[lane.index()];
        *count = count.wrapping_add(1);
        let is_first = self.unacknowledged.is_none();
        let waiting = self.unacknowledged.get_or_insert_with(|| Unacknowledged {
            soon: now + EVENT_ACK_AGE,
            latest: latest(now),
            events: 0,
            bytes: 0,
        });
        waiting.events += 1;
        waiting.bytes += bytes;
        let is_due = waiting.events >= EVENT_ACK_COUNT
            || waiting.bytes >= EVENT_ACK_BYTES
            || now >= waiting.soon;
        match (is_due, is_first) {
            (true, _) => AckDue::Now,
            (false, true) => AckDue::At(waiting.latest),
            (false, false) => AckDue::WithEarlier,
        }
    }

    /// Notes that the client knows the counts, by an acknowledgement or by `Joined`. Returns when
    /// the events would have been acknowledged at the latest; `None` if there were none.
    pub(super) fn acknowledge(&mut self) -> Option<Time> {
        self.unacknowledged.take().map(|waiting| waiting.latest)
    }
}

/// Returns when an event taken at `now` is acknowledged at the latest. The events of many peers
/// share these times, and so the room's wake-ups.
fn latest(now: Time) -> Time {
    let grid = limits::EVENT_ACK_GRID.as_micros() as u64;
    Time::from_micros((now + EVENT_ACK_LATEST).as_micros().next_multiple_of(grid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    #[test]
    fn enough_events_or_bytes_are_acknowledged_at_once() {
        let mut taken = TakenEvents::default();
        for _ in 0..3 {
            assert_eq!(taken.count(at(1), Lane::Events, 1), AckDue::At(at(16)));
            for _ in 2..EVENT_ACK_COUNT {
                assert_eq!(taken.count(at(1), Lane::Bulk, 1), AckDue::WithEarlier);
            }
            assert_eq!(taken.count(at(1), Lane::Events, 1), AckDue::Now);
            assert_eq!(taken.acknowledge(), Some(at(16)));
        }
        assert_eq!(taken.counts(), [6, 3 * (EVENT_ACK_COUNT - 2)]);
        assert_eq!(taken.count(at(1), Lane::Events, EVENT_ACK_BYTES - 1), AckDue::At(at(16)));
        assert_eq!(taken.count(at(1), Lane::Events, 1), AckDue::Now);
    }

    /// An event every 3 s is acknowledged in fives, each time together with the fifth.
    #[test]
    fn a_few_events_wait_for_one_that_comes_later() {
        let mut taken = TakenEvents::default();
        let mut acknowledged = Vec::new();
        for n in 0..15 {
            if taken.count(at(3 * n), Lane::Events, 100) == AckDue::Now {
                acknowledged.push((3 * n, taken.counts()[0]));
                taken.acknowledge();
            }
        }
        assert_eq!(acknowledged, [(12, 5), (27, 10), (42, 15)]);
    }

    #[test]
    fn nothing_is_acknowledged_twice_and_counts_wrap() {
        let mut taken = TakenEvents { counts: [u32::MAX, 7], ..TakenEvents::default() };
        assert_eq!(taken.acknowledge(), None);
        let first = Time::from_millis(1_001);
        assert_eq!(taken.count(first, Lane::Events, 0), AckDue::At(at(17)), "whole seconds");
        assert_eq!(taken.counts(), [0, 7]);
        assert_eq!((taken.acknowledge(), taken.acknowledge()), (Some(at(17)), None));
    }
}
