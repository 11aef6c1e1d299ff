//! The queue of a room's outputs.

use std::collections::VecDeque;

use bytes::Bytes;
use nucleus_protocol::session::{self, StateReply};

use super::RoomOutput;
use crate::ids::SessionId;

/// The outputs of a room that have not been polled yet, in the order of their creation.
#[derive(Default)]
pub(crate) struct Outputs(VecDeque<RoomOutput>);

impl Outputs {
    /// Appends an output.
    #[inline]
    pub(crate) fn push(&mut self, output: RoomOutput) {
        self.0.push_back(output);
    }

    /// Removes and returns the oldest output.
    pub(crate) fn pop(&mut self) -> Option<RoomOutput> {
        self.0.pop_front()
    }

    /// Sends an encoded message on a session's control stream.
    pub(crate) fn control(&mut self, session: SessionId, message: Bytes) {
        self.push(RoomOutput::Control(session, message));
    }

    /// Replies to a request that a session sent on its control stream.
    pub(crate) fn reply(&mut self, session: SessionId, reply: &StateReply) {
        self.control(session, Bytes::from(session::encode(reply)));
    }
}

impl Extend<RoomOutput> for Outputs {
    fn extend<T: IntoIterator<Item = RoomOutput>>(&mut self, outputs: T) {
        self.0.extend(outputs);
    }
}
