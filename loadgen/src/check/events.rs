//! The ledger of reliable events: checks that each event arrives unchanged, once and in order.

use std::collections::HashMap;
use std::sync::Mutex;

use nucleus_protocol::session::EventDown;

use super::arrivals::Arrivals;
use super::sequence::{Novelty, SequenceWindow};
use super::tally::{Mismatch, Tally};
use crate::load::payload::{EventClaim, EventKind, Source, event_claim};
use crate::load::plan::Plan;
use crate::load::schedule::EventSchedule;
use crate::shared::{EVENT_WAIT, Window, lock};

/// Counts the reliable events of all rooms, shared by all session tasks. Mutexes are good enough: a
/// run has a few thousand events a second.
pub(crate) struct EventLedger {
    room_size: u32,
    /// The scheduled time of each sent event, by headset, µs.
    sent: Vec<Mutex<Vec<u64>>>,
    /// The schedules of all headsets that have begun to send, as they were at their start.
    schedules: Mutex<Vec<EventSchedule>>,
    /// The headset's number inside the room for each peer id, by room.
    peers: Vec<Mutex<HashMap<u32, u32>>>,
    tally: Mutex<Tally>,
    arrivals: Mutex<Arrivals>,
}

/// The events that one headset has received.
pub(crate) struct ReceivedEvents {
    owner: Source,
    /// The highest sequence so far. Sequences strictly rise at each receiver.
    last: Option<u64>,
    /// The event numbers received, by sender.
    seen: Vec<SequenceWindow>,
}

impl EventLedger {
    pub(crate) fn new(plan: &Plan) -> Self {
        EventLedger {
            room_size: plan.room_size,
            sent: (0..plan.headsets).map(|_| Mutex::default()).collect(),
            schedules: Mutex::default(),
            peers: (0..plan.rooms()).map(|_| Mutex::default()).collect(),
            tally: Mutex::default(),
            arrivals: Mutex::default(),
        }
    }

    /// Registers the schedule of a headset that begins to send.
    pub(crate) fn begin(&self, schedule: EventSchedule) {
        lock(&self.schedules).push(schedule);
    }

    /// Returns how many events were due in the window.
    pub(crate) fn scheduled(&self, window: Window) -> u64 {
        let schedules = lock(&self.schedules).clone();
        schedules.into_iter().map(|schedule| schedule.count(window.start..window.end)).sum()
    }

    /// Registers that a headset has joined as `peer`.
    pub(crate) fn admit(&self, source: Source, peer: u32) -> ReceivedEvents {
        if let Some(peers) = self.peers.get(source.room as usize) {
            let mut peers = lock(peers);
            // A headset that rejoins gets a new peer id, and its old id is void.
            peers.retain(|_, sender| *sender != source.sender);
            peers.insert(peer, source.sender);
        }
        let seen = vec![SequenceWindow::default(); self.room_size as usize];
        ReceivedEvents { owner: source, last: None, seen }
    }

    /// Records an event. Call this before the event is sent.
    pub(crate) fn record_sent(&self, source: Source, number: u32, scheduled: u64, window: Window) {
        let Some(sent) = self.sent.get(self.headset(source.room, source.sender)) else { return };
        let mut sent = lock(sent);
        debug_assert_eq!(sent.len(), number as usize);
        sent.push(scheduled);
        if window.contains(scheduled) {
            let peers = self.peers.get(source.room as usize);
            let members = peers.map_or(0, |peers| lock(peers).len() as u64);
            let mut tally = lock(&self.tally);
            tally.sent += 1;
            tally.expected += members.saturating_sub(1);
        }
    }

    /// Checks and counts an event that arrived at `now` (µs).
    pub(crate) fn record_received(
        &self,
        received: &mut ReceivedEvents,
        now: u64,
        window: Window,
        event: &EventDown,
    ) {
        let counts_now = (window.start..window.end.saturating_add(EVENT_WAIT)).contains(&now);
        if counts_now {
            let can_be_compared = event_claim(&event.payload).is_some();
            lock(&self.arrivals).count(can_be_compared);
        }
        match self.check(received, event) {
            Ok(sent) => self.count_genuine(received, now, window, event.sequence, sent),
            Err(mismatch) if counts_now => lock(&self.tally).count_mismatch(mismatch),
            Err(_) => {}
        }
    }

    /// Counts an event that is exactly as its sender sent it.
    fn count_genuine(
        &self,
        received: &mut ReceivedEvents,
        now: u64,
        window: Window,
        sequence: u64,
        SentEvent { number, scheduled, sender }: SentEvent,
    ) {
        let in_order = received.last.is_none_or(|last| sequence > last);
        received.last = received.last.max(Some(sequence));
        let Some(seen) = received.seen.get_mut(sender as usize) else { return };
        let novelty = seen.record(number.into());
        if !window.contains(scheduled) {
            return;
        }
        let mut tally = lock(&self.tally);
        tally.duplicated += u64::from(!novelty.is_new());
        tally.reordered += u64::from(!in_order || novelty == Novelty::Reordered);
        if novelty.is_new() {
            tally.delivered += 1;
            tally.latency.record(now.saturating_sub(scheduled));
        }
    }

