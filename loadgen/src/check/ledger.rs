//! The ledger of one realtime thread: records every message that its headsets send, and checks that
//! the message arrives intact, once, and at the right receivers.

use std::sync::Arc;

use hdrhistogram::Histogram;
use nucleus_protocol::realtime::Message;

use super::gaps::Gaps;
use super::nearest::{NearPoses, Nearest};
use super::sent_log::SentLog;
use super::sequence::{Novelty, SequenceWindow};
use super::tally::{self, Mismatch, Tally};
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

/// The messages that a receiver has received from one sender on one channel. The size is half a
/// cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct ReceiveState {
    seen: SequenceWindow,
    /// When the last pose arrived, µs; 0 before the first pose and on every other channel.
    last_pose: u64,
}

const _: () = assert!(size_of::<ReceiveState>() == 32);

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

/// Counts the realtime messages of the rooms that one thread drives.
#[derive(Debug)]
pub(crate) struct Ledger {
    plan: Arc<Plan>,
    pub(crate) window: Window,
    rooms: Vec<LedgerRoom>,
    members: Vec<LedgerMember>,
    pub(crate) channels: [Tally; Channel::COUNT],
    gaps: Gaps,
    pub(crate) near_poses: NearPoses,
    /// The latency of poses between two headsets that the faults do not affect, µs. Empty unless
    /// the faults affect a share of the headsets.
    pub(crate) unaffected_latency: Histogram<u64>,
    /// The time from when a message was due to when it was sent, µs.
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Number of mismatching messages that were looked for in other rooms. The search stops at
    /// [`MAX_SEARCHES`].
    searches: u32,
}

/// How long a sent message is remembered, s: four times [`REALTIME_WAIT`].
const LOG_SECONDS: f64 = 4.0;
/// How long a sent message is remembered if faults are planned, s. Messages may arrive after an
/// outage of ten seconds.
const LOG_SECONDS_WITH_FAULTS: f64 = 30.0;
/// How many mismatching messages are looked for in other rooms. This is enough to diagnose a fault,
/// and few enough that a broken server cannot stall the generator.
const MAX_SEARCHES: u32 = 200;

impl Ledger {
    /// Creates the ledger of one of the plan's realtime threads.
    pub(crate) fn new(window: Window, plan: Arc<Plan>) -> Self {
        let rooms = plan.rooms().div_ceil(plan.workers) as usize;
        Ledger {
            plan,
            window,
            rooms: vec![LedgerRoom::default(); rooms],
            members: Vec::new(),
            channels: Channel::ALL.map(|_| Tally::new()),
            gaps: Gaps::default(),
            near_poses: NearPoses::default(),
            unaffected_latency: tally::histogram(),
            send_lag: tally::histogram(),
            sent: 0,
            delivered: 0,
            searches: 0,
        }
    }

    /// Adds a headset that joined at `now` (µs). Returns its index in this ledger.
    pub(crate) fn admit(&mut self, source: Source, slot: u16, now: u64) -> u32 {
        let number = self.members.len() as u32;
        let room = (source.room / self.plan.workers) as usize;
        let traffic = &self.plan.traffic;
        let members = self.plan.members(source.room);
        let senders = |channel| if traffic.has(channel) { members as usize } else { 0 };
        let log_seconds = if self.plan.has_faults { LOG_SECONDS_WITH_FAULTS } else { LOG_SECONDS };
        let mut member = LedgerMember {
            source,
            room,
            admitted: now,
            sent_log: Channel::ALL.map(|channel| {
                traffic.has(channel).then(|| SentLog::new(traffic.hz(channel), log_seconds))
            }),
            received: Channel::ALL.map(|channel| vec![ReceiveState::default(); senders(channel)]),
            nearest: traffic.interest.then(|| Nearest::of(source, members)),
            near_receivers: 0,
            unaffected: !self.plan.is_affected(self.plan.headset(source)),
        };
        let entry = &mut self.rooms[room];
        for other in entry.slots.iter().flatten() {
            let other = &mut self.members[*other as usize];
            other.near_receivers += u64::from(member.is_near(other.source.sender));
            member.near_receivers += u64::from(other.is_near(source.sender));
        }
        let slot = usize::from(slot);
        if entry.slots.len() <= slot {
            entry.slots.resize(slot + 1, None);
        }
        entry.slots[slot] = Some(number);
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
        let slot = usize::from(slot);
        if room.slots.len() <= slot {
            room.slots.resize(slot + 1, None);
        }
        room.slots[slot] = Some(member);
    }

