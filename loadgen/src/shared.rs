//! What the threads of a run share: the measured window, and counts for the progress line.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_net::Clock;

use crate::faults::FaultState;

/// µs that realtime messages are waited for behind the window.
pub(crate) const REALTIME_WAIT: u64 = 1_000_000;
/// µs that events are waited for.
pub(crate) const EVENT_WAIT: u64 = 10_000_000;

/// The measured window in µs on [`Clock`]'s scale: by *scheduled* times of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Window {
    /// Whether something scheduled then is measured.
    pub(crate) fn contains(&self, scheduled: u64) -> bool {
        (self.start..self.end).contains(&scheduled)
    }
}

/// Shared by reference between all threads. Single words, each a fact of its own: no order between
/// them is relied on.
#[derive(Debug)]
pub(crate) struct RunShared {
    pub(crate) clock: Clock,
    start: AtomicU64,
    end: AtomicU64,
    finished: AtomicBool,
    pub(crate) progress: RunProgress,
    pub(crate) faults: FaultState,
}

/// Counts since the start of the run, window or not.
#[derive(Debug, Default)]
pub(crate) struct RunProgress {
    pub(crate) joined: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Peers whose place was lost.
    pub(crate) lost_sessions: AtomicU64,
    /// Headsets without a session that have not given up.
    pub(crate) absent: AtomicU64,
    /// Session datagrams that a realtime thread had no room for.
    pub(crate) overflow: AtomicU64,
    /// Peers that came back as themselves.
    pub(crate) resumed: AtomicU64,
    /// Headsets that came back as somebody else.
    pub(crate) rejoined: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) events_delivered: AtomicU64,
}

impl RunShared {
    /// `blocked`: the realtime port is, from the beginning.
    pub(crate) fn new(blocked: bool) -> Self {
        RunShared {
            clock: Clock::new(),
            start: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(u64::MAX),
            finished: AtomicBool::new(false),
            progress: RunProgress::default(),
            faults: FaultState::new(blocked),
        }
    }

    /// The window, all in the future until it is opened.
    pub(crate) fn window(&self) -> Window {
        Window { start: self.start.load(Relaxed), end: self.end.load(Relaxed) }
    }

    /// Sets the window, ahead of its start.
    pub(crate) fn open_window(&self, window: Window) {
        self.end.store(window.end, Relaxed);
        self.start.store(window.start, Relaxed);
    }

    /// Ends the window (and all sending) now.
    pub(crate) fn cut_window(&self) {
        self.end.fetch_min(self.clock.now(), Relaxed);
    }

    /// Whether the realtime threads shall stop.
    pub(crate) fn finished(&self) -> bool {
        self.finished.load(Relaxed)
    }

    /// Tells them to.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Relaxed);
    }
}

/// Locks, whatever happened to a thread that held the lock before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
