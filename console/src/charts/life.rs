//! A session's life as lanes over time: presence, plane, address, round trip.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

use super::{coordinate, curve, number};
use crate::quantity::Quantity;
use crate::shown_time::ShownTime;
use crate::text::{cut_to_width, escaped, letters};

/// Most spans of a lane; more could not be told apart. The newest are drawn.
pub const MAX_LIFE_SPANS: usize = 64;
/// Most points of the curve: one for each second pixel.
const MAX_CURVE_POINTS: usize = 480;
/// The steps between the marks of the axis, in seconds.
const STEPS_S: [i64; 13] =
    [1, 5, 15, 60, 300, 600, 900, 1_800, 3_600, 4 * 3_600, 12 * 3_600, 86_400, 7 * 86_400];

/// How a span looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeSpanKind {
    /// As it should be.
    Normal,
    /// On the fallback, or on a network that causes it.
    Fallback,
    /// The session was lost.
    Gone,
    /// The person is away.
    Away,
}

impl LifeSpanKind {
    fn class(self) -> &'static str {
        match self {
            Self::Normal => "ok",
            Self::Fallback => "alt",
            Self::Gone => "gone",
            Self::Away => "rest",
        }
    }
}

/// A part of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeSpan {
    /// From when, in microseconds since 1970.
    pub from: i64,
    /// Until when, in microseconds since 1970.
    pub to: i64,
    /// How the span looks.
    pub kind: LifeSpanKind,
    /// What is written in it, if there is room.
    pub words: String,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeLane {
    /// What the lane shows, as `Presence`.
    pub title: String,
    /// Its spans, the oldest first.
    pub spans: Vec<LifeSpan>,
}

/// The life of a session. It is drawn twice, for wide and for narrow windows.
#[derive(Clone, Debug, PartialEq)]
pub struct LifeDrawing {
    /// The first moment, in microseconds since 1970.
    pub from: i64,
    /// The last moment, in microseconds since 1970.
    pub to: i64,
    /// The lanes.
    pub lanes: Vec<LifeLane>,
    /// Round trips in milliseconds, at their times, the oldest first; absent: not measured. Empty: the lane
    /// is left out.
    pub round_trips: Vec<(i64, Option<f64>)>,
    /// The moment that answers the question, and what is written there.
    pub cursor: Option<(i64, String)>,
    /// What there is to see, in words.
    pub label: String,
}

/// The measures of one of the two drawings, in pixels.
struct LifeLayout {
    class: &'static str,
    width: f64,
    /// Where the lanes begin.
    left: f64,
    right: f64,
    /// From one lane to the next.
    pitch: f64,
    /// From the top to the first lane's bars.
    top: f64,
    /// From a lane's title to its bars, upwards: 0 stands beside it.
    title_above: f64,
    /// Most marks of the axis.
    marks: i64,
}

const WIDE: LifeLayout = LifeLayout {
    class: "lanes roomy",
    width: 1000.0,
    left: 126.0,
    right: 994.0,
    pitch: 40.0,
    top: 34.0,
    title_above: 0.0,
    marks: 7,
};
const NARROW: LifeLayout = LifeLayout {
    class: "lanes narrow",
    width: 328.0,
    left: 12.0,
    right: 322.0,
    pitch: 50.0,
    top: 52.0,
    title_above: 6.0,
    marks: 4,
};
const BAR: f64 = 22.0;
/// The width of a letter of these labels in pixels, rounded up.
const CHAR: f64 = 7.0;
/// The least room for words in a span, in letters: less says nothing.
const MIN_LETTERS: f64 = 4.0;
/// Most letters beside the time of the cursor.
const CURSOR_LETTERS: f64 = 24.0;

impl LifeDrawing {
    fn span_micros(&self) -> f64 {
        micros(self.to.saturating_sub(self.from).max(1))
    }

    fn x(&self, at: i64, layout: &LifeLayout) -> f64 {
        let part = micros(at.saturating_sub(self.from)) / self.span_micros();
        layout.left + part.clamp(0.0, 1.0) * (layout.right - layout.left)
    }

    /// Returns the times of the axis: whole steps of the clock in UTC.
    fn marks(&self, most: i64) -> Vec<i64> {
        let span_s = self.to.saturating_sub(self.from).max(0) / 1_000_000;
        let step_s = STEPS_S.into_iter().find(|step| span_s / step < most).unwrap_or(30 * 86_400);
        let step = step_s * 1_000_000;
        let first = self.from.div_euclid(step).saturating_mul(step);
        let marks = std::iter::successors(Some(first), |mark| mark.checked_add(step));
        let until = usize::try_from(most).unwrap_or(0) + 2;
        marks
            .skip_while(|mark| *mark < self.from)
            .take_while(|mark| *mark <= self.to)
            .take(until)
            .collect()
    }

