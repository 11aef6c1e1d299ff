//! The development certificates of a data directory: one file for each week, `tls-WEEK.pem`, with
//! the certificate and its private key. The schedule is that of [`nucleus_core::certificates`].
//!
//! A file is never changed, and its name says when it serves. So processes that share the directory
//! have the same certificates, whichever of them made the files.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nucleus_core::certificates::{ServiceWeek, needed_weeks, surplus_weeks, week_in_service};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::files::{self, DataDirError, corrupt, hex, make_failed};

/// The SHA-256 digest of a certificate, DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Returns the digest's 32 bytes.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }

    fn of_pem(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let digest = digest::digest(&digest::SHA256, &der);
        <[u8; 32]>::try_from(digest.as_ref()).ok().map(Self)
    }

    /// Returns the digest as tokens carry it: base64url without padding.
    pub fn to_base64url(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// A self-signed certificate with its private key. Clients trust it by its pin.
pub struct DevelopmentCertificate {
    week: ServiceWeek,
    file: PathBuf,
    cert_pem: String,
    key_pem: Zeroizing<String>,
    pin: Pin,
}

impl DevelopmentCertificate {
    /// Reads the certificate of `week`. `None`: it does not exist.
    fn read(dir: &Path, week: ServiceWeek) -> Result<Option<Self>, DataDirError> {
        let name = file_name(week);
        files::read(dir, &name)?.map(|bytes| Self::parse(dir, week, bytes)).transpose()
    }

    /// Reads the certificate of `week`, and makes it if it does not exist.
    fn read_or_make(dir: &Path, week: ServiceWeek) -> Result<Self, DataDirError> {
        let bytes = files::read_or_make(dir, &file_name(week), || make_pem(week))?;
        Self::parse(dir, week, bytes)
    }

    fn parse(
        dir: &Path,
        week: ServiceWeek,
        bytes: Zeroizing<Vec<u8>>,
    ) -> Result<Self, DataDirError> {
        let name = file_name(week);
        let text = files::text(dir, &name, bytes)?;
        let split = text.find("-----BEGIN PRIVATE KEY-----");
        let (cert, key) = split
            .map(|at| text.split_at(at))
            .filter(|(cert, _)| cert.starts_with("-----BEGIN CERTIFICATE-----"))
            .ok_or_else(|| corrupt(dir, &name, "not a certificate and its private key"))?;
        Ok(Self {
            week,
            file: dir.join(&name),
            cert_pem: cert.to_owned(),
            key_pem: Zeroizing::new(key.to_owned()),
            pin: Pin::of_pem(cert).ok_or_else(|| corrupt(dir, &name, "not a certificate"))?,
        })
    }

    /// Returns the path of the file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the certificate, PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Returns the private key, PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Returns the digest by which clients trust the certificate.
    pub fn pin(&self) -> Pin {
        self.pin
    }
}

/// The certificate in service, and those that tokens name beside it.
#[derive(Clone)]
pub struct DevelopmentCertificates {
    dir: PathBuf,
    in_service: Arc<DevelopmentCertificate>,
    /// Those that tokens name at the time of the last look, with the one in service.
    pinned: Vec<Arc<DevelopmentCertificate>>,
}

impl DevelopmentCertificates {
    /// Reads the certificates that are needed at `now`, and makes those that are missing. If one
    /// cannot be written, another one has to do.
    pub(super) fn open(dir: &Path, now: u64) -> Result<Self, DataDirError> {
        let mut found = FoundCertificates { certificates: Vec::new(), error: None };
        found.complete(dir, now);
        match (found.serving(now), found.error) {
            (_, Some(error @ DataDirError::Corrupt { .. })) | (None, Some(error)) => Err(error),
            (None, None) => Err(DataDirError::Make("no certificate was made".to_owned())),
            (Some(in_service), _) => {
                let pinned = found.certificates;
                Ok(Self { dir: dir.to_owned(), in_service, pinned })
            }
        }
    }

    /// Whether [`renew`](Self::renew) has something to do at `now`.
    pub fn is_due(&self, now: u64) -> bool {
        let [current, next] = needed_weeks(now);
        let has_next = self.pinned.iter().any(|certificate| certificate.week == next);
        self.in_service.week != current || !has_next
    }

    /// Puts the certificate of `now` into service, and makes those that are missing.
    ///
    /// # Errors
    ///
    /// A certificate cannot be read or written. The nearest one that there is serves then; a later
    /// call tries again.
    pub fn renew(&mut self, now: u64) -> Result<(), DataDirError> {
        let mut found = FoundCertificates { certificates: self.pinned.clone(), error: None };
        found.complete(&self.dir, now);
        if let Some(in_service) = found.serving(now) {
            let week = in_service.week;
            found.certificates.retain(|c| c.week == week || c.week.is_pinned(now));
            (self.in_service, self.pinned) = (in_service, found.certificates);
        }
        found.error.map_or(Ok(()), Err)
    }

    /// Returns the certificate in service.
    pub fn in_service(&self) -> &DevelopmentCertificate {
        &self.in_service
    }

    /// Returns the pins for a join token: that of the certificate in service first, then that of
    /// the next one. That of the last one follows if it exists.
    pub fn pins(&self) -> Vec<Pin> {
        let mut pinned: Vec<_> = self.pinned.iter().collect();
        pinned.sort_by_key(|c| (c.week != self.in_service.week, Reverse(c.week)));
        pinned.into_iter().map(|certificate| certificate.pin).collect()
    }
}

impl DevelopmentCertificates {
    /// Returns [`pins`](Self::pins) in the form in which tokens name them.
    pub fn token_pins(&self) -> Vec<String> {
        self.pins().into_iter().map(Pin::to_base64url).collect()
    }
}

/// The certificates that were found until now, and the first error.
struct FoundCertificates {
    certificates: Vec<Arc<DevelopmentCertificate>>,
    error: Option<DataDirError>,
}

impl FoundCertificates {
    /// Adds those that are needed at `now`, and that of last week if it exists. If that of this
    /// week is missing, adds the one that serves instead.
    fn complete(&mut self, dir: &Path, now: u64) {
        let needed = needed_weeks(now);
        for week in needed {
            self.add(week, || DevelopmentCertificate::read_or_make(dir, week).map(Some));
        }
        let mut others = existing_weeks(dir);
        others.retain(|week| !needed.contains(week));
        let instead = week_in_service(&others, now).filter(|_| !self.weeks().contains(&needed[0]));
        others.retain(|week| week.is_pinned(now) || Some(*week) == instead);
        for week in others {
            self.add(week, || DevelopmentCertificate::read(dir, week));
        }
        remove_surplus(dir, now);
    }

    fn add(
        &mut self,
        week: ServiceWeek,
        read: impl FnOnce() -> Result<Option<DevelopmentCertificate>, DataDirError>,
    ) {
        if self.weeks().contains(&week) {
            return;
        }
        match read() {
            Ok(certificate) => self.certificates.extend(certificate.map(Arc::new)),
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }

    fn weeks(&self) -> Vec<ServiceWeek> {
        self.certificates.iter().map(|certificate| certificate.week).collect()
    }

    /// Returns the certificate that serves at `now`.
    fn serving(&self, now: u64) -> Option<Arc<DevelopmentCertificate>> {
        let week = week_in_service(&self.weeks(), now)?;
        self.certificates.iter().find(|certificate| certificate.week == week).cloned()
    }
}

fn file_name(week: ServiceWeek) -> String {
    format!("tls-{}.pem", week.number())
}

/// Returns the weeks whose certificates are in the directory; none if it cannot be read.
fn existing_weeks(dir: &Path) -> Vec<ServiceWeek> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let week = |name: &str| {
        let number = name.strip_prefix("tls-")?.strip_suffix(".pem")?.parse().ok()?;
        // Leaves names alone that `file_name` does not make, such as `tls-007.pem`.
        ServiceWeek::new(number).filter(|week| file_name(*week) == name)
    };
    entries.filter_map(|entry| week(entry.file_name().to_str()?)).collect()
}

/// Removes old certificates. One that cannot be removed does no harm.
fn remove_surplus(dir: &Path, now: u64) {
    for week in surplus_weeks(existing_weeks(dir), now) {
        let _removed = fs::remove_file(dir.join(file_name(week)));
    }
}

/// Makes a self-signed certificate and its key, PEM: ECDSA on P-256, which browsers require.
fn make_pem(week: ServiceWeek) -> Result<Vec<u8>, DataDirError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make_failed)?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).map_err(make_failed)?;
    let date = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let validity = week.validity();
    (params.not_before, params.not_after) = (date(*validity.start()), date(*validity.end()));
    let cert = params.self_signed(&key).map_err(make_failed)?;
    // Key and certificate belong together, so one file holds both.
    Ok([cert.pem(), key.serialize_pem()].concat().into_bytes())
}
