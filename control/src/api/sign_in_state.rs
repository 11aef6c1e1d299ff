//! How people sign in, and what is known of their attempts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::people::{
    FailedSignIns, PasswordWorker, ProviderAddresses, SignInCounters, SignInRates, SingleSignOn,
};
use crate::timestamp::Timestamp;

/// How long is believed what the provider says of itself, in microseconds: ten minutes.
const ADDRESSES_TIME: i64 = 600_000_000;
/// How long a provider that did not answer is not asked again, in microseconds: five seconds.
const FAILURE_TIME: i64 = 5_000_000;

/// How people sign in.
#[derive(Clone, Debug)]
pub struct SignInSettings {
    /// Hashes their passwords.
    pub passwords: PasswordWorker,
    /// The address under which browsers reach this server, as `https://nucleus.example.com`; `None`: it is
    /// not known, so links are written without it.
    pub url: Option<String>,
    /// The provider of single sign-on, which needs `url`; `None`: there is none.
    pub single_sign_on: Option<Arc<SingleSignOn>>,
    /// Counts what came of attempts, for the metrics.
    pub counters: Arc<SignInCounters>,
}

/// What is known of attempts to sign in.
#[derive(Debug, Default)]
pub(super) struct SignInState {
    rates: Mutex<SignInRates>,
    failed: Mutex<FailedSignIns>,
    /// When the provider of single sign-on was asked, and what it has said of itself; `None`: nothing.
    provider: Mutex<Option<(Timestamp, Option<ProviderAddresses>)>>,
}

impl SignInState {
    /// The waits after failed attempts.
    pub(super) fn rates(&self) -> MutexGuard<'_, SignInRates> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failed attempts that the audit does not have yet.
    pub(super) fn failed(&self) -> MutexGuard<'_, FailedSignIns> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the provider has said of itself a short time ago; `Some(None)`: it did not answer then.
    pub(super) fn provider(&self, now: Timestamp) -> Option<Option<ProviderAddresses>> {
        let known = self.provider.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, addresses) = known.as_ref()?;
        let time = if addresses.is_some() { ADDRESSES_TIME } else { FAILURE_TIME };
        let age = now.micros().saturating_sub(at.micros());
        (0..time).contains(&age).then(|| addresses.clone())
    }

    /// Keeps what the provider says of itself; `None`: it does not answer.
    pub(super) fn set_provider(&self, now: Timestamp, addresses: Option<ProviderAddresses>) {
        let mut known = self.provider.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((now, addresses));
    }
}
