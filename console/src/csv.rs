//! Lines of CSV files, which spreadsheets open.

/// The content type of an answer with CSV.
pub const CONTENT_TYPE: &str = "text/csv; charset=utf-8";

/// Returns a line as RFC 4180 says, every cell quoted, with its end. A cell that a spreadsheet would
/// read as a formula gets a `'` in front, and hidden characters are shown: the file is for people.
#[must_use]
pub fn line(cells: &[&str]) -> String {
    let mut out = String::new();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push('"');
        if is_formula(cell) {
            out.push('\'');
        }
        let shown = if cell.is_empty() { String::new() } else { crate::text::visible(cell) };
        out.push_str(&shown.replace('"', "\"\""));
        out.push('"');
    }
    out.push_str("\r\n");
    out
}

/// Whether a spreadsheet may calculate the cell. Some skip spaces, and read the wide forms too.
fn is_formula(cell: &str) -> bool {
    let first = cell.trim_start().chars().next();
    cell.starts_with(['\t', '\r', '\n'])
        || matches!(first, Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '|' | '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted() {
        assert_eq!(line(&["a", "b \"c\", d", ""]), "\"a\",\"b \"\"c\"\", d\",\"\"\r\n");
    }

    #[test]
    fn formulas_are_text() {
        for formula in ["=1+1", "+1", "-2", "@SUM(A1)", " =1", "\t=1", "＝1", "|cmd", "%0A"] {
            assert!(line(&[formula]).starts_with("\"'"), "{formula:?}");
        }
        assert!(line(&["a=1"]).starts_with("\"a=1"));
    }

    #[test]
    fn a_cell_stays_one_line() {
        assert_eq!(line(&["a\r\nb"]), "\"a[U+000D][U+000A]b\"\r\n");
    }
}
