//! A room from above: where the heads are, who speaks, whose link suffers.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

use super::coordinate;
use crate::name::ShownName;
use crate::text::{escaped, letters};

/// Most heads that are drawn; more would cover each other. The label counts the others.
pub const MAX_PLAN_HEADS: usize = 200;
/// Up to this number of heads each has its name; with more only those that speak or suffer.
const MAX_NAMES: usize = 24;
const WIDTH: f64 = 720.0;
const MIN_HEIGHT: f64 = 300.0;
const MAX_HEIGHT: f64 = 480.0;
/// Free space around the heads, in metres.
const MARGIN_M: f64 = 1.0;
/// Least width of what is drawn, in metres: two heads must not be as large as the room.
const MIN_WIDTH_M: f64 = 6.0;
/// The farthest head that is drawn, in metres from the origin.
const MAX_DISTANCE_M: f64 = 10_000.0;
/// The width of a letter of a name in pixels, rounded up.
const LETTER: f64 = 8.6;
/// Most lines of the grid in one direction.
const MAX_LINES: f64 = 24.0;

/// What a participant does, for its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadState {
    /// Is there.
    Listening,
    /// Its voice is relayed.
    Speaking,
    /// Its link loses too much.
    Suffering,
    /// Nobody seems to be there.
    Away,
}

impl HeadState {
    fn class(self) -> &'static str {
        match self {
            Self::Listening => "",
            Self::Speaking => "talks",
            Self::Suffering => "suffers",
            Self::Away => "away",
        }
    }
}

/// A participant in the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanHead {
    /// The number in the roster, from 1.
    pub number: usize,
    /// The display name.
    pub name: ShownName,
    /// The position to the right and towards the reader (the axes x and z of poses), in metres.
    pub position_m: (f64, f64),
    /// The direction of the view, clockwise from the right as seen from above, in degrees; absent: not
    /// known.
    pub view_degrees: Option<f64>,
    /// What the participant does.
    pub state: HeadState,
    /// What is written behind the name, as `6.2 % lost`.
    pub note: Option<String>,
}

/// The plan of a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanDrawing {
    /// The participants whose positions are known.
    pub heads: Vec<PlanHead>,
}

/// What part of the room is drawn.
struct PlanFrame {
    left_m: f64,
    top_m: f64,
    width_m: f64,
    height_m: f64,
    /// Pixels of a metre.
    scale: f64,
    /// Metres of a square.
    square_m: f64,
}

impl PlanFrame {
    fn around(heads: &[&PlanHead]) -> Self {
        let edges = |of: fn(&PlanHead) -> f64| {
            let values = heads.iter().map(|head| of(head));
            let least = values.clone().fold(f64::INFINITY, f64::min);
            let most = values.fold(f64::NEG_INFINITY, f64::max);
            if least <= most { (least, most) } else { (0.0, 0.0) }
        };
        let (left, right) = edges(|head| head.position_m.0);
        let (top, bottom) = edges(|head| head.position_m.1);
        let (needed_width, needed_height) =
            (right - left + 2.0 * MARGIN_M, bottom - top + 2.0 * MARGIN_M);
        let width_m = needed_width.max(MIN_WIDTH_M).max(needed_height * WIDTH / MAX_HEIGHT).ceil();
        let height_m = needed_height.max(width_m * MIN_HEIGHT / WIDTH).ceil();
        let square = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0].into_iter();
        Self {
            left_m: (left + right - width_m) / 2.0,
            top_m: (top + bottom - height_m) / 2.0,
            width_m,
            height_m,
            scale: WIDTH / width_m,
            square_m: square.into_iter().find(|s| width_m / s <= MAX_LINES).unwrap_or(1_000.0),
        }
    }

    fn height(&self) -> f64 {
        self.height_m * self.scale
    }

    fn place(&self, head: &PlanHead) -> (f64, f64) {
        let (x, z) = head.position_m;
        ((x - self.left_m) * self.scale, (z - self.top_m) * self.scale)
    }

    /// The grid's lines stand on whole squares of the room.
    fn grid(&self) -> String {
        let mut path = String::new();
        let (height, square) = (coordinate(self.height()), self.square_m);
        let first = |from: f64| (from / square).floor() * square + square;
        let mut x = first(self.left_m);
        while x < self.left_m + self.width_m {
            // Writing to a String cannot fail.
            let _ = write!(path, "M{} 0V{height}", coordinate((x - self.left_m) * self.scale));
            x += square;
        }
        let mut z = first(self.top_m);
        while z < self.top_m + self.height_m {
            let _ = write!(path, "M0 {}H{WIDTH}", coordinate((z - self.top_m) * self.scale));
            z += square;
        }
        path
    }
}