    /// Records a message that a member sends at `now` (µs).
    pub(crate) fn record_sent(&mut self, member: u32, now: u64, due: &DueMessage, payload: &[u8]) {
        let member = &mut self.members[member as usize];
        if let Some(sent_log) = &mut member.sent_log[due.channel as usize] {
            sent_log.record(due, payload);
        }
        self.sent += 1;
        if self.window.contains(due.scheduled) {
            let tally = &mut self.channels[due.channel as usize];
            tally.sent += 1;
            tally.expected += self.rooms[member.room].members.saturating_sub(1);
            self.send_lag.saturating_record(now.saturating_sub(due.scheduled));
            if due.channel == Channel::Pose {
                self.near_poses.expected += member.near_receivers;
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
        std::hint::black_box(lines.fold(0, |all, received| all | received.last_pose));
    }

    /// Checks and counts a message that arrived at `arrival` (the kernel's time stamp, µs).
    pub(crate) fn record_received(&mut self, receiver: u32, arrival: u64, message: &Message<'_>) {
        let Some(channel) = Channel::of(message.kind) else {
            return self.count_mismatch(Channel::Pose, arrival, Mismatch::Misrouted);
        };
        let room = self.members[receiver as usize].room;
        let sender_index = self.rooms[room].slots.get(usize::from(message.peer)).copied().flatten();
        let Some(sender_index) = sender_index.filter(|sender_index| *sender_index != receiver)
        else {
            return self.count_mismatch(channel, arrival, Mismatch::Misrouted);
        };
        let Some(due) = self.find_sent(sender_index, channel, message) else {
            let mismatch = if self.is_from_another_room(room, channel, message) {
                Mismatch::Misrouted
            } else {
                Mismatch::Corrupt
            };
            return self.count_mismatch(channel, arrival, mismatch);
        };
        self.count_genuine(receiver, sender_index, arrival, &due);
    }

    /// Counts a message that is exactly as its sender sent it.
    fn count_genuine(&mut self, receiver: u32, sender_index: u32, arrival: u64, due: &DueMessage) {
        let sender = &self.members[sender_index as usize];
        let (number, admitted) = (sender.source.sender, sender.admitted);
        let sender_unaffected = sender.unaffected;
        let receiver = &mut self.members[receiver as usize];
        let together = admitted.max(receiver.admitted);
        let received = &mut receiver.received[due.channel as usize][number as usize];
        let novelty = received.seen.record(due.number);
        let is_new = matches!(novelty, Novelty::Newest | Novelty::Reordered);
        if is_new && due.channel == Channel::Pose {
            self.gaps.arrival(&mut received.last_pose, together, arrival, self.window);
        }
        self.delivered += u64::from(is_new);
        let in_time = arrival <= self.window.end.saturating_add(REALTIME_WAIT);
        if !self.window.contains(due.scheduled) || !in_time {
            return;
        }
        let tally = &mut self.channels[due.channel as usize];
        if is_new {
            tally.delivered += 1;
            tally.record_latency(arrival.saturating_sub(due.scheduled));
            let near = due.channel == Channel::Pose && receiver.is_near(number);
            self.near_poses.delivered += u64::from(near);
            let unaffected_latency = sender_unaffected && receiver.unaffected;
            if unaffected_latency && self.plan.fault_share > 0.0 && due.channel == Channel::Pose {
                self.unaffected_latency.saturating_record(arrival.saturating_sub(due.scheduled));
            }
        }
        tally.reordered += u64::from(novelty == Novelty::Reordered);
        tally.duplicated += u64::from(novelty == Novelty::Duplicate);
    }

    /// Returns the gaps between poses. Call this after the end of the window.
    pub(crate) fn gaps(&self) -> Gaps {
        let mut gaps = self.gaps;
        for receiver in self.members.iter().filter(|_| self.plan.traffic.has(Channel::Pose)) {
            let senders = self.rooms[receiver.room].slots.iter().flatten();
            let senders = senders.map(|sender| &self.members[*sender as usize]);
            for sender in senders.filter(|sender| sender.source != receiver.source) {
                let received =
                    &receiver.received[Channel::Pose as usize][sender.source.sender as usize];
                let together = sender.admitted.max(receiver.admitted);
                gaps.close(received.last_pose, together, self.window);
            }
        }
        gaps
    }

    /// Returns the sent message that `message` carries; `None` if the sender did not send exactly
    /// these bytes.
    fn find_sent(
        &self,
        sender_index: u32,
        channel: Channel,
        message: &Message<'_>,
    ) -> Option<DueMessage> {
        let sender = &self.members[sender_index as usize];
        sender.sent_log[channel as usize].as_ref()?.find(sender.source, channel, message)
    }

    /// Returns whether a headset in another room sent this message.
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
        (0..self.members.len() as u32).any(|member| {
            self.members[member as usize].room != room
                && self.find_sent(member, channel, message).is_some()
        })
    }

    fn count_mismatch(&mut self, channel: Channel, arrival: u64, mismatch: Mismatch) {
        let end = self.window.end.saturating_add(REALTIME_WAIT);
        if !(self.window.start..end).contains(&arrival) {
            return;
        }
        let tally = &mut self.channels[channel as usize];
        match mismatch {
            Mismatch::Misrouted => tally.misrouted += 1,
            Mismatch::Corrupt => tally.corrupt += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::profile::{Profile, Traffic};

    const WINDOW: Window = Window { start: 1_000, end: 2_000 };

    /// Returns the ledger of two rooms. Each has two headsets, in slots 5 and 6.
    fn ledger_of(traffic: Traffic) -> Ledger {
        let plan = Plan { traffic, ..Plan::of_two_rooms() };
        let mut ledger = Ledger::new(WINDOW, Arc::new(plan));
        for (room, sender) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            ledger.admit(Source { seed: 1, room, sender }, 5 + sender as u16, 1);
        }
        ledger
    }

    /// Returns a ledger in which every channel is in use.
    fn ledger() -> Ledger {
        let training = Profile::Training.traffic(None);
        ledger_of(Traffic { interest: true, pointer_hz: 30.0, ..training })
    }

    fn due(channel: Channel, number: u64, scheduled: u64) -> DueMessage {
        DueMessage { channel, number, scheduled, first: number == 0 }
    }

    fn message<'a>(due: &DueMessage, sender_index: u16, payload: &'a [u8]) -> Message<'a> {
        let sender = u32::from(sender_index.saturating_sub(5));
        Message {
            peer: sender_index,
            ..due.message(Source { seed: 1, room: 0, sender }, None, payload)
        }
    }

