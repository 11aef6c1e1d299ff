//! A pose in 15 to 33 bytes, and its extensions. The head's position is absolute in steps of 1 mm, the hands' positions
//! are relative to it. A rotation is encoded as its three smallest components with 11 bits each.

use crate::codec::{Reader, Truncated, put_i24};

/// Metres per step of a position.
const STEP: f32 = 0.001;
/// Largest coordinate of the head in metres: 2^23 - 1 mm.
pub const HEAD_RANGE: f32 = 8_388.607;
/// Largest coordinate of a hand relative to the head in metres: 2^11 - 1 mm, more than an arm's
/// length.
pub const HAND_RANGE: f32 = 2.047;
/// Steps of a rotation's component on either side of zero. The 11 bits hold 2,047 values; their odd
/// number makes zero exact.
const ROTATION_STEPS: f32 = 1_023.0;
/// The flag of a pose with a left hand.
const LEFT: u8 = 1;
/// The flag of a pose with a right hand.
const RIGHT: u8 = 2;
/// The flag of a pose with extensions behind the hands. Their types are reserved.
const EXTENSIONS: u8 = 4;
/// Length of a pose without hands in bytes.
pub const POSE_BYTES: usize = 15;
/// Length of a hand in bytes.
const HAND_BYTES: usize = 9;

/// A position and a rotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Position in metres: x, y, z.
    pub position: [f32; 3],
    /// Rotation as a quaternion: x, y, z, w. Its length need not be exactly 1.
    pub rotation: [f32; 4],
}

/// The reason why a pose cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoseError {
    /// A coordinate or a component of a rotation is NaN or infinite.
    #[error("a number of the pose is NaN or infinite")]
    NotFinite,
    /// The head is farther from the origin than [`HEAD_RANGE`] in one axis.
    #[error("the head is more than 8,388.607 m from the origin")]
    HeadOutOfRange,
    /// A hand is farther from the head than [`HAND_RANGE`] in one axis.
    #[error("a hand is more than 2.047 m from the head: leave out a hand that is not tracked")]
    HandOutOfRange,
    /// A rotation has no direction: its length is 0, or is not finite.
    #[error("a rotation has the length 0, or one that is not finite")]
    Rotation,
}

/// The head and hands of a peer, in the room's coordinates. Axes are those of OpenXR: right-handed, y
/// points up, and the identity rotation looks along -z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// The head, within [`HEAD_RANGE`].
    pub head: Transform,
    /// The left hand if it is tracked, within [`HAND_RANGE`] of the head.
    pub left: Option<Transform>,
    /// The right hand if it is tracked, within [`HAND_RANGE`] of the head.
    pub right: Option<Transform>,
}

impl Pose {
    /// Checks that the pose can be sent as it is.
    ///
    /// # Errors
    /// [`PoseError`]: [`encode`](Self::encode) would write another pose.
    pub fn check(&self) -> Result<(), PoseError> {
        let hands = || [self.left, self.right].into_iter().flatten();
        let parts = || hands().chain([self.head]);
        let numbers = |part: Transform| part.position.into_iter().chain(part.rotation);
        if !parts().flat_map(numbers).all(f32::is_finite) {
            return Err(PoseError::NotFinite);
        }
        if self.head.position.iter().any(|metres| metres.abs() > HEAD_RANGE) {
            return Err(PoseError::HeadOutOfRange);
        }
        // Far from the origin an f32 is as coarse as a step.
        let reach = HAND_RANGE + 2.0 * STEP;
        let too_far = |(hand, head): (f32, f32)| (hand - head).abs() > reach;
        if hands().any(|hand| hand.position.into_iter().zip(self.head.position).any(too_far)) {
            return Err(PoseError::HandOutOfRange);
        }
        match parts().all(|part| has_direction(length(part.rotation))) {
            true => Ok(()),
            false => Err(PoseError::Rotation),
        }
    }

