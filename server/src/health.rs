//! Watches the threads of the server: a thread that has work and does none hangs.
//!
//! Shards go on even if they have nothing to do. The threads of tokio are seen to work or to wait, and each
//! runtime is also given a small task at each look, which it must have done by the next one. The control
//! plane's thread watches the others and answers probes itself: if it hangs, a probe gets no answer.
//!
//! The watch counts its own looks, not time. So a machine that was paused as a whole, watch
//! included, is not mistaken for one that hangs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nucleus_core::limits::{HEALTH_DEATHS, HEALTH_INTERVAL, HEALTH_STALLS};
use tokio::runtime::Handle;

use crate::shard::ShardHandle;

/// Reads how far a thread has come. The number changes with the thread's work; `None`: the thread
/// waits for work.
type ReadProgress = Box<dyn Fn() -> Option<u64> + Send>;

/// Reads whether bans and licences are known.
type ReadKnowledge = Box<dyn Fn() -> bool + Send + Sync>;

/// The health of the server, as HTTP tells it.
pub struct Health {
    /// Whether the server accepts sessions.
    accepting: AtomicBool,
    threads: Mutex<Vec<WatchedThread>>,
    /// Whether bans and licences are known.
    is_informed: OnceLock<ReadKnowledge>,
    /// Tasks of the control plane that have ended. There are a handful, and none is started again.
    ended: Mutex<Vec<&'static str>>,
}

struct WatchedThread {
    name: String,
    progress: ReadProgress,
    /// Number of looks in a row without progress after which the server is not ready.
    patience: u32,
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
    /// Watches the shards, and the threads of the runtimes of sessions and of handshakes.
    pub fn new(
        sessions: &Handle,
        handshakes: Option<&Handle>,
        shards: &[Arc<ShardHandle>],
    ) -> Arc<Self> {
        let shards = shards.iter().enumerate().map(|(index, shard)| {
            let shard = shard.clone();
            WatchedThread::new(format!("shard {index}"), HEALTH_STALLS, move || Some(shard.turns()))
        });
        let sessions = runtime_threads("session", sessions, HEALTH_STALLS);
        // Their low priority makes them slow on a busy machine.
        let handshakes =
            handshakes.map(|threads| runtime_threads("handshake", threads, HEALTH_DEATHS));
        Self::of(shards.chain(sessions).chain(handshakes.into_iter().flatten()).collect())
    }

    fn of(threads: Vec<WatchedThread>) -> Arc<Self> {
        Arc::new(Self {
            accepting: AtomicBool::new(false),
            threads: Mutex::new(threads),
            is_informed: OnceLock::new(),
            ended: Mutex::default(),
        })
    }

    /// Notes whether the server accepts sessions.
    pub fn set_accepting(&self, accepting: bool) {
        self.accepting.store(accepting, Ordering::Release);
    }

    /// Asks from now on whether bans and licences are known. The server is not ready before.
    pub(crate) fn watch_knowledge(&self, is_informed: impl Fn() -> bool + Send + Sync + 'static) {
        // There is one control plane, and it is started once.
        let _set = self.is_informed.set(Box::new(is_informed));
    }

    /// Notes that a task of the control plane has ended, which never should. The server is not ready until
    /// somebody starts it again.
    pub(crate) fn note_end(&self, task: &'static str) {
        self.ended().push(task);
    }

    /// Returns the number of tasks of the control plane that have ended.
    pub(crate) fn task_ends(&self) -> u64 {
        self.ended().len() as u64
    }

    fn ended(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
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
        let ended = self.ended().clone();
        if !ended.is_empty() {
            return Some(format!("{} has ended: start the server again", ended.join(", ")));
        }
        if self.is_informed.get().is_some_and(|is_informed| !is_informed()) {
            let why =
                "bans and licences are not known: the database has not answered since the start";
            return Some(why.to_owned());
        }
        self.hanging(|thread| thread.patience)
    }

    /// Returns why the server should be started again; `None` if it lives.
    pub(crate) fn dead(&self) -> Option<String> {
        self.hanging(|_| HEALTH_DEATHS)
    }

    fn hanging(&self, looks: impl Fn(&WatchedThread) -> u32) -> Option<String> {
        let threads = self.threads();
        let hanging = threads.iter().filter(|thread| thread.stall.looks >= looks(thread));
        let hanging: Vec<_> = hanging.map(|thread| thread.name.as_str()).collect();
        (!hanging.is_empty()).then(|| format!("{} hangs", hanging.join(", ")))
    }

