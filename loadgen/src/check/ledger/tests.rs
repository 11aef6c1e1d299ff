//! The tests of the ledger.

use super::*;
use crate::check::arrivals::Arrivals;
use crate::check::gaps::Gaps;
use crate::check::nearest::NearPoses;
use crate::load::profile::{Profile, Traffic};
use crate::load::slot_plan::SlotPlan;

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
    for tally in &ledger.counts.channels {
        assert_eq!((tally.sent, tally.expected, tally.delivered), (2, 2, 2));
        assert_eq!((tally.duplicated, tally.corrupt, tally.misrouted), (2, 0, 0));
        assert_eq!(tally.latency.max(), 40);
    }
    assert_eq!((ledger.sent, ledger.delivered, ledger.counts.send_lag.max()), (16, 16, 3));
    assert_eq!(
        ledger.counts.near_poses,
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
    let object = &ledger.counts.channels[Channel::Object as usize];
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
    let object = &ledger.counts.channels[Channel::Object as usize];
    assert_eq!((object.delivered, object.corrupt), (1, 3));
}

#[test]
fn gaps_are_between_poses_of_one_sender_at_one_receiver() {
    let ledger = ledger();
    assert_eq!(ledger.close().gaps, Gaps { max: 1_000, over_1s: 0 }, "no pose has arrived");
    let mut ledger = self::ledger();
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
    assert_eq!(ledger.close().gaps, Gaps { max: 500, over_1s: 0 });
    assert_eq!(ledger_of(Profile::Idle.traffic(None)).close().gaps, Gaps::default());
}

#[test]
fn tells_late_wrong_and_misdirected_messages() {
    let mut ledger = ledger();
    let due = due(Channel::Pose, 0, 1_500);
    let payload = sent(&mut ledger, 0, &due);
    sent(&mut ledger, 2, &due);
    let late = WINDOW.end + REALTIME_WAIT + 1;
    ledger.record_received(1, late, &message(&due, 5, &payload));
    let counts = (ledger.counts.channels[0].delivered, ledger.counts.channels[0].late);
    assert_eq!(counts, (0, 1), "the message arrived too late to count as delivered");
    let other_room = Source { seed: 1, room: 1, sender: 0 };
    let mut other = Vec::new();
    due.payload(other_room, &mut other);
    ledger.record_received(1, 1_600, &message(&due, 5, &other));
    ledger.record_received(1, 1_600, &message(&due, 99, &payload));
    ledger.record_received(0, 1_600, &message(&due, 5, &payload));
    assert_eq!(
        ledger.counts.channels[0].misrouted, 3,
        "another room, an empty slot, the receiver's slot"
    );
    ledger.record_received(1, 1_600, &message(&due, 5, &payload[1..]));
    ledger.record_received(1, 1_600, &Message { key: 1, ..message(&due, 5, &payload) });
    ledger.record_received(1, 1_600, &Message { sequence: 7, ..message(&due, 5, &payload) });
    assert_eq!(ledger.counts.channels[0].corrupt, 3);
}

#[test]
fn a_message_that_arrives_when_clients_drop_it_is_late_and_not_corrupt() {
    let mut ledger = ledger_of(Profile::Meeting.traffic(None));
    ledger.window = Window { start: 0, end: 90_000_000 };
    let poses: Vec<_> = (0..2_400)
        .map(|number| due(Channel::Pose, number, number * 33_333))
        .map(|due| (due, sent(&mut ledger, 0, &due)))
        .collect();
    let arrive = |ledger: &mut Ledger, number: usize, age: u64| {
        let (due, payload) = &poses[number];
        ledger.record_received(1, due.scheduled + age, &message(due, 5, payload));
        let tally = &ledger.counts.channels[0];
        (tally.delivered, tally.late, tally.corrupt)
    };
    assert_eq!(arrive(&mut ledger, 2_399, TOO_OLD), (1, 0, 0), "a client takes it");
    assert_eq!(arrive(&mut ledger, 2_398, TOO_OLD + 1), (1, 1, 0), "a client drops it");
    assert_eq!(arrive(&mut ledger, 2_000, 5_000_000), (1, 2, 0), "after an outage");
    assert_eq!(arrive(&mut ledger, 7, 79_000_000), (1, 3, 0), "after the log has forgotten it");
    assert_eq!(ledger.counts.channels[0].latency.len(), 1, "a late message has no latency");
    assert_eq!(ledger.counts.arrivals.verified_share(), Some(1.0));
}

