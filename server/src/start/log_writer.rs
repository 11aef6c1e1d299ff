//! The thread that writes the log. Nothing else of the server waits for stderr.
//!
//! A terminal, a pipe or a disk can refuse bytes or take none for hours. So each line goes through a
//! bounded queue to a thread of its own. A line that the queue or stderr does not take is lost and
//! counted. Once stderr takes lines again, the thread writes a notice of how many were lost.

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
    /// Starts the thread that writes to `out`. `notice` makes the line which says that so many lines
    /// were lost.
    ///
    /// # Errors
    ///
    /// The system refuses the thread.
    pub fn start(
        out: impl Write + Send + 'static,
        notice: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (mail, receiver) = sync_channel(limits::LOG_QUEUE);
        let queue = Self { mail, shared: Arc::default() };
        let shared = queue.shared.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || LogThread::new(&shared, out, notice).run(&receiver))?;
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

/// What the thread of the log has.
struct LogThread<'a, W, N> {
    shared: &'a LogCounters,
    out: LineWriter<W>,
    notice: N,
    /// Lost lines that notices have told.
    told: u64,
    /// When the last notice was tried.
    tried_at: Option<Instant>,
}

impl<'a, W: Write, N: Fn(u64) -> Vec<u8>> LogThread<'a, W, N> {
    fn new(shared: &'a LogCounters, out: W, notice: N) -> Self {
        let out = LineWriter { out, is_torn: false };
        Self { shared, out, notice, told: 0, tried_at: None }
    }

