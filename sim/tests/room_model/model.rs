//! The rules of a room, as plainly as can be: lists that are searched from end to end.

use std::collections::BTreeMap;

use nucleus_core::room::Rights;
use nucleus_protocol::session::{
    AWAY, Code, MODERATOR, MUTED, NEW_PEER, PIECE_CONTINUES, PIECE_MORE, RESUMED,
    RESUMED_WITH_LOSS, SELF_MUTED, act,
};

use crate::state_model::Model as StateModel;
use crate::{CAPACITY, ModelTarget, Op, PEER_TTL, ROLES};

/// A session of a peer: its number, and which of them.
pub(crate) type Session = (u32, u32);

pub(crate) struct RoomModel {
    /// ms.
    now: u64,
    empty_ttl: u64,
    pub(crate) participants: Vec<ModelParticipant>,
    next_peer: u32,
    log: Vec<LoggedEvent>,
    forgotten: [u64; 2],
    sequence: u64,
    /// Events for whoever comes later, and who sent them.
    kept: Vec<(u64, u32)>,
    pub(crate) state: StateModel,
    /// Users, and until when.
    bans: Vec<(u8, u64)>,
    locked: bool,
    /// Users whom a moderator has muted, and whether newcomers are.
    silenced: Vec<u8>,
    mute_newcomers: bool,
    /// What was done, by whom to whom, and which of it each session has heard.
    pub(crate) audits: Vec<(u8, u32, u32)>,
    pub(crate) audited: BTreeMap<Session, Vec<usize>>,
    /// Thousandths of acts that moderators may do, and when that was.
    acts: (u64, u64),
    /// When an empty room ends.
    empty_until: Option<u64>,
    pub(crate) over: bool,
    /// What each session has been told: numbers of events, by lane, and answers to requests.
    pub(crate) events: BTreeMap<Session, [Vec<u64>; 2]>,
    pub(crate) replies: BTreeMap<Session, Vec<(u16, u16, u64)>>,
    /// How each session began, and with how many of its peer's events taken.
    pub(crate) begun: BTreeMap<Session, (u8, [u32; 2])>,
    pub(crate) ended: BTreeMap<Session, Code>,
    /// Why the last join was refused, if it was.
    pub(crate) refused: Option<Code>,
    /// One for each session that has begun: whose, and how much it knew then.
    pub(crate) tickets: Vec<(Session, u8)>,
}

#[derive(Clone)]
pub(crate) struct ModelParticipant {
    pub(crate) peer: u32,
    pub(crate) session: u32,
    pub(crate) user: u8,
    role: usize,
    /// By its role, or handed over.
    moderates: bool,
    pub(crate) muted: bool,
    pub(crate) self_muted: bool,
    redeemed: u32,
    last: [u64; 2],
    taken: [u32; 2],
    pub(crate) groups: Vec<u8>,
    /// Whom the message is for of which a piece has come and more follow.
    begun: Option<ModelTarget>,
    arrived: bool,
    pub(crate) away: bool,
    pub(crate) lost_at: Option<u64>,
}

impl ModelParticipant {
    /// As the roster says it.
    pub(crate) fn presence(&self) -> u8 {
        let flags = [
            (self.away, AWAY),
            (self.muted, MUTED),
            (self.self_muted, SELF_MUTED),
            (self.moderates, MODERATOR),
        ];
        flags.iter().filter(|(holds, _)| *holds).map(|(_, bit)| bit).sum()
    }
}

