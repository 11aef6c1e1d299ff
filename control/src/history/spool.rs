//! The spool: a file of events that the database has not taken yet. It is bounded, and outlives the
//! process.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::line::SpoolLine;
use crate::events::RecordedEvent;

/// Most bytes of the file: about 150,000 events, those of a full server in an hour.
pub const SPOOL_BYTES: u64 = 64 << 20;
/// Most bytes of a line. The longest event is the end of a call, with 128 users of 128 bytes, of which
/// JSON makes six times as many.
const LINE_BYTES: u64 = 128 << 10;

/// The file, with what is known of it.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    limit: u64,
    /// Bytes of the file.
    bytes: u64,
    /// Up to here the events are in the database.
    read: u64,
    /// Lines from `read` on.
    pub(super) rows: u64,
}

/// A part of the spool.
#[derive(Debug, Default)]
pub(super) struct SpooledBatch {
    pub(super) events: Vec<RecordedEvent>,
    /// Lines that cannot be read.
    pub(super) damaged: u64,
    /// Where the next part begins.
    end: u64,
}

impl Spool {
    /// Opens the spool that an earlier process may have left. A last line without an end, which was
    /// being written when the process was killed, counts as a damaged one.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let mut spool = Self { path: path.to_owned(), limit, bytes: 0, read: 0, rows: 0 };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(spool),
            opened => opened?,
        };
        let mut reader = BufReader::new(file);
        let mut last = b'\n';
        loop {
            let part = reader.fill_buf()?;
            let Some(end) = part.last() else { break };
            last = *end;
            spool.rows += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            spool.bytes += part.len() as u64;
            let len = part.len();
            reader.consume(len);
        }
        if last != b'\n' {
            spool.write(b"\n")?;
            spool.rows += 1;
        }
        Ok(spool)
    }

    /// Whether every event is in the database.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends events, and returns when they are on the disk. Returns the number of those that do not
    /// fit any more.
    ///
    /// # Errors
    ///
    /// The system's: nothing is appended, or a damaged line.
    pub(super) fn append(&mut self, events: &[RecordedEvent]) -> io::Result<u64> {
        let (mut text, mut rows) = (Vec::new(), 0);
        for event in events {
            let start = text.len();
            serde_json::to_writer(&mut text, &SpoolLine::from(event))?;
            text.push(b'\n');
            let too_long = (text.len() - start) as u64 > LINE_BYTES;
            if too_long || self.bytes + text.len() as u64 > self.limit {
                text.truncate(start);
                continue;
            }
            rows += 1;
        }
        if rows > 0 {
            self.write(&text)?;
            self.rows += rows;
        }
        Ok(events.len() as u64 - rows)
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        let written = file.write_all(text).and_then(|()| file.sync_data());
        if written.is_err() {
            // What was written of the batch is cut off, so that the next one begins a line.
            file.set_len(self.bytes)?;
        } else {
            self.bytes += text.len() as u64;
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
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(file);
        for _ in 0..most {
            let mut line = Vec::new();
            let mut len = reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)?;
            if len == 0 {
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

    /// Notes that a part is in the database. Removes the file behind the last part.
    ///
    /// # Errors
    ///
    /// The system's: the part comes again.
    pub(super) fn taken(&mut self, batch: &SpooledBatch) -> io::Result<()> {
        if batch.end >= self.bytes {
            std::fs::remove_file(&self.path)?;
            (self.bytes, self.read, self.rows) = (0, 0, 0);
            return Ok(());
        }
        self.read = batch.end;
        self.rows = self.rows.saturating_sub(batch.events.len() as u64 + batch.damaged);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nucleus_core::ids::{Product, ProductKey};
    use nucleus_core::plane_event::{CallRef, PlaneEvent};

    use super::*;
    use crate::timestamp::Timestamp;

    fn event(call: u64) -> RecordedEvent {
        let at = Timestamp::from_seconds(2_000_000_000);
        let owner = Arc::new(ProductKey { tenant: "acme".to_owned(), product: Product::ATOM });
        let what = PlaneEvent::CallStarted(CallRef { call, owner, caller: "ada".to_owned() });
        RecordedEvent { id: crate::id::new(at).unwrap(), at, what }
    }

    #[test]
    fn a_full_spool_takes_no_more_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = Spool::open(&path, 1_000).unwrap();
        let events: Vec<_> = (0..100).map(event).collect();
        let lost = spool.append(&events).unwrap();
        assert!(lost > 90 && spool.rows == 100 - lost);
        assert!(std::fs::metadata(&path).unwrap().len() <= 1_000);
        let batch = spool.oldest(500).unwrap();
        assert_eq!(batch.events, events[..spool.rows as usize]);
        spool.taken(&batch).unwrap();
        assert!(spool.is_empty() && !path.exists());
        assert_eq!(spool.append(&events[..2]).unwrap(), 0, "there is space again");
    }

    #[test]
    fn damaged_and_endless_lines_are_counted_and_hold_up_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = Spool::open(&path, SPOOL_BYTES).unwrap();
        spool.append(&[event(1)]).unwrap();
        spool.write(b"{}\nno line\n\xff\n").unwrap();
        spool.write(&vec![b'x'; 3 * LINE_BYTES as usize]).unwrap();
        spool.write(b"\n").unwrap();
        spool.append(&[event(2)]).unwrap();
        let mut spool = Spool::open(&path, SPOOL_BYTES).unwrap();
        assert_eq!(spool.rows, 6);
        let (mut events, mut damaged) = (0, 0);
        while !spool.is_empty() {
            let batch = spool.oldest(2).unwrap();
            events += batch.events.len();
            damaged += batch.damaged;
            spool.taken(&batch).unwrap();
        }
        assert_eq!((events, damaged), (2, 4));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_the_spool() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        Spool::open(&path, 1_000).unwrap().append(&[event(1)]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
