//! The pages of the dashboard: view models in, HTML out.
//!
//! A screen is a struct of [`screens`] with public fields and a template of its name in
//! `console/templates`. The crate that serves the dashboard fills the struct and calls [`render`]. This
//! crate has no socket, clock, database or task: what a page says is in its struct.
//!
//! * Texts that people choose are [`ShownName`]s, figures are [`Quantity`]s, times are [`ShownTime`]s,
//!   and HTML is [`Markup`]. Each escapes itself, so no template does. Everything else is escaped by
//!   askama.
//! * Unknown is `None`, and is shown as `–`, never as 0.
//! * Every page works with the policy [`assets::POLICY`]: no script, style or event handler stands in a
//!   page. Reading needs no scripts; acts are forms.
//! * Pages with figures of the moment have a part that a stream replaces each second: the struct whose
//!   name ends with `Live`. The stream sends it by [`stream::event`].
//! * A [`report`] is a page of its own, in one file: the load generator writes it, and no server is needed
//!   to read it.
//! * Answers with pages have the headers [`assets::PAGE_HEADERS`]; [`assets::find`] has the files.
//!
//! # Routes that the pages name
//!
//! All are below the base path of [`PageShell`].
//!
//! | method and path | what |
//! |---|---|
//! | GET `/` | overview, or the first steps |
//! | GET `/rooms?q=&show=&tenant=&sort=&after=`, `/rooms.csv` | rooms |
//! | GET `/rooms/{id}` | one room |
//! | GET `/sessions?name=&room=&from=&to=&after=`, `/sessions/{id}` | sessions; the id of a row or of a peer |
//! | GET `/calls?after=&user=&past=` | calls |
//! | GET `/bans?user=&after=` | bans |
//! | GET `/audit?actor=&action=&target=&tenant=&from=&to=&after=`, `/audit.csv` | audit |
//! | GET `/tenants`, `/tenants/{id}`, `/tenants/new`, `/keys`, `/webhooks`, `/webhooks/{id}`, `/webhooks/new`, `/people`, `/people/{id}`, `/network`, `/account` | setup |
//! | GET `/signin`, `/signin/oidc`, `/link?token=` | without a session |
//! | GET `/live/overview`, `/live/rooms?…`, `/live/rooms/{id}`, `/live/calls` | the live parts, as server-sent events |
//! | GET `/charts/{name}`, `/rooms/{id}/charts/{name}` | one [`charts::LineChart`], each ten seconds |
//! | POST `/drain`; `/rooms/{id}/` `close`, `lock` (`locked`); `/rooms/{id}/peers/{peer}/` `mute` (`muted`), `kick` (`ban_seconds`), `ban` (`reason`, `seconds`); `/sessions/{id}/ban`; `/bans` (`tenant`, `user`, `reason`, `seconds`), `/bans/{id}/lift` | acts of operators |
//! | POST `/sessions/{id}/forget` | acts of managers |
//! | POST `/tenants`, `/tenants/{id}` (fields of [`screens::TenantForm`]); `/keys`, `/keys/{id}/revoke`; `/issuers`, `/issuers/{id}/delete` | acts of managers |
//! | POST `/webhooks`, `/webhooks/{id}/` `test`, `replay` (`delivery`), `switch` (`on`), `delete` | acts of managers |
//! | POST `/people`; `/people/{id}/` `role`, `disable` (`disabled`), `link`, `delete`, `sessions/{session}/end` | acts of managers |
//! | POST `/account/` `password`, `totp`, `totp/off`, `sessions/{id}/end`; `/signin`, `/signout`, `/link` | one's own |

pub mod assets;
pub mod charts;
pub mod csv;
pub mod link;
pub mod report;
pub mod screens;
pub mod stream;
pub mod text;

mod markup;
mod name;
mod quantity;
mod shell;
mod shown_time;

pub use askama::Template;
pub use markup::{Mark, Markup, Tone};
pub use name::ShownName;
pub use quantity::{LOSS_BAD_PPM, LOSS_WARN_PPM, Quantity, ROUND_TRIP_WARN_US};
pub use shell::{MenuPlace, MenuRole, PageShell, Theme};
pub use shown_time::ShownTime;

/// A page could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the page could not be rendered: {0}; this is a fault of the program")]
pub struct RenderError(#[from] askama::Error);

/// Renders a page or a live part.
///
/// # Errors
///
/// A field could not be written, which is a fault of this crate.
pub fn render(page: &impl Template) -> Result<String, RenderError> {
    Ok(page.render()?)
}
