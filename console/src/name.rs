//! Names that people choose.

use std::fmt;

use askama::filters::HtmlSafe;

use crate::text;

/// A name or text that people choose. As HTML it stands in `<bdi>`, so its direction changes nothing
/// around it, and hidden characters are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownName(String);

impl ShownName {
    /// Takes a name as it was chosen.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name as text, with hidden characters shown; for attributes and titles.
    #[must_use]
    pub fn plain(&self) -> String {
        text::visible(&self.0)
    }

    /// Returns the name for drawings, at most [`text::LABEL_CHARS`] characters.
    #[must_use]
    pub fn label(&self) -> String {
        text::label(&self.0)
    }

    /// Returns the name as it was chosen; for the fields of forms, which send it back.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<bdi>{}</bdi>", text::escaped(&self.0))
    }
}

impl HtmlSafe for ShownName {}

impl From<&str> for ShownName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_isolated_and_escaped() {
        let name = ShownName::new("<i>\u{202E}שירה");
        assert_eq!(name.to_string(), "<bdi>&lt;i&gt;[U+202E]שירה</bdi>");
        assert_eq!(name.plain(), "<i>[U+202E]שירה");
        assert_eq!(name.raw(), "<i>\u{202E}שירה");
    }
}
