//! A square code for cameras, as an authenticator scans it.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

/// Most modules of an edge: the largest QR code has 177.
pub const MAX_CODE_EDGE: usize = 177;
/// Modules that stay free around the code, as its standard asks for.
const QUIET: usize = 4;

/// A square of dark and light modules. It is drawn dark on light in both themes, because many cameras
/// read nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeDrawing {
    /// The modules of each row, from the top; true: dark. Nothing beyond [`MAX_CODE_EDGE`] is drawn.
    pub rows: Vec<Vec<bool>>,
}

impl fmt::Display for CodeDrawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edge = self.rows.len().min(MAX_CODE_EDGE) + 2 * QUIET;
        let mut path = String::new();
        for (y, row) in self.rows.iter().take(MAX_CODE_EDGE).enumerate() {
            for (x, _) in row.iter().take(MAX_CODE_EDGE).enumerate().filter(|(_, dark)| **dark) {
                write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET)?;
            }
        }
        write!(
            f,
            "<svg viewBox=\"0 0 {edge} {edge}\" role=\"img\" aria-label=\"The secret as a code for a camera. The text below is the same.\" shape-rendering=\"crispEdges\">\
             <rect width=\"{edge}\" height=\"{edge}\" fill=\"#fff\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
        )
    }
}

impl HtmlSafe for CodeDrawing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dark_modules_are_drawn_inside_the_margin() {
        let html = CodeDrawing { rows: vec![vec![true, false], vec![false, true]] }.to_string();
        assert!(html.contains("viewBox=\"0 0 10 10\""));
        assert!(html.contains("d=\"M4 4h1v1h-1zM5 5h1v1h-1z\""), "{html}");
    }

    #[test]
    fn the_size_is_limited() {
        let html = CodeDrawing { rows: vec![vec![true; 500]; 500] }.to_string();
        assert_eq!(html.matches('M').count(), MAX_CODE_EDGE * MAX_CODE_EDGE);
    }
}
