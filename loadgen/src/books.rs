//! The realtime plane's books of one thread: what was said, by whom, and whether it arrived whole,
//! once, and at those it was for.

use hdrhistogram::Histogram;
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{Kind, Message};

use crate::payload::Source;
use crate::sequence::{self, Novelty, Seen};
use crate::shared::{REALTIME_WAIT, Window};
use crate::tally::{self, Tally};

/// The channels on the realtime plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Pose = 0,
    Voice = 1,
}

impl Channel {
    pub(crate) const ALL: [Channel; 2] = [Channel::Pose, Channel::Voice];

    pub(crate) fn kind(self) -> Kind {
        match self {
            Channel::Pose => Kind::Pose,
            Channel::Voice => Kind::Voice,
        }
    }

    pub(crate) fn flags(self) -> u8 {
        match self {
            Channel::Pose => NEWEST_WINS,
            Channel::Voice => 0,
        }
    }

    fn of(kind: Kind) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.kind() == kind)
    }
}

/// A message that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) channel: Channel,
    pub(crate) number: u64,
    /// µs, by the schedule: a late send keeps it.
    pub(crate) scheduled: u64,
    /// The first voice packet of a spurt.
    pub(crate) first: bool,
}

impl Due {
    /// Appends the payload.
    pub(crate) fn payload(&self, source: Source, out: &mut Vec<u8>) {
        match self.channel {
            Channel::Pose => source.pose(self.number, out),
            Channel::Voice => source.voice(self.number, self.first, out),
        }
    }
}

/// The last messages that a sender sent on a channel: when each was due.
#[derive(Clone, Debug)]
struct Said {
    /// Twice the µs, plus one for the first packet of a spurt; a power of two long.
    ring: Vec<u64>,
    next: u64,
}

impl Said {
    /// Room for four seconds at `hz`: four times what anything is waited for.
    fn new(hz: f64) -> Self {
        let len = ((hz * 4.0) as usize).next_power_of_two().max(256);
        Said { ring: vec![0; len], next: 0 }
    }

    fn place(&self, number: u64) -> usize {
        number as usize & (self.ring.len() - 1)
    }

    fn note(&mut self, due: &Due) {
        let place = self.place(due.number);
        self.ring[place] = due.scheduled << 1 | u64::from(due.first);
        self.next = due.number + 1;
    }

    /// The message behind a number on the wire, unless it was never sent or is long gone.
    fn at(&self, channel: Channel, wire: u16) -> Option<Due> {
        let number = sequence::unwrap(self.next.checked_sub(1)?, wire)?;
        (self.next - number <= self.ring.len() as u64).then_some(())?;
        let entry = self.ring[self.place(number)];
        Some(Due { channel, number, scheduled: entry >> 1, first: entry & 1 != 0 })
    }
}

#[derive(Debug)]
struct Member {
    source: Source,
    room: usize,
    said: [Said; 2],
    /// What it has had, by sender number and channel.
    seen: Vec<[Seen; 2]>,
}

#[derive(Clone, Debug, Default)]
struct Room {
    /// Member by slot.
    slots: Vec<Option<u32>>,
    members: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) window: Window,
    rooms: Vec<Room>,
    members: Vec<Member>,
    room_size: u32,
    pose_hz: f64,
    pub(crate) channels: [Tally; 2],
    /// µs from the scheduled time to the send.
    pub(crate) lag: Histogram<u64>,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Messages that were compared with every other room's; bounded, see [`Books::elsewhere`].
    searched: u32,
    scratch: Vec<u8>,
}

/// Searches for the true owner of a wrong message: enough to tell what is going on, few enough that
/// a broken server cannot stall the generator.
const MAX_SEARCHES: u32 = 200;

