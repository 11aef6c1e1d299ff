//! The reader's own account.

use askama::Template;

use super::parts::FormProblem;
use crate::charts::CodeDrawing;
use crate::name::ShownName;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// Password, codes and sessions of the reader.
#[derive(Clone, Debug, Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// Whether the reader has a password; if not, single sign-on is used.
    pub has_password: bool,
    /// Whether signing in needs a code.
    pub totp: TotpState,
    /// Why a form was not accepted. The field's name says which.
    pub problem: Option<FormProblem>,
    /// The reader's sessions.
    pub sessions: Vec<OwnSession>,
}

/// Whether signing in needs a code of an authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TotpState {
    /// No code.
    Off,
    /// A secret was made, and its first code is awaited.
    Enrolling(TotpSetup),
    /// A code.
    On,
}

/// What an authenticator needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpSetup {
    /// The secret in base32, in groups of four.
    pub secret: String,
    /// The address for an authenticator on the same device: `otpauth://...`.
    pub address: String,
    /// The sealed secret, which the form sends back.
    pub enrolment: String,
    /// The address as a code for a camera; absent: the secret is typed.
    pub picture: Option<CodeDrawing>,
}

/// A session in the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSession {
    /// The id, which opens nothing.
    pub id: String,
    /// The browser.
    pub agent: ShownName,
    /// The address.
    pub ip: String,
    /// When the last page was opened.
    pub seen_at: ShownTime,
    /// Whether it is the one that reads this page.
    pub is_this: bool,
}

impl AccountPage {
    pub(crate) fn sessions_base(&self) -> String {
        format!("{}/account/sessions", self.shell.base)
    }

    pub(crate) fn problem_of(&self, field: &str) -> Option<&FormProblem> {
        FormProblem::of(&self.problem, field)
    }
}