#[test]
fn what_could_not_be_compared_is_not_verified() {
    let mut ledger = ledger();
    let due = due(Channel::Pose, 0, 1_500);
    let payload = sent(&mut ledger, 0, &due);
    for (slot, arrival) in [(5, 1_600), (99, 1_600), (99, 900)] {
        ledger.record_received(1, arrival, &message(&due, slot, &payload));
    }
    let expected = Arrivals { arrived: 2, verified: 1, last: 1_600 };
    assert_eq!(ledger.counts.arrivals, expected, "nobody has slot 99; 900 is before the window");
}

/// Sends and receives 20,000 poses with a distortion, and returns the counts.
fn distorted(distortion: Option<Distortion>) -> MessageCounts {
    let plan = Plan { distortion, ..Plan::of_two_rooms() };
    // Ten messages of each sender arrive while one is delayed.
    let (start, period) = (1_000, 10_000);
    let window = Window { start, end: start + 10_000 * period };
    let mut ledger = Ledger::new(window, Arc::new(plan));
    for (room, sender) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        ledger.admit(Source { seed: 1, room, sender }, 5 + sender as u16, 1);
    }
    for number in 0..10_000 {
        let scheduled = start + number * period;
        let due = due(Channel::Pose, number, scheduled);
        for (sender, receiver) in [(0, 1), (1, 0)] {
            let (payload, arrival) = (sent(&mut ledger, sender, &due), scheduled + 100);
            ledger.record_received(receiver, arrival, &message(&due, 5 + sender as u16, &payload));
        }
    }
    ledger.close()
}

#[test]
fn each_distorted_message_is_found() {
    for (distortion, lost, misrouted, delayed) in [
        (None, 0, 0, 0),
        (Some(Distortion::Drop), 2, 0, 0),
        (Some(Distortion::Misroute), 2, 2, 0),
        (Some(Distortion::Delay), 0, 0, 2),
    ] {
        let counts = distorted(distortion);
        let pose = &counts.channels[Channel::Pose as usize];
        let on_time = pose.latency.count_between(0, 100);
        assert_eq!(counts.distorted, if distortion.is_some() { 2 } else { 0 }, "{distortion:?}");
        assert_eq!(pose.expected - pose.delivered, lost, "{distortion:?}");
        assert_eq!((pose.misrouted, pose.corrupt), (misrouted, 0), "{distortion:?}");
        assert_eq!(pose.delivered - on_time, delayed, "{distortion:?}");
        if delayed > 0 {
            assert!(pose.latency.max() >= 100_000, "{}", pose.latency.max());
        }
    }
}

#[test]
fn the_figures_over_time_are_those_of_the_slot_in_which_a_message_was_due() {
    let time_slots = SlotPlan { count: 2, length: 500 };
    let plan = Plan { time_slots, ..Plan::of_two_rooms() };
    let mut ledger = Ledger::new(WINDOW, Arc::new(plan));
    for (sender, slot) in [(0, 5), (1, 6)] {
        ledger.admit(Source { seed: 1, room: 0, sender }, slot, 1);
    }
    for (number, scheduled, arrives) in
        [(0, 999, true), (1, 1_499, true), (2, 1_500, true), (3, 1_999, false)]
    {
        let due = due(Channel::Pose, number, scheduled);
        let payload = sent(&mut ledger, 0, &due);
        if arrives {
            ledger.record_received(1, scheduled + 40, &message(&due, 5, &payload));
        }
    }
    let counts = ledger.close();
    let slots = &counts.channels[Channel::Pose as usize].slots.0;
    let counted: Vec<_> = slots.iter().map(|slot| (slot.expected, slot.delivered)).collect();
    assert_eq!(counted, [(1, 1), (2, 1)]);
    assert!(slots.iter().all(|slot| slot.latency.max() == 40));
    assert!(counts.channels[Channel::Object as usize].slots.0.is_empty());
}
