//! The ledger of one realtime thread: records every message that its headsets send, and checks that
//! the message arrives intact, once, and at the right receivers.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use nucleus_protocol::limits::RECEIVED_AGE;
use nucleus_protocol::realtime::Message;

use super::ages::Pair;
use super::distortion::Distorter;
use super::nearest::Nearest;
use super::outcome::MessageCounts;
use super::receive_state::{PairRecorder, ReceiveState, SlotRecorder};
use super::sent_log::{SentLog, SentLookup};
use super::sequence::Novelty;
use super::tally::Mismatch;
use crate::faults::Distortion;
use crate::load::channel::{Channel, DueMessage};
use crate::load::payload::Source;
use crate::load::plan::Plan;
use crate::shared::{REALTIME_WAIT, Window};

/// The ledger's data about one headset, as a sender and as a receiver.
#[derive(Debug)]
struct LedgerMember {
    source: Source,
    room: usize,
    /// When the headset joined, µs.
    admitted: u64,
    /// The messages that the headset sent, by channel; `None` for channels that the profile does
    /// not use.
    sent_log: [Option<SentLog>; Channel::COUNT],
    /// The messages that the headset received, by channel and sender number; empty for channels
    /// that the profile does not use.
    received: [Vec<ReceiveState>; Channel::COUNT],
    /// The senders nearest to the headset; `None` if the profile does not count their poses
    /// separately.
    nearest: Option<Nearest>,
    /// The number of members that have this headset among their nearest senders.
    near_receivers: u64,
    /// True if faults affect a share of the headsets and this headset is not in that share.
    unaffected: bool,
}

impl LedgerMember {
    fn is_near(&self, sender: u32) -> bool {
        self.nearest.as_ref().is_some_and(|nearest| nearest.contains(sender))
    }
}

/// The members of a room.
#[derive(Clone, Debug, Default)]
struct LedgerRoom {
    /// The member in each slot.
    slots: Vec<Option<u32>>,
    members: u64,
}

impl LedgerRoom {
    /// Puts a member into a slot.
    fn seat(&mut self, slot: u16, member: u32) {
        let slot = usize::from(slot);
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = Some(member);
    }
}

/// Counts the realtime messages of the rooms that one thread drives.
#[derive(Debug)]
pub(crate) struct Ledger {
    plan: Arc<Plan>,
    pub(crate) window: Window,
    rooms: Vec<LedgerRoom>,
    members: Vec<LedgerMember>,
    counts: MessageCounts,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Number of mismatching messages that were looked for in other rooms. The search stops at
    /// [`MAX_SEARCHES`].
    searches: u32,
    /// Distorts received messages, if the run tests the load generator itself.
    distorter: Option<Distorter>,
}

/// How long a sent message is remembered, s. Messages may arrive after an outage of ten seconds, or
/// when a server goes on that stood still. Still later messages are told from corrupt ones too, but
/// not when they were due.
const LOG_SECONDS: f64 = 30.0;
/// The age from which a client drops a message, µs.
const TOO_OLD: u64 = RECEIVED_AGE as u64 * 1_000;
/// How many mismatching messages are looked for in other rooms. This is enough to diagnose a fault,
/// and few enough that a broken server cannot stall the generator. A search looks at one headset of
/// each room.
const MAX_SEARCHES: u32 = 2_000;

impl Ledger {
    /// Creates the ledger of one of the plan's realtime threads.
    pub(crate) fn new(window: Window, plan: Arc<Plan>) -> Self {
        let rooms = plan.rooms().div_ceil(plan.workers) as usize;
        let distorter = plan.distortion.map(Distorter::new);
        let slots = plan.time_slots;
        Ledger {
            plan,
            window,
            rooms: vec![LedgerRoom::default(); rooms],
            members: Vec::new(),
            counts: MessageCounts::new(slots),
            sent: 0,
            delivered: 0,
            searches: 0,
            distorter,
        }
    }

