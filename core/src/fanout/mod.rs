//! One shard's decisions: the links of the rooms that live on it, and who hears what.
//!
//! Datagrams go in with the time they arrived; [`Fanout::flush`] writes datagrams into the caller's
//! [`Outbox`]. Whether a datagram is genuine and where its answer goes is decided by the protocol's
//! link. What may be sent to whom is decided by the `room` fan-out: it encodes a message once into a
//! `frame_table` and copies it into each recipient's datagrams (`egress`).

mod connection_ids;
mod counters;
mod egress;
mod entry;
mod frame_table;
mod ingress;
mod input;
mod outbox;
mod room;
mod speakers;
mod tick;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{Link, LinkConfig, LinkSide, Path, Route};
use nucleus_protocol::realtime::Header;
use nucleus_protocol::time::Time;

pub use counters::FanoutCounters;
pub use input::{FanoutInput, FanoutOutput, LinkEvent, OpenLink};
pub use outbox::{Outbox, SessionTransmit, Transmit};
pub use tick::Tick;

use crate::ids::{PeerId, RoomId, SessionId};
use crate::limits::{self, Limits};
use crate::rate::{Bucket, Rate};
use connection_ids::ConnectionIds;
use entry::{LinkEntry, Recipient};
use room::{FlushBudget, RoomFanout};
use tick::TickControl;
use timers::Timers;

/// What a shard's fan-out is set to.
#[derive(Clone, Debug)]
pub struct FanoutConfig {
    /// The shard's number; every connection id carries it.
    pub index: u8,
    /// How long messages wait for others.
    pub tick: Tick,
    /// The server's bounds.
    pub limits: Limits,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
}

/// The links of a shard, and what flows between them.
pub struct Fanout {
    config: FanoutConfig,
    ids: ConnectionIds,
    links: Vec<Option<LinkEntry>>,
    free_links: Vec<u32>,
    link_of: HashMap<(RoomId, PeerId), u32>,
    /// Links whose client has chosen the session's plane.
    on_fallback: usize,
    rooms: Vec<RoomFanout>,
    room_of: HashMap<RoomId, usize>,
    free_rooms: Vec<usize>,
    tick: TickControl,
    /// When each room with messages is to be flushed, and the rooms whose time has come.
    due: Timers,
    flushing: VecDeque<usize>,
    /// Links that want to send something of their own, and by when.
    link_outputs: Vec<u32>,
    link_outputs_due: Time,
    timers: Timers,
    outputs: VecDeque<FanoutOutput>,
    /// Counts since the start.
    pub counters: FanoutCounters,
}

impl Fanout {
    /// A fan-out without links.
    pub fn new(config: FanoutConfig) -> Self {
        Self {
            ids: ConnectionIds::new(config.index),
            tick: TickControl::new(config.tick),
            config,
            links: Vec::new(),
            free_links: Vec::new(),
            link_of: HashMap::new(),
            on_fallback: 0,
            rooms: Vec::new(),
            room_of: HashMap::new(),
            free_rooms: Vec::new(),
            due: Timers::default(),
            flushing: VecDeque::new(),
            link_outputs: Vec::new(),
            link_outputs_due: Time::MAX,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            counters: FanoutCounters::default(),
        }
    }

