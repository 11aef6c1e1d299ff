//! The Linux implementation: batched system calls with libc's structures.

#![allow(
    clippy::unnecessary_cast,
    reason = "the kernel's lengths are usize with glibc, u32 with musl"
)]

mod cmsg;
mod process;
mod sockaddr;
mod socket;
mod steering;
mod waker;

pub use process::{
    pin_current_thread, probe_descriptors, process_cpu_seconds, process_rss_bytes,
    raise_file_limit, set_thread_nice, thread_cpu_micros,
};
pub(crate) use socket::BatchedSocket;
pub use socket::{disable_gro, probe_port_free};
pub use steering::attach_steering;
pub(crate) use waker::EventWaker;

use std::io;

/// Returns the result of a system call, or the error in `errno` if the result is negative.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A kernel structure that consists of numbers only.
///
/// # Safety
/// Every bit pattern is a value of the type, and it holds neither pointers nor references.
unsafe trait Plain: Copy {}

mod plain {
    use super::Plain;
    // SAFETY: an integer.
    unsafe impl Plain for libc::c_int {}
    // SAFETY: an integer.
    unsafe impl Plain for u16 {}
    // SAFETY: integers only.
    unsafe impl Plain for libc::cmsghdr {}
    // SAFETY: integers only.
    unsafe impl Plain for libc::in_pktinfo {}
    // SAFETY: integers only.
    unsafe impl Plain for libc::in6_pktinfo {}
    // SAFETY: integers only.
    unsafe impl Plain for libc::timespec {}
    // SAFETY: integers only.
    unsafe impl Plain for libc::sockaddr_in {}
    // SAFETY: integers only.
    unsafe impl Plain for libc::sockaddr_in6 {}
}

/// Reads a structure from the front of `bytes`. Returns `None` if `bytes` is too short.
fn read_plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: the slice has the size of a T, any bits are a T (`Plain`), and `read_unaligned` needs
    // no alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Writes a structure to the front of `bytes`. Returns `None` and writes nothing if `bytes` is too
/// short.
fn write_plain<T: Plain>(bytes: &mut [u8], value: T) -> Option<()> {
    let bytes = bytes.get_mut(..size_of::<T>())?;
    // SAFETY: the slice has the size of a T, and `write_unaligned` needs no alignment.
    unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
    Some(())
}

/// Returns an all-zero value of a kernel structure.
fn zeroed<T: Plain>() -> T {
    // SAFETY: every bit pattern is a value of the type (`Plain`).
    unsafe { std::mem::zeroed() }
}
