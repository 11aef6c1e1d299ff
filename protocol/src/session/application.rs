//! The payloads of the events on the protocol's own channels: requests of one peer to another with
//! their answers (RPC), and typed events. The server relays them unread.

use std::borrow::Cow;

use crate::codec::Reader;
use crate::limits::{MAX_EVENT_NAME, MAX_RPC_TEXT, MAX_RPC_TIMEOUT_MS};
use crate::text::is_plain;

/// The channel of [`RpcMessage`]s on the events lane.
pub const RPC_CHANNEL: u8 = 240;
/// The channel of [`TypedEvent`]s on the events lane.
pub const TYPED_EVENT_CHANNEL: u8 = 241;

/// Length in bytes of a request in front of its method.
pub const RPC_REQUEST_BYTES: usize = 10;
/// Length in bytes of an answer in front of its payload.
pub const RPC_ANSWER_BYTES: usize = 7;

const REQUEST: u8 = 1;
const ANSWER: u8 = 2;

/// The codes of an answer. The application's own codes begin at [`APPLICATION`](rpc_code::APPLICATION).
pub mod rpc_code {
    /// The callee has answered.
    pub const ANSWERED: u16 = 0;
    /// The callee has no such method.
    pub const NO_SUCH_METHOD: u16 = 1;
    /// Too many requests wait at the callee.
    pub const BUSY: u16 = 2;
    /// The first code of the application. The codes below are the protocol's.
    pub const APPLICATION: u16 = 256;
}

/// Returns whether a text may be the type of a typed event or the method of a request: 1 to
/// [`MAX_EVENT_NAME`] bytes, all characters plain ([`is_plain`]).
pub fn is_event_name(name: &str) -> bool {
    (1..=MAX_EVENT_NAME).contains(&name.len()) && name.chars().all(is_plain)
}

/// Reads a name with its length in front.
fn read_name<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let len = reader.u8().ok()?;
    let name = std::str::from_utf8(reader.bytes(len.into()).ok()?).ok()?;
    is_event_name(name).then_some(name)
}

/// Appends a name with its length in front. The caller has checked it with [`is_event_name`].
fn put_name(out: &mut Vec<u8>, name: &str) {
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(&name.as_bytes()[..len.into()]);
}

/// The payload of an event on [`RPC_CHANNEL`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcMessage<'a> {
    /// A request of the sender to the recipient.
    Request {
        /// The sender's number of this request.
        request: u32,
        /// How long the sender still waits, 1 to [`MAX_RPC_TIMEOUT_MS`] ms.
        timeout_ms: u32,
        /// What the recipient is to do, see [`is_event_name`].
        method: &'a str,
        /// The application's data.
        payload: &'a [u8],
    },
    /// The answer to a request of the recipient.
    Answer {
        /// The number in the request.
        request: u32,
        /// Whether the request failed, and why: see [`rpc_code`].
        code: u16,
        /// The answer; or a text for a person, see [`rpc_text`], if the request failed.
        payload: &'a [u8],
    },
}

impl<'a> RpcMessage<'a> {
    /// Reads a payload. Returns `None` if it is malformed or of an unknown kind.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let kind = reader.u8().ok()?;
        let request = reader.u32().ok()?;
        match kind {
            REQUEST => {
                let timeout_ms = reader.u32().ok()?;
                let method = read_name(&mut reader)?;
                let is_valid = (1..=MAX_RPC_TIMEOUT_MS).contains(&timeout_ms);
                let payload = reader.rest();
                is_valid.then_some(Self::Request { request, timeout_ms, method, payload })
            }
            ANSWER => {
                let code = reader.u16().ok()?;
                Some(Self::Answer { request, code, payload: reader.rest() })
            }
            _ => None,
        }
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Request { request, timeout_ms, method, payload } => {
                out.push(REQUEST);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&timeout_ms.to_le_bytes());
                put_name(out, method);
                out.extend_from_slice(payload);
            }
            Self::Answer { request, code, payload } => {
                out.push(ANSWER);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&code.to_le_bytes());
                out.extend_from_slice(payload);
            }
        }
    }
}

