//! The channels of the realtime plane: the wire format of each, and the messages that are due.

use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::{Message, MessageKind, TARGET_OTHERS};
use nucleus_protocol::time::Time;

use super::payload::Source;

/// A channel of the realtime plane. Arrays with one element for each channel have
/// [`Channel::COUNT`] elements and are indexed by `channel as usize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Poses of head and hands.
    Pose = 0,
    /// Opus packets.
    Voice = 1,
    /// Movements of a held object.
    Object = 2,
    /// Rays from a finger or a mouse.
    Pointer = 3,
}

/// The application's channel for movements of objects. All other messages are sent on channel 0.
const OBJECTS: u8 = 1;

impl Channel {
    pub(crate) const ALL: [Channel; 4] =
        [Channel::Pose, Channel::Voice, Channel::Object, Channel::Pointer];
    pub(crate) const COUNT: usize = Channel::ALL.len();

    /// Returns the name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Channel::Pose => "pose",
            Channel::Voice => "voice",
            Channel::Object => "object",
            Channel::Pointer => "pointer",
        }
    }

    /// Returns the kind of the channel's frames. No two channels share a kind, because the server
    /// counts by kind.
    pub(crate) fn kind(self) -> MessageKind {
        match self {
            Channel::Pose => MessageKind::Pose,
            Channel::Voice => MessageKind::Voice,
            Channel::Object => MessageKind::Unreliable,
            Channel::Pointer => MessageKind::Pointer,
        }
    }

    /// Returns the channel of a kind of frame.
    pub(crate) fn of(kind: MessageKind) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.kind() == kind)
    }

    /// Returns whether the age of information is measured: the newest message wins, and the sender
    /// sends at a fixed rate.
    pub(crate) fn has_age(self) -> bool {
        matches!(self, Channel::Pose | Channel::Pointer)
    }

    fn flags(self) -> u8 {
        match self {
            Channel::Voice => 0,
            Channel::Pose | Channel::Object | Channel::Pointer => NEWEST_WINS,
        }
    }

    /// Returns the application's channel and the key.
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
    /// When the message is due according to the schedule, µs. A late send does not change this
    /// time.
    pub(crate) scheduled: u64,
    /// Whether this is the first message of its turn. Voice packets carry this flag.
    pub(crate) first: bool,
}

impl DueMessage {
    /// Appends the message's payload.
    pub(crate) fn payload(&self, source: Source, out: &mut Vec<u8>) {
        match self.channel {
            Channel::Pose => source.pose(self.number, out),
            Channel::Voice => source.voice(self.number, self.first, out),
            Channel::Object => source.object_pose(self.number, out),
            Channel::Pointer => source.pointer(self.number, out),
        }
    }

    /// Returns the message with the payload `payload`, addressed to all other peers of the room.
    /// `captured` is when the message was due, on the server's clock; `None` before that clock is
    /// known.
    pub(crate) fn message<'a>(
        &self,
        source: Source,
        captured: Option<Time>,
        payload: &'a [u8],
    ) -> Message<'a> {
        let (channel, key) = self.channel.address(source);
        Message {
            kind: self.channel.kind(),
            flags: self.channel.flags(),
            peer: TARGET_OTHERS,
            channel,
            key,
            sequence: self.number as u16,
            time: captured.map(Time::as_wire_millis),
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
            let message = due.message(source, Some(Time::from_millis(7)), &[]);
            let address = if channel == Channel::Object { (1, 2) } else { (0, 0) };
            assert_eq!((message.channel, message.key), address);
            assert_eq!((message.sequence, message.time), (1, Some(7)));
            assert_eq!(message.flags == NEWEST_WINS, channel != Channel::Voice);
        }
    }
}
