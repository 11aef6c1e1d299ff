//! The rules of a room, as plainly as can be: lists that are searched from end to end.

use std::collections::BTreeMap;

use nucleus_core::room::Rights;
use nucleus_protocol::session::{
    AWAY, Code, MODERATOR, MUTED, NEW_PEER, PIECE_CONTINUES, PIECE_MORE, RESUMED,
    RESUMED_WITH_LOSS, SELF_MUTED, act,
};

use crate::state_model::StateModel;
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
pub(crate) struct Place {
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
    begun: Option<To>,
    arrived: bool,
    pub(crate) away: bool,
    pub(crate) lost_at: Option<u64>,
}

impl Place {
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

struct Logged {
    at: u64,
    sequence: u64,
    lane: usize,
    to: Vec<u32>,
}

impl Model {
    pub(crate) fn new(empty_ttl: u64) -> Self {
        let founding = nucleus_core::limits::FOUNDING_TIME.as_millis() as u64;
        Self {
            now: 0,
            empty_ttl,
            places: Vec::new(),
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
            Op::Event { who, target, lane, piece, .. } => self.event(*who, target, *lane, *piece),
            Op::Subscribe { who, groups } => {
                let version = self.state.version;
                let Some(place) = self.connected(*who) else { return };
                (place.arrived, place.groups) = (true, groups.clone());
                let session = (place.peer, place.session);
                self.replies.entry(session).or_default().push((0, 0, version));
            }
            Op::State { who, operations, .. } => {
                let Some(place) = self.connected(*who) else { return };
                place.arrived = true;
                let (peer, session) = (place.peer, place.session);
                let rights = Rights { moderate: place.moderates, ..ROLES[place.role].1 };
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
        let (redeemed, taken, arrived, away, lost_at) = (0, [0; 2], false, false, None);
        let (session, last, groups) = (1, [self.sequence; 2], Vec::new());
        let moderates = ROLES[role].1.moderate;
        let muted = self.silenced.contains(&user) || self.mute_newcomers && !moderates;
        let self_muted = false;
        let place = Place {
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
        self.places.push(place);
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
        let found = self.places.iter_mut().find(|place| place.peer == peer);
        let good = |place: &&mut Place| (place.redeemed..=place.session).contains(&generation);
        let Some(place) = found.filter(good) else { return Some(Err(Code::TimedOut)) };
        place.session += 1;
        place.redeemed = generation;
        (place.lost_at, place.away) = (None, false);
        let session = (peer, place.session);
        for (last, behind) in place.last.iter_mut().zip(behind) {
            *last = self.sequence.saturating_sub(behind).max(*last);
        }
        let last = place.last;
        let whole = last[0] >= self.forgotten[0] && last[1] >= self.forgotten[1];
        let how = if whole { RESUMED } else { RESUMED_WITH_LOSS };
        self.begun.insert(session, (how, place.taken));
        self.tickets.push((session, place.user));
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
        let Some(place) = self.connected(who) else { return };
        if !place.arrived {
            let peer = place.peer;
            return self.remove(vec![peer], Code::TimedOut);
        }
        (place.lost_at, place.away) = (Some(now), true);
    }

    fn event(&mut self, who: usize, to: &To, lane: usize, piece: u8) {
        let host = self.state.host(&self.present());
        let places = self.places.clone();
        let Some(sender) = self.connected(who) else { return };
        sender.taken[lane] += 1;
        sender.arrived = true;
        let (from, keeps) = (sender.peer, ROLES[sender.role].1.objects);
        let later = matches!(to, To::OthersAndLater) && keeps && lane == 0;
        let to = match to {
            To::Host => To::Listed(vec![host]),
            To::Group(group) => {
                let members = places.iter().filter(|place| place.groups.contains(group));
                To::Listed(members.map(|place| place.peer).filter(|peer| *peer != from).collect())
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
        let is_for = |place: &&Place| match &to {
            To::All => true,
            To::Others | To::OthersAndLater => from != place.peer,
            To::Listed(listed) => listed.contains(&place.peer),
            To::Host | To::Group(_) => unreachable!("they have been looked up"),
        };
        let (sequence, at) = (self.sequence, self.now);
        // Who is not there may come back for it; who comes later is not meant.
        let meant: Vec<&Place> = self.places.iter().filter(is_for).collect();
        for place in meant.iter().filter(|place| place.lost_at.is_none()) {
            let session = (place.peer, place.session);
            self.events.entry(session).or_default()[lane].push(sequence);
        }
        let to = meant.iter().map(|place| place.peer).collect();
        self.log.push(Logged { at, sequence, lane, to });
    }

    fn moderate(&mut self, who: usize, what: u8, target: usize, seconds: u32) {
        let target = self.place(target).map_or(0, |place| place.peer);
        let names = [act::KICK, act::MUTE, act::UNMUTE, act::HAND_OVER].contains(&what);
        let lost = |place: &Place| place.peer == target && place.lost_at.is_some();
        let target_lost = self.places.iter().any(lost);
        let Some(place) = self.connected(who) else { return };
        place.arrived = true;
        let (peer, session, moderates) = (place.peer, place.session, place.moderates);
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
            for place in self.places.iter().filter(|place| place.lost_at.is_none()) {
                let session = (place.peer, place.session);
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
        let user = self.places.iter().find(|place| place.peer == target);
        let user = user.map_or(u8::MAX, |place| place.user);
        match what {
            act::LOCK | act::UNLOCK => self.locked = what == act::LOCK,
            act::MUTE | act::UNMUTE => {
                self.silenced.retain(|other| *other != user);
                if what == act::MUTE {
                    self.silenced.push(user);
                }
                for place in self.places.iter_mut().filter(|place| place.user == user) {
                    place.muted = what == act::MUTE;
                }
            }
            act::MUTE_ALL => {
                self.mute_newcomers = true;
                self.places.iter_mut().for_each(|place| place.muted |= !place.moderates);
            }
            act::UNMUTE_ALL => {
                self.mute_newcomers = false;
                self.silenced.clear();
                self.places.iter_mut().for_each(|place| place.muted = false);
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
                    let devices = self.places.iter().filter(|place| place.user == user);
                    out = devices.map(|place| place.peer).collect();
                }
                self.remove(out, Code::Kicked);
            }
            _ => {}
        }
    }

    fn of(&mut self, peer: u32) -> &mut Place {
        self.places.iter_mut().find(|place| place.peer == peer).expect("it is there")
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
        for event in self.log.extract_if(.., |event| event.at + PEER_TTL <= until) {
            self.forgotten[event.lane] = event.sequence;
        }
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
