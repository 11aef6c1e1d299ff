//! Addresses of the dashboard's own pages.

use std::fmt::Write as _;

/// Returns a path with a query. Pairs with an empty value are left out. Names and values are encoded.
#[must_use]
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    let mut mark = '?';
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(mark);
        encode(name, &mut out);
        out.push('=');
        encode(value, &mut out);
        mark = '&';
    }
    out
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded() {
        let pairs = [("q", "a b&c=ü"), ("tenant", ""), ("sort", "loss")];
        assert_eq!(query("/rooms", &pairs), "/rooms?q=a%20b%26c%3D%C3%BC&sort=loss");
        assert_eq!(query("/rooms", &[]), "/rooms");
    }
}