    /// Adds a headset that joined at `now` (µs). Returns its index in this ledger.
    pub(crate) fn admit(&mut self, source: Source, slot: u16, now: u64) -> u32 {
        let number = self.members.len() as u32;
        let room = (source.room / self.plan.workers) as usize;
        let traffic = &self.plan.traffic;
        let members = self.plan.members(source.room);
        let senders = |channel| if traffic.has(channel) { members as usize } else { 0 };
        let mut member = LedgerMember {
            source,
            room,
            admitted: now,
            sent_log: Channel::ALL.map(|channel| {
                traffic.has(channel).then(|| SentLog::new(traffic.hz(channel), LOG_SECONDS))
            }),
            received: Channel::ALL.map(|channel| vec![ReceiveState::default(); senders(channel)]),
            nearest: traffic.interest.then(|| Nearest::of(source, members)),
            near_receivers: 0,
            unaffected: self.plan.faults.fault_share > 0.0
                && !self.plan.is_affected(self.plan.headset(source)),
        };
        let entry = &mut self.rooms[room];
        for other in entry.slots.iter().flatten() {
            let other = &mut self.members[*other as usize];
            other.near_receivers += u64::from(member.is_near(other.source.sender));
            member.near_receivers += u64::from(other.is_near(source.sender));
        }
        entry.seat(slot, number);
        entry.members += 1;
        self.members.push(member);
        number
    }

    /// Moves a member that has joined again to its new slot.
    pub(crate) fn readmit(&mut self, member: u32, slot: u16) {
        let room = &mut self.rooms[self.members[member as usize].room];
        for entry in room.slots.iter_mut().filter(|entry| **entry == Some(member)) {
            *entry = None;
        }
        room.seat(slot, member);
    }

    /// Records a message that a member sends at `now` (µs).
    pub(crate) fn record_sent(&mut self, member: u32, now: u64, due: &DueMessage, payload: &[u8]) {
        let member = &mut self.members[member as usize];
        if let Some(sent_log) = &mut member.sent_log[due.channel as usize] {
            sent_log.record(due, payload);
        }
        self.sent += 1;
        if self.window.contains(due.scheduled) {
            let tally = &mut self.counts.channels[due.channel as usize];
            tally.sent += 1;
            let receivers = self.rooms[member.room].members.saturating_sub(1);
            tally.expected += receivers;
            let slot = self.plan.time_slots.slot(self.window, due.scheduled);
            if let Some(slot) = slot.and_then(|slot| tally.slots.0.get_mut(slot)) {
                slot.expected += receivers;
            }
            self.counts.send_lag.record(now.saturating_sub(due.scheduled));
            if due.channel == Channel::Pose {
                self.counts.near_poses.expected += member.near_receivers;
            }
        }
    }

    /// Loads the receive state of `receiver` into the CPU's cache. Call this before recording its
    /// messages. In a large room, the states of the other receivers have displaced this state since
    /// the last call, and messages arrive from the senders in no order. Without this call, the
    /// cache miss of each message took longer than all other work on the message.
    pub(crate) fn prefetch(&self, receiver: u32) {
        let rows = self.members[receiver as usize].received.iter();
        // Two states share a cache line, and the CPU prefetches lines that are read in order.
        let lines = rows.flat_map(|row| row.iter().step_by(2));
        std::hint::black_box(lines.fold(0, |all, received| all | received.last_arrival));
    }

    /// Checks and counts a message that arrived at `arrival` (the kernel's time stamp, µs), unless it
    /// is one that is distorted.
    pub(crate) fn record_received(&mut self, receiver: u32, arrival: u64, message: &Message<'_>) {
        if let Some(distorter) = &mut self.distorter {
            let is_counted = self.window.contains(arrival);
            let distortion = if is_counted { distorter.next() } else { None };
            if distortion == Some(Distortion::Delay) {
                distorter.hold(receiver, arrival, message);
            }
            self.counts.distorted += u64::from(distortion.is_some());
            self.record_held(arrival);
            if distortion == Some(Distortion::Misroute) {
                let room = self.members[receiver as usize].room;
                let other = self.members.iter().position(|member| member.room != room);
                other.into_iter().for_each(|other| self.record(other as u32, arrival, message));
            }
            if distortion.is_some() {
                return;
            }
        }
        self.record(receiver, arrival, message);
    }

