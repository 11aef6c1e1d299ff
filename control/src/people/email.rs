//! Email addresses, by which people sign in.

use nucleus_core::text;

/// Most bytes of an address (RFC 5321).
pub const EMAIL_BYTES: usize = 254;

/// Returns an address in the form in which addresses are compared: in lower case, without spaces around it.
/// `None`: the text is no address.
pub fn read_email(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = text::plain(text.as_bytes(), 3, EMAIL_BYTES).ok()?.to_lowercase();
    let (name, host) = plain.rsplit_once('@')?;
    let is_odd = |c: char| c.is_whitespace() || matches!(c, '@' | '<' | '>' | ',' | ';' | '"');
    let is_whole = !name.is_empty() && !host.is_empty() && plain.len() <= EMAIL_BYTES;
    (is_whole && !name.contains(is_odd) && !host.contains(is_odd)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_lower_case() {
        assert_eq!(read_email(" Ada@Example.COM ").as_deref(), Some("ada@example.com"));
        assert_eq!(read_email("ada@localhost").as_deref(), Some("ada@localhost"));
        let long = format!("{}@example.com", "a".repeat(EMAIL_BYTES));
        for wrong in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a da@b",
            "a@b@c",
            "<a@b>",
            "a@b\u{7}",
            "a@b,c@d",
            &long,
        ] {
            assert_eq!(read_email(wrong), None, "{wrong}");
        }
    }
}
