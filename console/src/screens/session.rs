//! One person's session: why it ended, and how it was; or how it is.

use askama::Template;

use super::parts::{Happening, PageVerdict};
use crate::charts::LifeDrawing;
use crate::markup::{Mark, Markup};
use crate::name::ShownName;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// One session. The verdict answers "why did this person drop?" in words.
#[derive(Clone, Debug, Template)]
#[template(path = "session.html")]
pub struct SessionPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The base path of the dashboard, as in the shell.
    pub base: String,
    /// The id of the session in the history.
    pub id: String,
    /// The display name; absent: the user's data was deleted.
    pub name: Option<ShownName>,
    /// The user id.
    pub user: ShownName,
    /// Whether the tenant is one that the server knows: others' users can neither be banned nor forgotten.
    pub is_known_tenant: bool,
    /// Whether the session goes on, so that what happened in it is not known yet.
    pub goes_on: bool,
    /// The room's name.
    pub room: ShownName,
    /// The room's id, if it is live.
    pub room_id: Option<String>,
    /// The state at present, as "Here, on the fallback".
    pub mark: Mark,
    /// When the participant joined.
    pub joined_at: ShownTime,
    /// Why the session ended or dropped.
    pub verdict: PageVerdict,
    /// How long the session was, in words, as `49 min in the room`.
    pub length_words: String,
    /// The lanes; absent: nothing but beginning and end is known.
    pub life: Option<LifeDrawing>,
    /// What happened, the oldest first.
    pub happenings: Vec<Happening>,
    /// Events that are not shown, because a session keeps a limited number.
    pub left_out: u64,
    /// Figures and names.
    pub facts: Vec<FactRow>,
    /// Whether others dropped at the same time, in words.
    pub others: Option<Markup>,
}

/// A fact of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    /// What it is.
    pub title: String,
    /// The value.
    pub value: Markup,
}
