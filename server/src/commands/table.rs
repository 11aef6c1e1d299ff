//! Tables for people.

use std::fmt::Write as _;

use serde_json::Value;

/// A column of a table.
pub(super) struct Column {
    title: &'static str,
    field: &'static str,
    kind: ColumnKind,
}

enum ColumnKind {
    Text,
    Number,
    Age,
    /// A list; the text is for an empty one.
    List(&'static str),
    /// The names of the fields that are true.
    Marks(&'static [&'static str]),
    /// What is made of the whole row.
    Computed(fn(&Value) -> String),
}

impl Column {
    pub(super) const fn text(title: &'static str, field: &'static str) -> Self {
        Self { title, field, kind: ColumnKind::Text }
    }

    pub(super) const fn number(title: &'static str, field: &'static str) -> Self {
        Self { title, field, kind: ColumnKind::Number }
    }

    pub(super) const fn age(title: &'static str, field: &'static str) -> Self {
        Self { title, field, kind: ColumnKind::Age }
    }

    pub(super) const fn list(
        title: &'static str,
        field: &'static str,
        empty: &'static str,
    ) -> Self {
        Self { title, field, kind: ColumnKind::List(empty) }
    }

    pub(super) const fn marks(title: &'static str, of: &'static [&'static str]) -> Self {
        Self { title, field: "", kind: ColumnKind::Marks(of) }
    }

    pub(super) const fn computed(title: &'static str, of: fn(&Value) -> String) -> Self {
        Self { title, field: "", kind: ColumnKind::Computed(of) }
    }

    fn cell(&self, row: &Value) -> String {
        let value = &row[self.field];
        match self.kind {
            ColumnKind::Text | ColumnKind::Number => plain(value),
            ColumnKind::Age => value.as_u64().map(age).unwrap_or_default(),
            ColumnKind::List(empty) => match value.as_array() {
                Some(list) if !list.is_empty() => {
                    list.iter().map(plain).collect::<Vec<_>>().join(",")
                }
                _ => empty.to_owned(),
            },
            ColumnKind::Computed(of) => of(row),
            ColumnKind::Marks(names) => {
                let set = names.iter().filter(|name| row[**name] == true);
                set.map(|name| name.replace('_', "-")).collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// Returns a table of the rows, which are an array or one row.
pub(super) fn table(columns: &[Column], rows: &Value) -> String {
    let rows: Vec<&Value> = match rows {
        Value::Array(rows) => rows.iter().collect(),
        Value::Null => Vec::new(),
        row => vec![row],
    };
    let title = columns.iter().map(|column| column.title.to_owned()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|column| column.cell(row)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(title).chain(cells).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for ((cell, width), column) in line.iter().zip(&widths).zip(columns) {
            // Writing to a `String` cannot fail.
            let _written = match column.kind {
                ColumnKind::Number | ColumnKind::Age => write!(row, "{cell:>width$}  "),
                _ => write!(row, "{cell:<width$}  "),
            };
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// Returns a value as a cell. Nothing in it can move the cursor of a terminal.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(|c: char| !nucleus_core::text::is_plain(c), "?"),
        other => other.to_string(),
    }
}

/// Returns a number of seconds in the largest two units, as `3h 20m`.
pub(super) fn age(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (name, of) in units {
        let count = left / of;
        left %= of;
        if count > 0 || (of == 1 && parts.is_empty()) {
            parts.push(format!("{count}{name}"));
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let columns = [
            Column::text("NAME", "name"),
            Column::number("PEERS", "peers"),
            Column::list("PRODUCTS", "products", "all"),
            Column::marks("STATE", &["locked", "self_muted"]),
        ];
        let rows = json!([
            {"name": "Grüße", "peers": 12, "products": [], "locked": true, "self_muted": true},
            {"name": "a\u{1b}[2Jb", "peers": 3, "products": ["atom", "assist"]},
        ]);
        let expected = "\
NAME     PEERS  PRODUCTS     STATE
Grüße       12  all          locked,self-muted
a?[2Jb       3  atom,assist
";
        let expected =
            expected.replace("NAME     ", "NAME    ").replace("Grüße       ", "Grüße      ");
        assert_eq!(table(&columns, &rows), expected.replace("a?[2Jb       3", "a?[2Jb      3"));
        assert_eq!(table(&columns[..1], &json!([])), "NAME\n");
    }

    #[test]
    fn ages_have_two_units() {
        let ages = [0, 59, 60, 3_725, 90_061].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "1h 2m", "1d 1h"]);
    }
}