    /// Appends the encoded pose. Clamps coordinates to their ranges, encodes NaN as 0, and a
    /// rotation without a direction as none. [`check`](Self::check) tells the caller before.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let hand = |present: bool, bit: u8| if present { bit } else { 0 };
        out.push(hand(self.left.is_some(), LEFT) | hand(self.right.is_some(), RIGHT));
        let head = self.head.position.map(|m| quantise(m, HEAD_RANGE));
        head.iter().for_each(|mm| put_i24(out, *mm));
        out.extend_from_slice(&pack_rotation(self.head.rotation).to_le_bytes()[..5]);
        for hand in [self.left, self.right].into_iter().flatten() {
            out.extend_from_slice(&pack_hand(&hand, head).to_le_bytes()[..9]);
        }
    }

    /// Returns whether a payload holds a head and all hands that its flags name.
    pub fn is_whole(payload: &[u8]) -> bool {
        let hands = payload.first().map_or(0, |flags| (flags & (LEFT | RIGHT)).count_ones());
        payload.len() >= POSE_BYTES + HAND_BYTES * hands as usize
    }

    /// Reads a pose from the front of a payload. Skips its extensions. Returns the pose and the
    /// bytes behind it, which belong to the application (buttons or fingers, for example).
    ///
    /// # Errors
    /// [`Truncated`] if the payload is shorter than the pose and its extensions.
    pub fn parse(payload: &[u8]) -> Result<(Pose, &[u8]), Truncated> {
        let mut r = Reader::new(payload);
        let present = r.u8()?;
        let head_mm = [r.i24()?, r.i24()?, r.i24()?];
        let [a, b, c, d, e] = r.array()?;
        let head = Transform {
            position: head_mm.map(|mm| mm as f32 * STEP),
            rotation: unpack_rotation(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])),
        };
        let mut hand = |bit: u8| -> Result<Option<Transform>, Truncated> {
            let packed = if present & bit != 0 { Some(r.array::<9>()?) } else { None };
            Ok(packed.map(|bytes| unpack_hand(bytes, head_mm)))
        };
        let (left, right) = (hand(LEFT)?, hand(RIGHT)?);
        let extensions = if present & EXTENSIONS != 0 { r.u8()? } else { 0 };
        for _ in 0..extensions {
            let (_kind, len) = (r.u8()?, r.u8()?);
            r.bytes(usize::from(len))?;
        }
        Ok((Pose { head, left, right }, r.rest()))
    }

    /// Reads only the head's position in millimetres. The server reads nothing else of a pose.
    ///
    /// # Errors
    /// [`Truncated`] if the payload is shorter than the position.
    pub fn position_mm(payload: &[u8]) -> Result<[i32; 3], Truncated> {
        let mut r = Reader::new(payload);
        r.u8()?;
        Ok([r.i24()?, r.i24()?, r.i24()?])
    }
}

fn length(rotation: [f32; 4]) -> f32 {
    rotation.iter().map(|c| c * c).sum::<f32>().sqrt()
}

/// Returns whether a quaternion of this length can be scaled to unit length.
fn has_direction(length: f32) -> bool {
    length.is_finite() && length > 1e-6
}

fn quantise(metres: f32, range: f32) -> i32 {
    // `clamp` keeps NaN, and `as` turns NaN into 0.
    (metres.clamp(-range, range) / STEP).round() as i32
}

/// Packs a hand. Bits 0-35: x, y, z relative to the head in mm, 12 bits each, two's complement.
/// Bits 36-70: the rotation.
fn pack_hand(hand: &Transform, head_mm: [i32; 3]) -> u128 {
    let mut packed = u128::from(pack_rotation(hand.rotation)) << 36;
    for (axis, (metres, head)) in hand.position.into_iter().zip(head_mm).enumerate() {
        let absolute = quantise(metres, HEAD_RANGE + HAND_RANGE);
        let relative = (absolute - head).clamp(-2_047, 2_047);
        packed |= u128::from(relative as u32 & 0xfff) << (12 * axis);
    }
    packed
}

fn unpack_hand(bytes: [u8; 9], head_mm: [i32; 3]) -> Transform {
    let mut wide = [0; 16];
    wide[..9].copy_from_slice(&bytes);
    let packed = u128::from_le_bytes(wide);
    let axis = |i: usize| {
        let relative = ((packed >> (12 * i)) as i32) << 20 >> 20;
        (head_mm[i] + relative) as f32 * STEP
    };
    Transform {
        position: [axis(0), axis(1), axis(2)],
        rotation: unpack_rotation((packed >> 36) as u64),
    }
}

