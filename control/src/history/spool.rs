//! The spool: a file of events that the database has not taken yet. It is bounded, and outlives the
//! process.
//!
//! Only whole lines count. What a write that failed has left behind them is cut off before the next
//! write, and never read. The place up to which events are in the database is not in the file: after a
//! kill they come again, and change nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::line::SpoolLine;
use crate::events::RecordedEvent;

/// Most bytes of the file: about 120,000 events, those of a full server in an hour.
pub const SPOOL_BYTES: u64 = 64 << 20;
/// Most bytes of a line. The longest event is the end of a call, with 128 users of 128 bytes, of which
/// JSON makes six times as many.
const LINE_BYTES: u64 = 128 << 10;
/// Bytes at the begin of the file whose events are in the database, and that are worth a copy of the rest.
/// The rest is copied only if it is shorter, so that each byte is copied about once.
const SHRINK_BYTES: u64 = 4 << 20;

/// The file, with what is known of it.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    limit: u64,
    /// Bytes of whole lines. The file may be longer after a write that failed.
    bytes: u64,
    /// Up to here the events are in the database.
    read: u64,
    /// The place of `read` from which on the file is made smaller.
    shrink_from: u64,
    /// Lines from `read` on.
    pub(super) rows: u64,
}

/// A part of the spool.
#[derive(Debug, Default)]
pub(super) struct SpooledBatch {
    pub(super) events: Vec<RecordedEvent>,
    /// Lines that cannot be read, or are gone.
    pub(super) damaged: u64,
    /// Where the next part begins.
    end: u64,
}

/// What came of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Appended {
    /// Events at the begin that need no further care. The next one does not fit any more.
    pub(super) done: usize,
    /// Of these, the events that are longer than any line may be, and were left out.
    pub(super) too_long: u64,
}