    fn write(&self, out: &mut String, layout: &LifeLayout) -> fmt::Result {
        let rows = self.lanes.len() + usize::from(!self.round_trips.is_empty());
        let bottom = layout.top + number(rows) * layout.pitch;
        write!(
            out,
            "<svg class=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            layout.class,
            layout.width,
            bottom + 20.0,
            escaped(&self.label)
        )?;
        self.write_axis(out, layout, bottom)?;
        for (row, lane) in self.lanes.iter().enumerate() {
            let y = layout.top + number(row) * layout.pitch;
            write_title(out, layout, y, &lane.title)?;
            for span in &lane.spans[lane.spans.len().saturating_sub(MAX_LIFE_SPANS)..] {
                self.write_span(out, layout, y, span)?;
            }
        }
        if !self.round_trips.is_empty() {
            self.write_round_trips(
                out,
                layout,
                layout.top + number(self.lanes.len()) * layout.pitch,
            )?;
        }
        self.write_cursor(out, layout, bottom)?;
        out.push_str("</svg>");
        Ok(())
    }

    fn write_axis(&self, out: &mut String, layout: &LifeLayout, bottom: f64) -> fmt::Result {
        for mark in self.marks(layout.marks) {
            let x = self.x(mark, layout);
            let time = ShownTime::from_micros(mark).machine();
            let text = time.get(11..16).unwrap_or_default();
            let (anchor, text_x) = match x {
                _ if x < 30.0 => ("start", x),
                _ if x > layout.width - 30.0 => ("end", layout.width),
                _ => ("middle", x),
            };
            write!(
                out,
                "<path class=\"axis\" d=\"M{0} 28V{bottom}\"/><text class=\"dim\" x=\"{1}\" y=\"{2}\" text-anchor=\"{anchor}\" data-at=\"{time}\">{text}</text>",
                coordinate(x),
                coordinate(text_x),
                bottom + 16.0
            )?;
        }
        Ok(())
    }

    fn write_span(
        &self,
        out: &mut String,
        layout: &LifeLayout,
        y: f64,
        span: &LifeSpan,
    ) -> fmt::Result {
        let (from, to) = (self.x(span.from, layout), self.x(span.to, layout));
        // A pixel stays free between neighbours, and a short span must be seen.
        let width = (to - from - 1.0).max(3.0);
        let class = span.kind.class();
        write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{BAR}\"/>",
            coordinate(from),
            coordinate(width)
        )?;
        let room = (width - 14.0) / CHAR;
        let text = crate::text::visible(&span.words);
        if room >= MIN_LETTERS && !span.words.is_empty() {
            let words = cut_to_width(&text, room);
            let (x, y) = (coordinate(from + 7.0), y + 15.0);
            write!(out, "<text x=\"{x}\" y=\"{y}\">{}</text>", escaped(&words))?;
        }
        Ok(())
    }

    fn write_round_trips(&self, out: &mut String, layout: &LifeLayout, y: f64) -> fmt::Result {
        write_title(out, layout, y, "Round trip")?;
        let step = self.round_trips.len().div_ceil(MAX_CURVE_POINTS).max(1);
        let points: Vec<_> = self.round_trips.iter().step_by(step).copied().collect();
        let known = || {
            points.iter().filter_map(|(at, ms)| ms.filter(|ms| ms.is_finite()).map(|ms| (*at, ms)))
        };
        let most = known().map(|(_, ms)| ms).fold(1.0_f64, f64::max);
        let place =
            |at: i64, ms: f64| (self.x(at, layout), y + BAR + 8.0 - ms / most * (BAR + 6.0));
        let line =
            points.iter().map(|(at, ms)| ms.filter(|ms| ms.is_finite()).map(|ms| place(*at, ms)));
        write!(out, "<path class=\"curve\" d=\"{}\"/>", curve(line))?;
        // The lane has no axis of its own: its first value is written above its line, the largest below.
        let first = known().next();
        let worst = known().fold(None, |best: Option<(i64, f64)>, point| match best {
            Some(found) if found.1 >= point.1 => Some(found),
            _ => Some(point),
        });
        for (point, shift) in [(first, -6.0), (worst.filter(|point| Some(*point) != first), 16.0)] {
            let Some((at, ms)) = point else { continue };
            let (x, y) = place(at, ms);
            let x = coordinate((x + 8.0).min(layout.right - 8.0 * CHAR));
            let (y, text) = (coordinate(y + shift), Quantity::number(ms, "ms").plain());
            write!(out, "<text class=\"dim\" x=\"{x}\" y=\"{y}\">{text}</text>")?;
        }
        Ok(())
    }

    fn write_cursor(&self, out: &mut String, layout: &LifeLayout, bottom: f64) -> fmt::Result {
        let Some((at, words)) = &self.cursor else { return Ok(()) };
        let x = self.x(*at, layout);
        let time = ShownTime::from_micros(*at).machine();
        let clock = time.get(11..19).unwrap_or_default();
        let words = cut_to_width(&crate::text::visible(words), CURSOR_LETTERS);
        // The time and the comma have ten characters; the rest is margin.
        let width = (letters(&words) + 13.0) * CHAR;
        let words = escaped(&words);
        let left = (x - width / 2.0).clamp(0.0, (layout.width - width).max(0.0));
        write!(
            out,
            "<path class=\"cursor\" d=\"M{x} 20V{bottom}\"/><rect class=\"tag\" x=\"{left}\" y=\"0\" width=\"{width}\" height=\"20\"/>\
             <text class=\"on\" x=\"{middle}\" y=\"14\"><tspan data-at=\"{time}\" data-show=\"s\">{clock}</tspan>, {words}</text>",
            x = coordinate(x),
            left = coordinate(left),
            width = coordinate(width),
            middle = coordinate(left + width / 2.0)
        )
    }
}