/// Packs a rotation. Bits 0-1: index of the largest component. Then the other three in order, 11
/// bits each, as steps of 1 / (1023 sqrt 2) above -1 / sqrt 2. The quaternion's sign is chosen so
/// that the largest component is positive.
fn pack_rotation(rotation: [f32; 4]) -> u64 {
    let norm = length(rotation);
    let unit = if has_direction(norm) { rotation.map(|c| c / norm) } else { [0.0, 0.0, 0.0, 1.0] };
    let mut largest = 0;
    for i in 1..4 {
        if unit[i].abs() > unit[largest].abs() {
            largest = i;
        }
    }
    let sign = unit[largest].signum();
    let mut packed = largest as u64;
    let others = (0..4).filter(|i| *i != largest);
    for (position, i) in others.enumerate() {
        let steps = (unit[i] * sign * std::f32::consts::SQRT_2 * ROTATION_STEPS).round();
        let steps = (steps.clamp(-ROTATION_STEPS, ROTATION_STEPS) + ROTATION_STEPS) as u64;
        packed |= steps << (2 + 11 * position);
    }
    packed
}

fn unpack_rotation(packed: u64) -> [f32; 4] {
    let largest = (packed & 3) as usize;
    let mut rotation = [0.0; 4];
    let mut rest = 1.0f32;
    let others = (0..4).filter(|i| *i != largest);
    for (position, i) in others.enumerate() {
        let steps = ((packed >> (2 + 11 * position)) & 0x7ff) as f32 - ROTATION_STEPS;
        rotation[i] = steps / (ROTATION_STEPS * std::f32::consts::SQRT_2);
        rest -= rotation[i] * rotation[i];
    }
    rotation[largest] = rest.max(0.0).sqrt();
    rotation
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: [f32; 4] = [0.0, 0.0, 0.0, 1.0];

    fn at(position: [f32; 3]) -> Transform {
        Transform { position, rotation: STILL }
    }

    fn pose(head: Transform) -> Pose {
        Pose { head, left: None, right: None }
    }

    #[test]
    fn what_would_become_another_pose_is_an_error() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for axis in 0..3 {
            let head = |metres| {
                let mut position = [1.0, 1.7, -2.0];
                position[axis] = metres;
                pose(at(position))
            };
            for number in odd {
                assert_eq!(head(number).check(), Err(PoseError::NotFinite));
            }
            for metres in [20_000.0, -20_000.0, 8_389.0, f32::MAX] {
                assert_eq!(head(metres).check(), Err(PoseError::HeadOutOfRange));
            }
            for metres in [8_388.607, -8_388.607, 0.0, 500.0] {
                assert_eq!(head(metres).check(), Ok(()));
            }
            let mut position = [1.0, 1.7, -2.0];
            position[axis] += 2.1;
            let hand = Some(at(position));
            let head = head([1.0, 1.7, -2.0][axis]);
            assert_eq!(Pose { left: hand, ..head }.check(), Err(PoseError::HandOutOfRange));
            assert_eq!(Pose { right: hand, ..head }.check(), Err(PoseError::HandOutOfRange));
        }
        for component in 0..4 {
            for number in odd {
                let mut rotation = STILL;
                rotation[component] = number;
                let hand = Transform { rotation, ..at([0.0; 3]) };
                assert_eq!(pose(hand).check(), Err(PoseError::NotFinite));
                let with_hand = Pose { right: Some(hand), ..pose(at([0.0; 3])) };
                assert_eq!(with_hand.check(), Err(PoseError::NotFinite));
            }
        }
        for rotation in [[0.0; 4], [1e-8; 4], [1e30, 0.0, 0.0, 0.0]] {
            let head = Transform { rotation, ..at([0.0; 3]) };
            assert_eq!(pose(head).check(), Err(PoseError::Rotation), "{rotation:?}");
        }
        for rotation in [[0.0, 0.0, 0.0, -1.0], [0.4, 0.4, 0.4, 0.4], [20.0, 0.0, 0.0, 0.0]] {
            let head = Transform { rotation, ..at([0.0; 3]) };
            assert_eq!(pose(head).check(), Ok(()));
        }
    }

    /// A pose that is read can be sent again, wherever it is.
    #[test]
    fn what_was_read_can_be_sent() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut payload: Vec<u8> =
                (0..POSE_BYTES + 2 * HAND_BYTES).map(|_| rng.u8(..)).collect();
            payload[0] &= LEFT | RIGHT;
            // A writer never writes the values that are left free.
            let (read, _) = Pose::parse(&payload).unwrap();
            let mut written = Vec::new();
            read.encode(&mut written);
            let (again, _) = Pose::parse(&written).unwrap();
            assert_eq!(again.check(), Ok(()), "{payload:?}");
        }
    }
}
