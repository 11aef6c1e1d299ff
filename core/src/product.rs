//! Products: the applications that use a server. A server's configuration lists them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of a product that clients belong to. Rooms of different products are separate.
///
/// A name has 1 to 15 characters: lower-case letters, digits and `-`, first a letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product {
    /// The name, and zeros behind it, so that the order is that of the names.
    name: [u8; Product::MAX_NAME],
    len: u8,
}

impl Product {
    /// Most bytes of a name.
    pub const MAX_NAME: usize = 15;
    /// Immersive meetings and training; on the list of every server that does not configure its own.
    pub const ATOM: Self = Self::of(b"atom");
    /// Remote assistance; as [`ATOM`](Self::ATOM).
    pub const ASSIST: Self = Self::of(b"assist");

    const fn of(text: &[u8]) -> Self {
        let mut name = [0; Self::MAX_NAME];
        let mut at = 0;
        while at < text.len() {
            name[at] = text[at];
            at += 1;
        }
        // A name has at most `MAX_NAME` bytes.
        Self { name, len: text.len() as u8 }
    }

    /// Reads a name. `None`: it has not the form of one.
    pub fn parse(name: &str) -> Option<Self> {
        let is_allowed =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let is_name = name.len() <= Self::MAX_NAME
            && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && name.as_bytes().iter().all(is_allowed);
        is_name.then(|| Self::of(name.as_bytes()))
    }

    /// Returns the name, which tokens and command lines use.
    pub fn name(&self) -> &str {
        // Only ASCII is in a name.
        std::str::from_utf8(&self.name[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Product {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Product {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let form = "a product's name has 1 to 15 characters: a to z, 0 to 9 and -, first a letter";
        Self::parse(&name).ok_or_else(|| de::Error::custom(form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_words() {
        for name in ["a", "atom", "vr-training-2", "abcdefghijklmno"] {
            assert_eq!(Product::parse(name).unwrap().name(), name);
        }
        for wrong in ["", "Atom", "1a", "-a", "a b", "a_b", "\u{e4}", "abcdefghijklmnop", "a\0"] {
            assert_eq!(Product::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Product::parse("assist"), Some(Product::ASSIST));
        assert!(Product::parse("a") < Product::parse("aa") && Product::ASSIST < Product::ATOM);
    }
}
