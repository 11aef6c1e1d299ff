//! The proof that the server answers for a host name: TLS-ALPN-01 (RFC 8737). The authority connects to
//! port 443 of the name and asks for the protocol `acme-tls/1`. A certificate with a digest that only the
//! owner of the account can know is the answer.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use nucleus_control::http::ACME_PROTOCOL;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::super::tls::ServedCertificate;
use super::AcmeError;

/// The certificates of validations in progress, by host name.
#[derive(Debug, Default)]
pub(super) struct AcmeChallenges(RwLock<HashMap<String, Arc<CertifiedKey>>>);

impl AcmeChallenges {
    /// Answers for a host name from now on. `digest` is that of the key authorization, 32 bytes.
    ///
    /// # Errors
    ///
    /// The name or the digest cannot be in a certificate.
    pub(super) fn put(&self, name: &str, digest: &[u8]) -> Result<(), AcmeError> {
        let failed = |error: &dyn std::fmt::Display| AcmeError::Challenge(error.to_string());
        if digest.len() != 32 {
            return Err(failed(&"the digest has not 32 bytes"));
        }
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let mut params = CertificateParams::new([name.to_owned()]).map_err(|e| failed(&e))?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(|error| failed(&error))?;
        // Not `from_der`: it refuses the extension, which is critical and unknown to it.
        let certified = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), certified);
        Ok(())
    }

    /// Answers for no name any more.
    pub(super) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn of(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// The certificates of HTTPS: that of the server, and for an authority that of a validation.
#[derive(Debug)]
pub(super) struct HttpsCertificates {
    pub(super) served: Arc<ServedCertificate>,
    pub(super) challenges: Arc<AcmeChallenges>,
}

impl ResolvesServerCert for HttpsCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // An authority asks for this protocol alone.
        let is_validation =
            hello.alpn().is_some_and(|mut offered| offered.all(|name| name == ACME_PROTOCOL));
        if is_validation {
            return self.challenges.of(&hello.server_name()?.to_ascii_lowercase());
        }
        self.served.resolve(hello)
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::*;

    #[test]
    fn a_validation_names_the_host_and_the_digest() {
        let challenges = AcmeChallenges::default();
        challenges.put("a.example.com", &[7; 32]).unwrap();
        assert!(challenges.put("b.example.com", &[7; 31]).is_err());
        assert!(challenges.of("b.example.com").is_none());
        let key = challenges.of("a.example.com").unwrap();
        let (_, certificate) =
            x509_parser::certificate::X509Certificate::from_der(&key.cert[0]).unwrap();
        let oid = x509_parser::der_parser::oid!(1.3.6.1.5.5.7.1.31);
        let extension = certificate.extensions().iter().find(|one| one.oid == oid).unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value, [&[4, 32][..], &[7; 32]].concat());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        challenges.clear();
        assert!(challenges.of("a.example.com").is_none());
    }
}
