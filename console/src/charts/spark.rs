//! Small curves in tiles and lists.

use std::fmt;

use askama::filters::HtmlSafe;

use super::{coordinate, curve, number};

/// Most points of a small curve: more than its pixels.
pub const MAX_SPARK_POINTS: usize = 120;

/// A small curve. It has no axis: a figure beside it says the newest value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparkline {
    /// The values, the newest last; absent: nothing was measured. Of more than [`MAX_SPARK_POINTS`] the
    /// newest are drawn.
    pub values: Vec<Option<f64>>,
    /// The value at the upper edge, so that curves of a list have one scale; absent: the largest value.
    pub top: Option<f64>,
    /// Whether the curve has the colour of what suffers.
    pub suffers: bool,
    /// Whether the curve fills a tile: it is wider then, and has an area below.
    pub fills_tile: bool,
}

impl Sparkline {
    fn points(&self, width: f64, height: f64) -> Vec<Option<(f64, f64)>> {
        let from = self.values.len().saturating_sub(MAX_SPARK_POINTS);
        let values: Vec<_> =
            self.values[from..].iter().map(|value| value.filter(|v| v.is_finite())).collect();
        let largest = values.iter().flatten().copied().fold(0.0_f64, f64::max);
        let least = values.iter().flatten().copied().fold(largest, f64::min);
        // A common scale begins at 0; a curve of its own shows its shape.
        let (low, high) = self.top.map_or((least, largest), |top| (0.0, top.max(largest)));
        let span = if high - low > f64::EPSILON { high - low } else { 1.0 };
        let step = width / number(values.len().saturating_sub(1).max(1));
        let place = |(at, value): (usize, &Option<f64>)| {
            value.map(|value| {
                (number(at) * step, height - 1.5 - (value - low) / span * (height - 3.0))
            })
        };
        values.iter().enumerate().map(place).collect()
    }
}

impl fmt::Display for Sparkline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = if self.fills_tile { (140.0, 28.0) } else { (96.0, 24.0) };
        let points = self.points(width, height);
        let class = if self.suffers { "spark warn" } else { "spark" };
        write!(
            f,
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        )?;
        let line = curve(points.iter().copied());
        // An area below a curve with gaps would have wrong corners.
        let is_whole = points.len() > 1 && points.iter().all(Option::is_some);
        if self.fills_tile && is_whole {
            let (right, base) = (coordinate(width), coordinate(height));
            write!(f, "<path class=\"area\" d=\"{line}L{right} {base}L0 {base}Z\"/>")?;
        }
        if !line.is_empty() {
            write!(f, "<path d=\"{line}\"/>")?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Sparkline {}

#[cfg(test)]
mod tests {
    use super::*;

    fn spark(values: &[Option<f64>]) -> Sparkline {
        Sparkline { values: values.to_vec(), ..Sparkline::default() }
    }

    #[test]
    fn the_largest_value_is_at_the_top() {
        let html = spark(&[Some(0.0), Some(10.0)]).to_string();
        assert!(html.contains("<path d=\"M0 22.5L96 1.5\"/>"), "{html}");
    }

    #[test]
    fn a_common_scale_begins_at_zero() {
        let html = Sparkline { top: Some(20.0), ..spark(&[Some(10.0), Some(10.0)]) }.to_string();
        assert!(html.contains("M0 12L96 12"), "{html}");
    }

    #[test]
    fn gaps_stay_gaps() {
        let html =
            Sparkline { fills_tile: true, ..spark(&[Some(1.0), None, Some(f64::NAN), Some(2.0)]) };
        assert!(!html.to_string().contains("area"));
        assert!(html.to_string().contains('M'));
        assert!(!html.to_string().contains("NaN"));
    }

    #[test]
    fn any_number_of_points_is_drawn() {
        assert!(!spark(&[]).to_string().contains("<path"));
        assert!(spark(&[Some(1.0)]).to_string().contains("M0 "));
        assert!(spark(&[None; 3]).to_string().ends_with("\"true\"></svg>"));
        let many = spark(&vec![Some(1.0); 10 * MAX_SPARK_POINTS]).to_string();
        assert_eq!(many.matches('L').count(), MAX_SPARK_POINTS - 1);
    }
}
