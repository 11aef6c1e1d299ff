//! The arguments of `sendmmsg`: headers, addresses, control messages and bytes.

use super::BatchedSocket;
use crate::{
    SendBatch,
    linux::{
        checked,
        cmsg::{ControlBuffer, space},
        sockaddr::SockaddrBuffer,
        zeroed,
    },
    send_batch::SendEntry,
};
use std::{
    io,
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

/// Size of the control messages of one message: a source address and a segment size.
const CONTROL_BYTES: usize = space(size_of::<libc::in6_pktinfo>()) + space(size_of::<u16>());

/// The bytes of one message: a part of an entry, sent as one datagram or, with GSO, as several.
#[derive(Clone, Copy)]
pub(super) struct SendSpan {
    /// Index of the entry.
    pub(super) entry: usize,
    /// First byte in the batch's arena.
    pub(super) start: usize,
    /// End in the batch's arena.
    pub(super) end: usize,
}

/// The arguments of `sendmmsg` for up to N messages.
pub(super) struct SendCall<'a, const N: usize> {
    /// Destination addresses and their lengths.
    names: [(SockaddrBuffer, libc::socklen_t); N],
    /// Control messages and the bytes that they use.
    controls: [(ControlBuffer<CONTROL_BYTES>, usize); N],
    vectors: [libc::iovec; N],
    /// The batch to which the vectors point.
    batch: PhantomData<&'a SendBatch>,
}

impl<'a, const N: usize> SendCall<'a, N> {
    pub(super) fn new(batch: &'a SendBatch, spans: &[SendSpan], socket: &BatchedSocket) -> Self {
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut call = SendCall {
            names: [(SockaddrBuffer::EMPTY, 0); N],
            controls: [(ControlBuffer::EMPTY, 0); N],
            vectors: [none; N],
            batch: PhantomData,
        };
        for (index, span) in spans.iter().enumerate().take(N) {
            let Some(entry) = batch.entries().get(span.entry) else { break };
            let (name, len) = &mut call.names[index];
            *len = name.set(entry.dest, socket.v6);
            let (control, used) = &mut call.controls[index];
            *used = if entry.src == socket.bound { 0 } else { set_source(control, entry) };
            if span.end - span.start > entry.segment {
                *used = set_segment(control, *used, entry.segment);
            }
            let bytes = batch.bytes(span.start..span.end);
            let iov_base = bytes.as_ptr().cast_mut().cast();
            call.vectors[index] = libc::iovec { iov_base, iov_len: bytes.len() };
        }
        call
    }

    /// Sends the messages of `range` in one system call. Returns how many the kernel accepted, at
    /// least one.
    pub(super) fn send(
        &mut self,
        socket: &BatchedSocket,
        range: std::ops::Range<usize>,
    ) -> io::Result<usize> {
        // SAFETY: an all-zero header is valid: null pointers with zero lengths.
        let mut headers: [libc::mmsghdr; N] = unsafe { std::mem::zeroed() };
        let range = range.start.min(N)..range.end.min(N);
        let parts = self.names.iter_mut().zip(&mut self.controls).zip(&mut self.vectors);
        let parts = parts.zip(&mut headers).skip(range.start).take(range.len());
        for ((((name, name_len), (control, used)), vector), header) in parts {
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = *name_len;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            if *used > 0 {
                header.msg_control = control.0.as_mut_ptr().cast();
                header.msg_controllen = *used as _;
            }
        }
        let headers = &mut headers[range];
        let fd = socket.socket.as_raw_fd();
        // SAFETY: each header points to a name, control bytes and a vector of `self`. The vector
        // points to bytes of the batch, which is borrowed for the lifetime of `self`. All lengths
        // are correct. The kernel only reads the bytes, so the cast to a mutable pointer is sound.
        let count = checked(unsafe {
            let count = headers.len() as libc::c_uint;
            libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
        })?;
        Ok(count as usize)
    }
}

/// Writes the source address as a control message of the destination's family. A mapped destination
/// counts as IPv4, even on an IPv6 socket. If the source has the other family, writes nothing and
/// leaves the choice to the kernel. Returns the bytes used.
fn set_source(control: &mut ControlBuffer<CONTROL_BYTES>, entry: &SendEntry) -> usize {
    let Some(src) = entry.src.map(|src| src.to_canonical()) else { return 0 };
    if src.is_unspecified() {
        return 0;
    }
    match (src, entry.dest.ip().to_canonical()) {
        (IpAddr::V4(src), IpAddr::V4(_)) => {
            let mut info: libc::in_pktinfo = zeroed();
            info.ipi_spec_dst.s_addr = u32::from_ne_bytes(src.octets());
            control.push(0, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        (IpAddr::V6(src), IpAddr::V6(_)) => {
            let mut info: libc::in6_pktinfo = zeroed();
            info.ipi6_addr.s6_addr = src.octets();
            if let (SocketAddr::V6(dest), true) = (entry.dest, src.is_unicast_link_local()) {
                // A link-local address needs its interface.
                info.ipi6_ifindex = dest.scope_id() as _;
            }
            control.push(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
        _ => 0,
    }
}

fn set_segment(control: &mut ControlBuffer<CONTROL_BYTES>, used: usize, segment: usize) -> usize {
    let segment = u16::try_from(segment).unwrap_or(u16::MAX);
    control.push(used, libc::SOL_UDP, libc::UDP_SEGMENT, segment)
}
