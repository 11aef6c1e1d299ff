//! Ingress limits: the rate at which a client's stream is read. Also reports the client's activity
//! to the shard and its throttling to the room.

use nucleus_core::fanout::LinkEvent;
use nucleus_core::ids::SessionId;
use nucleus_core::limits;
use nucleus_core::rate::MessageRate;
use nucleus_core::room::RoomInput;
use nucleus_core::stream_rates::StreamRates;
use nucleus_net::Clock;
use nucleus_protocol::time::Time;
use tokio::time::sleep;

use crate::rooms::RoomHandle;

/// The ingress limits of one stream. A stream that is not read makes its sender wait by QUIC's flow
/// control.
pub(super) struct IngressLimits {
    clock: Clock,
    rate: MessageRate,
    /// Size of the largest message in bytes.
    largest: u64,
    /// From this time on, the next message is reported to the shard as activity of the peer. Only
    /// the shard decides who is away.
    report_active_at: Time,
    /// The kind of messages, one of [`nucleus_protocol::session::throttled`].
    kind: u8,
    /// Until this time, the peer is not told again that it is throttled.
    report_throttled_at: Time,
    /// When the last wait for the rate ended, if no message has been taken since.
    waited_until: Option<Time>,
}

impl IngressLimits {
    /// Makes the limits of a stream with these rates. `kind` is one of
    /// [`nucleus_protocol::session::throttled`].
    pub(super) fn new(clock: Clock, kind: u8, rates: StreamRates) -> Self {
        let now = Time::from_micros(clock.now());
        Self {
            clock,
            rate: MessageRate::new(now, rates.messages, rates.bytes),
            largest: rates.largest as u64,
            report_active_at: Time::ZERO,
            kind,
            report_throttled_at: Time::ZERO,
            waited_until: None,
        }
    }

    /// Waits until the rate allows a message of the largest size.
    pub(super) async fn ready(&mut self) {
        loop {
            let now = self.now();
            let wait = self.rate.wait_for(now, self.largest);
            if wait.is_zero() {
                return;
            }
            sleep(wait).await;
            self.waited_until = Some(self.now());
        }
    }

    /// Takes a message of `len` bytes from the rate. `waited_for_room` is whether the message had
    /// to wait for the room's rate. In this case, or if the message was in the stream while the
    /// peer's rate did not allow reading, tells the peer that it is throttled.
    pub(super) async fn take(
        &mut self,
        len: usize,
        waited_for_room: bool,
        room: &RoomHandle,
        session: SessionId,
    ) {
        self.rate.take(len as u64);
        let now = self.now();
        if now >= self.report_active_at {
            self.report_active_at = now + limits::ALIVE_INTERVAL;
            room.active(session);
        }
        // A message that is read so soon after the wait was in the stream during the wait.
        let waited = self.waited_until.take().is_some_and(|at| now.since(at) < limits::WAS_WAITING);
        if (waited || waited_for_room) && now >= self.report_throttled_at {
            self.report_throttled_at = now + limits::THROTTLED_INTERVAL;
            room.post(RoomInput::Link(session, LinkEvent::Throttled(self.kind))).await;
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }
}
