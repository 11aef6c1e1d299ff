//! Joins: of newcomers, and of participants that resume with a ticket.

use nucleus_protocol::limits::MAX_EVENT_PAYLOAD;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{self, Code, Joined, Lane, LinkGrant};
use nucleus_protocol::time::Time;

use super::admission::Newcomer;
use super::config::JoinConditions;
use super::members::{NewParticipant, Role};
use super::{Room, RoomOutput};
use crate::ids::{PeerId, RequestId, RoomInstanceId, SessionId};

/// A request to join a room. The caller has verified the token or the ticket.
pub struct JoinRequest {
    /// The user id from the token.
    pub user: String,
    /// The display name.
    pub name: String,
    /// The role and the grants from the token. When a participant resumes, it keeps its role.
    pub role: Role,
    /// When the newcomer's tickets stop admitting it to another room instance, in seconds since
    /// 1970. Ignored for a participant that resumes, which keeps the time from its join.
    pub ticket_end: u64,
    /// The ticket of a participant that resumes. `None`: a newcomer joins.
    pub resume: Option<Resume>,
    /// The conditions under which a newcomer joins.
    pub conditions: JoinConditions,
    /// The link's grant, complete but for its connection ids.
    pub grant: LinkGrant,
    /// The link's AEAD suite.
    pub suite: Suite,
    /// The secret that the link's keys are derived from.
    pub root: RootSecret,
    /// Fresh random bytes for the link's connection ids and path challenges.
    pub seed: [u8; 32],
}

/// The state of a client that resumes.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// The claim from the ticket.
    pub claim: TicketClaim,
    /// The sequence of the newest event that the client has, by lane.
    pub last: [u64; 2],
}

/// The content of a resume ticket that the room checks: the participant to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketClaim {
    /// The room instance id.
    pub room_instance: RoomInstanceId,
    /// The participant.
    pub peer: PeerId,
    /// The number of this ticket among the participant's tickets. The ticket redeemed last can be
    /// redeemed again, because the reply to it may have been lost. Earlier tickets are invalid.
    pub generation: u32,
}

/// What the shell seals into a participant's ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketContent {
    /// The participant.
    pub claim: TicketClaim,
    /// The user id.
    pub user: String,
    /// The display name.
    pub name: String,
    /// The role at the join, with the rights that it had then.
    pub role: Role,
    /// When the ticket stops admitting the user to another room instance, in seconds since 1970.
    pub end: u64,
}

impl Room {
    /// Admits a newcomer or a participant that resumes, or refuses it. An admitted session is
    /// joined once the shard has opened its link, see [`Self::link_opened`].
    pub(super) fn handle_join(&mut self, now: Time, request: RequestId, join: Box<JoinRequest>) {
        let result = match join.resume {
            _ if self.lifetime.is_over() => Err(Code::ShuttingDown),
            Some(resume) => self.resume(request, resume, &join),
            None => self.enter(now, request, join).inspect_err(|_| self.lifetime.join_refused()),
        };
        if let Err(code) = result {
            self.outputs.push(RoomOutput::JoinReply { request, result: Err(code) });
        }
    }

    /// Admits a newcomer.
    fn enter(&mut self, now: Time, request: RequestId, join: Box<JoinRequest>) -> Result<(), Code> {
        let moderates = join.role.rights.moderate;
        let newcomer = Newcomer { user: &join.user, moderates, conditions: &join.conditions };
        let rule = self.config.second_device;
        let replaced = self.admission.admit(now, newcomer, rule, &self.participants)?;
        if self.admission.end_reservations(now) {
            self.listing.changed(now);
        }
        let expected = self.admission.check_seats(
            newcomer,
            replaced.len(),
            self.config.capacity,
            &self.participants,
        )?;
        let slot = self.participants.allocate_slot(now, &join.user)?;
        replaced.into_iter().for_each(|peer| self.take_out(now, peer, Code::Replaced));
        self.remove_from_state();
        self.lifetime.newcomer_joined();
        self.admission.newcomer_joined(now, &join.user, &expected);
        self.listing.changed(now);
        let muted = self.mutes.includes(&join.user, moderates);
        let JoinRequest { user, name, role, ticket_end, grant, suite, root, seed, .. } = *join;
        let (link_id, newest_event) = (grant.link_id, self.events.newest());
        let newcomer = NewParticipant { user, name, role, ticket_end, grant, slot, newest_event };
        let session = self.participants.add(newcomer);
        let link = RoomOutput::OpenLink { session, slot, link_id, suite, root, seed };
        self.accept(request, session, link);
        self.participants.set_muted(now, session.peer, muted, &mut self.outputs);
        Ok(())
    }

