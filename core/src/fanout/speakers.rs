//! Limits how many peers speak in a room at once. Nobody understands a room in which everybody
//! talks, and each further speaker costs bandwidth at every listener.

use nucleus_protocol::time::Time;

use crate::limits;

/// The current speakers, never more than the limit.
#[derive(Default)]
pub(super) struct Speakers(Vec<AdmittedSpeaker>);

struct AdmittedSpeaker {
    slot: u16,
    /// When the newest voice message arrived.
    last_active: Time,
}

impl Speakers {
    /// Returns true if the peer with this slot may speak at `now`: it is already a speaker, or
    /// there are fewer than `limit` speakers.
    pub(super) fn admit(&mut self, now: Time, slot: u16, limit: u16) -> bool {
        if let Some(speaker) = self.0.iter_mut().find(|speaker| speaker.slot == slot) {
            speaker.last_active = now.max(speaker.last_active);
            return true;
        }
        if self.0.len() >= usize::from(limit) {
            self.0.retain(|speaker| now.since(speaker.last_active) < limits::SPEAKER_PAUSE);
        }
        let admitted = self.0.len() < usize::from(limit);
        if admitted {
            self.0.push(AdmittedSpeaker { slot, last_active: now });
        }
        admitted
    }

    /// Returns whether voice of the peer with this slot was admitted within the pause of a speaker.
    pub(super) fn is_active(&self, now: Time, slot: u16) -> bool {
        let own = self.0.iter().find(|speaker| speaker.slot == slot);
        own.is_some_and(|speaker| now.since(speaker.last_active) < limits::SPEAKER_PAUSE)
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
    fn no_more_speak_than_the_limit_allows() {
        let mut speakers = Speakers::default();
        assert_eq!(
            [1, 2, 3, 1].map(|slot| speakers.admit(ms(0), slot, 2)),
            [true, true, false, true]
        );
        let active =
            |speakers: &Speakers, at| [1, 2, 3].map(|slot| speakers.is_active(ms(at), slot));
        assert_eq!(active(&speakers, 499), [true, true, false]);
        // Slot 1 goes on speaking. Slot 2 stops being a speaker after the pause.
        assert!(speakers.admit(ms(400), 1, 2));
        assert!(!speakers.admit(ms(499), 3, 2));
        assert_eq!(active(&speakers, 500), [true, false, false]);
        assert!(speakers.admit(ms(500), 3, 2));
        assert!(!speakers.admit(ms(600), 2, 2), "two others speak now");
        assert!(speakers.admit(ms(600), 1, 2) && speakers.admit(ms(600), 3, 2));
    }

    #[test]
    fn a_peer_that_keeps_talking_stays_a_speaker() {
        let mut speakers = Speakers::default();
        for at in 0..1_000 {
            assert!(speakers.admit(ms(at * 20), 7, 1));
            assert!(!speakers.admit(ms(at * 20 + 1), 8, 1), "at {at}");
        }
        assert_eq!(speakers.0.len(), 1);
        // An older time stamp in the same batch does not make the speaker inactive.
        assert!(speakers.admit(ms(0), 7, 1) && !speakers.admit(ms(20_300), 8, 1));
    }
}
