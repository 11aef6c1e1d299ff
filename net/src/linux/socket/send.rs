//! The whole batch out, 64 messages a `sendmmsg`, each refusal judged by its `errno`.

use super::{
    UdpSocket,
    calls::{Calls, Piece},
};
use crate::{Clock, SendBatch, SendReport, send_batch::Entry};
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
enum Verdict {
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
struct Progress<'a> {
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
    let mut progress = Progress::new(batch);
    let mut pieces = [Piece { entry: 0, start: 0, end: 0 }; MESSAGES];
    loop {
        let count = progress.plan(&mut pieces, socket.gso);
        if count == 0 {
            return progress.report;
        }
        let pieces = &pieces[..count];
        match count {
            1 => send_pieces::<1>(socket, &mut progress, pieces),
            2..=FEW => send_pieces::<FEW>(socket, &mut progress, pieces),
            _ => send_pieces::<MESSAGES>(socket, &mut progress, pieces),
        }
    }
}

impl<'a> Progress<'a> {
    fn new(batch: &'a SendBatch) -> Self {
        let offset = batch.entries().first().map_or(0, |entry| entry.start);
        Progress {
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
    fn plan(&self, pieces: &mut [Piece; MESSAGES], gso: bool) -> usize {
        let (mut index, mut start, mut count) = (self.entry, self.offset, 0);
        while let (Some(entry), true) = (self.batch.entries().get(index), count < MESSAGES) {
            let joined = gso && self.single != Some(index);
            let end = entry.end.min(start.saturating_add(stretch(entry, joined)));
            pieces[count] = Piece { entry: index, start, end };
            count += 1;
            (index, start) = self.after(pieces[count - 1]);
        }
        count
    }

    /// Where the batch stands once `piece` is done.
    fn after(&self, piece: Piece) -> (usize, usize) {
        let entries = self.batch.entries();
        match entries.get(piece.entry) {
            Some(entry) if piece.end < entry.end => (piece.entry, piece.end),
            _ => (piece.entry + 1, entries.get(piece.entry + 1).map_or(0, |next| next.start)),
        }
    }

    fn sent(&mut self, piece: Piece, gso: &mut bool) {
        if let Some(entry) = self.batch.entries().get(piece.entry) {
            let bytes = piece.end - piece.start;
            self.report.sent_datagrams += bytes.div_ceil(entry.segment).max(1) as u64;
            self.report.sent_bytes += bytes as u64;
        }
        if self.suspect && self.single == Some(piece.entry) {
            self.suspect = false;
            self.gso_off(gso);
        }
        (self.entry, self.offset) = self.after(piece);
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
        (self.entry, self.offset) = self.after(Piece { entry: self.entry, start, end });
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
fn stretch(entry: &Entry, joined: bool) -> usize {
    let segments = if joined { (GSO_BYTES / entry.segment).clamp(1, GSO_SEGMENTS) } else { 1 };
    entry.segment.saturating_mul(segments)
}

/// Sends the messages, N at the most, until all are done or the plan no longer holds.
fn send_pieces<const N: usize>(
    socket: &mut UdpSocket,
    progress: &mut Progress<'_>,
    pieces: &[Piece],
) {
    let mut calls = Calls::<N>::new(progress.batch, pieces, socket);
    let mut next = 0;
    while next < pieces.len() {
        let error = match calls.send(socket, next..pieces.len()) {
            Ok(count) => {
                for piece in pieces.iter().skip(next).take(count) {
                    progress.sent(*piece, &mut socket.gso);
                }
                next += count.max(1);
                continue;
            }
            Err(error) => error,
        };
        match judge(socket, progress, pieces[next], &error) {
            Verdict::Again => {}
            Verdict::Single => return,
            Verdict::Full => return progress.drop_rest(),
            Verdict::Refused => progress.report.failed += progress.skip_entry(),
            Verdict::Dropped => progress.report.dropped += progress.skip_entry(),
        }
        while pieces.get(next).is_some_and(|piece| piece.entry < progress.entry) {
            next += 1;
        }
    }
}

fn judge(
    socket: &mut UdpSocket,
    progress: &mut Progress<'_>,
    piece: Piece,
    error: &io::Error,
) -> Verdict {
    let segment = progress.batch.entries().get(piece.entry).map_or(0, |entry| entry.segment);
    let joined = piece.end - piece.start > segment;
    match error.raw_os_error() {
        Some(libc::EINTR) => Verdict::Again,
        Some(libc::EAGAIN) => wait(socket, progress),
        // A device's queue, not ours: another peer's may have room.
        Some(libc::ENOBUFS) => Verdict::Dropped,
        // The device cannot checksum what it would have to cut: no GSO over it, ever.
        Some(libc::EIO) if joined => {
            progress.gso_off(&mut socket.gso);
            Verdict::Single
        }
        // GSO itself, or something in the entry (port 0, a source address that is gone), which a peer
        // could bring about. Sent singly, the entry tells which.
        Some(libc::EINVAL | libc::EOPNOTSUPP) if joined => {
            (progress.single, progress.suspect) = (Some(piece.entry), true);
            Verdict::Single
        }
        // A path narrower than the segments: IP may still fragment them one by one.
        Some(libc::EMSGSIZE) if joined => {
            (progress.single, progress.suspect) = (Some(piece.entry), false);
            Verdict::Single
        }
        _ => Verdict::Refused,
    }
}

/// Waits for room in the send buffer, within what is left of the batch's patience.
fn wait(socket: &UdpSocket, progress: &mut Progress<'_>) -> Verdict {
    let left = PATIENCE.saturating_sub(progress.waited);
    if left.is_zero() {
        return Verdict::Full;
    }
    let clock = Clock::new();
    let start = clock.now();
    let _ = socket.wait_writable(left);
    // A wait that returns at once must use patience up too, or a socket that is always "writable" and
    // always full would hold the shard.
    progress.waited += Duration::from_micros(clock.now().saturating_sub(start).max(50));
    Verdict::Again
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
        let joined = Piece { entry: 0, start: 0, end: 30 };
        let single = Piece { entry: 0, start: 0, end: 10 };
        for (errno, piece, expected, gso) in [
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
            let (mut socket, mut progress) = (bind(), Progress::new(&batch));
            let error = io::Error::from_raw_os_error(errno);
            let verdict = judge(&mut socket, &mut progress, piece, &error);
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
        let (mut socket, mut progress) = (bind(), Progress::new(&batch));
        progress.sent(Piece { entry: 0, start: 0, end: 20 }, &mut true);
        let full = io::Error::from_raw_os_error(libc::EAGAIN);
        let piece = Piece { entry: 0, start: 20, end: 30 };
        // Always writable, so no wait lasts: still it ends.
        let tries = (0..1000)
            .take_while(|_| {
                matches!(judge(&mut socket, &mut progress, piece, &full), Verdict::Again)
            })
            .count();
        assert!((1..=40).contains(&tries), "{tries}");
        progress.drop_rest();
        assert_eq!((progress.report.sent_datagrams, progress.report.dropped), (2, 1 + 2 + 3));
    }
}