    /// Checks and counts the delayed messages that arrive at `now` (µs) or before.
    fn record_held(&mut self, now: u64) {
        while let Some(held) = self.distorter.as_mut().and_then(|d| d.take_due(now)) {
            self.record(held.receiver, held.arrival, &held.message());
        }
    }

    /// Checks and counts a message that arrived at `arrival` (µs).
    fn record(&mut self, receiver: u32, arrival: u64, message: &Message<'_>) {
        let was_verified = self.check(receiver, arrival, message);
        self.counts.arrivals.last = self.counts.arrivals.last.max(arrival);
        if self.counts_at(arrival) {
            self.counts.arrivals.count(was_verified);
        }
    }

    /// Checks and counts a message. Returns whether the message was compared with what its sender
    /// sent.
    fn check(&mut self, receiver: u32, arrival: u64, message: &Message<'_>) -> bool {
        let room = self.members[receiver as usize].room;
        let sender_index = self.rooms[room].slots.get(usize::from(message.peer)).copied().flatten();
        let sender_index = sender_index.filter(|sender_index| *sender_index != receiver);
        let channel = Channel::of(message.kind);
        let (Some(channel), Some(sender_index)) = (channel, sender_index) else {
            self.count_mismatch(channel.unwrap_or(Channel::Pose), arrival, Mismatch::Misrouted);
            return false;
        };
        match self.find_sent(sender_index, channel, message) {
            SentLookup::Sent(due) => self.count_genuine(receiver, sender_index, arrival, &due),
            SentLookup::Forgotten => {
                let counts = self.counts_at(arrival);
                self.counts.channels[channel as usize].late += u64::from(counts);
            }
            SentLookup::NotSent => {
                let mismatch = if self.is_from_another_room(room, channel, message) {
                    Mismatch::Misrouted
                } else {
                    Mismatch::Corrupt
                };
                self.count_mismatch(channel, arrival, mismatch);
            }
        }
        true
    }

    /// Counts a message that is exactly as its sender sent it. A message that a client drops as too
    /// old is late, as is one that arrives after the wait or is too old to tell whether it is a
    /// duplicate.
    fn count_genuine(&mut self, receiver: u32, sender_index: u32, arrival: u64, due: &DueMessage) {
        let in_window = self.window.contains(due.scheduled);
        let in_time = arrival.saturating_sub(due.scheduled) <= TOO_OLD
            && arrival <= self.window.end.saturating_add(REALTIME_WAIT);
        if !in_time {
            self.counts.channels[due.channel as usize].late += u64::from(in_window);
            return;
        }
        let sender = &self.members[sender_index as usize];
        let (number, admitted) = (sender.source.sender, sender.admitted);
        let sender_unaffected = sender.unaffected;
        let index = receiver;
        let receiver = &mut self.members[receiver as usize];
        let together = admitted.max(receiver.admitted);
        let received = &mut receiver.received[due.channel as usize][number as usize];
        let tally = &mut self.counts.channels[due.channel as usize];
        let pair = Pair { receiver: index, sender: number, together };
        let (hz, gaps) = (self.plan.traffic.hz(due.channel), &mut self.counts.gaps);
        let plan = self.plan.time_slots;
        let slots = SlotRecorder(plan, &mut tally.slots);
        let recorder =
            PairRecorder::new(due.channel, pair, self.window, hz, &mut tally.ages, slots, gaps);
        let novelty = received.record(due, arrival, recorder);
        let is_new = novelty.is_new();
        self.delivered += u64::from(is_new);
        if !in_window {
            return;
        }
        if is_new {
            tally.delivered += 1;
            let latency = arrival.saturating_sub(due.scheduled);
            tally.latency.record(latency);
            let slot = plan.slot(self.window, due.scheduled);
            if let Some(slot) = slot.and_then(|slot| tally.slots.0.get_mut(slot)) {
                slot.delivered += 1;
                slot.latency.record(latency);
            }
            if due.channel == Channel::Pose {
                self.counts.near_poses.delivered += u64::from(receiver.is_near(number));
                if sender_unaffected && receiver.unaffected {
                    self.counts.unaffected_latency.record(latency);
                }
            }
        }
        tally.reordered += u64::from(novelty == Novelty::Reordered);
        tally.duplicated += u64::from(novelty == Novelty::Duplicate);
        tally.late += u64::from(novelty == Novelty::Ancient);
    }

