//! Where a page of a list stands in the list.

use nucleus_console::screens::PageLinks;

use super::row::AnswerRow;

/// Returns the ways to the pages of a list. `after`: where this page begins; empty: at the first row. `href`
/// returns the address of the page that begins after a row.
pub(super) fn page_links(
    shown: String,
    list: AnswerRow<'_>,
    after: &str,
    href: impl Fn(&str) -> String,
) -> PageLinks {
    PageLinks {
        shown,
        // Lists are read forwards: the way back leads to the first page.
        previous: (!after.is_empty()).then(|| href("")),
        next: list.some_text("next").map(href),
    }
}
