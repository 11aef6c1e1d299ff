//! Drawings of the server: SVG that needs no script, and the data of the charts that scripts draw.

use std::fmt::Write as _;

mod code;
mod heat;
mod life;
mod line;
mod plan;
mod spark;

pub use code::{CodeDrawing, MAX_CODE_EDGE};
pub use heat::{HeatCell, HeatMap, MAX_HEAT_CELLS};
pub use life::{LifeDrawing, LifeLane, LifeSpan, LifeSpanKind, MAX_LIFE_SPANS};
pub use line::{ChartAxis, ChartSeries, LineChart, MAX_CHART_POINTS};
pub use plan::{HeadState, MAX_PLAN_HEADS, PlanDrawing, PlanHead};
pub use spark::{MAX_SPARK_POINTS, Sparkline};

/// Writes a coordinate with one decimal, which is a tenth of a pixel.
fn coordinate(number: f64) -> String {
    let mut text = format!("{number:.1}");
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    if text == "-0" { "0".to_owned() } else { text }
}

/// Writes the path of a curve; it is interrupted where a point is missing.
fn curve(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    let mut pen_is_down = false;
    for point in points {
        if let Some((x, y)) = point {
            let verb = if pen_is_down { 'L' } else { 'M' };
            // Writing to a String cannot fail.
            let _ = write!(path, "{verb}{} {}", coordinate(x), coordinate(y));
        }
        pen_is_down = point.is_some();
    }
    path
}

/// Counts of a drawing are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "drawings have some thousand parts")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_have_a_tenth_of_a_pixel() {
        assert_eq!(coordinate(1.04), "1");
        assert_eq!(coordinate(-0.01), "0");
        assert_eq!(coordinate(12.36), "12.4");
    }

    #[test]
    fn a_missing_point_interrupts_the_curve() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0))];
        assert_eq!(curve(points.into_iter()), "M0 1L1 2M3 4");
    }
}
