//! The audit: who did what.

use askama::Template;

use super::parts::PageLinks;
use crate::name::ShownName;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The audit, the newest first. A page has at most 100 rows.
#[derive(Clone, Debug, Template)]
#[template(path = "audit.html")]
pub struct AuditPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The address of the same list as CSV.
    pub csv_href: String,
    /// Which entries are shown.
    pub search: AuditSearch,
    /// The entries.
    pub rows: Vec<AuditRow>,
    /// The pages.
    pub pages: PageLinks,
}

/// Which entries of the audit are shown. What is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditSearch {
    /// Who did it: an actor as the list shows them, an email address, or a kind of actors, as `key`.
    pub actor: String,
    /// What was done, as `tenant.create`, or its first part.
    pub action: String,
    /// The id of what it was done to.
    pub target: String,
    /// The name or the id of the tenant; absent: the reader sees one alone.
    pub tenant: Option<String>,
    /// The first day in UTC, as `2026-11-26`.
    pub from: String,
    /// The last day in UTC.
    pub to: String,
}

impl AuditSearch {
    /// Whether all entries are shown.
    pub(crate) fn is_empty(&self) -> bool {
        let texts = [&self.actor, &self.action, &self.target, &self.from, &self.to];
        texts.into_iter().chain(&self.tenant).all(String::is_empty)
    }
}

/// Characters of a detail that is shown whole. A longer one unfolds.
const LONG_DETAIL: usize = 160;

/// An entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// When it was done.
    pub at: ShownTime,
    /// Who did it, as the audit keeps it: `person:<id>`.
    pub actor: String,
    /// The email address of a person who did it; absent: it is not known, or the actor is no person.
    pub actor_email: Option<ShownName>,
    /// What was done, as `tenant.create`.
    pub action: String,
    /// What it was done to.
    pub target: ShownName,
    /// What else there is to know; empty: nothing.
    pub detail: String,
    /// The tenant; absent: the whole server.
    pub tenant: Option<ShownName>,
    /// The address that the request came from; empty: this process.
    pub ip: String,
}

impl AuditRow {
    /// The headings of the CSV file.
    pub const CSV_HEADINGS: [&'static str; 8] =
        ["at", "actor", "action", "target", "detail", "tenant", "ip", "actor_email"];

    /// Returns the entry as a line of the CSV file.
    #[must_use]
    pub fn csv_line(&self) -> String {
        let tenant = self.tenant.as_ref().map_or("", ShownName::raw);
        let at = self.at.machine();
        let email = self.actor_email.as_ref().map_or("", ShownName::raw);
        let (actor, target) = (self.actor.as_str(), self.target.raw());
        crate::csv::line(&[&at, actor, &self.action, target, &self.detail, tenant, &self.ip, email])
    }

    /// Who did it, for people.
    pub(crate) fn shown_actor(&self) -> ShownName {
        self.actor_email.clone().unwrap_or_else(|| ShownName::new(self.actor.as_str()))
    }

    pub(crate) fn is_detail_long(&self) -> bool {
        self.detail.chars().count() > LONG_DETAIL
    }

    pub(crate) fn shown_detail(&self) -> Option<ShownName> {
        (!self.detail.is_empty()).then(|| ShownName::new(self.detail.as_str()))
    }
}
