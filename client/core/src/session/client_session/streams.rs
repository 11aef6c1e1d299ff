//! The streams of one session, in both directions.

use nucleus_protocol::session::Lane;
use nucleus_protocol::time::Time;

use crate::session::end::ConnectionEnd;
use crate::session::incoming::{IncomingStreams, StreamSource};
use crate::session::outgoing::{OutgoingStreams, StreamTarget};
use crate::session::step::SessionInput;

/// The streams of a connection.
pub(super) struct SessionStreams {
    pub(super) incoming: IncomingStreams,
    pub(super) outgoing: OutgoingStreams,
    /// When the session counts as lost, because the server has ended a stream and does not close
    /// the connection.
    pub(super) lost_at: Option<Time>,
    /// The end of the connection. What came before is handed on first.
    pub(super) end: Option<ConnectionEnd>,
    /// Whether everything that has arrived is read, because nothing else will come.
    pub(super) is_draining: bool,
    /// Whether the server has ended the control stream in good order.
    pub(super) is_answer_over: bool,
}

impl SessionStreams {
    pub(super) fn new() -> Self {
        Self {
            incoming: IncomingStreams::new(),
            outgoing: OutgoingStreams::new(),
            lost_at: None,
            end: None,
            is_draining: false,
            is_answer_over: false,
        }
    }

    /// Handles what has happened to a stream. Returns the lane whose message is written.
    pub(super) fn handle(&mut self, input: SessionInput<'_>) -> Option<Lane> {
        match input {
            SessionInput::StreamOpened(number) => self.incoming.open(number),
            SessionInput::Bytes(source, bytes) => self.incoming.push(source, bytes),
            SessionInput::StreamEnded { source, is_broken } => {
                self.incoming.end(source, is_broken);
                self.is_answer_over |= source == StreamSource::Control && !is_broken;
            }
            SessionInput::Written(target) => {
                self.outgoing.written(target);
                if let StreamTarget::Lane(lane) = target {
                    return Some(lane);
                }
            }
            SessionInput::Finished(target) => self.outgoing.finished(target),
            SessionInput::Stopped(_) => self.incoming.has_ended_stream = true,
            SessionInput::Resolved { .. }
            | SessionInput::Connected(_)
            | SessionInput::NotConnected(_)
            | SessionInput::Ending { .. }
            | SessionInput::Closed(_) => {}
        }
        None
    }
}
