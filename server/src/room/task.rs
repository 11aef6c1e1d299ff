//! The task that drives one room: its mailbox in, its outputs to sessions and shard.

use std::collections::HashMap;
use std::sync::Arc;

use nucleus_net::Clock;
use nucleus_protocol::session::{Code, Joined, Moderate, StateRequest, Subscribe, act, encode};
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::{Claim, Event, JoinRequest, Room, RoomConfig, RoomOutput, Seat};
use crate::directory::RoomKey;
use crate::limits;
use crate::session::outgoing::{Outgoing, Pushed};
use crate::session::ticket::{Ticket, TicketKey};
use crate::shard::handle::{ShardHandle, ShardMail};
use crate::shard::{LinkNews, OpenLink, PeerId, RoomId, ShardCommand};
use crate::tenants::{LobbyKey, Tenants};

/// What a room's mailbox takes.
pub enum RoomInput {
    /// A session wants in. The answer is its seat, or why not; what follows comes by the session's
    /// queue.
    Join(Box<JoinRequest>, Outgoing, oneshot::Sender<Result<Seat, Code>>),
    /// The shard speaks.
    Link(Seat, LinkNews),
    /// The client leaves, or broke the rules.
    Leave(Seat, Code),
    /// The session died without a word.
    SessionLost(Seat),
    /// An event, or a piece of a larger message.
    Event {
        /// Its sender.
        from: Seat,
        /// What it says, and to whom.
        event: Event,
    },
    /// A request for changes of the shared state.
    State {
        /// Who asks.
        from: Seat,
        /// What for.
        request: StateRequest,
    },
    /// A peer chooses the groups that it hears.
    Subscribe {
        /// Who.
        from: Seat,
        /// Which.
        asked: Subscribe,
    },
    /// A peer acts as a moderator.
    Moderate {
        /// Who.
        from: Seat,
        /// What it does.
        asked: Moderate,
    },
    /// Lets a user in from now on, or no more.
    Guest {
        /// Who.
        user: String,
        /// In.
        invited: bool,
        /// Whether it could be.
        done: oneshot::Sender<Result<(), Code>>,
    },
    /// End the room.
    Shutdown(Code),
}

/// A room's task.
pub struct RoomTask {
    id: RoomId,
    key: RoomKey,
    /// Tells this run of the server from others.
    run: u32,
    tickets: Arc<TicketKey>,
    room: Room,
    clock: Clock,
    shard: Arc<ShardHandle>,
    sessions: HashMap<PeerId, Seated>,
    tenants: Arc<Tenants>,
    lobby: LobbyKey,
}

/// The newest session of a peer.
struct Seated {
    session: u32,
    user: String,
    outgoing: Outgoing,
}

impl RoomTask {
    /// Runs the room until it is empty. The mailbox is closed then: what was still in it is
    /// dropped, and whoever waits for an answer finds the instance dead and tries a new one.
    pub async fn run(
        (id, key): (RoomId, RoomKey),
        config: RoomConfig,
        clock: Clock,
        (shard, tickets, tenants): (Arc<ShardHandle>, Arc<TicketKey>, Arc<Tenants>),
        mut mailbox: mpsc::Receiver<RoomInput>,
    ) {
        let run = config.clock_epoch;
        let room = Room::new(Time::from_micros(clock.now()), config);
        let sessions = HashMap::new();
        let lobby = LobbyKey { tenant: key.tenant.clone(), app: key.app };
        let mut task =
            RoomTask { id, key, run, tickets, room, clock, shard, sessions, tenants, lobby };
        task.drive(&mut mailbox).await;
        // Somebody may be about to post: dropped as it is, the mailbox would keep that for as long as
        // anybody has its other end, and whoever waits for the answer may be the one.
        mailbox.close();
        while mailbox.recv().await.is_some() {}
    }

