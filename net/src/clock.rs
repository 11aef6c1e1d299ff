//! The clock of the realtime threads.

/// A monotonic clock in microseconds since an arbitrary origin.
///
/// On Linux it is `CLOCK_MONOTONIC`, which all threads and processes of a machine share. On other
/// systems its origin is the process's first reading. The type is empty and free to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(());

impl Clock {
    /// Creates a clock. All clocks of a process show the same time.
    pub fn new() -> Self {
        Clock(())
    }

    /// Returns the current time in µs. It never decreases.
    pub fn now(&self) -> u64 {
        system::now()
    }
}

/// Sleeps until [`Clock::now`] reaches `micros` (µs), or returns at once if that time has passed.
/// Linux wakes the thread about 50 µs late (the timer slack of an ordinary thread); other systems
/// have a granularity of their own.
pub fn sleep_until(micros: u64) {
    system::sleep_until(micros);
}

#[cfg(target_os = "linux")]
pub(crate) use system::stamp_offset;

#[cfg(target_os = "linux")]
mod system {
    fn read(clock: libc::clockid_t) -> i128 {
        // SAFETY: all-zero is a value of this plain struct of integers.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: `time` is a local variable, which the call may write. The two clocks used here
        // always exist, so the call cannot fail; if it did, `time` would stay zero.
        unsafe { libc::clock_gettime(clock, &mut time) };
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    }

    pub(super) fn now() -> u64 {
        micros(read(libc::CLOCK_MONOTONIC))
    }

    /// Returns the nanoseconds to subtract from a `CLOCK_REALTIME` time stamp to get a monotonic
    /// one.
    pub(crate) fn stamp_offset() -> i128 {
        read(libc::CLOCK_REALTIME) - read(libc::CLOCK_MONOTONIC)
    }

    fn micros(nanos: i128) -> u64 {
        u64::try_from(nanos / 1000).unwrap_or(0)
    }

    pub(super) fn sleep_until(micros: u64) {
        // SAFETY: all-zero is a value of this plain struct of integers.
        let mut until: libc::timespec = unsafe { std::mem::zeroed() };
        until.tv_sec = (micros / 1_000_000) as _;
        until.tv_nsec = ((micros % 1_000_000) * 1000) as _;
        // SAFETY: `until` outlives the call; with TIMER_ABSTIME no remainder is written.
        let sleep = || unsafe {
            let none = std::ptr::null_mut();
            libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &until, none)
        };
        while sleep() == libc::EINTR {}
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::{
        sync::OnceLock,
        time::{Duration, Instant},
    };

    pub(super) fn now() -> u64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn sleep_until(micros: u64) {
        while let Some(left) = micros.checked_sub(now()).filter(|&left| left > 0) {
            std::thread::sleep(Duration::from_micros(left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_to_the_microsecond_asked_and_never_back() {
        let clock = Clock::new();
        let until = clock.now() + 5_000;
        sleep_until(until);
        let late = clock.now().checked_sub(until).expect("woke early");
        assert!(late < 200_000, "{late} µs late");
        sleep_until(0);
    }
}
