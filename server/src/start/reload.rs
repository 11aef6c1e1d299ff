//! Reads the certificate and the key of join tokens again while the server runs, and tells the
//! operator of a certificate that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nucleus_core::validity::ValidityNotice;
use tokio::sync::{Notify, mpsc};

use super::config::TlsFiles;
use super::tls::{Identity, ServedCertificate, TlsError};
use crate::edge::SessionContext;
use crate::token::TokenKeyError;

/// The files that an operator may replace while the server runs.
pub(super) struct Reload {
    /// `None`: the development certificate, which the server renews by itself.
    tls: Option<TlsFiles>,
    served: Arc<ServedCertificate>,
    context: Arc<SessionContext>,
    /// Whether all files could be read when they were read last, for the page of metrics.
    is_reloaded: Arc<AtomicBool>,
    /// Ends the pause of a certificate authority's keeper; `None`: there is none.
    hurry: Option<Arc<Notify>>,
}

/// Why a file was not taken. What the server had before stays.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Token(#[from] TokenKeyError),
}

impl Reload {
    pub(super) fn new(
        tls: Option<TlsFiles>,
        served: Arc<ServedCertificate>,
        context: Arc<SessionContext>,
        is_reloaded: Arc<AtomicBool>,
        hurry: Option<Arc<Notify>>,
    ) -> Self {
        Self { tls, served, context, is_reloaded, hurry }
    }

    /// Reads the files again at each request, until the task is aborted or nobody can request it.
    pub(super) async fn run(self, mut requests: mpsc::Receiver<()>) {
        let reload = Arc::new(self);
        while requests.recv().await.is_some() {
            let reload = reload.clone();
            // A blocked disk must not block a thread of sessions.
            let read = tokio::task::spawn_blocking(move || reload.read_all());
            // Fails only if the runtime is ending.
            let Ok(()) = read.await else { return };
        }
    }

    /// Reads each file, whether or not another one could be read.
    fn read_all(&self) {
        let parts = [("certificate", self.certificate()), ("token key", self.token_key())];
        self.is_reloaded.store(parts.iter().all(|(_, read)| read.is_ok()), Ordering::Relaxed);
        for (what, result) in parts {
            match result {
                Ok(true) => tracing::info!("reloaded the {what}"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!("the {what} was not reloaded and stays as it was: {error}");
                }
            }
        }
        if let Some(hurry) = &self.hurry {
            hurry.notify_one();
            tracing::info!("asks the certificate authority now, if a certificate is due");
        } else if self.tls.is_none() && !self.context.verifier.has_key_file() {
            tracing::info!("there is nothing to reload in development mode");
        }
    }

    /// Serves the certificate in its files. Returns false if there are no files.
    fn certificate(&self) -> Result<bool, ReloadError> {
        let Some(TlsFiles { cert_file, key_file }) = &self.tls else { return Ok(false) };
        self.served.replace(Identity::from_files(cert_file, key_file)?)?;
        Ok(true)
    }

    fn token_key(&self) -> Result<bool, ReloadError> {
        Ok(self.context.verifier.reload()?)
    }
}

/// Tells the operator when the served certificate is not valid, or ends soon. Checks it every
/// `interval`, until the task is aborted.
pub(super) async fn watch_validity(
    served: Arc<ServedCertificate>,
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
    interval: Duration,
) {
    let mut told = None;
    loop {
        let notice = served.validity().and_then(|validity| validity.notice(now()));
        if notice != told {
            tell(&served, notice);
            told = notice;
        }
        tokio::time::sleep(interval).await;
    }
}

fn tell(served: &ServedCertificate, notice: Option<ValidityNotice>) {
    let file = served.file();
    let file = file.display();
    let [start, end] = served.dates();
    match notice {
        None => tracing::info!("the certificate in {file} is valid until {end}"),
        Some(ValidityNotice::EndsSoon) => {
            tracing::warn!("the certificate in {file} ends on {end}: renew it, then send SIGHUP");
        }
        Some(ValidityNotice::Ended) => {
            tracing::error!("the certificate in {file} ended on {end}: clients refuse this server")
        }
        Some(ValidityNotice::NotYetValid) => tracing::error!(
            "the certificate in {file} begins on {start}: clients refuse this server, or the \
             clock of this machine is wrong"
        ),
    }
}
