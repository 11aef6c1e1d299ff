//! Hashes passwords, one at a time, on a thread of low priority: strangers who try passwords take time from
//! nobody else.

use std::io;
use std::sync::OnceLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use aws_lc_rs::rand;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::password::normal_form;

/// Memory of a hash in KiB: 19 MiB, with `PASSES` the least that OWASP recommends for argon2id.
const MEMORY: u32 = 19 * 1_024;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes: one, because one thread computes them.
const LANES: u32 = 1;
/// Random bytes of a salt.
const SALT: usize = 16;
/// Most passwords that wait. A hash takes some 30 ms of an idle core, so the last one waits for a quarter of
/// a second there, and for a few seconds on a core that relays.
const WAITING: usize = 8;
/// The nice value of the thread, the same as that of the threads for TLS handshakes.
const NICE: i32 = 10;

/// Too many passwords wait to be hashed, or the thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked: try again in a few seconds")]
pub struct WorkerBusy;

enum PasswordJob {
    Hash { password: Zeroizing<String>, reply: oneshot::Sender<Option<String>> },
    Verify { password: Zeroizing<String>, hash: Option<String>, reply: oneshot::Sender<bool> },
}

/// The way to the thread. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct PasswordWorker(mpsc::Sender<PasswordJob>);

impl PasswordWorker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn start() -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING);
        std::thread::Builder::new().name("passwords".to_owned()).spawn(move || run(waiting))?;
        Ok(Self(jobs))
    }

    /// Returns the hash to store of a password, as [`check_password`](super::check_password) returns it.
    ///
    /// # Errors
    ///
    /// [`WorkerBusy`]
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, WorkerBusy> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(PasswordJob::Hash { password, reply }).map_err(|_| WorkerBusy)?;
        answer.await.ok().flatten().ok_or(WorkerBusy)
    }

    /// Whether a password has this hash. Without a hash the answer is no, and takes the same time: who tries
    /// an email address does not learn whether it is somebody's.
    ///
    /// # Errors
    ///
    /// [`WorkerBusy`]
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool, WorkerBusy> {
        let Some(password) = normal_form(password) else { return Ok(false) };
        let (reply, answer) = oneshot::channel();
        self.0.try_send(PasswordJob::Verify { password, hash, reply }).map_err(|_| WorkerBusy)?;
        answer.await.map_err(|_| WorkerBusy)
    }
}

fn run(mut waiting: mpsc::Receiver<PasswordJob>) {
    if let Err(error) = nucleus_net::set_thread_nice(NICE) {
        tracing::debug!(%error, "passwords are hashed at ordinary priority");
    }
    while let Some(job) = waiting.blocking_recv() {
        // Whoever has gone meanwhile needs no answer.
        match job {
            PasswordJob::Hash { password, reply } if !reply.is_closed() => {
                let _gone = reply.send(hash(&password));
            }
            PasswordJob::Verify { password, hash, reply } if !reply.is_closed() => {
                let _gone = reply.send(verify(&password, hash.as_deref()));
            }
            PasswordJob::Hash { .. } | PasswordJob::Verify { .. } => {}
        }
    }
}

fn argon2() -> Argon2<'static> {
    // The numbers are within argon2's ranges, and its defaults are no weaker.
    let params = Params::new(MEMORY, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password. `None`: the system has no random bytes, or no memory.
fn hash(password: &str) -> Option<String> {
    let mut salt = [0; SALT];
    rand::fill(&mut salt).ok()?;
    let hashed = argon2().hash_password_with_salt(password.as_bytes(), &salt);
    hashed.ok().map(|hashed| hashed.to_string())
}

fn verify(password: &str, hashed: Option<&str>) -> bool {
    /// The hash of no password, for people who have none.
    static NOBODY: OnceLock<Option<String>> = OnceLock::new();
    let nobody = || NOBODY.get_or_init(|| hash("the password of nobody")).as_deref();
    let Some(text) = hashed.or_else(nobody) else { return false };
    let Ok(parsed) = PasswordHash::new(text) else { return false };
    argon2().verify_password(password.as_bytes(), &parsed).is_ok() && hashed.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let worker = PasswordWorker::start().unwrap();
        let hash = worker.hash(secret("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = async |password: &str, hash: Option<String>| {
            worker.verify(password, hash).await.unwrap()
        };
        assert!(verify("correct horse battery", Some(hash.clone())).await);
        assert!(!verify("correct horse batterz", Some(hash.clone())).await);
        assert!(!verify("the password of nobody", None).await);
        assert!(!verify("a", Some("no hash".to_owned())).await);
        assert!(!verify(&"a".repeat(5_000), Some(hash)).await);
        let other = worker.hash(secret("correct horse battery")).await.unwrap();
        assert!(verify("correct horse battery", Some(other)).await, "another salt");
    }

    #[tokio::test]
    async fn strangers_wait_in_a_short_queue() {
        let worker = PasswordWorker::start().unwrap();
        let mut attempts = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let worker = worker.clone();
            attempts.spawn(async move { worker.verify("a guess", None).await });
        }
        let answers = attempts.join_all().await;
        let refused = answers.iter().filter(|answer| **answer == Err(WorkerBusy)).count();
        assert!((100..200).contains(&refused), "{refused} of 200 are refused at once");
        assert!(answers.iter().all(|answer| *answer != Ok(true)));
    }
}
