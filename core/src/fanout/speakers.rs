//! Who speaks in a room, and how many may at once: a room where everybody talks is understood by
//! nobody, and each further voice costs every listener's downlink.

use nucleus_protocol::time::Time;

use crate::limits;

/// Those who are heard now, by slot, and when each was heard last. As many as the limit at most.
#[derive(Default)]
pub(super) struct Speakers(Vec<(u16, Time)>);

impl Speakers {
    /// Whether `slot` may be heard at `now`: it is one of the speakers, or there is room for one more of `most`.
    pub(super) fn admit(&mut self, now: Time, slot: u16, most: u16) -> bool {
        if let Some((_, heard)) = self.0.iter_mut().find(|(speaker, _)| *speaker == slot) {
            *heard = now.max(*heard);
            return true;
        }
        if self.0.len() >= usize::from(most) {
            self.0.retain(|(_, heard)| now.since(*heard) < limits::SPEAKER_PAUSE);
        }
        let free = self.0.len() < usize::from(most);
        if free {
            self.0.push((slot, now));
        }
        free
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    #[test]
    fn the_floor_is_for_as_many_as_it_holds() {
        let mut speakers = Speakers::default();
        assert_eq!(
            [1, 2, 3, 1].map(|slot| speakers.admit(ms(0), slot, 2)),
            [true, true, false, true]
        );
        // One goes on talking; the other's place is free once its pause is over.
        assert!(speakers.admit(ms(400), 1, 2));
        assert!(!speakers.admit(ms(499), 3, 2));
        assert!(speakers.admit(ms(500), 3, 2));
        assert!(!speakers.admit(ms(600), 2, 2), "the floor is taken again");
        assert!(speakers.admit(ms(600), 1, 2) && speakers.admit(ms(600), 3, 2));
    }

    #[test]
    fn whoever_keeps_talking_keeps_the_floor() {
        let mut speakers = Speakers::default();
        for at in 0..1_000 {
            assert!(speakers.admit(ms(at * 20), 7, 1));
            assert!(!speakers.admit(ms(at * 20 + 1), 8, 1), "at {at}");
        }
        assert_eq!(speakers.0.len(), 1);
        // Late stamps of one batch move nothing back.
        assert!(speakers.admit(ms(0), 7, 1) && !speakers.admit(ms(20_300), 8, 1));
    }
}
