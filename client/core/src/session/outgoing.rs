//! The streams that the client writes.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use nucleus_protocol::session::Lane;

/// Messages that may wait for the control stream. Only callers that drop their requests at once can
/// reach it: otherwise the requests without a reply are bounded.
const MAX_CONTROL: usize = 32;

/// A stream on which the client writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamTarget {
    /// The client's half of the control stream.
    Control,
    /// The stream of a lane. Bulk messages have a lower priority than everything else.
    Lane(Lane),
}

/// What is to be done with a stream on which the client writes.
#[derive(Clone, PartialEq, Eq)]
pub enum StreamAction {
    /// Write these bytes. The first write to a lane opens its stream; the bytes begin with the
    /// stream's type.
    Write(Bytes),
    /// End the stream.
    Finish,
}

impl fmt::Debug for StreamAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes may have a token, which must not reach a log.
        match self {
            StreamAction::Write(bytes) => write!(f, "Write({} bytes)", bytes.len()),
            StreamAction::Finish => f.write_str("Finish"),
        }
    }
}

/// The state of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    /// Nothing was written.
    New,
    /// Everything is written.
    Idle,
    /// The caller writes.
    Writing,
    /// The stream was ended, and the server has not confirmed that it has everything.
    Ending,
    Ended,
}

/// The client's streams of one session.
pub(super) struct OutgoingStreams {
    /// Messages for the control stream, see [`MAX_CONTROL`].
    control: VecDeque<Bytes>,
    control_state: StreamState,
    /// The message of each lane that is to be written next.
    lanes: [Option<Bytes>; 2],
    lane_states: [StreamState; 2],
    leave: Option<LeaveState>,
}

/// How far a leave has come.
enum LeaveState {
    /// The server must have everything on the lanes first. Holds `Leave`.
    AfterLanes(Bytes),
    /// `Leave` is sent; the control stream ends.
    Said,
}

impl OutgoingStreams {
    pub(super) fn new() -> Self {
        Self {
            control: VecDeque::new(),
            control_state: StreamState::New,
            lanes: [None, None],
            lane_states: [StreamState::New; 2],
            leave: None,
        }
    }

    /// Returns whether few enough messages wait.
    pub(super) fn can_push_control(&self) -> bool {
        self.control.len() < MAX_CONTROL
    }

    /// Sends a message on the control stream.
    pub(super) fn push_control(&mut self, message: Bytes) {
        self.control.push_back(message);
    }

    /// Returns whether a message may be written to a lane now.
    pub(super) fn can_write(&self, lane: Lane) -> bool {
        let is_free =
            matches!(self.lane_states[lane.index()], StreamState::New | StreamState::Idle);
        is_free && self.lanes[lane.index()].is_none() && self.leave.is_none()
    }

    /// Writes a message to a lane that [`Self::can_write`] says is free.
    pub(super) fn write(&mut self, lane: Lane, message: &[u8]) {
        let is_new = self.lane_states[lane.index()] == StreamState::New;
        let kind = if is_new { &[lane.stream()][..] } else { &[] };
        self.lanes[lane.index()] = Some([kind, message].concat().into());
    }

    /// Sends `message`, a `Leave`, after everything else has arrived, and ends the streams.
    pub(super) fn leave(&mut self, message: Bytes) {
        self.leave.get_or_insert(LeaveState::AfterLanes(message));
    }

    /// Notes that the newest write to a stream is complete.
    pub(super) fn written(&mut self, target: StreamTarget) {
        *self.state(target) = StreamState::Idle;
    }

    /// Notes that the server has everything on a stream that was ended.
    pub(super) fn finished(&mut self, target: StreamTarget) {
        *self.state(target) = StreamState::Ended;
    }

    fn state(&mut self, target: StreamTarget) -> &mut StreamState {
        match target {
            StreamTarget::Control => &mut self.control_state,
            StreamTarget::Lane(lane) => &mut self.lane_states[lane.index()],
        }
    }