    /// Takes a datagram that arrived at `now` (the kernel's stamp). What is not genuine is counted
    /// and answered by silence.
    pub fn handle_datagram(&mut self, now: Time, path: Path, ecn: u8, datagram: &mut [u8]) {
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

    /// Takes a datagram that came inside a session of a peer. One of a session that has been replaced
    /// since is dropped.
    pub fn handle_session_datagram(
        &mut self,
        now: Time,
        room: RoomId,
        session: SessionId,
        datagram: &[u8],
    ) {
        self.counters.session_datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let Some((index, entry)) = self.link_of(room, session) else {
            self.counters.unknown_id += 1;
            return;
        };
        match entry.link.handle_session_input(now, datagram) {
            Ok(messages) => self.take(now, index, messages),
            Err(_) => self.counters.rejected += 1,
        }
    }

    /// Takes a command.
    pub fn handle(&mut self, now: Time, input: FanoutInput) {
        match input {
            FanoutInput::OpenLink(open) => self.open_link(now, *open),
            FanoutInput::CloseLink { room, peer } => self.close_link(room, peer),
            FanoutInput::Subscribe { room, session, groups } => {
                if let Some((_, entry)) = self.link_of(room, session) {
                    entry.groups = groups;
                }
            }
            FanoutInput::Mute { room, session, muted } => {
                if let Some((_, entry)) = self.link_of(room, session) {
                    entry.muted = muted;
                }
            }
            FanoutInput::Active { room, session } => {
                if let Some((index, _)) = self.link_of(room, session) {
                    self.mark_active(now, index);
                }
            }
            FanoutInput::Load(load) => self.tick.report_load(load),
        }
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<FanoutOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::flush`] is wanted next. A flush under way is due at once: it goes on after a look at
    /// the socket, see [`Self::turn`].
    pub fn deadline(&self) -> Option<Time> {
        if !self.flushing.is_empty() {
            return Some(Time::ZERO);
        }
        let link_outputs = Some(self.link_outputs_due).filter(|at| *at < Time::MAX);
        [self.due.next(), self.timers.next(), link_outputs].into_iter().flatten().min()
    }

    /// Does what has become due: timers of links, and flushes, of which a bounded piece. The datagrams
    /// stand in `outbox` afterwards.
    pub fn flush(&mut self, now: Time, outbox: &mut Outbox) {
        while let Some((at, index)) = self.timers.pop_due(now) {
            self.link_timeout(now, at, index);
        }
        let soon = self.soon(now);
        while let Some((at, room)) = self.due.pop_due(soon) {
            // Otherwise it was flushed since. A room that is already being flushed is queued again; a
            // duplicate is harmless.
            if self.rooms[room as usize].due() == at {
                self.flushing.push_back(room as usize);
            }
        }
        self.flush_rooms(now, outbox);
        if self.link_outputs_due <= soon {
            self.flush_link_outputs(now, outbox);
        }
        self.counters.bytes_out += outbox.take_new_bytes();
    }

    /// Longest time that a message waits for others now.
    pub fn tick(&self) -> Duration {
        self.tick.tick()
    }

    /// Least time from one turn to the next; zero: whatever comes is worth a turn.
    pub fn turn(&self) -> Duration {
        let turn = self.tick.turn();
        if self.flushing.is_empty() { turn } else { turn / limits::FLUSH_PAUSE }
    }

    /// Links that live here.
    pub fn links(&self) -> usize {
        self.links.len() - self.free_links.len()
    }

    /// Links whose client has fallen back to the session's plane.
    pub fn on_fallback(&self) -> usize {
        self.on_fallback
    }

    /// The link of this very session.
    fn link_of(&mut self, room: RoomId, session: SessionId) -> Option<(u32, &mut LinkEntry)> {
        let index = *self.link_of.get(&(room, session.peer))?;
        let entry = self.links[index as usize].as_mut()?;
        (entry.session == session.session).then_some((index, entry))
    }

    fn open_link(&mut self, now: Time, open: OpenLink) {
        let OpenLink { room, session, .. } = open;
        self.close_link(room, session.peer);
        if self.links() >= limits::LINKS_PER_SHARD {
            let event = LinkEvent::Refused;
            return self.outputs.push_back(FanoutOutput::Link { room, session, event });
        }
        let index = self.free_links.pop().unwrap_or(self.links.len() as u32);
        let [r0, r1, r2, r3, s0, s1, s2, s3, ..] = open.seed;
        let ids = [u32::from_le_bytes([r0, r1, r2, r3]), u32::from_le_bytes([s0, s1, s2, s3])]
            .map(|random| self.ids.allocate(index, random));
        // Before anybody can use them.
        self.outputs.push_back(FanoutOutput::IdsBorn(ids));
        let at = self.room(room);
        let recipient = Recipient { slot: open.slot, peer: session.peer, link: index };
        self.link_of.insert((room, session.peer), index);
        self.rooms[at].add(recipient);
        let link = Link::new(
            now,
            LinkConfig {
                side: LinkSide::Server,
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
        let Limits { egress_bits_per_s, peer_messages_per_s, .. } = self.config.limits;
        let ingress = Rate {
            per_second: peer_messages_per_s.into(),
            burst: (peer_messages_per_s / 2).into(),
        };
        // The burst is a tenth of a second's worth, so that a late flush can catch up.
        let bytes_per_s = egress_bits_per_s / 8;
        let egress = Rate { per_second: bytes_per_s, burst: bytes_per_s / 10 };
        let entry = LinkEntry {
            link,
            room: at,
            recipient,
            session: session.session,
            ids,
            groups: GroupSet::default(),
            muted: false,
            ingress: Bucket::new(now, ingress),
            ingress_bytes: Bucket::new(now, limits::MESSAGE_BYTES_RATE),
            egress: Bucket::new(now, egress),
            heard: now,
            spoke: Time::ZERO,
            told_idle: None,
            tell_throttled_at: Time::ZERO,
            on_fallback: false,
            timer: Time::MAX,
            queued: false,
        };
        let opened = LinkEvent::Opened { connection_id: ids[0], spare: ids[1] };
        self.outputs.push_back(entry.event(room, opened));
        if index as usize == self.links.len() {
            self.links.push(Some(entry));
        } else {
            self.links[index as usize] = Some(entry);
        }
        self.after_link(now, index);
    }

    fn close_link(&mut self, room: RoomId, peer: PeerId) {
        let Some(&at) = self.room_of.get(&room) else { return };
        let Some(recipient) = self.rooms[at].remove(peer) else { return };
        self.link_of.remove(&(room, peer));
        if let Some(entry) = self.links[recipient.link as usize].take() {
            entry.ids.into_iter().for_each(|id| self.ids.release(id));
            self.outputs.push_back(FanoutOutput::IdsDied(entry.ids));
            self.on_fallback -= usize::from(entry.on_fallback);
        }
        self.free_links.push(recipient.link);
        if self.rooms[at].is_empty() {
            self.room_of.remove(&room);
            self.free_rooms.push(at);
        }
    }

    /// The index of a room, which is made where it is not there.
    fn room(&mut self, room: RoomId) -> usize {
        if let Some(&at) = self.room_of.get(&room) {
            return at;
        }
        let at = match self.free_rooms.pop() {
            Some(free) => {
                self.rooms[free].reset(room);
                free
            }
            None => {
                self.rooms.push(RoomFanout::new(room));
                self.rooms.len() - 1
            }
        };
        self.room_of.insert(room, at);
        at
    }

    /// After anything that may have moved a link's timers or given it something to say.
    fn after_link(&mut self, now: Time, index: u32) {
        self.note_silence(now, index);
        let Some(entry) = self.links[index as usize].as_mut() else { return };
        let next = entry.deadline(self.config.limits.away_after);
        if next <= now && !entry.queued {
            entry.queued = true;
            self.link_outputs.push(index);
            self.link_outputs_due = self.link_outputs_due.min(now + self.tick.tick());
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
        if entry.idle_at(self.config.limits.away_after) <= now {
            entry.told_idle = Some(true);
            let room = self.rooms[entry.room].id;
            self.outputs.push_back(entry.event(room, LinkEvent::Idle));
        }
    }

    /// What is due by then is not left to the next turn, which may come too late.
    fn soon(&self, now: Time) -> Time {
        now + self.tick.turn() / 2
    }

    /// A piece of the flushes whose time has come.
    fn flush_rooms(&mut self, now: Time, outbox: &mut Outbox) {
        let mut budget = FlushBudget {
            end: outbox.bytes.len() + limits::FLUSH_BYTES_PER_TURN,
            checks: limits::FLUSH_CHECKS_PER_TURN,
        };
        while let Some(&index) = self.flushing.front() {
            let room = &mut self.rooms[index];
            if !room.flush(now, &mut self.links, outbox, &mut self.counters, &mut budget) {
                // The others are not to wait for the whole of it.
                return self.flushing.rotate_left(1);
            }
            self.flushing.pop_front();
        }
    }

    /// What links have to say themselves, after the flushes, with which some of it has left.
    fn flush_link_outputs(&mut self, now: Time, outbox: &mut Outbox) {
        self.link_outputs_due = Time::MAX;
        let count = self.link_outputs.len();
        for at in 0..count {
            let index = self.link_outputs[at];
            let Some(entry) = self.links[index as usize].as_mut() else { continue };
            entry.queued = false;
            let to = (self.rooms[entry.room].id, entry.recipient.peer);
            let mut start = outbox.bytes.len();
            while let Some(route) = entry.link.poll_output(now, &mut outbox.bytes) {
                outbox.commit_one(to, route, start);
                match route {
                    Route::Realtime(_) => self.counters.datagrams_out += 1,
                    Route::Session => self.counters.session_datagrams_out += 1,
                }
                start = outbox.bytes.len();
            }
            // A microsecond later, so that a link which insists cannot keep the shard here.
            self.after_link(now + Duration::from_micros(1), index);
        }
        self.link_outputs.drain(..count);
    }
}
