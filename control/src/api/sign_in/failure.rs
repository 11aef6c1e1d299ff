//! Why a form was refused: its code in the address of the page after it, its words, and its status for programs.

use std::time::Duration;

use crate::api::problem::Problem;
use crate::people::{PasswordFault, SignInOutcome, WorkerBusy};
use crate::store::StoreError;

/// Why a form was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormFailure {
    /// The email address, the password or the code is wrong, or the person may not sign in.
    Wrong,
    /// The password is right, and a code of the authenticator app is needed.
    NeedsCode,
    /// The code is wrong or was used.
    WrongCode,
    /// There were too many attempts: this long the next one has to wait.
    Slow(Duration),
    /// Too many others sign in.
    Busy,
    /// The database does not answer.
    Unavailable,
    /// The link was used, has ended, or never was one.
    Link,
    /// The text is no email address.
    Email,
    /// The name is empty or too long.
    Name,
    /// The password is not taken.
    Password(PasswordFault),
    /// The enrolment of an authenticator app has ended.
    Enrolment,
    /// There is an authenticator app, which must be taken away first.
    HasApp,
    /// There is no authenticator app.
    NoApp,
    /// The provider of single sign-on does not answer, or not as it should.
    Provider,
    /// The provider has refused, or the person may not sign in here.
    ProviderRefused,
    /// The browser has not come back from the provider in time, or is another one.
    ProviderLate,
}

impl FormFailure {
    /// Every failure. A wait is of unknown length: its code does not tell it.
    const ALL: [Self; 18] = [
        Self::Wrong,
        Self::NeedsCode,
        Self::WrongCode,
        Self::Slow(Duration::ZERO),
        Self::Busy,
        Self::Unavailable,
        Self::Link,
        Self::Email,
        Self::Name,
        Self::Password(PasswordFault::Short),
        Self::Password(PasswordFault::Long),
        Self::Password(PasswordFault::Email),
        Self::Enrolment,
        Self::HasApp,
        Self::NoApp,
        Self::Provider,
        Self::ProviderRefused,
        Self::ProviderLate,
    ];

    /// Returns the failure that a page is told as `failed`; `None`: the code is none of this program.
    pub(crate) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.code() == code)
    }

    /// Returns the name that pages are told as `failed`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::NeedsCode => "code",
            Self::WrongCode => "wrong_code",
            Self::Slow(_) => "slow",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Link => "link",
            Self::Email => "email",
            Self::Name => "name",
            Self::Password(PasswordFault::Short) => "short",
            Self::Password(PasswordFault::Long) => "long",
            Self::Password(PasswordFault::Email) => "like_email",
            Self::Enrolment => "enrolment",
            Self::HasApp => "has_app",
            Self::NoApp => "no_app",
            Self::Provider => "sso",
            Self::ProviderRefused => "sso_refused",
            Self::ProviderLate => "sso_late",
        }
    }

    /// Returns what is wrong, and what to do.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Wrong => ("Email or password is wrong.", "Look at both, and at Caps Lock."),
            Self::NeedsCode => {
                ("Your account needs a code.", "Type the one that your authenticator shows.")
            }
            Self::WrongCode => (
                "This code is wrong or was used.",
                "Wait for the next one. Look at the device's clock.",
            ),
            Self::Slow(_) => ("There were too many attempts.", "Wait a moment and try again."),
            Self::Busy => ("Too many others sign in.", "Try again in a moment."),
            Self::Unavailable => ("The database does not answer.", "Try again in a moment."),
            Self::Link => ("This link is over.", "Ask an administrator for another one."),
            Self::Email => ("This is no email address.", "Type it like name@example.org."),
            Self::Name => ("This name is empty or too long.", "Use 1 to 128 bytes of plain text."),
            Self::Password(PasswordFault::Short) => {
                ("This password is too short.", "Use 12 characters or more.")
            }
            Self::Password(PasswordFault::Long) => {
                ("This password is too long.", "Use 128 characters or less.")
            }
            Self::Password(PasswordFault::Email) => {
                ("This password contains your email address.", "Choose another one.")
            }
            Self::Enrolment => ("This set-up has ended.", "Begin it again."),
            Self::HasApp => ("Your account has an authenticator app.", "Switch it off first."),
            Self::NoApp => ("Your account has no authenticator app.", "There is nothing to do."),
            Self::Provider => {
                ("The provider of single sign-on does not answer.", "Try again, or use a password.")
            }
            Self::ProviderRefused => (
                "You may not sign in here with this account.",
                "Ask an administrator of this server.",
            ),
            Self::ProviderLate => ("The sign-on took too long.", "Begin it again."),
        }
    }

    /// Returns what came of an attempt to sign in that was refused.
    pub(super) fn outcome(self) -> SignInOutcome {
        match self {
            Self::NeedsCode => SignInOutcome::CodeNeeded,
            Self::Slow(_) => SignInOutcome::Slowed,
            Self::Busy => SignInOutcome::Busy,
            Self::Unavailable | Self::Provider => SignInOutcome::Unavailable,
            Self::ProviderRefused | Self::ProviderLate => SignInOutcome::ProviderRefused,
            // Those of the other forms come of no attempt.
            Self::Wrong
            | Self::WrongCode
            | Self::Link
            | Self::Email
            | Self::Name
            | Self::Password(_)
            | Self::Enrolment
            | Self::HasApp
            | Self::NoApp => SignInOutcome::Wrong,
        }
    }

    /// Returns the answer for programs.
    pub(super) fn problem(self) -> Problem {
        let (what, remedy) = self.words();
        let text = match self {
            Self::Slow(wait) => format!("{what} Wait {} s and try again.", seconds(wait)),
            _ => format!("{what} {remedy}"),
        };
        match self {
            Self::Wrong
            | Self::NeedsCode
            | Self::WrongCode
            | Self::ProviderRefused
            | Self::ProviderLate => Problem::forbidden(text),
            Self::Slow(_) | Self::Busy => Problem::too_many(text),
            Self::Unavailable | Self::Provider => Problem::unavailable(text),
            Self::Link => Problem::not_found(text),
            Self::Email | Self::Name | Self::Password(_) | Self::Enrolment => {
                Problem::invalid(text)
            }
            Self::HasApp | Self::NoApp => Problem::conflict(text),
        }
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_micros().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX)
}

impl From<StoreError> for FormFailure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound("link") | StoreError::Exists(_) => Self::Link,
            error => {
                tracing::warn!(%error, "a form cannot be carried out");
                Self::Unavailable
            }
        }
    }
}

impl From<WorkerBusy> for FormFailure {
    fn from(_: WorkerBusy) -> Self {
        Self::Busy
    }
}

impl From<PasswordFault> for FormFailure {
    fn from(fault: PasswordFault) -> Self {
        Self::Password(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_leads_back_to_its_failure() {
        for failure in FormFailure::ALL {
            assert_eq!(FormFailure::from_code(failure.code()), Some(failure));
        }
        assert_eq!(FormFailure::from_code(""), None);
        assert_eq!(FormFailure::from_code("<script>"), None);
    }
}
