//! The decisions of one shard: the links of its rooms, and which peer gets which message.
//!
//! Datagrams come in with their time of arrival. [`Fanout::flush`] writes datagrams into the
//! caller's [`Outbox`]. The protocol's [`Link`] decides whether a datagram is authentic and where
//! the answer goes. The room's fan-out (`room`) decides who gets a message: it encodes the message
//! once into a `frame_table` and copies it into the datagrams of each recipient (`egress`).

mod connection_ids;
mod counters;
mod egress;
mod entry;
mod figures;
mod frame_table;
mod histograms;
mod ingress;
mod input;
mod outbox;
mod pose_watch;
mod room;
mod routes;
mod sent_numbers;
mod speakers;
mod tick;
mod timers;
mod totals;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{Link, LinkConfig, LinkSide, Path, Planes, Route};
use nucleus_protocol::realtime::Header;
use nucleus_protocol::time::Time;

pub use counters::{CounterMetric, FanoutCounters};
pub use histograms::FanoutHistograms;
pub use input::{FanoutInput, FanoutOutput, LinkEvent, LinkParameters, OpenLink};
pub use outbox::{Outbox, SessionTransmit, Transmit};
pub use tick::Tick;

use crate::ids::{PeerId, RoomId, SessionId};
use crate::limits::{self, Limits};
use crate::rate::Bucket;
use crate::traffic::LinkLosses;
use connection_ids::ConnectionIds;
use entry::{ClosedLink, IngressBudgets, LinkEntry, Recipient};
use outbox::Destination;
use room::{FlushBudget, RoomFanout};
use sent_numbers::SentNumbers;
use tick::TickControl;
use timers::Timers;
use totals::LinkSums;

/// The settings of a shard's fan-out.
#[derive(Clone, Debug)]
pub struct FanoutConfig {
    /// The number of the shard. Every connection id contains it.
    pub index: u8,
    /// How long messages wait to be sent together with others.
    pub tick: Tick,
    /// The server's limits.
    pub limits: Limits,
    /// Identifies the server's clock; changes when the server restarts.
    pub clock_epoch: u32,
}

/// The links of a shard and the messages between them.
pub struct Fanout {
    config: FanoutConfig,
    ids: ConnectionIds,
    links: Vec<Option<LinkEntry>>,
    free_links: Vec<u32>,
    link_of: HashMap<(RoomId, PeerId), u32>,
    /// Links whose client uses the fallback.
    on_fallback: usize,
    rooms: Vec<RoomFanout>,
    room_of: HashMap<RoomId, usize>,
    free_rooms: Vec<usize>,
    /// Indexes of the rooms whose newest poses are kept.
    watched: Vec<usize>,
    tick: TickControl,
    /// When each room with messages is due for a flush.
    due: Timers,
    /// Rooms that are due and not completely flushed yet.
    flushing: VecDeque<usize>,
    /// Indexes of the links that have control frames to send.
    link_outputs: Vec<u32>,
    /// When `link_outputs` are due.
    link_outputs_due: Time,
    timers: Timers,
    /// Until then, the age of what comes inside sessions is unknown, because the process stood still.
    session_backlog_until: Time,
    /// Until then, the age of what comes on the realtime port is unknown, because the process stood
    /// still and the kernel stamps no datagrams.
    port_backlog_until: Time,
    outputs: VecDeque<FanoutOutput>,
    /// What was lost by the peers that have left.
    left: LinkLosses,
    /// The counters since the start.
    pub counters: FanoutCounters,
}

