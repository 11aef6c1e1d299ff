//! The times at which a headset sends: a [`Schedule`] for the realtime plane, an [`EventSchedule`]
//! and a [`StateSchedule`] for the session. All schedules are pure functions of the seed. A late
//! send does not delay the next one (open loop).

use std::ops::Range;

use super::channel::{Channel, DueMessage};
use super::payload::{EventKind, HEADSETS_PER_OBJECT, Source, Stream};
use super::plan::Plan;
use super::profile::{Talk, Traffic};
use super::ticks::{Poisson, Ticks, TurnLength, Turns};

/// The average time that a headset talks, and the average pause after it, µs. A quarter of all
/// headsets talk at any moment.
const TALK_MEAN: f64 = 1_000_000.0;
const SILENCE_MEAN: f64 = 3_000_000.0;
/// The shortest and the longest time that an object is held, µs.
const HOLD: (f64, f64) = (2_000_000.0, 5_000_000.0);
/// The shortest and the longest time of a stroke, and of the pause after it, µs.
const STROKE: TurnLength = TurnLength::Uniform(1_000_000.0, 3_000_000.0);
const STROKE_PAUSE: TurnLength = TurnLength::Uniform(2_000_000.0, 6_000_000.0);

/// How often per second a held object's position is written to the room's state. Late joiners need
/// the position in the state; the other peers receive the movements on the realtime plane. The rate
/// is high enough that every hold writes the position at least once.
const STATE_POSITION_HZ: f64 = 1.0;

/// The schedule of a headset's realtime messages.
#[derive(Clone, Debug)]
pub(crate) struct Schedule([Option<Ticks>; Channel::COUNT]);

impl Schedule {
    /// Creates the schedule of a headset from `start` (µs) on.
    pub(crate) fn new(plan: &Plan, source: Source, start: u64) -> Self {
        Schedule(Channel::ALL.map(|channel| {
            let (turns, taker) = match channel {
                Channel::Pose => (always(source, Stream::Phase, start), 0),
                Channel::Voice => (talk(source, plan.traffic.talk, start)?, 0),
                Channel::Object => holds(plan, source),
                Channel::Pointer => (always(source, Stream::PointerPhase, start), 0),
            };
            Ticks::new(turns, taker, plan.traffic.hz(channel), start)
        }))
    }

    /// Returns when the next message is due, µs.
    pub(crate) fn due(&self) -> u64 {
        self.0.iter().flatten().map(Ticks::due).min().unwrap_or(u64::MAX)
    }

    /// Returns the next message if it is due by `now`. The schedule then advances.
    pub(crate) fn take(&mut self, now: u64) -> Option<DueMessage> {
        let channels = Channel::ALL.into_iter().zip(&mut self.0);
        let ticking = channels.filter_map(|(channel, ticks)| Some((channel, ticks.as_mut()?)));
        let (channel, ticks) = ticking.min_by_key(|(_, ticks)| ticks.due())?;
        let scheduled = ticks.due();
        (scheduled <= now).then(|| {
            let tick = ticks.take();
            DueMessage { channel, number: tick.number, scheduled, first: tick.first }
        })
    }

    /// Returns how many messages of each channel are due in a window, µs.
    pub(crate) fn count(mut self, window: Range<u64>) -> [u64; Channel::COUNT] {
        let mut counts = [0; Channel::COUNT];
        if window.is_empty() {
            return counts;
        }
        while let Some(due) = self.take(window.end - 1) {
            counts[due.channel as usize] += u64::from(due.scheduled >= window.start);
        }
        counts
    }
}

fn always(source: Source, phase: Stream, start: u64) -> Turns {
    Turns::new(source.rng(phase), TurnLength::Endless, TurnLength::Exponential(0.0), start)
}

/// Returns when a headset talks; `None` if it never does.
fn talk(source: Source, talk: Talk, start: u64) -> Option<Turns> {
    let silence = TurnLength::Exponential(SILENCE_MEAN);
    let length = match talk {
        Talk::Nobody => return None,
        Talk::InTurns => TurnLength::Exponential(TALK_MEAN),
        Talk::Speakers(count) if source.sender < count => TurnLength::Endless,
        Talk::Speakers(_) => return None,
    };
    Some(Turns::new(source.rng(Stream::Talk), length, silence, start))
}

