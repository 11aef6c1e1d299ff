//! Who sends what, and when: the profiles and their seeded, open-loop schedules.

use crate::payload::{Source, Stream};

/// µs of one voice packet: 50 a second.
const VOICE_PERIOD: f64 = 20_000.0;
/// µs that somebody talks, and is silent, on average: a quarter talk at any moment.
const TALK_MEAN: f64 = 1_000_000.0;
const SILENCE_MEAN: f64 = 3_000_000.0;
/// Reliable events a second of each headset.
const EVENTS_PER_S: f64 = 0.3;

/// A profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Everyone tracked, a quarter talks, events now and then.
    Meeting,
    /// Joined, keep-alive only.
    Idle,
}

/// What a profile asks of each headset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Traffic {
    /// Poses a second, 0 for none.
    pub(crate) pose_hz: f64,
    /// Talks a quarter of the time.
    pub(crate) voice: bool,
    /// Events a second, 0 for none.
    pub(crate) events_per_s: f64,
}

impl Profile {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        match self {
            Profile::Meeting => "meeting".into(),
            Profile::Idle => "idle".into(),
        }
    }

    /// Its traffic, with poses at `pose_hz`.
    pub(crate) fn traffic(self, pose_hz: f64) -> Traffic {
        match self {
            Profile::Meeting => Traffic { pose_hz, voice: true, events_per_s: EVENTS_PER_S },
            Profile::Idle => Traffic { pose_hz: 0.0, voice: false, events_per_s: 0.0 },
        }
    }
}

/// A moment in µs, rounded from the exact one so that no error adds up.
fn whole(micros: f64) -> u64 {
    micros as u64
}

/// The times of a headset's poses, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct PoseSchedule {
    first: f64,
    period: f64,
    next: u64,
}

impl PoseSchedule {
    /// Poses from `start` (µs) on, the first within one period by the source's own phase.
    pub(crate) fn new(source: Source, start: u64, hz: f64) -> Option<Self> {
        let period = 1_000_000.0 / hz;
        let phase = source.rng(Stream::Phase).f64() * period;
        (hz > 0.0).then_some(Self { first: start as f64 + phase, period, next: 0 })
    }

    /// When the next pose is due, µs.
    pub(crate) fn due(&self) -> u64 {
        whole(self.first + self.next as f64 * self.period)
    }

    /// That pose's number; the schedule moves on, however late it was.
    pub(crate) fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

/// The times of a headset's voice packets: spurts and silences of exponential length.
#[derive(Clone, Debug)]
pub(crate) struct VoiceSchedule {
    rng: fastrand::Rng,
    spurt_start: f64,
    spurt_end: f64,
    in_spurt: u64,
    next: u64,
}

/// A voice packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoicePacket {
    /// Its number.
    pub(crate) number: u64,
    /// The first of its spurt.
    pub(crate) first: bool,
}

impl VoiceSchedule {
    /// Voice from `start` (µs) on. A quarter of the headsets begin in the middle of a spurt, the
    /// exponential's rest being an exponential again.
    pub(crate) fn new(source: Source, start: u64) -> Self {
        let mut rng = source.rng(Stream::Talk);
        let talking = rng.f64() < TALK_MEAN / (TALK_MEAN + SILENCE_MEAN);
        let wait =
            if talking { rng.f64() * VOICE_PERIOD } else { exponential(&mut rng, SILENCE_MEAN) };
        let spurt_start = start as f64 + wait;
        let spurt_end = spurt_start + exponential(&mut rng, TALK_MEAN);
        Self { rng, spurt_start, spurt_end, in_spurt: 0, next: 0 }
    }

    fn exact_due(&self) -> f64 {
        self.spurt_start + self.in_spurt as f64 * VOICE_PERIOD
    }

    /// When the next packet is due, µs.
    pub(crate) fn due(&self) -> u64 {
        whole(self.exact_due())
    }

