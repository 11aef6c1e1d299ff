//! Keeps the bans of all rooms over a restart, in a file of the data directory.
//!
//! The rules are in [`nucleus_core::ban_records`]. A thread writes the file, so that no room waits
//! for a disk. A file that cannot be read or written never stops the server.

mod file;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nucleus_core::ban_records::BanRecords;
use nucleus_core::ids::RoomKey;
use nucleus_core::limits;
use nucleus_core::room::Ban;
use tokio::sync::oneshot;

use crate::unix_time::unix_now;

/// The bans of all rooms, as the server keeps them over a restart. Dropping it ends its thread.
pub struct BanStore {
    shared: Arc<Shared>,
    /// Resolves when the thread has ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// What the rooms and the thread that writes the file share.
struct Shared {
    dir: PathBuf,
    pending: Mutex<Pending>,
    /// Notified when there is something to write, and at the end.
    wake: Condvar,
    failures: AtomicU64,
}

struct Pending {
    records: BanRecords,
    /// Whether the file lacks a change.
    unwritten: bool,
    closing: bool,
}

impl BanStore {
    /// Reads the bans that were kept in the data directory, and starts the thread that writes them.
    /// A file that cannot be read is set aside.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn open(dir: &Path) -> io::Result<Arc<Self>> {
        Self::open_with(dir, limits::BANS_SWEEP_INTERVAL)
    }

    fn open_with(dir: &Path, sweep_interval: Duration) -> io::Result<Arc<Self>> {
        let (records, unwritten) = file::read(dir, unix_now());
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            pending: Mutex::new(Pending { records, unwritten, closing: false }),
            wake: Condvar::new(),
            failures: AtomicU64::new(0),
        });
        let (writer, (end, ended)) = (shared.clone(), oneshot::channel());
        std::thread::Builder::new().name("bans".to_owned()).spawn(move || {
            writer.run(sweep_interval);
            // Fails if nobody waits for the end.
            let _ = end.send(());
        })?;
        Ok(Arc::new(Self { shared, ended: Mutex::new(Some(ended)) }))
    }

    /// Returns the bans that a new instance of a room begins with, oldest first.
    pub fn of(&self, room: &RoomKey) -> Vec<Ban> {
        self.shared.pending().records.of(unix_now(), room)
    }

    /// Records a ban.
    pub fn add(&self, room: &RoomKey, ban: &Ban) {
        let mut pending = self.shared.pending();
        pending.records.add(unix_now(), room, ban);
        self.shared.changed(pending);
    }

    /// Forgets the ban of a user who is let in again.
    pub fn remove(&self, room: &RoomKey, user: &str) {
        let mut pending = self.shared.pending();
        if pending.records.remove(room, user) {
            self.shared.changed(pending);
        }
    }

    /// Forgets the bans of a room that has ended.
    pub fn end(&self, room: &RoomKey) {
        let mut pending = self.shared.pending();
        if pending.records.end(room) {
            self.shared.changed(pending);
        }
    }

    /// Returns the number of recorded bans.
    pub fn count(&self) -> usize {
        self.shared.pending().records.len()
    }

    /// Returns how many times the file could not be written.
    pub fn write_failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Stops the writing of bans: waits until the thread has written all bans and ended, for at most
    /// [`limits::BANS_CLOSE_TIME`]. Later changes are not written.
    pub async fn close(&self) {
        self.shared.close();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ended) = ended else { return };
        if tokio::time::timeout(limits::BANS_CLOSE_TIME, ended).await.is_err() {
            let file = file::path(&self.shared.dir);
            tracing::warn!("the newest bans may not be in {}: the disk hangs", file.display());
        }
    }
}

impl Drop for BanStore {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the thread write a change.
    fn changed(&self, mut pending: MutexGuard<'_, Pending>) {
        pending.unwritten = true;
        drop(pending);
        self.wake.notify_one();
    }

    fn close(&self) {
        self.pending().closing = true;
        self.wake.notify_one();
    }

    /// Writes the file after each change. Changes during a write, and shortly after it, are written
    /// together. Returns when the store closes and nothing is left to write.
    fn run(&self, sweep_interval: Duration) {
        let mut failing = false;
        loop {
            let waits = |pending: &mut Pending| !pending.closing && (failing || !pending.unwritten);
            self.sleep(sweep_interval, waits);
            let (records, closing) = self.take_unwritten();
            if let Some(records) = records {
                // Without the lock, so that no room waits for the disk.
                failing = self.write(&records, failing).is_err();
                self.pending().unwritten |= failing;
                self.sleep(limits::BANS_WRITE_INTERVAL, |pending| !pending.closing);
            }
            if closing {
                return;
            }
        }
    }

    /// Forgets the bans that have ended. Returns what to write, `None` if the file lacks nothing,
    /// and whether the store closes.
    fn take_unwritten(&self) -> (Option<BanRecords>, bool) {
        let mut pending = self.pending();
        pending.unwritten |= pending.records.end_due(unix_now());
        let unwritten = std::mem::take(&mut pending.unwritten);
        (unwritten.then(|| pending.records.clone()), pending.closing)
    }

    /// Sleeps for a time, at most as long as `waits` returns true.
    fn sleep(&self, time: Duration, waits: impl FnMut(&mut Pending) -> bool) {
        // The result is the lock, which the caller takes anew.
        drop(self.wake.wait_timeout_while(self.pending(), time, waits));
    }

    /// Writes the file. Logs only the first of several failures in a row, and its end.
    fn write(&self, records: &BanRecords, failed_before: bool) -> io::Result<()> {
        let result = file::write(&self.dir, records);
        let file = file::path(&self.dir);
        match &result {
            Ok(()) if failed_before => tracing::info!("{} is written again", file.display()),
            Ok(()) => {}
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if !failed_before {
                    tracing::warn!(
                        "cannot write {}: {error}; bans hold until the server restarts, and the \
                         server tries again every {} seconds",
                        file.display(),
                        limits::BANS_SWEEP_INTERVAL.as_secs()
                    );
                }
            }
        }
        result
    }
}