    /// Returns the next thing to do.
    pub(super) fn poll(&mut self) -> Option<(StreamTarget, StreamAction)> {
        if matches!(self.control_state, StreamState::New | StreamState::Idle)
            && let Some(message) = self.control.pop_front()
        {
            self.control_state = StreamState::Writing;
            return Some((StreamTarget::Control, StreamAction::Write(message)));
        }
        for lane in Lane::ALL {
            if let Some(message) = self.lanes[lane.index()].take() {
                self.lane_states[lane.index()] = StreamState::Writing;
                return Some((StreamTarget::Lane(lane), StreamAction::Write(message)));
            }
        }
        self.poll_leave()
    }

    fn poll_leave(&mut self) -> Option<(StreamTarget, StreamAction)> {
        let leave = self.leave.as_mut()?;
        for lane in Lane::ALL {
            let state = &mut self.lane_states[lane.index()];
            if *state == StreamState::Idle {
                *state = StreamState::Ending;
                return Some((StreamTarget::Lane(lane), StreamAction::Finish));
            }
        }
        let is_over = |state: &StreamState| matches!(state, StreamState::New | StreamState::Ended);
        if !self.lane_states.iter().all(is_over) || self.control_state != StreamState::Idle {
            return None;
        }
        match std::mem::replace(leave, LeaveState::Said) {
            LeaveState::AfterLanes(message) => {
                self.control_state = StreamState::Writing;
                Some((StreamTarget::Control, StreamAction::Write(message)))
            }
            LeaveState::Said => {
                self.control_state = StreamState::Ending;
                Some((StreamTarget::Control, StreamAction::Finish))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: StreamTarget = StreamTarget::Control;
    const EVENTS: StreamTarget = StreamTarget::Lane(Lane::Events);

    fn write(bytes: &'static [u8]) -> StreamAction {
        StreamAction::Write(Bytes::from_static(bytes))
    }

    #[test]
    fn a_stream_has_one_write_at_a_time_and_a_lane_begins_with_its_type() {
        let mut streams = OutgoingStreams::new();
        streams.push_control(Bytes::from_static(b"a"));
        streams.push_control(Bytes::from_static(b"b"));
        streams.write(Lane::Events, b"c");
        assert!(!streams.can_write(Lane::Events) && streams.can_write(Lane::Bulk));
        assert_eq!(streams.poll(), Some((CONTROL, write(b"a"))));
        let first = [&[Lane::Events.stream()][..], b"c"].concat();
        assert_eq!(streams.poll(), Some((EVENTS, StreamAction::Write(first.into()))));
        assert_eq!(streams.poll(), None);
        streams.written(CONTROL);
        assert_eq!(streams.poll(), Some((CONTROL, write(b"b"))));
        streams.written(EVENTS);
        streams.write(Lane::Events, b"d");
        assert_eq!(streams.poll(), Some((EVENTS, write(b"d"))));
    }

    #[test]
    fn a_leave_is_said_after_the_server_has_all_events() {
        let mut streams = OutgoingStreams::new();
        streams.push_control(Bytes::from_static(b"a"));
        assert_eq!(streams.poll(), Some((CONTROL, write(b"a"))));
        streams.written(CONTROL);
        streams.write(Lane::Events, b"c");
        streams.leave(Bytes::from_static(b"l"));
        assert!(matches!(streams.poll(), Some((EVENTS, StreamAction::Write(_)))));
        assert_eq!(streams.poll(), None, "the event is not written yet");
        streams.written(EVENTS);
        assert_eq!(streams.poll(), Some((EVENTS, StreamAction::Finish)));
        assert_eq!(streams.poll(), None, "the server does not have it yet");
        streams.finished(EVENTS);
        assert_eq!(streams.poll(), Some((CONTROL, write(b"l"))));
        streams.written(CONTROL);
        assert_eq!(streams.poll(), Some((CONTROL, StreamAction::Finish)));
        streams.finished(CONTROL);
        assert_eq!(streams.poll(), None);
    }
}
