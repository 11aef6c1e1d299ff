//! The whole batch out, 64 messages a `sendmmsg`, each refusal judged by its `errno`.

use super::{
    UdpSocket,
    send_call::{SendCall, SendSpan},
};
use crate::{Clock, SendBatch, SendReport, send_batch::SendEntry};
use std::{io, time::Duration};

/// Messages a call. More saves nothing measurable.
const MESSAGES: usize = 64;

/// Messages of a small flush, a small room's. Headers for 64 are 13 KiB to zero.
const FEW: usize = 8;

/// Segments of one GSO send: the kernel's UDP_MAX_SEGMENTS was 64 until Linux 6.9.
const GSO_SEGMENTS: usize = 64;

/// Bytes of one GSO send: an IP packet (65,535) with all its headers, options included.
const GSO_BYTES: usize = 65_000;

/// Time a whole batch may wait for room in the send buffer: the shard has to read again by then.
const PATIENCE: Duration = Duration::from_millis(2);

/// What is to be done next with a message the kernel refused.
#[derive(Debug)]
enum SendVerdict {
    /// Once more, as it is.
    Again,
    /// Its entry once more, datagram by datagram.
    Single,
    /// Its entry is given up, for its own sake.
    Refused,
    /// Its entry is given up, for want of room behind the socket.
    Dropped,
    /// The rest of the batch is given up.
    Full,
}

/// How far a batch has come.
struct SendProgress<'a> {
    batch: &'a SendBatch,
    report: SendReport,
    /// The next byte to send is byte `offset` of the arena, in entry `entry`.
    entry: usize,
    offset: usize,
    /// The entry GSO was refused for.
    single: Option<usize>,
    /// That refusal casts doubt on GSO itself: if the same bytes pass without it, it is broken.
    suspect: bool,
    waited: Duration,
}

pub(super) fn send(socket: &mut UdpSocket, batch: &SendBatch) -> SendReport {
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
            entry: 0,
            offset,
            single: None,
            suspect: false,
            waited: Duration::ZERO,
        }
    }

    /// The next messages, from where the batch has come to.
    fn plan(&self, spans: &mut [SendSpan; MESSAGES], gso: bool) -> usize {
        let (mut index, mut start, mut count) = (self.entry, self.offset, 0);
        while let (Some(entry), true) = (self.batch.entries().get(index), count < MESSAGES) {
            let joined = gso && self.single != Some(index);
            let end = entry.end.min(start.saturating_add(span_len(entry, joined)));
            spans[count] = SendSpan { entry: index, start, end };
            count += 1;
            (index, start) = self.after(spans[count - 1]);
        }
        count
    }

    /// Where the batch stands once `span` is done.
    fn after(&self, span: SendSpan) -> (usize, usize) {
        let entries = self.batch.entries();
        match entries.get(span.entry) {
            Some(entry) if span.end < entry.end => (span.entry, span.end),
            _ => (span.entry + 1, entries.get(span.entry + 1).map_or(0, |next| next.start)),
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
        (self.entry, self.offset) = self.after(span);
    }

    fn gso_off(&mut self, gso: &mut bool) {
        self.report.gso_disabled_now |= *gso;
        *gso = false;
    }

    /// Gives the current entry up and tells how many datagrams that costs.
    fn skip_entry(&mut self) -> u64 {
        let Some(entry) = self.batch.entries().get(self.entry) else { return 0 };
        let lost = entry.datagrams_from(self.offset);
        let (start, end) = (entry.start, entry.end);
        (self.entry, self.offset) = self.after(SendSpan { entry: self.entry, start, end });
        lost
    }

    /// Gives the current entry and all after it up.
    fn drop_rest(&mut self) {
        let entries = self.batch.entries().get(self.entry..).unwrap_or_default();
        for (index, entry) in entries.iter().enumerate() {
            let offset = if index == 0 { self.offset } else { entry.start };
            self.report.dropped += entry.datagrams_from(offset);
        }
        self.entry = self.batch.entries().len();
    }
}

/// Bytes of an entry one message takes.
fn span_len(entry: &SendEntry, joined: bool) -> usize {
    let segments = if joined { (GSO_BYTES / entry.segment).clamp(1, GSO_SEGMENTS) } else { 1 };
    entry.segment.saturating_mul(segments)
}

/// Sends the messages, N at the most, until all are done or the plan no longer holds.
fn send_spans<const N: usize>(
    socket: &mut UdpSocket,
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
        while spans.get(next).is_some_and(|span| span.entry < progress.entry) {
            next += 1;
        }
    }
}

fn classify_error(
    socket: &mut UdpSocket,
    progress: &mut SendProgress<'_>,
    span: SendSpan,
    error: &io::Error,
) -> SendVerdict {
    let segment = progress.batch.entries().get(span.entry).map_or(0, |entry| entry.segment);
    let joined = span.end - span.start > segment;
    match error.raw_os_error() {
        Some(libc::EINTR) => SendVerdict::Again,
        Some(libc::EAGAIN) => wait(socket, progress),
        // A device's queue, not ours: another peer's may have room.
        Some(libc::ENOBUFS) => SendVerdict::Dropped,
        // The device cannot checksum what it would have to cut: no GSO over it, ever.
        Some(libc::EIO) if joined => {
            progress.gso_off(&mut socket.gso);
            SendVerdict::Single
        }
        // GSO itself, or something in the entry (port 0, a source address that is gone), which a peer
        // could bring about. Sent singly, the entry tells which.
        Some(libc::EINVAL | libc::EOPNOTSUPP) if joined => {
            (progress.single, progress.suspect) = (Some(span.entry), true);
            SendVerdict::Single
        }
        // A path narrower than the segments: IP may still fragment them one by one.
        Some(libc::EMSGSIZE) if joined => {
            (progress.single, progress.suspect) = (Some(span.entry), false);
            SendVerdict::Single
        }
        _ => SendVerdict::Refused,
    }
}

/// Waits for room in the send buffer, within what is left of the batch's patience.
fn wait(socket: &UdpSocket, progress: &mut SendProgress<'_>) -> SendVerdict {
    let left = PATIENCE.saturating_sub(progress.waited);
    if left.is_zero() {
        return SendVerdict::Full;
    }
    let clock = Clock::new();
    let start = clock.now();
    let _ = socket.wait_writable(left);
    // A wait that returns at once must use patience up too, or a socket that is always "writable" and
    // always full would hold the shard.
    progress.waited += Duration::from_micros(clock.now().saturating_sub(start).max(50));
    SendVerdict::Again
}

#[cfg(test)]
mod tests {
    use super::{super::set_option, *};
    use crate::{BindOptions, RecvBatch};
    use std::net::SocketAddr;

    fn bind() -> UdpSocket {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        UdpSocket::bind(&BindOptions { addr, ..BindOptions::default() }).unwrap()
    }

    #[test]
    fn gso_that_does_not_work_is_turned_off_and_nothing_lost() {
        let (mut sender, mut receiver) = (bind(), bind());
        // GSO must fill checksums in; told to send none, the kernel refuses it with EINVAL.
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
        // Always writable, so no wait lasts: still it ends.
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
