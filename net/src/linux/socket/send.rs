//! Sending a batch with `sendmmsg`, 64 messages a call. The `errno` of a refused message decides
//! how to proceed.

use super::{
    BatchedSocket,
    send_call::{SendCall, SendSpan},
};
use crate::{Clock, SendBatch, SendReport, send_batch::SendEntry};
use std::{io, time::Duration};

/// Most messages of one call. More messages save nothing measurable.
const MESSAGES: usize = 64;

/// Most messages of a small call, which saves clearing the 13 KiB of headers for 64 messages. A
/// small room's flush fits in.
const FEW: usize = 8;

/// Most segments of one GSO send. The kernel's UDP_MAX_SEGMENTS was 64 until Linux 6.9.
const GSO_SEGMENTS: usize = 64;

/// Most bytes of one GSO send, which must fit into an IP packet of 65,535 bytes with all headers
/// and options.
const GSO_BYTES: usize = 65_000;

/// Longest time that a whole batch may wait for space in the send buffer. After that the shard has
/// to read its socket again.
const MAX_WAIT: Duration = Duration::from_millis(2);

/// How to proceed with a message that the kernel refused.
#[derive(Debug)]
enum SendVerdict {
    /// Send the message again.
    Again,
    /// Send the message's entry again, one datagram a message.
    Single,
    /// Skip the message's entry and count it as failed.
    Refused,
    /// Skip the message's entry and count it as dropped, because a device's queue is full.
    Dropped,
    /// Drop the rest of the batch, because the send buffer stays full.
    Full,
}

/// A position in a batch: the next byte to send.
#[derive(Clone, Copy)]
struct BatchPosition {
    /// Index of the entry.
    entry: usize,
    /// Offset in the arena.
    offset: usize,
}

/// The progress of sending a batch.
struct SendProgress<'a> {
    batch: &'a SendBatch,
    report: SendReport,
    position: BatchPosition,
    /// The entry for which the kernel refused GSO.
    single: Option<usize>,
    /// Whether GSO itself may have caused the refusal of the entry `single`. If the same bytes can
    /// be sent without GSO, GSO does not work.
    suspect: bool,
    waited: Duration,
}

pub(super) fn send(socket: &mut BatchedSocket, batch: &SendBatch) -> SendReport {
    let mut progress = SendProgress::new(batch);
    let mut spans = [SendSpan { entry: 0, start: 0, end: 0 }; MESSAGES];
    loop {
        let count = progress.plan(&mut spans, socket.gso);
        if count == 0 {
            return progress.report;
        }
        let spans = &spans[..count];
        match count {
            1 => send_spans::<1>(socket, &mut progress, spans),
            2..=FEW => send_spans::<FEW>(socket, &mut progress, spans),
            _ => send_spans::<MESSAGES>(socket, &mut progress, spans),
        }
    }
}

impl<'a> SendProgress<'a> {
    fn new(batch: &'a SendBatch) -> Self {
        let offset = batch.entries().first().map_or(0, |entry| entry.start);
        SendProgress {
            batch,
            report: SendReport::default(),
            position: BatchPosition { entry: 0, offset },
            single: None,
            suspect: false,
            waited: Duration::ZERO,
        }
    }

    /// Fills `spans` with the next messages and returns their number.
    fn plan(&self, spans: &mut [SendSpan; MESSAGES], gso: bool) -> usize {
        let (mut at, mut count) = (self.position, 0);
        while let (Some(entry), true) = (self.batch.entries().get(at.entry), count < MESSAGES) {
            let joined = gso && self.single != Some(at.entry);
            let end = entry.end.min(at.offset.saturating_add(span_len(entry, joined)));
            let span = SendSpan { entry: at.entry, start: at.offset, end };
            spans[count] = span;
            count += 1;
            at = self.after(span);
        }
        count
    }

    /// Returns the position behind `span`.
    fn after(&self, span: SendSpan) -> BatchPosition {
        let entries = self.batch.entries();
        match entries.get(span.entry) {
            Some(entry) if span.end < entry.end => {
                BatchPosition { entry: span.entry, offset: span.end }
            }
            _ => {
                let entry = span.entry + 1;
                BatchPosition { entry, offset: entries.get(entry).map_or(0, |next| next.start) }
            }
        }
    }

    fn sent(&mut self, span: SendSpan, gso: &mut bool) {
        if let Some(entry) = self.batch.entries().get(span.entry) {
            let bytes = span.end - span.start;
            self.report.sent_datagrams += bytes.div_ceil(entry.segment).max(1) as u64;
            self.report.sent_bytes += bytes as u64;
        }
        if self.suspect && self.single == Some(span.entry) {
            self.suspect = false;
            self.gso_off(gso);
        }
        self.position = self.after(span);
    }

