//! Webhooks: addresses that are told of events, and what came of it.

use askama::Template;

use super::parts::{Choice, FormProblem, PageLinks, TenantField};
use crate::markup::{Mark, Markup};
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The list of webhooks.
#[derive(Clone, Debug, Template)]
#[template(path = "webhooks.html")]
pub struct WebhooksPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The webhooks.
    pub rows: Vec<WebhookRow>,
    /// The pages.
    pub pages: PageLinks,
}

/// A webhook of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// The id.
    pub id: String,
    /// What it is for.
    pub name: ShownName,
    /// The tenant; absent: the events of all tenants are told.
    pub tenant: Option<ShownName>,
    /// The address.
    pub url: ShownName,
    /// Whether it is told.
    pub mark: Mark,
}

/// One webhook with its deliveries, or the form of a new one.
#[derive(Clone, Debug, Template)]
#[template(path = "webhook.html")]
pub struct WebhookPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The base path of the dashboard, as in the shell.
    pub base: String,
    /// The id; absent: a new webhook is made.
    pub id: Option<String>,
    /// Whether it is told.
    pub mark: Mark,
    /// Why it is not told, and what to do.
    pub problem_words: Option<Markup>,
    /// Whether it is switched on.
    pub is_on: bool,
    /// The secret of a new webhook, which is shown once.
    pub new_secret: Option<String>,
    /// The form of a new webhook; of an existing one its settings are shown.
    pub form: WebhookForm,
    /// Why the form was not accepted.
    pub problem: Option<FormProblem>,
    /// The deliveries, the newest first.
    pub deliveries: Vec<DeliveryRow>,
    /// The pages of deliveries.
    pub pages: PageLinks,
}

/// The fields of a webhook, as they stand in the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookForm {
    /// What it is for.
    pub name: String,
    /// The address.
    pub url: String,
    /// The tenant.
    pub tenants: TenantField,
    /// The kinds of events (the field `events`, several times). None chosen: all.
    pub events: Vec<Choice>,
}

/// A delivery of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The id.
    pub id: String,
    /// The kind of the event, as `peer.joined`.
    pub kind: String,
    /// When the event was recorded.
    pub created_at: ShownTime,
    /// Whether it was taken, waits or was given up.
    pub mark: Mark,
    /// What came of the last try, as `status 204`.
    pub answer: Option<ShownName>,
    /// How often it was sent.
    pub tries: Quantity,
    /// When it is sent next.
    pub next_at: ShownTime,
}

impl WebhookPage {
    pub(crate) fn problem_of(&self, field: &str) -> Option<&FormProblem> {
        FormProblem::of(&self.problem, field)
    }

    pub(crate) fn chosen_events(&self) -> String {
        let chosen = self.form.events.iter().filter(|event| event.is_chosen);
        let titles: Vec<_> = chosen.map(|event| event.title.as_str()).collect();
        if titles.is_empty() { "all".to_owned() } else { titles.join(", ") }
    }
}
