//! Frames: type, length, body. An unknown type is skipped, type 0 is padding to the end.

use crate::codec::Reader;
use crate::limits;

/// Padding: everything from here to the end of the body is nothing.
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
/// Clock request upwards, reply downwards.
pub const CLOCK: u8 = 7;
/// Link report.
pub const REPORT: u8 = 8;
/// Keep-alive; the server answers each over the plane it came on. See
/// [`super::control::KeepAlive`].
pub const KEEP_ALIVE: u8 = 9;
/// Path challenge.
pub const PATH_CHALLENGE: u8 = 10;
/// Path response.
pub const PATH_RESPONSE: u8 = 11;
/// When the datagram was sent, on the server's clock.
pub const SEND_TIME: u8 = 12;
/// The server has received messages over the realtime port.
pub const ACK: u8 = 13;

/// What a message is, which decides its priority and age limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// Position and orientation of head and hands.
    Pose = POSE,
    /// An Opus packet.
    Voice = VOICE,
    /// Anything else of the application's.
    Unreliable = UNRELIABLE,
    /// A pointer or cursor.
    Pointer = POINTER,
}

impl MessageKind {
    /// Every kind, in the order of the counters in a report.
    pub const ALL: [MessageKind; 4] =
        [MessageKind::Pose, MessageKind::Voice, MessageKind::Unreliable, MessageKind::Pointer];

    fn from_type(kind: u8) -> Option<MessageKind> {
        MessageKind::ALL.into_iter().find(|k| *k as u8 == kind)
    }

    /// Position in [`MessageKind::ALL`].
    pub fn index(self) -> usize {
        self as usize - 1
    }
}

/// One application message on the realtime plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: MessageKind,
    /// Bit 0: the newest of (sender, channel, key) makes older ones worthless. Others reserved.
    pub flags: u8,
    /// Upwards the target (a slot or [`super::TARGET_OTHERS`]), downwards the sender's slot.
    pub peer: u16,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within a channel (an object's number, say).
    pub key: u16,
    /// Counts up within (sender, channel, key), wrapping.
    pub sequence: u16,
    /// When it was captured: the server's clock in ms modulo 2^16.
    pub time: u16,
    /// Opaque to the server, but for a pose's position.
    pub payload: &'a [u8],
}

/// The flag "newest wins".
pub const NEWEST_WINS: u8 = 1;
/// Bytes between a message frame's length and its payload.
pub const MESSAGE_FIELDS_BYTES: usize = 10;
/// Where in a message's body the u16 `peer` stands: relaying a frame rewrites these two bytes.
const PEER_OFFSET: usize = 1;

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
        Ok(Message { kind, flags, peer, channel, key, sequence, time, payload })
    }

    /// Bytes of the whole frame.
    pub fn encoded_len(&self) -> usize {
        let body = MESSAGE_FIELDS_BYTES + self.payload.len();
        1 + if body < 0x80 { 1 } else { 2 } + body
    }

    /// Appends the frame with `peer` in place of its own: the server relays a message by naming its
    /// sender where the target stood, everything else as it came.
    pub fn encode_from(&self, peer: u16, out: &mut Vec<u8>) {
        put_header(out, self.kind as u8, MESSAGE_FIELDS_BYTES + self.payload.len());
        let mut head = [0u8; MESSAGE_FIELDS_BYTES];
        head[0] = self.flags;
        head[PEER_OFFSET..PEER_OFFSET + 2].copy_from_slice(&peer.to_le_bytes());
        head[3] = self.channel;
        head[4..6].copy_from_slice(&self.key.to_le_bytes());
        head[6..8].copy_from_slice(&self.sequence.to_le_bytes());
        head[8..10].copy_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(self.payload);
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_from(self.peer, out);
    }
}

/// A frame as it stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// For the application.
    Message(Message<'a>),
    /// Of the link itself, or of a type this version does not know: type and body.
    Other(u8, &'a [u8]),
}

/// A body that is not a sequence of frames. It was authenticated, so its sender is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame")]
pub struct MalformedFrame;

/// The frames of a body, in order; ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Frames<'a>(Reader<'a>);

impl<'a> Frames<'a> {
    /// The frames of an opened body.
    pub fn new(body: &'a [u8]) -> Self {
        Self(Reader::new(body))
    }

    fn read(&mut self) -> Result<Option<Frame<'a>>, MalformedFrame> {
        let Ok(kind) = self.0.u8() else { return Ok(None) };
        if kind == PADDING {
            self.0 = Reader::new(&[]);
            return Ok(None);
        }
        let len = self.length()?;
        let body = self.0.bytes(len).map_err(|_| MalformedFrame)?;
        Ok(Some(match MessageKind::from_type(kind) {
            Some(kind) => Frame::Message(Message::parse(kind, body)?),
            None => Frame::Other(kind, body),
        }))
    }

    fn length(&mut self) -> Result<usize, MalformedFrame> {
        let low = self.0.u8().map_err(|_| MalformedFrame)?;
        if low < 0x80 {
            return Ok(usize::from(low));
        }
        let high = self.0.u8().map_err(|_| MalformedFrame)?;
        // One way to write each length: a second byte that adds nothing or promises a third is none.
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

/// Appends a frame's type and length (at most 16,383).
pub fn put_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    if len < 0x80 {
        out.push(len as u8);
    } else {
        debug_assert!(len < 1 << 14);
        out.extend_from_slice(&[len as u8 | 0x80, (len >> 7) as u8]);
    }
}

/// Appends a frame with its body.
pub fn put(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    put_header(out, kind, body.len());
    out.extend_from_slice(body);
}
