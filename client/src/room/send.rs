//! The methods of [`Room`] that send: realtime messages, voice, events, bulk messages and requests to
//! peers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nucleus_client_core::playback::VoiceStep;
use nucleus_client_core::room::{RoomClient, StateError};
use nucleus_client_core::rpc::{AnswerError, RpcCall, RpcError, RpcFault, RpcId};
use nucleus_protocol::limits;
use nucleus_protocol::realtime::MessageKind;
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::voice::{END_TO_END, LOWEST_LEVEL, SPURT_START, Voice};

use super::Room;
use crate::on_drop::OnDrop;
use crate::realtime::OutgoingMessage;
use crate::roster::PeerId;
use crate::session::{SendError, To};

/// Channel and key of a realtime message, both chosen by the application.
#[derive(Clone, Copy, Default)]
struct ApplicationKey {
    channel: u8,
    key: u16,
}

/// Realtime messages.
impl Room {
    /// Sends the pose of head and hands to all other peers. Only the newest pose is delivered: an
    /// older one that arrives later is dropped.
    ///
    /// # Errors
    /// [`SendError::Pose`] if a number is NaN, infinite or out of range, or a rotation has the
    /// length 0: the others would see the avatar jump. The head may be 8,388.607 m from the origin
    /// in each axis, and a hand 2.047 m from the head. [`SendError::Closed`] if the room is closed.
    pub fn send_pose(&self, pose: &Pose) -> Result<(), SendError> {
        self.send_pose_to(To::Others, 0, pose, &[])
    }

    /// Sends a pose to a target: the others, one peer, the host or a group. A client with several
    /// bodies gives each a key. `rest` is up to the application, for example fingers and buttons:
    /// with the pose at most 900 bytes.
    ///
    /// # Errors
    /// The same as for [`Room::send_pose`] and [`Room::send_pointer`].
    pub fn send_pose_to(
        &self,
        to: To,
        key: u16,
        pose: &Pose,
        rest: &[u8],
    ) -> Result<(), SendError> {
        pose.check()?;
        self.send(MessageKind::Pose, true, &to, ApplicationKey { channel: 0, key }, |payload| {
            pose.encode(payload);
            payload.extend_from_slice(rest);
        })
    }

    /// Sends a pointer or cursor, at most 900 bytes. Only the newest one of each `channel` and `key`
    /// is delivered.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::UnknownPeer`] if the target is not in the room,
    /// [`SendError::RealtimeTarget`] if it is not one of the others, one peer, the host or a group,
    /// or [`SendError::Closed`].
    pub fn send_pointer(
        &self,
        to: To,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = ApplicationKey { channel, key };
        let write = |to: &mut Vec<u8>| to.extend_from_slice(payload);
        self.send(MessageKind::Pointer, true, &to, key, write)
    }

    /// Sends an unreliable message of at most 900 bytes. The message may be lost or arrive out of
    /// order, and does not replace earlier ones.
    ///
    /// # Errors
    /// The same as for [`Room::send_pointer`].
    pub fn send_unreliable(
        &self,
        to: To,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = ApplicationKey { channel, key };
        let write = |to: &mut Vec<u8>| to.extend_from_slice(payload);
        self.send(MessageKind::Unreliable, false, &to, key, write)
    }

    /// Sends an unreliable message of at most 900 bytes that replaces earlier ones of the same
    /// `channel` and `key` (for example an object's number). An older message is never delivered
    /// after a newer one.
    ///
    /// # Errors
    /// The same as for [`Room::send_pointer`].
    pub fn send_newest(
        &self,
        to: To,
        channel: u8,
        key: u16,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = ApplicationKey { channel, key };
        let write = |to: &mut Vec<u8>| to.extend_from_slice(payload);
        self.send(MessageKind::Unreliable, true, &to, key, write)
    }

