//! Pages without a menu: signing in, and setting a password by a link.

use askama::Template;

use super::parts::FormProblem;
use crate::assets;
use crate::markup::Mark;
use crate::name::ShownName;
use crate::shell::Theme;

/// The form to sign in.
#[derive(Clone, Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// The base path of the dashboard.
    pub base: String,
    /// The colours.
    pub theme: Theme,
    /// The server's public name.
    pub host: ShownName,
    /// The email that was sent, if it was not accepted.
    pub email: String,
    /// What came of the act before, as "You are signed out".
    pub notice: Option<Mark>,
    /// Why the form was not accepted. The fields are `email`, `password` and `code`.
    pub problem: Option<FormProblem>,
    /// Whether there is single sign-on.
    pub has_single_sign_on: bool,
    /// The path to which the reader wanted to go, below the base path; empty: the overview.
    pub next: String,
}

/// The form that a one-time link opens: it sets a password.
#[derive(Clone, Debug, Template)]
#[template(path = "link.html")]
pub struct LinkPage {
    /// The base path of the dashboard.
    pub base: String,
    /// The colours.
    pub theme: Theme,
    /// The email of the account; absent: the link is used or too old.
    pub email: Option<ShownName>,
    /// The token of the link, which the form sends back.
    pub token: String,
    /// Whether the link makes the first administrator, whose email is asked for.
    pub asks_email: bool,
    /// Why the form was not accepted. The fields are `email` and `password`.
    pub problem: Option<FormProblem>,
}

impl SignInPage {
    pub(crate) fn asset(&self, name: &str) -> String {
        format!("{}{}", self.base, assets::path(name))
    }

    pub(crate) fn problem_of(&self, field: &str) -> Option<&FormProblem> {
        FormProblem::of(&self.problem, field)
    }
}

impl LinkPage {
    pub(crate) fn asset(&self, name: &str) -> String {
        format!("{}{}", self.base, assets::path(name))
    }

    pub(crate) fn problem_of(&self, field: &str) -> Option<&FormProblem> {
        FormProblem::of(&self.problem, field)
    }
}
