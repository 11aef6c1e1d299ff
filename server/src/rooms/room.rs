//! The task of one room: carries out the room's outputs to sessions, shard and lobby.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nucleus_core::control::{ControlError, RoomContent, RoomProperty};
use nucleus_core::fanout::{FanoutInput, OpenLink};
use nucleus_core::ids::{PeerId, RequestId, RoomId, RoomKey, SessionId};
use nucleus_core::lobby::LobbyInput;
use nucleus_core::moments::LossCause;
use nucleus_core::room::{Moderated, Room, RoomInput, RoomOutput, RoomReport, TicketContent};
use nucleus_core::room_rate::DeliveryCost;
use nucleus_core::round_trips::RoundTrips;
use nucleus_protocol::session::{Code, Joined, Renewed, act, encode};
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::mail::{JoinedRoom, LobbyMail, NewcomerSeats, Place, RoomJoin, RoomMail};
use super::outgoing::Outgoing;
use super::room_figures::RoomFigures;
use super::room_reports::RoomReports;
use super::session_probe::{ProbedRoom, SessionProbe};
use super::shared_rate::SharedRate;
use super::task::Task;
use super::tenants::{CountedRoom, EmptyRoomCount, Tenants};
use super::ticket::{Ticket, TicketKey};
use crate::bans::BanStore;
use crate::queue::PushOutcome;
use crate::shard::{ShardHandle, ShardMail};

/// The shell of one room.
pub(super) struct RoomShell {
    pub(super) id: RoomId,
    pub(super) key: Arc<RoomKey>,
    pub(super) tickets: Arc<TicketKey>,
    /// Where clients that lost their session may enter again.
    pub(super) entries: Arc<[Vec<u8>]>,
    pub(super) shard: Arc<ShardHandle>,
    pub(super) lobby: mpsc::Sender<LobbyMail>,
    pub(super) bans: Arc<BanStore>,
    pub(super) reports: RoomReports,
    pub(super) tenants: Arc<Tenants>,
    pub(super) counted: CountedRoom,
    pub(super) rate: Arc<SharedRate>,
    pub(super) figures: Arc<RoomFigures>,
    pub(super) members: Members,
    pub(super) turn: RoomTurn,
}

/// The participants of a room, as its task needs them.
#[derive(Default)]
pub(super) struct Members {
    requests: PendingReplies,
    /// The newest session of each peer.
    sessions: HashMap<PeerId, AttachedSession>,
    /// The place of each participant. A participant whose session is lost keeps its place, so that a
    /// full server still lets it resume.
    places: HashMap<PeerId, Arc<Place>>,
    /// The round trips of each participant, over all of its sessions.
    round_trips: HashMap<PeerId, RoundTrips>,
    /// Counts the room among the empty ones while it outlives its last participant.
    empty: Option<EmptyRoomCount>,
}

/// What a room's task does between two looks into its mailbox.
#[derive(Default)]
pub(super) struct RoomTurn {
    /// When the turn began, or went on after a pause. One reading of the clock is enough for the
    /// messages in between.
    now: Time,
    /// What its messages have reserved from the room's rate.
    reserved: DeliveryCost,
    /// What they have cost.
    delivered: DeliveryCost,
    /// The seats that are taken with the join to which the room replies next.
    seats: usize,
}

/// The reply channels of requests that the room has not answered yet.
#[derive(Default)]
struct PendingReplies {
    newest: u64,
    joins: HashMap<RequestId, PendingJoin>,
    invited: HashMap<RequestId, oneshot::Sender<Result<(), Code>>>,
    inspected: HashMap<RequestId, oneshot::Sender<Box<RoomContent>>>,
    probed: HashMap<RequestId, oneshot::Sender<ProbedRoom>>,
    fields: HashMap<RequestId, oneshot::Sender<Vec<RoomProperty>>>,
    operated: HashMap<RequestId, oneshot::Sender<Result<(), ControlError>>>,
}

/// A join that the room has not answered yet.
struct PendingJoin {
    outgoing: Outgoing,
    /// `None`: a participant resumes.
    newcomer: Option<NewcomerSeats>,
    reply: oneshot::Sender<Result<JoinedRoom, Code>>,
}