    /// Returns the counts so far.
    pub(crate) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Returns how many events arrived so far, and how many of them were verified.
    pub(crate) fn arrivals(&self) -> Arrivals {
        *lock(&self.arrivals)
    }

    /// Returns whether every expected event has arrived.
    pub(crate) fn complete(&self) -> bool {
        let tally = lock(&self.tally);
        tally.delivered >= tally.expected
    }

    fn headset(&self, room: u32, sender: u32) -> usize {
        (u64::from(room) * u64::from(self.room_size) + u64::from(sender)) as usize
    }

    /// Returns what was recorded of an event when it was sent.
    ///
    /// # Errors
    ///
    /// [`Mismatch::Corrupt`] if no sender sent these bytes, [`Mismatch::Misrouted`] if the event
    /// was not meant for this receiver.
    fn check(&self, received: &ReceivedEvents, event: &EventDown) -> Result<SentEvent, Mismatch> {
        let owner = received.owner;
        let peers = self.peers.get(owner.room as usize).ok_or(Mismatch::Misrouted)?;
        let peer = lock(peers).get(&event.peer).copied();
        let EventClaim { room, sender, number } =
            event_claim(&event.payload).ok_or(Mismatch::Corrupt)?;
        let kind = EventKind::of(event.channel).ok_or(Mismatch::Corrupt)?;
        let source = Source { room, sender, ..owner };
        let mut payload = Vec::with_capacity(event.payload.len());
        source.event(kind, number, &mut payload);
        if payload != event.payload {
            return Err(Mismatch::Corrupt);
        }
        if room != owner.room || peer != Some(sender) || sender == owner.sender {
            return Err(Mismatch::Misrouted);
        }
        let sent = self.sent.get(self.headset(room, sender)).ok_or(Mismatch::Corrupt)?;
        let scheduled = lock(sent).get(number as usize).copied().ok_or(Mismatch::Corrupt)?;
        Ok(SentEvent { number, scheduled, sender })
    }
}

/// An event as its sender recorded it.
struct SentEvent {
    number: u32,
    /// µs.
    scheduled: u64,
    /// The sender's number inside the room.
    sender: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start: 100, end: 200 };

    fn event(plan: &Plan, headset: u32, number: u32, sequence: u64) -> EventDown {
        let mut payload = Vec::new();
        let kind = EventKind::ALL[number as usize % EventKind::ALL.len()];
        plan.source(headset).event(kind, number, &mut payload);
        let peer = 10 + headset;
        EventDown { peer, roster_version: 1, sequence, channel: kind.channel(), piece: 0, payload }
    }

    #[test]
    fn counts_each_event_once_and_knows_whose_it_is() {
        let plan = Plan::of_two_rooms();
        let ledger = EventLedger::new(&plan);
        let mut receivers: Vec<_> =
            (0..4).map(|headset| ledger.admit(plan.source(headset), 10 + headset)).collect();
        for (number, at) in [99, 100, 199, 200].into_iter().enumerate() {
            ledger.record_sent(plan.source(0), number as u32, at, WINDOW);
        }
        let record_received = |received: &mut ReceivedEvents, event: &EventDown| {
            let before = ledger.tally().delivered;
            ledger.record_received(received, 150, WINDOW, event);
            ledger.tally().delivered > before
        };
        assert!(!ledger.complete());
        let is_new: Vec<_> = (0..4)
            .map(|number| {
                record_received(&mut receivers[1], &event(&plan, 0, number, number.into()))
            })
            .collect();
        assert_eq!(is_new, [false, true, true, false]);
        assert!(ledger.complete());
        record_received(&mut receivers[1], &event(&plan, 0, 2, 2));
        record_received(&mut receivers[2], &event(&plan, 0, 2, 2));
        record_received(&mut receivers[1], &EventDown { peer: 11, ..event(&plan, 0, 2, 9) });
        let mut broken = event(&plan, 0, 2, 9);
        broken.payload[30] ^= 1;
        record_received(&mut receivers[1], &broken);
        record_received(&mut receivers[1], &event(&plan, 0, 77, 9));
        for channel in [1, 200] {
            record_received(&mut receivers[1], &EventDown { channel, ..event(&plan, 0, 2, 9) });
        }
        let tally = ledger.tally();
        assert_eq!((tally.sent, tally.expected, tally.delivered), (2, 2, 2));
        assert_eq!((tally.duplicated, tally.reordered), (1, 1));
        assert_eq!((tally.misrouted, tally.corrupt), (2, 4));
    }
}
