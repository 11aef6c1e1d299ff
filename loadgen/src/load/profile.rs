//! The profiles: which headsets send which messages, and how often. The exact times are in
//! `schedule.rs`.

use std::num::NonZeroU32;

use clap::ValueEnum;

use super::channel::Channel;

/// Poses a second, unless the profile or the command line says otherwise.
const POSE_HZ: f64 = 30.0;
/// Voice packets a second while a headset talks. Each holds 20 ms.
pub(crate) const VOICE_HZ: f64 = 50.0;
/// Movements a second of a held object.
const OBJECT_HZ: f64 = 20.0;
/// Pointers a second.
const POINTER_HZ: f64 = 30.0;
/// Pieces of a stroke a second while a headset draws.
const STROKE_HZ: f64 = 10.0;
/// Reliable notices a second from each headset.
const NOTICES_PER_S: f64 = 0.3;
/// Properties a second that each headset sets: one a minute.
const PROPERTIES_PER_S: f64 = 1.0 / 60.0;
/// Headsets in a room, unless the command line says otherwise.
const ROOM_SIZE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// Headsets in a room of `assist`. A remote expert's session has two to four.
const ASSIST_ROOM_SIZE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
/// Speakers in each room of an auditorium.
const SPEAKERS: u32 = 3;

/// A traffic profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Every headset sends poses, talks a quarter of the time, and sometimes sends an event.
    Meeting,
    /// Like meeting; in addition, one headset in twenty holds and moves an object, and all headsets
    /// set properties of the room.
    Training,
    /// Every headset sends poses from a seat on a 1 m grid, and three headsets of each room talk
    /// all the time.
    Auditorium,
    /// Rooms of 3: headsets send pointers, strokes and voice, and poses only with --pose-hz.
    Assist,
    /// Headsets join and send only keep-alives.
    Idle,
}

/// The headsets that talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// No headset talks.
    Nobody,
    /// Every headset talks a quarter of the time.
    InTurns,
    /// This many headsets of each room, the first ones, talk all the time.
    Speakers(u32),
}

/// The messages that each headset sends. All rates are per second; 0 means never.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) pose_hz: f64,
    pub(crate) talk: Talk,
    /// Movements of an object while the headset holds it.
    pub(crate) object_hz: f64,
    pub(crate) pointer_hz: f64,
    pub(crate) notices_per_s: f64,
    pub(crate) properties_per_s: f64,
    /// Pieces of a stroke while the headset draws.
    pub(crate) stroke_hz: f64,
    /// Whether poses from the nearest seats are counted separately.
    pub(crate) interest: bool,
}

/// No messages, only keep-alives.
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
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns the headsets in a room, unless the command line says otherwise.
    pub(crate) fn room_size(self) -> NonZeroU32 {
        if self == Profile::Assist { ASSIST_ROOM_SIZE } else { ROOM_SIZE }
    }

    /// Returns the profile's traffic. `pose_hz` replaces its rate of poses.
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
    /// Returns the largest number of messages a second that a headset sends on a channel; 0 if the
    /// profile does not use the channel.
    pub(crate) fn hz(&self, channel: Channel) -> f64 {
        match channel {
            Channel::Pose => self.pose_hz,
            Channel::Voice if self.talk == Talk::Nobody => 0.0,
            Channel::Voice => VOICE_HZ,
            Channel::Object => self.object_hz,
            Channel::Pointer => self.pointer_hz,
        }
    }

    /// Returns whether a headset sends anything at all.
    pub(crate) fn sends(&self) -> bool {
        let events = [self.notices_per_s, self.properties_per_s, self.stroke_hz];
        Channel::ALL.into_iter().any(|channel| self.has(channel))
            || events.iter().any(|hz| *hz > 0.0)
    }

    /// Returns whether the profile uses a channel.
    pub(crate) fn has(&self, channel: Channel) -> bool {
        self.hz(channel) > 0.0
    }
}