    /// Writes the lines until all senders are dropped.
    fn run(mut self, mail: &Receiver<LogMail>) {
        loop {
            match mail.recv_timeout(limits::LOG_LOSS_INTERVAL) {
                Ok(LogMail::Line(line)) => self.write(&line),
                Ok(LogMail::Flush(written)) => {
                    self.tell_losses();
                    // Fails if the caller has stopped waiting.
                    let _ = written.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.tell_losses(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        self.shared.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
        if self.out.write_line(line).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        } else if self.tried_at.is_none_or(|at| at.elapsed() >= limits::LOG_LOSS_INTERVAL) {
            self.tell_losses();
        }
    }

    /// Writes how many lines were lost since the last notice, if any were. A notice that the output
    /// does not take is tried again later. It is not a lost line itself.
    fn tell_losses(&mut self) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        if lost == self.told {
            return;
        }
        self.tried_at = Some(Instant::now());
        if self.out.write_line(&(self.notice)(lost - self.told)).is_ok() {
            self.told = lost;
        }
    }
}

/// Writes lines to an output that may fail in the middle of one.
struct LineWriter<W> {
    out: W,
    /// Whether the output has the beginning of a line without its end.
    is_torn: bool,
}

impl<W: Write> LineWriter<W> {
    /// Writes a line, which ends with a line end. Ends a torn line first, so that only that one is
    /// damaged.
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.out.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.is_torn = !rest.is_empty() && rest.len() < line.len();
        }
        self.out.flush()
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

    fn notice(lines: u64) -> Vec<u8> {
        format!("{lines} lost\n").into_bytes()
    }

    fn gated() -> (LogQueue, Sender<bool>, Arc<Mutex<Vec<u8>>>) {
        let ((permit, permits), written) = (channel(), Arc::new(Mutex::new(Vec::new())));
        let queue = LogQueue::start(Gated { permits, written: written.clone() }, notice).unwrap();
        (queue, permit, written)
    }

    /// An output that does with each write what the list says: takes so many bytes, or fails. Takes
    /// everything once the list is empty.
    struct Listed {
        takes: Vec<Option<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Listed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let takes = if self.takes.is_empty() { Some(usize::MAX) } else { self.takes.remove(0) };
            let takes = takes.ok_or(io::ErrorKind::StorageFull)?.min(bytes.len());
            self.written.lock().unwrap().extend_from_slice(&bytes[..takes]);
            Ok(takes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes lines with the numbers below `lines`. Returns what the output has, and the number of
    /// lost lines.
    fn write_listed(takes: Vec<Option<usize>>, lines: usize) -> (String, u64) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let queue = LogQueue::start(Listed { takes, written: written.clone() }, notice).unwrap();
        for n in 0..lines {
            queue.push(format!("line {n}\n").into_bytes());
        }
        queue.finish();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        (text, queue.lost())
    }

    #[test]
    fn a_disk_that_takes_lines_again_is_told_all_losses() {
        let (text, lost) = write_listed(vec![None; 500], 501);
        assert_eq!((&*text, lost), ("line 500\n500 lost\n", 500));
    }

    /// The notice fails twice, after the first line and when the log is finished.
    #[test]
    fn a_notice_that_fails_is_no_lost_line_and_comes_later() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let takes = vec![None, Some(99), None, None];
        let queue = LogQueue::start(Listed { takes, written: written.clone() }, notice).unwrap();
        queue.push(b"lost\n".to_vec());
        queue.push(b"first\n".to_vec());
        queue.finish();
        assert_eq!((queue.lost(), &written.lock().unwrap()[..]), (1, &b"first\n"[..]));
        // The log is silent until then.
        std::thread::sleep(limits::LOG_LOSS_INTERVAL + Duration::from_millis(500));
        assert_eq!((queue.lost(), &written.lock().unwrap()[..]), (1, &b"first\n1 lost\n"[..]));
    }

    /// A server that always has something to log tells its losses too, but not after each line.
    #[test]
    fn a_busy_log_tells_its_losses_once_a_second() {
        let takes = vec![None, Some(99), Some(99), None, Some(99)];
        let (text, lost) = write_listed(takes, 4);
        assert_eq!((&*text, lost), ("line 1\n1 lost\nline 3\n1 lost\n", 2), "at the end the rest");
        let takes = vec![None, Some(99), Some(99), None];
        let (text, _) = write_listed(takes, 100);
        assert_eq!(text.matches("lost").count(), 2, "{text}");
    }

    #[test]
    fn a_torn_line_damages_no_other() {
        // The output takes four bytes of the first line, and fails then.
        let (text, lost) = write_listed(vec![Some(4), None], 2);
        assert_eq!((&*text, lost), ("line\nline 1\n1 lost\n", 1));
        // It takes all but the line end, and fails twice.
        let (text, lost) = write_listed(vec![Some(6), None, None], 3);
        assert_eq!((&*text, lost), ("line 0\nline 2\n2 lost\n", 2));
        let (text, lost) = write_listed(vec![Some(4), Some(2), Some(1)], 1);
        assert_eq!((&*text, lost), ("line 0\n", 0), "pieces are no failure");
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
        // One for the notice.
        for _ in 0..lines + 1 {
            permit.send(true).unwrap();
        }
        queue.finish();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("a line\n").count() as u64, lines as u64 - lost);
        assert_eq!(text.matches(&format!("{lost} lost\n")).count(), 1);
        assert_eq!(queue.lost(), lost);
    }

    #[test]
    fn the_queue_has_a_limit_of_bytes() {
        let (queue, permit, _) = gated();
        for _ in 0..5 {
            queue.push(vec![b'x'; limits::LOG_QUEUE_BYTES / 2]);
        }
        assert!((2..=3).contains(&queue.lost()), "{}", queue.lost());
        for _ in 0..6 {
            permit.send(true).unwrap();
        }
        queue.finish();
        queue.push(vec![b'x'; limits::LOG_QUEUE_BYTES]);
        assert!(queue.lost() <= 3, "the bytes of written lines still count");
    }

    #[test]
    fn a_full_disk_loses_lines_and_the_next_are_written() {
        let (queue, permit, written) = gated();
        for takes in [false, false, true, true] {
            permit.send(takes).unwrap();
        }
        for _ in 0..3 {
            queue.push(b"line\n".to_vec());
        }
        queue.finish();
        assert_eq!((queue.lost(), &written.lock().unwrap()[..]), (2, &b"line\n2 lost\n"[..]));
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
