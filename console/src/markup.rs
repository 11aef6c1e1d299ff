//! HTML that is safe to write as it is, and the status words in it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

use crate::name::ShownName;
use crate::text::{escape, visible};

/// A piece of HTML. Texts are escaped as they are added, so a template writes it unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// Returns an empty piece.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a text, with its hidden characters shown.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        escape(&shown(text), &mut self.0);
        self
    }

    /// Appends a text in bold.
    #[must_use]
    pub fn strong(mut self, text: &str) -> Self {
        self.0.push_str("<b>");
        escape(&shown(text), &mut self.0);
        self.0.push_str("</b>");
        self
    }

    /// Appends a text in the face of code, such as a command or a close code.
    #[must_use]
    pub fn code(mut self, text: &str) -> Self {
        self.0.push_str("<code>");
        escape(&shown(text), &mut self.0);
        self.0.push_str("</code>");
        self
    }

    /// Appends a link. `href` must come from this program, as from [`crate::link::query`].
    #[must_use]
    pub fn link(mut self, href: &str, text: &str) -> Self {
        self.0.push_str("<a href=\"");
        escape(href, &mut self.0);
        self.0.push_str("\">");
        escape(&shown(text), &mut self.0);
        self.0.push_str("</a>");
        self
    }

    /// Appends a name as a link. `href` is as that of [`Markup::link`].
    #[must_use]
    pub fn link_name(mut self, href: &str, name: &ShownName) -> Self {
        self.0.push_str("<a href=\"");
        escape(href, &mut self.0);
        // Writing to a String cannot fail.
        let _ = write!(self.0, "\">{name}</a>");
        self
    }

    /// Appends what is HTML itself: a name, a time, a quantity, a status.
    #[must_use]
    pub fn then(mut self, more: &impl HtmlSafe) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{more}");
        self
    }

    /// Returns the HTML.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes HTML that this crate has made.
    pub(crate) fn trusted(html: String) -> Self {
        Self(html)
    }
}

/// Shows the hidden characters of a text. A piece may be a space alone, which is no missing name.
fn shown(text: &str) -> Cow<'_, str> {
    if text.trim().is_empty() { Cow::Borrowed(text) } else { Cow::Owned(visible(text)) }
}

impl From<&str> for Markup {
    fn from(text: &str) -> Self {
        Self::new().text(text)
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// How a status reads: each tone has a shape and a colour, and stands beside a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A circle: as it should be.
    Good,
    /// A triangle: somebody should look.
    Warn,
    /// A diamond: broken.
    Bad,
    /// A square: worth knowing.
    Info,
    /// A ring: nothing happens here.
    Idle,
}

impl Tone {
    /// Returns the class of the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Info => "info",
            Self::Idle => "idle",
        }
    }
}

/// A status: a tone with its words. As HTML it stands in a text; [`Mark::badge`] makes a pill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    tone: Tone,
    words: String,
}

impl Mark {
    /// Returns a status. Hidden characters of `words` are shown.
    #[must_use]
    pub fn new(tone: Tone, words: &str) -> Self {
        Self { tone, words: crate::text::visible(words) }
    }

    /// Returns the tone.
    #[must_use]
    pub fn tone(&self) -> Tone {
        self.tone
    }

    /// Returns the words.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Returns the status as a pill.
    #[must_use]
    pub fn badge(&self) -> Markup {
        self.html("badge")
    }

    fn html(&self, class: &str) -> Markup {
        let mut html = format!("<span class=\"{class} {}\">", self.tone.class());
        escape(&self.words, &mut html);
        html.push_str("</span>");
        Markup(html)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.html("mark").fmt(f)
    }
}

impl HtmlSafe for Mark {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let hostile = "\"><script>";
        let markup = Markup::new()
            .text(hostile)
            .strong(hostile)
            .code(hostile)
            .link(hostile, hostile)
            .then(&Mark::new(Tone::Bad, hostile));
        assert!(!markup.as_str().contains("<script"));
        assert!(!markup.as_str().contains("=\"\">"));
    }

    #[test]
    fn hidden_characters_of_every_text_are_shown() {
        let hostile = "a\u{202E}b";
        let markup = Markup::from(hostile)
            .text(hostile)
            .strong(hostile)
            .code(hostile)
            .link("/", hostile)
            .text(" ")
            .text("");
        assert_eq!(markup.as_str().matches("a[U+202E]b").count(), 5, "{markup}");
        assert!(!markup.as_str().contains('\u{202E}') && markup.as_str().ends_with("</a> "));
    }

    #[test]
    fn a_status_has_shape_and_word() {
        let mark = Mark::new(Tone::Warn, "9 days");
        assert_eq!(mark.to_string(), "<span class=\"mark warn\">9 days</span>");
        assert_eq!(mark.badge().as_str(), "<span class=\"badge warn\">9 days</span>");
    }
}
