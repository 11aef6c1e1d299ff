//! One shard: the links and stages of the rooms that live on it, as a pure state machine.
//!
//! Datagrams and commands go in with the time; datagrams ([`Outbox`]) and events come out. No
//! socket, thread or clock here: `thread` drives it. What may be sent to whom is decided by the
//! `stage`; whether a datagram is genuine and where its answer goes by the protocol's link.

mod counters;
mod entry;
pub mod handle;
mod ids;
mod mail;
mod outbox;
mod pace;
mod speakers;
mod stage;
pub mod strays;
mod table;
mod take;
pub mod thread;
mod timers;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{Link, LinkConfig, Path, Role, Route};
use nucleus_protocol::realtime::Header;
use nucleus_protocol::time::Time;

pub use counters::ShardCounters;
pub use mail::{LinkNews, OpenLink, ShardCommand, ShardEvent};
pub use outbox::{Outbox, SessionTransmit, Transmit};

use crate::config::Tick;
use crate::limits;
use crate::rate::Bucket;
use crate::room::Seat;
use entry::LinkEntry;
use ids::Ids;
use pace::Pace;
use stage::{Member, Piece, Stage};
use strays::Neighbours;
use timers::Timers;

/// A room instance, unique in this server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

/// A peer of one room instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// What a shard is set to.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its number; every connection id carries it.
    pub index: u8,
    /// How long messages wait for company.
    pub tick: Tick,
    /// Silence after which a link is quiet.
    pub away_after: Duration,
    /// Egress budget of one recipient, bits a second.
    pub egress_bits_per_s: u64,
    /// Messages that a link may send a second, on average; more are dropped.
    pub messages_per_s: u32,
    /// Peers of one room that may speak at once.
    pub speakers: u16,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
}

/// See the module.
pub struct Shard {
    config: ShardConfig,
    ids: Ids,
    neighbours: Arc<Neighbours>,
    links: Vec<Option<LinkEntry>>,
    free_links: Vec<u32>,
    link_of: HashMap<(RoomId, PeerId), u32>,
    /// Links whose client has chosen the session's plane.
    on_fallback: usize,
    stages: Vec<Stage>,
    stage_of: HashMap<RoomId, usize>,
    free_stages: Vec<usize>,
    pace: Pace,
    /// When each stage with messages is to be flushed, and those whose time has come.
    due: Timers,
    flushing: VecDeque<usize>,
    /// Links that want to send something of their own, and when they are to have done so.
    outputs: Vec<u32>,
    outputs_due: Time,
    timers: Timers,
    events: VecDeque<ShardEvent>,
    /// Datagrams to be sent.
    pub outbox: Outbox,
    /// Counts since the start.
    pub counters: ShardCounters,
}

impl Shard {
    /// An empty shard, whose links' ids its neighbours know.
    pub fn new(config: ShardConfig, neighbours: Arc<Neighbours>) -> Self {
        Self {
            ids: Ids::new(config.index),
            neighbours,
            pace: Pace::new(config.tick),
            config,
            links: Vec::new(),
            free_links: Vec::new(),
            link_of: HashMap::new(),
            on_fallback: 0,
            stages: Vec::new(),
            stage_of: HashMap::new(),
            free_stages: Vec::new(),
            due: Timers::default(),
            flushing: VecDeque::new(),
            outputs: Vec::new(),
            outputs_due: Time::MAX,
            timers: Timers::default(),
            events: VecDeque::new(),
            outbox: Outbox::default(),
            counters: ShardCounters::default(),
        }
    }