impl Books {
    pub(crate) fn new(window: Window, rooms: usize, room_size: u32, pose_hz: f64) -> Self {
        Books {
            window,
            rooms: vec![Room::default(); rooms],
            members: Vec::new(),
            room_size,
            pose_hz,
            channels: [Tally::new(), Tally::new()],
            lag: tally::histogram(),
            sent: 0,
            delivered: 0,
            searched: 0,
            scratch: Vec::new(),
        }
    }

    /// A headset has joined; gives its number in these books.
    pub(crate) fn admit(&mut self, source: Source, room: usize, slot: u16) -> u32 {
        let number = self.members.len() as u32;
        let entry = &mut self.rooms[room];
        let slot = usize::from(slot);
        if entry.slots.len() <= slot {
            entry.slots.resize(slot + 1, None);
        }
        entry.slots[slot] = Some(number);
        entry.members += 1;
        self.members.push(Member {
            source,
            room,
            said: [Said::new(self.pose_hz), Said::new(50.0)],
            seen: vec![<[Seen; 2]>::default(); self.room_size as usize],
        });
        number
    }

    /// A message is being sent.
    pub(crate) fn say(&mut self, member: u32, now: u64, due: &Due) {
        let member = &mut self.members[member as usize];
        member.said[due.channel as usize].note(due);
        self.sent += 1;
        if self.window.contains(due.scheduled) {
            let tally = &mut self.channels[due.channel as usize];
            tally.sent += 1;
            tally.expected += self.rooms[member.room].members.saturating_sub(1);
            self.lag.saturating_record(now.saturating_sub(due.scheduled));
        }
    }

    /// A message has arrived at `arrival` (the kernel's stamp).
    pub(crate) fn hear(&mut self, receiver: u32, arrival: u64, message: &Message<'_>) {
        let Some(channel) = Channel::of(message.kind) else {
            return self.wrong(Channel::Pose, arrival, Wrong::Misrouted);
        };
        let room = self.members[receiver as usize].room;
        let from = self.rooms[room].slots.get(usize::from(message.peer)).copied().flatten();
        let Some(from) = from.filter(|from| *from != receiver) else {
            return self.wrong(channel, arrival, Wrong::Misrouted);
        };
        let Some(due) = self.genuine(from, channel, message) else {
            let wrong = if self.elsewhere(room, channel, message) {
                Wrong::Misrouted
            } else {
                Wrong::Corrupt
            };
            return self.wrong(channel, arrival, wrong);
        };
        let place = self.members[from as usize].source.sender as usize;
        let seen = &mut self.members[receiver as usize].seen[place][channel as usize];
        let novelty = seen.note(due.number);
        self.count(channel, &due, arrival, novelty);
    }

    fn count(&mut self, channel: Channel, due: &Due, arrival: u64, novelty: Novelty) {
        let fresh = matches!(novelty, Novelty::Newest | Novelty::Reordered);
        self.delivered += u64::from(fresh);
        let in_time = arrival <= self.window.end.saturating_add(REALTIME_WAIT);
        if !self.window.contains(due.scheduled) || !in_time {
            return;
        }
        let tally = &mut self.channels[channel as usize];
        if fresh {
            tally.delivered += 1;
            tally.record_latency(arrival.saturating_sub(due.scheduled));
        }
        tally.reordered += u64::from(novelty == Novelty::Reordered);
        tally.duplicated += u64::from(novelty == Novelty::Duplicate);
    }

    /// What was sent, if every byte of the message is as the sender wrote it.
    fn genuine(&mut self, from: u32, channel: Channel, message: &Message<'_>) -> Option<Due> {
        let sender = &self.members[from as usize];
        let due = sender.said[channel as usize].at(channel, message.sequence)?;
        self.scratch.clear();
        due.payload(sender.source, &mut self.scratch);
        let whole = self.scratch == message.payload
            && (message.channel, message.key, message.flags) == (0, 0, channel.flags());
        whole.then_some(due)
    }

