//! The search in sessions.

use askama::Template;

use super::parts::PageLinks;
use crate::markup::Mark;
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// Sessions by user, room and time, the newest first. A page has at most 100 rows.
#[derive(Clone, Debug, Template)]
#[template(path = "sessions.html")]
pub struct SessionsPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The person that was searched for: a part of a user id or of a display name.
    pub name: String,
    /// The room that was searched for.
    pub room: String,
    /// The first day in UTC, as `2026-11-26`; empty: any.
    pub from: String,
    /// The last day in UTC; empty: any.
    pub to: String,
    /// How many days the history is kept.
    pub kept_days: u32,
    /// The sessions.
    pub rows: Vec<SessionRow>,
    /// The pages.
    pub pages: PageLinks,
}

/// A session of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The id of the session in the history.
    pub id: String,
    /// The display name; absent: the user's data was deleted.
    pub name: Option<ShownName>,
    /// The user id.
    pub user: ShownName,
    /// The room.
    pub room: ShownName,
    /// When the participant joined.
    pub joined_at: ShownTime,
    /// How long the participant was there.
    pub length: Quantity,
    /// How the session ended, or that it goes on.
    pub end: Mark,
    /// How often the session was resumed.
    pub resumes: Quantity,
    /// The median round trip.
    pub round_trip: Quantity,
    /// Lost datagrams from the client.
    pub loss: Quantity,
}