/// Returns the text of a request that failed: the first [`MAX_RPC_TEXT`] bytes of the answer's
/// payload, with U+FFFD in place of what is no UTF-8.
pub fn rpc_text(payload: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&payload[..payload.len().min(MAX_RPC_TEXT)])
}

/// The payload of an event on [`TYPED_EVENT_CHANNEL`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypedEvent<'a> {
    /// What the event is, see [`is_event_name`].
    pub event_type: &'a str,
    /// The application's data.
    pub data: &'a [u8],
}

impl<'a> TypedEvent<'a> {
    /// Reads a payload. Returns `None` if it is malformed.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let event_type = read_name(&mut reader)?;
        Some(Self { event_type, data: reader.rest() })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_name(out, self.event_type);
        out.extend_from_slice(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: RpcMessage<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn request(method: &str, timeout_ms: u32) -> Vec<u8> {
        bytes(RpcMessage::Request { request: 7, timeout_ms, method, payload: b"cup" })
    }

    #[test]
    fn messages_survive_the_wire() {
        let longest = "m".repeat(MAX_EVENT_NAME);
        for method in ["grab", "Griff\u{fc}bergabe", longest.as_str()] {
            for timeout_ms in [1, MAX_RPC_TIMEOUT_MS] {
                let made = request(method, timeout_ms);
                let read = RpcMessage::Request { request: 7, timeout_ms, method, payload: b"cup" };
                assert_eq!(RpcMessage::parse(&made), Some(read));
                assert_eq!(made.len(), RPC_REQUEST_BYTES + method.len() + 3);
            }
        }
        for (code, payload) in [(0, &b"yes"[..]), (1, b""), (700, &[0xff; 2_000])] {
            let answer = RpcMessage::Answer { request: u32::MAX, code, payload };
            let made = bytes(answer);
            assert_eq!(RpcMessage::parse(&made), Some(answer));
            assert_eq!(made.len(), RPC_ANSWER_BYTES + payload.len());
        }
        let event = TypedEvent { event_type: "door.opened", data: &[0, 255] };
        let mut out = Vec::new();
        event.encode(&mut out);
        assert_eq!(TypedEvent::parse(&out), Some(event));
    }

    #[test]
    fn every_cut_in_front_of_the_payload_is_malformed() {
        let made = request("grab", 5);
        for len in 0..RPC_REQUEST_BYTES + 4 {
            assert_eq!(RpcMessage::parse(&made[..len]), None, "{len} bytes");
        }
        let answer = bytes(RpcMessage::Answer { request: 7, code: 0, payload: b"" });
        for len in 0..RPC_ANSWER_BYTES {
            assert_eq!(RpcMessage::parse(&answer[..len]), None, "{len} bytes");
        }
        for kind in [0, 3, 255] {
            assert_eq!(RpcMessage::parse(&[&[kind], &made[1..]].concat()), None);
        }
    }

    #[test]
    fn names_and_timeouts_are_checked() {
        for timeout_ms in [0, MAX_RPC_TIMEOUT_MS + 1, u32::MAX] {
            assert_eq!(RpcMessage::parse(&request("grab", timeout_ms)), None);
        }
        let too_long = "m".repeat(MAX_EVENT_NAME + 1);
        for name in ["", &too_long, "a\nb", "a\u{202e}b", "\u{200b}", "\u{2028}"] {
            assert!(!is_event_name(name), "{name:?}");
            assert_eq!(RpcMessage::parse(&request(name, 5)), None, "{name:?}");
            let mut out = Vec::new();
            TypedEvent { event_type: name, data: b"" }.encode(&mut out);
            assert_eq!(TypedEvent::parse(&out), None, "{name:?}");
        }
        assert!(is_event_name(" ") && is_event_name("\u{645}\u{6cc}\u{200c}\u{62e}"));
        assert_eq!(TypedEvent::parse(&[2, 0xc3, 0x28]), None, "no UTF-8");
        assert_eq!(TypedEvent::parse(&[4, b'd', b'o']), None, "shorter than its length");
    }

    #[test]
    fn a_text_is_cut_and_shown_lossily() {
        assert_eq!(rpc_text(b"no \xff cup"), "no \u{fffd} cup");
        assert_eq!(rpc_text(&[b'x'; 5_000]).len(), MAX_RPC_TEXT);
    }
}
