//! The list of live rooms.

use askama::Template;

use super::parts::{Choice, PageLinks, TenantField};
use crate::charts::Sparkline;
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;

/// The list of rooms, with search, filters and sort links. A page has at most 100 rows.
#[derive(Clone, Debug, Template)]
#[template(path = "rooms.html")]
pub struct RoomsPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// What was searched for.
    pub search: String,
    /// The filters, with their addresses as values and the number of rooms in their titles.
    pub filters: Vec<Choice>,
    /// The filter at present, which a search keeps: the value of `show`.
    pub show: String,
    /// The order at present, which a search keeps: the value of `sort`.
    pub sort: String,
    /// The tenant.
    pub tenants: TenantField,
    /// The address of the same list as CSV.
    pub csv_href: String,
    /// The address of the live part of this page, below the base path.
    pub live_source: String,
    /// What changes each second.
    pub live: RoomsLive,
}

/// The rows of the list of rooms.
#[derive(Clone, Debug, Template)]
#[template(path = "rooms_live.html")]
pub struct RoomsLive {
    /// The base path of the dashboard.
    pub base: String,
    /// The columns that can be sorted by, in their order in the table: room, tenant, peers, rate, loss,
    /// open for.
    pub columns: [SortColumn; 6],
    /// The rooms.
    pub rows: Vec<RoomRow>,
    /// Whether there are no rooms at all, filters apart.
    pub is_empty_server: bool,
    /// The pages.
    pub pages: PageLinks,
}

/// The heading of a column that can be sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortColumn {
    /// The address of the list in this order; empty: it cannot be sorted by this column.
    pub href: String,
    /// Whether the list is in this order: `ascending` or `descending`.
    pub order: Option<&'static str>,
}

/// A room of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomRow {
    /// The room's id.
    pub id: String,
    /// The name.
    pub name: ShownName,
    /// The tenant.
    pub tenant: ShownName,
    /// Whether nobody else may join.
    pub is_locked: bool,
    /// Participants, with the most as unit: `12 / 16`.
    pub peers: Quantity,
    /// What the server sends.
    pub rate_out: Quantity,
    /// The loss of the worst link, in the worse direction.
    pub worst_loss: Quantity,
    /// The loss from the worst link over the last minutes, all on one scale.
    pub trend: Option<Sparkline>,
    /// How long the room exists.
    pub open_for: Quantity,
}
