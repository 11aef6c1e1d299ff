//! Those who may sign in to the dashboard.

use askama::Template;

use super::account::OwnSession;
use super::parts::{Choice, FormProblem, PageLinks, TenantField};
use crate::markup::Mark;
use crate::name::ShownName;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The list of persons, and the form of a new one.
#[derive(Clone, Debug, Template)]
#[template(path = "persons.html")]
pub struct PersonsPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The persons.
    pub rows: Vec<PersonRow>,
    /// The roles that the reader may give.
    pub roles: Vec<Choice>,
    /// The tenant.
    pub tenants: TenantField,
    /// What the person is to see, if that was sent and not accepted: `server` or `tenant`.
    pub sees: String,
    /// The email that was sent, if it was not accepted.
    pub email: String,
    /// Why the form was not accepted.
    pub problem: Option<FormProblem>,
    /// The link for a person that was made just now. It is shown once.
    pub new_link: Option<String>,
    /// The pages.
    pub pages: PageLinks,
}

/// A person of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRow {
    /// The id.
    pub id: String,
    /// The email.
    pub email: ShownName,
    /// The role's name for readers.
    pub role: &'static str,
    /// The tenant; absent: the whole server.
    pub tenant: Option<ShownName>,
    /// Whether the person may sign in.
    pub mark: Mark,
    /// Whether signing in needs a code.
    pub has_totp: bool,
    /// When the person was last here.
    pub seen_at: ShownTime,
}

/// One person with the sessions.
#[derive(Clone, Debug, Template)]
#[template(path = "person.html")]
pub struct PersonPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The person.
    pub person: PersonRow,
    /// Whether the person may not sign in.
    pub is_disabled: bool,
    /// Whether the person is the reader, who can neither be disabled nor deleted by the own hand.
    pub is_reader: bool,
    /// The roles that the reader may give.
    pub roles: Vec<Choice>,
    /// A link to set a password, made just now. It is shown once.
    pub new_link: Option<String>,
    /// The sessions in the dashboard.
    pub sessions: Vec<OwnSession>,
}

impl PersonsPage {
    pub(crate) fn problem_of(&self, field: &str) -> Option<&FormProblem> {
        FormProblem::of(&self.problem, field)
    }
}

impl PersonPage {
    pub(crate) fn sessions_base(&self) -> String {
        format!("{}/people/{}/sessions", self.shell.base, self.person.id)
    }
}
