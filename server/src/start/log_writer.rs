//! The thread that writes the log. Nothing else of the server waits for stderr.
//!
//! A terminal, a pipe or a disk can refuse bytes or take none for hours. So each line goes through a
//! bounded queue to a thread of its own. A line that the queue or stderr does not take is lost and
//! counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use nucleus_core::limits;
use tracing_subscriber::fmt::MakeWriter;

/// How long a caller of [`LogQueue::finish`] sleeps between two tries to enter a full queue.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// The sending end of the log's queue.
#[derive(Clone, Debug)]
pub struct LogQueue {
    mail: SyncSender<LogMail>,
    shared: Arc<LogCounters>,
}

#[derive(Debug, Default)]
struct LogCounters {
    /// Bytes of the lines in the queue.
    queued_bytes: AtomicUsize,
    /// Lines that the queue or the output did not take.
    lost: AtomicU64,
}

enum LogMail {
    Line(Vec<u8>),
    /// Answered once all lines before it are written.
    Flush(SyncSender<()>),
}

impl LogQueue {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    ///
    /// The system refuses the thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (mail, receiver) = sync_channel(limits::LOG_QUEUE);
        let queue = Self { mail, shared: Arc::default() };
        let shared = queue.shared.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&receiver, &shared, out))?;
        Ok(queue)
    }

    /// Appends a line, which ends with a line end. Never waits: the line is lost if the queue is
    /// full.
    pub fn push(&self, line: Vec<u8>) {
        let len = line.len();
        let queued = self.shared.queued_bytes.fetch_add(len, Ordering::Relaxed);
        let fits = queued + len <= limits::LOG_QUEUE_BYTES;
        if !fits || self.mail.try_send(LogMail::Line(line)).is_err() {
            self.shared.queued_bytes.fetch_sub(len, Ordering::Relaxed);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many lines were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, at most [`limits::LOG_FINISH_TIME`].
    pub fn finish(&self) {
        let end = Instant::now() + limits::LOG_FINISH_TIME;
        let (written, is_written) = sync_channel(1);
        let mut flush = LogMail::Flush(written);
        while let Err(TrySendError::Full(refused)) = self.mail.try_send(flush) {
            if Instant::now() >= end {
                return;
            }
            flush = refused;
            std::thread::sleep(FULL_PAUSE);
        }
        // Without an answer in time the lines are lost with the process.
        let _in_time = is_written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Writes the lines until all senders are dropped. When a line was written after others were lost,
/// says how many.
fn write_all(mail: &Receiver<LogMail>, shared: &LogCounters, mut out: impl Write) {
    let mut told = 0;
    loop {
        let line = match mail.recv_timeout(limits::LOG_LOSS_INTERVAL) {
            Ok(LogMail::Line(line)) => line,
            Ok(LogMail::Flush(written)) => {
                // Fails if the caller has stopped waiting.
                let _ = written.send(());
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {
                // The queue is empty, so the notice fits. It is lost itself if stderr still fails.
                let lost = shared.lost.load(Ordering::Relaxed);
                if lost > told {
                    tracing::warn!(lines = lost - told, "lines of the log were lost");
                    told = lost;
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        shared.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = QueuedLine;

    fn make_writer(&'a self) -> QueuedLine {
        QueuedLine(self.clone())
    }
}

/// Takes one line for the queue. The subscriber writes a whole line with each call.
pub struct QueuedLine(LogQueue);

impl Write for QueuedLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// An output that waits for a permit before each write, and fails if the permit says so.
    struct Gated {
        permits: Receiver<bool>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.permits.recv() {
                Ok(true) => {
                    self.written.lock().unwrap().extend_from_slice(bytes);
                    Ok(bytes.len())
                }
                _ => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (LogQueue, Sender<bool>, Arc<Mutex<Vec<u8>>>) {
        let ((permit, permits), written) = (channel(), Arc::new(Mutex::new(Vec::new())));
        let queue = LogQueue::start(Gated { permits, written: written.clone() }).unwrap();
        (queue, permit, written)
    }

    #[test]
    fn a_stuck_output_holds_nobody_up_and_its_losses_are_counted() {
        let (queue, permit, written) = gated();
        let lines = limits::LOG_QUEUE + 100;
        for _ in 0..lines {
            queue.push(b"a line\n".to_vec());
        }
        // The thread may have taken one line.
        assert!((99..=100).contains(&queue.lost()), "{}", queue.lost());
        let lost = queue.lost();
        for _ in 0..lines {
            permit.send(true).unwrap();
        }
        queue.finish();
        assert_eq!(written.lock().unwrap().len() as u64, (lines as u64 - lost) * 7);
        assert_eq!(queue.lost(), lost);
    }

    #[test]
    fn the_queue_has_a_limit_of_bytes() {
        let (queue, permit, _) = gated();
        for _ in 0..5 {
            queue.push(vec![b'x'; limits::LOG_QUEUE_BYTES / 2]);
        }
        assert!((2..=3).contains(&queue.lost()), "{}", queue.lost());
        for _ in 0..5 {
            permit.send(true).unwrap();
        }
        queue.finish();
        queue.push(vec![b'x'; limits::LOG_QUEUE_BYTES]);
        assert!(queue.lost() <= 3, "the bytes of written lines still count");
    }

    #[test]
    fn a_full_disk_loses_lines_and_the_next_are_written() {
        let (queue, permit, written) = gated();
        for takes in [false, false, true] {
            queue.push(b"line\n".to_vec());
            permit.send(takes).unwrap();
        }
        queue.finish();
        assert_eq!((queue.lost(), &written.lock().unwrap()[..]), (2, &b"line\n"[..]));
    }

    #[test]
    fn finishing_has_an_end() {
        let (queue, _permit, _) = gated();
        queue.push(b"line\n".to_vec());
        let start = Instant::now();
        queue.finish();
        assert!(start.elapsed() >= limits::LOG_FINISH_TIME);
        assert!(start.elapsed() < limits::LOG_FINISH_TIME + Duration::from_secs(5));
    }
}