impl Fanout {
    /// Creates a fan-out without links.
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
            watched: Vec::new(),
            due: Timers::default(),
            flushing: VecDeque::new(),
            link_outputs: Vec::new(),
            link_outputs_due: Time::MAX,
            timers: Timers::default(),
            session_backlog_until: Time::ZERO,
            port_backlog_until: Time::ZERO,
            outputs: VecDeque::new(),
            left: LinkLosses::default(),
            counters: FanoutCounters::default(),
        }
    }

    /// Takes a datagram that arrived at `now`: the kernel's time stamp, or else the time at which it
    /// was read. A datagram that is not authentic is counted and not answered.
    pub fn handle_datagram(&mut self, now: Time, path: Path, ecn: u8, datagram: &mut [u8]) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let age_known = now >= self.port_backlog_until;
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
        if !entry.may_open(now, &path) {
            self.counters.datagrams_over_rate += 1;
            return;
        }
        match entry.link.handle_input(now, path, ecn, datagram) {
            Ok(messages) => self.take(now, index, messages, age_known),
            Err(_) => self.counters.rejected += 1,
        }
    }

    /// Takes a datagram that came inside a peer's session. Drops it if another session has replaced
    /// that session.
    pub fn handle_session_datagram(
        &mut self,
        now: Time,
        room: RoomId,
        session: SessionId,
        datagram: &[u8],
    ) {
        self.counters.session_datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let age_known = now >= self.session_backlog_until;
        let Some((index, entry)) = self.link_of(room, session) else {
            self.counters.unknown_id += 1;
            return;
        };
        if !entry.has_plane {
            self.counters.rejected += 1;
            return;
        }
        match entry.link.handle_session_input(now, datagram) {
            Ok(messages) => self.take(now, index, messages, age_known),
            Err(_) => self.counters.rejected += 1,
        }
    }

    /// Takes a command.
    pub fn handle(&mut self, now: Time, input: FanoutInput) {
        match input {
            FanoutInput::OpenLink(open) => self.open_link(now, *open),
            FanoutInput::CloseLink { room, peer } => {
                if let Some(closed) = self.close_link(now, room, peer) {
                    self.left.add(closed.sums.losses());
                }
            }
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
            FanoutInput::StoodStill { stamped } => {
                self.session_backlog_until = now + limits::BACKLOG_TIME;
                if !stamped {
                    self.port_backlog_until = now + limits::BACKLOG_TIME;
                }
            }
            FanoutInput::Load(load) => {
                self.tick.report_load(load);
                let tick = self.tick.tick().as_micros() as u64;
                self.counters.histograms.tick.observe(tick);
            }
        }
    }

    /// Returns the next output.
    pub fn poll(&mut self) -> Option<FanoutOutput> {
        self.outputs.pop_front()
    }

    /// Returns the time at which [`Self::flush`] must be called next. While a flush is under way,
    /// this is [`Time::ZERO`]: the next call is due at once. The caller drains its socket between
    /// two calls, see [`Self::turn`].
    pub fn deadline(&self) -> Option<Time> {
        if !self.flushing.is_empty() {
            return Some(Time::ZERO);
        }
        let link_outputs = Some(self.link_outputs_due).filter(|at| *at < Time::MAX);
        [self.due.next(), self.timers.next(), link_outputs].into_iter().flatten().min()
    }

    /// Handles the timers that are due and flushes the rooms that are due, up to the bounds of one
    /// turn. Appends the datagrams to `outbox`.
    pub fn flush(&mut self, now: Time, outbox: &mut Outbox) {
        while let Some((at, index)) = self.timers.pop_due(now) {
            self.link_timeout(now, at, index);
        }
        let soon = self.soon(now);
        while let Some((at, room)) = self.due.pop_due(soon) {
            // If the times differ, the room has been flushed since this entry was made. A room that
            // is already being flushed is queued again; a duplicate is harmless.
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

    /// Notes that the datagrams of `outbox` were sent at `now`. Called before the outbox is cleared.
    pub fn note_sent(&mut self, now: Time, outbox: &Outbox) {
        let latency = &mut self.counters.histograms.relay_latency;
        for arrived in &outbox.relayed {
            latency.observe(now.as_micros().saturating_sub(arrived.as_micros()));
        }
    }

    /// Returns the current tick: the longest time that a message waits to be sent with others.
    pub fn tick(&self) -> Duration {
        self.tick.tick()
    }

    /// Returns the shortest time from one turn to the next; zero if every arrival may start a turn.
    pub fn turn(&self) -> Duration {
        let turn = self.tick.turn();
        if self.flushing.is_empty() { turn } else { turn / limits::FLUSH_PAUSE }
    }

    /// Returns the number of links.
    pub fn links(&self) -> usize {
        self.links.len() - self.free_links.len()
    }

    /// Returns the number of links whose client uses the fallback.
    pub fn on_fallback(&self) -> usize {
        self.on_fallback
    }

    /// Returns the link of this session; `None` if the peer has no link or another session.
    fn link_of(&mut self, room: RoomId, session: SessionId) -> Option<(u32, &mut LinkEntry)> {
        let index = *self.link_of.get(&(room, session.peer))?;
        let entry = self.links[index as usize].as_mut()?;
        (entry.session == session.session).then_some((index, entry))
    }

    fn open_link(&mut self, now: Time, open: OpenLink) {
        let OpenLink { room, session, .. } = open;
        let replaced = self.close_link(now, room, session.peer);
        // A link that replaces another has its place, and goes on with its sums.
        if replaced.is_none() && self.links() >= limits::LINKS_PER_SHARD {
            let event = LinkEvent::Refused;
            return self.outputs.push_back(FanoutOutput::Link { room, session, event });
        }
        let index = self.free_links.pop().unwrap_or(self.links.len() as u32);
        let parameters = open.link;
        let [r0, r1, r2, r3, s0, s1, s2, s3, ..] = parameters.seed;
        let ids = [u32::from_le_bytes([r0, r1, r2, r3]), u32::from_le_bytes([s0, s1, s2, s3])]
            .map(|random| self.ids.allocate(index, random));
        // Reported before `Opened`, so that the ids are known before a client can use them.
        self.outputs.push_back(FanoutOutput::IdsBorn(ids));
        let at = self.room(room);
        let recipient = Recipient { slot: open.slot, peer: session.peer, link: index };
        self.link_of.insert((room, session.peer), index);
        self.rooms[at].add(recipient);
        let link = Link::new(
            now,
            LinkConfig {
                side: LinkSide::Server,
                link_id: parameters.link_id,
                suite: parameters.suite,
                root: parameters.root,
                connection_id: ids[0],
                spare: ids[1],
                path: None,
                planes: Planes::Both,
                max_body: parameters.max_body,
                report_interval: limits::REPORT_INTERVAL,
                clock_epoch: self.config.clock_epoch,
                seed: parameters.seed,
            },
        );
        let egress = limits::egress_rate(&self.config.limits);
        let ClosedLink { ingress, sums, routes } = replaced.unwrap_or_else(|| ClosedLink {
            ingress: IngressBudgets::new(now, &self.config.limits),
            sums: LinkSums::default(),
            routes: Box::default(),
        });
        let entry = LinkEntry {
            link,
            room: at,
            recipient,
            session: session.session,
            ids,
            groups: GroupSet::default(),
            muted: false,
            ingress,
            egress_bytes: Bucket::new(now, egress),
            last_received: now,
            last_message: Time::ZERO,
            reported_silent: None,
            next_throttled_report: Time::ZERO,
            has_plane: parameters.max_body > 0,
            on_fallback: false,
            fallback_since: None,
            sums,
            sent_numbers: SentNumbers::new(now, &self.config.limits),
            routes,
            noted_paths: None,
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

    /// Closes the link of a peer. Returns what the peer's next link goes on with; `None`: there is no
    /// link.
    fn close_link(&mut self, now: Time, room: RoomId, peer: PeerId) -> Option<ClosedLink> {
        let &at = self.room_of.get(&room)?;
        let recipient = self.rooms[at].remove(peer)?;
        self.link_of.remove(&(room, peer));
        let entry = self.links[recipient.link as usize].take();
        if let Some(entry) = &entry {
            entry.ids.into_iter().for_each(|id| self.ids.release(id));
            self.outputs.push_back(FanoutOutput::IdsDied(entry.ids));
            self.on_fallback -= usize::from(entry.on_fallback);
        }
        self.free_links.push(recipient.link);
        if self.rooms[at].is_empty() {
            self.room_of.remove(&room);
            self.free_rooms.push(at);
        }
        entry.map(|entry| entry.close(now))
    }

    /// Returns the index of a room. Creates the room if it does not exist.
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

    /// Updates the timer and output queues. Must be called after everything that may change a
    /// link's deadline or give it something to send.
    fn after_link(&mut self, now: Time, index: u32) {
        self.report_idle(now, index);
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
        // The entry is outdated: it is for an earlier link with this index, or the timer was moved.
        if entry.timer != at {
            return;
        }
        entry.timer = Time::MAX;
        entry.link.handle_timeout(now);
        self.after_link(now, index);
    }

    /// Reports that a link is idle if it has been silent for long enough.
    fn report_idle(&mut self, now: Time, index: u32) {
        let Some(entry) = self.links[index as usize].as_mut() else { return };
        if entry.idle_at(self.config.limits.away_after) <= now {
            entry.reported_silent = Some(true);
            let room = self.rooms[entry.room].id;
            self.outputs.push_back(entry.event(room, LinkEvent::Silent));
        }
    }

    /// Returns the time up to which flushes and link outputs count as due in this turn. This time
    /// lies half a turn ahead, because the next turn may come too late for them.
    fn soon(&self, now: Time) -> Time {
        now + self.tick.turn() / 2
    }

    /// Flushes the rooms that are due, up to the bounds of one turn.
    fn flush_rooms(&mut self, now: Time, outbox: &mut Outbox) {
        let mut budget = FlushBudget {
            end: outbox.bytes.len() + limits::FLUSH_BYTES_PER_TURN,
            checks: limits::FLUSH_CHECKS_PER_TURN,
        };
        while let Some(&index) = self.flushing.front() {
            let room = &mut self.rooms[index];
            if !room.flush(now, &mut self.links, outbox, &mut self.counters, &mut budget) {
                // The next turn goes on with another room, so that a large room does not delay it.
                return self.flushing.rotate_left(1);
            }
            self.flushing.pop_front();
        }
    }

    /// Sends the control frames that links have to send. Runs after the flushes, because their
    /// datagrams may already have carried some of these frames.
    fn flush_link_outputs(&mut self, now: Time, outbox: &mut Outbox) {
        self.link_outputs_due = Time::MAX;
        let count = self.link_outputs.len();
        for at in 0..count {
            let index = self.link_outputs[at];
            let Some(entry) = self.links[index as usize].as_mut() else { continue };
            entry.queued = false;
            let (room, peer) = (self.rooms[entry.room].id, entry.recipient.peer);
            let mut start = outbox.bytes.len();
            while let Some(route) = entry.link.poll_output(now, &mut outbox.bytes) {
                outbox.commit_one(Destination { room, peer, route }, start);
                match route {
                    Route::Realtime(_) => self.counters.datagrams_out += 1,
                    Route::Session => self.counters.session_datagrams_out += 1,
                }
                start = outbox.bytes.len();
            }
            // The link's next output is due a microsecond later at the earliest. Otherwise a link
            // that always has output could keep the shard busy.
            self.after_link(now + Duration::from_micros(1), index);
        }
        self.link_outputs.drain(..count);
    }
}
