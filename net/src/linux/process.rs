//! Threads and processes: CPU affinity, priority, limits and resource usage.

use super::checked;
use std::{fs, io};

/// Pins the calling thread to the core numbered `core`, counted from 0.
///
/// # Errors
/// `InvalidInput` if the machine does not have this core, or this process may not use it.
pub fn pin_current_thread(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    // SAFETY: an all-zero set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` is below CPU_SETSIZE, so the bit lies within the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` outlives the call and its size is correct; 0 is the calling thread.
    checked(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })?;
    Ok(())
}

/// Sets the calling thread's nice value, from -20 (highest priority) to 19 (lowest). The kernel
/// clamps values outside this range. Raising the value needs no privilege.
///
/// # Errors
/// `PermissionDenied` when lowering the value without `CAP_SYS_NICE`.
pub fn set_thread_nice(nice: i32) -> io::Result<()> {
    // SAFETY: no pointers; on Linux 0 is the calling thread, not its process.
    checked(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })?;
    Ok(())
}

/// Returns the CPU time that the calling thread has used, user and system, in µs; 0 if the system
/// does not report it.
pub fn thread_cpu_micros() -> u64 {
    // SAFETY: all-zero is a value of this plain struct of integers.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` is a local variable, which the call may write. If the call fails, `time` stays
    // zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Raises the soft limit of open files to the hard limit, and returns it.
///
/// # Errors
/// The kernel's error; none is known for this operation.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a local variable, which the call may write.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` outlives the call.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    }
    #[allow(clippy::useless_conversion, reason = "rlim_t is 32 bits on some targets")]
    Ok(limit.rlim_cur.into())
}

/// Checks that this process can open `count` more files, by opening them.
///
/// # Errors
/// The kernel's error if the process, or the machine, is out of file descriptors.
pub fn probe_descriptors(count: usize) -> io::Result<()> {
    let opened: io::Result<Vec<fs::File>> =
        (0..count).map(|_| fs::File::open("/dev/null")).collect();
    match opened {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            Err(error)
        }
        // Without /dev/null nothing is known.
        _ => Ok(()),
    }
}

/// Returns the CPU time that a process has used, in seconds with a resolution of nanoseconds: user
/// and system, all threads, ended ones included. `None` is this process.
///
/// # Errors
/// `NotFound` if the process does not exist.
pub fn process_cpu_seconds(pid: Option<u32>) -> io::Result<f64> {
    let mut time: libc::timespec = super::zeroed();
    let clock = cpu_clock(pid)?;
    // SAFETY: `time` is a local variable, which the call may write.
    let read = checked(unsafe { libc::clock_gettime(clock, &mut time) });
    // The process may have ended since, and its clock with it.
    read.map_err(|_| io::ErrorKind::NotFound)?;
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

/// Largest process id of the kernel (`PID_MAX_LIMIT`). A clock id has too few bits for larger
/// numbers, which would denote another process's clock.
const MAX_PID: u32 = 1 << 22;

/// Returns the id of the clock that counts a process's CPU time.
fn cpu_clock(pid: Option<u32>) -> io::Result<libc::clockid_t> {
    let pid = match pid {
        None => 0,
        Some(pid) if pid > 0 && pid <= MAX_PID => pid as libc::pid_t,
        Some(_) => return Err(io::ErrorKind::NotFound.into()),
    };
    let mut clock = 0;
    // SAFETY: `clock` is a local variable, which the call may write.
    match unsafe { libc::clock_getcpuclockid(pid, &mut clock) } {
        0 => Ok(clock),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Returns the resident memory of a process, in bytes. `None` is this process.
///
/// # Errors
/// `NotFound` if the process does not exist, `InvalidData` if `/proc` has an unknown format.
pub fn process_rss_bytes(pid: Option<u32>) -> io::Result<u64> {
    let statm = fs::read_to_string(proc_path(pid, "statm"))?;
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages.saturating_mul(configured(libc::_SC_PAGESIZE)?))
}

fn proc_path(pid: Option<u32>, file: &str) -> String {
    match pid {
        Some(pid) => format!("/proc/{pid}/{file}"),
        None => format!("/proc/self/{file}"),
    }
}

fn configured(name: libc::c_int) -> io::Result<u64> {
    // SAFETY: no pointers are passed.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).ok().filter(|&value| value > 0).ok_or(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Instant};

    #[test]
    fn counts_cpu_and_memory() {
        let (before, start) = (process_cpu_seconds(None).unwrap(), Instant::now());
        while start.elapsed().as_millis() < 300 {
            std::hint::black_box(start.elapsed());
        }
        let used = process_cpu_seconds(Some(std::process::id())).unwrap() - before;
        assert!(used > 0.03 && used < 30.0, "{used} s");
        for nobody in [0, MAX_PID, i32::MAX as u32, u32::MAX] {
            let error = process_cpu_seconds(Some(nobody)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{nobody}");
        }

        let before = process_rss_bytes(None).unwrap();
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        let grown = process_rss_bytes(None).unwrap().saturating_sub(before);
        assert!(grown > 48 << 20, "{grown} bytes for {}", held.len());
        assert!(process_rss_bytes(Some(u32::MAX)).is_err());
    }

    #[test]
    fn thread_set_up() {
        assert!(raise_file_limit().unwrap() >= 256);
        assert!(probe_descriptors(100).is_ok());
        thread::spawn(|| {
            // SAFETY: no pointers are passed.
            let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
            let before = nice();
            set_thread_nice(7.max(before)).unwrap();
            assert_eq!(nice(), 7.max(before));

            // SAFETY: no pointers are passed.
            let core = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
            pin_current_thread(core).unwrap();
            assert!(pin_current_thread(1023).is_err());
            assert!(pin_current_thread(usize::MAX).is_err());
        })
        .join()
        .unwrap();
    }
}
