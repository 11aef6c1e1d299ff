//! The TLS configuration of the session plane, built by hand: the QUIC library's shortcut turns early
//! data on, which can be replayed.

use std::path::Path;
use std::sync::Arc;

use nucleus_protocol::session::ALPN;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::data_dir::DataDir;

/// The certificate or key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read or holds no such thing.
    #[error("{0}: {1}")]
    Pem(String, rustls::pki_types::pem::Error),
    /// Key and certificate do not go together, or are of a kind that is not supported.
    #[error("the TLS certificate or key cannot be used: {0}")]
    Unusable(String),
}

/// A certificate chain with its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The development certificate of a data directory.
    pub fn development(dir: &DataDir) -> Result<Self, TlsError> {
        let in_dir = |e| TlsError::Pem(dir.path().join("tls.pem").display().to_string(), e);
        Self::from_pem(dir.cert_pem().as_bytes(), dir.key_pem().as_bytes()).map_err(in_dir)
    }

    /// A certificate chain and its key from PEM files.
    pub fn from_files(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let failed = |path: &Path| {
            let name = path.display().to_string();
            move |e| TlsError::Pem(name, e)
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect)
            .map_err(failed(cert))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
        Ok(Self { chain, key })
    }

    fn from_pem(cert: &[u8], key: &[u8]) -> Result<Self, rustls::pki_types::pem::Error> {
        let chain = CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>()?;
        Ok(Self { chain, key: PrivateKeyDer::from_pem_slice(key)? })
    }

    /// The server's TLS configuration for QUIC: TLS 1.3, our ALPN, no early data.
    pub fn quic(self) -> Result<rustls::ServerConfig, TlsError> {
        let unusable = |e: &dyn std::fmt::Display| TlsError::Unusable(e.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|b| b.with_no_client_auth().with_single_cert(self.chain, self.key))
            .map_err(|e| unusable(&e))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0;
        // Clients resume by our own ticket, not by TLS's: nothing to keep for a peer that is gone.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(config)
    }
}