/// A joined session, with the room's end of the session's queues.
struct AttachedSession {
    session: u32,
    outgoing: Outgoing,
}

impl Members {
    /// Returns what the control plane may learn of the sessions.
    fn probes(&self) -> Vec<(PeerId, SessionProbe)> {
        let probe = |(peer, session): (&PeerId, &AttachedSession)| {
            session.outgoing.probe().map(|probe| (*peer, probe.clone()))
        };
        self.sessions.iter().filter_map(probe).collect()
    }

    /// Notes the round trip of a peer's newest session, as QUIC measures it.
    fn note_round_trip(&mut self, peer: PeerId) {
        let probe = self.sessions.get(&peer).and_then(|session| session.outgoing.probe());
        let path = probe.and_then(|probe| probe.path.upgrade());
        if let Some(rtt) = path.and_then(|path| path.figures().rtt) {
            self.round_trips.entry(peer).or_default().add(rtt);
        }
    }
}

impl PendingReplies {
    fn next_id(&mut self) -> RequestId {
        self.newest += 1;
        RequestId(self.newest)
    }
}

impl Task for RoomShell {
    type Machine = Room;
    type Mail = RoomMail;

    fn begin_turn(&mut self, now: Time) {
        let RoomTurn { reserved, delivered, .. } =
            std::mem::replace(&mut self.turn, RoomTurn { now, ..RoomTurn::default() });
        if reserved != DeliveryCost::default() {
            self.rate.refund(reserved.without(delivered));
        }
    }

    fn continue_turn(&mut self, now: Time) {
        self.turn.now = now;
    }

    fn accept(&mut self, mail: RoomMail) -> RoomInput {
        match mail {
            RoomMail::Input(input) => {
                // A client pings every few seconds.
                if let RoomInput::Ping(session) = &input {
                    self.members.note_round_trip(session.peer);
                }
                input
            }
            RoomMail::Reserved(input, cost) => {
                self.turn.reserved.add(cost);
                input
            }
            RoomMail::Join(join, reply) => {
                let id = self.members.requests.next_id();
                let RoomJoin { request, outgoing, newcomer } = join;
                let pending = PendingJoin { outgoing, newcomer, reply };
                self.members.requests.joins.insert(id, pending);
                RoomInput::Join { request: id, join: request }
            }
            RoomMail::Invite { user, invited, reply } => {
                let request = self.members.requests.next_id();
                self.members.requests.invited.insert(request, reply);
                RoomInput::Invite { request, user, invited }
            }
            RoomMail::Inspect(reply) => {
                let request = self.members.requests.next_id();
                self.members.requests.inspected.insert(request, reply);
                RoomInput::Inspect(request)
            }
            RoomMail::Probe(reply) => {
                let request = self.members.requests.next_id();
                self.members.requests.probed.insert(request, reply);
                RoomInput::Inspect(request)
            }
            RoomMail::Fields(reply) => {
                let request = self.members.requests.next_id();
                self.members.requests.fields.insert(request, reply);
                RoomInput::Fields(request)
            }
            RoomMail::Operate(act, cost, reply) => {
                self.turn.reserved.add(cost);
                let request = self.members.requests.next_id();
                self.members.requests.operated.insert(request, reply);
                RoomInput::Operate(request, act)
            }
        }
    }

