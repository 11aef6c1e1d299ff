//! The TLS configuration of the session plane. It is built by hand because quinn's shortcut enables
//! early data, which can be replayed. The certificate can be replaced while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use nucleus_core::validity::Validity;
use nucleus_protocol::session::ALPN;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use super::data_dir::DevelopmentCertificate;
use crate::edge::WEB_ALPN;
use crate::text_file;

/// Why the certificate or its private key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is damaged PEM.
    #[error("tls: cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system or of the PEM parser.
        source: pem::Error,
    },
    /// The certificate file has no certificate in it.
    #[error(
        "tls: no certificate in {path}: a PEM file with BEGIN CERTIFICATE is expected",
        path = path.display()
    )]
    NoCertificate {
        /// The certificate file.
        path: PathBuf,
    },
    /// The key file has no private key in it.
    #[error(
        "tls: no private key in {path}: a PEM file with BEGIN PRIVATE KEY is expected",
        path = path.display()
    )]
    NoKey {
        /// The key file.
        path: PathBuf,
    },
    /// The private key belongs to another certificate.
    #[error(
        "tls: the private key in {key} does not belong to the certificate in {cert}",
        key = key.display(),
        cert = cert.display()
    )]
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The certificate or the key is of a kind that is not supported.
    #[error(
        "tls: cannot use the certificate in {cert} with the key in {key}: {reason}",
        cert = cert.display(),
        key = key.display()
    )]
    Unusable {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What the TLS library says.
        reason: String,
    },
    /// The TLS library lacks the cipher suite that QUIC begins with.
    #[error("tls: {0}")]
    Quic(String),
}

impl TlsError {
    /// Tells a file without any PEM block of the wanted kind from one that cannot be read.
    fn of_key(path: &Path, source: pem::Error) -> Self {
        let path = path.to_owned();
        match source {
            pem::Error::NoItemsFound => Self::NoKey { path },
            source => Self::Read { path, source },
        }
    }
}

/// A certificate chain with its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The file that the chain was read from, for errors.
    cert_file: PathBuf,
    /// The file that the key was read from, for errors.
    key_file: PathBuf,
}

impl Identity {
    /// Takes a development certificate.
    ///
    /// # Errors
    ///
    /// Its file is damaged.
    pub fn development(certificate: &DevelopmentCertificate) -> Result<Self, TlsError> {
        let file = certificate.file().to_owned();
        let chain = CertificateDer::pem_slice_iter(certificate.cert_pem().as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|source| TlsError::Read { path: file.clone(), source })?;
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem().as_bytes())
            .map_err(|source| TlsError::of_key(&file, source))?;
        Ok(Self { chain, key, cert_file: file.clone(), key_file: file })
    }

    /// Reads a certificate chain and its private key from PEM files.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or has no certificate or no private key in it.
    pub fn from_files(cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| text_file::read(path).map_err(pem::Error::Io);
        let of_cert = |source| TlsError::Read { path: cert_file.to_owned(), source };
        let cert = read(cert_file).map_err(of_cert)?;
        let key = read(key_file).map_err(|source| TlsError::of_key(key_file, source))?;
        Self::parse((&cert, cert_file), (&key, key_file))
    }

    /// Takes a certificate chain and its private key from one PEM text, that of `file`.
    ///
    /// # Errors
    ///
    /// There is no certificate or no private key in it.
    pub(super) fn from_pem(pem: &[u8], file: &Path) -> Result<Self, TlsError> {
        Self::parse((pem, file), (pem, file))
    }

    fn parse(
        (cert, cert_file): (&[u8], &Path),
        (key, key_file): (&[u8], &Path),
    ) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|source| TlsError::Read { path: cert_file.to_owned(), source })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: cert_file.to_owned() });
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|source| TlsError::of_key(key_file, source))?;
        Ok(Self { chain, key, cert_file: cert_file.to_owned(), key_file: key_file.to_owned() })
    }

    /// Returns when the server's certificate is valid; `None` if that cannot be read.
    fn validity(&self) -> Option<Validity> {
        let (_, certificate) = x509_parser::parse_x509_certificate(self.chain.first()?).ok()?;
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
        let validity = certificate.validity();
        Some(Validity { start: seconds(validity.not_before)?, end: seconds(validity.not_after)? })
    }

    /// Checks that the key belongs to the certificate, and makes both ready for use.
    fn certified_key(self) -> Result<CertifiedKey, TlsError> {
        let Self { chain, key, cert_file: cert, key_file } = self;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert, key: key_file },
            error => TlsError::Unusable { cert, key: key_file, reason: error.to_string() },
        })
    }
}

/// The certificate that new sessions get. Sessions that exist keep theirs when it is replaced.
#[derive(Debug)]
pub struct ServedCertificate(RwLock<Served>);

#[derive(Debug)]
struct Served {
    key: Arc<CertifiedKey>,
    validity: Option<Validity>,
    file: PathBuf,
}

impl Served {
    fn new(identity: Identity) -> Result<Self, TlsError> {
        let (file, validity) = (identity.cert_file.clone(), identity.validity());
        Ok(Self { key: Arc::new(identity.certified_key()?), validity, file })
    }
}