    /// Admits a participant that resumes.
    fn resume(
        &mut self,
        request: RequestId,
        resume: Resume,
        join: &JoinRequest,
    ) -> Result<(), Code> {
        let TicketClaim { room_instance, peer, generation } = resume.claim;
        if room_instance != self.config.instance {
            return Err(Code::TimedOut);
        }
        let last = resume.last.map(|last| last.min(self.events.newest()));
        let resumed = self.participants.resume(peer, &join.user, generation, last, &join.grant);
        let resumed = resumed.ok_or(Code::TimedOut)?;
        let session = resumed.session;
        let link = RoomOutput::OpenLink {
            session,
            slot: resumed.slot,
            link_id: join.grant.link_id,
            suite: join.suite,
            root: join.root.clone(),
            seed: join.seed,
        };
        self.accept(request, session, link);
        if !resumed.groups.is_empty() {
            self.outputs.push(RoomOutput::Subscribe(session, resumed.groups));
        }
        if resumed.muted {
            self.outputs.push(RoomOutput::Mute(session, true));
        }
        Ok(())
    }

    /// Replies to a join, and asks the shard to open a link.
    fn accept(&mut self, request: RequestId, session: SessionId, link: RoomOutput) {
        let seats = self.seats_taken();
        self.listing.seats_sent(seats);
        let reply = RoomOutput::JoinReply { request, result: Ok(session) };
        self.outputs.extend([RoomOutput::Seats(seats), reply, link]);
    }

    /// Completes a join after the shard has opened the link: sends `Joined`, the events that the
    /// client has missed, and the state. A newcomer is announced to the others.
    pub(super) fn link_opened(
        &mut self,
        now: Time,
        peer: PeerId,
        id: ConnectionId,
        spare: ConnectionId,
    ) {
        let connected = self.participants.connect(now, peer, id, spare, &mut self.outputs);
        let Some(connected) = connected else { return };
        let (session, last) = (connected.session, connected.last_received);
        let missed = self.events.missed(peer, last);
        let complete = missed.iter().all(|missed| missed.complete);
        let resumed = match (connected.is_first, complete) {
            (true, _) => session::NEW_PEER,
            (false, true) => session::RESUMED,
            (false, false) => session::RESUMED_WITH_LOSS,
        };
        let [events_taken, bulk_taken] = connected.events_taken;
        let joined = Joined {
            peer: peer.0,
            slot: connected.slot,
            capacity: self.config.capacity,
            room_instance: self.config.instance.0,
            server_instance: self.config.server_instance.0,
            roster_version: self.participants.roster_version(),
            roster: self.participants.roster(),
            grant: connected.grant,
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
        let Some(ticket) = self.ticket_of(session) else { return };
        self.outputs.push(RoomOutput::Joined(session, Box::new(joined), Box::new(ticket)));
        let last_event = last[Lane::Events.index()];
        let history = match connected.is_first {
            true => self.events.history_for_newcomer(peer, last_event),
            false => self.events.history_for_resumed(peer, last_event),
        };
        let event = |lane| move |message| RoomOutput::Event(session, lane, message);
        self.outputs.extend(history.into_iter().map(event(Lane::Events)));
        for (lane, missed) in Lane::ALL.into_iter().zip(missed) {
            self.outputs.extend(missed.messages.into_iter().map(event(lane)));
        }
        self.state.send_snapshot(now, session, &mut self.outputs);
    }

    /// Returns the content of the ticket for a session. `None`: its participant has been removed.
    fn ticket_of(&self, session: SessionId) -> Option<TicketContent> {
        let SessionId { peer, session: generation } = session;
        let participant = self.participants.get(peer)?;
        Some(TicketContent {
            claim: TicketClaim { room_instance: self.config.instance, peer, generation },
            user: participant.user.clone(),
            name: participant.name.clone(),
            role: participant.role_at_join.clone(),
            end: participant.ticket_end,
        })
    }
}
