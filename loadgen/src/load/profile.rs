//! The profiles: who says what, and how often. When exactly, `schedule.rs` says.

use std::num::NonZeroU32;

use super::channel::Channel;

/// Poses a second where neither the profile nor the command line says otherwise.
const POSE_HZ: f64 = 30.0;
/// Voice packets a second while somebody talks: 20 ms each.
pub(crate) const VOICE_HZ: f64 = 50.0;
/// Movements a second of an object while it is held.
const OBJECT_HZ: f64 = 20.0;
const POINTER_HZ: f64 = 30.0;
/// Pieces of a stroke a second while it is drawn.
const STROKE_HZ: f64 = 10.0;
/// Reliable notices a second of each headset.
const NOTICES_PER_S: f64 = 0.3;
/// Properties a second that each headset sets: one a minute.
const PROPERTIES_PER_S: f64 = 1.0 / 60.0;
/// Headsets of a room where the command line does not say.
const ROOM_SIZE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// Between the two and the four that a remote expert's session has.
const ASSIST_ROOM_SIZE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
/// Speakers of an auditorium.
const SPEAKERS: u32 = 3;

/// A profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Everyone tracked, a quarter talks, events now and then.
    Meeting,
    /// A meeting in which one in twenty holds and moves an object, and properties are set.
    Training,
    /// Everyone tracked, seats on a 1 m grid, three speakers.
    Auditorium,
    /// Rooms of three with pointers, strokes and voice; poses only with --pose-hz.
    Assist,
    /// Joined, keep-alive only.
    Idle,
}

/// Who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    Nobody,
    /// Everybody, a quarter of the time.
    InTurns,
    /// The first so many of each room, all the time.
    Speakers(u32),
}

/// What a profile asks of each headset. All rates a second, 0 for none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) pose_hz: f64,
    pub(crate) talk: Talk,
    /// While an object is held.
    pub(crate) object_hz: f64,
    pub(crate) pointer_hz: f64,
    pub(crate) notices_per_s: f64,
    pub(crate) properties_per_s: f64,
    /// While a stroke is drawn.
    pub(crate) stroke_hz: f64,
    /// Whether what comes from the nearest seats is counted for itself.
    pub(crate) interest: bool,
}

/// Keep-alive only.
const SILENCE: Traffic = Traffic {
    pose_hz: 0.0,
    talk: Talk::Nobody,
    object_hz: 0.0,
    pointer_hz: 0.0,
    notices_per_s: 0.0,
    properties_per_s: 0.0,
    stroke_hz: 0.0,
    interest: false,
};

impl Profile {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Meeting => "meeting",
            Profile::Training => "training",
            Profile::Auditorium => "auditorium",
            Profile::Assist => "assist",
            Profile::Idle => "idle",
        }
    }

    /// Headsets of a room unless the command line says otherwise.
    pub(crate) fn room_size(self) -> NonZeroU32 {
        if self == Profile::Assist { ASSIST_ROOM_SIZE } else { ROOM_SIZE }
    }

    /// Its traffic, with poses at `pose_hz` if that is given.
    pub(crate) fn traffic(self, pose_hz: Option<f64>) -> Traffic {
        let meeting = Traffic {
            pose_hz: pose_hz.unwrap_or(POSE_HZ),
            talk: Talk::InTurns,
            notices_per_s: NOTICES_PER_S,
            ..SILENCE
        };
        match self {
            Profile::Meeting => meeting,
            Profile::Training => {
                Traffic { object_hz: OBJECT_HZ, properties_per_s: PROPERTIES_PER_S, ..meeting }
            }
            Profile::Auditorium => {
                Traffic { talk: Talk::Speakers(SPEAKERS), interest: true, ..meeting }
            }
            Profile::Assist => Traffic {
                pose_hz: pose_hz.unwrap_or(0.0),
                talk: Talk::InTurns,
                pointer_hz: POINTER_HZ,
                stroke_hz: STROKE_HZ,
                ..SILENCE
            },
            Profile::Idle => SILENCE,
        }
    }
}

impl Traffic {
    /// Messages a second at most that a headset says on a channel; 0 when the profile has none.
    pub(crate) fn hz(&self, channel: Channel) -> f64 {
        match channel {
            Channel::Pose => self.pose_hz,
            Channel::Voice if self.talk == Talk::Nobody => 0.0,
            Channel::Voice => VOICE_HZ,
            Channel::Object => self.object_hz,
            Channel::Pointer => self.pointer_hz,
        }
    }

    /// Whether the profile has a channel.
    pub(crate) fn has(&self, channel: Channel) -> bool {
        self.hz(channel) > 0.0
    }
}
