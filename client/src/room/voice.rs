//! The methods of [`Room`] that send and mute voice.

use std::sync::atomic::Ordering;

use nucleus_client_core::playback::VoiceStep;
use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::realtime::voice::{END_TO_END, LOWEST_LEVEL, SPURT_START, Voice};

use super::{ApplicationKey, Room, StateError};
use crate::roster::PeerId;
use crate::session::{SendError, To};

impl Room {
    /// Sends an Opus packet to all other peers. Does nothing while this client has
    /// muted itself ([`Room::set_muted`]).
    ///
    /// # Errors
    /// [`SendError::TooLarge`] if the packet has more than 898 bytes, [`SendError::VoiceLevel`] if
    /// its level is above 127, [`SendError::VoiceFlags`] if reserved flags are set, or
    /// [`SendError::Closed`].
    pub fn send_voice(&self, voice: &Voice<'_>) -> Result<(), SendError> {
        self.send_voice_to(To::Others, voice)
    }

    /// Sends an Opus packet to a target, for example a group or one peer. Otherwise works like
    /// [`Room::send_voice`].
    ///
    /// # Errors
    /// The same as for [`Room::send_voice`], and [`SendError::UnknownPeer`] if the target is not in
    /// the room.
    pub fn send_voice_to(&self, to: To, voice: &Voice<'_>) -> Result<(), SendError> {
        if voice.level > LOWEST_LEVEL {
            return Err(SendError::VoiceLevel(voice.level));
        }
        if voice.flags & !(SPURT_START | END_TO_END) != 0 {
            return Err(SendError::VoiceFlags(voice.flags));
        }
        if self.self_muted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let write = |payload: &mut Vec<u8>| voice.encode(payload);
        self.send(MessageKind::Voice, false, &to, ApplicationKey::default(), write)
    }

    /// Returns what to play for the next 20 ms of a speaker, and writes the Opus packet to `opus`. Call
    /// it for each speaker every 20 ms, by the clock of the sound device. Its sender must send packets
    /// of 20 ms.
    ///
    /// A packet is played as late as nearly all packets of its speaker arrive, which is measured. From
    /// the first call on, voice is kept here, and [`crate::RoomEvent::Voice`] no longer comes. Waits
    /// for nothing.
    ///
    /// ```no_run
    /// # use nucleus_client::{PeerId, Room, VoiceStep};
    /// # fn sound(room: &Room, speaker: PeerId, decode: impl Fn(Option<&[u8]>)) {
    /// let mut opus = Vec::new();
    /// match room.play_voice(speaker, &mut opus) {
    ///     VoiceStep::Packet { .. } => decode(Some(&opus)),
    ///     VoiceStep::Conceal => decode(None),
    ///     _ => {}
    /// }
    /// # }
    /// ```
    pub fn play_voice(&self, speaker: PeerId, opus: &mut Vec<u8>) -> VoiceStep {
        let (now, mut realtime) = (self.realtime.clock.now(), self.realtime.read());
        realtime.play_voice(now, speaker, opus)
    }

    /// Returns the peers that are speaking now, each with its level in -dBov (0 is loudest, 127 is
    /// silence). [`crate::RoomEvent::Speaking`] reports each change.
    pub fn speaking(&self) -> Vec<(PeerId, u8)> {
        self.realtime.read().speaking().speakers().collect()
    }

    /// Mutes or unmutes this client.
    ///
    /// The client stops sending voice at once, even if the request to the server fails. The server
    /// drops voice that still arrives, and tells the other peers. Needs no permission. The setting
    /// stays over a lost session and over [`crate::RoomEvent::Rejoined`]. Returns when the server
    /// has answered; at once, if the session is lost: the client then sends it when it has a
    /// session again.
    ///
    /// # Errors
    /// See [`StateError`]; never `NotConnected`, `Behind` and `Interrupted`.
    pub async fn set_muted(&self, muted: bool) -> Result<(), StateError> {
        self.self_muted.store(muted, Ordering::Relaxed);
        let setting = self.client.change(|client, now| client.set_muted(now, muted));
        self.client.wait_for(|client, _| client.muted_outcome(setting)).await
    }
}
