//! How somebody comes in: as a newcomer, or back to a place with a ticket.

use nucleus_protocol::limits::MAX_EVENT_PAYLOAD;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{self, Code, Joined, Lane, LinkGrant};
use nucleus_protocol::time::Time;

use super::admission::JoinConditions;
use super::members::{Participant, Role};
use super::{Room, RoomOutput};
use crate::ids::{PeerId, RequestId, SessionId};

/// Somebody who wants in; the token or the ticket has been verified.
pub struct JoinRequest {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role and grants from the token; a place that is resumed keeps what it had.
    pub role: Role,
    /// It has been here and wants its place back.
    pub resume: Option<Resume>,
    /// What a newcomer says for its admission.
    pub conditions: JoinConditions,
    /// The link's grant, complete but for its connection ids.
    pub grant: LinkGrant,
    /// The link's AEAD.
    pub suite: Suite,
    /// The link's root key.
    pub root: RootSecret,
    /// Fresh random bytes for the link.
    pub seed: [u8; 32],
}

/// What somebody says who comes back.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// From the ticket.
    pub claim: TicketClaim,
    /// Newest event that it has, by lane.
    pub last: [u64; 2],
}

/// What a resume ticket lays claim to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketClaim {
    /// The room instance.
    pub room_instance: u32,
    /// The participant.
    pub peer: PeerId,
    /// Counts the participant's tickets. The one redeemed last stays good, for its answer may have been
    /// lost; those before it do not.
    pub generation: u32,
}

impl Room {
    /// Admits somebody, or not, and says so; what follows depends on the shard.
    pub(super) fn handle_join(&mut self, now: Time, request: RequestId, join: Box<JoinRequest>) {
        let result = match join.resume {
            _ if self.ending => Err(Code::ShuttingDown),
            Some(resume) => self.resume(request, resume, &join),
            None => self.enter(now, request, join).inspect_err(|_| self.end_if_unfounded()),
        };
        if let Err(code) = result {
            self.outputs.push_back(RoomOutput::JoinReply { request, result: Err(code) });
        }
    }

    fn enter(&mut self, now: Time, request: RequestId, join: Box<JoinRequest>) -> Result<(), Code> {
        let moderates = join.role.rights.moderate;
        let admitted = self.admit(now, &join.user, moderates, &join.conditions)?;
        admitted.replaced.into_iter().for_each(|peer| self.take_out(now, peer, Code::Replaced));
        self.clear_up();
        let session = SessionId { peer: PeerId(self.next_peer), session: 1 };
        self.next_peer += 1;
        self.settle_reservations(now, &join.user, &admitted.expected);
        let muted = self.mutes.includes(&join.user, moderates);
        let link = open_link(session, admitted.slot, &join);
        let last_event = self.events.newest();
        let JoinRequest { user, name, role, grant, .. } = *join;
        let participant = Participant::new(user, name, role, grant, admitted.slot, last_event);
        self.participants.insert(session.peer, participant);
        self.accept(request, session, link);
        self.set_flags(now, session.peer, |p| p.muted = muted);
        Ok(())
    }

    fn resume(
        &mut self,
        request: RequestId,
        resume: Resume,
        join: &JoinRequest,
    ) -> Result<(), Code> {
        let TicketClaim { room_instance, peer, generation } = resume.claim;
        let last = resume.last.map(|last| last.min(self.events.newest()));
        let participant = self.participants.get_mut(&peer);
        let participant = participant.filter(|p| p.user == join.user && p.honours(generation));
        let participant =
            participant.filter(|_| room_instance == self.config.instance).ok_or(Code::TimedOut)?;
        participant.resume(generation, last, join.grant.clone());
        let (session, slot) = (participant.session_id(peer), participant.slot);
        let (groups, silent) = (participant.groups, participant.is_silent());
        self.expiries.retain(|(_, lost)| *lost != peer);
        let link = open_link(session, slot, join);
        self.accept(request, session, link);
        if !groups.is_empty() {
            self.outputs.push_back(RoomOutput::Subscribe(session, groups));
        }
        if silent {
            self.outputs.push_back(RoomOutput::Mute(session, true));
        }
        Ok(())
    }

    fn accept(&mut self, request: RequestId, session: SessionId, link: RoomOutput) {
        let reply = RoomOutput::JoinReply { request, result: Ok(session) };
        self.listing.told_seats = self.taken();
        self.outputs.extend([RoomOutput::Seats(self.taken()), reply, link]);
    }

    /// The shard has made the link: the participant is told `Joined`, and the others about it.
    pub(super) fn link_opened(
        &mut self,
        now: Time,
        peer: PeerId,
        id: ConnectionId,
        spare: ConnectionId,
    ) {
        let Some(participant) = self.participants.get_mut(&peer) else { return };
        let Some(mut grant) = participant.pending.take() else { return };
        grant.connection_id = id.0;
        grant.spare = spare.0;
        let (last, new) = (participant.last, !participant.is_announced());
        let missed = Lane::ALL.map(|lane| self.events.since(lane, last[lane.index()], peer));
        let complete = missed.iter().all(|(complete, _)| *complete);
        let resumed = match (new, complete) {
            (true, _) => session::NEW_PEER,
            (false, true) => session::RESUMED,
            (false, false) => session::RESUMED_WITH_LOSS,
        };
        if new {
            // The others learn of the newcomer with the next version. So does the newcomer: hearing
            // of somebody twice is harmless.
            participant.since_version = Some(self.roster.version() + 1);
            self.roster.joined(now, participant.wire(peer));
        }
        let (session, slot) = (participant.session_id(peer), participant.slot);
        let [events_taken, bulk_taken] = participant.taken;
        self.set_away(now, peer, false);
        let joined = Joined {
            peer: peer.0,
            slot,
            capacity: self.config.capacity,
            room_instance: self.config.instance,
            roster_version: self.roster.version(),
            roster: self.roster(),
            grant,
            server_time: now.as_micros(),
            clock_epoch: self.config.clock_epoch,
            max_event: MAX_EVENT_PAYLOAD as u32,
            ticket: Vec::new(),
            peer_ttl_ms: self.config.limits.peer_ttl.as_millis() as u32,
            resumed,
            events_taken,
            bulk_taken,
            room: Vec::new(),
        };
        let room_instance = self.config.instance;
        let claim = TicketClaim { room_instance, peer, generation: session.session };
        self.outputs.push_back(RoomOutput::Joined(session, Box::new(joined), claim));
        let kept = self.told_of_before(peer, last[Lane::Events.index()], new);
        let kept = kept.into_iter().map(|m| RoomOutput::Event(session, Lane::Events, m));
        self.outputs.extend(kept);
        for (lane, (_, missed)) in Lane::ALL.into_iter().zip(missed) {
            let missed = missed.into_iter().map(|m| RoomOutput::Event(session, lane, m));
            self.outputs.extend(missed);
        }
        self.tell_state(now, session);
    }
}

fn open_link(session: SessionId, slot: u16, join: &JoinRequest) -> RoomOutput {
    RoomOutput::OpenLink {
        session,
        slot,
        link_id: join.grant.link_id,
        suite: join.suite,
        root: join.root.clone(),
        seed: join.seed,
    }
}
