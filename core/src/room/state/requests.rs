//! A room's shared state among its peers: who asks, who is told.

use std::collections::BTreeMap;

use bytes::Bytes;
use nucleus_protocol::session::{self, StateReply, StateRequest, StateSnapshot, StateUpdate};
use nucleus_protocol::time::Time;

use super::{Actor, Members, Refused};
use crate::ids::{PeerId, SessionId};
use crate::room::members::Participant;
use crate::room::{Room, RoomOutput};

impl Room {
    /// Takes a request for changes of the shared state; its reply goes to whoever asked, the changes
    /// to everybody. One that comes before `Joined` is dropped, as an event is.
    pub(crate) fn handle_state_request(
        &mut self,
        now: Time,
        from: SessionId,
        request: StateRequest,
    ) {
        if !self.is_newest(from) {
            return;
        }
        let Some(asking) = self.participants.get_mut(&from.peer).filter(|p| p.is_in()) else {
            return;
        };
        asking.arrived = true;
        let (peer, rights) = (from.peer.0, asking.role.rights);
        let actor = Actor { peer, rights, members: &self.participants };
        let result = self.state.apply(&actor, request.operations);
        let (code, failed) = match &result {
            Ok(_) => (0, 0),
            Err(Refused { code, failed }) => (*code as u16, *failed),
        };
        if let Ok(update) = result {
            self.tell_all(&update);
            if !self.config.options.listed.is_empty() {
                self.list(now);
            }
        }
        let version = self.state.version();
        let reply = StateReply { request: request.request, code, failed, version };
        let message = Bytes::from(session::encode(&reply));
        self.outputs.push_back(RoomOutput::Control(from, message));
    }

    /// The shared state as it stands.
    pub fn shared_state(&self) -> StateSnapshot {
        self.state.snapshot()
    }

    /// The state for a session that has just come, if there is any.
    pub(crate) fn tell_state(&mut self, now: Time, session: SessionId) {
        let messages = self.feed.snapshot(now, &self.state);
        let messages = messages.into_iter().map(|message| RoomOutput::State(session, message));
        self.outputs.extend(messages);
    }

    /// What belonged to the peers that are gone goes after them: one update for all who went
    /// together.
    pub(crate) fn clear_up(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let gone = std::mem::take(&mut self.gone).into_iter().map(|peer| peer.0).collect();
        if let Some(update) = self.state.forget(gone) {
            self.tell_all(&update);
        }
    }

    pub(crate) fn tell_all(&mut self, update: &StateUpdate) {
        let messages = self.feed.update(update);
        for (peer, participant) in self.participants.iter().filter(|(_, p)| p.is_in()) {
            let session = participant.session_id(*peer);
            let messages = messages.iter().cloned();
            self.outputs.extend(messages.map(|message| RoomOutput::State(session, message)));
        }
    }
}

impl Members for BTreeMap<PeerId, Participant> {
    fn presence(&self, peer: u32) -> Option<bool> {
        let participant = self.get(&PeerId(peer)).filter(|p| p.is_announced())?;
        Some(!participant.away)
    }

    fn least_present(&self) -> u32 {
        let mut present = self.iter().filter(|(_, p)| p.is_announced() && !p.away);
        present.next().map_or(0, |(peer, _)| peer.0)
    }
}
