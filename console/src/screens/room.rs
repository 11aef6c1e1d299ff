//! One live room.

use askama::Template;

use super::parts::{ChartSlot, Happening, PageVerdict, Tile};
use crate::charts::PlanDrawing;
use crate::markup::{Mark, Markup};
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;

/// One room: who is in it and how they are.
#[derive(Clone, Debug, Template)]
#[template(path = "room.html")]
pub struct OneRoomPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The room's id.
    pub id: String,
    /// The name.
    pub name: ShownName,
    /// The tenant.
    pub tenant: ShownName,
    /// Participants, for the question before the room is closed.
    pub peers: Quantity,
    /// What changes each second.
    pub live: RoomLive,
}

/// The part of a room's page that changes each second.
#[derive(Clone, Debug, Template)]
#[template(path = "room_live.html")]
pub struct RoomLive {
    /// The base path of the dashboard.
    pub base: String,
    /// The room's id.
    pub id: String,
    /// Whether the reader may act on participants.
    pub may_operate: bool,
    /// Whether the reader may ban users: the database knows the tenant.
    pub may_ban: bool,
    /// The state of the room, as "2 links suffer".
    pub mark: Mark,
    /// Whether nobody may join.
    pub is_locked: bool,
    /// Figures of the room.
    pub tiles: Vec<Tile>,
    /// The plan; absent: the server does not know where the heads are.
    pub plan: Option<PlanDrawing>,
    /// Who speaks, suffers and is away, in words.
    pub plan_words: String,
    /// Loss and participants over time.
    pub charts: Vec<ChartSlot>,
    /// The newest events of the room, at most ten, the newest first.
    pub happenings: Vec<Happening>,
    /// The participants, numbered as in the plan.
    pub roster: Vec<RosterRow>,
    /// The shared state; of more entries the first 200.
    pub state: Vec<StateRow>,
    /// Users who may not come back yet.
    pub kept_out: Vec<KeptOutRow>,
    /// Entries of the shared state that are not shown.
    pub more_state: u64,
}

impl RoomLive {
    /// The dialogs that kick, and whether each is for the last user of a room.
    const fn kick_dialogs() -> [(&'static str, bool); 2] {
        [("kick", false), ("kick-last", true)]
    }

    /// The dialog that kicks from this room. The room ends when its last user is kicked, and its bans with it.
    fn kick_dialog(&self) -> &'static str {
        let is_one_user = self.roster.windows(2).all(|pair| pair[0].user == pair[1].user);
        Self::kick_dialogs()[usize::from(is_one_user)].0
    }
}

/// The last part of a room's page, once the room has ended.
#[derive(Clone, Debug, Template)]
#[template(path = "room_ended_live.html")]
pub struct RoomEndedLive {
    /// The base path of the dashboard.
    pub base: String,
    /// The room's id.
    pub id: String,
}

/// A room that has ended.
#[derive(Clone, Debug, Template)]
#[template(path = "past_room.html")]
pub struct PastRoomPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The room's id.
    pub id: String,
    /// The name.
    pub name: ShownName,
    /// The tenant.
    pub tenant: ShownName,
    /// When the room was, and how many were in it.
    pub verdict: PageVerdict,
}

/// A participant of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterRow {
    /// The number, from 1.
    pub number: usize,
    /// The peer's id.
    pub id: String,
    /// The display name.
    pub name: ShownName,
    /// The user id.
    pub user: ShownName,
    /// The way of realtime messages, or why there is none.
    pub way: Mark,
    /// The round trip.
    pub round_trip: Quantity,
    /// By how much datagrams come later than the fastest, in the mean, in microseconds; absent: unknown.
    pub jitter_us: Option<u64>,
    /// Lost datagrams from the client.
    pub loss_up: Quantity,
    /// Lost datagrams to the client.
    pub loss_down: Quantity,
    /// Messages that were not sent because the receiver's budget was used up.
    pub withheld: Quantity,
    /// The software and device of the client.
    pub client: Option<ShownName>,
    /// Whether the participant is muted.
    pub is_muted: bool,
}

impl RosterRow {
    /// The round trip with the jitter behind it, which narrow windows leave out: `184 ± 41 ms`.
    pub(crate) fn round_trip_with_jitter(&self) -> Markup {
        let jitter = self.jitter_us.map(|micros| micros.saturating_add(500) / 1_000);
        self.round_trip.with_spread(jitter)
    }
}

/// A user who was kicked for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOutRow {
    /// The user id.
    pub user: ShownName,
    /// The time until the user may come back.
    pub left: Quantity,
}

/// An entry of the shared state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// The entity.
    pub entity: ShownName,
    /// The field.
    pub field: ShownName,
    /// The value.
    pub value: ShownName,
    /// Who owns the entity.
    pub owner: Option<ShownName>,
}
