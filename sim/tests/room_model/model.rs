//! A model of the rules of a room, as simple as possible: lists that are searched completely.

use std::collections::BTreeMap;

use nucleus_core::ids::{PeerId, SessionId};
use nucleus_core::room::Rights;
use nucleus_protocol::session::{
    Code, NEW_PEER, PIECE_CONTINUES, PIECE_MORE, RESUMED, RESUMED_WITH_LOSS, act,
};

use crate::records::{
    Act, HistoryEvent, LoggedEvent, ModelParticipant, ModelTicket, Reply, SessionStart,
};
use crate::state_model::StateModel;
use crate::{CAPACITY, ModelTarget, Op, PEER_TTL, ROLES, USER_OBJECTS};

/// The model of a room, and everything that it has sent.
pub(crate) struct RoomModel {
    /// ms.
    now: u64,
    empty_ttl: u64,
    pub(crate) participants: Vec<ModelParticipant>,
    next_peer: u32,
    log: Vec<LoggedEvent>,
    /// The newest event that is no longer in the log, by lane.
    forgotten: [u64; 2],
    sequence: u64,
    /// The events that are kept for peers that join later.
    history: Vec<HistoryEvent>,
    pub(crate) state: StateModel,
    /// Banned users, each with the end of the ban in ms.
    bans: Vec<(u8, u64)>,
    locked: bool,
    /// Users whom a moderator has muted.
    muted_users: Vec<u8>,
    mute_newcomers: bool,
    /// All acts of moderators.
    pub(crate) audits: Vec<Act>,
    /// The indexes in `audits` of the acts that each session was told of.
    pub(crate) audited: BTreeMap<SessionId, Vec<usize>>,
    /// How many acts the rate limit still allows to moderators, in thousandths of an act.
    acts_left: u64,
    /// When `acts_left` was computed, in ms.
    acts_at: u64,
    /// When the empty room ends, in ms.
    empty_until: Option<u64>,
    pub(crate) over: bool,
    /// The sequence numbers of the events sent to each session, by lane.
    pub(crate) events: BTreeMap<SessionId, [Vec<u64>; 2]>,
    /// The replies to each session.
    pub(crate) replies: BTreeMap<SessionId, Vec<Reply>>,
    /// The acknowledgements sent to each session: how many events the room has taken, by lane.
    pub(crate) acks: BTreeMap<SessionId, Vec<[u32; 2]>>,
    /// The start of each session.
    pub(crate) started: BTreeMap<SessionId, SessionStart>,
    pub(crate) ended: BTreeMap<SessionId, Code>,
    /// The code with which the last join was refused; `None` if it was not refused.
    pub(crate) refused: Option<Code>,
    /// One ticket for each session that has started.
    pub(crate) tickets: Vec<ModelTicket>,
}

impl RoomModel {
    pub(crate) fn new(empty_ttl: u64) -> Self {
        let founding = nucleus_core::limits::FOUNDING_TIME.as_millis() as u64;
        Self {
            now: 0,
            empty_ttl,
            participants: Vec::new(),
            next_peer: 1,
            log: Vec::new(),
            forgotten: [0; 2],
            sequence: 0,
            history: Vec::new(),
            state: StateModel::new(USER_OBJECTS),
            bans: Vec::new(),
            locked: false,
            muted_users: Vec::new(),
            acts_left: 20_000,
            acts_at: 0,
            mute_newcomers: false,
            audits: Vec::new(),
            audited: BTreeMap::new(),
            empty_until: Some(founding),
            over: false,
            events: BTreeMap::new(),
            replies: BTreeMap::new(),
            acks: BTreeMap::new(),
            started: BTreeMap::new(),
            ended: BTreeMap::new(),
            refused: None,
            tickets: Vec::new(),
        }
    }

