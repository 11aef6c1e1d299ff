//! Who says what to whom: reliable events, and the groups that peers choose to hear.

use bytes::Bytes;
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::limits::MAX_EVENT_PAYLOAD;
use nucleus_protocol::session::{self, Code, EventDown, Lane, StateReply, Subscribe, Throttled};
use nucleus_protocol::time::Time;

use super::log::{Event, EventTarget, Recipients};
use crate::ids::{PeerId, SessionId};
use crate::room::{Room, RoomOutput};

impl Room {
    /// Relays an event, or a piece of a larger message.
    // Inlined into `handle`, the loop over the recipients has too few registers: 2 % more instructions.
    #[inline(never)]
    pub(crate) fn handle_event(&mut self, now: Time, from: SessionId, event: Event) {
        if !self.is_newest(from) {
            return;
        }
        let Event { lane, target, channel, piece, payload } = event;
        let later = target == EventTarget::Later;
        let to = self.recipients(from.peer, target).filter(|_| payload.len() <= MAX_EVENT_PAYLOAD);
        let Some(to) = to else { return self.remove(now, from.peer, Code::EventTooLarge) };
        let sender = self.participants.get_mut(&from.peer).filter(|p| p.is_in());
        let Some((since_version, sender)) = sender.and_then(|p| Some((p.since_version?, p))) else {
            return;
        };
        let to = match lane {
            Lane::Events => Some(to),
            Lane::Bulk => sender.takes_piece(piece, payload.len(), to),
        };
        let Some(to) = to else { return self.remove(now, from.peer, Code::EventTooLarge) };
        let taken = &mut sender.taken[lane.index()];
        *taken = taken.wrapping_add(1);
        sender.arrived = true;
        // What newcomers are told changes the room for them.
        let keeps = later && lane == Lane::Events && sender.role.rights.objects;
        let event = EventDown {
            peer: from.peer.0,
            roster_version: since_version,
            sequence: self.events.number(),
            channel,
            piece,
            payload,
        };
        let message = Bytes::from(session::encode(&event));
        for (peer, participant) in &self.participants {
            if participant.is_in() && to.include(from.peer, *peer) {
                let session = participant.session_id(*peer);
                self.outputs.push_back(RoomOutput::Event(session, lane, message.clone()));
            }
        }
        if keeps {
            self.history.push(self.events.newest(), from.peer, message.clone());
        }
        self.events.push(now, lane, from.peer, to, message);
    }

    /// Takes the groups that a peer hears from now on, in place of those before. One that comes before
    /// `Joined` is dropped, as an event is.
    pub(crate) fn handle_subscribe(&mut self, from: SessionId, asked: &Subscribe) {
        if !self.is_newest(from) {
            return;
        }
        let Some(asking) = self.participants.get_mut(&from.peer).filter(|p| p.is_in()) else {
            return;
        };
        asking.arrived = true;
        asking.groups = GroupSet(asked.groups);
        self.outputs.push_back(RoomOutput::Subscribe(from, asking.groups));
        let version = self.state.version();
        let reply = StateReply { request: asked.request, code: 0, failed: 0, version };
        self.outputs.push_back(RoomOutput::Control(from, Bytes::from(session::encode(&reply))));
    }

    pub(crate) fn tell_throttled(&mut self, session: SessionId, what: u8) {
        if self.participants.get(&session.peer).is_some_and(|p| p.is_in()) {
            let message = Bytes::from(session::encode(&Throttled { what }));
            self.outputs.push_back(RoomOutput::Control(session, message));
        }
    }

    /// What a peer is told of the time before its session: a newcomer what is kept for it, who comes back
    /// what is kept of what it missed beyond what the log still has.
    pub(crate) fn told_of_before(&self, peer: PeerId, last: u64, new: bool) -> Vec<Bytes> {
        let (after, to) = if new { (0, last) } else { (last, self.events.forgotten(Lane::Events)) };
        self.history.between(after, to, peer).collect()
    }

    /// The host of this moment, 0 = nobody.
    pub fn host(&self) -> PeerId {
        PeerId(self.state.host(&self.participants))
    }

    /// Who is meant; `None`: more than an event may name. The host and the members of a group are those
    /// of this moment, also for whoever comes back later and asks for what it has missed.
    fn recipients(&self, from: PeerId, target: EventTarget) -> Option<Recipients> {
        Some(match target {
            EventTarget::All => Recipients::All,
            EventTarget::Others | EventTarget::Later => Recipients::Others,
            EventTarget::Listed(listed) => return Recipients::listed(listed),
            // Nobody has the number 0: an event to a host that is not there is for nobody.
            EventTarget::Host => Recipients::Listed([self.host()].into()),
            EventTarget::Group(group) => {
                let members = self.participants.iter().filter(|(_, p)| p.groups.contains(group));
                let others = members.map(|(peer, _)| *peer).filter(|peer| *peer != from);
                // In order already, for the map is; and as many as the room has.
                Recipients::Listed(others.collect())
            }
        })
    }
}
