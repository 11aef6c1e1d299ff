//! Ingress limits: the rate at which a client's stream is read. Also reports the client's activity
//! to the shard and its throttling to the room.

use std::time::Duration;

use nucleus_core::fanout::LinkEvent;
use nucleus_core::ids::SessionId;
use nucleus_core::limits;
use nucleus_core::rate::MessageRate;
use nucleus_core::room::RoomInput;
use nucleus_core::session_budgets::SessionBudgets;
use nucleus_protocol::limits::{MAX_EVENT_MESSAGE, MAX_STATE_REQUEST};
use nucleus_protocol::session::{Lane, throttled};
use nucleus_protocol::time::Time;
use tokio::time::sleep;

use crate::rooms::{LentBudgets, RoomHandle};

/// A stream of a client with a limited rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitedStream {
    /// The stream of a lane.
    Lane(Lane),
    /// The requests of the control stream.
    Requests,
}

impl LimitedStream {
    fn rate(self, budgets: &mut SessionBudgets) -> &mut MessageRate {
        match self {
            Self::Lane(Lane::Events) => &mut budgets.events,
            Self::Lane(Lane::Bulk) => &mut budgets.bulk,
            Self::Requests => &mut budgets.requests,
        }
    }

    /// Returns the size of the largest message in bytes.
    fn largest(self) -> usize {
        match self {
            Self::Lane(_) => MAX_EVENT_MESSAGE,
            Self::Requests => MAX_STATE_REQUEST,
        }
    }

    /// Returns how the client is told that it is throttled.
    fn kind(self) -> u8 {
        match self {
            Self::Lane(Lane::Events) => throttled::EVENTS,
            Self::Lane(Lane::Bulk) => throttled::BULK,
            Self::Requests => throttled::REQUESTS,
        }
    }
}

/// The ingress limits of one stream. A stream that is not read makes its sender wait by QUIC's flow
/// control.
pub(super) struct IngressLimits<'a> {
    budgets: &'a LentBudgets,
    stream: LimitedStream,
    /// From this time on, the next message is reported to the shard as activity of the peer. Only
    /// the shard decides who is away.
    report_active_at: Time,
    /// Until this time, the peer is not told again that it is throttled.
    report_throttled_at: Time,
    /// When the last wait for the rate ended, if no message has been taken since.
    waited_until: Option<Time>,
}

impl<'a> IngressLimits<'a> {
    /// Makes the limits of a stream of a session with these budgets.
    pub(super) fn new(budgets: &'a LentBudgets, stream: LimitedStream) -> Self {
        Self {
            budgets,
            stream,
            report_active_at: Time::ZERO,
            report_throttled_at: Time::ZERO,
            waited_until: None,
        }
    }

    /// Waits until the rate allows a message of the largest size.
    pub(super) async fn ready(&mut self) {
        loop {
            let wait = self.wait();
            if wait.is_zero() {
                return;
            }
            sleep(wait).await;
            self.waited_until = Some(self.budgets.now());
        }
    }

    fn wait(&self) -> Duration {
        let Self { stream, .. } = *self;
        let largest = stream.largest() as u64;
        self.budgets.with(|now, budgets| stream.rate(budgets).wait_for(now, largest))
    }

    /// Takes a message of `len` bytes from the rate. Returns whether the message was in the stream
    /// while the rate did not allow reading. Call this before the message waits for anything else, so
    /// that a session that ends meanwhile has paid for it.
    pub(super) fn take(&mut self, len: usize) -> bool {
        let stream = self.stream;
        let now = self.budgets.with(|now, budgets| {
            stream.rate(budgets).take(len as u64);
            now
        });
        // A message that is read so soon after the wait was in the stream during the wait.
        self.waited_until.take().is_some_and(|at| now.since(at) < limits::WAS_WAITING)
    }

    /// Reports to the shard that the peer is active and, if a message had to wait for the rate of the
    /// peer or the room, tells the peer that it is throttled. Both now and then only.
    pub(super) async fn report(&mut self, waited: bool, room: &RoomHandle, session: SessionId) {
        let now = self.budgets.now();
        if now >= self.report_active_at {
            self.report_active_at = now + limits::ALIVE_INTERVAL;
            room.active(session);
        }
        if waited && now >= self.report_throttled_at {
            self.report_throttled_at = now + limits::THROTTLED_INTERVAL;
            room.post(RoomInput::Link(session, LinkEvent::Throttled(self.stream.kind()))).await;
        }
    }
}