    fn send(
        &self,
        kind: MessageKind,
        newest_wins: bool,
        to: &To,
        ApplicationKey { channel, key }: ApplicationKey,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        let target = {
            let client = self.client.read();
            if client.is_closed() {
                return Err(SendError::Closed);
            }
            client.realtime_target(to)?
        };
        let mut payload = self.realtime.read().payload_buffer();
        write(&mut payload);
        if payload.len() > limits::MAX_PAYLOAD {
            return Err(SendError::TooLarge { len: payload.len(), limit: limits::MAX_PAYLOAD });
        }
        self.realtime.send(OutgoingMessage { kind, newest_wins, target, channel, key, payload });
        Ok(())
    }
}

/// Voice.
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

/// Events and bulk messages.
impl Room {
    /// Sends a reliable, ordered event of at most 16 KiB on a channel below 240. Waits while the
    /// room takes events more slowly than they are sent, and while the room does not acknowledge
    /// them: at most 512 KiB of events are kept until they are acknowledged.
    ///
    /// If the session is lost, the event is sent after the resume. If the client rejoins as a new
    /// peer ([`crate::RoomEvent::Rejoined`]) instead, events that were already written are lost, and so
    /// are events for named peers of an earlier room instance.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::TooManyPeers`], [`SendError::ReservedChannel`], or
    /// [`SendError::Closed`] if the room is closed.
    pub async fn send_event(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        let send = |client: &mut RoomClient, now| {
            not_blocked(client.send_event(now, to.clone(), channel, payload))
        };
        self.client.wait_for(send).await
    }

    /// Sends an event as [`Room::send_event`] does, but never waits.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`] if too many events wait; otherwise as [`Room::send_event`].
    pub fn try_send_event(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.client.change(|client, now| client.send_event(now, to, channel, payload))
    }

    /// Sends a reliable event that names its type, for example `"door.opened"`, instead of a channel.
    /// Otherwise works like [`Room::send_event`]. Type and payload have at most 16,383 bytes together.
    /// The recipients receive [`RoomEvent::TypedEvent`](crate::RoomEvent::TypedEvent); clients of
    /// versions without typed events ignore it.
    ///
    /// # Errors
    /// [`SendError::EventType`] if the type is not 1 to 64 bytes of text without control characters
    /// and invisible characters; otherwise as [`Room::send_event`].
    pub async fn send_typed_event(
        &self,
        to: To,
        event_type: &str,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let send = |client: &mut RoomClient, now| {
            not_blocked(client.send_typed_event(now, to.clone(), event_type, payload))
        };
        self.client.wait_for(send).await
    }

    /// Sends an event as [`Room::send_typed_event`] does, but never waits.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`] if too many events wait; otherwise as [`Room::send_typed_event`].
    pub fn try_send_typed_event(
        &self,
        to: To,
        event_type: &str,
        payload: &[u8],
    ) -> Result<(), SendError> {
        self.client.change(|client, now| client.send_typed_event(now, to, event_type, payload))
    }

    /// Sends a reliable message of at most 64 KiB on the bulk lane.
    ///
    /// Bulk messages are in order among themselves. Bulk messages and events do not wait for each
    /// other. Waits while the room takes bulk messages more slowly than they are sent (64 KiB a
    /// second on average). A lost session is handled as in [`Room::send_event`].
    ///
    /// # Errors
    /// The same as for [`Room::send_event`], and [`SendError::NotKept`] for [`To::OthersAndLater`].
    pub async fn send_bulk(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        let send = |client: &mut RoomClient, now| {
            not_blocked(client.send_bulk(now, to.clone(), channel, payload))
        };
        self.client.wait_for(send).await
    }

    /// Sends a message as [`Room::send_bulk`] does, but never waits.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`] if too many messages wait; otherwise as [`Room::send_bulk`].
    pub fn try_send_bulk(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        self.client.change(|client, now| client.send_bulk(now, to, channel, payload))
    }
}

