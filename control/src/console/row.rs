//! Reads the API's answers for the pages. What is absent or of another kind is unknown.

use nucleus_console::{ShownName, ShownTime};
use serde_json::Value;

use crate::timestamp::Timestamp;

/// An object of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerRow<'a>(pub(super) &'a Value);

impl<'a> AnswerRow<'a> {
    pub(super) fn text(self, name: &str) -> &'a str {
        self.some_text(name).unwrap_or_default()
    }

    pub(super) fn some_text(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(super) fn name(self, name: &str) -> ShownName {
        ShownName::new(self.text(name))
    }

    pub(super) fn count(self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// A count that fits into 32 bits, as parts per million.
    pub(super) fn ppm(self, name: &str) -> Option<u32> {
        self.count(name).and_then(|count| u32::try_from(count).ok())
    }

    pub(super) fn flag(self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn micros(self, name: &str) -> Option<i64> {
        self.some_text(name).and_then(Timestamp::parse).map(Timestamp::micros)
    }

    pub(super) fn time(self, name: &str) -> ShownTime {
        ShownTime::of(self.micros(name))
    }

    /// The objects of a list.
    pub(super) fn rows(self, name: &str) -> impl Iterator<Item = AnswerRow<'a>> + use<'a> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().map(AnswerRow)
    }

    /// The texts of a list.
    pub(super) fn texts(self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str)
    }

    pub(super) fn number(self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }

    /// The newest known number of the last three of a list.
    pub(super) fn newest(self, name: &str) -> Option<u64> {
        let list = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        list.rev().take(3).filter_map(Value::as_u64).next()
    }

    /// The newest loss of the worst link of a room's lines, in the worse direction.
    pub(super) fn worst_loss(self) -> Option<u32> {
        let ppm = self.newest("worst_loss_in_ppm").max(self.newest("worst_loss_out_ppm"));
        ppm.and_then(|ppm| u32::try_from(ppm).ok())
    }

    /// The numbers of a list, multiplied by a factor. Unknown ones stay unknown.
    pub(super) fn numbers(self, name: &str, factor: f64) -> Vec<Option<f64>> {
        let list = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        list.map(|value| value.as_f64().map(|value| value * factor)).collect()
    }

    /// A name that may be absent, as that of a tenant; `None`: there is none.
    pub(super) fn some_name(self, name: &str) -> Option<ShownName> {
        self.some_text(name).map(ShownName::new)
    }
}

/// Returns a text as a part of a path: what is not a letter, a digit, `-` or `_` is encoded.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}