    fn sent(ledger: &mut Ledger, member: u32, due: &DueMessage) -> Vec<u8> {
        let mut payload = Vec::new();
        due.payload(ledger.members[member as usize].source, &mut payload);
        ledger.record_sent(member, due.scheduled + 3, due, &payload);
        payload
    }

    #[test]
    fn counts_what_was_scheduled_in_the_window() {
        let mut ledger = ledger();
        for channel in Channel::ALL {
            for (number, scheduled) in [999, 1_000, 1_999, 2_000].into_iter().enumerate() {
                let due = due(channel, number as u64, scheduled);
                let payload = sent(&mut ledger, 0, &due);
                ledger.record_received(1, scheduled + 40, &message(&due, 5, &payload));
                ledger.record_received(1, scheduled + 50, &message(&due, 5, &payload));
            }
        }
        for tally in &ledger.channels {
            assert_eq!((tally.sent, tally.expected, tally.delivered), (2, 2, 2));
            assert_eq!((tally.duplicated, tally.corrupt, tally.misrouted), (2, 0, 0));
            assert_eq!(tally.latency.max(), 40);
        }
        assert_eq!((ledger.sent, ledger.delivered, ledger.send_lag.max()), (16, 16, 3));
        assert_eq!(
            ledger.near_poses,
            NearPoses { expected: 2, delivered: 2 },
            "only poses count as near"
        );
    }