struct LoggedEvent {
    at: u64,
    sequence: u64,
    lane: usize,
    to: Vec<u32>,
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
            kept: Vec::new(),
            state: StateModel::default(),
            bans: Vec::new(),
            locked: false,
            silenced: Vec::new(),
            acts: (20_000, 0),
            mute_newcomers: false,
            audits: Vec::new(),
            audited: BTreeMap::new(),
            empty_until: Some(founding),
            over: false,
            events: BTreeMap::new(),
            replies: BTreeMap::new(),
            begun: BTreeMap::new(),
            ended: BTreeMap::new(),
            refused: None,
            tickets: Vec::new(),
        }
    }

    /// Number of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        self.sequence
    }

    /// The participant that an operation means, if there is any.
    pub(crate) fn participant(&self, who: usize) -> Option<&ModelParticipant> {
        let count = self.participants.len().max(1);
        self.participants.get(who % count)
    }

    pub(crate) fn does(&mut self, op: &Op) {
        self.refused = None;
        match op {
            Op::Join { user, role } => self.refused = self.join(*user, *role).err(),
            Op::Resume { ticket, behind } => {
                self.refused = self.resume(*ticket, *behind).and_then(Result::err);
            }
            Op::Wait { ms } => self.wait(self.now + ms),
            Op::Link { who, heard } => {
                let Some(participant) = self.connected(*who) else { return };
                participant.arrived |= *heard;
                participant.away = !heard;
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
                let session = (participant.peer, participant.session);
                self.replies.entry(session).or_default().push((0, 0, version));
            }
            Op::State { who, operations, .. } => {
                let Some(participant) = self.connected(*who) else { return };
                participant.arrived = true;
                let (peer, session) = (participant.peer, participant.session);
                let rights =
                    Rights { moderate: participant.moderates, ..ROLES[participant.role].1 };
                let present = self.present();
                let empty = operations.is_empty();
                let result = match empty {
                    true => Err((Code::BadState, 0)),
                    false => self.state.request((peer, rights), &present, operations),
                };
                let (code, failed) = result.err().map_or((0, 0), |(code, at)| (code as u16, at));
                let reply = (code, failed, self.state.version);
                self.replies.entry((peer, session)).or_default().push(reply);
            }
            Op::Moderate { who, act, target, seconds } => {
                self.moderate(*who, *act, *target, *seconds);
            }
        }
    }

    /// Peers that the roster names, and whether they are present.
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
        let muted = self.silenced.contains(&user) || self.mute_newcomers && !moderates;
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
            groups,
            begun: None,
            arrived,
            away,
            lost_at,
        };
        self.participants.push(participant);
        self.begun.insert((peer, 1), (NEW_PEER, [0; 2]));
        let kept = self.kept.iter().map(|(sequence, _)| *sequence).collect();
        self.events.insert((peer, 1), [kept, Vec::new()]);
        self.tickets.push(((peer, 1), user));
        Ok(())
    }

    /// `None`: there is no ticket yet.
    fn resume(&mut self, ticket: usize, behind: [u64; 2]) -> Option<Result<(), Code>> {
        let ((peer, generation), _) = *self.tickets.get(ticket % self.tickets.len().max(1))?;
        if self.over {
            return Some(Err(Code::ShuttingDown));
        }
        let found = self.participants.iter_mut().find(|participant| participant.peer == peer);
        let good = |participant: &&mut ModelParticipant| {
            (participant.redeemed..=participant.session).contains(&generation)
        };
        let Some(participant) = found.filter(good) else { return Some(Err(Code::TimedOut)) };
        participant.session += 1;
        participant.redeemed = generation;
        (participant.lost_at, participant.away) = (None, false);
        let session = (peer, participant.session);
        for (last, behind) in participant.last.iter_mut().zip(behind) {
            *last = self.sequence.saturating_sub(behind).max(*last);
        }
        let last = participant.last;
        let whole = last[0] >= self.forgotten[0] && last[1] >= self.forgotten[1];
        let how = if whole { RESUMED } else { RESUMED_WITH_LOSS };
        self.begun.insert(session, (how, participant.taken));
        self.tickets.push((session, participant.user));
        for (kept, from) in &self.kept {
            if *kept > last[0] && *kept <= self.forgotten[0] && *from != peer {
                self.events.entry(session).or_default()[0].push(*kept);
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
        let host = self.state.host(&self.present());
        let participants = self.participants.clone();
        let Some(sender) = self.connected(who) else { return };
        sender.taken[lane] += 1;
        sender.arrived = true;
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
        // The rest of a message goes where its beginning went.
        let to = match sender.begun.take_if(|_| lane == 1) {
            Some(begun) if piece & PIECE_CONTINUES != 0 => begun,
            _ => to,
        };
        if piece & PIECE_MORE != 0 {
            sender.begun = Some(to.clone());
        }
        self.sequence += 1;
        if later {
            self.kept.push((self.sequence, from));
        }
        let is_for = |participant: &&ModelParticipant| match &to {
            ModelTarget::All => true,
            ModelTarget::Others | ModelTarget::OthersAndLater => from != participant.peer,
            ModelTarget::Listed(listed) => listed.contains(&participant.peer),
            ModelTarget::Host | ModelTarget::Group(_) => unreachable!("they have been looked up"),
        };
        let (sequence, at) = (self.sequence, self.now);
        // Who is not there may come back for it; who comes later is not meant.
        let meant: Vec<&ModelParticipant> = self.participants.iter().filter(is_for).collect();
        for participant in meant.iter().filter(|participant| participant.lost_at.is_none()) {
            let session = (participant.peer, participant.session);
            self.events.entry(session).or_default()[lane].push(sequence);
        }
        let to = meant.iter().map(|participant| participant.peer).collect();
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
            (participant.peer, participant.session, participant.moderates);
        let known = (act::KICK..=act::HAND_OVER).contains(&what);
        let fits = if what == act::KICK { seconds <= 86_400 } else { seconds == 0 };
        let of_oneself = [act::MUTE_SELF, act::UNMUTE_SELF].contains(&what);
        let judged = match () {
            () if !known || !fits => Err(Code::BadState),
            () if what == act::HAND_OVER && target == peer => Err(Code::BadState),
            () if !moderates && !of_oneself => Err(Code::Forbidden),
            () if what == act::HAND_OVER && target_lost => Err(Code::NoSuchEntity),
            () => Ok(()),
        };
        let judged = judged.and_then(|()| if of_oneself { Ok(()) } else { self.spend() });
        if judged.is_ok() && what == act::CLEAR {
            self.state.clear();
            self.kept.clear();
        }
        if judged.is_ok() && what == act::HAND_OVER {
            self.state.choose(target);
        }
        let code = judged.err().map_or(0, |code| code as u16);
        self.replies.entry((peer, session)).or_default().push((code, 0, self.state.version));
        if judged.is_err() {
            return;
        }
        if !of_oneself {
            let target = if names { target } else { 0 };
            self.audits.push((what, peer, target));
            for participant in
                self.participants.iter().filter(|participant| participant.lost_at.is_none())
            {
                let session = (participant.peer, participant.session);
                self.audited.entry(session).or_default().push(self.audits.len() - 1);
            }
        }
        self.carry_out((peer, what), target, seconds);
    }

    /// Twenty acts at once, five a second: in thousandths of an act.
    fn spend(&mut self) -> Result<(), Code> {
        let (left, at) = self.acts;
        let left = (left + (self.now - at) * 5).min(20_000);
        self.acts = (left, self.now);
        if left < 1_000 {
            return Err(Code::ActRate);
        }
        self.acts.0 -= 1_000;
        Ok(())
    }

    fn carry_out(&mut self, (by, what): (u32, u8), target: u32, seconds: u32) {
        let user = self.participants.iter().find(|participant| participant.peer == target);
        let user = user.map_or(u8::MAX, |participant| participant.user);
        match what {
            act::LOCK | act::UNLOCK => self.locked = what == act::LOCK,
            act::MUTE | act::UNMUTE => {
                self.silenced.retain(|other| *other != user);
                if what == act::MUTE {
                    self.silenced.push(user);
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
                self.silenced.clear();
                self.participants.iter_mut().for_each(|participant| participant.muted = false);
            }
            act::MUTE_SELF | act::UNMUTE_SELF => {
                self.of(by).self_muted = what == act::MUTE_SELF;
            }
            act::HAND_OVER => {
                self.of(target).moderates = true;
                self.of(by).moderates = false;
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

    fn of(&mut self, peer: u32) -> &mut ModelParticipant {
        self.participants
            .iter_mut()
            .find(|participant| participant.peer == peer)
            .expect("it is there")
    }

    /// Time goes by: participants and the room end in its course.
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
        for event in self.log.extract_if(.., |event| event.at + PEER_TTL <= until) {
            self.forgotten[event.lane] = event.sequence;
        }
    }

    /// Peers whose participants end together.
    fn remove(&mut self, peers: Vec<u32>, code: Code) {
        let before = self.state.version;
        let mut changed = false;
        for peer in &peers {
            let participant =
                self.participants.iter().position(|participant| participant.peer == *peer);
            let participant = self.participants.remove(participant.expect("it is there"));
            self.ended.insert((participant.peer, participant.session), code);
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
