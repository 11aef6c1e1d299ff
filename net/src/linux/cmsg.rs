//! ControlBuffer messages: written and read with explicit bounds, so that a buffer too small or a length
//! the kernel got wrong costs a message and never memory.

use super::{Plain, read_plain, write_plain, zeroed};

const HEADER: usize = align(size_of::<libc::cmsghdr>());

/// Where the next message begins (`CMSG_ALIGN`).
const fn align(len: usize) -> usize {
    len.next_multiple_of(align_of::<usize>())
}

/// Bytes a message with a payload of `len` bytes takes (`CMSG_SPACE`).
pub(super) const fn space(len: usize) -> usize {
    HEADER + align(len)
}

/// A control buffer aligned as `cmsghdr` demands.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer<const N: usize>(pub(super) [u8; N]);

const _: () = assert!(align_of::<libc::cmsghdr>() <= 8);

impl<const N: usize> ControlBuffer<N> {
    pub(super) const EMPTY: Self = ControlBuffer([0; N]);

    /// Appends a message after the first `used` bytes and gives how many are used then; unchanged
    /// when it does not fit, which the callers' sizes rule out.
    pub(super) fn push<T: Plain>(
        &mut self,
        used: usize,
        level: libc::c_int,
        kind: libc::c_int,
        value: T,
    ) -> usize {
        let end = used + space(size_of::<T>());
        let Some(place) = self.0.get_mut(used..end) else { return used };
        let mut header: libc::cmsghdr = zeroed();
        header.cmsg_len = (HEADER + size_of::<T>()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let _ = write_plain(place, header);
        let _ = write_plain(&mut place[HEADER..], value);
        end
    }
}

/// One control message: level, type, payload.
pub(super) type Message<'a> = (libc::c_int, libc::c_int, &'a [u8]);

/// Walks the messages in what the kernel filled; stops at the first that does not add up.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header: libc::cmsghdr = read_plain(bytes)?;
        let payload = bytes.get(HEADER..header.cmsg_len as usize)?;
        bytes = bytes.get(align(header.cmsg_len as usize)..).unwrap_or_default();
        Some((header.cmsg_level, header.cmsg_type, payload))
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
        assert_eq!(read, [(1, 2, &payload(7)[..]), (3, 4, &payload(8)[..])]);
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
