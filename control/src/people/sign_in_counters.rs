//! Counts what came of attempts to sign in.

use std::sync::atomic::{AtomicU64, Ordering};

/// What came of attempts to sign in since the start.
#[derive(Debug, Default)]
pub struct SignInCounters([AtomicU64; 7]);

/// What came of an attempt to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// A session has begun.
    SignedIn,
    /// The email address, the password or the code was wrong, or the account is disabled.
    Wrong,
    /// The password was right, and a code of the authenticator app is needed.
    CodeNeeded,
    /// There were too many failures before: the attempt was refused without a look at the password.
    Slowed,
    /// Too many others were signing in.
    Busy,
    /// The provider of single sign-on has refused, the person may not sign in here, or the browser came back
    /// too late.
    ProviderRefused,
    /// The database or the provider of single sign-on does not answer as it should.
    Unavailable,
}

impl SignInOutcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::SignedIn,
        Self::Wrong,
        Self::CodeNeeded,
        Self::Slowed,
        Self::Busy,
        Self::ProviderRefused,
        Self::Unavailable,
    ];

    /// Returns the name in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::Wrong => "wrong",
            Self::CodeNeeded => "code_needed",
            Self::Slowed => "slowed",
            Self::Busy => "busy",
            Self::ProviderRefused => "provider_refused",
            Self::Unavailable => "unavailable",
        }
    }
}

impl SignInCounters {
    /// Counts an attempt.
    pub fn count(&self, outcome: SignInOutcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of attempts with an outcome.
    pub fn get(&self, outcome: SignInOutcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}
