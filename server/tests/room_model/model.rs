//! The rules of a room, as plainly as can be: lists that are searched from end to end.

use std::collections::BTreeMap;

use nucleus_protocol::session::{Code, NEW_PEER, RESUMED, RESUMED_WITH_LOSS, act};

use crate::state_model::Model as StateModel;
use crate::{CAPACITY, Op, PEER_TTL, ROLES, To};

/// A session of a peer: its number, and which of them.
pub(crate) type Session = (u32, u32);

pub(crate) struct Model {
    /// ms.
    now: u64,
    empty_ttl: u64,
    pub(crate) places: Vec<Place>,
    next_peer: u32,
    log: Vec<Logged>,
    forgotten: u64,
    sequence: u64,
    pub(crate) state: StateModel,
    /// Users, and until when.
    bans: Vec<(u8, u64)>,
    locked: bool,
    /// When an empty room ends.
    empty_until: Option<u64>,
    pub(crate) over: bool,
    /// What each session has been told: numbers of events, and answers to requests.
    pub(crate) events: BTreeMap<Session, Vec<u64>>,
    pub(crate) replies: BTreeMap<Session, Vec<(u16, u16, u64)>>,
    /// How each session began, and with how many of its peer's events taken.
    pub(crate) begun: BTreeMap<Session, (u8, u32)>,
    pub(crate) ended: BTreeMap<Session, Code>,
    /// Why the last join was refused, if it was.
    pub(crate) refused: Option<Code>,
    /// One for each session that has begun: whose, and how much it knew then.
    pub(crate) tickets: Vec<(Session, u8)>,
}

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) peer: u32,
    pub(crate) session: u32,
    pub(crate) user: u8,
    role: usize,
    redeemed: u32,
    last_event: u64,
    taken: u32,
    arrived: bool,
    pub(crate) away: bool,
    pub(crate) lost_at: Option<u64>,
}

struct Logged {
    at: u64,
    sequence: u64,
    from: u32,
    to: To,
}

impl To {
    fn is_for(&self, from: u32, peer: u32) -> bool {
        match self {
            To::All => true,
            To::Others => from != peer,
            To::Listed(listed) => listed.contains(&peer),
        }
    }
}

