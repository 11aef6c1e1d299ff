//! The file of `--json`.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::run::RunError;

/// The file to which the result is written as JSON, if there is one. From the start of the run to
/// its end the file says that the run is not valid, so that no reader takes the file of an earlier
/// run for the result of this one.
pub(crate) struct JsonFile<'a>(Option<&'a Path>);

impl<'a> JsonFile<'a> {
    /// Writes a result that is not valid, in place of an earlier one. Only a regular file can hold
    /// an earlier result.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, as one line.
    pub(crate) fn begin(path: Option<&'a Path>) -> Result<Self, String> {
        let is_stream = |path: &&Path| path.exists() && !path.is_file();
        let file = JsonFile(path.filter(|path| !is_stream(path)));
        file.write(&no_result("not finished"))?;
        Ok(JsonFile(path))
    }

    /// Writes the result.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, as one line.
    pub(crate) fn write(&self, value: &impl Serialize) -> Result<(), String> {
        let Some(path) = self.0 else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
        text.push('\n');
        fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Returns the result of a run. If there is none, writes the reason. If the file then cannot be
    /// written, it still says that the run has not finished.
    ///
    /// # Errors
    ///
    /// If there is no result, as one line.
    pub(crate) fn result_of<T>(&self, run: Result<T, RunError>) -> Result<T, String> {
        run.map_err(|error| {
            let reason = error.to_string();
            let _ = self.write(&no_result(&reason));
            reason
        })
    }
}

/// Returns the part of a report that says that the run proves nothing.
fn no_result(reason: &str) -> Value {
    json!({ "schema": crate::report::SCHEMA, "valid": false, "invalid_reasons": [reason] })
}
