//! When a session that was lost is tried again.

use std::time::Duration;

use nucleus_protocol::session::Code;

use super::JoinError;

/// Pauses before the first tries, then the last one again and again: LiveKit's schedule.
const PAUSES_MS: [u64; 5] = [0, 300, 1_200, 2_700, 4_800];
/// Added to each pause at random, so that thousands that lost a server together do not come back
/// together.
const JITTER: Duration = Duration::from_secs(1);

/// The pauses of one client that lost its session; an endless iterator.
#[derive(Clone, Debug)]
pub struct Backoff {
    tries: usize,
    rng: fastrand::Rng,
}

impl Backoff {
    /// `seed` decides the jitter; it must differ between clients.
    pub fn new(seed: u64) -> Self {
        Self { tries: 0, rng: fastrand::Rng::with_seed(seed) }
    }

    /// How long to wait before the next try, from the failure of the one before; at least what the
    /// server asked for.
    pub fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let pause = PAUSES_MS[self.tries.min(PAUSES_MS.len() - 1)];
        self.tries += 1;
        let jitter = JITTER.mul_f64(self.rng.f64());
        Duration::from_millis(pause).max(retry_after.unwrap_or_default()) + jitter
    }
}

/// Whether a session that ended with `code` (`None`: it was lost, or the code is a later version's) is
/// worth another try. One that was replaced is not: whoever took its place would be thrown out next.
pub fn may_reconnect(code: Option<Code>) -> bool {
    code.is_none_or(|code| {
        matches!(
            code,
            Code::ShuttingDown
                | Code::ServerFull
                | Code::Internal
                | Code::JoinTimeout
                | Code::SlowConsumer
                | Code::TimedOut
        )
    })
}

impl JoinError {
    /// Whether the same join may succeed later, and if so, after how long at the soonest.
    pub fn retry_delay(&self) -> Option<Duration> {
        match self {
            JoinError::Refused { code, retry_after, .. } => {
                // A later version's code is as good as a lost session.
                let returns = may_reconnect(*code) || retry_after.is_some();
                returns.then(|| retry_after.unwrap_or_default())
            }
            JoinError::Connect(_) | JoinError::Connection(_) | JoinError::TimedOut { .. } => {
                Some(Duration::ZERO)
            }
            JoinError::Options(_) | JoinError::Tls(_) | JoinError::Protocol(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ_between_clients() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..7).map(|_| backoff.pause(None).as_millis() as u64).collect::<Vec<_>>()
        };
        let least = [0, 300, 1_200, 2_700, 4_800, 4_800, 4_800];
        for seed in 0..100 {
            for (pause, least) in pauses(seed).into_iter().zip(least) {
                assert!((least..=least + 1_000).contains(&pause), "{pause} of {least}");
            }
        }
        assert_ne!(pauses(1), pauses(2));
        let asked = Backoff::new(1).pause(Some(Duration::from_secs(9)));
        assert!(asked >= Duration::from_secs(9));
    }

    #[test]
    fn ends_that_are_meant_are_final() {
        for code in [Code::Left, Code::Replaced, Code::Kicked, Code::TokenExpired] {
            assert!(!may_reconnect(Some(code)), "{code}");
        }
        assert!(may_reconnect(None) && may_reconnect(Some(Code::ShuttingDown)));
    }
}
