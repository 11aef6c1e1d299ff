//! The server at a glance.

use askama::Template;

use super::parts::{ChartSlot, LabelledMark, PageVerdict, Tile};
use crate::charts::{HeatMap, Sparkline};
use crate::markup::{Mark, Markup};
use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The overview.
#[derive(Clone, Debug, Template)]
#[template(path = "overview.html")]
pub struct OverviewPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The server's public name.
    pub host: ShownName,
    /// Rooms at this moment, for the question before a drain.
    pub rooms: Quantity,
    /// How long a drain takes at most, in words, as `3 s`.
    pub drain_limit: String,
    /// Whether the server takes new sessions; if not, it drains already.
    pub accepts: bool,
    /// What changes each second.
    pub live: OverviewLive,
}

/// The part of the overview that changes each second.
#[derive(Clone, Debug, Template)]
#[template(path = "overview_live.html")]
pub struct OverviewLive {
    /// The base path of the dashboard.
    pub base: String,
    /// Whether all is well.
    pub verdict: PageVerdict,
    /// Figures of the server, or of the reader's tenant.
    pub tiles: Vec<Tile>,
    /// Latency, loss and traffic over time.
    pub charts: Vec<ChartSlot>,
    /// The shards; empty: the reader sees one tenant alone.
    pub shards: Vec<ShardRow>,
    /// All rooms by loss.
    pub heat: HeatMap,
    /// The rooms whose links suffer most, at most five.
    pub worst_rooms: Vec<WorstRoom>,
    /// The alarms that ring, the most severe first, at most five.
    pub alarms: Vec<AlarmRow>,
    /// How many more ring.
    pub more_alarms: usize,
    /// Days left of certificates and licences.
    pub days_left: Vec<LabelledMark>,
}

/// A shard: a thread that relays realtime messages.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardRow {
    /// The number.
    pub number: u16,
    /// The part of a core that is used, from 0 to 1.
    pub cpu: Option<f64>,
    /// Live links.
    pub headsets: Quantity,
    /// The used part of a core over a quarter of an hour.
    pub trend: Sparkline,
    /// Datagrams a second, in and out.
    pub datagrams: Quantity,
}

impl ShardRow {
    /// The part of a core above which a shard needs attention.
    pub const CPU_LIMIT: f64 = 0.8;

    pub(crate) fn is_busy(&self) -> bool {
        self.cpu.is_some_and(|cpu| cpu > Self::CPU_LIMIT)
    }

    pub(crate) fn cpu_figure(&self) -> Quantity {
        let figure = Quantity::share(self.cpu);
        if self.is_busy() { figure.with_tone(crate::markup::Tone::Warn) } else { figure }
    }

    /// The length of the bar, in hundredths.
    pub(crate) fn bar(&self) -> String {
        format!("{:.0}", (self.cpu.unwrap_or(0.0) * 100.0).clamp(0.0, 100.0))
    }
}

/// An alarm that rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmRow {
    /// What is wrong.
    pub mark: Mark,
    /// Since when.
    pub since: ShownTime,
    /// What to do, with a link to the page where it is done.
    pub remedy: Markup,
}

/// A room that loses datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstRoom {
    /// The room's id.
    pub id: String,
    /// The name.
    pub name: ShownName,
    /// The loss of the worst link, in the worse direction.
    pub loss: Quantity,
}
