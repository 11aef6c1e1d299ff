//! Finds out which peers speak, from the header of each voice packet. Reads no clock: the caller
//! passes the time.

use std::time::Duration;

use nucleus_protocol::time::Time;

use crate::roster::PeerId;

/// A peer counts as speaking until this time has passed without a packet in which the encoder
/// detected a voice. The time is longer than the gap between two words, and shorter than the pause
/// after which another person starts to talk.
const SILENCE_BEFORE_END: Duration = Duration::from_millis(300);
/// Speakers that are reported at the same time. By default, a server lets at most 128 peers speak.
/// The voice of a further speaker is delivered, but the speaker is not reported.
const MAX_SPEAKERS: usize = 256;

/// A change of the speakers: a peer started or stopped speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeakingChange {
    /// The peer.
    pub peer: PeerId,
    /// Whether the peer speaks now.
    pub speaking: bool,
    /// Level of the peer's newest packet in -dBov: 0 is loudest, 127 is silence.
    pub level: u8,
}

#[derive(Clone, Copy, Debug)]
struct Speaker {
    peer: PeerId,
    level: u8,
    /// When a packet with a voice last arrived.
    last_voice: Time,
}

/// The peers that are speaking.
#[derive(Debug, Default)]
pub struct Speaking(Vec<Speaker>);

impl Speaking {
    /// Handles the header of a voice packet: the level, and whether the encoder detected a voice.
    /// Returns a change if the peer started speaking.
    pub fn on_voice(
        &mut self,
        now: Time,
        peer: PeerId,
        level: u8,
        voice: bool,
    ) -> Option<SpeakingChange> {
        if let Some(speaker) = self.0.iter_mut().find(|speaker| speaker.peer == peer) {
            speaker.level = level;
            if voice {
                speaker.last_voice = speaker.last_voice.max(now);
            }
            return None;
        }
        if !voice || self.0.len() >= MAX_SPEAKERS {
            return None;
        }
        self.0.push(Speaker { peer, level, last_voice: now });
        Some(SpeakingChange { peer, speaking: true, level })
    }

    /// Removes and returns the speakers that have stopped by `now`.
    pub fn handle_timeout(&mut self, now: Time) -> impl Iterator<Item = SpeakingChange> {
        let stopped =
            self.0.extract_if(.., move |speaker| speaker.last_voice + SILENCE_BEFORE_END <= now);
        stopped.map(|Speaker { peer, level, .. }| SpeakingChange { peer, speaking: false, level })
    }

    /// Returns when [`Self::handle_timeout`] must be called next.
    pub fn deadline(&self) -> Option<Time> {
        self.0.iter().map(|speaker| speaker.last_voice + SILENCE_BEFORE_END).min()
    }

    /// Removes a peer that left, without reporting a change.
    pub fn forget(&mut self, peer: PeerId) {
        self.0.retain(|speaker| speaker.peer != peer);
    }

    /// Iterates over the speakers and their levels, in the order in which they started.
    pub fn speakers(&self) -> impl Iterator<Item = (PeerId, u8)> {
        self.0.iter().map(|speaker| (speaker.peer, speaker.level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: PeerId = PeerId(1);

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn change(speaking: bool, level: u8) -> SpeakingChange {
        SpeakingChange { peer: ADA, speaking, level }
    }

    #[test]
    fn a_speaker_is_one_from_the_first_voice_to_a_pause() {
        let mut speaking = Speaking::default();
        assert_eq!(speaking.on_voice(ms(0), ADA, 60, false), None, "noise is not a voice");
        assert_eq!(speaking.on_voice(ms(20), ADA, 30, true), Some(change(true, 30)));
        assert_eq!(speaking.on_voice(ms(40), ADA, 20, true), None);
        assert_eq!(speaking.on_voice(ms(60), ADA, 90, false), None);
        assert_eq!(speaking.speakers().collect::<Vec<_>>(), [(ADA, 90)]);
        assert_eq!(speaking.deadline(), Some(ms(340)));
        assert_eq!(speaking.handle_timeout(ms(339)).count(), 0);
        assert_eq!(speaking.on_voice(ms(339), ADA, 25, true), None, "between two words");
        assert_eq!(speaking.handle_timeout(ms(340)).count(), 0);
        assert_eq!(speaking.handle_timeout(ms(639)).collect::<Vec<_>>(), [change(false, 25)]);
        assert_eq!((speaking.speakers().count(), speaking.deadline()), (0, None));
        assert_eq!(speaking.on_voice(ms(700), ADA, 30, true), Some(change(true, 30)));
        speaking.forget(ADA);
        assert_eq!(speaking.handle_timeout(ms(9_000)).count(), 0);
    }

    #[test]
    fn speakers_are_bounded() {
        let mut speaking = Speaking::default();
        let began = (0..1_000).filter_map(|n| speaking.on_voice(ms(0), PeerId(n), 9, true)).count();
        assert_eq!((began, speaking.speakers().count()), (MAX_SPEAKERS, MAX_SPEAKERS));
        assert_eq!(speaking.handle_timeout(ms(300)).count(), MAX_SPEAKERS);
    }
}
