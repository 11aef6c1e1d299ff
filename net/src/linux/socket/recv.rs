//! Receiving with `recvmmsg`, up to 64 messages a call, and reading their control messages.

use super::BatchedSocket;
use crate::{
    Clock, RECV_MESSAGES, RecvBatch,
    clock::stamp_offset,
    linux::{
        checked,
        cmsg::{self, ControlBuffer},
        read_plain,
        sockaddr::SockaddrBuffer,
    },
    recv_batch::MessageMeta,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
};

/// Size of a message's control buffer. The requested control messages take 144 bytes: packet info
/// (40 bytes with its header), traffic class of IPv4 and IPv6 (24 each), time (32) and GRO size
/// (24). The rest is a reserve for later kernels.
const CONTROL_BYTES: usize = 256;

/// Most calls in a row if each received only datagrams that are too long. Such datagrams must not
/// hide the usable ones behind them.
const USELESS_CALLS: usize = 4;

/// Largest plausible age of a time stamp, since a shard reads its socket every 2 ms. An older stamp
/// means that the wall clock was set.
const OLDEST_STAMP_US: u64 = 10_000_000;

/// Buffers for addresses and control messages. They are reused, because clearing 18 KiB for each
/// call would be expensive.
pub(super) struct RecvScratch {
    names: [SockaddrBuffer; RECV_MESSAGES],
    controls: [ControlBuffer<CONTROL_BYTES>; RECV_MESSAGES],
}

impl Default for RecvScratch {
    fn default() -> Self {
        RecvScratch {
            names: [SockaddrBuffer::EMPTY; RECV_MESSAGES],
            controls: [ControlBuffer::EMPTY; RECV_MESSAGES],
        }
    }
}

/// The fields of a message's header that the kernel has filled in.
#[derive(Clone, Copy)]
struct FilledMessage {
    len: usize,
    name_len: libc::socklen_t,
    control_len: usize,
    flags: libc::c_int,
}

pub(super) fn recv(socket: &mut BatchedSocket, batch: &mut RecvBatch) -> io::Result<usize> {
    if socket.gro && !batch.gro() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "GRO needs RecvBatch::new(true)"));
    }
    for _ in 0..USELESS_CALLS {
        batch.clear();
        let mut filled = [const { None }; RECV_MESSAGES];
        let count = receive(socket, batch, &mut filled)?;
        record_messages(socket, &filled, batch);
        let datagrams = batch.len();
        if datagrams > 0 || count == 0 {
            return Ok(datagrams);
        }
    }
    Ok(0)
}

/// Makes the system call and returns the number of messages. Builds the headers anew for each call,
/// because the kernel overwrites their buffer lengths with the lengths used. A reused header would
/// lose control messages.
fn receive(
    socket: &mut BatchedSocket,
    batch: &mut RecvBatch,
    filled: &mut [Option<FilledMessage>; RECV_MESSAGES],
) -> io::Result<usize> {
    let fd = socket.socket.as_raw_fd();
    // SAFETY: an all-zero iovec is valid: a null pointer with length zero.
    let mut vectors: [libc::iovec; RECV_MESSAGES] = unsafe { std::mem::zeroed() };
    for (vector, buffer) in vectors.iter_mut().zip(batch.buffers()) {
        *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    }
    // SAFETY: an all-zero header is valid: null pointers with zero lengths.
    let mut headers: [libc::mmsghdr; RECV_MESSAGES] = unsafe { std::mem::zeroed() };
    let RecvScratch { names, controls } = &mut *socket.scratch;
    let parts = vectors.iter_mut().zip(names).zip(controls);
    for (header, ((vector, name), control)) in headers.iter_mut().zip(parts) {
        let header = &mut header.msg_hdr;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = SockaddrBuffer::CAPACITY;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_BYTES as _;
    }
    // SAFETY: every header points to its own name, control buffer and vector, and every vector to
    // its own buffer. All have their true sizes, and are alive and otherwise unused until the call
    // returns. `headers` holds RECV_MESSAGES. No timeout is given.
    let count = match checked(unsafe {
        let (count, none) = (RECV_MESSAGES as libc::c_uint, std::ptr::null_mut());
        libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, none)
    }) {
        Ok(count) => count as usize,
        Err(error) if is_harmless(&error) => 0,
        Err(error) => return Err(error),
    };
    for (filled, header) in filled.iter_mut().zip(headers.iter().take(count)) {
        *filled = Some(FilledMessage {
            len: header.msg_len as usize,
            name_len: header.msg_hdr.msg_namelen,
            control_len: header.msg_hdr.msg_controllen as usize,
            flags: header.msg_hdr.msg_flags,
        });
    }
    Ok(count)
}

