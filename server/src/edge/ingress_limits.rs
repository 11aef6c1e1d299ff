//! Ingress limits: how fast a stream of a client's is read, and that the shard hears of it.

use nucleus_core::fanout::LinkEvent;
use nucleus_core::ids::SessionId;
use nucleus_core::limits;
use nucleus_core::rate::{MessageRate, Rate};
use nucleus_core::room::RoomInput;
use nucleus_net::Clock;
use nucleus_protocol::time::Time;
use tokio::time::sleep;

use crate::rooms::RoomHandle;

/// Not reading is what tells the sender, by QUIC's flow control.
pub(super) struct IngressLimits {
    clock: Clock,
    rate: MessageRate,
    /// Bytes of the largest message.
    largest: u64,
    /// When the shard, which alone knows who is away, is to hear of the next message.
    tell_at: Time,
    /// What its peer is told that it is throttled in, and when at the soonest again.
    what: u8,
    tell_throttled_at: Time,
    /// Until when reading had to wait for the next message.
    waited: Option<Time>,
}

/// So many a second on average, so many at once.
pub(super) fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: per_second.into(), burst: burst.into() }
}

impl IngressLimits {
    /// The bursts are kept between one second's and four seconds' worth, and are never less than one
    /// message, whose largest has `largest` bytes. `what` is one of
    /// [`nucleus_protocol::session::throttled`].
    pub(super) fn new(clock: Clock, what: u8, messages: Rate, bytes: Rate, largest: usize) -> Self {
        let now = Time::from_micros(clock.now());
        let largest = largest as u64;
        let bounded = |Rate { per_second, burst }, least| {
            // Who may say little may not say much of it at once.
            let burst = burst.min(per_second.saturating_mul(4)).max(per_second).max(least);
            Rate { per_second, burst }
        };
        let rate = MessageRate::new(now, bounded(messages, 1), bounded(bytes, largest));
        let (tell_at, tell_throttled_at, waited) = (Time::ZERO, Time::ZERO, None);
        Self { clock, rate, largest, tell_at, what, tell_throttled_at, waited }
    }

    /// Waits until the next message may come, whatever its size.
    pub(super) async fn ready(&mut self) {
        loop {
            let now = self.now();
            let wait = self.rate.wait_for(now, self.largest);
            if wait.is_zero() {
                return;
            }
            sleep(wait).await;
            self.waited = Some(self.now());
        }
    }

    /// One has come, of this session. Its peer is told when it stood here and was not read, or
    /// `waited` for others of its room.
    pub(super) async fn took(
        &mut self,
        len: usize,
        waited: bool,
        room: &RoomHandle,
        session: SessionId,
    ) {
        self.rate.take(len as u64);
        let now = self.now();
        if now >= self.tell_at {
            self.tell_at = now + limits::ALIVE_INTERVAL;
            room.alive(session);
        }
        let stood = self.waited.take().is_some_and(|at| now.since(at) < limits::WAS_WAITING);
        if (stood || waited) && now >= self.tell_throttled_at {
            self.tell_throttled_at = now + limits::THROTTLED_INTERVAL;
            room.post(RoomInput::Link(session, LinkEvent::Throttled(self.what))).await;
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }
}