impl PlanDrawing {
    /// Returns the metres of a square of the grid, for the key.
    #[must_use]
    pub fn square_m(&self) -> f64 {
        PlanFrame::around(&self.drawn()).square_m
    }

    fn drawn(&self) -> Vec<&PlanHead> {
        let is_near = |at: f64| at.is_finite() && at.abs() <= MAX_DISTANCE_M;
        let heads = self.heads.iter();
        heads
            .filter(|h| is_near(h.position_m.0) && is_near(h.position_m.1))
            .take(MAX_PLAN_HEADS)
            .collect()
    }

    fn label(&self, frame: &PlanFrame, drawn: &[&PlanHead]) -> String {
        let mut words = format!(
            "Plan of the room from above, {} by {} metres. {} heads.",
            frame.width_m,
            frame.height_m,
            drawn.len()
        );
        for (state, verb) in [
            (HeadState::Speaking, "Speaking"),
            (HeadState::Suffering, "With a link that suffers"),
            (HeadState::Away, "Away"),
        ] {
            let names: Vec<_> =
                drawn.iter().filter(|h| h.state == state).map(|h| h.name.label()).collect();
            if !names.is_empty() {
                let _ = write!(words, " {verb}: {}.", names.join(", "));
            }
        }
        let hidden = self.heads.len() - drawn.len();
        if hidden > 0 {
            let _ = write!(words, " {hidden} more are not drawn.");
        }
        words
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, frame: &PlanFrame, head: &PlanHead) -> fmt::Result {
    let (x, y) = frame.place(head);
    write!(
        f,
        "<g id=\"p{}\" class=\"peer {}\" transform=\"translate({} {})\"><g>",
        head.number,
        head.state.class(),
        coordinate(x),
        coordinate(y)
    )?;
    let view = head.view_degrees.filter(|d| d.is_finite() && head.state != HeadState::Away);
    if let Some(degrees) = view {
        let degrees = coordinate(degrees.rem_euclid(360.0));
        write!(
            f,
            "<path class=\"cone\" d=\"M0 0L40.6 -21.6A46 46 0 0 1 40.6 21.6Z\" transform=\"rotate({degrees})\"/>"
        )?;
    }
    if head.state == HeadState::Speaking {
        f.write_str("<circle class=\"ring\" r=\"21\"/><circle class=\"ring\" r=\"21\"/>")?;
    }
    write!(
        f,
        "<circle class=\"head\" r=\"16\"/><text class=\"no\" y=\"5\">{}</text>",
        head.number
    )?;
    if head.state == HeadState::Suffering {
        f.write_str("<path class=\"flag\" d=\"M16 -26l10 18h-20z\"/>")?;
    }
    f.write_str("</g></g>")
}

fn write_name(f: &mut fmt::Formatter<'_>, frame: &PlanFrame, head: &PlanHead) -> fmt::Result {
    let (x, y) = frame.place(head);
    let name = head.name.label();
    let note = head.note.as_deref().unwrap_or_default();
    // A name at the edge is moved inwards, so that it is not cut.
    let half = (letters(&name) + letters(note) + 3.0) * LETTER / 2.0;
    let x = if half * 2.0 < WIDTH { x.clamp(half, WIDTH - half) } else { WIDTH / 2.0 };
    let class = head.state.class();
    let (x, y) = (coordinate(x), coordinate(y + 36.0));
    write!(f, "<text class=\"name halo {class}\" x=\"{x}\" y=\"{y}\">{}", escaped(&name))?;
    if !note.is_empty() {
        write!(f, "<tspan> · {}</tspan>", escaped(note))?;
    }
    f.write_str("</text>")
}

impl fmt::Display for PlanDrawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawn = self.drawn();
        let frame = PlanFrame::around(&drawn);
        let height = frame.height();
        write!(
            f,
            "<svg class=\"plan\" viewBox=\"-4 -4 728 {}\" role=\"img\" aria-label=\"{}\">\
             <rect class=\"floor\" width=\"{WIDTH}\" height=\"{}\" rx=\"6\"/><path class=\"grid\" d=\"{}\"/>",
            coordinate(height + 8.0),
            escaped(&self.label(&frame, &drawn)),
            coordinate(height),
            frame.grid()
        )?;
        for head in &drawn {
            write_head(f, &frame, head)?;
        }
        let all_names = drawn.len() <= MAX_NAMES;
        let is_marked = |head: &&&PlanHead| {
            all_names || matches!(head.state, HeadState::Speaking | HeadState::Suffering)
        };
        for head in drawn.iter().filter(is_marked) {
            write_name(f, &frame, head)?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for PlanDrawing {}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: usize, x: f64, z: f64) -> PlanHead {
        PlanHead {
            number,
            name: ShownName::new("Ada"),
            position_m: (x, z),
            view_degrees: Some(-90.0),
            state: HeadState::Listening,
            note: None,
        }
    }

