//! A heat map of rooms by loss.

use std::cmp::Reverse;
use std::fmt;

use askama::filters::HtmlSafe;

use crate::name::ShownName;
use crate::quantity::Quantity;
use crate::text::{counted, escaped};

/// Most cells that are drawn: those of the largest server with a few participants a room. The label
/// counts the others.
pub const MAX_HEAT_CELLS: usize = 2_000;
const COLUMNS: usize = 25;
const WIDTH: usize = 14;
const HEIGHT: usize = 10;
/// The lower bounds of the bands, in parts per million, and their names.
const BANDS: [(u32, &str); 5] = [
    (0, "below 0.1 %"),
    (1_000, "0.1 to 0.5 %"),
    (5_000, "0.5 to 1 %"),
    (10_000, "1 to 3 %"),
    (30_000, "3 % and more"),
];

/// A room of the heat map. A room whose loss is above the lowest band is a link to its page; the others are
/// not, so that a large server does not become hundreds of stops of the Tab key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeatCell {
    /// The room's id.
    pub id: String,
    /// The room's name.
    pub name: ShownName,
    /// The loss of the room's worst link, in parts per million; absent: not measured.
    pub worst_loss_ppm: Option<u32>,
}

/// Rooms by the loss of their worst link, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeatMap {
    /// The rooms, in any order.
    pub cells: Vec<HeatCell>,
}

fn band(ppm: u32) -> usize {
    BANDS.iter().rposition(|(from, _)| ppm >= *from).unwrap_or(0)
}

impl HeatMap {
    /// Says how many rooms are in each band.
    #[must_use]
    pub fn label(&self) -> String {
        let mut parts = Vec::new();
        for (at, (_, words)) in BANDS.iter().enumerate().rev() {
            let losses = self.cells.iter().filter_map(|cell| cell.worst_loss_ppm);
            let count = losses.filter(|&ppm| band(ppm) == at).count();
            if count > 0 {
                parts.push(format!("{count} with {words}"));
            }
        }
        let unknown = self.cells.iter().filter(|cell| cell.worst_loss_ppm.is_none()).count();
        if unknown > 0 {
            parts.push(format!("{unknown} not measured"));
        }
        let hidden = self.cells.len().saturating_sub(MAX_HEAT_CELLS);
        if hidden > 0 {
            parts.push(format!("the {hidden} with the least are not drawn"));
        }
        let parts = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
        let rooms = counted(self.cells.len(), "room", "rooms");
        format!("{rooms} by the loss of the worst link: {parts}")
    }

    /// Returns the cells that are drawn, the worst first.
    fn drawn(&self) -> Vec<&HeatCell> {
        let mut cells: Vec<_> = self.cells.iter().collect();
        cells.sort_by_key(|cell| Reverse(cell.worst_loss_ppm));
        cells.truncate(MAX_HEAT_CELLS);
        cells
    }
}

impl HeatCell {
    fn is_link(&self) -> bool {
        self.worst_loss_ppm.is_some_and(|ppm| band(ppm) > 0)
    }

    /// Returns room and loss as HTML, for titles.
    fn title(&self) -> String {
        let loss = match self.worst_loss_ppm {
            Some(ppm) => format!("{} lost", Quantity::loss(ppm).plain()),
            None => "not measured".to_owned(),
        };
        escaped(&format!("{}: {loss}", self.name.label()))
    }

    /// Writes the square at a place of the map.
    fn write(&self, f: &mut fmt::Formatter<'_>, at: usize) -> fmt::Result {
        let (x, y) = (at % COLUMNS * WIDTH, at / COLUMNS * HEIGHT);
        let class = ["h0", "h1", "h2", "h3", "h4"];
        let class = self.worst_loss_ppm.map_or("unknown", |ppm| class[band(ppm)]);
        write!(
            f,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"8\" rx=\"1.5\"><title>{}</title></rect>",
            self.title()
        )?;
        // The worst band must not be known by its colour alone.
        if class == "h4" {
            write!(f, "<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"2\"/>", x + 6, y + 4)?;
        }
        Ok(())
    }
}

