//! The history: which rooms, sessions and calls there were.
//!
//! The recorder takes events from the feed in batches and writes each batch in one transaction. While
//! the database does not answer, batches go to a bounded file (`spool`), from which they are written
//! later in their order, also by the next process. Every statement may be repeated.
//!
//! A batch that the database refuses is halved until the row that it refuses is alone. This one is
//! counted as lost, and the others are written. While the disk takes nothing either, one batch waits in
//! memory and the others in the feed, whose bound then holds.

mod batch_writer;
mod deletion;
mod handle;
mod line;
mod moment_texts;
pub mod query;
mod recorder;
mod rows;
mod spool;
mod statements;
mod stored_moments;
pub mod timeline;

pub use deletion::{UserOfTenant, delete_old_calls, delete_old_rooms, delete_old_sessions, forget};
pub use handle::{HistoryFigures, RecordedBatch, RecorderHandle, RecorderSettings};
pub(crate) use query::EndedWhere;
pub use query::{HistoryFilter, PastCall, PastRoom, PastSession};
pub use recorder::HistoryRecorder;
pub use spool::SPOOL_BYTES;
pub use timeline::{SessionMoment, SessionTimeline};
