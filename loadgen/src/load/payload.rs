//! The payloads that headsets send. Every payload is a pure function of its sender and its number,
//! so that a receiver can compute it again and compare every byte.

use std::ops::RangeInclusive;

use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::realtime::voice::{SPURT_START, Voice};

/// Bytes of a voice payload: 20 ms of Opus at 24 kHz and 30 kbit/s.
pub(crate) const VOICE_BYTES: usize = 75;
/// The length of a property's value, bytes.
const PROPERTY_BYTES: RangeInclusive<usize> = 60..=400;
/// Size of the head of an event's payload, bytes: room, sender and number. Random bytes follow.
const EVENT_HEAD: usize = 12;
/// Seats in one row of a room. Seats and rows are 1 m apart.
const ROW: u32 = 32;
/// Headsets that share one object. One of them holds the object at a time, so 5 % of all headsets
/// hold an object.
pub(crate) const HEADSETS_PER_OBJECT: u32 = 20;

/// A headset as a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The run's seed.
    pub(crate) seed: u64,
    /// The room's number.
    pub(crate) room: u32,
    /// The sender's number inside the room.
    pub(crate) sender: u32,
}

/// The random streams of one source, named after what they decide. Each stream has its own seed, so
/// that no two are correlated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Poses.
    Pose = 1,
    /// Voice packets.
    Voice = 2,
    /// Events.
    Event = 3,
    /// When a headset talks.
    Talk = 4,
    /// When a headset sends notices.
    Pace = 5,
    /// When a headset sends its first pose.
    Phase = 6,
    /// The fate of realtime datagrams from the headset to the server in a simulated network.
    Up = 7,
    /// The fate of realtime datagrams from the server to the headset in a simulated network.
    Down = 8,
    /// The fate of the session's datagrams in a simulated network.
    Session = 9,
    /// The movement of a held object.
    Object = 10,
    /// The holder of an object, and the times of the holds.
    Grab = 11,
    /// The direction in which a headset points.
    Pointer = 12,
    /// When a headset sends its first pointer.
    PointerPhase = 13,
    /// The values of properties.
    Property = 14,
    /// When a headset sets a property.
    PropertyPace = 15,
    /// The bytes of the pieces of strokes.
    Stroke = 16,
    /// When a headset draws.
    Draw = 17,
}

/// The kinds of reliable events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A short notice of random bytes.
    Notice = 0,
    /// A piece of a stroke that a user is drawing.
    Stroke = 1,
}

impl EventKind {
    pub(crate) const ALL: [EventKind; 2] = [EventKind::Notice, EventKind::Stroke];

    /// Returns the application's channel that carries this kind.
    pub(crate) fn channel(self) -> u8 {
        self as u8
    }

    /// Returns the kind that a channel carries.
    pub(crate) fn of(channel: u8) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.channel() == channel)
    }

    /// Returns the length of the payload, bytes.
    fn bytes(self) -> RangeInclusive<usize> {
        match self {
            EventKind::Notice => 60..=400,
            EventKind::Stroke => 100..=100,
        }
    }

    fn stream(self) -> Stream {
        match self {
            EventKind::Notice => Stream::Event,
            EventKind::Stroke => Stream::Stroke,
        }
    }
}

impl Source {
    /// Returns a well-mixed pseudo-random number for `sequence` of `stream`.
    pub(crate) fn mix(self, stream: Stream, sequence: u64) -> u64 {
        let id = u64::from(self.room) << 32 | u64::from(self.sender);
        let start = splitmix(self.seed ^ (stream as u64) << 56);
        splitmix(splitmix(start ^ id).wrapping_add(sequence))
    }

