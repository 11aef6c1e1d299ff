//! Control messages, written and read with bounds checks. With a small buffer or a wrong length
//! from the kernel, a message is lost, but memory stays safe.

use super::{Plain, read_plain, write_plain, zeroed};

const HEADER: usize = align(size_of::<libc::cmsghdr>());

/// Rounds a length up to the start of the next message (`CMSG_ALIGN`).
const fn align(len: usize) -> usize {
    len.next_multiple_of(align_of::<usize>())
}

/// Returns the bytes that a message with a payload of `len` bytes takes (`CMSG_SPACE`).
pub(super) const fn space(len: usize) -> usize {
    HEADER + align(len)
}

/// A buffer for control messages, aligned for `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer<const N: usize>(pub(super) [u8; N]);

const _: () = assert!(align_of::<libc::cmsghdr>() <= 8);

impl<const N: usize> ControlBuffer<N> {
    pub(super) const EMPTY: Self = ControlBuffer([0; N]);

    /// Appends a message behind the first `used` bytes. Returns the bytes used then. A message that
    /// does not fit is left out; the callers' buffers are large enough.
    pub(super) fn push<T: Plain>(
        &mut self,
        used: usize,
        level: libc::c_int,
        kind: libc::c_int,
        value: T,
    ) -> usize {
        let end = used + space(size_of::<T>());
        let Some(bytes) = self.0.get_mut(used..end) else { return used };
        let mut header: libc::cmsghdr = zeroed();
        header.cmsg_len = (HEADER + size_of::<T>()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let _ = write_plain(bytes, header);
        let _ = write_plain(&mut bytes[HEADER..], value);
        end
    }
}

/// A control message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ControlMessage<'a> {
    pub(super) level: libc::c_int,
    pub(super) kind: libc::c_int,
    pub(super) payload: &'a [u8],
}

/// Returns an iterator over the control messages in `bytes`. It ends at the first invalid one.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = ControlMessage<'_>> {
    std::iter::from_fn(move || {
        let header: libc::cmsghdr = read_plain(bytes)?;
        let payload = bytes.get(HEADER..header.cmsg_len as usize)?;
        bytes = bytes.get(align(header.cmsg_len as usize)..).unwrap_or_default();
        Some(ControlMessage { level: header.cmsg_level, kind: header.cmsg_type, payload })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_libc_agrees_on_the_space() {
        // SAFETY: arithmetic only.
        let (libc_space, libc_header) = unsafe { (libc::CMSG_SPACE(5), libc::CMSG_LEN(0)) };
        assert_eq!((space(5), HEADER), (libc_space as usize, libc_header as usize));

        let mut control = ControlBuffer::<64>::EMPTY;
        let used = control.push(0, 1, 2, 7 as libc::c_int);
        let used = control.push(used, 3, 4, 8 as libc::c_int);
        assert_eq!(control.push(used, 5, 6, 9 as libc::c_int), used, "no room for a third");
        let read: Vec<_> = messages(&control.0[..used]).collect();
        let payload = |value: libc::c_int| value.to_ne_bytes();
        let message = |level, kind, payload| ControlMessage { level, kind, payload };
        assert_eq!(read, [message(1, 2, &payload(7)), message(3, 4, &payload(8))]);
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        for len in [0, 1, HEADER - 1, 65, usize::MAX, usize::MAX - 6] {
            let mut control = ControlBuffer::<64>::EMPTY;
            control.push(0, 1, 2, 7 as libc::c_int);
            control.0[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(messages(&control.0).count(), 0, "{len}");
        }
        assert_eq!(messages(&[]).count(), 0);
    }
}
