//! How people sign in, and what is known of their attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::people::{FailedSignIns, PasswordWorker, SignInRates};

/// How people sign in.
#[derive(Clone, Debug)]
pub struct SignInSettings {
    /// Hashes their passwords.
    pub passwords: PasswordWorker,
    /// The address under which browsers reach this server, as `https://nucleus.example.com`; `None`: it is
    /// not known, so links are written without it.
    pub url: Option<String>,
}

/// What is known of attempts to sign in.
#[derive(Debug, Default)]
pub(super) struct SignInState {
    rates: Mutex<SignInRates>,
    failed: Mutex<FailedSignIns>,
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
}