/// RPC: requests to peers, and the answers to theirs. They travel as events, so they are in order
/// with these, and a lost session that is resumed loses none.
///
/// ```no_run
/// use std::time::Duration;
///
/// use nucleus_client::{PeerId, Room, RoomEvent, RpcFault};
///
/// # async fn run(room: &Room, peer: PeerId) -> Result<(), Box<dyn std::error::Error>> {
/// // One peer asks.
/// let grabbed = room.rpc(peer, "cup.grab", b"left hand", Duration::from_secs(5)).await?;
///
/// // The other peer answers, in its loop of events.
/// while let Some(event) = room.next().await {
///     if let RoomEvent::RpcRequest { id, method, .. } = event {
///         let answer = match method.as_str() {
///             "cup.grab" => Ok(&b"yours"[..]),
///             "cup.wash" => Err(RpcFault::new(256, "there is no water")),
///             _ => Err(RpcFault::no_such_method()),
///         };
///         room.answer_rpc(id, answer)?;
///     }
/// }
/// # Ok(()) }
/// ```
impl Room {
    /// Asks a peer, and waits for its answer. The peer receives
    /// [`RoomEvent::RpcRequest`](crate::RoomEvent::RpcRequest).
    ///
    /// `method` is 1 to 64 bytes of text. `payload` has at most 16,374 bytes less those of the method.
    /// `timeout` is 1 ms to 60 s, counted from this call: also while the session is lost, while 64
    /// requests of this client wait already, and while too many events wait to be sent.
    ///
    /// Cancel-safe: if the returned future is dropped, the answer is ignored, and a request that is
    /// not written yet is not sent. May be awaited in the task that calls [`Room::next`]; but no answer
    /// arrives while more than 2 MiB of events wait for the application.
    ///
    /// A peer whose client knows no RPC does not answer, so the request times out.
    ///
    /// # Errors
    /// See [`RpcError`], which says whether the request may have been carried out. Never
    /// [`RpcError::TooMany`] and [`SendError::WouldBlock`].
    pub async fn rpc(
        &self,
        to: PeerId,
        method: &str,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, RpcError> {
        let ends = self.client.clock().now() + timeout;
        let start = self.client.wait_for(|client, now| {
            let left = ends.since(now);
            if left.is_zero() && !timeout.is_zero() {
                return Some(Err(RpcError::TimedOut));
            }
            match client.rpc(now, &RpcCall { to, method, payload, timeout: left }) {
                Err(RpcError::TooMany | RpcError::Send(SendError::WouldBlock)) => None,
                started => Some(started),
            }
        });
        let started = tokio::time::timeout(timeout, start).await;
        let number = started.map_err(|_| RpcError::TimedOut)??;
        // Wakes those who wait for its place.
        let _forget = OnDrop(|| self.client.change(|client, _| client.forget_rpc(number)));
        self.client.wait_for(|client, _| client.take_rpc_result(number)).await
    }

    /// Answers the request of a peer, [`RoomEvent::RpcRequest`](crate::RoomEvent::RpcRequest): with
    /// at most 16,377 bytes, or with a failure. Never waits. May be called in any task, in any order,
    /// and much later, but only once.
    ///
    /// # Errors
    /// [`AnswerError::NotWaiting`] if the caller does not wait any more, [`AnswerError::ReservedCode`],
    /// or [`AnswerError::Send`]: then the request still waits. [`SendError::WouldBlock`] if too many
    /// events wait to be sent.
    pub fn answer_rpc(
        &self,
        id: RpcId,
        answer: Result<&[u8], RpcFault>,
    ) -> Result<(), AnswerError> {
        let answer = answer.as_ref().copied();
        self.client.change(|client, now| client.answer_rpc(now, id, answer))
    }
}

/// Returns nothing if the send must wait.
fn not_blocked(sent: Result<(), SendError>) -> Option<Result<(), SendError>> {
    (sent != Err(SendError::WouldBlock)).then_some(sent)
}
