//! Replicates the shared state: applies the requests of sessions, and sends the changes to all.

use nucleus_protocol::session::{
    ANY_VERSION, Code, Features, Operation, StateReply, StateRequest, StateSnapshot, StateUpdate,
    Value, operation,
};
use nucleus_protocol::time::Time;

use super::feed::StateFeed;
use super::{ROOM, RequestRefused, Requester, RoomPeers, SharedState};
use crate::control::{ControlError, RoomProperty};
use crate::ids::{PeerId, SessionId};
use crate::limits::Limits;
use crate::room::RoomOutput;
use crate::room::members::{Participants, Rights};
use crate::room::outputs::Outputs;

/// The shared state of a room, and its messages to the sessions.
pub(crate) struct StateReplication {
    state: SharedState,
    feed: StateFeed,
}

impl StateReplication {
    /// Creates the state of a new room, with initial fields.
    pub(crate) fn new(limits: Limits, fields: &[(Vec<u8>, Value)]) -> Self {
        Self { state: SharedState::new(limits, fields), feed: StateFeed::default() }
    }

    /// Applies a request for changes. Replies to the requester, and sends the changes to all
    /// sessions. Drops a request of a session that a resume has replaced, that is lost, or whose
    /// link is not open yet. Returns whether the state has changed.
    pub(crate) fn handle_request(
        &mut self,
        from: SessionId,
        request: StateRequest,
        participants: &mut Participants,
        outputs: &mut Outputs,
    ) -> bool {
        let Some(requester) = participants.requester(from) else { return false };
        let rights = requester.role.rights;
        let requester = Requester { peer: from.peer.0, rights, peers: &*participants };
        let result = self.state.apply(&requester, request.operations);
        let (code, failed) = match &result {
            Ok(update) => {
                self.send_update(update, participants, outputs);
                (0, 0)
            }
            Err(RequestRefused { code, failed }) => (*code as u16, *failed),
        };
        let reply =
            StateReply { request: request.request, code, failed, version: self.state.version() };
        outputs.reply(from, &reply);
        result.is_ok()
    }

    /// Returns the room's fields, in the order of their keys.
    pub(crate) fn room_fields(&self) -> Vec<RoomProperty> {
        self.state.room_fields()
    }

    /// Sets fields of the room on behalf of the server, all or none of them, under the rules for a peer that
    /// may change the room's fields. Sends the change to all sessions.
    ///
    /// # Errors
    ///
    /// [`ControlError::TooManyFields`] or [`ControlError::StateFull`]. The state is then unchanged.
    pub(crate) fn set_room_fields(
        &mut self,
        fields: Vec<RoomProperty>,
        participants: &Participants,
        outputs: &mut Outputs,
    ) -> Result<(), ControlError> {
        let rights = Rights { room: true, ..Rights::default() };
        let server = Requester { peer: 0, rights, peers: participants };
        let set = |RoomProperty { key, value }| Operation {
            kind: operation::SET,
            scope: ROOM.scope,
            id: ROOM.id,
            peer: 0,
            mode: 0,
            key: key.into_bytes(),
            value,
            expected: ANY_VERSION,
        };
        let update = self.state.apply(&server, fields.into_iter().map(set).collect());
        let update = update.map_err(|refused| match refused.code {
            Code::EntityFields => ControlError::TooManyFields,
            // The caller has checked the form, and the server may change every field.
            _ => ControlError::StateFull,
        })?;
        self.send_update(&update, participants, outputs);
        Ok(())
    }

    /// Sends the state to a session that has just connected, unless the state is empty.
    pub(crate) fn send_snapshot(&mut self, now: Time, session: SessionId, outputs: &mut Outputs) {
        let messages = self.feed.snapshot(now, &self.state).into_iter();
        outputs.extend(messages.map(|message| RoomOutput::State(session, message)));
    }

    /// Sends an update to all sessions whose clients know the shared state.
    pub(crate) fn send_update(
        &mut self,
        update: &StateUpdate,
        participants: &Participants,
        outputs: &mut Outputs,
    ) {
        let messages = self.feed.update(update);
        for session in participants.connected_with(Features::STATE) {
            let messages = messages.iter().cloned();
            outputs.extend(messages.map(|message| RoomOutput::State(session, message)));
        }
    }

    /// Deletes or releases the fields and objects of participants that were removed. Sends one
    /// update for all these participants.
    pub(crate) fn remove_peers(
        &mut self,
        removed: Vec<PeerId>,
        participants: &Participants,
        outputs: &mut Outputs,
    ) {
        if removed.is_empty() {
            return;
        }
        let removed = removed.into_iter().map(|peer| peer.0).collect();
        if let Some(update) = self.state.remove_peers(removed) {
            self.send_update(&update, participants, outputs);
        }
    }

    /// Deletes all objects and the room's fields, on behalf of `by`. The caller sends the update.
    /// `None`: there were none.
    pub(crate) fn clear(&mut self, by: PeerId) -> Option<StateUpdate> {
        self.state.clear(by.0)
    }

    /// Makes `host` the chosen host, on behalf of `by`. The caller sends the update.
    pub(crate) fn choose_host(&mut self, by: PeerId, host: PeerId) -> StateUpdate {
        self.state.choose_host(by.0, host.0)
    }

    /// Returns the present host, 0 if nobody is present.
    pub(crate) fn host(&self, participants: &Participants) -> PeerId {
        PeerId(self.state.host(participants))
    }

    /// Returns the number of objects.
    pub(crate) fn objects(&self) -> usize {
        self.state.objects()
    }

    /// Returns the version of the state.
    pub(crate) fn version(&self) -> u64 {
        self.state.version()
    }

    /// Returns the value of one of the room's fields.
    pub(crate) fn room_field(&self, key: &[u8]) -> Option<&Value> {
        self.state.room_field(key)
    }

    /// Returns the whole state.
    pub(crate) fn snapshot(&self) -> StateSnapshot {
        self.state.snapshot()
    }

    /// Drops the encoded snapshot once it is no longer needed.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.feed.handle_timeout(now);
    }

    /// Returns when to call [`Self::handle_timeout`].
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.feed.deadline()
    }
}

impl RoomPeers for Participants {
    fn presence(&self, peer: u32) -> Option<bool> {
        let participant = self.get(PeerId(peer)).filter(|p| p.is_announced())?;
        Some(participant.is_present())
    }

    fn least_present(&self) -> u32 {
        let mut present = self.iter().filter(|(_, participant)| participant.is_present());
        present.next().map_or(0, |(peer, _)| peer.0)
    }

    fn user(&self, peer: u32) -> Option<&str> {
        self.get(PeerId(peer)).map(|participant| participant.user.as_str())
    }
}
