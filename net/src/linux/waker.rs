//! Wakes a thread that waits for its socket.

use super::checked;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::Arc,
};

/// Ends another thread's wait in [`UdpSocket::wait_readable`](crate::UdpSocket::wait_readable). All
/// clones wake the same thread.
#[derive(Clone, Debug)]
pub(crate) struct EventWaker(Arc<File>);

impl EventWaker {
    /// Creates a waker, an `eventfd`.
    ///
    /// # Errors
    /// The kernel's error if no file descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor is new and open, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventWaker(Arc::new(File::from(fd))))
    }

    /// Ends the current wait, or the next one if no wait is in progress. Several calls before
    /// [`drain`](Self::drain) count as one.
    pub(crate) fn wake(&self) {
        // Fails only with EAGAIN, when 2^64 - 2 wakes are pending, and then the thread is awake.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }

    /// Clears all wakes so far. Until then every wait returns at once. Drain before you read the
    /// mailbox, so that no wake is lost.
    pub(crate) fn drain(&self) {
        // EAGAIN means that no wake is pending.
        let _ = (&*self.0).read(&mut [0; 8]);
    }
}

impl AsFd for EventWaker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