/// Returns when the headsets that share an object hold it, and the headset's number among them. All
/// of them compute the same turns, so that an object has at most one holder. 5 % of the headsets hold an
/// object on average: if fewer than [`HEADSETS_PER_OBJECT`] headsets share one, it has pauses in
/// which nobody holds it.
fn holds(plan: &Plan, source: Source) -> (Turns, u32) {
    let first = source.object() * HEADSETS_PER_OBJECT;
    let sharers = plan.members(source.room).saturating_sub(first).clamp(1, HEADSETS_PER_OBJECT);
    let idle = f64::from(HEADSETS_PER_OBJECT - sharers) / f64::from(sharers);
    let pause = TurnLength::Exponential(idle * (HOLD.0 + HOLD.1) / 2.0);
    let object = Source { sender: source.object(), ..source };
    let length = TurnLength::Uniform(HOLD.0, HOLD.1);
    // The epoch is the same for all members of the room, because it decides when objects change
    // hands.
    let turns = Turns::new(object.rng(Stream::Grab), length, pause, plan.schedule_epoch);
    (turns.shared_by(sharers), source.sender - first)
}

/// The schedule of a headset's reliable events.
#[derive(Clone, Debug)]
pub(crate) struct EventSchedule {
    notices: Option<Poisson>,
    strokes: Option<Ticks>,
}

impl EventSchedule {
    /// Creates the schedule from `start` (µs) on.
    pub(crate) fn new(source: Source, traffic: &Traffic, start: u64) -> Self {
        let poisson = |stream, per_s| Poisson::new(source.rng(stream), per_s, start);
        let turns = Turns::new(source.rng(Stream::Draw), STROKE, STROKE_PAUSE, start);
        EventSchedule {
            notices: poisson(Stream::Pace, traffic.notices_per_s),
            strokes: Ticks::new(turns, 0, traffic.stroke_hz, start),
        }
    }

    /// Returns the next event and when it is due, µs. The schedule advances. `None` if there are no
    /// events.
    pub(crate) fn take(&mut self) -> Option<(u64, EventKind)> {
        let notice = self.notices.as_ref().map(|n| (n.due(), EventKind::Notice));
        let stroke = self.strokes.as_ref().map(|s| (s.due(), EventKind::Stroke));
        let next = [notice, stroke].into_iter().flatten().min_by_key(|(due, _)| *due)?;
        match next.1 {
            EventKind::Notice => self.notices.iter_mut().for_each(Poisson::take),
            EventKind::Stroke => self.strokes.iter_mut().for_each(|strokes| {
                strokes.take();
            }),
        }
        Some(next)
    }

    /// Returns how many events are due in a window, µs.
    pub(crate) fn count(mut self, window: Range<u64>) -> u64 {
        if window.is_empty() {
            return 0;
        }
        let dues = std::iter::from_fn(|| self.take().map(|(due, _)| due));
        dues.take_while(|due| *due < window.end).filter(|due| window.contains(due)).count() as u64
    }
}

/// A change of the room's shared state that a headset requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlannedChange {
    /// Claims the object that the headset shares.
    Claim,
    /// Sets the position of the held object.
    Move,
    /// Sets a property of the room.
    Property,
}

/// The schedule of a headset's changes of the shared state.
#[derive(Clone, Debug)]
pub(crate) struct StateSchedule {
    holds: Option<Ticks>,
    properties: Option<Poisson>,
}

impl StateSchedule {
    /// Creates the schedule from `start` (µs) on. An object is held at the same times as in
    /// [`Schedule::new`].
    pub(crate) fn new(plan: &Plan, source: Source, start: u64) -> Self {
        let (turns, taker) = holds(plan, source);
        let hz = if plan.traffic.has(Channel::Object) { STATE_POSITION_HZ } else { 0.0 };
        let pace = source.rng(Stream::PropertyPace);
        StateSchedule {
            holds: Ticks::new(turns, taker, hz, start),
            properties: Poisson::new(pace, plan.traffic.properties_per_s, start),
        }
    }

