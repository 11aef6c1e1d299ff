//! Texts that people choose: escaped, with hidden characters shown, and cut.

use std::fmt::{Display, Write as _};

/// What is shown of an unknown time or quantity. Never 0: 0 is a measurement.
pub(crate) const UNKNOWN: &str = "–";
/// Most characters of a label in a drawing. A mark that belongs to the character before it is not
/// counted.
pub const LABEL_CHARS: usize = 20;
/// Most code points of a label, so that marks on one character cannot make it long: four for each
/// character, as in most emoji of several parts.
const LABEL_POINTS: usize = 4 * LABEL_CHARS;

/// Returns a count with its noun: `1 room`, `2 rooms`, `– rooms`. The count may have its digits grouped.
#[must_use]
pub fn counted(count: impl Display, one: &str, many: &str) -> String {
    let count = count.to_string();
    let noun = if count == "1" { one } else { many };
    format!("{count} {noun}")
}

/// Appends a text as HTML. The result may stand between tags and in quoted attributes.
pub(crate) fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

/// Returns a text as HTML, see [`visible`].
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(&visible(text), &mut out);
    out
}

/// Returns a text with its controls as `[U+202E]`: what would reorder the line, or be unseen, is read
/// instead. Joiners stay, because scripts and emoji need them. A text without anything to see becomes
/// `(no name)`.
#[must_use]
pub fn visible(text: &str) -> String {
    if text.chars().all(|char| char.is_whitespace() || is_joiner(char)) {
        return "(no name)".to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) {
            // Writing to a String cannot fail.
            let _ = write!(out, "[U+{:04X}]", u32::from(char));
        } else {
            out.push(char);
        }
    }
    out
}

/// Returns a text of at most [`LABEL_CHARS`] characters, with its controls shown. A longer text ends
/// with `…`. No mark, emoji modifier or joined emoji is torn from the character that it belongs to;
/// scripts with other clusters may be cut inside one.
#[must_use]
pub fn label(text: &str) -> String {
    cut(&visible(text), LABEL_CHARS)
}

/// Cuts a text to `most` characters, the `…` included.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let starts = cluster_starts(text);
    if starts.len() <= most && text.chars().count() <= LABEL_POINTS {
        return text.to_owned();
    }
    let kept = starts.get(most.saturating_sub(1)).copied().unwrap_or(text.len());
    let mut out: String = text[..kept].chars().take(LABEL_POINTS).collect();
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// Estimates how wide a text is drawn, in widths of a usual letter: no font is known here, so a label has
/// some room to spare. A mark on a character has no width.
pub(crate) fn letters(text: &str) -> f64 {
    cluster_starts(text).into_iter().filter_map(|at| text[at..].chars().next()).map(letter).sum()
}

fn letter(char: char) -> f64 {
    match char {
        'W' | 'M' | 'm' | 'w' | '@' | '%' => 1.7,
        'A'..='Z' => 1.25,
        // Scripts with full width, and emoji.
        '\u{1100}'..='\u{115F}'
        | '\u{2E80}'..='\u{A4CF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FF00}'..='\u{FF60}'
        | '\u{1F000}'..='\u{3FFFF}' => 2.1,
        '\u{0900}'..='\u{0DFF}' => 1.4,
        _ => 1.0,
    }
}

/// Cuts a text so that it is at most this number of letters wide, the `…` included; see [`letters`].
pub(crate) fn cut_to_width(text: &str, most: f64) -> String {
    let mut width = 0.0;
    let mut count = 0;
    for at in cluster_starts(text) {
        width += text[at..].chars().next().map_or(0.0, letter);
        if width > most {
            break;
        }
        count += 1;
    }
    if width <= most { cut(text, count.max(1)) } else { cut(text, count) }
}

/// Returns where characters begin, in bytes.
fn cluster_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut before = None;
    let mut half_flag = false;
    for (at, char) in text.char_indices() {
        let is_flag = matches!(char, '\u{1F1E6}'..='\u{1F1FF}');
        let joins = before == Some('\u{200D}') || is_joiner(char) || is_mark(char);
        if before.is_none() || !(joins || is_flag && half_flag) {
            starts.push(at);
            half_flag = is_flag;
        } else if is_flag {
            half_flag = false;
        }
        before = Some(char);
    }
    starts
}