impl Model {
    pub(crate) fn new(empty_ttl: u64) -> Self {
        let founding = nucleus_server::limits::FOUNDING_TIME.as_millis() as u64;
        Self {
            now: 0,
            empty_ttl,
            places: Vec::new(),
            next_peer: 1,
            log: Vec::new(),
            forgotten: 0,
            sequence: 0,
            state: StateModel::default(),
            bans: Vec::new(),
            locked: false,
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

    /// The place that an operation means, if there is any.
    pub(crate) fn place(&self, who: usize) -> Option<&Place> {
        let count = self.places.len().max(1);
        self.places.get(who % count)
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
                let Some(place) = self.connected(*who) else { return };
                place.arrived |= *heard;
                place.away = !heard;
            }
            Op::Lost { who } => self.lose(*who),
            Op::Leave { who } => {
                let peer = self.place(*who).map(|place| place.peer);
                self.remove(peer.into_iter().collect(), Code::Left);
            }
            Op::Event { stale: true, .. } | Op::State { stale: true, .. } => {}
            Op::Event { who, target, .. } => self.event(*who, target),
            Op::State { who, operations, .. } => {
                let Some(place) = self.connected(*who) else { return };
                place.arrived = true;
                let (peer, rights, session) = (place.peer, ROLES[place.role].1, place.session);
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
        self.places.iter().map(|place| (place.peer, !place.away)).collect()
    }

    fn connected(&mut self, who: usize) -> Option<&mut Place> {
        let count = self.places.len().max(1);
        self.places.get_mut(who % count).filter(|place| place.lost_at.is_none())
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
        if self.places.len() == CAPACITY {
            return Err(Code::RoomFull);
        }
        let peer = self.next_peer;
        self.next_peer += 1;
        self.empty_until = None;
        let (redeemed, taken, arrived, away, lost_at) = (0, 0, false, false, None);
        let (session, last_event) = (1, self.sequence);
        let place = Place {
            peer,
            session,
            user,
            role,
            redeemed,
            last_event,
            taken,
            arrived,
            away,
            lost_at,
        };
        self.places.push(place);
        self.begun.insert((peer, 1), (NEW_PEER, 0));
        self.tickets.push(((peer, 1), user));
        Ok(())
    }

    /// `None`: there is no ticket yet.
    fn resume(&mut self, ticket: usize, behind: u64) -> Option<Result<(), Code>> {
        let ((peer, generation), _) = *self.tickets.get(ticket % self.tickets.len().max(1))?;
        if self.over {
            return Some(Err(Code::ShuttingDown));
        }
        let found = self.places.iter_mut().find(|place| place.peer == peer);
        let good = |place: &&mut Place| (place.redeemed..=place.session).contains(&generation);
        let Some(place) = found.filter(good) else { return Some(Err(Code::TimedOut)) };
        place.session += 1;
        place.redeemed = generation;
        place.last_event = place.last_event.max(self.sequence.saturating_sub(behind));
        (place.lost_at, place.away) = (None, false);
        let (last, session) = (place.last_event, (peer, place.session));
        let how = if last >= self.forgotten { RESUMED } else { RESUMED_WITH_LOSS };
        self.begun.insert(session, (how, place.taken));
        self.tickets.push((session, place.user));
        let missed = self.log.iter().filter(|event| event.sequence > last);
        let missed = missed.filter(|event| event.to.is_for(event.from, peer));
        self.events.entry(session).or_default().extend(missed.map(|event| event.sequence));
        Some(Ok(()))
    }

    fn lose(&mut self, who: usize) {
        let now = self.now;
        let Some(place) = self.connected(who) else { return };
        if !place.arrived {
            let peer = place.peer;
            return self.remove(vec![peer], Code::TimedOut);
        }
        (place.lost_at, place.away) = (Some(now), true);
    }

    fn event(&mut self, who: usize, to: &To) {
        let sequence = self.sequence + 1;
        let Some(sender) = self.connected(who) else { return };
        (sender.taken, sender.arrived) = (sender.taken + 1, true);
        let from = sender.peer;
        self.sequence = sequence;
        for place in self.places.iter().filter(|place| place.lost_at.is_none()) {
            if to.is_for(from, place.peer) {
                self.events.entry((place.peer, place.session)).or_default().push(sequence);
            }
        }
        self.log.push(Logged { at: self.now, sequence, from, to: to.clone() });
    }

    fn moderate(&mut self, who: usize, what: u8, target: usize, seconds: u32) {
        let target = self.place(target).map_or(0, |place| place.peer);
        let target = if what == act::KICK { target } else { 0 };
        let Some(place) = self.connected(who) else { return };
        place.arrived = true;
        let (session, moderates) = ((place.peer, place.session), ROLES[place.role].1.moderate);
        let judged = match what {
            act::KICK if seconds > 86_400 => Err(Code::BadState),
            act::LOCK | act::UNLOCK if seconds > 0 => Err(Code::BadState),
            act::KICK | act::LOCK | act::UNLOCK if moderates => Ok(()),
            act::KICK | act::LOCK | act::UNLOCK => Err(Code::Forbidden),
            act::HIDE if seconds == 0 => {
                if moderates {
                    Ok(())
                } else {
                    Err(Code::Forbidden)
                }
            }
            _ => Err(Code::BadState),
        };
        let code = judged.err().map_or(0, |code| code as u16);
        self.replies.entry(session).or_default().push((code, 0, self.state.version));
        match what {
            _ if judged.is_err() => {}
            act::LOCK | act::UNLOCK => self.locked = what == act::LOCK,
            act::KICK => {
                let user = self.places.iter().find(|p| p.peer == target).map(|p| p.user);
                let user = user.expect("it is there");
                let mut out = vec![target];
                if seconds > 0 {
                    self.bans.push((user, self.now + u64::from(seconds) * 1_000));
                    let devices = self.places.iter().filter(|place| place.user == user);
                    out = devices.map(|place| place.peer).collect();
                }
                self.remove(out, Code::Kicked);
            }
            _ => {}
        }
    }

    /// Time goes by: places and the room end in its course.
    fn wait(&mut self, until: u64) {
        loop {
            let expiry = |place: &Place| place.lost_at.map(|at| at + PEER_TTL);
            let next = self.places.iter().filter_map(expiry).chain(self.empty_until).min();
            let Some(at) = next.filter(|at| *at <= until && !self.over) else { break };
            self.now = at;
            let due = self.places.iter().filter(|place| expiry(place) == Some(at));
            self.remove(due.map(|place| place.peer).collect(), Code::TimedOut);
            if self.places.is_empty() && self.empty_until.is_some_and(|until| until <= at) {
                (self.over, self.empty_until) = (true, None);
            }
        }
        self.now = until;
        let old = |event: &&Logged| event.at + PEER_TTL <= until;
        let forgotten = self.log.iter().filter(old).map(|event| event.sequence).max();
        self.forgotten = forgotten.unwrap_or(self.forgotten);
        self.log.retain(|event| event.sequence > self.forgotten);
    }

    /// Peers whose places end together.
    fn remove(&mut self, peers: Vec<u32>, code: Code) {
        let before = self.state.version;
        let mut changed = false;
        for peer in &peers {
            let place = self.places.iter().position(|place| place.peer == *peer);
            let place = self.places.remove(place.expect("it is there"));
            self.ended.insert((place.peer, place.session), code);
            changed |= self.state.leave(*peer);
        }
        self.state.version = before + u64::from(changed);
        if self.places.is_empty() && !peers.is_empty() {
            match self.empty_ttl {
                0 => self.over = true,
                ttl => self.empty_until = Some(self.now + ttl),
            }
        }
    }
}
