//! Calls that are going on, and those that were.

use askama::Template;

use super::parts::PageLinks;
use crate::markup::Mark;
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The calls, the oldest first. A page has at most 100 rows.
#[derive(Clone, Debug, Template)]
#[template(path = "calls.html")]
pub struct CallsPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The address of the live part of this page, below the base path.
    pub live_source: String,
    /// What changes each second.
    pub live: CallsLive,
    /// The user of whom past calls are shown; empty: of all.
    pub user: String,
    /// Past calls, those that began last first, at most 100.
    pub past: Vec<PastCallRow>,
    /// The pages of past calls.
    pub past_pages: PageLinks,
    /// How many days the history is kept.
    pub kept_days: u32,
}

/// The rows of the list of calls.
#[derive(Clone, Debug, Template)]
#[template(path = "calls_live.html")]
pub struct CallsLive {
    /// The calls.
    pub rows: Vec<CallRow>,
    /// The pages.
    pub pages: PageLinks,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRow {
    /// The call's id.
    pub id: String,
    /// The user id of who called.
    pub caller: ShownName,
    /// The tenant.
    pub tenant: ShownName,
    /// Whether it rings or goes on.
    pub mark: Mark,
    /// The user ids of the members.
    pub members: Vec<ShownName>,
    /// The user ids of those whose devices ring.
    pub ringing: Vec<ShownName>,
    /// How long the call exists.
    pub length: Quantity,
    /// The time since the first acceptance.
    pub talking: Quantity,
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCallRow {
    /// The user id of who called; absent: the user's data was deleted.
    pub caller: Option<ShownName>,
    /// The tenant.
    pub tenant: ShownName,
    /// When the call began.
    pub started_at: ShownTime,
    /// Whether somebody accepted.
    pub mark: Mark,
    /// The user ids of the members.
    pub members: Vec<ShownName>,
    /// The user ids of those who never became members.
    pub missed: Vec<ShownName>,
    /// How long the call existed.
    pub length: Quantity,
    /// The time from the first acceptance to the end.
    pub talked: Quantity,
}
