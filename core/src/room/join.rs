//! Joins: of newcomers, and of participants that resume with a ticket.

use bytes::Bytes;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{
    self, Code, Features, Joined, Lane, LinkGrant, Renewed, TokenWanted,
};
use nucleus_protocol::time::Time;

use super::admission::Newcomer;
use super::config::JoinConditions;
use super::members::{NewParticipant, PendingLink, Role};
use super::settings::session_settings;
use super::{Room, RoomOutput};
use crate::fanout::LinkParameters;
use crate::ids::{PeerId, RequestId, RoomInstanceId, SessionId};
use crate::moments::MomentActor;

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
    /// What the realtime link is made from.
    pub link: LinkParameters,
    /// The link's grant, complete but for its connection ids. `None`: the client has no realtime
    /// port.
    pub grant: Option<LinkGrant>,
    /// The features that client and server have in common.
    pub features: Features,
    /// Whether the newcomer's token has expired, so that its ticket admits it. It is then asked for
    /// a fresh token.
    pub token_expired: bool,
    /// The time of the request, in seconds since 1970.
    pub unix_now: u64,
    /// When the first packet of the client's connection came.
    pub began: Time,
}

/// What a fresh token says of its user. The caller has verified the token, and that it admits to
/// the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewedToken {
    /// The user id.
    pub user: String,
    /// The role and the grants from the token.
    pub role: Role,
    /// When the participant's next tickets stop admitting it to another room instance, in seconds
    /// since 1970.
    pub ticket_end: u64,
    /// How long that is from now, in seconds.
    pub ticket_ttl_s: u32,
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
        if self.lifetime.newcomer_joined() {
            self.outputs.push(RoomOutput::Empty(false));
        }
        self.admission.newcomer_joined(now, &join.user, &expected);
        self.listing.changed(now);
        let muted = self.mutes.includes(&join.user, moderates);
        let (pending, newest_event) = (pending_link(&join), self.events.newest());
        let JoinRequest { user, name, role, ticket_end, link, .. } = *join;
        let newcomer = NewParticipant { user, name, role, ticket_end, pending, slot, newest_event };
        let session = self.participants.add(newcomer);
        let link = RoomOutput::OpenLink { session, slot, link: Box::new(link) };
        self.accept(request, session, link);
        self.participants.set_muted(now, session.peer, muted, MomentActor::Room, &mut self.outputs);
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
        let pending = pending_link(join);
        let resumed = self.participants.resume(peer, &join.user, generation, last, pending);
        let resumed = resumed.ok_or(Code::TimedOut)?;
        let session = resumed.session;
        let link =
            RoomOutput::OpenLink { session, slot: resumed.slot, link: Box::new(join.link.clone()) };
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
        let took = now.since(connected.link.began);
        self.report_arrival(now, peer, connected.is_first, took);
        let (session, last) = (connected.session, connected.last_received);
        let missed = self.events.missed(peer, last);
        let complete = missed.iter().all(|missed| missed.complete);
        let resumed = match (connected.is_first, complete) {
            (true, _) => session::NEW_PEER,
            (false, true) => session::RESUMED,
            (false, false) => session::RESUMED_WITH_LOSS,
        };
        let [events_taken, bulk_taken] = connected.events_taken;
        let Some(ticket) = self.ticket_of(session) else { return };
        let PendingLink { link_id, grant, max_body, token_expired, unix_now, .. } = connected.link;
        let ticket_ttl_s = ticket.end.saturating_sub(unix_now);
        let joined = Joined {
            peer: peer.0,
            slot: connected.slot,
            room_instance: self.config.instance.0,
            server_instance: self.config.server_instance.0,
            roster_version: self.participants.roster_version(),
            roster: self.participants.roster(),
            link_id,
            grant: grant.into_iter().collect(),
            server_time: now.as_micros(),
            clock_epoch: self.config.clock_epoch,
            settings: session_settings(&self.config, max_body, ticket_ttl_s).to_list(),
            ticket: Vec::new(),
            resumed,
            events_taken,
            bulk_taken,
            room: Vec::new(),
            entries: Vec::new(),
        };
        self.outputs.push(RoomOutput::Joined(session, Box::new(joined), Box::new(ticket)));
        let last_event = last[Lane::Events.index()];
        if token_expired && self.has_features(peer, Features::RENEW) {
            let within_s = u32::try_from(ticket_ttl_s).unwrap_or(u32::MAX);
            let wanted = Bytes::from(session::encode(&TokenWanted { within_s }));
            self.outputs.control(session, wanted);
        }
        let history = match connected.is_first {
            true => self.events.history_for_newcomer(peer, last_event),
            false => self.events.history_for_resumed(peer, last_event),
        };
        let event = |lane| move |message| RoomOutput::Event(session, lane, message);
        self.outputs.extend(history.into_iter().map(event(Lane::Events)));
        for (lane, missed) in Lane::ALL.into_iter().zip(missed) {
            self.outputs.extend(missed.messages.into_iter().map(event(lane)));
        }
        if self.has_features(peer, Features::STATE) {
            self.state.send_snapshot(now, session, &mut self.outputs);
        }
    }

    /// Takes a fresh token of a participant, or the code for which it was refused. Its next tickets
    /// have the rights of the new token. Its rights in this room stay as they are. Drops the token
    /// if a resume has replaced the session, or if its link is not open yet.
    pub(super) fn handle_renewal(&mut self, from: SessionId, renewal: Result<RenewedToken, Code>) {
        let Some(participant) = self.participants.requester(from) else { return };
        let renewed = renewal.and_then(|RenewedToken { user, role, ticket_end, ticket_ttl_s }| {
            if user != participant.user {
                return Err(Code::Forbidden);
            }
            (participant.role_at_join, participant.ticket_end) = (role, ticket_end);
            Ok(ticket_ttl_s)
        });
        match renewed {
            Ok(ticket_ttl_s) => {
                if let Some(ticket) = self.ticket_of(from) {
                    let renewed = Renewed { code: 0, ticket_ttl_s, ticket: Vec::new() };
                    self.outputs.push(RoomOutput::Renewed(from, renewed, Box::new(ticket)));
                }
            }
            Err(code) => {
                let refused = Renewed { code: code as u16, ticket_ttl_s: 0, ticket: Vec::new() };
                self.outputs.control(from, Bytes::from(session::encode(&refused)));
            }
        }
    }

    /// Returns whether a peer's client has these features.
    fn has_features(&self, peer: PeerId, features: Features) -> bool {
        self.participants.get(peer).is_some_and(|p| p.features().contains(features))
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

fn pending_link(join: &JoinRequest) -> PendingLink {
    PendingLink {
        link_id: join.link.link_id,
        grant: join.grant.clone(),
        max_body: join.link.max_body,
        features: join.features,
        token_expired: join.token_expired,
        unix_now: join.unix_now,
        began: join.began,
    }
}
