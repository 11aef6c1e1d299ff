//! All participants of a room, with their sessions, slots and roster entries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{self, Code, EventAck, Features, Peer, RosterUpdate};
use nucleus_protocol::time::Time;

use super::participant::{NewParticipant, Participant, PendingLink};
use super::roster::RosterLog;
use super::slots::Slots;
use super::taken_events::AckDue;
use crate::ids::{PeerId, SessionId};
use crate::moments::{MomentActor, MomentKind};
use crate::room::RoomOutput;
use crate::room::outputs::Outputs;

/// The participants of a room.
#[derive(Default)]
pub(crate) struct Participants {
    by_peer: BTreeMap<PeerId, Participant>,
    /// The participants whose session is lost, each with the time at which it is removed, in the
    /// order of these times.
    expiries: VecDeque<(Time, PeerId)>,
    /// When events are acknowledged at the latest: one entry for each participant with events that
    /// are not acknowledged yet.
    ack_deadlines: BTreeSet<(Time, PeerId)>,
    /// The number of participants created so far, which is also the newest peer number.
    created: u32,
    slots: Slots,
    roster: RosterLog,
    /// Announced participants that were removed since the last [`Self::take_removed`].
    removed: Vec<PeerId>,
}

/// A session that a resume has started.
pub(crate) struct ResumedSession {
    pub(crate) session: SessionId,
    pub(crate) slot: u16,
    /// The groups whose messages the peer receives.
    pub(crate) groups: GroupSet,
    /// Whether the peer's voice is dropped.
    pub(crate) muted: bool,
}

/// A session whose link the shard has opened.
pub(crate) struct ConnectedSession {
    pub(crate) session: SessionId,
    pub(crate) slot: u16,
    /// The link, whose grant has its connection ids.
    pub(crate) link: PendingLink,
    /// Whether this is the participant's first session.
    pub(crate) is_first: bool,
    /// The newest event that the client is known to have, by lane.
    pub(crate) last_received: [u64; 2],
    /// The number of events taken from the peer by lane, wrapping.
    pub(crate) events_taken: [u32; 2],
}

impl Participants {
    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    pub(crate) fn get(&self, peer: PeerId) -> Option<&Participant> {
        self.by_peer.get(&peer)
    }

    pub(crate) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Participant> {
        self.by_peer.get_mut(&peer)
    }

    /// Returns a participant, if its session takes messages.
    pub(crate) fn connected_mut(&mut self, peer: PeerId) -> Option<&mut Participant> {
        self.by_peer.get_mut(&peer).filter(|participant| participant.is_connected())
    }