fn write_title(out: &mut String, layout: &LifeLayout, y: f64, title: &str) -> fmt::Result {
    let title = escaped(title);
    if layout.title_above > 0.0 {
        write!(out, "<text class=\"dim\" x=\"0\" y=\"{}\">{title}</text>", y - layout.title_above)
    } else {
        write!(out, "<text x=\"0\" y=\"{}\">{title}</text>", y + 15.0)
    }
}

/// Microseconds of a session are below 2^53: 285 years.
#[expect(clippy::cast_precision_loss, reason = "a drawing has a thousand pixels")]
fn micros(span: i64) -> f64 {
    span as f64
}

impl fmt::Display for LifeDrawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out, &WIDE)?;
        self.write(&mut out, &NARROW)?;
        f.write_str(&out)
    }
}

impl HtmlSafe for LifeDrawing {}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;
    /// 26 November 2026, 9:31 UTC.
    const START: i64 = 1_795_685_460_000_000;

    fn life(spans: Vec<LifeSpan>) -> LifeDrawing {
        LifeDrawing {
            from: START,
            to: START + 49 * MINUTE,
            lanes: vec![LifeLane { title: "Presence".to_owned(), spans }],
            round_trips: vec![
                (START, Some(34.0)),
                (START + MINUTE, None),
                (START + 2 * MINUTE, Some(184.0)),
            ],
            cursor: Some((START + 33 * MINUTE, "gone 41 s".to_owned())),
            label: "Lanes".to_owned(),
        }
    }

    fn span(from: i64, to: i64, words: &str) -> LifeSpan {
        LifeSpan { from, to, kind: LifeSpanKind::Normal, words: words.to_owned() }
    }

    #[test]
    fn the_axis_has_whole_steps() {
        let marks: Vec<_> = life(vec![]).marks(7).iter().map(|at| (at - START) / MINUTE).collect();
        assert_eq!(marks, [9, 19, 29, 39, 49]);
        assert_eq!(life(vec![]).marks(4).len(), 3);
    }

    #[test]
    fn a_life_of_any_length_is_drawn() {
        for (from, to) in [(START, START), (START, START - 1), (0, i64::MAX), (i64::MIN, i64::MAX)]
        {
            let odd = LifeDrawing { from, to, ..life(vec![span(i64::MIN, i64::MAX, "x")]) };
            let html = odd.to_string();
            assert!(!html.contains("NaN") && !html.contains("inf"), "{from} {to}");
            assert!(odd.marks(7).len() <= 9);
        }
    }

    #[test]
    fn words_stay_inside_their_span() {
        let short = span(START, START + MINUTE, "Here");
        let long = span(START + 2 * MINUTE, START + 12 * MINUTE, &"long words ".repeat(20));
        let html = life(vec![short, long]).to_string();
        assert!(!html.contains(">Here<"));
        assert!(html.contains("…</text>"));
    }

    #[test]
    fn a_short_span_is_seen() {
        let html = life(vec![span(START, START + 1, "")]).to_string();
        assert!(html.contains("width=\"3\""));
    }

    #[test]
    fn the_number_of_spans_is_limited() {
        let spans = (0..1_000).map(|at| span(START + at, START + at + 1, "")).collect();
        let html = life(spans).to_string();
        assert_eq!(html.matches("class=\"ok\"").count(), 2 * MAX_LIFE_SPANS);
    }

    #[test]
    fn texts_are_escaped() {
        let mut hostile = life(vec![span(START, START + 49 * MINUTE, "</text><script>")]);
        hostile.label = "\"><script>".to_owned();
        hostile.cursor = Some((START, "<script>".to_owned()));
        assert!(!hostile.to_string().contains("<script"));
    }
}
