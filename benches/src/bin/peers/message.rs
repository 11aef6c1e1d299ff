//! The message that every system relays: a pose frame of the Nucleus protocol whose payload also
//! names its sender and the time at which it was due.

use nucleus_protocol::realtime::frame::{MESSAGE_FIELDS_BYTES, NEWEST_WINS};
use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::realtime::{
    Frame, Frames, MalformedFrame, Message, MessageKind, TARGET_OTHERS,
};

/// Size of a pose of a head and two hands, bytes.
const POSE: usize = 33;
/// Size of the claim after the pose, bytes: sender (u32) and due time (u64).
const CLAIM: usize = 12;
/// Size of the whole frame, bytes: type, length, header, payload.
pub(crate) const FRAME: usize = 2 + MESSAGE_FIELDS_BYTES + POSE + CLAIM;
/// The offset in a frame of the target, which the relay replaces by the sender's slot.
const SLOT_AT: usize = 3;

/// A frame that arrived, or the error that it is malformed.
pub(crate) type ReceivedMessage<'a> = Result<Message<'a>, MalformedFrame>;

/// The sender and the due time that a message contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) sender: u32,
    pub(crate) sequence: u16,
    /// When the message was due, µs.
    pub(crate) due: u64,
}

impl Claim {
    /// Appends the frame.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(POSE + CLAIM);
        pose(self.sender, self.sequence).encode(&mut payload);
        payload.extend_from_slice(&self.sender.to_le_bytes());
        payload.extend_from_slice(&self.due.to_le_bytes());
        let message = Message {
            kind: MessageKind::Pose,
            flags: NEWEST_WINS,
            peer: TARGET_OTHERS,
            channel: 0,
            key: 0,
            sequence: self.sequence,
            // Without a claim the arrival counts. The rivals carry no capture time.
            time: None,
            payload: &payload,
        };
        message.encode(out);
    }

    /// Parses the claim of a message; `None` if the message is not one of ours.
    pub(crate) fn parse(message: &Message<'_>) -> Option<Claim> {
        let claim = message.payload.get(POSE..)?;
        let (sender, due) = claim.split_first_chunk()?;
        let (sender, due) = (u32::from_le_bytes(*sender), due.try_into().ok()?);
        let ours = message.kind == MessageKind::Pose;
        ours.then_some(Claim { sender, sequence: message.sequence, due: u64::from_le_bytes(due) })
    }
}

/// Replaces the target in a frame by the sender's slot, and returns the frame as the relay sends
/// it. Returns `None` if the frame does not have the size [`FRAME`].
pub(crate) fn set_sender_slot(frame: &mut [u8], slot: u16) -> Option<&[u8]> {
    let frame: &mut [u8; FRAME] = frame.try_into().ok()?;
    frame[SLOT_AT..SLOT_AT + 2].copy_from_slice(&slot.to_le_bytes());
    Some(frame)
}

/// Passes each message in a body of frames to `deliver`.
pub(crate) fn deliver_frames(body: &[u8], deliver: &mut dyn FnMut(ReceivedMessage<'_>)) {
    for frame in Frames::new(body) {
        match frame {
            Ok(Frame::Message(message)) => deliver(Ok(message)),
            Ok(Frame::Other(..)) => {}
            Err(error) => deliver(Err(error)),
        }
    }
}

/// Returns a pose that moves with the sequence.
fn pose(sender: u32, sequence: u16) -> Pose {
    let sway = (f32::from(sequence) * 0.1).sin();
    let at = |x: f32, y: f32| Transform {
        position: [sender as f32 % 30.0 + x, y, sway],
        rotation: [0.1 * sway, 0.2 * sway, 0.0, 1.0],
    };
    Pose { head: at(0.0, 1.6), left: Some(at(-0.3, 1.1)), right: Some(at(0.3, 1.2)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let claim = Claim { sender: 70_000, sequence: 65_535, due: 1 << 40 };
        let mut bytes = Vec::new();
        claim.encode(&mut bytes);
        assert_eq!(bytes.len(), FRAME);
        assert_eq!(set_sender_slot(&mut bytes, 513).map(<[u8]>::len), Some(FRAME));
        bytes.extend_from_slice(&bytes.clone());
        bytes.push(200);
        let mut messages = Vec::new();
        deliver_frames(&bytes, &mut |message| {
            messages.push(message.map(|message| (message.peer, Claim::parse(&message))));
        });
        let expected = Ok((513, Some(claim)));
        assert_eq!(messages, [expected, expected, Err(MalformedFrame)]);
        assert_eq!(set_sender_slot(&mut [0; FRAME - 1], 1), None);
    }
}
