//! What alarms and the dashboard learn of the program around the control plane.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use nucleus_control::alarms::{CertificateFacts, CertificateKind, ServerSurroundings};
use nucleus_control::history::HistoryFigures;

use super::config::Config;
use super::tls::ServedCertificate;
use crate::health::Health;

/// Reads the state of the process.
pub(super) struct ProcessWatch {
    health: Arc<Health>,
    served: Arc<ServedCertificate>,
    kind: CertificateKind,
    is_production: bool,
    is_reloaded: Arc<AtomicBool>,
    history: HistoryFigures,
    disk: FreeDisk,
}

impl ProcessWatch {
    /// Makes the watch of a server with this configuration, whose data directory is `dir`.
    pub(super) fn new(
        config: &Config,
        dir: &Path,
        health: Arc<Health>,
        served: Arc<ServedCertificate>,
        is_reloaded: Arc<AtomicBool>,
        history: HistoryFigures,
    ) -> Self {
        let kind = match (&config.tls, &config.acme) {
            (Some(_), _) => CertificateKind::Files,
            (None, Some(_)) => CertificateKind::Acme,
            (None, None) => CertificateKind::Own,
        };
        let is_production = config.tokens.is_some();
        let disk = FreeDisk::new(dir);
        Self { health, served, kind, is_production, is_reloaded, history, disk }
    }
}

impl ServerSurroundings for ProcessWatch {
    fn not_ready(&self) -> Option<String> {
        self.health.not_ready()
    }

    fn certificate(&self) -> Option<CertificateFacts> {
        let validity = self.served.validity()?;
        Some(CertificateFacts { kind: self.kind, validity })
    }

    fn is_production(&self) -> bool {
        self.is_production
    }

    fn is_reloaded(&self) -> bool {
        self.is_reloaded.load(Ordering::Relaxed)
    }

    fn history_waiting(&self) -> u64 {
        self.history.spool_rows()
    }

    fn free_disk(&self) -> Option<u64> {
        self.disk.newest()
    }
}

/// The free space of a disk. A disk of the network may hang, so a thread of its own asks it, one at a
/// time, and readers get the answer to the question before.
struct FreeDisk {
    dir: PathBuf,
    asked: Arc<DiskAnswer>,
}

/// How long an answer counts. A disk is asked each 10 s; one that hangs or fails for longer has no known free space.
const KNOWN_TIME: Duration = Duration::from_secs(60);

#[derive(Default)]
struct DiskAnswer {
    is_asking: AtomicBool,
    /// The newest answer, and when it was given.
    newest: Mutex<Option<(Instant, u64)>>,
}

impl DiskAnswer {
    fn note(&self, bytes: u64, now: Instant) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, bytes));
    }

    /// Returns the newest answer if it is not too old.
    fn known(&self, now: Instant) -> Option<u64> {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, bytes) = newest?;
        (now.saturating_duration_since(at) <= KNOWN_TIME).then_some(bytes)
    }
}

impl FreeDisk {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), asked: Arc::default() }
    }

    /// Returns the newest answer, and asks again; `None`: there is no answer yet, or none for [`KNOWN_TIME`].
    fn newest(&self) -> Option<u64> {
        if !self.asked.is_asking.swap(true, Ordering::AcqRel) {
            let (dir, answer) = (self.dir.clone(), self.asked.clone());
            let ask = move || {
                if let Some(bytes) = free_bytes(&dir) {
                    answer.note(bytes, Instant::now());
                }
                answer.is_asking.store(false, Ordering::Release);
            };
            // Nobody joins the thread, so a disk that hangs holds up neither the server nor its stop.
            let thread = Builder::new().name("free disk".to_owned()).spawn(ask);
            if thread.is_err() {
                self.asked.is_asking.store(false, Ordering::Release);
            }
        }
        self.asked.known(Instant::now())
    }
}

/// Returns the bytes that programs without privileges may still write.
#[cfg(unix)]
fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The system is not asked here.
#[cfg(not(unix))]
fn free_bytes(_dir: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_a_minute() {
        let (answer, now) = (DiskAnswer::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(answer.known(now), None);
        answer.note(7, now);
        assert_eq!((answer.known(now), answer.known(later(60))), (Some(7), Some(7)));
        assert_eq!(answer.known(later(61)), None, "the disk hangs or fails");
        answer.note(8, later(70));
        assert_eq!(answer.known(later(71)), Some(8));
    }

    #[cfg(unix)]
    #[test]
    fn the_free_space_is_known_after_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FreeDisk::new(dir.path());
        let mut known = disk.newest();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(20));
            known = known.or(disk.newest());
        }
        assert!(known.is_some_and(|bytes| bytes > 0), "{known:?}");
        let none = FreeDisk::new(&dir.path().join("no such directory"));
        none.newest();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(none.newest(), None);
    }
}
