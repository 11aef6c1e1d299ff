//! Tenants: customers with their licence and limits.

use askama::Template;

use super::keys::{IssuerRow, KeyRow};
use super::parts::{Choice, FormProblem, PageLinks};
use crate::markup::Mark;
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The list of tenants.
#[derive(Clone, Debug, Template)]
#[template(path = "tenants.html")]
pub struct TenantsPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The tenants.
    pub rows: Vec<TenantRow>,
    /// The pages.
    pub pages: PageLinks,
}

/// A tenant of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// The tenant's id.
    pub id: String,
    /// The name.
    pub name: ShownName,
    /// The products, in words.
    pub products: ShownName,
    /// Whether users may join.
    pub mark: Mark,
    /// Most sessions at a time; unknown: the tenant has no limit of its own.
    pub most_sessions: Quantity,
    /// Most rooms at a time.
    pub most_rooms: Quantity,
    /// When the licence ends.
    pub ends_at: ShownTime,
}

/// One tenant: its form, its keys and its issuers.
#[derive(Clone, Debug, Template)]
#[template(path = "tenant.html")]
pub struct TenantPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The base path of the dashboard, as in the shell.
    pub base: String,
    /// The tenant's id; absent: a new tenant is made.
    pub id: Option<String>,
    /// Whether users may join.
    pub mark: Mark,
    /// The form, with what was sent if that was not accepted.
    pub form: TenantForm,
    /// Why the form was not accepted.
    pub problem: Option<FormProblem>,
    /// Whether the reader may change the licence and the limits. A partner reads them.
    pub may_edit: bool,
    /// The keys of the tenant.
    pub keys: Vec<KeyRow>,
    /// The issuers of the tenant.
    pub issuers: Vec<IssuerRow>,
}

/// The fields of a tenant, as they stand in the form. The names of the fields are those of the struct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantForm {
    /// The name that join tokens carry in the claim `tenant`.
    pub name: String,
    /// The products to choose from (the field `products`, several times).
    pub products: Vec<Choice>,
    /// The first day of the licence, as `2026-11-26`; empty: it has begun.
    pub starts_at: String,
    /// The day from which on nobody joins; empty: the licence does not end.
    pub ends_at: String,
    /// Most sessions at a time; empty: as the server's configuration says.
    pub max_sessions: String,
    /// Most rooms at a time; empty: as the server's configuration says.
    pub max_rooms: String,
    /// Most rooms that do not end when they are empty; empty: as the server's configuration says.
    pub max_kept_rooms: String,
    /// Whether users may join.
    pub active: bool,
}

impl TenantPage {
    pub(crate) fn problem_of(&self, field: &str) -> Option<&FormProblem> {
        FormProblem::of(&self.problem, field)
    }

    pub(crate) fn action(&self) -> String {
        let base = &self.base;
        self.id
            .as_ref()
            .map_or_else(|| format!("{base}/tenants"), |id| format!("{base}/tenants/{id}"))
    }
}