    /// Whether a wrong message is the right one of somebody in another room.
    fn elsewhere(&mut self, room: usize, channel: Channel, message: &Message<'_>) -> bool {
        self.searched += 1;
        if self.searched > MAX_SEARCHES {
            return false;
        }
        (0..self.members.len() as u32).any(|member| {
            self.members[member as usize].room != room
                && self.genuine(member, channel, message).is_some()
        })
    }

    fn wrong(&mut self, channel: Channel, arrival: u64, wrong: Wrong) {
        let end = self.window.end.saturating_add(REALTIME_WAIT);
        if !(self.window.start..end).contains(&arrival) {
            return;
        }
        let tally = &mut self.channels[channel as usize];
        match wrong {
            Wrong::Misrouted => tally.misrouted += 1,
            Wrong::Corrupt => tally.corrupt += 1,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Wrong {
    Misrouted,
    Corrupt,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start: 1_000, end: 2_000 };

    /// Two rooms of two; slots 5 and 6 in each.
    fn books() -> Books {
        let mut books = Books::new(WINDOW, 2, 2, 30.0);
        for (room, sender) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let source = Source { seed: 1, room, sender };
            books.admit(source, room as usize, 5 + sender as u16);
        }
        books
    }

    fn due(channel: Channel, number: u64, scheduled: u64) -> Due {
        Due { channel, number, scheduled, first: number == 0 }
    }

    fn message<'a>(due: &Due, from: u16, payload: &'a [u8]) -> Message<'a> {
        Message {
            kind: due.channel.kind(),
            flags: due.channel.flags(),
            peer: from,
            channel: 0,
            key: 0,
            sequence: due.number as u16,
            time: 0,
            payload,
        }
    }

    fn said(books: &mut Books, member: u32, due: &Due) -> Vec<u8> {
        let mut payload = Vec::new();
        due.payload(books.members[member as usize].source, &mut payload);
        books.say(member, due.scheduled + 3, due);
        payload
    }

    #[test]
    fn counts_what_was_scheduled_in_the_window() {
        let mut books = books();
        for (number, scheduled) in [999, 1_000, 1_999, 2_000].into_iter().enumerate() {
            let due = due(Channel::Voice, number as u64, scheduled);
            let payload = said(&mut books, 0, &due);
            books.hear(1, scheduled + 40, &message(&due, 5, &payload));
            books.hear(1, scheduled + 50, &message(&due, 5, &payload));
        }
        let voice = &books.channels[1];
        assert_eq!((voice.sent, voice.expected, voice.delivered), (2, 2, 2));
        assert_eq!((voice.duplicated, voice.corrupt, voice.misrouted), (2, 0, 0));
        assert_eq!((voice.latency.max(), books.lag.max()), (40, 3));
        assert_eq!((books.sent, books.delivered), (4, 4));
    }

    #[test]
    fn tells_late_wrong_and_stray_messages() {
        let mut books = books();
        let due = due(Channel::Pose, 0, 1_500);
        let payload = said(&mut books, 0, &due);
        said(&mut books, 2, &due);
        let late = WINDOW.end + REALTIME_WAIT + 1;
        books.hear(1, late, &message(&due, 5, &payload));
        assert_eq!(books.channels[0].delivered, 0, "too late to count");
        let stray = Source { seed: 1, room: 1, sender: 0 };
        let mut other = Vec::new();
        due.payload(stray, &mut other);
        books.hear(1, 1_600, &message(&due, 5, &other));
        books.hear(1, 1_600, &message(&due, 99, &payload));
        books.hear(0, 1_600, &message(&due, 5, &payload));
        assert_eq!(books.channels[0].misrouted, 3, "another room, nobody, its own");
        books.hear(1, 1_600, &message(&due, 5, &payload[1..]));
        books.hear(1, 1_600, &Message { key: 1, ..message(&due, 5, &payload) });
        books.hear(1, 1_600, &Message { sequence: 7, ..message(&due, 5, &payload) });
        assert_eq!(books.channels[0].corrupt, 3);
    }
}
