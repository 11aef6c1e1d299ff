//! Checks text from clients and operators: names that reach terminals and logs, and durations.

use std::time::Duration;

pub use nucleus_protocol::text::is_plain;
use nucleus_protocol::text::{is_control, is_ignorable};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The reason why a text is no plain text. Each message continues a sentence about the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotPlain {
    /// The bytes are no text.
    #[error("is not UTF-8")]
    Utf8,
    /// The text is too short or too long, as it is or in NFC.
    #[error("must have {min} to {max} bytes")]
    Length {
        /// Least number of bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// A control character, a line separator or a paragraph separator.
    #[error("has the control character U+{:04X}", u32::from(*.0))]
    Control(char),
    /// A character that cannot be seen, or that changes the direction of what follows.
    #[error(
        "has U+{:04X}, which is invisible or changes the direction of writing; of these only \
         U+200C to U+200F and variation selectors are allowed",
        u32::from(*.0)
    )]
    Invisible(char),
    /// The text is not empty, and nothing of it can be seen.
    #[error("has no visible character")]
    Blank,
}

/// Checks a name or another short text from a client, a token or an operator, and returns it in
/// NFC: the one function for every such text. Names in NFC are equal if they look equal on every
/// keyboard: "é" may be typed as one character or as two.
///
/// Refuses characters that would reach terminals and logs as commands, and those that make two
/// names look alike: docs/PROTOCOL.md has the list. U+200E and U+200F are allowed, because names in
/// Hebrew and Arabic need them beside Latin letters, and U+200C and U+200D, because Persian and
/// Indian names and emoji need them.
///
/// # Errors
/// [`NotPlain`]
pub fn plain(bytes: &[u8], min: usize, max: usize) -> Result<String, NotPlain> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotPlain::Utf8)?;
    // Before all else, so that no more than this is ever looked at.
    let fits = |text: &str| match (min..=max).contains(&text.len()) {
        true => Ok(()),
        false => Err(NotPlain::Length { min, max }),
    };
    fits(text)?;
    if let Some(c) = text.chars().find(|c| is_control(*c)) {
        return Err(NotPlain::Control(c));
    }
    if let Some(c) = text.chars().find(|c| !is_plain(*c)) {
        return Err(NotPlain::Invisible(c));
    }
    if !text.is_empty() && !text.chars().any(is_visible) {
        return Err(NotPlain::Blank);
    }
    let text = nfc(text);
    fits(&text)?;
    Ok(text)
}

/// Returns a text in NFC (Unicode Standard Annex 15), unchecked.
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

fn is_visible(c: char) -> bool {
    // U+2800 is the Braille pattern without dots.
    !c.is_whitespace() && !is_ignorable(c) && !is_combining_mark(c) && c != '\u{2800}'
}

/// Returns the first 64 characters of a text, escaped. An error message with this text contains no
/// control character and no line break.
pub fn printable(text: &str) -> String {
    text.chars().take(64).flat_map(|c| c.escape_debug()).collect()
}

/// The error for a text that is not a duration. Its message shows the accepted form.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{}` is not a duration: write a whole number and ms, s, m, h or d, as in 250ms or 10s",
    printable(.0)
)]
pub struct NotADuration(String);

/// Reads a whole number with a unit: `250ms`, `10s`, `5m`, `1h`, `7d`.
///
/// # Errors
///
/// [`NotADuration`] if the text has another form, or if the duration exceeds `u64::MAX`
/// milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, NotADuration> {
    let refused = || NotADuration(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(refused)
}

/// Deserializes a duration by [`parse_duration`], for `serde`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, NotPlain> {
        plain(text.as_bytes(), 1, 128)
    }

    #[test]
    fn names_of_the_world_are_plain() {
        for name in [
            "Ada Lovelace",
            "José",
            "Ξένια",
            "Ольга",
            "山田太郎",
            "김철수",
            "นภา",
            "O'Brien-Smith",
            // Hebrew with RLM, Arabic with LRM, Persian with ZWNJ, a family of emoji with ZWJ, a
            // heart and a Japanese name with variation selectors.
            "דנה\u{200f} (QA)",
            "ريم\u{200e} 2",
            "می\u{200c}خواهم",
            "👩\u{200d}👧",
            "❤\u{fe0f}",
            "葛\u{e0100}城",
        ] {
            assert_eq!(of(name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn what_hides_or_turns_text_is_refused() {
        let invisible = [
            "\u{202e}",
            "\u{202a}",
            "\u{2066}",
            "\u{2069}",
            "\u{061c}",
            "\u{200b}",
            "\u{feff}",
            "\u{00ad}",
            "\u{2060}",
            "\u{2064}",
            "\u{206a}",
            "\u{e0001}",
            "\u{e0041}",
            "\u{e007f}",
            "\u{fff9}",
            "\u{3164}",
            "\u{034f}",
            "\u{180e}",
        ];
        for c in invisible {
            let first = c.chars().next().unwrap();
            for name in [format!("ada{c}"), format!("{c}ada"), format!("a{c}da"), c.to_owned()] {
                assert_eq!(of(&name), Err(NotPlain::Invisible(first)), "{name:?}");
            }
        }
        for c in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}', '\u{2028}', '\u{2029}'] {
            assert_eq!(of(&format!("a{c}")), Err(NotPlain::Control(c)));
        }
        for name in [
            " ",
            "\u{200d}",
            "\u{200e}\u{200f}",
            "\u{fe0f}",
            "\u{301}",
            "\u{2800}",
            "\u{a0}\u{3000}\u{200c}",
        ] {
            assert_eq!(of(name), Err(NotPlain::Blank), "{name:?}");
        }
        assert_eq!(plain(&[0xff], 1, 128), Err(NotPlain::Utf8));
        assert_eq!(plain(b"", 0, 128).as_deref(), Ok(""));
    }

    #[test]
    fn equal_names_become_equal_bytes() {
        for name in ["cafe\u{301}", "caf\u{e9}"] {
            assert_eq!(of(name).as_deref(), Ok("caf\u{e9}"));
        }
        assert_eq!(
            of("한글").unwrap(),
            of("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}").unwrap()
        );
        // The limit holds for the text as it came, and in NFC, which may be longer.
        let length = Err(NotPlain::Length { min: 1, max: 3 });
        assert_eq!(plain("e\u{301}e".as_bytes(), 1, 3), length);
        assert_eq!(plain("\u{fb2c}".as_bytes(), 1, 3), length);
        assert_eq!(plain(b"", 1, 3), length);
    }

    #[test]
    fn the_text_of_an_error_says_the_rule() {
        let text = of("a\u{202e}").unwrap_err().to_string();
        assert!(text.starts_with("has U+202E, which is invisible or changes"), "{text}");
        assert_eq!(of("a\n").unwrap_err().to_string(), "has the control character U+000A");
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in ["", "10", "s", "-1s", "1.5s", "10 s", "10S", "1s1ms", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert!(parse_duration("18446744073709551615d").is_err(), "must not overflow");
    }
}