    /// That packet; the schedule moves on.
    pub(crate) fn take(&mut self) -> VoicePacket {
        let packet = VoicePacket { number: self.next, first: self.in_spurt == 0 };
        self.next += 1;
        self.in_spurt += 1;
        if self.exact_due() >= self.spurt_end {
            self.spurt_start = self.spurt_end + exponential(&mut self.rng, SILENCE_MEAN);
            self.spurt_end = self.spurt_start + exponential(&mut self.rng, TALK_MEAN);
            self.in_spurt = 0;
        }
        packet
    }
}

/// The times of a headset's events: a Poisson process.
#[derive(Clone, Debug)]
pub(crate) struct EventSchedule {
    rng: fastrand::Rng,
    mean: f64,
    due: f64,
}

impl EventSchedule {
    /// Events from `start` (µs) on.
    pub(crate) fn new(source: Source, start: u64, per_s: f64) -> Option<Self> {
        let mut rng = source.rng(Stream::Pace);
        let mean = 1_000_000.0 / per_s;
        let due = start as f64 + exponential(&mut rng, mean);
        (per_s > 0.0).then_some(Self { rng, mean, due })
    }

    /// When the next event is due, µs.
    pub(crate) fn due(&self) -> u64 {
        whole(self.due)
    }

    /// Moves on to the one after it.
    pub(crate) fn take(&mut self) {
        self.due += exponential(&mut self.rng, self.mean);
    }
}

fn exponential(rng: &mut fastrand::Rng, mean: f64) -> f64 {
    -(1.0 - rng.f64()).ln() * mean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(sender: u32) -> Source {
        Source { seed: 3, room: 0, sender }
    }

    #[test]
    fn a_quarter_talks() {
        let seconds = 60;
        let mut packets = 0u64;
        for sender in 0..400 {
            let mut voice = VoiceSchedule::new(source(sender), 1_000);
            while voice.due() < 1_000 + seconds * 1_000_000 {
                voice.take();
                packets += 1;
            }
        }
        let share = packets as f64 / (400 * seconds * 50) as f64;
        // A spurt's last packet covers 10 ms beyond its end on average: 1 % of a spurt.
        assert!((share - 0.25).abs() < 0.015, "{share}");
    }

    #[test]
    fn talk_is_spread_over_the_whole_time() {
        for second in [0, 1, 10] {
            let (from, to) = (second * 1_000_000, (second + 1) * 1_000_000);
            let mut packets = 0u64;
            for sender in 0..2_000 {
                let mut voice = VoiceSchedule::new(source(sender), 0);
                while voice.due() < to {
                    packets += u64::from(voice.due() >= from);
                    voice.take();
                }
            }
            let share = packets as f64 / 100_000.0;
            assert!((share - 0.25).abs() < 0.03, "second {second}: {share}");
        }
    }

    #[test]
    fn the_schedule_is_open_loop_and_pure() {
        let times = || {
            let mut poses = PoseSchedule::new(source(1), 500, 30.0).unwrap();
            let mut voice = VoiceSchedule::new(source(1), 500);
            let pose = (0..300).map(|_| (poses.due(), poses.take()).0).collect::<Vec<_>>();
            let voice = (0..300).map(|_| (voice.due(), voice.take())).collect::<Vec<_>>();
            (pose, voice)
        };
        assert_eq!(times(), times());
        let (pose, voice) = times();
        // Whenever they are taken, the times stay on their grid.
        for (k, due) in pose.iter().enumerate() {
            assert!(due.abs_diff(pose[0] + k as u64 * 1_000_000 / 30) <= 1, "{k}");
        }
        assert!(pose[0] - 500 < 33_334);
        for pair in voice.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert!(pair[1].1.first || (19_999..=20_001).contains(&gap), "{gap}");
        }
        assert!(PoseSchedule::new(source(1), 0, 0.0).is_none());
    }

    #[test]
    fn events_come_at_their_rate() {
        let mut count = 0;
        for sender in 0..1_000 {
            let mut events = EventSchedule::new(source(sender), 0, EVENTS_PER_S).unwrap();
            while events.due() < 20_000_000 {
                events.take();
                count += 1;
            }
        }
        assert!((5_700..6_300).contains(&count), "{count}");
        assert!(EventSchedule::new(source(1), 0, 0.0).is_none());
    }
}
