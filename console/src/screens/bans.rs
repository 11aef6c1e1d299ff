//! Users who may join no room of their tenant.

use askama::Template;

use super::parts::{FormProblem, PageLinks, TenantField};
use crate::markup::Mark;
use crate::name::ShownName;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The bans, the oldest first. A page has at most 100 rows.
#[derive(Clone, Debug, Template)]
#[template(path = "bans.html")]
pub struct BansPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The user id that was searched for, or of a new ban that was not accepted; empty: all.
    pub user: String,
    /// The tenant of a new ban.
    pub tenants: TenantField,
    /// Why a new ban was not accepted.
    pub problem: Option<FormProblem>,
    /// The bans.
    pub rows: Vec<BanRow>,
    /// The pages.
    pub pages: PageLinks,
}

impl BansPage {
    pub(crate) fn problem_of(&self, field: &str) -> Option<&FormProblem> {
        FormProblem::of(&self.problem, field)
    }
}

/// A user who may join no room of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRow {
    /// The ban's id.
    pub id: String,
    /// The user id.
    pub user: ShownName,
    /// The tenant.
    pub tenant: ShownName,
    /// Whether it is in force, in a word.
    pub mark: Mark,
    /// Whether it is in force, so that it can be lifted.
    pub is_in_force: bool,
    /// Why; absent: no reason was given.
    pub reason: Option<ShownName>,
    /// When it was made.
    pub made_at: ShownTime,
    /// When it ends; unknown: it holds until it is lifted.
    pub ends_at: ShownTime,
}
