//! Watches the threads of the server: a thread that has work and does none hangs.
//!
//! The watch counts its own looks, not time. So a machine that was paused as a whole, watch
//! included, is not mistaken for one that hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_core::limits::{HEALTH_DEATHS, HEALTH_INTERVAL, HEALTH_STALLS};
use tokio::runtime::Handle;

use crate::shard::ShardHandle;

/// Reads how far a thread has come. The number changes with the thread's work; `None`: the thread
/// waits for work.
type ReadProgress = Box<dyn Fn() -> Option<u64> + Send>;

/// The health of the server, as HTTP tells it.
pub struct Health {
    /// Whether the server accepts sessions.
    accepting: AtomicBool,
    threads: Mutex<Vec<WatchedThread>>,
}

struct WatchedThread {
    name: String,
    progress: ReadProgress,
    stall: Stall,
}

/// Counts the looks in a row at which a thread had work and had done none of it.
#[derive(Default)]
struct Stall {
    last: Option<u64>,
    looks: u32,
}

impl Stall {
    /// Takes what the thread shows now.
    fn look(&mut self, progress: Option<u64>) {
        let stands_still = progress.is_some() && progress == self.last;
        self.looks = if stands_still { self.looks.saturating_add(1) } else { 0 };
        self.last = progress;
    }
}

impl Health {
    /// Watches the shards, and the threads of the runtime of sessions.
    pub fn new(sessions: &Handle, shards: &[Arc<ShardHandle>]) -> Arc<Self> {
        let shards = shards.iter().enumerate().map(|(index, shard)| {
            let shard = shard.clone();
            (format!("shard {index}"), Box::new(move || Some(shard.turns())) as ReadProgress)
        });
        let workers = (0..sessions.metrics().num_workers()).map(|index| {
            let sessions = sessions.clone();
            (
                format!("session thread {index}"),
                Box::new(move || worker_progress(&sessions, index)) as ReadProgress,
            )
        });
        Self::of(shards.chain(workers))
    }

    fn of(threads: impl Iterator<Item = (String, ReadProgress)>) -> Arc<Self> {
        let watched = |(name, progress)| WatchedThread { name, progress, stall: Stall::default() };
        let threads = Mutex::new(threads.map(watched).collect());
        Arc::new(Self { accepting: AtomicBool::new(false), threads })
    }

    /// Notes whether the server accepts sessions.
    pub fn set_accepting(&self, accepting: bool) {
        self.accepting.store(accepting, Ordering::Release);
    }

    /// Looks at the threads again and again. Never returns.
    pub(crate) async fn watch(&self) {
        loop {
            tokio::time::sleep(HEALTH_INTERVAL).await;
            self.look();
        }
    }

    fn look(&self) {
        for WatchedThread { progress, stall, .. } in self.threads().iter_mut() {
            stall.look(progress());
        }
    }

    /// Returns why the server is not ready for sessions; `None` if it is.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if !self.accepting.load(Ordering::Acquire) {
            return Some("it starts or stops".to_owned());
        }
        self.hanging(HEALTH_STALLS)
    }

    /// Returns why the server should be started again; `None` if it lives.
    pub(crate) fn dead(&self) -> Option<String> {
        self.hanging(HEALTH_DEATHS)
    }

    fn hanging(&self, looks: u32) -> Option<String> {
        let threads = self.threads();
        let hanging: Vec<_> =
            threads.iter().filter(|t| t.stall.looks >= looks).map(|t| t.name.as_str()).collect();
        (!hanging.is_empty()).then(|| format!("{} hangs", hanging.join(", ")))
    }

    fn threads(&self) -> MutexGuard<'_, Vec<WatchedThread>> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the busy time of a worker of a runtime, which grows while it works; `None` while the
/// worker is parked. tokio adds to the busy time after some tasks, and before it parks.
#[cfg(target_has_atomic = "64")]
fn worker_progress(runtime: &Handle, worker: usize) -> Option<u64> {
    let metrics = runtime.metrics();
    let parks = metrics.worker_park_unpark_count(worker);
    let is_parked = parks % 2 == 1;
    let busy = metrics.worker_total_busy_duration(worker).as_nanos() as u64;
    (!is_parked).then(|| busy.wrapping_add(parks))
}

/// tokio counts nothing here.
#[cfg(not(target_has_atomic = "64"))]
fn worker_progress(_runtime: &Handle, _worker: usize) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};

    use super::*;

    /// A thread whose progress the test sets; 0 stands for a thread without work.
    fn health() -> (Arc<Health>, Arc<AtomicU64>) {
        let progress = Arc::new(AtomicU64::new(0));
        let source = progress.clone();
        let read: ReadProgress =
            Box::new(move || Some(source.load(Ordering::Relaxed)).filter(|at| *at > 0));
        let health = Health::of([("shard 0".to_owned(), read)].into_iter());
        health.set_accepting(true);
        (health, progress)
    }

    #[test]
    fn a_thread_hangs_that_has_work_and_does_none() {
        let (health, progress) = health();
        let look = |times: u32| (0..times).for_each(|_| health.look());
        look(HEALTH_DEATHS * 2);
        assert_eq!(health.not_ready(), None, "it has no work");
        progress.store(1, Ordering::Relaxed);
        look(HEALTH_STALLS);
        assert_eq!(health.not_ready(), None, "not long enough");
        look(1);
        assert_eq!(health.not_ready().as_deref(), Some("shard 0 hangs"));
        assert_eq!(health.dead(), None);
        look(HEALTH_DEATHS);
        assert_eq!(health.dead().as_deref(), Some("shard 0 hangs"));
        progress.store(2, Ordering::Relaxed);
        look(1);
        assert_eq!((health.not_ready(), health.dead()), (None, None));
    }

    #[test]
    fn a_server_that_accepts_nobody_is_not_ready() {
        let (health, _) = health();
        health.set_accepting(false);
        assert!(health.not_ready().is_some() && health.dead().is_none());
    }

    /// One of two workers is stuck in a call, as in a write to a pipe that nobody reads.
    #[test]
    fn a_stuck_worker_is_seen_and_a_busy_or_idle_one_is_well() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let health = Health::new(runtime.handle(), &[]);
        health.set_accepting(true);
        let look = || {
            for _ in 0..=HEALTH_STALLS {
                std::thread::sleep(Duration::from_millis(50));
                health.look();
            }
            health.not_ready()
        };
        assert_eq!(look(), None, "idle");
        let (busy_until, stuck) =
            (Instant::now() + Duration::from_secs(1), std::sync::mpsc::channel::<()>());
        runtime.spawn(async move {
            while Instant::now() < busy_until {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(look(), None, "busy");
        let (release, wait) = stuck;
        runtime.spawn(async move { wait.recv() });
        std::thread::sleep(Duration::from_secs(1));
        let why = look().expect("one is stuck");
        assert!(why.starts_with("session thread ") && why.ends_with(" hangs"), "{why}");
        drop(release);
        assert_eq!(look(), None, "it goes on");
    }
}
