//! Figures with their units: at most three digits that matter, and `–` for what is unknown.

use std::fmt;

use askama::filters::HtmlSafe;

use crate::markup::{Mark, Markup, Tone};
use crate::text::UNKNOWN;

/// The loss from which on a link suffers, in parts per million.
pub const LOSS_WARN_PPM: u32 = 10_000;
/// The loss from which on a link is unusable for poses, in parts per million.
pub const LOSS_BAD_PPM: u32 = 30_000;
/// The round trip from which on hands and voice lag, in microseconds.
pub const ROUND_TRIP_WARN_US: u64 = 90_000;

/// A figure with its unit, or an unknown one. As HTML it fits into a cell or a tile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantity {
    value: Option<String>,
    unit: String,
    tone: Option<Tone>,
}

impl Quantity {
    /// Returns a figure that is unknown.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Counts things: `5,000`.
    #[must_use]
    pub fn count(count: impl Into<Option<u64>>) -> Self {
        Self::new(count.into().map(grouped), "")
    }

    /// Takes a number and the unit that follows it. Numbers that are not finite are unknown.
    #[must_use]
    pub fn number(number: impl Into<Option<f64>>, unit: &str) -> Self {
        Self::new(number.into().filter(|number| number.is_finite()).map(digits), unit)
    }

    /// Takes microseconds and shows milliseconds.
    #[must_use]
    pub fn micros(micros: impl Into<Option<u64>>) -> Self {
        Self::number(micros.into().map(|micros| as_number(micros) / 1e3), "ms")
    }

    /// Takes a share from 0 to 1 and shows per cent.
    #[must_use]
    pub fn share(share: impl Into<Option<f64>>) -> Self {
        Self::number(share.into().map(|share| share * 100.0), "%")
    }

    /// Takes parts per million and shows per cent.
    #[must_use]
    pub fn ppm(ppm: impl Into<Option<u32>>) -> Self {
        Self::number(ppm.into().map(|ppm| f64::from(ppm) / 1e4), "%")
    }

    /// Shows lost datagrams in per cent, with a status from [`LOSS_WARN_PPM`] on.
    #[must_use]
    pub fn loss(ppm: impl Into<Option<u32>>) -> Self {
        let ppm = ppm.into();
        let tone = match ppm {
            Some(LOSS_BAD_PPM..) => Some(Tone::Bad),
            Some(LOSS_WARN_PPM..) => Some(Tone::Warn),
            _ => None,
        };
        Self { tone, ..Self::ppm(ppm) }
    }

    /// Shows a round trip in milliseconds, with a status from [`ROUND_TRIP_WARN_US`] on.
    #[must_use]
    pub fn round_trip(micros: impl Into<Option<u64>>) -> Self {
        let micros = micros.into();
        let tone = micros.filter(|&micros| micros >= ROUND_TRIP_WARN_US).map(|_| Tone::Warn);
        Self { tone, ..Self::micros(micros) }
    }