    /// Returns the sequence number of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        self.sequence
    }

    /// Returns the participant that an operation selects, if there is any.
    pub(crate) fn participant(&self, who: usize) -> Option<&ModelParticipant> {
        let count = self.participants.len().max(1);
        self.participants.get(who % count)
    }

    /// Applies an operation to the model.
    pub(crate) fn apply(&mut self, op: &Op) {
        self.refused = None;
        match op {
            Op::Join { user, role } => self.refused = self.join(*user, *role).err(),
            Op::Resume { ticket, behind } => {
                self.refused = self.resume(*ticket, *behind).and_then(Result::err);
            }
            Op::Wait { ms } => self.wait(self.now + ms),
            Op::Link { who, active } => {
                let Some(participant) = self.connected(*who) else { return };
                participant.arrived |= *active;
                participant.away = !active;
            }
            Op::Lost { who } => self.lose(*who),
            Op::Leave { who } => {
                let peer = self.participant(*who).map(|participant| participant.peer);
                self.remove(peer.into_iter().collect(), Code::Left);
            }
            Op::Event { stale: true, .. } | Op::State { stale: true, .. } => {}
            Op::Event { who, target, lane, piece, .. } => self.event(*who, target, *lane, *piece),
            Op::Subscribe { who, groups } => {
                let version = self.state.version;
                let Some(participant) = self.connected(*who) else { return };
                (participant.arrived, participant.groups) = (true, groups.clone());
                let session = participant.session_id();
                let reply = Reply { code: 0, failed: 0, version };
                self.replies.entry(session).or_default().push(reply);
            }
            Op::State { who, operations, .. } => {
                let Some(participant) = self.connected(*who) else { return };
                participant.arrived = true;
                let (peer, session) = (participant.peer, participant.session_id());
                let rights =
                    Rights { moderate: participant.moderates, ..ROLES[participant.role].1 };
                let present = self.present();
                let empty = operations.is_empty();
                let result = match empty {
                    true => Err((Code::BadState, 0)),
                    false => self.state.request((peer, rights), &present, operations),
                };
                let (code, failed) = result.err().map_or((0, 0), |(code, at)| (code as u16, at));
                let reply = Reply { code, failed, version: self.state.version };
                self.replies.entry(session).or_default().push(reply);
            }
            Op::Moderate { who, act, target, seconds } => {
                self.moderate(*who, *act, *target, *seconds);
            }
        }
    }

    /// Returns the peers in the roster, each with `true` if it is present and `false` if it is
    /// away.
    pub(crate) fn present(&self) -> BTreeMap<u32, bool> {
        self.participants.iter().map(|participant| (participant.peer, !participant.away)).collect()
    }

    fn connected(&mut self, who: usize) -> Option<&mut ModelParticipant> {
        let count = self.participants.len().max(1);
        self.participants.get_mut(who % count).filter(|participant| participant.lost_at.is_none())
    }

    fn join(&mut self, user: u8, role: usize) -> Result<(), Code> {
        if self.over {
            return Err(Code::ShuttingDown);
        }
        if self.bans.iter().any(|(banned, until)| *banned == user && self.now < *until) {
            return Err(Code::Kicked);
        }
        if self.locked && !ROLES[role].1.moderate {
            return Err(Code::RoomLocked);
        }
        if self.participants.len() == CAPACITY {
            return Err(Code::RoomFull);
        }
        let peer = self.next_peer;
        self.next_peer += 1;
        self.empty_until = None;
        let (redeemed, taken, arrived, away, lost_at) = (0, [0; 2], false, false, None);
        let (session, last, groups) = (1, [self.sequence; 2], Vec::new());
        let moderates = ROLES[role].1.moderate;
        let muted = self.muted_users.contains(&user) || self.mute_newcomers && !moderates;
        let self_muted = false;
        let participant = ModelParticipant {
            peer,
            session,
            user,
            role,
            moderates,
            muted,
            self_muted,
            redeemed,
            last,
            taken,
            unacknowledged: Vec::new(),
            groups,
            pieces_to: None,
            arrived,
            away,
            lost_at,
        };
        self.participants.push(participant);
        self.state.users.insert(peer, user);
        let session = SessionId { peer: PeerId(peer), session: 1 };
        self.started.insert(session, SessionStart { resumed: NEW_PEER, taken: [0; 2] });
        let history = self.history.iter().map(|event| event.sequence).collect();
        self.events.insert(session, [history, Vec::new()]);
        self.tickets.push(ModelTicket { session, user });
        Ok(())
    }

    /// Resumes with a ticket. Returns `None` if there is no ticket yet.
    fn resume(&mut self, ticket: usize, behind: [u64; 2]) -> Option<Result<(), Code>> {
        let ModelTicket { session, .. } = *self.tickets.get(ticket % self.tickets.len().max(1))?;
        let (peer, number) = (session.peer.0, session.session);
        if self.over {
            return Some(Err(Code::ShuttingDown));
        }
        let found = self.participants.iter_mut().find(|participant| participant.peer == peer);
        let good = |participant: &&mut ModelParticipant| {
            (participant.redeemed..=participant.session).contains(&number)
        };
        let Some(participant) = found.filter(good) else { return Some(Err(Code::TimedOut)) };
        participant.session += 1;
        participant.redeemed = number;
        (participant.lost_at, participant.away) = (None, false);
        participant.unacknowledged.clear();
        let session = participant.session_id();
        for (last, behind) in participant.last.iter_mut().zip(behind) {
            *last = self.sequence.saturating_sub(behind).max(*last);
        }
        let last = participant.last;
        let complete = last[0] >= self.forgotten[0] && last[1] >= self.forgotten[1];
        let resumed = if complete { RESUMED } else { RESUMED_WITH_LOSS };
        self.started.insert(session, SessionStart { resumed, taken: participant.taken });
        self.tickets.push(ModelTicket { session, user: participant.user });
        for HistoryEvent { sequence, from } in &self.history {
            if *sequence > last[0] && *sequence <= self.forgotten[0] && *from != peer {
                self.events.entry(session).or_default()[0].push(*sequence);
            }
        }
        for event in &self.log {
            if event.sequence > last[event.lane] && event.to.contains(&peer) {
                self.events.entry(session).or_default()[event.lane].push(event.sequence);
            }
        }
        Some(Ok(()))
    }

    fn lose(&mut self, who: usize) {
        let now = self.now;
        let Some(participant) = self.connected(who) else { return };
        if !participant.arrived {
            let peer = participant.peer;
            return self.remove(vec![peer], Code::TimedOut);
        }
        (participant.lost_at, participant.away) = (Some(now), true);
    }

    fn event(&mut self, who: usize, to: &ModelTarget, lane: usize, piece: u8) {
        let (now, host) = (self.now, self.state.host(&self.present()));
        let participants = self.participants.clone();
        let Some(sender) = self.connected(who) else { return };
        sender.taken[lane] += 1;
        sender.unacknowledged.push(now);
        sender.arrived = true;
        let first = sender.unacknowledged[0];
        if now - first >= 10_000 || sender.unacknowledged.len() == 32 {
            sender.unacknowledged.clear();
            let (session, taken) = (sender.session_id(), sender.taken);
            self.acks.entry(session).or_default().push(taken);
        }
        let sender = self.connected(who).expect("it was connected above");
        let (from, keeps) = (sender.peer, ROLES[sender.role].1.objects);
        let later = matches!(to, ModelTarget::OthersAndLater) && keeps && lane == 0;
        let to = match to {
            ModelTarget::Host => ModelTarget::Listed(vec![host]),
            ModelTarget::Group(group) => {
                let members =
                    participants.iter().filter(|participant| participant.groups.contains(group));
                ModelTarget::Listed(
                    members
                        .map(|participant| participant.peer)
                        .filter(|peer| *peer != from)
                        .collect(),
                )
            }
            to => to.clone(),
        };
        // All pieces of a message have the target of the first piece.
        let to = match sender.pieces_to.take_if(|_| lane == 1) {
            Some(first) if piece & PIECE_CONTINUES != 0 => first,
            _ => to,
        };
        if piece & PIECE_MORE != 0 {
            sender.pieces_to = Some(to.clone());
        }
        self.sequence += 1;
        if later {
            self.history.push(HistoryEvent { sequence: self.sequence, from });
        }
        let is_for = |participant: &&ModelParticipant| match &to {
            ModelTarget::All => true,
            ModelTarget::Others | ModelTarget::OthersAndLater => from != participant.peer,
            ModelTarget::Listed(listed) => listed.contains(&participant.peer),
            ModelTarget::Host | ModelTarget::Group(_) => unreachable!("replaced by a list above"),
        };
        let (sequence, at) = (self.sequence, self.now);
        // A participant without a session may get the event by a resume. A peer that joins later
        // does not.
        let recipients: Vec<&ModelParticipant> = self.participants.iter().filter(is_for).collect();
        for participant in recipients.iter().filter(|participant| participant.lost_at.is_none()) {
            let session = participant.session_id();
            self.events.entry(session).or_default()[lane].push(sequence);
        }
        let to = recipients.iter().map(|participant| participant.peer).collect();
        self.log.push(LoggedEvent { at, sequence, lane, to });
    }

    fn moderate(&mut self, who: usize, what: u8, target: usize, seconds: u32) {
        let target = self.participant(target).map_or(0, |participant| participant.peer);
        let names = [act::KICK, act::MUTE, act::UNMUTE, act::HAND_OVER].contains(&what);
        let lost = |participant: &ModelParticipant| {
            participant.peer == target && participant.lost_at.is_some()
        };
        let target_lost = self.participants.iter().any(lost);
        let Some(participant) = self.connected(who) else { return };
        participant.arrived = true;
        let (peer, session, moderates) =
            (participant.peer, participant.session_id(), participant.moderates);
        let known = (act::KICK..=act::HAND_OVER).contains(&what);
        let fits = if what == act::KICK { seconds <= 86_400 } else { seconds == 0 };
        let on_self = [act::MUTE_SELF, act::UNMUTE_SELF].contains(&what);
        let result = match () {
            () if !known || !fits => Err(Code::BadState),
            () if what == act::HAND_OVER && target == peer => Err(Code::BadState),
            () if !moderates && !on_self => Err(Code::Forbidden),
            () if what == act::HAND_OVER && target_lost => Err(Code::NoSuchEntity),
            () => Ok(()),
        };
        let result = result.and_then(|()| if on_self { Ok(()) } else { self.take_act() });
        if result.is_ok() && what == act::CLEAR {
            self.state.clear();
            self.history.clear();
        }
        if result.is_ok() && what == act::HAND_OVER {
            self.state.choose(target);
        }
        let code = result.err().map_or(0, |code| code as u16);
        let reply = Reply { code, failed: 0, version: self.state.version };
        self.replies.entry(session).or_default().push(reply);
        if result.is_err() {
            return;
        }
        if !on_self {
            let target = if names { target } else { 0 };
            self.audits.push(Act { act: what, by: peer, target });
            for participant in
                self.participants.iter().filter(|participant| participant.lost_at.is_none())
            {
                let session = participant.session_id();
                self.audited.entry(session).or_default().push(self.audits.len() - 1);
            }
        }
        self.carry_out(Act { act: what, by: peer, target }, seconds);
    }

    /// Counts one act against the room's rate limit: a burst of twenty acts, then five per second.
    fn take_act(&mut self) -> Result<(), Code> {
        self.acts_left = (self.acts_left + (self.now - self.acts_at) * 5).min(20_000);
        self.acts_at = self.now;
        if self.acts_left < 1_000 {
            return Err(Code::ActRate);
        }
        self.acts_left -= 1_000;
        Ok(())
    }

    fn carry_out(&mut self, Act { act: what, by, target }: Act, seconds: u32) {
        let user = self.participants.iter().find(|participant| participant.peer == target);
        let user = user.map_or(u8::MAX, |participant| participant.user);
        match what {
            act::LOCK | act::UNLOCK => self.locked = what == act::LOCK,
            act::MUTE | act::UNMUTE => {
                self.muted_users.retain(|other| *other != user);
                if what == act::MUTE {
                    self.muted_users.push(user);
                }
                for participant in
                    self.participants.iter_mut().filter(|participant| participant.user == user)
                {
                    participant.muted = what == act::MUTE;
                }
            }
            act::MUTE_ALL => {
                self.mute_newcomers = true;
                self.participants
                    .iter_mut()
                    .for_each(|participant| participant.muted |= !participant.moderates);
            }
            act::UNMUTE_ALL => {
                self.mute_newcomers = false;
                self.muted_users.clear();
                self.participants.iter_mut().for_each(|participant| participant.muted = false);
            }
            act::MUTE_SELF | act::UNMUTE_SELF => {
                self.participant_of(by).self_muted = what == act::MUTE_SELF;
            }
            act::HAND_OVER => {
                self.participant_of(target).moderates = true;
                self.participant_of(by).moderates = false;
            }
            act::KICK => {
                let mut out = vec![target];
                if seconds > 0 {
                    self.bans.push((user, self.now + u64::from(seconds) * 1_000));
                    let devices =
                        self.participants.iter().filter(|participant| participant.user == user);
                    out = devices.map(|participant| participant.peer).collect();
                }
                self.remove(out, Code::Kicked);
            }
            _ => {}
        }
    }

    fn participant_of(&mut self, peer: u32) -> &mut ModelParticipant {
        self.participants
            .iter_mut()
            .find(|participant| participant.peer == peer)
            .expect("the participant exists")
    }

    /// Advances time. Participants and the room end when they expire.
    fn wait(&mut self, until: u64) {
        loop {
            let expiry =
                |participant: &ModelParticipant| participant.lost_at.map(|at| at + PEER_TTL);
            let next = self.participants.iter().filter_map(expiry).chain(self.empty_until).min();
            let Some(at) = next.filter(|at| *at <= until && !self.over) else { break };
            self.now = at;
            let due =
                self.participants.iter().filter(|participant| expiry(participant) == Some(at));
            self.remove(due.map(|participant| participant.peer).collect(), Code::TimedOut);
            if self.participants.is_empty() && self.empty_until.is_some_and(|until| until <= at) {
                (self.over, self.empty_until) = (true, None);
            }
        }
        self.now = until;
        for participant in &mut self.participants {
            // On whole seconds, so that participants share their wake-ups.
            let due = |first: &u64| (first + 15_000).next_multiple_of(1_000) <= until;
            if participant.lost_at.is_none() && participant.unacknowledged.first().is_some_and(due)
            {
                participant.unacknowledged.clear();
                let session = participant.session_id();
                self.acks.entry(session).or_default().push(participant.taken);
            }
        }
        for event in self.log.extract_if(.., |event| event.at + PEER_TTL <= until) {
            self.forgotten[event.lane] = event.sequence;
        }
    }

    /// Removes several participants at the same time.
    fn remove(&mut self, peers: Vec<u32>, code: Code) {
        let before = self.state.version;
        let mut changed = false;
        for peer in &peers {
            let participant =
                self.participants.iter().position(|participant| participant.peer == *peer);
            let participant =
                self.participants.remove(participant.expect("the participant exists"));
            self.ended.insert(participant.session_id(), code);
            changed |= self.state.leave(*peer);
        }
        self.state.version = before + u64::from(changed);
        if self.participants.is_empty() && !peers.is_empty() {
            match self.empty_ttl {
                0 => self.over = true,
                ttl => self.empty_until = Some(self.now + ttl),
            }
        }
    }
}
