//! Relays the reliable events of a room.

use bytes::Bytes;
use nucleus_protocol::limits::MAX_EVENT_PAYLOAD;
use nucleus_protocol::session::{self, Code, EventDown, Lane};
use nucleus_protocol::time::Time;

use super::event::{Event, EventTarget};
use super::history::History;
use super::log::{EventLog, Missed};
use crate::ids::{PeerId, SessionId};
use crate::limits::Limits;
use crate::room::RoomOutput;
use crate::room::members::{Participants, Recipients};
use crate::room::outputs::Outputs;
use crate::room::state::StateReplication;

/// Relays events to their recipients, and keeps the newest for participants that resume or join
/// later.
pub(crate) struct EventRelay {
    log: EventLog,
    history: History,
}

impl EventRelay {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { log: EventLog::new(limits.peer_ttl), history: History::default() }
    }

    /// Relays an event, or a piece of a larger message. Drops an event of a session that a resume
    /// has replaced, that is lost, or whose link is not open yet.
    ///
    /// # Errors
    ///
    /// [`Code::EventTooLarge`] if the event, its message or its list of targets is too large.
    // Not inlined into `handle`: there, the loop over the recipients would have too few registers
    // and take 2 % more instructions.
    #[inline(never)]
    pub(crate) fn relay(
        &mut self,
        now: Time,
        from: SessionId,
        event: Event,
        participants: &mut Participants,
        state: &StateReplication,
        outputs: &mut Outputs,
    ) -> Result<(), Code> {
        if participants.of_newest(from).is_none() {
            return Ok(());
        }
        let Event { lane, target, channel, piece, payload } = event;
        let for_later = target == EventTarget::OthersAndLater;
        let to = recipients(from.peer, target, participants, state);
        let to = to.filter(|_| payload.len() <= MAX_EVENT_PAYLOAD).ok_or(Code::EventTooLarge)?;
        let Some(sender) = participants.connected_mut(from.peer) else { return Ok(()) };
        let Some(roster_version) = sender.since_version else { return Ok(()) };
        let to = match lane {
            Lane::Events => to,
            Lane::Bulk => sender.take_piece(piece, payload.len(), to).ok_or(Code::EventTooLarge)?,
        };
        sender.count_event(lane.index());
        // An event in the history changes the room for newcomers. So such an event needs the same
        // right as an object.
        let keeps = for_later && lane == Lane::Events && sender.role.rights.objects;
        let sequence = self.log.next_sequence();
        let event =
            EventDown { peer: from.peer.0, roster_version, sequence, channel, piece, payload };
        let message = Bytes::from(session::encode(&event));
        for (peer, participant) in participants.iter() {
            if participant.is_connected() && to.include(from.peer, peer) {
                let session = participant.session_id(peer);
                outputs.push(RoomOutput::Event(session, lane, message.clone()));
            }
        }
        if keeps {
            self.history.push(sequence, from.peer, message.clone());
        }
        self.log.push(now, lane, from.peer, to, message);
        Ok(())
    }

    /// Returns the sequence of the newest event on either lane, 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.log.newest()
    }

    /// Returns the events of each lane that a peer has missed since `last_received`.
    pub(crate) fn missed(&self, peer: PeerId, last_received: [u64; 2]) -> [Missed; 2] {
        Lane::ALL.map(|lane| self.log.since(lane, last_received[lane.index()], peer))
    }

    /// Returns the history for a newcomer, up to event `newest`. [`Self::missed`] has the later
    /// events.
    pub(crate) fn history_for_newcomer(&self, peer: PeerId, newest: u64) -> Vec<Bytes> {
        self.history.between(0, newest, peer).collect()
    }

    /// Returns the part of the history that a resumed peer has missed and that the log no longer
    /// has.
    pub(crate) fn history_for_resumed(&self, peer: PeerId, last_received: u64) -> Vec<Bytes> {
        self.history.between(last_received, self.log.dropped(Lane::Events), peer).collect()
    }

    /// Drops the history.
    pub(crate) fn clear_history(&mut self) {
        self.history.clear();
    }

    /// Drops events that are too old.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.log.drop_old(now);
    }

    /// Returns the time from which the oldest event is too old.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.log.deadline()
    }
}

/// Resolves the target of an event. `None`: the list of targets is too long.
///
/// The host and the members of a group are those of this moment, also for a participant that
/// resumes later and is sent what it missed.
fn recipients(
    from: PeerId,
    target: EventTarget,
    participants: &Participants,
    state: &StateReplication,
) -> Option<Recipients> {
    Some(match target {
        EventTarget::All => Recipients::All,
        EventTarget::Others | EventTarget::OthersAndLater => Recipients::Others,
        EventTarget::Listed(listed) => return Recipients::listed(listed),
        // No peer has the number 0: without a host, the event has no recipients.
        EventTarget::Host => Recipients::Listed([state.host(participants)].into()),
        EventTarget::Group(group) => {
            let members = participants.iter().filter(|(_, p)| p.groups.contains(group));
            let others = members.map(|(peer, _)| peer).filter(|peer| *peer != from);
            // The participants are sorted, and no group is larger than the room.
            Recipients::Listed(others.collect())
        }
    })
}
