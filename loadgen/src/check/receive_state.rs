//! What a receiver has received from one sender on one channel: which messages, the gaps between
//! them, and their age.

use super::ages::{Ages, Pair};
use super::gaps::Gaps;
use super::sequence::{Novelty, SequenceWindow};
use super::time_slots::ChannelSlots;
use crate::load::channel::{Channel, DueMessage};
use crate::load::slot_plan::SlotPlan;
use crate::shared::Window;

/// The messages that a receiver has received from one sender on one channel. The size is half a
/// cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(super) struct ReceiveState {
    seen: SequenceWindow,
    /// When the last message arrived, µs; 0 before the first message and on a channel without an
    /// age; [`CLOSED`] once the window is over for this sender and receiver.
    pub(super) last_arrival: u64,
}

const _: () = assert!(size_of::<ReceiveState>() == 32);

/// See [`ReceiveState::last_arrival`].
const CLOSED: u64 = u64::MAX;

/// Where the ages and gaps of a pair are recorded.
pub(super) struct PairRecorder<'a> {
    pub(super) pair: Pair,
    pub(super) window: Window,
    /// Time between two messages of the sender on this channel, µs.
    pub(super) period: f64,
    pub(super) ages: &'a mut Ages,
    /// The ages over time, if they are recorded.
    pub(super) slots: SlotRecorder<'a>,
    /// The gaps between poses; `None` for another channel.
    pub(super) gaps: Option<&'a mut Gaps>,
}

/// The slots of a channel, and how the window is divided.
pub(super) struct SlotRecorder<'a>(pub(super) SlotPlan, pub(super) &'a mut ChannelSlots);

impl SlotRecorder<'_> {
    /// Returns what records an age (µs) at a moment of the window (µs).
    fn recorder(self, window: Window) -> impl FnMut(u64, u64) {
        let SlotRecorder(plan, slots) = self;
        move |moment, age| {
            let slot = plan.slot(window, moment).and_then(|slot| slots.0.get_mut(slot));
            slot.into_iter().for_each(|slot| slot.ages.record(age));
        }
    }
}

impl ReceiveState {
    /// Records a message that a client does not drop as too old, and returns whether it is new.
    pub(super) fn record(
        &mut self,
        due: &DueMessage,
        arrival: u64,
        recorder: PairRecorder<'_>,
    ) -> Novelty {
        let newest = self.seen.newest();
        let novelty = self.seen.record(due.number);
        let is_new = novelty.is_new();
        if is_new && due.channel.has_age() && self.last_arrival != CLOSED {
            let newest = newest.map(|newest| recorder.due_of(due, newest));
            self.arrived(arrival, newest, recorder);
        }
        novelty
    }

    /// Records the age until a new message arrived, and the gap that ends with it. `newest` is when
    /// the newest message before it was due, µs.
    fn arrived(&mut self, arrival: u64, newest: Option<u64>, recorder: PairRecorder<'_>) {
        let window = recorder.window;
        if arrival >= window.end {
            recorder.close(self.last_arrival, newest);
            self.last_arrival = CLOSED;
            return;
        }
        let span = self.last_arrival.max(window.start)..arrival;
        recorder.ages.record(recorder.pair, span, newest, recorder.slots.recorder(window));
        match recorder.gaps {
            Some(gaps) => {
                gaps.arrival(&mut self.last_arrival, recorder.pair.together, arrival, window);
            }
            // The kernel's time stamps may go back when its clock is set.
            None => self.last_arrival = self.last_arrival.max(arrival),
        }
    }

    /// Records the age and the gap from the last message to the end of the window. `sent` is any
    /// message that the sender has sent; `None` if it has sent none.
    pub(super) fn close(&self, sent: Option<DueMessage>, recorder: PairRecorder<'_>) {
        if self.last_arrival != CLOSED {
            let newest = self.seen.newest().zip(sent);
            let newest = newest.map(|(newest, sent)| recorder.due_of(&sent, newest));
            recorder.close(self.last_arrival, newest);
        }
    }
}

impl<'a> PairRecorder<'a> {
    /// Returns the recorder of a channel, where `gaps` is used if that is the channel of poses.
    pub(super) fn new(
        channel: Channel,
        pair: Pair,
        window: Window,
        hz: f64,
        ages: &'a mut Ages,
        slots: SlotRecorder<'a>,
        gaps: &'a mut Gaps,
    ) -> Self {
        let gaps = (channel == Channel::Pose).then_some(gaps);
        PairRecorder { pair, window, period: 1e6 / hz, ages, slots, gaps }
    }

    /// Returns when message `number` was due, given another message of the same sender, µs.
    fn due_of(&self, other: &DueMessage, number: u64) -> u64 {
        let behind = other.number as f64 - number as f64;
        (other.scheduled as f64 - behind * self.period) as u64
    }

