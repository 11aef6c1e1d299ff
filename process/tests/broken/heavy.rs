//! Lets the heavy tests run one at a time.

use std::fs::File;
use std::path::Path;

/// Waits until no other heavy test runs, in this process or in another one: `cargo test` runs the
/// tests as threads of one process, other runners run each in its own. The next heavy test starts
/// when the returned file is dropped.
///
/// A test calls this first. It blocks the thread, which has nothing else to do yet.
pub(crate) fn alone() -> File {
    let lock =
        File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("heavy-tests.lock")).unwrap();
    lock.lock().unwrap();
    lock
}
