//! Frames: type, length, body. A reader skips unknown types. Type 0 is padding up to the end of the
//! datagram's body.

use crate::codec::Reader;
use crate::limits;

// The types of messages. The types of control frames, 7 and above, are in control.rs.

/// Padding. A reader ignores everything from here to the end of the body.
pub const PADDING: u8 = 0;
/// A pose, see [`super::pose`].
pub const POSE: u8 = 1;
/// A voice packet, see [`super::voice`].
pub const VOICE: u8 = 2;
/// Application data that may be lost.
pub const UNRELIABLE: u8 = 3;
/// A pointer or cursor.
pub const POINTER: u8 = 4;
/// A piece of a longer message (reserved).
pub const FRAGMENT: u8 = 5;
/// Messages to a group of peers (reserved).
pub const GROUP: u8 = 6;

/// The kind of a message, which decides its priority and age limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// Position and orientation of head and hands.
    Pose = POSE,
    /// An Opus packet.
    Voice = VOICE,
    /// Other data of the application.
    Unreliable = UNRELIABLE,
    /// A pointer or cursor.
    Pointer = POINTER,
}

impl MessageKind {
    /// Every kind, in the order of the counters in a [`super::report::ServerReport`].
    pub const ALL: [MessageKind; 4] =
        [MessageKind::Pose, MessageKind::Voice, MessageKind::Unreliable, MessageKind::Pointer];

    fn from_type(kind: u8) -> Option<MessageKind> {
        MessageKind::ALL.into_iter().find(|k| *k as u8 == kind)
    }

    /// Returns the kind's index in [`MessageKind::ALL`].
    pub fn index(self) -> usize {
        self as usize - 1
    }
}

/// One application message on the realtime plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The message's kind.
    pub kind: MessageKind,
    /// Bit 0, [`NEWEST_WINS`]: the newest message of a (sender, channel, key) makes older ones
    /// worthless. Bits 1-3, [`RING`], are reserved. Other bits are 0 here.
    pub flags: u8,
    /// The other end of the message. From a client this is the target: a slot, a group or
    /// [`super::TARGET_OTHERS`]. From the server this is the sender's slot.
    pub peer: u16,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel, for example an object's number.
    pub key: u16,
    /// Counts up within a (sender, channel, key), wrapping.
    pub sequence: u16,
    /// Capture time on the server's clock, in ms modulo 2^16. `None`: the sender's clock is not
    /// set. The server sets the time in every message that it relays.
    pub time: Option<u16>,
    /// Opaque to the server, except for a pose's position.
    pub payload: &'a [u8],
}

/// The bit of [`Message::flags`] that makes a message replace older messages of the same sender,
/// channel and key.
pub const NEWEST_WINS: u8 = 1;
/// The bits of [`Message::flags`] for the ring of the sender, from the server to the client.
/// Reserved: 0 today.
pub const RING: u8 = 0b1110;
/// The bit of the flags on the wire that says that the message has a capture time.
pub const TIMED: u8 = 16;
/// Length in bytes of a message's fixed fields, which stand between the frame's length and the
/// payload.
pub const MESSAGE_FIELDS_BYTES: usize = 10;

impl<'a> Message<'a> {
    fn parse(kind: MessageKind, body: &'a [u8]) -> Result<Self, MalformedFrame> {
        let mut r = Reader::new(body);
        let mut header = || -> Result<_, crate::codec::Truncated> {
            Ok((r.u8()?, r.u16()?, r.u8()?, r.u16()?, r.u16()?, r.u16()?))
        };
        let (flags, peer, channel, key, sequence, time) = header().map_err(|_| MalformedFrame)?;
        let payload = r.rest();
        if payload.len() > limits::MAX_PAYLOAD {
            return Err(MalformedFrame);
        }
        let (time, flags) = ((flags & TIMED != 0).then_some(time), flags & (NEWEST_WINS | RING));
        Ok(Message { kind, flags, peer, channel, key, sequence, time, payload })
    }

    /// Returns the length of the encoded frame in bytes.
    pub fn encoded_len(&self) -> usize {
        let body = MESSAGE_FIELDS_BYTES + self.payload.len();
        1 + if body < 0x80 { 1 } else { 2 } + body
    }