    /// Returns when the next change is due, µs.
    pub(crate) fn due(&self) -> u64 {
        let hold = self.holds.as_ref().map(Ticks::due);
        let property = self.properties.as_ref().map(Poisson::due);
        hold.into_iter().chain(property).min().unwrap_or(u64::MAX)
    }

    /// Returns the next change. The schedule advances.
    pub(crate) fn take(&mut self) -> Option<PlannedChange> {
        let due = self.due();
        if let Some(holds) = self.holds.as_mut().filter(|holds| holds.due() == due) {
            return Some(if holds.take().first {
                PlannedChange::Claim
            } else {
                PlannedChange::Move
            });
        }
        self.properties.as_mut().map(|properties| {
            properties.take();
            PlannedChange::Property
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::profile::Profile;

    const EPOCH: u64 = 5_000_000_000;
    const SECOND: u64 = 1_000_000;

    fn source(seed: u64, sender: u32) -> Source {
        Source { seed, room: 0, sender }
    }

    /// Returns the plan of one room of `members`.
    fn plan(profile: Profile, members: u32) -> Plan {
        Plan {
            headsets: members,
            room_size: members,
            traffic: profile.traffic(None),
            schedule_epoch: EPOCH,
            ..Plan::of_two_rooms()
        }
    }

    /// Returns every message that a headset sends in the first `seconds`.
    fn messages(profile: Profile, members: u32, source: Source, seconds: u64) -> Vec<DueMessage> {
        let mut schedule = Schedule::new(&plan(profile, members), source, EPOCH);
        let end = EPOCH + seconds * SECOND;
        let dues: Vec<_> = std::iter::from_fn(|| {
            let due = schedule.due();
            let taken = schedule.take(end - 1);
            assert_eq!(taken.map_or(due.max(end), |taken| taken.scheduled), due);
            taken
        })
        .collect();
        assert!(dues.is_sorted_by_key(|due| due.scheduled));
        dues
    }

    /// Returns how many messages all members send on a channel, as a share of its full rate.
    fn share(profile: Profile, channel: Channel, members: u32, seeds: u64, seconds: u64) -> f64 {
        let hz = profile.traffic(None).hz(channel);
        let all = (0..seeds).flat_map(|seed| (0..members).map(move |sender| source(seed, sender)));
        let dues = all.flat_map(|source| messages(profile, members, source, seconds));
        let count = dues.filter(|due| due.channel == channel).count();
        count as f64 / (hz * (seeds * u64::from(members) * seconds) as f64)
    }

    #[test]
    fn a_meeting_s_quarter_talks_and_everyone_is_tracked() {
        let voice = share(Profile::Meeting, Channel::Voice, 40, 10, 60);
        // A spurt's last packet covers 10 ms beyond its end on average: 1 % of a spurt.
        assert!((voice - 0.25).abs() < 0.015, "{voice}");
        let pose = share(Profile::Meeting, Channel::Pose, 40, 1, 60);
        assert!((pose - 1.0).abs() < 0.001, "{pose}");
    }

    #[test]
    fn talk_is_spread_over_the_whole_time() {
        for second in [0, 1, 10] {
            let from = EPOCH + second * SECOND;
            let packets: usize = (0..2_000)
                .map(|sender| {
                    let dues = messages(Profile::Meeting, 2_000, source(3, sender), second + 1);
                    let voice = dues.iter().filter(|due| due.channel == Channel::Voice);
                    voice.filter(|due| due.scheduled >= from).count()
                })
                .sum();
            let share = packets as f64 / 100_000.0;
            assert!((share - 0.25).abs() < 0.03, "second {second}: {share}");
        }
    }

    #[test]
    fn schedules_are_pure() {
        for profile in [Profile::Training, Profile::Auditorium, Profile::Assist] {
            let once = messages(profile, 10, source(1, 2), 30);
            assert_eq!(once, messages(profile, 10, source(1, 2), 30));
            assert_ne!(once, messages(profile, 10, source(2, 2), 30));
            assert_ne!(once, messages(profile, 10, source(1, 1), 30));
        }
        assert!(messages(Profile::Idle, 10, source(1, 2), 30).is_empty());
    }

    #[test]
    fn a_count_is_of_the_messages_that_are_taken() {
        let window = EPOCH + 10 * SECOND..EPOCH + 20 * SECOND;
        for profile in [Profile::Training, Profile::Assist, Profile::Idle] {
            let schedule = Schedule::new(&plan(profile, 10), source(1, 2), EPOCH);
            let dues = messages(profile, 10, source(1, 2), 20);
            let of = |channel| {
                let due = dues.iter().filter(|due| due.channel == channel);
                due.filter(|due| window.contains(&due.scheduled)).count() as u64
            };
            assert_eq!(schedule.clone().count(window.clone()), Channel::ALL.map(of));
            assert_eq!(schedule.count(window.end..window.end), [0; Channel::COUNT]);
            let events = EventSchedule::new(source(1, 2), &profile.traffic(None), EPOCH);
            let mut taken = events.clone();
            let dues = std::iter::from_fn(|| taken.take().filter(|(due, _)| *due < window.end));
            let due = dues.filter(|(due, _)| *due >= window.start).count() as u64;
            assert_eq!(events.count(window.clone()), due);
        }
    }

    #[test]
    fn numbers_count_up_on_each_channel() {
        for profile in [Profile::Training, Profile::Assist] {
            for channel in Channel::ALL {
                let dues = messages(profile, 10, source(1, 2), 120);
                let numbers = dues.iter().filter(|due| due.channel == channel);
                assert!(numbers.enumerate().all(|(k, due)| due.number == k as u64));
            }
        }
    }

    #[test]
    fn one_in_twenty_holds_an_object_in_rooms_of_any_size() {
        for (members, seeds) in [(5, 80), (10, 40), (20, 20), (50, 8)] {
            let share = share(Profile::Training, Channel::Object, members, seeds, 200);
            assert!((share - 0.05).abs() < 0.005, "rooms of {members}: {share}");
        }
    }

    #[test]
    fn an_object_has_at_most_one_holder() {
        for (seed, members) in [(1, 10), (2, 20), (3, 33), (4, 60)] {
            let mut moves: Vec<_> = (0..members)
                .flat_map(|sender| {
                    let holder_source = source(seed, sender);
                    let dues = messages(Profile::Training, members, holder_source, 300);
                    let objects = dues.into_iter().filter(|due| due.channel == Channel::Object);
                    objects.map(move |due| (holder_source.object(), due.scheduled, sender))
                })
                .collect();
            moves.sort_unstable();
            let mut held_since = None;
            for pair in moves.windows(2) {
                let ((object, at, holder), (next_object, next_at, next_holder)) =
                    (pair[0], pair[1]);
                if object != next_object {
                    held_since = None;
                } else if holder != next_holder {
                    // A holder that lets go has held the object for 2-5 s, or longer after two
                    // turns in a row.
                    let held = held_since.map(|since| at - since);
                    assert!(held.is_none_or(|held| held >= 1_949_000), "{held:?}");
                    held_since = Some(next_at);
                }
            }
        }
    }

    #[test]
    fn three_speak_in_an_auditorium_all_the_time() {
        for sender in 0..6 {
            let dues = messages(Profile::Auditorium, 100, source(1, sender), 60);
            let voice = dues.iter().filter(|due| due.channel == Channel::Voice).count();
            assert_eq!(voice, if sender < 3 { 3_000 } else { 0 }, "{sender}");
        }
    }

    #[test]
    fn assist_points_and_talks_without_poses() {
        assert!(!Profile::Assist.traffic(None).has(Channel::Pose));
        assert!(Profile::Assist.traffic(Some(30.0)).has(Channel::Pose));
        let pointer = share(Profile::Assist, Channel::Pointer, 3, 10, 60);
        assert!((pointer - 1.0).abs() < 0.001, "{pointer}");
        let voice = share(Profile::Assist, Channel::Voice, 3, 100, 60);
        assert!((voice - 0.25).abs() < 0.025, "{voice}");
    }

    /// Returns the times of one kind of event in `seconds`, for each of a thousand headsets.
    fn events(profile: Profile, kind: EventKind, seconds: u64) -> Vec<Vec<u64>> {
        let times = |sender| {
            let mut schedule = EventSchedule::new(source(1, sender), &profile.traffic(None), EPOCH);
            let until = EPOCH + seconds * SECOND;
            let events = std::iter::from_fn(|| schedule.take().filter(|(due, _)| *due < until));
            events.filter(|event| event.1 == kind).map(|event| event.0).collect()
        };
        (0..1_000).map(times).collect()
    }

    #[test]
    fn events_come_at_their_rates() {
        let count = |profile, kind| events(profile, kind, 60).concat().len();
        for profile in [Profile::Meeting, Profile::Training, Profile::Auditorium] {
            assert!((17_400..18_600).contains(&count(profile, EventKind::Notice)));
            assert_eq!(count(profile, EventKind::Stroke), 0);
        }
        assert_eq!(count(Profile::Assist, EventKind::Notice), 0);
        assert_eq!(EventSchedule::new(source(1, 1), &Profile::Idle.traffic(None), 0).take(), None);
    }

    #[test]
    fn the_state_is_asked_at_its_rates_and_in_every_hold() {
        let until = EPOCH + 60 * SECOND;
        let mut changes = Vec::new();
        let training = plan(Profile::Training, 1_000);
        for sender in 0..1_000 {
            let source = source(1, sender);
            let mut schedule = StateSchedule::new(&training, source, EPOCH);
            let dues = std::iter::from_fn(|| {
                let due = schedule.due();
                (due < until).then(|| (due, schedule.take().unwrap()))
            });
            let dues: Vec<_> = dues.collect();
            let moves = messages(Profile::Training, 1_000, source, 60);
            let grabs = moves.iter().filter(|due| due.channel == Channel::Object && due.first);
            let grabs: Vec<u64> = grabs.map(|due| due.scheduled).skip(1).collect();
            let claims = dues.iter().filter(|due| due.1 == PlannedChange::Claim).map(|due| due.0);
            // If a hold began before the start, either schedule may contain the rest of the hold.
            let claims: Vec<u64> =
                claims.filter(|due| grabs.first().is_some_and(|first| first <= due)).collect();
            assert_eq!(claims, grabs);
            changes.extend(dues.into_iter().map(|due| due.1));
        }
        let count = |ask| changes.iter().filter(|change| **change == ask).count();
        assert!((900..1_100).contains(&count(PlannedChange::Property)));
        // 50 of 1,000 headsets hold an object at any moment of the 60 s, each for 3.5 s on average.
        assert!(
            (2_700..3_600).contains(&(count(PlannedChange::Claim) + count(PlannedChange::Move)))
        );
        let meeting = plan(Profile::Meeting, 10);
        assert_eq!(StateSchedule::new(&meeting, source(1, 1), EPOCH).due(), u64::MAX);
    }

    #[test]
    fn strokes_come_in_bursts() {
        let strokes = events(Profile::Assist, EventKind::Stroke, 60);
        // On average a headset draws 2 s of every 6 s, at 10 Hz.
        let share = strokes.concat().len() as f64 / 200_000.0;
        assert!((share - 1.0).abs() < 0.05, "{share}");
        for times in strokes {
            let bursts: Vec<_> = times.chunk_by(|a, b| b - a < 100_002).collect();
            for burst in bursts.iter().skip(1).rev().skip(1) {
                assert!((10..=30).contains(&burst.len()), "{}", burst.len());
            }
            let pauses = bursts.windows(2).map(|pair| pair[1][0] - pair[0][pair[0].len() - 1]);
            assert!(pauses.into_iter().all(|pause| (2_000_000..6_100_002).contains(&pause)));
        }
    }
}
