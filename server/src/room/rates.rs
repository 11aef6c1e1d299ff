//! How fast a room takes reliable messages, of all its peers together: what each of them sends goes to all
//! others, and a crowd of senders within their own rates would cut off whoever has a slow network.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nucleus_protocol::limits::MAX_EVENT_MESSAGE;
use nucleus_protocol::time::Time;

use crate::rate::Bucket;

/// What a room takes, on average a second; twice as much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomRate {
    /// Messages of both lanes.
    pub messages: u32,
    /// Their bytes.
    pub bytes: u32,
}

impl Default for RoomRate {
    fn default() -> Self {
        Self { messages: 1_000, bytes: 512 << 10 }
    }
}

/// What is left of it; shared by the sessions of the room, which wait in front of it.
#[derive(Debug)]
pub struct RoomRates(Mutex<[Bucket; 2]>);

impl RoomRates {
    /// All of it.
    pub fn new(now: Time, rate: RoomRate) -> Self {
        let RoomRate { messages, bytes } = rate;
        let bucket = |average: u32, least: usize| {
            Bucket::new(now, average.into(), (2 * u64::from(average)).max(least as u64))
        };
        Self(Mutex::new([bucket(messages, 1), bucket(bytes, MAX_EVENT_MESSAGE)]))
    }

    /// Takes a message of `len` bytes, of at most [`MAX_EVENT_MESSAGE`].
    ///
    /// # Errors
    ///
    /// How long to wait before it is tried again.
    pub fn take(&self, now: Time, len: usize) -> Result<(), Duration> {
        // Nobody panics while holding it, and a bucket is whole at every step.
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [messages, bytes] = &mut *rates;
        let wait = messages.wait_for(now, 1).max(bytes.wait_for(now, len as u64));
        if !wait.is_zero() {
            return Err(wait);
        }
        messages.take(1);
        bytes.take(len as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_have_one_rate() {
        let rates = RoomRates::new(Time::ZERO, RoomRate { messages: 10, bytes: 100_000 });
        let taken = |now, len| (0..1_000).take_while(|_| rates.take(now, len).is_ok()).count();
        assert_eq!(taken(Time::ZERO, 10), 20, "messages");
        assert_eq!(taken(Time::from_millis(500), 10), 5);
        assert_eq!(taken(Time::from_millis(10_000), 20_000), 10, "bytes");
        let wait = rates.take(Time::from_millis(10_000), 20_000).unwrap_err();
        assert!(rates.take(Time::from_millis(10_000) + wait, 20_000).is_ok());
    }

    #[test]
    fn the_largest_message_fits_the_least_rate() {
        let rates = RoomRates::new(Time::ZERO, RoomRate { messages: 1, bytes: 1 });
        assert_eq!(rates.take(Time::ZERO, MAX_EVENT_MESSAGE), Ok(()));
        assert!(rates.take(Time::ZERO, 1).is_err());
    }
}