    fn gso_off(&mut self, gso: &mut bool) {
        self.report.gso_disabled_now |= *gso;
        *gso = false;
    }

    /// Skips the rest of the current entry. Returns the number of datagrams skipped.
    fn skip_entry(&mut self) -> u64 {
        let BatchPosition { entry: index, offset } = self.position;
        let Some(entry) = self.batch.entries().get(index) else { return 0 };
        let skipped = entry.datagrams_from(offset);
        let (start, end) = (entry.start, entry.end);
        self.position = self.after(SendSpan { entry: index, start, end });
        skipped
    }

    /// Drops the rest of the current entry and all entries behind it.
    fn drop_rest(&mut self) {
        let entries = self.batch.entries().get(self.position.entry..).unwrap_or_default();
        for (index, entry) in entries.iter().enumerate() {
            let offset = if index == 0 { self.position.offset } else { entry.start };
            self.report.dropped += entry.datagrams_from(offset);
        }
        self.position.entry = self.batch.entries().len();
    }
}

/// Returns the most bytes of an entry that one message may have.
fn span_len(entry: &SendEntry, joined: bool) -> usize {
    let segments = if joined { (GSO_BYTES / entry.segment).clamp(1, GSO_SEGMENTS) } else { 1 };
    entry.segment.saturating_mul(segments)
}

/// Sends up to N messages. Returns early if their entry must be planned again without GSO, or if
/// the rest of the batch is dropped.
fn send_spans<const N: usize>(
    socket: &mut BatchedSocket,
    progress: &mut SendProgress<'_>,
    spans: &[SendSpan],
) {
    let mut call = SendCall::<N>::new(progress.batch, spans, socket);
    let mut next = 0;
    while next < spans.len() {
        let error = match call.send(socket, next..spans.len()) {
            Ok(count) => {
                for span in spans.iter().skip(next).take(count) {
                    progress.sent(*span, &mut socket.gso);
                }
                next += count.max(1);
                continue;
            }
            Err(error) => error,
        };
        match classify_error(socket, progress, spans[next], &error) {
            SendVerdict::Again => {}
            SendVerdict::Single => return,
            SendVerdict::Full => return progress.drop_rest(),
            SendVerdict::Refused => progress.report.failed += progress.skip_entry(),
            SendVerdict::Dropped => progress.report.dropped += progress.skip_entry(),
        }
        while spans.get(next).is_some_and(|span| span.entry < progress.position.entry) {
            next += 1;
        }
    }
}

fn classify_error(
    socket: &mut BatchedSocket,
    progress: &mut SendProgress<'_>,
    span: SendSpan,
    error: &io::Error,
) -> SendVerdict {
    let segment = progress.batch.entries().get(span.entry).map_or(0, |entry| entry.segment);
    let joined = span.end - span.start > segment;
    match error.raw_os_error() {
        Some(libc::EINTR) => SendVerdict::Again,
        Some(libc::EAGAIN) => wait(socket, progress),
        // A device's queue is full, not the send buffer. Another device's queue may have space.
        Some(libc::ENOBUFS) => SendVerdict::Dropped,
        // The device cannot compute the checksums of segments, so GSO never works on it.
        Some(libc::EIO) if joined => {
            progress.gso_off(&mut socket.gso);
            SendVerdict::Single
        }
        // Either GSO does not work, or the system refuses this entry (port 0, or a source address
        // that the machine no longer has). A peer can cause the second, so it must not disable GSO.
        // Sending the entry again without GSO shows which of the two it is.
        Some(libc::EINVAL | libc::EOPNOTSUPP) if joined => {
            (progress.single, progress.suspect) = (Some(span.entry), true);
            SendVerdict::Single
        }
        // The path's MTU is smaller than a segment. IP may still fragment single datagrams.
        Some(libc::EMSGSIZE) if joined => {
            (progress.single, progress.suspect) = (Some(span.entry), false);
            SendVerdict::Single
        }
        _ => SendVerdict::Refused,
    }
}

