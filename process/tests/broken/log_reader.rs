//! Reads the log of a server under test.

use std::io::{BufRead, BufReader, PipeReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::server::PATIENCE;

/// The lines of a log that a test has not looked at yet.
pub(crate) struct LogReader(Receiver<String>);

impl LogReader {
    /// Returns the reader, and the stderr for the server.
    pub(crate) fn new() -> (Self, Stdio) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Self::of(reader), writer.into())
    }

    /// Reads a pipe from now on.
    pub(crate) fn of(reader: PipeReader) -> Self {
        let (lines, received) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Self(received)
    }

    /// Waits for a line with all these words, and returns it. Drops the lines before it.
    pub(crate) fn wait_for(&self, words: &[&str]) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.0.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("the log has no line with {words:?}"));
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }
}
