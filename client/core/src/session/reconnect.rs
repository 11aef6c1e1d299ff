//! The rules for resuming a lost session: whether the client tries it, and how long it waits before
//! each attempt.

use std::time::Duration;

use nucleus_protocol::session::Code;

use super::JoinError;

/// Pauses before the attempts, in ms; the last one repeats. LiveKit uses the same schedule.
const PAUSES_MS: [u64; 5] = [0, 300, 1_200, 2_700, 4_800];
/// Largest random addition to each pause. Spreads out the clients that lost the same server at the
/// same time.
const JITTER: Duration = Duration::from_secs(1);

/// Longest time that a client tries to resume its session: a year. A clock cannot show the end of
/// [`Duration::MAX`].
pub const LONGEST_PATIENCE: Duration = Duration::from_secs(365 * 86_400);

/// The pauses between a client's attempts to resume its session.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    attempts: usize,
}

impl Backoff {
    /// Returns how long to wait between the last failure and the next attempt. This is at least
    /// `retry_after`, which the server may have requested. The caller passes a random number, which
    /// must differ between clients.
    pub fn pause(&mut self, retry_after: Option<Duration>, random: u64) -> Duration {
        let pause = PAUSES_MS[self.attempts.min(PAUSES_MS.len() - 1)];
        self.attempts += 1;
        let jitter = JITTER.mul_f64(random as f64 / u64::MAX as f64);
        Duration::from_millis(pause).max(retry_after.unwrap_or_default()) + jitter
    }
}

/// Returns whether a client should try to resume a session that ended with `code`. `None` means
/// that the connection was lost, or that this version does not know the code.
///
/// Returns false for a session that was replaced by another one of the same user: resuming it would
/// end the other session.
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
    /// Returns whether the server refused the token itself.
    pub fn is_about_token(&self) -> bool {
        let JoinError::Refused { code, .. } = self else { return false };
        matches!(
            code,
            Some(
                Code::TokenMalformed
                    | Code::TokenAlgorithm
                    | Code::TokenSignature
                    | Code::TokenExpired
                    | Code::TokenNotYetValid
                    | Code::TokenAudience
            )
        )
    }

    /// Returns the shortest pause after which the same join may succeed; `None` if it cannot
    /// succeed.
    pub fn retry_delay(&self) -> Option<Duration> {
        match self {
            JoinError::Refused { code, retry_after, .. } => {
                // An unknown code is treated like a lost session.
                let may_succeed = may_reconnect(*code) || retry_after.is_some();
                may_succeed.then(|| retry_after.unwrap_or_default())
            }
            JoinError::NoAddress { .. }
            | JoinError::Unreachable { .. }
            | JoinError::Connect(_)
            | JoinError::Connection(_)
            | JoinError::TimedOut { .. } => Some(Duration::ZERO),
            JoinError::Options(_) | JoinError::Tls(_) | JoinError::Protocol(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ_between_clients() {
        let pauses = |random| {
            let mut backoff = Backoff::default();
            (0..7).map(|_| backoff.pause(None, random).as_millis() as u64).collect::<Vec<_>>()
        };
        let least = [0, 300, 1_200, 2_700, 4_800, 4_800, 4_800];
        assert_eq!(pauses(0), least);
        assert_eq!(pauses(u64::MAX), least.map(|least| least + 1_000));
        assert_ne!(pauses(u64::MAX / 3), pauses(u64::MAX / 2));
        let pause = Backoff::default().pause(Some(Duration::from_secs(9)), 0);
        assert!(pause >= Duration::from_secs(9));
    }

    #[test]
    fn ends_that_are_meant_are_final() {
        for code in [Code::Left, Code::Replaced, Code::Kicked, Code::TokenExpired] {
            assert!(!may_reconnect(Some(code)), "{code}");
        }
        assert!(may_reconnect(None) && may_reconnect(Some(Code::ShuttingDown)));
    }
}