    fn threads(&self) -> MutexGuard<'_, Vec<WatchedThread>> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchedThread {
    fn new(
        name: String,
        patience: u32,
        progress: impl Fn() -> Option<u64> + Send + 'static,
    ) -> Self {
        Self { name, progress: Box::new(progress), patience, stall: Stall::default() }
    }
}

/// Returns the threads of a runtime, and the runtime as a whole.
fn runtime_threads(
    name: &str,
    runtime: &Handle,
    patience: u32,
) -> impl Iterator<Item = WatchedThread> {
    let workers: Vec<_> = (0..runtime.metrics().num_workers())
        .map(|index| {
            let runtime = runtime.clone();
            WatchedThread::new(format!("{name} thread {index}"), patience, move || {
                worker_progress(&runtime, index)
            })
        })
        .collect();
    let probe =
        RuntimeProbe { runtime: runtime.clone(), asked: AtomicU64::new(0), done: Arc::default() };
    let whole =
        WatchedThread::new(format!("the runtime of {name}s"), patience, move || probe.progress());
    workers.into_iter().chain([whole])
}

/// Gives a runtime one small task after another.
struct RuntimeProbe {
    runtime: Handle,
    /// Tasks that the runtime was given.
    asked: AtomicU64,
    /// Tasks that the runtime has done.
    done: Arc<AtomicU64>,
}

impl RuntimeProbe {
    /// Returns how many tasks the runtime has done; `None`: all, and it is given the next one.
    fn progress(&self) -> Option<u64> {
        let done = self.done.load(Ordering::Relaxed);
        if done < self.asked.load(Ordering::Relaxed) {
            return Some(done);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let counter = self.done.clone();
        drop(self.runtime.spawn(async move { counter.fetch_add(1, Ordering::Relaxed) }));
        None
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
    use std::time::{Duration, Instant};

    use super::*;

    /// A thread whose progress the test sets; 0 stands for a thread without work.
    fn health() -> (Arc<Health>, Arc<AtomicU64>) {
        let progress = Arc::new(AtomicU64::new(0));
        let source = progress.clone();
        let read = move || Some(source.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let health =
            Health::of(vec![WatchedThread::new("shard 0".to_owned(), HEALTH_STALLS, read)]);
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

    #[test]
    fn a_server_that_knows_no_bans_is_not_ready() {
        let (health, _) = health();
        let informed = Arc::new(AtomicBool::new(false));
        let source = informed.clone();
        health.watch_knowledge(move || source.load(Ordering::Relaxed));
        assert!(health.not_ready().unwrap().contains("bans") && health.dead().is_none());
        informed.store(true, Ordering::Relaxed);
        assert_eq!(health.not_ready(), None);
    }

    /// One of two workers is stuck in a call, as in a write to a pipe that nobody reads.
    #[test]
    fn a_stuck_worker_is_seen_and_a_busy_or_idle_one_is_well() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let health = Health::new(runtime.handle(), None, &[]);
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

    /// The only worker of one runtime is stuck. A runtime of low priority gets more time.
    #[test]
    fn a_runtime_that_does_no_task_hangs() {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        let (sessions, handshakes) = (runtime().unwrap(), runtime().unwrap());
        let health = Health::new(sessions.handle(), Some(handshakes.handle()), &[]);
        health.set_accepting(true);
        let look = |times| {
            for _ in 0..times {
                std::thread::sleep(Duration::from_millis(20));
                health.look();
            }
        };
        let (release, wait) = std::sync::mpsc::channel::<()>();
        sessions.spawn(async move { wait.recv() });
        look(HEALTH_STALLS + 2);
        let why = health.not_ready().expect("it is stuck");
        assert!(why.contains("the runtime of sessions"), "{why}");
        drop(release);
        look(2);
        assert_eq!(health.not_ready(), None, "it goes on");
        let (release, wait) = std::sync::mpsc::channel::<()>();
        handshakes.spawn(async move { wait.recv() });
        look(HEALTH_STALLS + 2);
        assert_eq!(health.not_ready(), None, "it may be slow");
        look(HEALTH_DEATHS);
        let why = health.dead().expect("it is stuck");
        assert!(why.contains("the runtime of handshakes"), "{why}");
        assert_eq!(health.not_ready(), Some(why));
        drop(release);
    }
}