    #[test]
    fn a_channel_that_the_profile_does_not_have_is_nobody_s() {
        let mut ledger = ledger_of(Profile::Meeting.traffic(None));
        let due = due(Channel::Object, 0, 1_500);
        let payload = sent(&mut ledger, 0, &due);
        ledger.record_received(1, 1_600, &message(&due, 5, &payload));
        let object = &ledger.channels[Channel::Object as usize];
        assert_eq!((object.delivered, object.corrupt), (0, 1));
    }

    #[test]
    fn an_object_s_number_and_channel_are_checked_too() {
        let mut ledger = ledger();
        let due = due(Channel::Object, 0, 1_500);
        let payload = sent(&mut ledger, 0, &due);
        ledger.record_received(1, 1_600, &Message { key: 1, ..message(&due, 5, &payload) });
        ledger.record_received(1, 1_600, &Message { channel: 0, ..message(&due, 5, &payload) });
        ledger.record_received(1, 1_600, &Message { flags: 0, ..message(&due, 5, &payload) });
        ledger.record_received(1, 1_600, &message(&due, 5, &payload));
        let object = &ledger.channels[Channel::Object as usize];
        assert_eq!((object.delivered, object.corrupt), (1, 3));
    }

    #[test]
    fn gaps_are_between_poses_of_one_sender_at_one_receiver() {
        let mut ledger = ledger();
        assert_eq!(ledger.gaps(), Gaps { max: 1_000, over_1s: 0 }, "no pose has arrived");
        for (number, scheduled) in [900, 1_300, 1_400, 1_900].into_iter().enumerate() {
            for sender in 0..4 {
                let due = due(Channel::Pose, number as u64, scheduled);
                let payload = sent(&mut ledger, sender, &due);
                let slot = 5 + (sender % 2) as u16;
                let source = ledger.members[sender as usize].source;
                let message = Message { peer: slot, ..due.message(source, None, &payload) };
                ledger.record_received(sender ^ 1, scheduled + 10, &message);
                // A duplicate does not end a gap.
                ledger.record_received(sender ^ 1, scheduled + 60, &message);
            }
        }
        assert_eq!(ledger.gaps(), Gaps { max: 500, over_1s: 0 });
        assert_eq!(ledger_of(Profile::Idle.traffic(None)).gaps(), Gaps::default());
    }

    #[test]
    fn tells_late_wrong_and_misdirected_messages() {
        let mut ledger = ledger();
        let due = due(Channel::Pose, 0, 1_500);
        let payload = sent(&mut ledger, 0, &due);
        sent(&mut ledger, 2, &due);
        let late = WINDOW.end + REALTIME_WAIT + 1;
        ledger.record_received(1, late, &message(&due, 5, &payload));
        assert_eq!(ledger.channels[0].delivered, 0, "the message arrived too late to count");
        let other_room = Source { seed: 1, room: 1, sender: 0 };
        let mut other = Vec::new();
        due.payload(other_room, &mut other);
        ledger.record_received(1, 1_600, &message(&due, 5, &other));
        ledger.record_received(1, 1_600, &message(&due, 99, &payload));
        ledger.record_received(0, 1_600, &message(&due, 5, &payload));
        assert_eq!(
            ledger.channels[0].misrouted, 3,
            "another room, an empty slot, the receiver's slot"
        );
        ledger.record_received(1, 1_600, &message(&due, 5, &payload[1..]));
        ledger.record_received(1, 1_600, &Message { key: 1, ..message(&due, 5, &payload) });
        ledger.record_received(1, 1_600, &Message { sequence: 7, ..message(&due, 5, &payload) });
        assert_eq!(ledger.channels[0].corrupt, 3);
    }
}
