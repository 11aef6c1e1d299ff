//! Waking a thread that waits for its socket.

use super::checked;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::Arc,
};

/// Wakes a thread out of [`UdpSocket::wait_readable`](crate::UdpSocket::wait_readable). Clones wake
/// the same thread, from any other.
#[derive(Clone, Debug)]
pub struct Waker(Arc<File>);

impl Waker {
    /// A waker (an `eventfd`).
    ///
    /// # Errors
    /// The kernel's, when the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor is new, open, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Waker(Arc::new(File::from(fd))))
    }

    /// Ends the current wait, or the next one when none is under way. Several before a
    /// [`drain`](Self::drain) count as one.
    pub fn wake(&self) {
        // It can fail only with EAGAIN, when 2^64 - 2 wakes are pending: it is awake then.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }

    /// Takes back the wakes so far; until then every wait returns at once. Drain first, look at your
    /// mailbox after, so that a wake in between is not lost.
    pub fn drain(&self) {
        // EAGAIN: nobody has woken it.
        let _ = (&*self.0).read(&mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
