//! The task of one room: carries out the room's outputs to sessions, shard and lobby.

use std::collections::HashMap;
use std::sync::Arc;

use nucleus_core::fanout::{FanoutInput, OpenLink};
use nucleus_core::ids::{PeerId, RequestId, RoomId, RoomKey, SessionId};
use nucleus_core::lobby::LobbyInput;
use nucleus_core::room::{Moderated, Room, RoomInput, RoomOutput, TicketContent};
use nucleus_protocol::session::{Code, Joined, Renewed, act, encode};
use tokio::sync::{mpsc, oneshot};

use super::mail::{LobbyMail, RoomMail};
use super::outgoing::Outgoing;
use super::task::Task;
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
    pub(super) requests: PendingReplies,
    /// The newest session of each peer.
    pub(super) sessions: HashMap<PeerId, AttachedSession>,
}

/// The reply channels of requests that the room has not answered yet.
#[derive(Default)]
pub(super) struct PendingReplies {
    newest: u64,
    joins: HashMap<RequestId, PendingJoin>,
    invited: HashMap<RequestId, oneshot::Sender<Result<(), Code>>>,
}

/// A join that the room has not answered yet.
struct PendingJoin {
    resumes: bool,
    outgoing: Outgoing,
    reply: oneshot::Sender<Result<SessionId, Code>>,
}

/// A joined session, with the room's end of the session's queues.
pub(super) struct AttachedSession {
    session: u32,
    outgoing: Outgoing,
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

    fn accept(&mut self, mail: RoomMail) -> RoomInput {
        match mail {
            RoomMail::Input(input) => input,
            RoomMail::Join(join, outgoing, reply) => {
                let request = self.requests.next_id();
                let pending = PendingJoin { resumes: join.resume.is_some(), outgoing, reply };
                self.requests.joins.insert(request, pending);
                RoomInput::Join { request, join }
            }
            RoomMail::Invite { user, invited, reply } => {
                let request = self.requests.next_id();
                self.requests.invited.insert(request, reply);
                RoomInput::Invite { request, user, invited }
            }
        }
    }

    async fn carry_out(&mut self, output: RoomOutput) -> Option<RoomInput> {
        match output {
            RoomOutput::Seats(taken) => self.tell_lobby(LobbyInput::Seats(self.id, taken)).await,
            RoomOutput::Listing(listing) => {
                self.tell_lobby(LobbyInput::Listing(self.id, listing)).await;
            }
            RoomOutput::JoinReply { request, result } => return self.join_reply(request, result),
            RoomOutput::InvitationReply { request, result } => {
                if let Some(reply) = self.requests.invited.remove(&request) {
                    // Fails if the inviting task has given up.
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
                return self.push(session, |out| out.event(lane, message));
            }
            RoomOutput::State(session, message) => {
                return self.push(session, |out| out.state(message));
            }
            RoomOutput::Disconnect(session, code) => self.disconnect(session, code),
            RoomOutput::Banned(ban) => self.bans.add(&self.key, &ban),
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

    fn join_reply(
        &mut self,
        request: RequestId,
        result: Result<SessionId, Code>,
    ) -> Option<RoomInput> {
        let PendingJoin { resumes, outgoing, reply } = self.requests.joins.remove(&request)?;
        match result {
            Ok(SessionId { peer, session }) => {
                let attached = AttachedSession { session, outgoing };
                if let Some(replaced) = self.sessions.insert(peer, attached) {
                    replaced.outgoing.disconnect(Code::Replaced);
                }
            }
            // The queues are dropped before the reply: a refused client must not count as a session
            // any more.
            Err(_) => drop(outgoing),
        }
        let Err(Ok(session)) = reply.send(result) else { return None };
        // The client gave up while it waited. A participant that resumed may try again.
        Some(match resumes {
            true => self.lost(session),
            false => RoomInput::Leave(session, Code::JoinTimeout),
        })
    }

    fn attached(&self, session: SessionId) -> Option<&AttachedSession> {
        self.sessions.get(&session.peer).filter(|s| s.session == session.session)
    }

    fn disconnect(&mut self, session: SessionId, code: Code) {
        if self.attached(session).is_some()
            && let Some(attached) = self.sessions.remove(&session.peer)
        {
            attached.outgoing.disconnect(code);
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
                Some(RoomInput::SessionLost(session))
            }
            PushOutcome::Closed => Some(self.lost(session)),
        }
    }

    /// Removes a lost session, which then no longer counts as a joined session. Otherwise a full
    /// server would have no place for the session with which the peer resumes.
    fn lost(&mut self, session: SessionId) -> RoomInput {
        if self.attached(session).is_some() {
            self.sessions.remove(&session.peer);
        }
        RoomInput::SessionLost(session)
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