    /// Takes a datagram that arrived at `now` (the kernel's stamp). What is not genuine is counted
    /// and answered by silence.
    pub fn handle_input(&mut self, now: Time, path: Path, ecn: u8, datagram: &mut [u8]) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let Some(header) = Header::parse(datagram) else {
            self.counters.not_ours += 1;
            return;
        };
        let Some(index) = self.ids.link(header.connection_id) else {
            self.counters.unknown_id += 1;
            return;
        };
        let Some(entry) = self.links.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        match entry.link.handle_input(now, path, ecn, datagram) {
            Ok(messages) => self.take(now, index, messages),
            Err(_) => self.counters.rejected += 1,
        }
    }

    /// Takes a datagram that came inside the session `seat` of a peer. One of a session that has
    /// been replaced since is dropped.
    pub fn handle_session_input(&mut self, now: Time, room: RoomId, seat: Seat, datagram: &[u8]) {
        self.counters.session_datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let Some((index, entry)) = self.seated(room, seat) else {
            self.counters.unknown_id += 1;
            return;
        };
        match entry.link.handle_session_input(now, datagram) {
            Ok(messages) => self.take(now, index, messages),
            Err(_) => self.counters.rejected += 1,
        }
    }

    /// The session `seat` has heard its peer otherwise than by a datagram.
    pub fn handle_alive(&mut self, now: Time, room: RoomId, seat: Seat) {
        if let Some((index, _)) = self.seated(room, seat) {
            self.hear(now, index);
        }
    }

    /// The link of this very session.
    fn seated(&mut self, room: RoomId, seat: Seat) -> Option<(u32, &mut LinkEntry)> {
        let index = *self.link_of.get(&(room, seat.peer))?;
        let entry = self.links[index as usize].as_mut()?;
        (entry.session == seat.session).then_some((index, entry))
    }

    /// Takes a command.
    pub fn handle_command(&mut self, now: Time, command: ShardCommand) {
        match command {
            ShardCommand::OpenLink(open) => self.open_link(now, *open),
            ShardCommand::CloseLink { room, peer } => self.close_link(room, peer),
            ShardCommand::Subscribe { room, seat, groups } => {
                if let Some((_, entry)) = self.seated(room, seat) {
                    entry.groups = groups;
                }
            }
            ShardCommand::Mute { room, seat, muted } => {
                if let Some((_, entry)) = self.seated(room, seat) {
                    entry.muted = muted;
                }
            }
        }
    }

    /// Takes the share of a core that the shard has used since the last report, which chooses the
    /// tick.
    pub fn report_load(&mut self, load: f32) {
        self.pace.report_load(load);
    }

    /// Longest time that a message waits for company now.
    pub fn tick(&self) -> Duration {
        self.pace.tick()
    }

    /// Least time from one turn to the next; zero: whatever comes is worth a turn.
    pub fn turn(&self) -> Duration {
        let turn = self.pace.turn();
        if self.flushing.is_empty() { turn } else { turn / limits::FLUSH_PAUSE }
    }

    /// Does what has become due: timers of links, and flushes, of which a bounded piece.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((at, index)) = self.timers.pop_due(now) {
            self.link_timeout(now, at, index);
        }
        let soon = self.soon(now);
        while let Some((at, stage)) = self.due.pop_due(soon) {
            // Otherwise it was flushed since. One that is under way comes once more behind itself.
            if self.stages[stage as usize].due() == at {
                self.flushing.push_back(stage as usize);
            }
        }
        self.flush_stages(now);
        if self.outputs_due <= soon {
            self.flush_outputs(now);
        }
        self.counters.bytes_out += self.outbox.take_new_bytes();
    }

    /// When [`Self::handle_timeout`] is wanted next. A flush under way is due at once: it goes on after
    /// a look at the socket, see [`Self::turn`].
    pub fn deadline(&self) -> Option<Time> {
        if !self.flushing.is_empty() {
            return Some(Time::ZERO);
        }
        let outputs = Some(self.outputs_due).filter(|at| *at < Time::MAX);
        [self.due.next(), self.timers.next(), outputs].into_iter().flatten().min()
    }

    /// The next event for the session side.
    pub fn poll_event(&mut self) -> Option<ShardEvent> {
        self.events.pop_front()
    }

    /// Links that live here.
    pub fn links(&self) -> usize {
        self.links.len() - self.free_links.len()
    }

    /// Links whose client has fallen back to the session's plane.
    pub fn on_fallback(&self) -> usize {
        self.on_fallback
    }

    fn open_link(&mut self, now: Time, open: OpenLink) {
        let peer = open.seat.peer;
        self.close_link(open.room, peer);
        let refused = ShardEvent { room: open.room, seat: open.seat, what: LinkNews::Refused };
        if self.links() >= limits::LINKS_PER_SHARD {
            self.events.push_back(refused);
            return;
        }
        let index = self.free_links.pop().unwrap_or(self.links.len() as u32);
        let [r0, r1, r2, r3, s0, s1, s2, s3, ..] = open.seed;
        let ids = [u32::from_le_bytes([r0, r1, r2, r3]), u32::from_le_bytes([s0, s1, s2, s3])]
            .map(|random| self.ids.allocate(index, random));
        self.neighbours.born(ids);
        let stage = self.stage(open.room);
        let member = Member { slot: open.slot, peer, link: index };
        self.link_of.insert((open.room, peer), index);
        self.stages[stage].add(member);
        let link = Link::new(
            now,
            LinkConfig {
                role: Role::Server,
                link_id: open.link_id,
                suite: open.suite,
                root: open.root,
                connection_id: ids[0],
                spare: ids[1],
                path: None,
                fallback: false,
                clock_epoch: self.config.clock_epoch,
                seed: open.seed,
            },
        );
        let bytes_per_s = self.config.egress_bits_per_s / 8;
        let entry = LinkEntry {
            link,
            stage,
            member,
            session: open.seat.session,
            ids,
            groups: GroupSet::default(),
            muted: false,
            ingress: Bucket::new(
                now,
                self.config.messages_per_s.into(),
                (self.config.messages_per_s / 2).into(),
            ),
            ingress_bytes: Bucket::new(
                now,
                limits::MESSAGE_BYTES_PER_SECOND.into(),
                limits::MESSAGE_BYTES_BURST.into(),
            ),
            // A tenth of a second may go out at once: what a late tick has to make up for.
            egress: Bucket::new(now, bytes_per_s, bytes_per_s / 10),
            heard: now,
            spoke: Time::ZERO,
            told_quiet: None,
            tell_throttled_at: Time::ZERO,
            on_fallback: false,
            timer: Time::MAX,
            queued: false,
        };
        let opened = LinkNews::Opened { connection_id: ids[0], spare: ids[1] };
        self.events.push_back(entry.news(open.room, opened));
        if index as usize == self.links.len() {
            self.links.push(Some(entry));
        } else {
            self.links[index as usize] = Some(entry);
        }
        self.after_link(now, index);
    }

    fn close_link(&mut self, room: RoomId, peer: PeerId) {
        let Some(&stage) = self.stage_of.get(&room) else { return };
        let Some(member) = self.stages[stage].remove(peer) else { return };
        self.link_of.remove(&(room, peer));
        if let Some(entry) = self.links[member.link as usize].take() {
            entry.ids.into_iter().for_each(|id| self.ids.release(id));
            self.neighbours.died(entry.ids);
            self.on_fallback -= usize::from(entry.on_fallback);
        }
        self.free_links.push(member.link);
        if self.stages[stage].is_empty() {
            self.stage_of.remove(&room);
            self.free_stages.push(stage);
        }
    }

    fn stage(&mut self, room: RoomId) -> usize {
        if let Some(&stage) = self.stage_of.get(&room) {
            return stage;
        }
        let stage = match self.free_stages.pop() {
            Some(free) => {
                self.stages[free].reset(room);
                free
            }
            None => {
                self.stages.push(Stage::new(room));
                self.stages.len() - 1
            }
        };
        self.stage_of.insert(room, stage);
        stage
    }

    /// After anything that may have moved a link's timers or given it something to say.
    fn after_link(&mut self, now: Time, index: u32) {
        self.note_silence(now, index);
        let Some(entry) = self.links[index as usize].as_mut() else { return };
        let next = entry.next_timeout(self.config.away_after);
        if next <= now && !entry.queued {
            entry.queued = true;
            self.outputs.push(index);
            self.outputs_due = self.outputs_due.min(now + self.pace.tick());
        } else if next > now && next < entry.timer {
            entry.timer = next;
            self.timers.push(next, index);
        }
    }

    fn link_timeout(&mut self, now: Time, at: Time, index: u32) {
        let Some(entry) = self.links.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        // Of a link that was here before, or one that wanted to be looked at earlier, and was.
        if entry.timer != at {
            return;
        }
        entry.timer = Time::MAX;
        entry.link.handle_timeout(now);
        self.after_link(now, index);
    }

    fn note_silence(&mut self, now: Time, index: u32) {
        let Some(entry) = self.links[index as usize].as_mut() else { return };
        if entry.quiet_at(self.config.away_after) <= now {
            entry.told_quiet = Some(true);
            let room = self.stages[entry.stage].room;
            self.events.push_back(entry.news(room, LinkNews::Quiet));
        }
    }

    /// What is due by then is not left to the next turn, which may come too late.
    fn soon(&self, now: Time) -> Time {
        now + self.pace.turn() / 2
    }

    /// A piece of the flushes whose time has come.
    fn flush_stages(&mut self, now: Time) {
        let mut piece = Piece {
            end: self.outbox.bytes.len() + limits::FLUSH_BYTES_PER_TURN,
            checks: limits::FLUSH_CHECKS_PER_TURN,
        };
        while let Some(&index) = self.flushing.front() {
            let stage = &mut self.stages[index];
            let (links, outbox) = (&mut self.links, &mut self.outbox);
            if !stage.flush(now, links, outbox, &mut self.counters, &mut piece) {
                // The others are not to wait for the whole of it.
                return self.flushing.rotate_left(1);
            }
            self.flushing.pop_front();
        }
    }

    /// What links have to say themselves, after the flushes, with which some of it has left.
    fn flush_outputs(&mut self, now: Time) {
        self.outputs_due = Time::MAX;
        let count = self.outputs.len();
        for at in 0..count {
            let index = self.outputs[at];
            let Some(entry) = self.links[index as usize].as_mut() else { continue };
            entry.queued = false;
            let to = (self.stages[entry.stage].room, entry.member.peer);
            let mut start = self.outbox.bytes.len();
            while let Some(route) = entry.link.poll_output(now, &mut self.outbox.bytes) {
                self.outbox.commit_one(to, route, start);
                match route {
                    Route::Realtime(_) => self.counters.datagrams_out += 1,
                    Route::Session => self.counters.session_datagrams_out += 1,
                }
                start = self.outbox.bytes.len();
            }
            // A microsecond later, so that a link which insists cannot keep the shard here.
            self.after_link(now + Duration::from_micros(1), index);
        }
        self.outputs.drain(..count);
    }
}
