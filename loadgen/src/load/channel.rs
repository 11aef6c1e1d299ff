//! The channels of the realtime plane: how each looks on the wire, and a message that is due on one.

use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{Message, MessageKind, TARGET_OTHERS};
use nucleus_protocol::time::Time;

use super::payload::Source;

/// A channel of the realtime plane. What is kept for each of them stands in arrays of
/// [`Channel::COUNT`], indexed by `channel as usize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Head and hands.
    Pose = 0,
    /// Opus packets.
    Voice = 1,
    /// A held object's movement.
    Object = 2,
    /// Where a finger or a mouse points.
    Pointer = 3,
}

/// The application's channel on which objects move; everything else is on 0.
const OBJECTS: u8 = 1;

impl Channel {
    pub(crate) const ALL: [Channel; 4] =
        [Channel::Pose, Channel::Voice, Channel::Object, Channel::Pointer];
    pub(crate) const COUNT: usize = Channel::ALL.len();

    /// As in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Channel::Pose => "pose",
            Channel::Voice => "voice",
            Channel::Object => "object",
            Channel::Pointer => "pointer",
        }
    }

    /// The frame's kind: no two channels share one, and the server counts by it.
    pub(crate) fn kind(self) -> MessageKind {
        match self {
            Channel::Pose => MessageKind::Pose,
            Channel::Voice => MessageKind::Voice,
            Channel::Object => MessageKind::Unreliable,
            Channel::Pointer => MessageKind::Pointer,
        }
    }

    /// The channel of a frame's kind.
    pub(crate) fn of(kind: MessageKind) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.kind() == kind)
    }

    fn flags(self) -> u8 {
        match self {
            Channel::Voice => 0,
            Channel::Pose | Channel::Object | Channel::Pointer => NEWEST_WINS,
        }
    }

    /// The application's channel and key.
    fn address(self, source: Source) -> (u8, u16) {
        match self {
            Channel::Object => (OBJECTS, source.object() as u16),
            Channel::Pose | Channel::Voice | Channel::Pointer => (0, 0),
        }
    }
}

/// A message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueMessage {
    pub(crate) channel: Channel,
    pub(crate) number: u64,
    /// µs, by the schedule: a late send keeps it.
    pub(crate) scheduled: u64,
    /// The first of its turn: a voice packet says so.
    pub(crate) first: bool,
}

impl DueMessage {
    /// Appends the payload.
    pub(crate) fn payload(&self, source: Source, out: &mut Vec<u8>) {
        match self.channel {
            Channel::Pose => source.pose(self.number, out),
            Channel::Voice => source.voice(self.number, self.first, out),
            Channel::Object => source.object_pose(self.number, out),
            Channel::Pointer => source.pointer(self.number, out),
        }
    }

    /// The message with that payload, to everybody else in the room.
    pub(crate) fn message<'a>(&self, source: Source, payload: &'a [u8]) -> Message<'a> {
        let (channel, key) = self.channel.address(source);
        Message {
            kind: self.channel.kind(),
            flags: self.channel.flags(),
            peer: TARGET_OTHERS,
            channel,
            key,
            sequence: self.number as u16,
            time: Time::from_micros(self.scheduled).as_wire_millis(),
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_one_channel_s() {
        for (index, channel) in Channel::ALL.into_iter().enumerate() {
            assert_eq!((channel as usize, Channel::of(channel.kind())), (index, Some(channel)));
        }
    }

    #[test]
    fn only_objects_have_an_address_of_their_own() {
        let source = Source { seed: 1, room: 2, sender: 45 };
        for channel in Channel::ALL {
            let due = DueMessage { channel, number: 65_537, scheduled: 7_000, first: false };
            let message = due.message(source, &[]);
            let address = if channel == Channel::Object { (1, 2) } else { (0, 0) };
            assert_eq!((message.channel, message.key), address);
            assert_eq!((message.sequence, message.time), (1, 7));
            assert_eq!(message.flags == NEWEST_WINS, channel != Channel::Voice);
        }
    }
}