    async fn carry_out(&mut self, output: RoomOutput) -> Option<RoomInput> {
        match output {
            RoomOutput::Seats(taken) => self.turn.seats = taken,
            RoomOutput::Listing(listing) => {
                self.figures.set(&listing);
                self.tell_lobby(LobbyInput::Listing(self.id, listing)).await;
            }
            RoomOutput::JoinReply { request, result } => {
                return self.join_reply(request, result).await;
            }
            RoomOutput::InvitationReply { request, result } => {
                if let Some(reply) = self.members.requests.invited.remove(&request) {
                    // Fails if the inviting task has given up.
                    let _ = reply.send(result);
                }
            }
            RoomOutput::Content(request, content) => {
                if let Some(reply) = self.members.requests.inspected.remove(&request) {
                    // Fails if the control plane has given up.
                    let _ = reply.send(content);
                } else if let Some(reply) = self.members.requests.probed.remove(&request) {
                    let sessions = self.members.probes();
                    // Fails if the control plane has given up.
                    let _ = reply.send(ProbedRoom { content, sessions });
                }
            }
            RoomOutput::Fields(request, fields) => {
                if let Some(reply) = self.members.requests.fields.remove(&request) {
                    // Fails if the control plane has given up.
                    let _ = reply.send(fields);
                }
            }
            RoomOutput::Operated(request, result) => {
                if let Some(reply) = self.members.requests.operated.remove(&request) {
                    // Fails if the control plane has given up.
                    let _ = reply.send(result);
                }
            }
            RoomOutput::OpenLink { session, slot, link } => {
                let room = self.id;
                let open = OpenLink { room, session, slot, link: *link };
                let datagrams = self.attached(session).map(|s| s.outgoing.datagrams());
                self.shard.post(ShardMail::OpenLink(Box::new(open), datagrams)).await;
            }
            RoomOutput::CloseLink(peer) => {
                self.members.places.remove(&peer);
                self.shard.send(FanoutInput::CloseLink { room: self.id, peer }).await;
            }
            RoomOutput::Subscribe(session, groups) => {
                let room = self.id;
                self.shard.send(FanoutInput::Subscribe { room, session, groups }).await;
            }
            RoomOutput::Mute(session, muted) => {
                let room = self.id;
                self.shard.send(FanoutInput::Mute { room, session, muted }).await;
            }
            RoomOutput::Joined(session, joined, ticket) => {
                return self.joined(session, *joined, *ticket);
            }
            RoomOutput::Renewed(session, renewed, ticket) => {
                let message = encode(&Renewed { ticket: self.seal(*ticket), ..renewed }).into();
                return self.push(session, |out| out.control(message));
            }
            RoomOutput::Control(session, message) => {
                return self.push(session, |out| out.control(message));
            }
            RoomOutput::EventAck(session, message) => {
                if let Some(attached) = self.attached(session) {
                    attached.outgoing.event_ack(message);
                }
            }
            RoomOutput::Event(session, lane, message) => {
                let now = self.turn.now;
                self.turn.delivered.add(DeliveryCost::of(message.len(), 1));
                return self.push(session, |out| out.event(now, lane, message));
            }
            RoomOutput::State(session, message) => {
                self.turn.delivered.add(DeliveryCost::of(message.len(), 1));
                return self.push(session, |out| out.state(message));
            }
            RoomOutput::Disconnect(session, code) => self.disconnect(session, code),
            RoomOutput::Empty(empty) => return self.emptied(empty),
            RoomOutput::Reported(report) => {
                let left = match &report {
                    RoomReport::Left { visitor, .. } => Some(visitor.peer),
                    _ => None,
                };
                let trips = left.and_then(|peer| self.members.round_trips.remove(&peer));
                self.reports.post(report, trips.unwrap_or_default(), self.id, &self.shard).await;
            }
            RoomOutput::Banned(ban) => self.bans.add(&self.key, &ban),
            RoomOutput::Unbanned { user } => self.bans.remove(&self.key, &user),
            RoomOutput::BansEnded => self.bans.end(&self.key),
            RoomOutput::Moderated(moderated) => self.log(&moderated),
        }
        None
    }
}

impl RoomShell {
    /// Posts an input to the lobby. A lobby that has ended needs none.
    async fn tell_lobby(&self, input: LobbyInput) {
        let _ended = self.lobby.send(LobbyMail::Input(input)).await;
    }

