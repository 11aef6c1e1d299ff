//! Voice, groups and large messages, as an application uses them.

use std::sync::atomic::Ordering;

use nucleus_protocol::groups::Group;
use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::session::act;

use super::{Room, StateError, Target};
use crate::roster::PeerId;
use crate::session::{SendError, To};

impl Room {
    /// Sends an Opus packet to the others. Never blocks. Sends nothing while this client has muted
    /// itself.
    pub fn send_voice(&self, voice: &Voice<'_>) -> Result<(), SendError> {
        self.send_voice_to(Target::Others, voice)
    }

    /// Sends an Opus packet to a group, say, or to one peer alone. Else as [`Room::send_voice`].
    pub fn send_voice_to(&self, target: Target, voice: &Voice<'_>) -> Result<(), SendError> {
        if self.state.silent.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut payload = Vec::with_capacity(2 + voice.opus.len());
        voice.encode(&mut payload);
        self.send(MessageKind::Voice, false, target, (0, 0), payload)
    }

    /// Who speaks now and how loud, -dBov: 0 is loudest, 127 silence. Told by
    /// [`crate::RoomEvent::Speaking`], too.
    pub fn speaking(&self) -> Vec<(PeerId, u8)> {
        self.realtime.speaking().now().collect()
    }

    /// Mutes this client, or not any more. It stops sending voice at once, whatever becomes of the request;
    /// the server drops what still comes, and tells the others. Needs no right, and outlives a lost session
    /// and a [`crate::RoomEvent::Rejoined`].
    pub async fn set_muted(&self, muted: bool) -> Result<(), StateError> {
        self.state.silent.store(muted, Ordering::Relaxed);
        let act = if muted { act::MUTE_SELF } else { act::UNMUTE_SELF };
        self.state.requests.moderate(act, 0, 0).await.map(drop)
    }

    /// Sends a reliable message of at most 64 KiB on the bulk lane: in order with others of its kind, and
    /// no event waits for it, nor it for any event. Waits while the room takes them more slowly than they
    /// are sent (64 KiB a second on average). Outlives a lost session as [`Room::send_event`] does.
    pub async fn send_bulk(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.state.events.send_bulk(to, channel, payload).await
    }

    /// Hears these groups from now on, and no others: their events and what is sent to them on the
    /// realtime plane. Nobody hears any at first; a resumed session hears what it heard before, a
    /// [`crate::RoomEvent::Rejoined`] begins with none.
    ///
    /// Returns when the server has it. Counts among the requests, see [`Room::change`].
    pub async fn subscribe(
        &self,
        groups: impl IntoIterator<Item = Group>,
    ) -> Result<(), StateError> {
        self.state.requests.subscribe(groups.into_iter().collect()).await.map(drop)
    }
}
