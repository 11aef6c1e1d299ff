//! The characters that a plain text must not contain, see docs/PROTOCOL.md.

/// Returns whether a character may stand in a plain text: it would not reach a terminal or a log as
/// a command, and it does not make two names look alike.
pub fn is_plain(c: char) -> bool {
    !is_control(c) && (!is_ignorable(c) || is_joiner_or_mark(c))
}

/// Returns whether a character is a control character, or a separator of lines or paragraphs.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Returns whether a reader sees nothing of this character: the property
/// `Default_Ignorable_Code_Point` of Unicode 17, and the marks of interlinear annotations.
pub fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns whether an ignorable character has a use in names: the joiners ZWNJ and ZWJ, the marks
/// LRM and RLM, and variation selectors.
fn is_joiner_or_mark(c: char) -> bool {
    matches!(c,
        '\u{200c}'..='\u{200f}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0100}'..='\u{e01ef}')
}