    /// Takes bytes a second and shows bits a second.
    #[must_use]
    pub fn bytes_per_second(bytes: impl Into<Option<f64>>) -> Self {
        let bits = bytes.into().map(|bytes| bytes * 8.0);
        Self::scaled(bits, &[(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")], "bit/s")
    }

    /// Shows how often a thing happens in a second.
    #[must_use]
    pub fn per_second(rate: impl Into<Option<f64>>) -> Self {
        Self::scaled(rate.into(), &[(1e6, "M/s"), (1e3, "k/s")], "/s")
    }

    /// Shows bytes in decimal multiples.
    #[must_use]
    pub fn bytes(bytes: impl Into<Option<u64>>) -> Self {
        let bytes = bytes.into().map(as_number);
        Self::scaled(bytes, &[(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")], "B")
    }

    /// Takes seconds and shows the two largest units: `41 s`, `1 min 42 s`, `52 min`, `1 h 29 min`, `3 d
    /// 4 h`. From ten minutes on the seconds are left out.
    #[must_use]
    pub fn seconds(seconds: impl Into<Option<u64>>) -> Self {
        let Some(seconds) = seconds.into() else { return Self::unknown() };
        let (value, unit) = match seconds {
            0..60 => (seconds.to_string(), "s"),
            60..600 if !seconds.is_multiple_of(60) => {
                (format!("{} min {}", seconds / 60, seconds % 60), "s")
            }
            60..3_600 => ((seconds / 60).to_string(), "min"),
            3_600..86_400 => (format!("{} h {}", seconds / 3_600, seconds / 60 % 60), "min"),
            _ => (format!("{} d {}", grouped(seconds / 86_400), seconds / 3_600 % 24), "h"),
        };
        Self::new(Some(value), unit)
    }

    /// Takes milliseconds: below a second as they are, otherwise as [`Quantity::seconds`].
    #[must_use]
    pub fn millis(millis: impl Into<Option<u64>>) -> Self {
        match millis.into() {
            Some(millis @ 0..1_000) => Self::number(as_number(millis), "ms"),
            Some(millis) => Self::seconds(millis / 1_000),
            None => Self::unknown(),
        }
    }

    /// Returns the figure with another unit, as `12` with the unit `/ 16`.
    #[must_use]
    pub fn with_unit(self, unit: &str) -> Self {
        Self { unit: unit.to_owned(), ..self }
    }

    /// Returns the figure with a status. An unknown figure has none.
    #[must_use]
    pub fn with_tone(self, tone: Tone) -> Self {
        Self { tone: Some(tone), ..self }
    }

    /// Whether the figure is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.value.is_some()
    }

    /// Returns the figure as text: `184 ms`.
    #[must_use]
    pub fn plain(&self) -> String {
        match &self.value {
            None => UNKNOWN.to_owned(),
            Some(value) if self.unit.is_empty() => value.clone(),
            // A no-break space.
            Some(value) => format!("{value}\u{a0}{}", self.unit),
        }
    }

    /// Returns the figure with what it varies by, in the same unit. Narrow windows leave that out.
    pub(crate) fn with_spread(&self, spread: Option<u64>) -> Markup {
        let (Some(value), Some(spread)) = (&self.value, spread) else {
            return Markup::new().then(self);
        };
        let spread = format!("<span class=\"p2\"> ± {}</span>", grouped(spread));
        let unit = crate::text::escaped(&self.unit);
        Markup::trusted(match self.tone {
            Some(tone) => {
                let class = tone.class();
                format!("<span class=\"mark {class}\">{value}{spread}\u{a0}{unit}</span>")
            }
            None => format!("{value}{spread}<span class=\"u\">{unit}</span>"),
        })
    }

    fn new(value: Option<String>, unit: &str) -> Self {
        Self { value, unit: unit.to_owned(), tone: None }
    }

    fn scaled(number: Option<f64>, steps: &[(f64, &str)], least: &str) -> Self {
        let Some(number) = number.filter(|number| number.is_finite()) else {
            return Self::unknown();
        };
        // From 999.5 on, a figure would be rounded to 1,000 of the smaller unit.
        let step = steps.iter().find(|(factor, _)| number.abs() >= factor * 0.9995);
        let (factor, unit) = step.copied().unwrap_or((1.0, least));
        Self::new(Some(digits(number / factor)), unit)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = &self.value else {
            return write!(f, "<span class=\"muted\">{UNKNOWN}</span>");
        };
        match self.tone {
            Some(tone) => Mark::new(tone, &self.plain()).fmt(f),
            None if self.unit.is_empty() => f.write_str(value),
            None => {
                let unit = crate::text::escaped(&self.unit);
                write!(f, "{value}<span class=\"u\">{unit}</span>")
            }
        }
    }
}

impl HtmlSafe for Quantity {}

/// Returns a number with at most three digits that matter, and groups of three before the point.
fn digits(number: f64) -> String {
    let places = match number.abs() {
        99.95.. => 0,
        9.995.. => 1,
        _ => 2,
    };
    let text = format!("{number:.places$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let part = part.trim_end_matches('0');
    let sign = if whole == "0" && part.is_empty() { "" } else { sign };
    let point = if part.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{part}", groups(whole))
}

fn grouped(count: u64) -> String {
    groups(&count.to_string())
}

fn groups(whole: &str) -> String {
    let mut out = String::with_capacity(whole.len() + whole.len() / 3);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Counts above 2^53 lose their last digits, of which three are shown.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn as_number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_matter() {
        let cases = [
            (0.0, "0"),
            (-0.001, "0"),
            (0.04, "0.04"),
            (0.8, "0.8"),
            (6.2, "6.2"),
            (9.999, "10"),
            (46.04, "46"),
            (99.94, "99.9"),
            (99.96, "100"),
            (184.4, "184"),
            (5212.0, "5,212"),
            (-12.34, "-12.3"),
        ];
        for (number, text) in cases {
            assert_eq!(digits(number), text, "{number}");
        }
    }

    #[test]
    fn every_figure_has_its_unit() {
        let cases = [
            (Quantity::count(5_000), "5,000"),
            (Quantity::micros(184_000), "184\u{a0}ms"),
            (Quantity::ppm(62_000), "6.2\u{a0}%"),
            (Quantity::share(0.031), "3.1\u{a0}%"),
            (Quantity::bytes_per_second(287_500.0), "2.3\u{a0}Mbit/s"),
            (Quantity::bytes_per_second(124_999.9), "1\u{a0}Mbit/s"),
            (Quantity::bytes(41_200_000), "41.2\u{a0}MB"),
            (Quantity::bytes(999), "999\u{a0}B"),
            (Quantity::per_second(46_000.0), "46\u{a0}k/s"),
            (Quantity::count(12).with_unit("/ 16"), "12\u{a0}/ 16"),
        ];
        for (quantity, text) in cases {
            assert_eq!(quantity.plain(), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [
            (0, "0\u{a0}s"),
            (59, "59\u{a0}s"),
            (60, "1\u{a0}min"),
            (102, "1 min 42\u{a0}s"),
            (3_120, "52\u{a0}min"),
            (3_600, "1 h 0\u{a0}min"),
            (5_340, "1 h 29\u{a0}min"),
            (90_000, "1 d 1\u{a0}h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(Quantity::seconds(seconds).plain(), text);
        }
        assert_eq!(Quantity::millis(212).plain(), "212\u{a0}ms");
        assert_eq!(Quantity::millis(41_900).plain(), "41\u{a0}s");
    }

    #[test]
    fn unknown_is_never_zero() {
        let unknown = [
            Quantity::unknown(),
            Quantity::count(None),
            Quantity::micros(None),
            Quantity::loss(None),
            Quantity::bytes(None),
            Quantity::seconds(None),
            Quantity::number(f64::NAN, "ms"),
            Quantity::per_second(f64::INFINITY),
            Quantity::unknown().with_tone(Tone::Bad),
        ];
        for quantity in unknown {
            assert_eq!(quantity.plain(), "–");
            assert_eq!(quantity.to_string(), "<span class=\"muted\">–</span>");
        }
        assert_eq!(Quantity::loss(0).to_string(), "0<span class=\"u\">%</span>");
    }

    #[test]
    fn what_a_figure_varies_by_has_its_unit() {
        let html = |quantity: Quantity, spread| quantity.with_spread(spread).to_string();
        let plain = "29<span class=\"p2\"> ± 6</span><span class=\"u\">ms</span>";
        assert_eq!(html(Quantity::round_trip(29_000), Some(6)), plain);
        assert_eq!(html(Quantity::round_trip(29_000), None), "29<span class=\"u\">ms</span>");
        assert_eq!(html(Quantity::unknown(), Some(6)), "<span class=\"muted\">–</span>");
        let slow = "<span class=\"mark warn\">184<span class=\"p2\"> ± 41</span>\u{a0}ms</span>";
        assert_eq!(html(Quantity::round_trip(184_000), Some(41)), slow);
    }

    #[test]
    fn a_link_that_suffers_has_a_shape() {
        assert_eq!(Quantity::loss(9_999).tone, None);
        assert_eq!(Quantity::loss(LOSS_WARN_PPM).tone, Some(Tone::Warn));
        assert_eq!(Quantity::loss(LOSS_BAD_PPM).tone, Some(Tone::Bad));
        assert_eq!(Quantity::round_trip(ROUND_TRIP_WARN_US - 1).tone, None);
        let slow = Quantity::round_trip(184_000).to_string();
        assert_eq!(slow, "<span class=\"mark warn\">184\u{a0}ms</span>");
    }
}