    async fn drive(&mut self, mailbox: &mut mpsc::Receiver<RoomInput>) {
        let clock = self.clock;
        let mut inputs = Vec::with_capacity(limits::ROOM_INPUTS_PER_TURN);
        loop {
            let due = self.room.deadline();
            tokio::select! {
                count = mailbox.recv_many(&mut inputs, limits::ROOM_INPUTS_PER_TURN) => {
                    if count == 0 {
                        return;
                    }
                }
                () = sleep_until(clock, due) => {}
            }
            let now = self.now();
            inputs.drain(..).for_each(|input| self.take(now, input));
            self.room.handle_timeout(now);
            if self.carry_out().await {
                return;
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }

    fn take(&mut self, now: Time, input: RoomInput) {
        match input {
            RoomInput::Join(request, outgoing, reply) => self.join(now, *request, outgoing, reply),
            RoomInput::Link(seat, news) => self.room.handle_link(now, seat, news),
            RoomInput::Leave(seat, code) => self.room.handle_leave(now, seat, code),
            RoomInput::SessionLost(seat) => self.lost(now, seat),
            RoomInput::Event { from, event } => self.room.handle_event(now, from, event),
            RoomInput::State { from, request } => {
                self.room.handle_state_request(now, from, request);
            }
            RoomInput::Subscribe { from, asked } => self.room.handle_subscribe(from, &asked),
            RoomInput::Moderate { from, asked } => self.moderate(now, from, &asked),
            RoomInput::Guest { user, invited, done } => self.guest(now, &user, invited, done),
            RoomInput::Shutdown(code) => self.room.handle_shutdown(now, code),
        }
    }

    /// Every act that is done is told to the log; one that is refused could fill it.
    fn moderate(&mut self, now: Time, from: Seat, asked: &Moderate) {
        let user_of = |peer| self.room.user_of(peer).map(str::to_owned);
        let (user, whom) = (user_of(from.peer), user_of(PeerId(asked.peer)));
        let Some(result) = self.room.handle_moderation(now, from, asked) else { return };
        let RoomKey { tenant, name, .. } = &self.key;
        let Moderate { peer, seconds, .. } = asked;
        let act = act::name(asked.act);
        match result {
            // Of itself anybody may say anything, as often as he likes.
            Ok(()) if matches!(asked.act, act::MUTE_SELF | act::UNMUTE_SELF) => {}
            Ok(()) => {
                tracing::info!(target: "audit", tenant, room = name, user, act, peer, whom, seconds, "moderation");
            }
            Err(code) => {
                tracing::debug!(tenant, room = name, user, act, peer, whom, %code, "refused to moderate");
            }
        }
    }

    fn guest(
        &mut self,
        now: Time,
        user: &str,
        invited: bool,
        done: oneshot::Sender<Result<(), Code>>,
    ) {
        let result = if invited {
            self.room.handle_invite(now, user)
        } else {
            self.room.handle_uninvite(now, user);
            Ok(())
        };
        // Whoever does not wait any more does not want to know.
        let _ = done.send(result);
    }

    fn join(
        &mut self,
        now: Time,
        request: JoinRequest,
        outgoing: Outgoing,
        reply: oneshot::Sender<Result<Seat, Code>>,
    ) {
        let (user, resumes) = (request.user.clone(), request.resume.is_some());
        let result = self.room.handle_join(now, request);
        match result {
            Ok(Seat { peer, session }) => {
                // Before the answer: the next match must not count on this seat.
                self.tenants.seat(&self.lobby, self.id, self.room.taken());
                let seated = Seated { session, user, outgoing };
                if let Some(before) = self.sessions.insert(peer, seated) {
                    before.outgoing.disconnect(Code::Replaced);
                }
            }
            // Before the answer: whoever is refused has given its place back by then.
            Err(_) => drop(outgoing),
        }
        if let Err(Ok(seat)) = reply.send(result) {
            // The session gave up while it waited. Who was here before may try again.
            if resumes {
                self.lost(now, seat);
            } else {
                self.room.handle_leave(now, seat, Code::JoinTimeout);
            }
        }
    }

    /// True when the room is over.
    async fn carry_out(&mut self) -> bool {
        while let Some(output) = self.room.poll_output() {
            match output {
                RoomOutput::OpenLink { seat, slot, link_id, suite, root, seed } => {
                    let room = self.id;
                    let open = OpenLink { room, seat, slot, link_id, suite, root, seed };
                    let datagrams = self.seated(seat).map(|s| s.outgoing.datagrams());
                    self.shard.post(ShardMail::OpenLink(Box::new(open), datagrams)).await;
                }
                RoomOutput::CloseLink(peer) => {
                    self.shard.send(ShardCommand::CloseLink { room: self.id, peer }).await;
                }
                RoomOutput::Subscribe(seat, groups) => {
                    let room = self.id;
                    self.shard.send(ShardCommand::Subscribe { room, seat, groups }).await;
                }
                RoomOutput::Mute(seat, muted) => {
                    let room = self.id;
                    self.shard.send(ShardCommand::Mute { room, seat, muted }).await;
                }
                RoomOutput::Joined(seat, joined, claim) => self.joined(seat, *joined, claim),
                RoomOutput::Control(seat, message) => {
                    self.push(seat, |out| out.control(message));
                }
                RoomOutput::Event(seat, lane, message) => {
                    self.push(seat, |out| out.event(lane, message));
                }
                RoomOutput::State(seat, message) => self.push(seat, |out| out.state(message)),
                RoomOutput::Disconnect(seat, code) => {
                    if self.seated(seat).is_some()
                        && let Some(seated) = self.sessions.remove(&seat.peer)
                    {
                        seated.outgoing.disconnect(code);
                    }
                }
                RoomOutput::Shown(shown) => self.tenants.show(&self.lobby, self.id, *shown),
                RoomOutput::Closed => return true,
            }
        }
        false
    }

    fn seated(&self, seat: Seat) -> Option<&Seated> {
        self.sessions.get(&seat.peer).filter(|s| s.session == seat.session)
    }

    fn joined(&mut self, seat: Seat, mut joined: Joined, claim: Claim) {
        let Some(seated) = self.seated(seat) else { return };
        joined.ticket = self.tickets.seal(&Ticket {
            tenant: self.key.tenant.clone(),
            app: self.key.app,
            room: self.key.name.clone(),
            user: seated.user.clone(),
            run: self.run,
            claim,
        });
        joined.room = self.key.name.clone().into_bytes();
        let message = encode(&joined).into();
        self.push(seat, |out| out.control(message));
    }

    /// A recipient that cannot keep up is cut: reliable means reliable. It keeps its place, and has
    /// what it missed when it comes back. One whose session has ended says so itself, but for a join
    /// that was given up in the moment of its success.
    fn push(&mut self, seat: Seat, push: impl FnOnce(&Outgoing) -> Pushed) {
        let Some(seated) = self.seated(seat) else { return };
        let pushed = push(&seated.outgoing);
        let now = self.now();
        match pushed {
            Pushed::Queued => {}
            Pushed::Behind => {
                if let Some(seated) = self.sessions.remove(&seat.peer) {
                    seated.outgoing.disconnect(Code::SlowConsumer);
                }
                self.room.handle_session_lost(now, seat);
            }
            Pushed::Gone => self.lost(now, seat),
        }
    }

    /// The session is gone, and with it its place among the server's sessions: the peer may need
    /// that to come back.
    fn lost(&mut self, now: Time, seat: Seat) {
        if self.seated(seat).is_some() {
            self.sessions.remove(&seat.peer);
        }
        self.room.handle_session_lost(now, seat);
    }
}

/// Until `due`, for ever without one.
pub(crate) async fn sleep_until(clock: Clock, due: Option<Time>) {
    match due {
        Some(at) => tokio::time::sleep(at.since(Time::from_micros(clock.now()))).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::SecondDevice;
    use crate::room::{Quota, Terms};
    use crate::tenants::TenantLimits;
    use crate::token::App;

    #[tokio::test]
    async fn who_is_about_to_post_when_the_room_ends_is_answered() {
        let config = RoomConfig {
            capacity: 2,
            peer_ttl: Duration::from_secs(1),
            second_device: SecondDevice::Allow,
            epoch: 1,
            clock_epoch: 1,
            rate: crate::room::RoomRate::default(),
            quota: Quota::default(),
            terms: Terms::default(),
        };
        let key = RoomKey { tenant: "a".into(), app: App::Atom, name: "den".into() };
        let limits = TenantLimits { rooms: 1, kept_rooms: 0, sessions: 1, user_sessions: 1 };
        let tickets = Arc::new(TicketKey::new(&[7; 64]).unwrap());
        let place = (Arc::new(ShardHandle::of_no_shard()), tickets, Tenants::new(limits));
        let (mailbox, receiver) = mpsc::channel(4);
        let run = RoomTask::run((RoomId(1), key), config, Clock::new(), place, receiver);
        let running = tokio::spawn(run);
        let about_to = mailbox.reserve().await.unwrap();
        assert!(mailbox.send(RoomInput::Shutdown(Code::RoomEnded)).await.is_ok());
        mailbox.closed().await;
        let (done, answer) = oneshot::channel();
        about_to.send(RoomInput::Guest { user: "ada".into(), invited: true, done });
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
        assert!(answer.expect("it waits for ever").is_err(), "the room is over");
        running.await.unwrap();
    }
}