    async fn join_reply(
        &mut self,
        request: RequestId,
        result: Result<SessionId, Code>,
    ) -> Option<RoomInput> {
        let joins = &mut self.members.requests.joins;
        let PendingJoin { outgoing, newcomer, reply } = joins.remove(&request)?;
        let session = match result {
            Ok(session) => session,
            Err(code) => {
                // The place is free before the reply: a refused client must not count any more.
                drop((outgoing, newcomer));
                // Fails if the client has given up.
                let _ = reply.send(Err(code));
                return None;
            }
        };
        let attached = AttachedSession { session: session.session, outgoing };
        if let Some(replaced) = self.members.sessions.insert(session.peer, attached) {
            replaced.outgoing.disconnect(Code::Replaced);
        }
        self.members.note_round_trip(session.peer);
        self.count_members();
        let resumes = newcomer.is_none();
        let arrived = newcomer.map_or(0, |NewcomerSeats { place, arrival }| {
            self.members.places.insert(session.peer, place);
            arrival.take_seats()
        });
        let (room, taken) = (self.id, self.turn.seats);
        self.tell_lobby(LobbyInput::Admitted { room, taken, arrived }).await;
        // A participant that resumes has its place since it joined.
        let budgets = self.members.places.get(&session.peer)?.budgets.clone();
        let Err(Ok(_)) = reply.send(Ok(JoinedRoom { session, budgets })) else { return None };
        // The client gave up while it waited. A participant that resumed may try again.
        Some(match resumes {
            true => self.lost(session),
            false => RoomInput::Leave(session, Code::JoinTimeout),
        })
    }

    fn count_members(&self) {
        self.rate.members.store(self.members.sessions.len(), Ordering::Relaxed);
    }

    /// Counts the room among the empty ones, or not any more. Ends it if its maker or its tenant has
    /// too many.
    fn emptied(&mut self, empty: bool) -> Option<RoomInput> {
        self.members.empty = None;
        if empty {
            let counted = self.tenants.count_empty(&self.key.owner.tenant, &self.counted);
            self.members.empty = counted;
        }
        (empty && self.members.empty.is_none()).then_some(RoomInput::EndEmpty)
    }

    fn attached(&self, session: SessionId) -> Option<&AttachedSession> {
        self.members.sessions.get(&session.peer).filter(|s| s.session == session.session)
    }

    fn disconnect(&mut self, session: SessionId, code: Code) {
        if self.attached(session).is_some()
            && let Some(attached) = self.members.sessions.remove(&session.peer)
        {
            attached.outgoing.disconnect(code);
            self.count_members();
        }
    }

    fn joined(
        &mut self,
        session: SessionId,
        mut joined: Joined,
        content: TicketContent,
    ) -> Option<RoomInput> {
        joined.ticket = self.seal(content);
        joined.room = self.key.name.clone().into_bytes();
        joined.entries = self.entries.to_vec();
        let message = encode(&joined).into();
        self.push(session, |out| out.control(message))
    }

    fn seal(&self, content: TicketContent) -> Vec<u8> {
        self.tickets.seal(&Ticket { room: (*self.key).clone(), content })
    }

    /// Queues a message for a session. Ends the session of a recipient that cannot keep up, because
    /// no reliable message may be skipped. Its participant stays in the room, and gets the missed
    /// messages when it resumes.
    ///
    /// A session reports its own end by mail, unless the client gave up at the moment when its join
    /// succeeded. So a closed queue counts as a lost session, too.
    fn push(
        &mut self,
        session: SessionId,
        push: impl FnOnce(&Outgoing) -> PushOutcome,
    ) -> Option<RoomInput> {
        match push(&self.attached(session)?.outgoing) {
            PushOutcome::Queued => None,
            PushOutcome::Full => {
                self.disconnect(session, Code::SlowConsumer);
                Some(RoomInput::SessionLost(session, LossCause::Slow))
            }
            PushOutcome::Closed => Some(self.lost(session)),
        }
    }

    /// Removes a lost session. Its participant keeps its place.
    fn lost(&mut self, session: SessionId) -> RoomInput {
        if self.attached(session).is_some() {
            self.members.sessions.remove(&session.peer);
            self.count_members();
        }
        // The session itself says why, if it has not said so yet.
        RoomInput::SessionLost(session, LossCause::Broken)
    }

    /// Logs an act of moderation. A refused act is logged at debug level only, because refusals
    /// could fill the log.
    fn log(&self, moderated: &Moderated) {
        let (tenant, room) = (&self.key.owner.tenant, &self.key.name);
        let Moderated { by, act, peer, user, seconds, result } = moderated;
        let act = act::name(*act);
        match result {
            Ok(()) => {
                tracing::info!(target: "audit", tenant, room, user = by, act, peer, whom = user, seconds, "moderation");
            }
            Err(code) => {
                tracing::debug!(tenant, room, user = by, act, peer, whom = user, %code, "refused to moderate");
            }
        }
    }
}