/// Returns whether an error leaves the socket usable and the batch empty: no datagram waits, a
/// signal arrived, or the kernel reports an ICMP error about an earlier send.
fn is_harmless(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
        WouldBlock,
    };
    matches!(
        error.kind(),
        WouldBlock
            | Interrupted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
    )
}

/// Records the received messages in the batch.
fn record_messages(
    socket: &BatchedSocket,
    filled: &[Option<FilledMessage>; RECV_MESSAGES],
    batch: &mut RecvBatch,
) {
    let (now, offset) = (Clock::new().now(), stamp_offset());
    let parts = socket.scratch.names.iter().zip(&socket.scratch.controls).enumerate();
    for ((slot, (name, control)), filled) in parts.zip(filled) {
        let Some(filled) = filled else { return };
        // The datagram was truncated, or its control messages were, which may include the GRO size.
        if filled.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            continue;
        }
        let Some(remote) = name.addr(filled.name_len) else { continue };
        let (received, len) = (now, filled.len);
        let local = socket.bound;
        let mut meta = MessageMeta { remote, local, ecn: 0, received, len, segment: 0 };
        for message in cmsg::messages(control.0.get(..filled.control_len).unwrap_or_default()) {
            apply(&mut meta, message, now, offset);
        }
        batch.set(slot, meta);
    }
}

/// Stores the content of a control message in its datagram's metadata.
fn apply(meta: &mut MessageMeta, message: cmsg::ControlMessage<'_>, now: u64, offset: i128) {
    let payload = message.payload;
    match (message.level, message.kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            if let Some(info) = read_plain::<libc::in_pktinfo>(payload) {
                // Uses `ipi_spec_dst` instead of `ipi_addr`: for a broadcast, no answer can be sent
                // from `ipi_addr`.
                let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                meta.local = Some(IpAddr::V4(ip));
            }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let Some(info) = read_plain::<libc::in6_pktinfo>(payload) {
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                meta.local = Some(IpAddr::V6(ip).to_canonical());
            }
        }
        // IP_TOS has one byte.
        (libc::IPPROTO_IP, libc::IP_TOS) => meta.ecn = payload.first().map_or(0, |tos| tos & 3),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            meta.ecn = read_plain::<libc::c_int>(payload).map_or(0, |class| (class & 3) as u8);
        }
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
            meta.received =
                read_plain(payload).map_or(now, |stamp| arrival_micros(stamp, now, offset));
        }
        (libc::SOL_UDP, libc::UDP_GRO) => {
            let size = read_plain::<libc::c_int>(payload).unwrap_or(0);
            meta.segment = usize::try_from(size).unwrap_or(0);
        }
        _ => {}
    }
}

/// Converts a `CLOCK_REALTIME` stamp to the monotonic scale, in µs. Returns `now` for an impossible
/// stamp. Limits the age of a stamp to [`OLDEST_STAMP_US`], in case the wall clock was set forward.
fn arrival_micros(stamp: libc::timespec, now: u64, offset: i128) -> u64 {
    let nanos = i128::from(stamp.tv_sec) * 1_000_000_000 + i128::from(stamp.tv_nsec);
    match u64::try_from((nanos - offset) / 1000) {
        Ok(at) if at <= now => at.max(now.saturating_sub(OLDEST_STAMP_US)),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_move_to_the_monotonic_scale_and_never_lead_it() {
        // The wall clock is 1,000 s ahead of the monotonic one, which shows 20 s.
        let (now, offset) = (20_000_000, 1_000_000_000_000);
        let at = |tv_sec, tv_nsec| arrival_micros(libc::timespec { tv_sec, tv_nsec }, now, offset);
        assert_eq!(at(1019, 500_000_999), 19_500_000);
        assert_eq!(at(1020, 0), now);
        assert_eq!(at(1021, 0), now, "the future");
        assert_eq!(at(1009, 0), now - OLDEST_STAMP_US, "older than counts");
        assert_eq!(at(10, 0), now, "before the monotonic clock began");
    }
}
