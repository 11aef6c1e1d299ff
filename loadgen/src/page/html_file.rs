//! The file of `--html`.

use std::fs;
use std::path::Path;

use nucleus_console::report::ReportPage;

/// The file to which the page is written, if there is one. Until there is a result, the file says so,
/// so that nobody takes the page of an earlier run for the page of this one.
pub(crate) struct HtmlFile<'a>(Option<&'a Path>);

/// The page of a run that has no result yet.
const NO_RESULT: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
    <title>No result · Nucleus</title><h1>This measurement has no result</h1>\
    <p>It goes on, or it ended without one.</p></html>\n";

impl<'a> HtmlFile<'a> {
    /// Writes a page without a result, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, as one line.
    pub(crate) fn begin(path: Option<&'a Path>) -> Result<Self, String> {
        // A stream holds no earlier page.
        let is_stream = |path: &&Path| path.exists() && !path.is_file();
        HtmlFile(path.filter(|path| !is_stream(path))).put(NO_RESULT)?;
        Ok(HtmlFile(path))
    }

    /// Writes the page.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, as one line.
    pub(crate) fn write(&self, page: impl FnOnce() -> ReportPage) -> Result<(), String> {
        if self.0.is_none() {
            return Ok(());
        }
        let html = nucleus_console::render(&page()).map_err(|error| error.to_string())?;
        self.put(&html)
    }

    fn put(&self, html: &str) -> Result<(), String> {
        let Some(path) = self.0 else { return Ok(()) };
        fs::write(path, html).map_err(|error| format!("--html: {}: {error}", path.display()))
    }
}
