//! The report of a measurement as a page in one file, which needs no server: the styles, the scripts and
//! the figures stand in it.

use std::fmt::Write as _;

use askama::Template;

use crate::assets;
use crate::charts::LineChart;
use crate::markup::{Mark, Markup};
use crate::quantity::Quantity;
use crate::screens::FactRow;
use crate::shown_time::ShownTime;

/// The policy that stands in a report: nothing comes from elsewhere, and nothing is sent.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src data:; base-uri 'none'; form-action 'none'";
/// The share of a bar's length at which the limit stands.
const LIMIT_AT: f64 = 80.0;

/// A report as a page: the answer first, then what it rests on.
#[derive(Clone, Debug, Template)]
#[template(path = "report.html")]
pub struct ReportPage {
    /// The title of the window, as `1,640 headsets · capacity`.
    pub title: String,
    /// What was done, as `Nucleus capacity`.
    pub kind: String,
    /// Whether the figures are those of the server.
    pub validity: Mark,
    /// The figure that answers the question; unknown if there is none.
    pub answer: Quantity,
    /// What the figure is of, as `on this 8-core machine, in 164 rooms of 10`.
    pub sentence: String,
    /// What the answer rests on, as a status and a sentence.
    pub reason: Option<(Mark, String)>,
    /// Why the figures are not those of the server, and what to do.
    pub faults: Vec<String>,
    /// The line to order.
    pub line: Vec<FactRow>,
    /// The heading of the conditions.
    pub conditions_title: String,
    /// What had to be true.
    pub conditions: Vec<ConditionRow>,
    /// The heading of the charts.
    pub charts_title: String,
    /// What the charts are drawn over.
    pub charts_note: String,
    /// The charts.
    pub charts: Vec<LineChart>,
    /// A table of measurements, such as the steps of a search.
    pub table: ReportTable,
    /// What the figures do not show.
    pub remarks: Vec<String>,
    /// The machine and the programs.
    pub machine: Vec<FactRow>,
    /// The command that was run.
    pub command: String,
    /// When it began.
    pub began: ShownTime,
    /// How long it took.
    pub took: Quantity,
}

/// A condition and its figure.
#[derive(Clone, Debug, PartialEq)]
pub struct ConditionRow {
    /// The figure, as `Pose age p99`.
    pub title: String,
    /// What was measured.
    pub measured: Quantity,
    /// The limit.
    pub limit: Quantity,
    /// The figure as a share of the limit; unknown: there is no bar.
    pub share: Option<f64>,
    /// Whether it was kept.
    pub mark: Mark,
}

impl ConditionRow {
    /// Returns a bar whose line marks the limit; empty if the share is unknown.
    fn bar(&self) -> Markup {
        let Some(share) = self.share.filter(|share| share.is_finite()) else {
            return Markup::new();
        };
        let width = (share * LIMIT_AT).clamp(0.0, 100.0);
        let class = if self.mark.tone() == crate::Tone::Good { "" } else { " warn" };
        let mut bar = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            bar,
            "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect width=\"100\" height=\"8\"/><rect class=\"fill{class}\" width=\"{width:.1}\" height=\"8\"/>\
             <line x1=\"{LIMIT_AT}\" x2=\"{LIMIT_AT}\" y1=\"0\" y2=\"8\"/></svg>"
        );
        Markup::trusted(bar)
    }
}

/// A table of measurements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportTable {
    /// The heading.
    pub title: String,
    /// A line of context.
    pub context: String,
    /// The columns. The first one names each row.
    pub columns: Vec<ReportColumn>,
    /// The rows, each with a cell a column. Empty: the table is left out.
    pub rows: Vec<Vec<Markup>>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportColumn {
    /// The head.
    pub title: String,
    /// Whether the cells are figures.
    pub is_figure: bool,
}

impl ReportColumn {
    /// Returns the classes of the cells.
    fn class(&self) -> &'static str {
        if self.is_figure { "n" } else { "" }
    }
}

impl ReportPage {
    fn has_bars(&self) -> bool {
        self.conditions.iter().any(|row| row.share.is_some())
    }

    /// Shows the hidden characters of a text. Some texts come from the server that was measured.
    fn shown(&self, text: &str) -> Markup {
        Markup::from(text)
    }

    fn policy(&self) -> &'static str {
        POLICY
    }

    /// Returns the style sheets. No text in them can end the element: they are this crate's own.
    fn styles(&self) -> Markup {
        inlined(&["tokens.css", "components.css", "console.css", "uplot-1.6.32.min.css"])
    }

    /// Returns the scripts, with the licence of the one that is not this project's.
    fn scripts(&self) -> Markup {
        let licence = inlined(&["licences/uplot.txt"]);
        let scripts = inlined(&["uplot-1.6.32.min.js", "ui.js"]);
        Markup::trusted(format!("/*\n{licence}*/\n{scripts}"))
    }
}

/// Returns the texts of assets, one after the other.
fn inlined(names: &[&str]) -> Markup {
    let mut all = String::new();
    for name in names {
        let asset = assets::all().iter().find(|asset| asset.name == *name);
        all.push_str(&String::from_utf8_lossy(asset.map_or(&[], |asset| asset.bytes)));
        all.push('\n');
    }
    Markup::trusted(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tone;

    #[test]
    fn no_text_of_an_asset_ends_its_element() {
        let scripts = inlined(&["uplot-1.6.32.min.js", "ui.js", "licences/uplot.txt"]).to_string();
        assert!(!scripts.contains("</script") && !scripts.contains("<!--"));
        assert!(scripts.contains("uPlot") && scripts.contains("Permission is hereby granted"));
        let licence = inlined(&["licences/uplot.txt"]).to_string();
        assert!(!licence.contains("*/"));
        let styles =
            inlined(&["tokens.css", "components.css", "console.css", "uplot-1.6.32.min.css"]);
        assert!(!styles.to_string().contains("</style"));
    }

    #[test]
    fn a_bar_ends_inside_its_frame() {
        let row = |share| ConditionRow {
            title: "Loss".to_owned(),
            measured: Quantity::unknown(),
            limit: Quantity::unknown(),
            share,
            mark: Mark::new(Tone::Good, "Kept"),
        };
        assert!(row(Some(0.5)).bar().as_str().contains("width=\"40.0\""));
        assert!(row(Some(1e9)).bar().as_str().contains("width=\"100.0\""));
        for unknown in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(row(unknown).bar().as_str(), "", "{unknown:?}");
        }
    }
}
