//! Every screen with invented data: as designed, with hostile names, and empty.

mod history;
mod live;
mod report;
mod setup;

use nucleus_console::{Mark, MenuPlace, MenuRole, PageShell, RenderError, ShownName, Theme, Tone};

/// Which data a screen gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// The invented data of the design.
    Designed,
    /// Names that try to be markup, to reorder the line, to be formulas, and to be long.
    Hostile,
    /// Nothing is known yet.
    Empty,
}

impl Data {
    pub(crate) const ALL: [Self; 3] = [Self::Designed, Self::Hostile, Self::Empty];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Designed => "designed",
            Self::Hostile => "hostile",
            Self::Empty => "empty",
        }
    }

    /// Returns a text that people choose. A hostile one depends on the designed one, so that several stand
    /// on each page.
    pub(crate) fn text(self, designed: &str) -> String {
        if self != Self::Hostile {
            return designed.to_owned();
        }
        let sum: usize = designed.bytes().map(usize::from).sum();
        hostile()[sum % hostile().len()].clone()
    }

    pub(crate) fn name_of(self, designed: &str) -> ShownName {
        ShownName::new(self.text(designed))
    }

    pub(crate) fn list<T>(self, designed: Vec<T>) -> Vec<T> {
        if self == Self::Empty { Vec::new() } else { designed }
    }

    pub(crate) fn some<T>(self, designed: T) -> Option<T> {
        (self != Self::Empty).then_some(designed)
    }

    pub(crate) fn shell(self, title: &str, place: MenuPlace, role: MenuRole) -> PageShell {
        PageShell {
            title: self.text(title),
            base: String::new(),
            place: Some(place),
            role,
            sees_server: role != MenuRole::PartnerAdmin,
            reader: self.name_of("m.ruiz@example.org"),
            theme: Theme::System,
            rooms: self.some(500),
            calls: self.some(23),
            notice: (self == Self::Hostile)
                .then(|| Mark::new(Tone::Good, &self.text("Room locked"))),
        }
    }
}

/// The names of the hostile data. None of them may run, hide or break a page.
pub(crate) fn hostile() -> Vec<String> {
    vec![
        "<script>alert(1)</script>".to_owned(),
        "\"><img src=x onerror=alert(1)>".to_owned(),
        "' onmouseover='alert(1)".to_owned(),
        "</title></textarea></script><h1>Owned".to_owned(),
        "Ada \u{202E}ecalevoL\u{2066} \u{200F}x".to_owned(),
        "=HYPERLINK(\"http://example.org\")".to_owned(),
        "{{7*7}}{% raw %}&lt;b&gt;".to_owned(),
        "🧑‍🚀".repeat(128),
        "W".repeat(256),
        format!("Z{}algo", "\u{0301}\u{0323}".repeat(60)),
        " \t ".to_owned(),
        "]]><!--<svg onload=alert(1)>".to_owned(),
    ]
}

/// A minute in microseconds.
pub(crate) const MINUTE: i64 = 60_000_000;

/// Returns a time of 26 November 2026, in microseconds since 1970 in UTC.
pub(crate) fn at(hour: i64, minute: i64, second: i64) -> i64 {
    1_795_651_200_000_000 + ((hour * 60 + minute) * 60 + second) * 1_000_000
}

/// A smooth curve with some noise, the same each time.
pub(crate) fn wave(count: usize, base: f64, swing: f64) -> Vec<Option<f64>> {
    let mut state = 7_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 16) / f64::from(1 << 16) - 0.5
    };
    (0..count)
        .map(|at| Some(base + swing * ((at as f64 / 9.0).sin() * 0.5 + noise()).max(-0.9)))
        .collect()
}

/// Renders every screen. The names become the names of files.
pub(crate) fn pages(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    let mut pages = live::pages(data)?;
    pages.extend(history::pages(data)?);
    pages.extend(setup::pages(data)?);
    Ok(pages)
}

/// Renders the parts that streams replace.
pub(crate) fn live_parts(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    live::parts(data)
}

/// Renders the reports, which are pages in one file.
pub(crate) fn reports(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    report::pages(data)
}