impl fmt::Display for HeatMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.drawn();
        let rows = cells.len().div_ceil(COLUMNS).max(1);
        write!(
            f,
            "<svg class=\"heat\" viewBox=\"0 0 {} {}\" role=\"group\" aria-label=\"{}\">",
            COLUMNS * WIDTH - 2,
            rows * HEIGHT - 2,
            self.label()
        )?;
        // The worst come first, so the links do.
        let links = cells.partition_point(|cell| cell.is_link());
        for (at, cell) in cells[..links].iter().enumerate() {
            let (id, title) = (escaped(&cell.id), cell.title());
            write!(f, "<a href=\"/rooms/{id}\" aria-label=\"{title}\">")?;
            cell.write(f, at)?;
            f.write_str("</a>")?;
        }
        // The label of the map counts the others.
        f.write_str("<g aria-hidden=\"true\">")?;
        for (at, cell) in cells.iter().enumerate().skip(links) {
            cell.write(f, at)?;
        }
        f.write_str("</g></svg>")
    }
}

impl HtmlSafe for HeatMap {}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(losses: &[Option<u32>]) -> HeatMap {
        let cell = |(number, &worst_loss_ppm)| HeatCell {
            id: format!("{number:016x}"),
            name: ShownName::new(format!("<{number}>")),
            worst_loss_ppm,
        };
        HeatMap { cells: losses.iter().enumerate().map(cell).collect() }
    }

    #[test]
    fn the_worst_rooms_come_first() {
        let html = map(&[Some(0), None, Some(62_000), Some(999), Some(1_000)]).to_string();
        let classes: Vec<_> = html
            .split("<rect class=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(classes, ["h4", "h1", "h0", "h0", "unknown"]);
        assert_eq!(html.matches("class=\"dot\"").count(), 1);
    }

    #[test]
    fn each_room_is_named_and_those_with_loss_are_links() {
        let html = map(&[Some(0), None, Some(62_000), Some(999), Some(1_000)]).to_string();
        let names: Vec<_> = html
            .split("<title>")
            .skip(1)
            .map(|rest| rest.split('<').next().unwrap().replace('\u{a0}', " "))
            .collect();
        let numbers = ["2&gt;: 6.2 % lost", "4&gt;: 0.1 % lost", "3&gt;: 0.1 % lost"];
        let numbers = numbers.map(|rest| format!("&lt;{rest}"));
        assert_eq!(names[..3], numbers, "{html}");
        assert_eq!(names[3..], ["&lt;0&gt;: 0 % lost", "&lt;1&gt;: not measured"], "{html}");
        assert_eq!(html.matches("<a href=").count(), 2, "{html}");
        let worst =
            "<a href=\"/rooms/0000000000000002\" aria-label=\"&lt;2&gt;: 6.2\u{a0}% lost\">";
        assert!(html.contains(worst), "{html}");
        let (_, others) = html.split_once("<g aria-hidden=\"true\">").unwrap();
        assert_eq!(others.matches("<rect").count(), 3);
    }

    #[test]
    fn the_label_says_what_is_drawn() {
        let label = map(&[Some(62_000), Some(500), None]).label();
        let bands = "1 with 3 % and more, 1 with below 0.1 %, 1 not measured";
        assert_eq!(label, format!("3 rooms by the loss of the worst link: {bands}"));
        assert!(map(&[None]).label().starts_with("1 room by"));
        assert!(map(&[]).label().ends_with(": none"));
    }

    #[test]
    fn the_number_of_cells_is_limited() {
        let many = map(&vec![Some(1); MAX_HEAT_CELLS + 7]);
        assert_eq!(many.to_string().matches("<rect").count(), MAX_HEAT_CELLS);
        assert!(many.label().contains("the 7 with the least are not drawn"));
    }
}
