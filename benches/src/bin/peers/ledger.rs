//! The ledger of a run: what was sent and what arrived, each message once.

use hdrhistogram::Histogram;

use crate::message::{Claim, Heard};
use crate::schedule::Schedule;

/// Longest time that is told apart, µs.
const LONGEST: u64 = 60_000_000;

/// Counts a run's messages, and says which of them went astray.
pub(crate) struct Ledger {
    pub(crate) schedule: Schedule,
    /// The slot under which each peer is heard.
    slots: Vec<u16>,
    /// One bit for each (receiver, sender of its room, sequence).
    seen: Vec<u64>,
    words: usize,
    /// Messages that the others should have, and how many they have.
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) duplicated: u64,
    /// Messages that the receiver should not have, and the first of them.
    pub(crate) stray: u64,
    pub(crate) first_stray: Option<String>,
    /// Datagrams that arrived within the window, and messages in them.
    pub(crate) datagrams: u64,
    pub(crate) messages: u64,
    /// µs from due to heard, and from due to said.
    pub(crate) latency: Histogram<u64>,
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
            stray: 0,
            first_stray: None,
            datagrams: 0,
            messages: 0,
            latency: histogram(),
            lag: histogram(),
        }
    }

    /// A message leaves at `now`.
    pub(crate) fn say(&mut self, claim: Claim, now: u64) {
        if self.schedule.window.contains(&claim.due) {
            let rooms = self.schedule.rooms;
            self.expected += rooms.members(rooms.of(claim.sender)).len() as u64 - 1;
            self.lag.saturating_record(now.saturating_sub(claim.due));
        }
    }

    /// A datagram came, whatever is in it.
    pub(crate) fn datagram(&mut self, arrival: u64) {
        self.datagrams += u64::from(self.schedule.window.contains(&arrival));
    }

    /// A message came.
    pub(crate) fn hear(&mut self, receiver: u32, arrival: u64, message: Heard<'_>) {
        self.messages += u64::from(self.schedule.window.contains(&arrival));
        let claim = message.as_ref().ok().and_then(Claim::parse);
        let slot = message.as_ref().map_or(u16::MAX, |message| message.peer);
        match claim.filter(|claim| self.is_plausible(receiver, slot, *claim)) {
            Some(claim) => self.count(receiver, arrival, claim),
            None => {
                self.stray += 1;
                let text = || format!("peer {receiver} heard {message:?}");
                self.first_stray.get_or_insert_with(text);
            }
        }
    }

    /// Of the receiver's room, under its sender's slot, and said when it was due.
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
        let again = *word & bit != 0;
        *word |= bit;
        if !self.schedule.window.contains(&claim.due) {
            return;
        }
        if again {
            self.duplicated += 1;
        } else {
            self.delivered += 1;
            self.latency.saturating_record(arrival.saturating_sub(claim.due));
        }
    }
}

/// Three digits of µs.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are constants and right")
}

#[cfg(test)]
mod tests {
    use nucleus_protocol::realtime::MalformedFrame;

    use super::*;
    use crate::message::{hear_frames, relayed};
    use crate::rooms::Rooms;

    fn ledger() -> Ledger {
        let rooms = Rooms { peers: 4, size: 2 };
        Ledger::new(Schedule::new(rooms, 60, 1_000, 0, 10.0), vec![7, 8, 7, 8])
    }

    fn hear(ledger: &mut Ledger, receiver: u32, slot: u16, claim: Claim) {
        let mut frame = Vec::new();
        claim.encode(&mut frame);
        relayed(&mut frame, slot).unwrap();
        hear_frames(&frame, &mut |heard| ledger.hear(receiver, claim.due + 500, heard));
    }

    #[test]
    fn each_message_counts_once() {
        let mut ledger = ledger();
        for sequence in [0, 1, 599, 1] {
            let claim = Claim { sender: 1, sequence, due: ledger.schedule.due(1, sequence) };
            ledger.say(claim, claim.due + 3);
            hear(&mut ledger, 0, 8, claim);
        }
        assert_eq!((ledger.expected, ledger.delivered, ledger.duplicated), (4, 3, 1));
        assert_eq!((ledger.stray, ledger.latency.max(), ledger.lag.max()), (0, 500, 3));
    }

    #[test]
    fn what_is_not_for_the_receiver_is_found() {
        let mut ledger = ledger();
        let right = Claim { sender: 1, sequence: 5, due: ledger.schedule.due(1, 5) };
        hear(&mut ledger, 1, 8, right); // its own
        hear(&mut ledger, 2, 8, right); // of another room
        hear(&mut ledger, 0, 7, right); // under another's slot
        hear(&mut ledger, 0, 8, Claim { due: right.due + 1, ..right });
        hear(&mut ledger, 0, 8, Claim { sender: 9, ..right });
        ledger.hear(0, 0, Err(MalformedFrame));
        assert_eq!((ledger.delivered, ledger.stray), (0, 6));
        assert!(ledger.first_stray.is_some());
    }
}