    /// Returns all participants in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Participant)> + Clone {
        self.by_peer.iter().map(|(peer, participant)| (*peer, participant))
    }

    /// Returns the numbers of all participants.
    pub(crate) fn peers(&self) -> Vec<PeerId> {
        self.by_peer.keys().copied().collect()
    }

    /// Returns the participants of one user: one for each of its devices.
    pub(crate) fn of_user(&self, user: &str) -> impl Iterator<Item = (PeerId, &Participant)> {
        self.iter().filter(move |(_, participant)| participant.user == user)
    }

    /// Returns whether a user is in the room.
    pub(crate) fn has_user(&self, user: &str) -> bool {
        self.of_user(user).next().is_some()
    }

    /// Returns the participant of a session, unless a resume has replaced the session.
    pub(crate) fn of_newest(&self, session: SessionId) -> Option<&Participant> {
        self.get(session.peer).filter(|participant| participant.session == session.session)
    }

    /// Returns the participant of a session, unless a resume has replaced the session.
    pub(crate) fn of_newest_mut(&mut self, session: SessionId) -> Option<&mut Participant> {
        let participant = self.get_mut(session.peer)?;
        (participant.session == session.session).then_some(participant)
    }

    /// Notes for the history of a participant what has happened at `now`.
    pub(crate) fn note(&mut self, now: Time, peer: PeerId, kind: MomentKind) {
        if let Some(participant) = self.get_mut(peer) {
            participant.note(now, kind);
        }
    }

    /// Returns the participant whose session sent a request, and notes that its client has received
    /// `Joined`. `None`: a resume has replaced the session, its link is not open yet, or it is
    /// lost.
    pub(crate) fn requester(&mut self, session: SessionId) -> Option<&mut Participant> {
        let participant = self.connected_mut(session.peer)?;
        if participant.session != session.session {
            return None;
        }
        participant.confirmed = true;
        Some(participant)
    }

    /// Allocates a slot for a newcomer.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`] or [`Code::JoinRate`], as [`Slots::allocate`] explains.
    pub(crate) fn allocate_slot(&mut self, now: Time, user: &str) -> Result<u16, Code> {
        self.slots.allocate(now, user)
    }

    /// Adds a newcomer, and returns its first session.
    pub(crate) fn add(&mut self, newcomer: NewParticipant) -> SessionId {
        self.created += 1;
        let (peer, participant) = (PeerId(self.created), Participant::new(newcomer));
        let session = participant.session_id(peer);
        self.by_peer.insert(peer, participant);
        session
    }

    /// Starts a new session of a participant. `None`: the user has no such participant, or the
    /// ticket of this generation is no longer good.
    pub(crate) fn resume(
        &mut self,
        peer: PeerId,
        user: &str,
        generation: u32,
        last_received: [u64; 2],
        pending: PendingLink,
    ) -> Option<ResumedSession> {
        let participant = self.by_peer.get_mut(&peer);
        let participant = participant.filter(|p| p.user == user && p.accepts_ticket(generation))?;
        participant.resume(generation, last_received, pending);
        self.expiries.retain(|(_, lost)| *lost != peer);
        Some(ResumedSession {
            session: participant.session_id(peer),
            slot: participant.slot,
            groups: participant.groups,
            muted: participant.is_muted(),
        })
    }

    /// Marks a participant's newest session as connected, because the shard has opened its link.
    /// The first time, announces the participant in the roster. `None`: no session waits for a
    /// link.
    pub(crate) fn connect(
        &mut self,
        now: Time,
        peer: PeerId,
        id: ConnectionId,
        spare: ConnectionId,
        outputs: &mut Outputs,
    ) -> Option<ConnectedSession> {
        let participant = self.by_peer.get_mut(&peer)?;
        let mut link = participant.pending.take()?;
        if let Some(grant) = &mut link.grant {
            (grant.connection_id, grant.spare) = (id.0, spare.0);
        }
        // `Joined` tells the counts.
        if let Some(at) = participant.taken.acknowledge() {
            self.ack_deadlines.remove(&(at, peer));
        }
        let is_first = !participant.is_announced();
        if is_first {
            // The next roster update announces the newcomer, also to the newcomer itself, whose
            // `Joined` names it already. A repeated announcement is harmless.
            participant.since_version = Some(self.roster.version() + 1);
            self.roster.joined(now, participant.roster_entry(peer));
        }
        let connected = ConnectedSession {
            session: participant.session_id(peer),
            slot: participant.slot,
            link,
            is_first,
            last_received: participant.last_received,
            events_taken: participant.taken.counts(),
        };
        self.set_away(now, peer, false, outputs);
        Some(connected)
    }

    /// Marks a participant's session as lost and the participant as away. [`Self::take_expired`]
    /// returns it from `expires` on, unless it resumes.
    pub(crate) fn session_lost(
        &mut self,
        now: Time,
        peer: PeerId,
        expires: Time,
        outputs: &mut Outputs,
    ) {
        let Some(participant) = self.by_peer.get_mut(&peer).filter(|p| !p.lost) else { return };
        (participant.lost, participant.pending) = (true, None);
        let at = self.expiries.partition_point(|(other, _)| *other <= expires);
        self.expiries.insert(at, (expires, peer));
        // A peer that can neither receive nor answer events is away, even if its link is active.
        self.set_away(now, peer, true, outputs);
    }

    /// Returns a participant whose session has been lost for too long; the caller removes it.
    pub(crate) fn take_expired(&mut self, now: Time) -> Option<PeerId> {
        self.expiries.pop_front_if(|(at, _)| *at <= now).map(|(_, peer)| peer)
    }

    /// Removes a participant and disconnects its session. Returns whether there was one.
    pub(crate) fn remove(
        &mut self,
        now: Time,
        peer: PeerId,
        code: Code,
        outputs: &mut Outputs,
    ) -> bool {
        let Some(mut participant) = self.by_peer.remove(&peer) else { return false };
        if let Some(at) = participant.taken.acknowledge() {
            self.ack_deadlines.remove(&(at, peer));
        }
        self.expiries.retain(|(_, lost)| *lost != peer);
        if participant.is_announced() {
            self.roster.left(now, peer, code);
            self.removed.push(peer);
        }
        if let Some(visit) = participant.visit.take() {
            outputs.push(RoomOutput::Reported(visit.end(now, code)));
        }
        outputs.push(RoomOutput::CloseLink(peer));
        outputs.push(RoomOutput::Disconnect(participant.session_id(peer), code));
        self.slots.release(now, participant.slot, participant.user);
        true
    }

    /// Returns the announced participants that were removed since the last call.
    pub(crate) fn take_removed(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.removed)
    }

    pub(crate) fn set_away(&mut self, now: Time, peer: PeerId, away: bool, outputs: &mut Outputs) {
        self.set_flags(now, peer, outputs, |participant| participant.away = away);
    }

    pub(crate) fn set_moderator(
        &mut self,
        now: Time,
        peer: PeerId,
        moderates: bool,
        outputs: &mut Outputs,
    ) {
        self.set_flags(now, peer, outputs, |p| p.role.rights.moderate = moderates);
    }

    /// Starts or ends the mute of a participant by a moderator, an operator or the room.
    pub(crate) fn set_muted(
        &mut self,
        now: Time,
        peer: PeerId,
        muted: bool,
        by: MomentActor,
        outputs: &mut Outputs,
    ) {
        if self.get(peer).is_some_and(|participant| participant.muted != muted) {
            self.note_mute(now, peer, muted, by);
        }
        self.set_flags(now, peer, outputs, |participant| participant.muted = muted);
    }

    /// Starts or ends the mute of a participant by itself.
    pub(super) fn set_self_muted(
        &mut self,
        now: Time,
        peer: PeerId,
        muted: bool,
        outputs: &mut Outputs,
    ) {
        if self.get(peer).is_some_and(|participant| participant.self_muted != muted) {
            self.note_mute(now, peer, muted, MomentActor::Itself);
        }
        self.set_flags(now, peer, outputs, |participant| participant.self_muted = muted);
    }

    fn note_mute(&mut self, now: Time, peer: PeerId, muted: bool, by: MomentActor) {
        let kind = if muted { MomentKind::Muted(by) } else { MomentKind::Unmuted(by) };
        self.note(now, peer, kind);
    }

    /// Changes flags of a participant. If the change is visible, adds it to the next roster update
    /// and tells the shard.
    fn set_flags(
        &mut self,
        now: Time,
        peer: PeerId,
        outputs: &mut Outputs,
        set: impl FnOnce(&mut Participant),
    ) {
        let Some(participant) = self.by_peer.get_mut(&peer) else { return };
        let (presence, muted) = (participant.presence(), participant.is_muted());
        set(participant);
        if participant.presence() != presence && participant.is_announced() {
            self.roster.presence(now, peer, participant.presence());
        }
        if participant.is_muted() != muted {
            outputs.push(RoomOutput::Mute(participant.session_id(peer), !muted));
        }
    }

    /// Acknowledges a peer's events if the newest, which is due at `due`, requires it. Otherwise
    /// notes when to acknowledge them.
    pub(crate) fn acknowledge(&mut self, peer: PeerId, due: AckDue, outputs: &mut Outputs) {
        match due {
            AckDue::Now => self.send_ack(peer, outputs),
            AckDue::At(at) => _ = self.ack_deadlines.insert((at, peer)),
            AckDue::WithEarlier => {}
        }
    }

    /// Acknowledges all events that have waited long enough.
    pub(crate) fn send_due_acks(&mut self, now: Time, outputs: &mut Outputs) {
        while let Some((at, peer)) = self.ack_deadlines.first().copied()
            && at <= now
        {
            self.ack_deadlines.pop_first();
            self.send_ack(peer, outputs);
        }
    }

    /// Acknowledges the events of a peer. One whose session is lost or not joined yet learns the
    /// counts from `Joined`.
    fn send_ack(&mut self, peer: PeerId, outputs: &mut Outputs) {
        let Some(participant) = self.by_peer.get_mut(&peer) else { return };
        if let Some(at) = participant.taken.acknowledge() {
            self.ack_deadlines.remove(&(at, peer));
        }
        if participant.is_connected() {
            let [events_taken, bulk_taken] = participant.taken.counts();
            let ack = Bytes::from(session::encode(&EventAck { events_taken, bulk_taken }));
            outputs.push(RoomOutput::EventAck(participant.session_id(peer), ack));
        }
    }

    /// Sends an encoded message to every connected session whose client has the features, on its
    /// control stream.
    pub(crate) fn broadcast(&self, message: &Bytes, needed: Features, outputs: &mut Outputs) {
        let sessions = self.connected_with(needed);
        sessions.for_each(|session| outputs.control(session, message.clone()));
    }

    /// Returns the sessions that take messages and whose clients have the features.
    pub(crate) fn connected_with(&self, needed: Features) -> impl Iterator<Item = SessionId> {
        let takes = move |p: &Participant| p.is_connected() && p.features().contains(needed);
        self.iter().filter(move |(_, p)| takes(p)).map(|(peer, p)| p.session_id(peer))
    }

    /// Returns the roster: all announced participants.
    pub(crate) fn roster(&self) -> Vec<Peer> {
        let announced = self.iter().filter(|(_, participant)| participant.is_announced());
        announced.map(|(peer, participant)| participant.roster_entry(peer)).collect()
    }

    /// Returns the version of the newest roster update that was sent.
    pub(crate) fn roster_version(&self) -> u32 {
        self.roster.version()
    }

    /// Returns the collected changes of the roster, once they are due.
    pub(crate) fn take_roster_update(&mut self, now: Time) -> Option<RosterUpdate> {
        self.roster.take_due(now)
    }

    /// Returns when a participant expires, an acknowledgement is due or a roster update is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let expiry = self.expiries.front().map(|(at, _)| *at);
        let ack = self.ack_deadlines.first().map(|(at, _)| *at);
        [expiry, ack, self.roster.deadline()].into_iter().flatten().min()
    }
}