    /// Returns a random generator for `stream`.
    pub(crate) fn rng(self, stream: Stream) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.mix(stream, 0))
    }

    /// Returns the headset's seat: its column and its row on a grid of 1 m.
    pub(crate) fn seat(self) -> [u32; 2] {
        [self.sender % ROW, self.sender / ROW]
    }

    /// Returns a position around the headset's seat, at this height (m).
    fn near_seat(self, height: f32, bits: u64) -> [f32; 3] {
        let [x, z] = self.seat();
        [sway(bits) + x as f32, sway(bits >> 8) + height, sway(bits >> 16) + z as f32]
    }

    /// Returns the number, inside the room, of the object that this headset shares.
    pub(crate) fn object(self) -> u32 {
        self.sender / HEADSETS_PER_OBJECT
    }

    /// Appends pose number `sequence`, 33 bytes: a head that sways around its seat, and two hands.
    pub(crate) fn pose(self, sequence: u64, out: &mut Vec<u8>) {
        let a = self.mix(Stream::Pose, sequence);
        let b = splitmix(a);
        let head = self.near_seat(1.6, a);
        let hand = |x: f32, bits: u64| Transform {
            position: [
                head[0] + x + sway(bits),
                head[1] - 0.4 + sway(bits >> 8),
                head[2] - 0.3 + sway(bits >> 16),
            ],
            rotation: turn(bits >> 24),
        };
        let pose = Pose {
            head: Transform { position: head, rotation: turn(a >> 24) },
            left: Some(hand(-0.25, a >> 40)),
            right: Some(hand(0.25, b)),
        };
        pose.encode(out);
    }

    /// Appends voice packet number `sequence`, [`VOICE_BYTES`] bytes.
    pub(crate) fn voice(self, sequence: u64, spurt_start: bool, out: &mut Vec<u8>) {
        let mut opus = [0; VOICE_BYTES - 2];
        let start = self.mix(Stream::Voice, sequence);
        noise(start, &mut opus);
        let flags = if spurt_start { SPURT_START } else { 0 };
        let level = 20 + (start % 30) as u8;
        Voice { level, speaking: true, flags, opus: &opus }.encode(out);
    }

    /// Appends movement number `sequence` of the held object, 32 bytes: the position and the
    /// rotation as floats, and the number.
    pub(crate) fn object_pose(self, sequence: u64, out: &mut Vec<u8>) {
        let bits = self.mix(Stream::Object, sequence);
        put_floats(&self.near_seat(1.2, bits), out);
        put_floats(&turn(bits >> 24), out);
        out.extend_from_slice(&(sequence as u32).to_le_bytes());
    }

    /// Appends pointer number `sequence`, 24 bytes: a ray's origin and direction as floats.
    pub(crate) fn pointer(self, sequence: u64, out: &mut Vec<u8>) {
        let bits = self.mix(Stream::Pointer, sequence);
        put_floats(&self.near_seat(1.2, bits), out);
        put_floats(&[sway(bits >> 24), sway(bits >> 32), sway(bits >> 40) - 1.0], out);
    }

    /// Appends event number `sequence`. Its payload starts with that number, because the wire
    /// carries no sequence number of the sender for events.
    pub(crate) fn event(self, kind: EventKind, sequence: u32, out: &mut Vec<u8>) {
        self.numbered(kind.stream(), kind.bytes(), sequence, out);
    }

    /// Appends the value of the property change with number `sequence`.
    pub(crate) fn property(self, sequence: u32, out: &mut Vec<u8>) {
        self.numbered(Stream::Property, PROPERTY_BYTES, sequence, out);
    }

    /// Appends a payload of this length: room, sender and number, followed by random bytes.
    fn numbered(
        self,
        stream: Stream,
        bytes: RangeInclusive<usize>,
        sequence: u32,
        out: &mut Vec<u8>,
    ) {
        let start = self.mix(stream, sequence.into());
        let lengths = (bytes.end() - bytes.start() + 1) as u64;
        let len = bytes.start() + (start % lengths) as usize;
        let begin = out.len();
        for word in [self.room, self.sender, sequence] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.resize(begin + len, 0);
        noise(start, &mut out[begin + EVENT_HEAD..]);
    }
}

/// The room, the sender and the number in the payload of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventClaim {
    pub(crate) room: u32,
    /// The sender's number inside the room.
    pub(crate) sender: u32,
    pub(crate) number: u32,
}

/// Parses the claim at the start of an event's payload; `None` if the payload is too short.
pub(crate) fn event_claim(payload: &[u8]) -> Option<EventClaim> {
    let (head, _) = payload.split_first_chunk::<EVENT_HEAD>()?;
    let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
    Some(EventClaim { room: word(0), sender: word(4), number: word(8) })
}

/// Maps eight bits to a deviation of at most 0.1 m to either side.
fn sway(bits: u64) -> f32 {
    (f32::from(bits as u8) - 127.5) * (0.1 / 127.5)
}

/// Maps 16 bits to a rotation of at most 53 degrees about each of two axes.
fn turn(bits: u64) -> [f32; 4] {
    [5.0 * sway(bits), 5.0 * sway(bits >> 8), 0.0, 1.0]
}

fn put_floats(floats: &[f32], out: &mut Vec<u8>) {
    floats.iter().for_each(|float| out.extend_from_slice(&float.to_le_bytes()));
}

fn noise(mut state: u64, out: &mut [u8]) {
    for chunk in out.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = scramble(state).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Mixes the bits of `state` with SplitMix64 (Steele, Lea and Flood).
fn splitmix(state: u64) -> u64 {
    scramble(state.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source { seed: 1, room: 2, sender: 3 };

    fn all(source: Source, sequence: u32) -> Vec<Vec<u8>> {
        let mut out = vec![Vec::new(); 4];
        source.pose(sequence.into(), &mut out[0]);
        source.voice(sequence.into(), false, &mut out[1]);
        source.object_pose(sequence.into(), &mut out[2]);
        source.pointer(sequence.into(), &mut out[3]);
        out.extend(EventKind::ALL.map(|kind| {
            let mut event = Vec::new();
            source.event(kind, sequence, &mut event);
            event
        }));
        out
    }

    #[test]
    fn payloads_depend_on_who_and_which_and_nothing_else() {
        let first = all(SOURCE, 7);
        assert_eq!(first, all(SOURCE, 7));
        let others = [
            all(Source { seed: 9, ..SOURCE }, 7),
            all(Source { room: 9, ..SOURCE }, 7),
            all(Source { sender: 9, ..SOURCE }, 7),
            all(SOURCE, 8),
        ];
        for other in others {
            for (a, b) in first.iter().zip(&other) {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn payloads_have_their_sizes_and_their_form() {
        for sequence in 0..2_000 {
            let payloads = all(SOURCE, sequence);
            let (pose, voice) = (&payloads[0], &payloads[1]);
            assert_eq!((pose.len(), voice.len()), (33, VOICE_BYTES));
            assert_eq!((payloads[2].len(), payloads[3].len()), (32, 24));
            for (kind, event) in EventKind::ALL.into_iter().zip(&payloads[4..]) {
                assert!(kind.bytes().contains(&event.len()));
                assert_eq!(
                    event_claim(event),
                    Some(EventClaim { room: 2, sender: 3, number: sequence })
                );
                assert_eq!(EventKind::of(kind.channel()), Some(kind));
            }
            let (parsed, rest) = Pose::parse(pose).unwrap();
            assert!(rest.is_empty() && parsed.left.is_some() && parsed.right.is_some());
            assert!((parsed.head.position[0] - 3.0).abs() < 0.11);
            assert!(Voice::parse(voice).unwrap().speaking);
        }
        assert_eq!(event_claim(&[0; 11]), None);
    }
}