impl Spool {
    /// Opens the spool that an earlier process may have left. Returns also the number of damaged lines
    /// that are left out: 1 for a last line without an end, which was being written when the process was
    /// killed.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<(Self, u64)> {
        let path = path.to_owned();
        let mut spool = Self { path, limit, bytes: 0, read: 0, shrink_from: SHRINK_BYTES, rows: 0 };
        let _absent = std::fs::remove_file(spool.draft());
        let file = match File::open(&spool.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((spool, 0)),
            opened => opened?,
        };
        let mut reader = BufReader::new(file);
        let mut len = 0;
        loop {
            let part = reader.fill_buf()?;
            if part.is_empty() {
                break;
            }
            spool.rows += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            if let Some(end) = part.iter().rposition(|byte| *byte == b'\n') {
                spool.bytes = len + end as u64 + 1;
            }
            let read = part.len();
            len += read as u64;
            reader.consume(read);
        }
        let damaged = u64::from(len > spool.bytes);
        Ok((spool, damaged))
    }

    /// Whether every event is in the database.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends events, and returns when they are on the disk, up to the first one that does not fit any
    /// more.
    ///
    /// # Errors
    ///
    /// The system's, such as that of a full disk: nothing is appended.
    pub(super) fn append(&mut self, events: &[RecordedEvent]) -> io::Result<Appended> {
        let (mut text, mut appended) = (Vec::new(), Appended::default());
        for event in events {
            let start = text.len();
            serde_json::to_writer(&mut text, &SpoolLine::from(event))?;
            text.push(b'\n');
            if (text.len() - start) as u64 > LINE_BYTES {
                text.truncate(start);
                appended.too_long += 1;
            } else if !self.has_space(text.len() as u64) {
                text.truncate(start);
                break;
            }
            appended.done += 1;
        }
        if !text.is_empty() {
            self.write(&text)?;
            self.rows += appended.done as u64 - appended.too_long;
        }
        Ok(appended)
    }

    fn has_space(&mut self, len: u64) -> bool {
        if self.bytes + len > self.limit && self.read >= self.shrink_from {
            self.shrink();
        }
        self.bytes + len <= self.limit
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        private(&mut options);
        let mut file = options.open(&self.path)?;
        let len = file.metadata()?.len();
        if len > self.bytes {
            // What a write that failed has left.
            file.set_len(self.bytes)?;
        } else if len < self.bytes {
            // Somebody has cut the file.
            (self.bytes, self.read) = (len, self.read.min(len));
        }
        file.seek(SeekFrom::Start(self.bytes))?;
        let written = file.write_all(text).and_then(|()| file.sync_data());
        if written.is_ok() {
            self.bytes += text.len() as u64;
        } else {
            // The next write cuts it off otherwise.
            let _left = file.set_len(self.bytes);
        }
        written
    }

    /// Reads the oldest events, `most` lines at most. They stay in the file until [`Self::taken`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn oldest(&self, most: usize) -> io::Result<SpooledBatch> {
        let mut batch = SpooledBatch { end: self.read, ..SpooledBatch::default() };
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(SpooledBatch { end: self.bytes, damaged: self.rows, ..batch });
            }
            opened => opened?,
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(file.take(self.bytes.saturating_sub(self.read)));
        for _ in 0..most {
            let mut line = Vec::new();
            let mut len = reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)?;
            if len == 0 {
                // The end. If lines are missing, somebody has cut the file.
                batch.end = self.bytes;
                let read = batch.events.len() as u64 + batch.damaged;
                batch.damaged += self.rows.saturating_sub(read);
                break;
            }
            let whole = line.last() == Some(&b'\n');
            // The rest of a line that is too long.
            while !whole && (len as u64).is_multiple_of(LINE_BYTES) {
                let mut rest = Vec::new();
                let read = reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut rest)?;
                len += read;
                if read == 0 || rest.last() == Some(&b'\n') {
                    break;
                }
            }
            batch.end += len as u64;
            let event = serde_json::from_slice::<SpoolLine>(&line).ok().filter(|_| whole);
            match event.and_then(SpoolLine::event) {
                Some(event) => batch.events.push(event),
                None => batch.damaged += 1,
            }
        }
        Ok(batch)
    }

    /// Notes that a part is in the database. Removes the file behind the last part, and makes it smaller
    /// once half of it is in the database.
    ///
    /// # Errors
    ///
    /// The system's: the part comes again.
    pub(super) fn taken(&mut self, batch: &SpooledBatch) -> io::Result<()> {
        if batch.end >= self.bytes {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            (self.bytes, self.read, self.rows) = (0, 0, 0);
            self.shrink_from = SHRINK_BYTES;
            return Ok(());
        }
        self.read = batch.end;
        self.rows = self.rows.saturating_sub(batch.events.len() as u64 + batch.damaged);
        if self.read >= self.shrink_from && self.read >= self.bytes / 2 {
            self.shrink();
        }
        Ok(())
    }

    /// Frees the begin of the file, whose events are in the database. If that fails, as on a full disk,
    /// the file stays as it is, and the next attempt comes later.
    fn shrink(&mut self) {
        match self.copy_rest() {
            Ok(()) => {
                self.bytes -= self.read;
                self.read = 0;
                self.shrink_from = SHRINK_BYTES;
            }
            Err(error) => {
                tracing::debug!(%error, "the spool of the history stays as large as it is");
                let _absent = std::fs::remove_file(self.draft());
                self.shrink_from = self.read + SHRINK_BYTES;
            }
        }
    }

    /// Replaces the file by one with the rest alone. A process that is killed leaves the one or the other.
    fn copy_rest(&self) -> io::Result<()> {
        let mut old = File::open(&self.path)?;
        old.seek(SeekFrom::Start(self.read))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        private(&mut options);
        let mut rest = options.open(self.draft())?;
        let len = self.bytes - self.read;
        if io::copy(&mut old.take(len), &mut rest)? != len {
            return Err(io::Error::other("the file was cut"));
        }
        rest.sync_data()?;
        std::fs::rename(self.draft(), &self.path)
    }

    fn draft(&self) -> PathBuf {
        self.path.with_extension("draft")
    }
}

/// Makes a file that only its owner reads.
fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

#[cfg(test)]
mod tests;
