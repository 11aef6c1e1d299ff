//! How fast a stream of a client's is read, and that the shard hears of it.

use nucleus_net::Clock;
use nucleus_protocol::time::Time;
use tokio::time::sleep;

use crate::directory::RoomHandle;
use crate::limits;
use crate::rate::Bucket;
use crate::room::Seat;
use crate::room::task::RoomInput;
use crate::shard::LinkNews;

/// Not reading is what tells the sender, by QUIC's flow control.
pub(super) struct Intake {
    clock: Clock,
    messages: Bucket,
    bytes: Bucket,
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

impl Intake {
    /// Messages and their bytes: so many a second, on average, and so many at once, but at most four
    /// seconds' and at least one's; `what` of
    /// [`nucleus_protocol::session::throttled`] they are.
    pub(super) fn new(
        clock: Clock,
        what: u8,
        messages: (u32, u32),
        bytes: (u32, u32),
        largest: usize,
    ) -> Self {
        let now = Time::from_micros(clock.now());
        let largest = largest as u64;
        let bucket = |(average, burst): (u32, u32), least| {
            // Who may say little may not say much of it at once.
            let burst = burst.min(average.saturating_mul(4)).max(average);
            Bucket::new(now, average.into(), u64::from(burst).max(least))
        };
        let (messages, bytes) = (bucket(messages, 1), bucket(bytes, largest));
        let (tell_at, tell_throttled_at, waited) = (Time::ZERO, Time::ZERO, None);
        Self { clock, messages, bytes, largest, tell_at, what, tell_throttled_at, waited }
    }

    /// Waits until the next message may come, whatever its size.
    pub(super) async fn ready(&mut self) {
        loop {
            let now = self.now();
            let wait = self.messages.wait_for(now, 1);
            let wait = wait.max(self.bytes.wait_for(now, self.largest));
            if wait.is_zero() {
                return;
            }
            sleep(wait).await;
            self.waited = Some(self.now());
        }
    }

    /// One has come, of the session `seat`. Its peer is told when it stood here and was not read, or
    /// `waited` for others of its room.
    pub(super) async fn took(&mut self, len: usize, waited: bool, room: &RoomHandle, seat: Seat) {
        self.messages.take(1);
        self.bytes.take(len as u64);
        let now = self.now();
        if now >= self.tell_at {
            self.tell_at = now + limits::ALIVE_INTERVAL;
            room.alive(seat);
        }
        let stood = self.waited.take().is_some_and(|at| now.since(at) < limits::WAS_WAITING);
        if (stood || waited) && now >= self.tell_throttled_at {
            self.tell_throttled_at = now + limits::THROTTLED_INTERVAL;
            room.post(RoomInput::Link(seat, LinkNews::Throttled(self.what))).await;
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }
}
