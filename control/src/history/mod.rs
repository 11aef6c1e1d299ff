//! The history: which rooms, sessions and calls there were.
//!
//! The recorder takes events from the feed in batches and writes each batch in one transaction. While
//! the database does not answer, batches go to a bounded file (`spool`), from which they are written
//! later in their order, also by the next process. Every statement may be repeated.

mod line;
pub mod query;
mod recorder;
mod rows;
mod spool;

pub use query::{HistoryFilter, PastCall, PastRoom, PastSession, delete_before, forget};
pub use recorder::{
    HistoryFigures, HistoryRecorder, RecordedBatch, RecorderHandle, RecorderSettings,
};
pub use spool::SPOOL_BYTES;