    /// Completes the ages and the gaps between poses, and returns the counts. Call this after the
    /// end of the window.
    pub(crate) fn close(mut self) -> MessageCounts {
        self.record_held(u64::MAX);
        for channel in Channel::ALL.into_iter().filter(|channel| channel.has_age()) {
            if self.plan.traffic.has(channel) {
                self.close_channel(channel);
            }
        }
        self.counts
    }

    fn close_channel(&mut self, channel: Channel) {
        for (index, receiver) in self.members.iter().enumerate() {
            let senders = self.rooms[receiver.room].slots.iter().flatten();
            let senders = senders.map(|sender| &self.members[*sender as usize]);
            for sender in senders.filter(|sender| sender.source != receiver.source) {
                let number = sender.source.sender;
                let received = &receiver.received[channel as usize][number as usize];
                let together = sender.admitted.max(receiver.admitted);
                let pair = Pair { receiver: index as u32, sender: number, together };
                let sent = sender.sent_log[channel as usize].as_ref();
                let sent = sent.and_then(|log| log.newest(channel));
                let (hz, window) = (self.plan.traffic.hz(channel), self.window);
                let tally = &mut self.counts.channels[channel as usize];
                let slots = SlotRecorder(self.plan.time_slots, &mut tally.slots);
                let gaps = &mut self.counts.gaps;
                let recorder =
                    PairRecorder::new(channel, pair, window, hz, &mut tally.ages, slots, gaps);
                received.close(sent, recorder);
            }
        }
    }

    /// Looks for the sent message that `message` carries.
    fn find_sent(&self, sender_index: u32, channel: Channel, message: &Message<'_>) -> SentLookup {
        let sender = &self.members[sender_index as usize];
        let log = sender.sent_log[channel as usize].as_ref();
        log.map_or(SentLookup::NotSent, |log| log.find(sender.source, channel, message))
    }

    /// Returns whether the headset in the same slot of another room sent this message.
    fn is_from_another_room(
        &mut self,
        room: usize,
        channel: Channel,
        message: &Message<'_>,
    ) -> bool {
        self.searches += 1;
        if self.searches > MAX_SEARCHES {
            return false;
        }
        let slot = usize::from(message.peer);
        let others = self.rooms.iter().enumerate().filter(|(other, _)| *other != room);
        let mut senders = others.filter_map(|(_, other)| *other.slots.get(slot)?);
        senders.any(|sender| self.find_sent(sender, channel, message) != SentLookup::NotSent)
    }

    /// Returns whether a message that arrives now counts although nobody knows when it was due.
    fn counts_at(&self, arrival: u64) -> bool {
        (self.window.start..self.window.end.saturating_add(REALTIME_WAIT)).contains(&arrival)
    }

    fn count_mismatch(&mut self, channel: Channel, arrival: u64, mismatch: Mismatch) {
        if self.counts_at(arrival) {
            self.counts.channels[channel as usize].count_mismatch(mismatch);
        }
    }
}