    fn places(plan: &PlanDrawing) -> Vec<(f64, f64)> {
        let html = plan.to_string();
        let place = |rest: &str| {
            let (x, y) = rest.split(')').next().unwrap().split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        html.split("translate(").skip(1).map(place).collect()
    }

    #[test]
    fn every_head_is_inside() {
        let seed = 7_u64;
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f64::from(u32::try_from(state >> 40).unwrap()) / f64::from(1 << 24)
        };
        for round in 0..200 {
            let size = 10_f64.powf(next() * 5.0 - 1.0).min(MAX_DISTANCE_M);
            let heads =
                (1..12).map(|n| head(n, (next() - 0.5) * size, next() * size / 2.0)).collect();
            let plan = PlanDrawing { heads };
            let height = PlanFrame::around(&plan.drawn()).height();
            for (x, y) in places(&plan) {
                let is_inside = (0.0..=WIDTH).contains(&x) && (0.0..=height).contains(&y);
                assert!(is_inside, "seed {seed}, round {round}: {x} {y} of {height}");
            }
            assert!(
                height <= MAX_HEIGHT + WIDTH / MIN_WIDTH_M,
                "seed {seed}, round {round}: {height}"
            );
        }
    }

    #[test]
    fn right_and_towards_the_reader_are_right_and_down() {
        let plan = PlanDrawing { heads: vec![head(1, 0.0, 0.0), head(2, 2.0, 1.0)] };
        let places = places(&plan);
        assert!(places[1].0 > places[0].0 && places[1].1 > places[0].1);
        assert!(plan.to_string().contains("rotate(270)"));
    }

    #[test]
    fn positions_that_mean_nothing_are_counted() {
        let heads = vec![head(1, f64::NAN, 0.0), head(2, 1e9, 0.0), head(3, 0.0, f64::INFINITY)];
        let html = PlanDrawing { heads }.to_string();
        assert!(html.contains("0 heads. 3 more are not drawn."), "{html}");
        assert!(!html.contains("NaN") && !html.contains("inf"));
    }

    #[test]
    fn the_number_of_heads_and_lines_is_limited() {
        let heads: Vec<_> =
            (0..500_u32).map(|at| head(1, f64::from(at * 19), f64::from(at % 7))).collect();
        let html = PlanDrawing { heads }.to_string();
        assert_eq!(html.matches("<g id=").count(), MAX_PLAN_HEADS);
        assert!(!html.contains("class=\"name"));
        assert!(
            html.split("class=\"grid\"").nth(1).unwrap().split("/>").next().unwrap().len() < 2_000
        );
    }

    #[test]
    fn the_label_names_who_speaks() {
        let mut speaking = head(1, 0.0, 0.0);
        speaking.state = HeadState::Speaking;
        speaking.name = ShownName::new("\"><script>");
        let html = PlanDrawing { heads: vec![speaking] }.to_string();
        assert!(html.contains("Speaking: &quot;&gt;&lt;script&gt;."));
        assert!(!html.contains("<script"));
    }
}