/// Waits for space in the send buffer, for what is left of [`MAX_WAIT`].
fn wait(socket: &BatchedSocket, progress: &mut SendProgress<'_>) -> SendVerdict {
    let left = MAX_WAIT.saturating_sub(progress.waited);
    if left.is_zero() {
        return SendVerdict::Full;
    }
    let clock = Clock::new();
    let start = clock.now();
    let _ = socket.wait_writable(left);
    // Every wait counts at least 50 µs. Otherwise a socket that is always writable, but whose
    // buffer is always full, would block the shard.
    progress.waited += Duration::from_micros(clock.now().saturating_sub(start).max(50));
    SendVerdict::Again
}

#[cfg(test)]
mod tests {
    use super::{super::set_option, *};
    use crate::{BindOptions, RecvBatch};
    use std::net::SocketAddr;

    fn bind() -> BatchedSocket {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        BatchedSocket::bind(&BindOptions { addr, ..BindOptions::default() }).unwrap()
    }

    #[test]
    fn gso_that_does_not_work_is_turned_off_and_nothing_lost() {
        let (mut sender, mut receiver) = (bind(), bind());
        // GSO needs checksums. Without them the kernel refuses it with EINVAL.
        set_option(&sender.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let dest = receiver.local_addr().unwrap();
        let mut batch = SendBatch::new(10_000, 10);
        for segment in [0, 10, 30, 10] {
            assert!(batch.push(dest, None, segment, &[1; 35]));
        }
        let first = sender.send(&batch);
        let (sent_datagrams, sent_bytes) = (1 + 4 + 2 + 4, 4 * 35);
        let sent = SendReport { sent_datagrams, sent_bytes, ..SendReport::default() };
        assert_eq!(first, SendReport { gso_disabled_now: true, ..sent });
        assert!(!sender.gso());
        assert_eq!(sender.send(&batch), sent);

        let (mut input, mut sizes) = (RecvBatch::new(false), Vec::new());
        receiver.recv(&mut input).unwrap();
        input.for_each(|datagram| sizes.push(datagram.data.len()));
        assert_eq!(sizes, [35, 10, 10, 10, 5, 30, 5, 10, 10, 10, 5].repeat(2));
    }

    #[test]
    fn errnos_are_judged() {
        let mut batch = SendBatch::new(100, 1);
        let dest = SocketAddr::from(([127, 0, 0, 1], 9));
        assert!(batch.push(dest, None, 10, &[0; 30]));
        let joined = SendSpan { entry: 0, start: 0, end: 30 };
        let single = SendSpan { entry: 0, start: 0, end: 10 };
        for (errno, span, expected, gso) in [
            (libc::EIO, joined, "Single", false),
            (libc::EMSGSIZE, joined, "Single", true),
            (libc::EINVAL, joined, "Single", true),
            (libc::EOPNOTSUPP, joined, "Single", true),
            (libc::EIO, single, "Refused", true),
            (libc::EMSGSIZE, single, "Refused", true),
            (libc::EINVAL, single, "Refused", true),
            (libc::EPERM, joined, "Refused", true),
            (libc::ENETUNREACH, joined, "Refused", true),
            (libc::ENOBUFS, joined, "Dropped", true),
            (libc::EINTR, joined, "Again", true),
            (libc::EAGAIN, joined, "Again", true),
        ] {
            let (mut socket, mut progress) = (bind(), SendProgress::new(&batch));
            let error = io::Error::from_raw_os_error(errno);
            let verdict = classify_error(&mut socket, &mut progress, span, &error);
            assert_eq!((format!("{verdict:?}").as_str(), socket.gso), (expected, gso), "{error}");
            assert_eq!(progress.report.gso_disabled_now, !gso);
        }
    }

    #[test]
    fn a_buffer_that_stays_full_costs_the_rest_after_a_bounded_wait() {
        let mut batch = SendBatch::new(1000, 3);
        let dest = SocketAddr::from(([127, 0, 0, 1], 9));
        for segment in [10, 20, 10] {
            assert!(batch.push(dest, None, segment, &[0; 30]));
        }
        let (mut socket, mut progress) = (bind(), SendProgress::new(&batch));
        progress.sent(SendSpan { entry: 0, start: 0, end: 20 }, &mut true);
        let full = io::Error::from_raw_os_error(libc::EAGAIN);
        let span = SendSpan { entry: 0, start: 20, end: 30 };
        // The socket is always writable, so every wait returns at once.
        let tries = (0..1000)
            .take_while(|_| {
                matches!(
                    classify_error(&mut socket, &mut progress, span, &full),
                    SendVerdict::Again
                )
            })
            .count();
        assert!((1..=40).contains(&tries), "{tries}");
        progress.drop_rest();
        assert_eq!((progress.report.sent_datagrams, progress.report.dropped), (2, 1 + 2 + 3));
    }
}
