//! The carrier of a session: the connection and the streams that the rest of the edge uses. QUIC is
//! the only one. A second carrier makes each of these types an enum of both, in this file alone.

pub(super) use super::quic::{
    Connection, ConnectionClosed, ConnectionEnd, Incoming, RecvStream, SendStream, StreamError,
    WriteError,
};
