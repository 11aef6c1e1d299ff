//! What several screens have.

use askama::Template;

use crate::charts::{LineChart, Sparkline};
use crate::markup::{Mark, Markup, Tone};
use crate::quantity::Quantity;
use crate::shown_time::ShownTime;

/// The answer, before the figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageVerdict {
    /// How good it is.
    pub tone: Tone,
    /// The answer in a few words.
    pub headline: Markup,
    /// One or two sentences more.
    pub detail: Markup,
    /// What the reader can do about it.
    pub remedy: Option<Markup>,
}

/// A figure at the top of a screen.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// What is measured.
    pub title: String,
    /// The figure.
    pub value: Quantity,
    /// A line of context, as `peak today 5,212`.
    pub context: Markup,
    /// The figure over time.
    pub trend: Option<Sparkline>,
}

/// A place for a chart, which the page fetches again every ten seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartSlot {
    /// The id in the page: letters, digits and hyphens.
    pub id: String,
    /// The path of the chart alone, below the base path, as `/charts/latency`.
    pub source: String,
    /// The chart; absent in a live part: the page keeps the one that it shows.
    pub chart: Option<LineChart>,
}

/// A chart alone, as a page fetches it again.
#[derive(Clone, Debug, Template)]
#[template(path = "one_chart.html")]
pub struct OneChart {
    /// The chart.
    pub chart: LineChart,
}

/// Something that happened, for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: ShownTime,
    /// How good it is.
    pub tone: Tone,
    /// What happened, in a few words.
    pub headline: Markup,
    /// What else there is to know.
    pub detail: Option<Markup>,
    /// Whether this one answers the reader's question.
    pub is_key: bool,
}

/// A status of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledMark {
    /// The thing.
    pub title: Markup,
    /// Its status.
    pub mark: Mark,
}

/// Where a page of a list stands in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageLinks {
    /// Which rows are shown, as `1–100 of 500 rooms`; empty: not known.
    pub shown: String,
    /// The address of the page before.
    pub previous: Option<String>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// An entry of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What the form sends.
    pub value: String,
    /// What the reader sees.
    pub title: String,
    /// Whether it is chosen.
    pub is_chosen: bool,
}

/// How a form asks for a tenant, in the field `tenant`. With neither, the reader has one alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantField {
    /// The tenants to choose from, with the whole server first; empty: there are too many for a list.
    pub choices: Vec<Choice>,
    /// The name that is typed, or the empty one; absent: a list is there to choose from.
    pub name: Option<String>,
}

impl TenantField {
    /// Whether the form asks.
    pub(crate) fn is_asked(&self) -> bool {
        self.name.is_some() || !self.choices.is_empty()
    }
}

/// Why a form was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormProblem {
    /// The name of the field; empty: the form as a whole.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl FormProblem {
    /// Returns the problem of a field.
    pub(crate) fn of<'a>(problem: &'a Option<Self>, field: &str) -> Option<&'a Self> {
        problem.as_ref().filter(|problem| problem.field == field)
    }
}