impl ServedCertificate {
    /// Serves `identity`.
    ///
    /// # Errors
    ///
    /// The key does not belong to the certificate, or one of them is of a kind that is not
    /// supported.
    pub fn new(identity: Identity) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(RwLock::new(Served::new(identity)?))))
    }

    /// Serves `identity` from now on.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new). The certificate stays as it was.
    pub fn replace(&self, identity: Identity) -> Result<(), TlsError> {
        let served = Served::new(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = served;
        Ok(())
    }

    /// Returns when the certificate is valid; `None` if that cannot be read from it.
    pub fn validity(&self) -> Option<Validity> {
        self.served().validity
    }

    /// Returns the first and the last moment of the validity, for people.
    pub(super) fn dates(&self) -> [String; 2] {
        let validity = self.validity();
        let date = |seconds: Option<u64>| {
            let time = x509_parser::time::ASN1Time::from_timestamp(seconds?.try_into().ok()?);
            time.ok().map(|time| time.to_string())
        };
        let dates = [validity.map(|v| v.start), validity.map(|v| v.end)].map(date);
        dates.map(|date| date.unwrap_or_else(|| "an unknown date".to_owned()))
    }

    /// Returns the host names that the certificate is for; `None` if they cannot be read.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        let served = self.served();
        let chain = &served.key.cert;
        let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let host = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        Some(names.value.general_names.iter().filter_map(host).collect())
    }

    /// Returns the file of the certificate.
    pub fn file(&self) -> PathBuf {
        self.served().file.clone()
    }

    fn served(&self) -> RwLockReadGuard<'_, Served> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the certificate chain, DER.
    #[cfg(test)]
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.served().key.cert.clone()
    }
}

impl ResolvesServerCert for ServedCertificate {
    /// Returns the certificate, whatever name the client asks for: a server has only one.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.served().key.clone())
    }
}

/// Makes the server's TLS configuration for QUIC: TLS 1.3, the protocols that carry
/// sessions, no early data.
///
/// # Errors
///
/// The TLS library does not support TLS 1.3.
pub fn quic_config(served: Arc<ServedCertificate>) -> Result<rustls::ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Quic(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(served);
    // WebTransport is HTTP/3. A client offers one of the two.
    config.alpn_protocols = vec![ALPN.to_vec(), WEB_ALPN.to_vec()];
    config.max_early_data_size = 0;
    // Clients resume with the server's own tickets. TLS tickets would make the server keep state
    // for lost peers.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Makes the TLS configuration of HTTPS: TLS 1.3 and 1.2, HTTP/1.1 and the protocols `more`.
///
/// # Errors
///
/// The TLS library does not support these versions.
pub fn https_config(
    certificates: Arc<dyn ResolvesServerCert>,
    more: &[&[u8]],
) -> Result<rustls::ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Quic(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    let protocols = [&b"http/1.1"[..]].into_iter().chain(more.iter().copied());
    config.alpn_protocols = protocols.map(<[u8]>::to_vec).collect();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the error text that an operator reads after configuring these two files.
    fn refusal(cert: &str, key: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (cert_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&cert_file, cert).unwrap();
        fs::write(&key_file, key).unwrap();
        let result = Identity::from_files(&cert_file, &key_file).and_then(ServedCertificate::new);
        let text = result.unwrap_err().to_string();
        assert!(!text.contains('\n'), "one line: {text}");
        text.replace(&format!("{}/", dir.path().display()), "")
    }

    fn identity() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_pem_file() {
        let (cert, key) = identity();
        let dir = tempfile::tempdir().unwrap();
        let (cert_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&cert_file, format!("\u{feff}{cert}\r\n")).unwrap();
        fs::write(&key_file, format!("\u{feff}{key}")).unwrap();
        let served = Identity::from_files(&cert_file, &key_file).and_then(ServedCertificate::new);
        assert_eq!(served.unwrap().chain().len(), 1);
    }

    #[test]
    fn a_refused_certificate_or_key_is_named_with_its_file() {
        let ((cert, key), (_, other_key)) = (identity(), identity());
        for empty in ["", "no PEM", &key] {
            let text = refusal(empty, &key);
            assert!(text.starts_with("tls: no certificate in cert.pem: "), "{text}");
        }
        for empty in ["", "no PEM", &cert] {
            let text = refusal(&cert, empty);
            assert!(text.starts_with("tls: no private key in key.pem: "), "{text}");
        }
        let mismatch = "the private key in key.pem does not belong to the certificate in cert.pem";
        assert_eq!(refusal(&cert, &other_key), format!("tls: {mismatch}"));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text = refusal(garbage, &key);
        assert!(text.starts_with("tls: cannot use the certificate in cert.pem with"), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = Path::new("/nowhere/cert.pem");
        let text = Identity::from_files(missing, missing).err().unwrap().to_string();
        assert!(text.starts_with("tls: cannot read /nowhere/cert.pem: "), "{text}");
    }
}
