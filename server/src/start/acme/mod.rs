//! Gets the certificate from an authority by ACME (RFC 8555), and renews it. The rules of when are in
//! [`nucleus_core::acme`].

mod challenges;
mod http_client;
mod order;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use nucleus_control::fetch::client_config;
use nucleus_control::http::ACME_PROTOCOL;
use nucleus_core::acme::AcmeSchedule;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use challenges::HttpsCertificates;
use order::Orders;

use super::config::{AcmeSettings, ExternalAccount};
use super::renewal::RenewalClock;
use super::tls::{Identity, ServedCertificate, TlsError, https_config};
use crate::{private_file, text_file};

/// The file in the data directory for the account at the authority.
const ACCOUNT_FILE: &str = "acme-account.json";
/// The file in the data directory for the certificate with its private key.
pub(super) const CERTIFICATE_FILE: &str = "acme-certificate.pem";

/// Longest time of an order. Its steps have their own limits; this one is for all of them.
const ORDER_TIME: Duration = Duration::from_secs(600);
/// Most characters of an error in the log: some name each host.
const ERROR_CHARS: usize = 600;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// A file cannot be read or written.
    #[error("acme: {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file with root certificates is damaged.
    #[error("acme.root_file: cannot read {path}: {source}", path = path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The PEM parser's error.
        source: pem::Error,
    },
    /// The key of the external account is not base64url.
    #[error("acme.external_account: the key in {} is not base64url", .0.display())]
    ExternalKey(PathBuf),
    /// The TLS library refuses a root certificate.
    #[error("acme: {0}")]
    Tls(String),
    /// The authority or the way to it.
    #[error("{0}")]
    Authority(#[from] instant_acme::Error),
    /// The authority did not carry out the order.
    #[error("{0}")]
    Order(String),
    /// The certificate of a validation cannot be made.
    #[error("cannot answer a validation: {0}")]
    Challenge(String),
    /// What the authority sent cannot be used.
    #[error("the authority's certificate: {0}")]
    Certificate(#[from] TlsError),
    /// The certificate is not for all wanted names.
    #[error("the authority's certificate is not for all wanted names")]
    WrongNames,
    /// All steps together took too long.
    #[error("the order took longer than {} s", .0.as_secs())]
    Late(Duration),
}

/// Gets and renews the certificate.
pub(super) struct AcmeKeeper {
    orders: Orders,
    schedule: AcmeSchedule,
    served: Arc<ServedCertificate>,
    hurry: Arc<Notify>,
}

impl AcmeKeeper {
    /// Keeps `served` in the data directory `dir`, by the settings.
    ///
    /// # Errors
    ///
    /// A file that the settings name cannot be read.
    pub(super) fn new(
        settings: &AcmeSettings,
        dir: &Path,
        served: Arc<ServedCertificate>,
    ) -> Result<Self, AcmeError> {
        let roots = settings.root_file.as_deref().map(read_roots).transpose()?;
        let tls = client_config(roots.unwrap_or_default())
            .map_err(|error| AcmeError::Tls(error.to_string()))?;
        let external_key = settings.external_account.as_ref().map(read_key).transpose()?;
        let orders = Orders {
            settings: settings.clone(),
            dir: dir.to_owned(),
            tls,
            external_key,
            challenges: Arc::default(),
        };
        let (schedule, hurry) = (AcmeSchedule::default(), Arc::default());
        Ok(Self { orders, schedule, served, hurry })
    }

    /// Makes the TLS configuration of HTTPS, which also answers the authority's validations.
    ///
    /// # Errors
    ///
    /// Those of [`https_config`].
    pub(super) fn https_config(&self) -> Result<rustls::ServerConfig, TlsError> {
        let (served, challenges) = (self.served.clone(), self.orders.challenges.clone());
        https_config(Arc::new(HttpsCertificates { served, challenges }), &[ACME_PROTOCOL])
    }

    /// Returns what ends the pause after a failed order.
    pub(super) fn hurry(&self) -> Arc<Notify> {
        self.hurry.clone()
    }

    /// Gets and renews the certificate until the task is aborted.
    pub(super) async fn run(mut self, clock: RenewalClock) {
        loop {
            let now = (clock.now)();
            if self.schedule.is_due(now, self.held()) {
                self.renew(&clock).await;
            }
            tokio::select! {
                () = tokio::time::sleep(clock.interval) => {}
                () = self.hurry.notified() => self.schedule.hurry(),
            }
        }
    }

    /// The validity of the served certificate, if it is one for all wanted names.
    fn held(&self) -> Option<nucleus_core::validity::Validity> {
        let wanted = &self.orders.settings.domains;
        let has_all = |names: Vec<String>| wanted.iter().all(|name| names.contains(name));
        let is_wanted = self.served.names().is_some_and(has_all);
        let is_own = self.served.file() == self.orders.dir.join(CERTIFICATE_FILE);
        self.served.validity().filter(|_| is_own && is_wanted)
    }

    async fn renew(&mut self, clock: &RenewalClock) {
        let domains = self.orders.settings.domains.join(", ");
        tracing::info!(directory = %self.orders.settings.directory, "orders a certificate for {domains}");
        let ordered = tokio::time::timeout(ORDER_TIME, self.orders.order()).await;
        let ordered = ordered.unwrap_or(Err(AcmeError::Late(ORDER_TIME)));
        // Also those of an order that was given up.
        self.orders.challenges.clear();
        let served = match ordered {
            Ok(pem) => self.serve(pem).await,
            Err(error) => Err(error),
        };
        let now = (clock.now)();
        let served = served.and_then(|()| self.held().ok_or(AcmeError::WrongNames));
        match served {
            Ok(held) if self.schedule.issued(now, held) => {
                tracing::info!("new sessions get the new certificate for {domains}");
            }
            Ok(_) => tracing::error!(
                "the new certificate for {domains} would have to be renewed at once: the clock of this \
                 machine is wrong"
            ),
            Err(error) => {
                let pause = self.schedule.failed(now);
                let error = one_line(&error.to_string());
                tracing::error!(
                    "no certificate for {domains}: {error}; tries again in {} min, or at SIGHUP",
                    pause / 60
                );
            }
        }
    }

    /// Serves a certificate, and writes it for the next start.
    async fn serve(&self, pem: Zeroizing<String>) -> Result<(), AcmeError> {
        let path = self.orders.dir.join(CERTIFICATE_FILE);
        self.served.replace(Identity::from_pem(pem.as_bytes(), &path)?)?;
        let dir = self.orders.dir.clone();
        let write = move || private_file::replace(&dir, CERTIFICATE_FILE, pem.as_bytes());
        // A blocked disk must not block a thread of sessions.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            // The certificate serves all the same.
            tracing::error!(
                "{}: {error}: the next start orders a certificate again",
                path.display()
            );
        }
        Ok(())
    }
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, AcmeError> {
    let failed = |source| AcmeError::Roots { path: path.to_owned(), source };
    let pem = text_file::read(path).map_err(|error| failed(pem::Error::Io(error)))?;
    let roots: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(failed)?;
    if roots.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(roots) }
}

fn read_key(external: &ExternalAccount) -> Result<Zeroizing<Vec<u8>>, AcmeError> {
    let path = &external.key_file;
    let failed = |source| AcmeError::File { path: path.clone(), source };
    let text = text_file::read(path).map_err(failed)?;
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim_ascii());
    key.map(Zeroizing::new).map_err(|_| AcmeError::ExternalKey(path.clone()))
}

/// Texts of an authority go into the log: no line breaks, and not too long.
fn one_line(text: &str) -> String {
    text.chars().take(ERROR_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