fn is_joiner(char: char) -> bool {
    matches!(char, '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}')
}

/// Whether a character is drawn onto the one before it: combining marks of the frequent scripts, emoji
/// modifiers, and tags of flags.
fn is_mark(char: char) -> bool {
    matches!(char,
        '\u{0300}'..='\u{036F}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05BD}'
        | '\u{0610}'..='\u{061A}' | '\u{064B}'..='\u{065F}' | '\u{0670}'
        | '\u{0900}'..='\u{0903}' | '\u{093A}'..='\u{094F}' | '\u{0981}'..='\u{0983}'
        | '\u{09BC}'..='\u{09CD}' | '\u{0E31}' | '\u{0E34}'..='\u{0E3A}' | '\u{0E47}'..='\u{0E4E}'
        | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}' | '\u{1F3FB}'..='\u{1F3FF}' | '\u{E0020}'..='\u{E007F}')
}

/// Whether a character cannot be seen or changes the order of others.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{00AD}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}'
            | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_the_singular() {
        let rooms = |count: &str| counted(count, "room", "rooms");
        let expected = ["1 room", "0 rooms", "2 rooms", "1,001 rooms", "– rooms"];
        assert_eq!(["1", "0", "2", "1,001", "–"].map(rooms), expected);
        assert_eq!(counted(1, "person", "people"), "1 person");
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(escaped("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(visible("a\u{202E}b\0\u{200B}"), "a[U+202E]b[U+0000][U+200B]");
        assert_eq!(visible("می\u{200C}خواهم"), "می\u{200C}خواهم");
        for empty in ["", " \t", "\u{200D}\u{FE0F}", "\u{3000}"] {
            assert_eq!(visible(empty), "(no name)");
        }
    }

    #[test]
    fn a_label_has_at_most_twenty_characters() {
        assert_eq!(label("Ada Lovelace"), "Ada Lovelace");
        let exact = "x".repeat(20);
        assert_eq!(label(&exact), exact);
        assert_eq!(label(&"x".repeat(21)), format!("{}…", "x".repeat(19)));
        assert_eq!(label("Nineteen letters it is long"), "Nineteen letters it…");
    }

    #[test]
    fn characters_of_several_parts_are_not_torn() {
        let family = "👩\u{200D}👩\u{200D}👧";
        assert_eq!(cut(&family.repeat(4), 3), format!("{}…", family.repeat(2)));
        let accented = "e\u{0301}";
        assert_eq!(cut(&accented.repeat(30), 20), format!("{}…", accented.repeat(19)));
        let flags = "🇺🇦🇩🇪🇯🇵";
        assert_eq!(cut(flags, 3), flags);
        assert_eq!(cut(flags, 2), "🇺🇦…");
    }

    #[test]
    fn a_text_is_cut_to_a_width() {
        assert_eq!(cut_to_width("Here", 4.3), "Here");
        assert_eq!(cut_to_width("Here again", 6.0), "Here…");
        assert_eq!(cut_to_width("WWWWWW", 6.0), "WW…");
        for text in [
            "Here again",
            "WWWWWWWWWW",
            "田中 美咲 田中",
            "🧑🧑🧑🧑🧑🧑",
            "e\u{0301}e\u{0301}e\u{0301}e\u{0301}e\u{0301}e\u{0301}",
        ] {
            assert!(letters(&cut_to_width(text, 5.0)) <= 5.3, "{text}");
        }
        let stacked = format!("a{}", "\u{0301}".repeat(50));
        assert!((letters(&stacked) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn marks_on_one_character_do_not_make_it_long() {
        let stacked = format!("a{}", "\u{0301}".repeat(500));
        assert!(label(&stacked).chars().count() <= LABEL_POINTS + 1);
        assert!(label(&"🧑".repeat(128)).chars().count() <= LABEL_CHARS);
    }
}
