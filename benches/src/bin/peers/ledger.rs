//! The ledger of a run: records every message that is sent, and checks every message that arrives.

use hdrhistogram::Histogram;

use crate::message::{Claim, ReceivedMessage};
use crate::schedule::Schedule;

/// Largest time that the histograms can hold, µs.
const LONGEST: u64 = 60_000_000;

/// Counts the messages of a run, and finds messages that reach a wrong receiver.
pub(crate) struct Ledger {
    pub(crate) schedule: Schedule,
    /// The slot that each peer's messages carry.
    slots: Vec<u16>,
    /// One bit for each (receiver, sender of its room, sequence).
    seen: Vec<u64>,
    words: usize,
    /// Number of messages that receivers should receive.
    pub(crate) expected: u64,
    /// Number of these messages that were received, without duplicates.
    pub(crate) delivered: u64,
    pub(crate) duplicated: u64,
    /// Number of messages that reached a receiver for which they were not meant.
    pub(crate) misdirected: u64,
    /// A description of the first of these messages.
    pub(crate) first_misdirected: Option<String>,
    /// Number of datagrams that arrived within the window.
    pub(crate) datagrams: u64,
    /// Number of messages in these datagrams.
    pub(crate) messages: u64,
    /// The time from when a message was due until it arrived, µs.
    pub(crate) latency: Histogram<u64>,
    /// The time from when a message was due until it was sent, µs.
    pub(crate) lag: Histogram<u64>,
}

impl Ledger {
    pub(crate) fn new(schedule: Schedule, slots: Vec<u16>) -> Self {
        let words = schedule.sequences().div_ceil(64) as usize;
        let pairs = slots.len() * schedule.rooms.size as usize;
        Ledger {
            schedule,
            slots,
            seen: vec![0; pairs * words],
            words,
            expected: 0,
            delivered: 0,
            duplicated: 0,
            misdirected: 0,
            first_misdirected: None,
            datagrams: 0,
            messages: 0,
            latency: histogram(),
            lag: histogram(),
        }
    }

    /// Records a message that is sent at `now` (µs).
    pub(crate) fn record_sent(&mut self, claim: Claim, now: u64) {
        if self.schedule.window.contains(&claim.due) {
            let rooms = self.schedule.rooms;
            self.expected += rooms.members(rooms.of(claim.sender)).len() as u64 - 1;
            self.lag.saturating_record(now.saturating_sub(claim.due));
        }
    }

    /// Counts a datagram that arrived at `arrival` (µs).
    pub(crate) fn record_datagram(&mut self, arrival: u64) {
        self.datagrams += u64::from(self.schedule.window.contains(&arrival));
    }

    /// Checks and counts a message that arrived at `arrival` (µs).
    pub(crate) fn record_received(
        &mut self,
        receiver: u32,
        arrival: u64,
        message: ReceivedMessage<'_>,
    ) {
        self.messages += u64::from(self.schedule.window.contains(&arrival));
        let claim = message.as_ref().ok().and_then(Claim::parse);
        let slot = message.as_ref().map_or(u16::MAX, |message| message.peer);
        match claim.filter(|claim| self.is_plausible(receiver, slot, *claim)) {
            Some(claim) => self.count(receiver, arrival, claim),
            None => {
                self.misdirected += 1;
                let text = || format!("peer {receiver} received {message:?}");
                self.first_misdirected.get_or_insert_with(text);
            }
        }
    }

    /// Returns whether a message is from another peer of the receiver's room, carries that peer's
    /// slot, and was due at the time that the message contains.
    fn is_plausible(&self, receiver: u32, slot: u16, claim: Claim) -> bool {
        let Claim { sender, sequence, due } = claim;
        let rooms = self.schedule.rooms;
        self.slots.get(sender as usize) == Some(&slot)
            && sender != receiver
            && rooms.of(sender) == rooms.of(receiver)
            && due == self.schedule.due(sender, sequence)
            && due < self.schedule.window.end
    }

    fn count(&mut self, receiver: u32, arrival: u64, claim: Claim) {
        let rooms = self.schedule.rooms;
        let pair = receiver as usize * rooms.size as usize + usize::from(rooms.slot(claim.sender));
        let sequence = usize::from(claim.sequence);
        let word = &mut self.seen[pair * self.words + sequence / 64];
        let bit = 1 << (sequence % 64);
        let is_duplicate = *word & bit != 0;
        *word |= bit;
        if !self.schedule.window.contains(&claim.due) {
            return;
        }
        if is_duplicate {
            self.duplicated += 1;
        } else {
            self.delivered += 1;
            self.latency.saturating_record(arrival.saturating_sub(claim.due));
        }
    }
}

/// Creates a histogram of times in µs, with three significant digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are valid constants")
}

#[cfg(test)]
mod tests {
    use nucleus_protocol::realtime::MalformedFrame;

    use super::*;
    use crate::message::{deliver_frames, set_sender_slot};
    use crate::rooms::Rooms;

    fn ledger() -> Ledger {
        let rooms = Rooms { peers: 4, size: 2 };
        Ledger::new(Schedule::new(rooms, 60, 1_000, 0, 10.0), vec![7, 8, 7, 8])
    }

    fn record_received(ledger: &mut Ledger, receiver: u32, slot: u16, claim: Claim) {
        let mut frame = Vec::new();
        claim.encode(&mut frame);
        set_sender_slot(&mut frame, slot).unwrap();
        deliver_frames(&frame, &mut |heard| {
            ledger.record_received(receiver, claim.due + 500, heard)
        });
    }

    #[test]
    fn each_message_counts_once() {
        let mut ledger = ledger();
        for sequence in [0, 1, 599, 1] {
            let claim = Claim { sender: 1, sequence, due: ledger.schedule.due(1, sequence) };
            ledger.record_sent(claim, claim.due + 3);
            record_received(&mut ledger, 0, 8, claim);
        }
        assert_eq!((ledger.expected, ledger.delivered, ledger.duplicated), (4, 3, 1));
        assert_eq!((ledger.misdirected, ledger.latency.max(), ledger.lag.max()), (0, 500, 3));
    }

    #[test]
    fn what_is_not_for_the_receiver_is_found() {
        let mut ledger = ledger();
        let right = Claim { sender: 1, sequence: 5, due: ledger.schedule.due(1, 5) };
        record_received(&mut ledger, 1, 8, right); // its own
        record_received(&mut ledger, 2, 8, right); // of another room
        record_received(&mut ledger, 0, 7, right); // under another's slot
        record_received(&mut ledger, 0, 8, Claim { due: right.due + 1, ..right });
        record_received(&mut ledger, 0, 8, Claim { sender: 9, ..right });
        ledger.record_received(0, 0, Err(MalformedFrame));
        assert_eq!((ledger.delivered, ledger.misdirected), (0, 6));
        assert!(ledger.first_misdirected.is_some());
    }
}