    /// Appends the frame as the server relays it: with the sender's slot in place of the target,
    /// with the capture time `time`, and without the flags that only a server sets.
    pub fn encode_relayed(&self, from: u16, time: u16, out: &mut Vec<u8>) {
        let flags = self.flags & NEWEST_WINS;
        Message { flags, peer: from, time: Some(time), ..*self }.encode(out);
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, self.kind as u8, MESSAGE_FIELDS_BYTES + self.payload.len());
        let mut head = [0u8; MESSAGE_FIELDS_BYTES];
        head[0] = self.flags & (NEWEST_WINS | RING) | if self.time.is_some() { TIMED } else { 0 };
        head[1..3].copy_from_slice(&self.peer.to_le_bytes());
        head[3] = self.channel;
        head[4..6].copy_from_slice(&self.key.to_le_bytes());
        head[6..8].copy_from_slice(&self.sequence.to_le_bytes());
        head[8..10].copy_from_slice(&self.time.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(self.payload);
    }
}

/// A frame of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message for the application.
    Message(Message<'a>),
    /// The type and body of a link's control frame, or of a type that this version does not know.
    Other(u8, &'a [u8]),
}

/// A frame whose fields have not been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFrame<'a> {
    /// The type.
    pub kind: u8,
    /// The body.
    pub body: &'a [u8],
}

impl RawFrame<'_> {
    /// Returns whether this is a message.
    #[inline]
    pub fn is_message(&self) -> bool {
        (POSE..=POINTER).contains(&self.kind)
    }

    /// Returns whether a message has all fields, and a payload that is not too long.
    #[inline]
    pub fn is_whole_message(&self) -> bool {
        (MESSAGE_FIELDS_BYTES..=MESSAGE_FIELDS_BYTES + limits::MAX_PAYLOAD)
            .contains(&self.body.len())
    }
}

/// The body is not a sequence of frames. As the datagram was authentic, its sender is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame")]
pub struct MalformedFrame;

/// An iterator over the frames of a body. It ends after the first malformed frame.
#[derive(Clone, Debug)]
pub struct Frames<'a>(Reader<'a>);

impl<'a> Frames<'a> {
    /// Creates an iterator over the frames of a decrypted body.
    pub fn new(body: &'a [u8]) -> Self {
        Self(Reader::new(body))
    }

    fn read(&mut self) -> Result<Option<Frame<'a>>, MalformedFrame> {
        let Some(RawFrame { kind, body }) = self.read_raw()? else { return Ok(None) };
        Ok(Some(match MessageKind::from_type(kind) {
            Some(kind) => Frame::Message(Message::parse(kind, body)?),
            None => Frame::Other(kind, body),
        }))
    }

    /// Reads the next frame without its fields; `None` at the end of the body.
    ///
    /// # Errors
    /// [`MalformedFrame`] if the frame is longer than the rest of the body.
    #[inline]
    pub fn read_raw(&mut self) -> Result<Option<RawFrame<'a>>, MalformedFrame> {
        let Ok(kind) = self.0.u8() else { return Ok(None) };
        if kind == PADDING {
            self.0 = Reader::new(&[]);
            return Ok(None);
        }
        let len = self.length()?;
        let body = self.0.bytes(len).map_err(|_| MalformedFrame)?;
        Ok(Some(RawFrame { kind, body }))
    }

    fn length(&mut self) -> Result<usize, MalformedFrame> {
        let low = self.0.u8().map_err(|_| MalformedFrame)?;
        if low < 0x80 {
            return Ok(usize::from(low));
        }
        let high = self.0.u8().map_err(|_| MalformedFrame)?;
        // Each length has one encoding: a second byte of 0 is redundant, and lengths have no third
        // byte.
        if high == 0 || high >= 0x80 {
            return Err(MalformedFrame);
        }
        Ok(usize::from(low & 0x7f) | usize::from(high) << 7)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, MalformedFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.read().transpose();
        if matches!(frame, Some(Err(_))) {
            self.0 = Reader::new(&[]);
        }
        frame
    }
}

/// Appends a frame's type and the length of its body, at most 16,383 bytes.
pub fn put_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    if len < 0x80 {
        out.push(len as u8);
    } else {
        debug_assert!(len < 1 << 14);
        out.extend_from_slice(&[len as u8 | 0x80, (len >> 7) as u8]);
    }
}

/// Appends a frame with its type, length and body.
pub fn put(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    put_header(out, kind, body.len());
    out.extend_from_slice(body);
}