    fn close(self, last_arrival: u64, newest: Option<u64>) {
        let Window { start, end } = self.window;
        let also = self.slots.recorder(self.window);
        self.ages.record(self.pair, last_arrival.max(start)..end, newest, also);
        if let Some(gaps) = self.gaps {
            gaps.close(last_arrival, self.pair.together, self.window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::channels::Latency;

    const WINDOW: Window = Window { start: 10_000_000, end: 30_000_000 };
    /// Time between two poses, and from a pose to its arrival, µs.
    const PERIOD: u64 = 33_333;
    const DELAY: u64 = 5_000;

    /// Records nothing over time.
    fn unrecorded(slots: &mut ChannelSlots) -> SlotRecorder<'_> {
        SlotRecorder(SlotPlan::default(), slots)
    }

    /// Returns the ages, ms, at a receiver to which those poses of 40 s arrive for which `arrives`
    /// is true, given when they were due (µs) and their number.
    fn ages(arrives: impl Fn(u64, u64) -> bool) -> Latency {
        let (mut state, mut ages, mut gaps) =
            (ReceiveState::default(), Ages::default(), Gaps::default());
        let mut slots = ChannelSlots::default();
        let pair = Pair { receiver: 1, sender: 2, together: 1_000_000 };
        let mut last = None;
        for number in 0..1_200 {
            let scheduled = 1_000_000 + number * PERIOD;
            let due = DueMessage { channel: Channel::Pose, number, scheduled, first: false };
            last = Some(due);
            if arrives(scheduled, number) {
                let recorder = PairRecorder::new(
                    Channel::Pose,
                    pair,
                    WINDOW,
                    1e6 / PERIOD as f64,
                    &mut ages,
                    unrecorded(&mut slots),
                    &mut gaps,
                );
                state.record(&due, scheduled + DELAY, recorder);
            }
        }
        let hz = 1e6 / PERIOD as f64;
        state.close(
            last,
            PairRecorder::new(
                Channel::Pose,
                pair,
                WINDOW,
                hz,
                &mut ages,
                unrecorded(&mut slots),
                &mut gaps,
            ),
        );
        let samples = ages.samples().len();
        assert!((205..=207).contains(&samples), "one each 97 ms of the window's 20 s: {samples}");
        Latency::new(ages.samples())
    }

    fn assert_near(found: Option<f64>, expected: f64, tolerance: f64) {
        assert!(found.is_some_and(|found| (found - expected).abs() < tolerance), "{found:?}");
    }

    #[test]
    fn if_every_message_arrives_the_age_is_the_delay_and_half_a_period() {
        let all = ages(|_, _| true);
        assert_near(all.p50, 5.0 + 33.3 / 2.0, 1.0);
        assert_near(all.max, 5.0 + 33.3, 1.0);
    }

    #[test]
    fn withholding_messages_raises_the_age() {
        let half = ages(|_, number| number.is_multiple_of(2));
        assert_near(half.p50, 5.0 + 33.3, 1.5);
        assert_near(half.max, 5.0 + 66.7, 1.5);
        let tenth = ages(|_, number| number.is_multiple_of(10));
        assert_near(tenth.p50, 5.0 + 333.3 / 2.0, 5.0);
    }

    #[test]
    fn a_sender_that_is_no_longer_heard_becomes_older_until_the_window_ends() {
        let stopped = ages(|scheduled, _| scheduled < 25_000_000);
        assert_near(stopped.max, 5_000.0, 120.0);
        assert_near(stopped.p99, 4_800.0, 120.0);
        let never_heard = ages(|_, _| false);
        assert_near(never_heard.max, 29_000.0, 120.0);
        assert!(never_heard.p50.is_some_and(|p50| p50 > 18_000.0));
        let heard_after_the_window = ages(|scheduled, _| scheduled >= WINDOW.end);
        assert_eq!(heard_after_the_window, never_heard);
    }

    #[test]
    fn a_message_that_was_overtaken_does_not_change_the_age() {
        let (mut state, mut ages, mut gaps) =
            (ReceiveState::default(), Ages::default(), Gaps::default());
        let mut slots = ChannelSlots::default();
        let pair = Pair { receiver: 1, sender: 2, together: 1 };
        let pose = |number| DueMessage {
            channel: Channel::Pose,
            number,
            scheduled: 10_000_000 + number * 1_000_000,
            first: false,
        };
        for (number, arrival) in [(1, 11_000_000), (0, 12_000_000), (2, 20_000_000)] {
            let recorder = PairRecorder::new(
                Channel::Pose,
                pair,
                WINDOW,
                1.0,
                &mut ages,
                unrecorded(&mut slots),
                &mut gaps,
            );
            state.record(&pose(number), arrival, recorder);
        }
        assert_near(Latency::new(ages.samples()).max, 11_000.0, 2_100.0);
        let at_first = ages.samples().count_between(9_900_000, 11_000_000);
        let between = ages.samples().count_between(0, 9_000_000);
        assert!(between > 90 && at_first > 9, "{between} {at_first}");
    }
}
