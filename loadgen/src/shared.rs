//! The state that the threads of a run share: the clock, the measured window, counters and faults.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_net::Clock;

use crate::faults::FaultState;

/// How long the run waits for realtime messages after the window, µs.
pub(crate) const REALTIME_WAIT: u64 = 1_000_000;
/// How long the run waits for events after the window, µs.
pub(crate) const EVENT_WAIT: u64 = 10_000_000;

/// The measured window, µs of [`Clock`]. Messages count by the time at which they were *scheduled*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Window {
    /// Returns whether a message with this scheduled time is measured.
    pub(crate) fn contains(&self, scheduled: u64) -> bool {
        (self.start..self.end).contains(&scheduled)
    }
}

/// The state shared by all threads. Each atomic stands alone: no code relies on the order of writes
/// to two of them.
#[derive(Debug)]
pub(crate) struct RunShared {
    pub(crate) clock: Clock,
    start: AtomicU64,
    end: AtomicU64,
    finished: AtomicBool,
    pub(crate) progress: RunProgress,
    pub(crate) faults: FaultState,
}

/// Counts since the start of the run, inside and outside the window.
#[derive(Debug, Default)]
pub(crate) struct RunProgress {
    /// Headsets whose first join succeeded.
    pub(crate) joined: AtomicU64,
    /// Headsets whose first join failed.
    pub(crate) failed: AtomicU64,
    /// Sessions that were lost and not resumed.
    pub(crate) lost_sessions: AtomicU64,
    /// Headsets among those that joined that have lost their session and no longer try to get one.
    pub(crate) gone: AtomicU64,
    /// Headsets without a session that still try to get one.
    pub(crate) absent: AtomicU64,
    /// Session datagrams that were dropped because a realtime thread's queue was full.
    pub(crate) overflow: AtomicU64,
    /// Sessions that were resumed as the same peer.
    pub(crate) resumed: AtomicU64,
    /// Headsets that joined again as a new peer.
    pub(crate) rejoined: AtomicU64,
    /// Sessions that were asked at the end of the run whether the server still answers.
    pub(crate) asked: AtomicU64,
    /// The sessions among them in which the server answered in time.
    pub(crate) answered: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) delivered: AtomicU64,
}

impl RunProgress {
    /// Returns how many sessions were lost and not resumed so far. A headset without a session has
    /// lost it. If the server has ended, every headset has lost its session, although most do not
    /// know yet.
    pub(crate) fn lost_sessions(&self, server_has_ended: bool) -> u64 {
        let absent = self.absent.load(Relaxed);
        let gone = self.gone.load(Relaxed);
        let present = self.joined.load(Relaxed).saturating_sub(absent + gone);
        let with_server = if server_has_ended { present } else { 0 };
        self.lost_sessions.load(Relaxed) + absent + with_server
    }
}

impl RunShared {
    /// Creates the state of a run. `realtime_blocked` says whether the realtime port is blocked
    /// from the start.
    pub(crate) fn new(realtime_blocked: bool) -> Self {
        RunShared {
            clock: Clock::new(),
            start: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(u64::MAX),
            finished: AtomicBool::new(false),
            progress: RunProgress::default(),
            faults: FaultState::new(realtime_blocked),
        }
    }

    /// Returns the window. Before [`open_window`](Self::open_window) sets it, the window lies in
    /// the far future.
    pub(crate) fn window(&self) -> Window {
        Window { start: self.start.load(Relaxed), end: self.end.load(Relaxed) }
    }

    /// Sets the window. Call this before the window starts.
    pub(crate) fn open_window(&self, window: Window) {
        self.end.store(window.end, Relaxed);
        self.start.store(window.start, Relaxed);
    }

    /// Ends the window, and with it all sending, now.
    pub(crate) fn cut_window(&self) {
        self.end.fetch_min(self.clock.now(), Relaxed);
    }

    /// Returns whether the realtime threads must stop.
    pub(crate) fn finished(&self) -> bool {
        self.finished.load(Relaxed)
    }

    /// Tells the realtime threads to stop.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Relaxed);
    }
}

/// Locks a mutex, even if a thread panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_the_server_every_session_is_lost_once() {
        let progress = RunProgress::default();
        let set = |counter: &AtomicU64, count| counter.store(count, Relaxed);
        set(&progress.joined, 100);
        assert_eq!((progress.lost_sessions(false), progress.lost_sessions(true)), (0, 100));
        // Three have lost their sessions: one for good, one joined again as a new peer, and one
        // still tries.
        set(&progress.lost_sessions, 2);
        set(&progress.gone, 1);
        set(&progress.rejoined, 1);
        set(&progress.absent, 1);
        assert_eq!((progress.lost_sessions(false), progress.lost_sessions(true)), (3, 101));
    }
}
