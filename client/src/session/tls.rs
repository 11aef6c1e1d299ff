//! TLS and transport parameters of the session plane.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use nucleus_protocol::link::Suite;
use nucleus_protocol::session::ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{AckFrequencyConfig, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use super::ConnectError;
use super::join::best_suite;
use nucleus_protocol::congestion::SparseCubic;

/// The link keeps its session alive (`limits::KEEP_ALIVE`); this is for a link that cannot, and in time
/// for the server's idle timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(17);
/// As long as the server's: from then on a ticket brings the peer back.
const IDLE_TIMEOUT_MS: u32 = 30_000;
/// One largest control message in flight; what the application has not taken stays at the server.
const STREAM_WINDOW: u32 = 1 << 20;
/// Control, events, bulk and state together: the application's backlog stops them all at once.
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Unacknowledged bytes of our own: events are small, more than this is a stalled connection.
const SEND_WINDOW: u64 = 256 << 10;
/// Events, bulk, a snapshot, and two of types this version refuses.
const SERVER_STREAMS: u32 = 5;
/// Datagrams that wait to be read: about 50 of the largest.
const DATAGRAM_INBOX: usize = 64 << 10;
/// Datagrams that wait to be sent: two of the largest. What a slow or dark path holds back is stale.
const DATAGRAM_OUTBOX: usize = 2_560;

/// Which server certificate is believed.
#[derive(Clone)]
pub enum Trust {
    /// SHA-256 of the certificate's DER: development servers make their own and hand the pin over
    /// with the join token.
    Pin([u8; 32]),
    /// A certificate chain up to one of these, and the server's name.
    Roots(RootCertStore),
    /// Any certificate: no protection against anyone on the way. For the load generator's flag.
    #[cfg(feature = "insecure-dev")]
    InsecureDev,
}

impl Trust {
    /// Trusts the CA certificates of a PEM file's content; at least one must be in it.
    pub fn ca_pem(pem: &[u8]) -> Result<Trust, ConnectError> {
        let unusable = |error: &dyn fmt::Display| ConnectError::Trust(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            Err(unusable(&"no certificate in the file"))
        } else {
            Ok(Trust::Roots(roots))
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::Pin(pin) => write!(f, "Pin({})", Hex(pin)),
            Trust::Roots(roots) => write!(f, "Roots({})", roots.len()),
            #[cfg(feature = "insecure-dev")]
            Trust::InsecureDev => f.write_str("InsecureDev"),
        }
    }
}

/// The QUIC configuration of a client: TLS 1.3, no early data, small windows.
pub fn client_config(trust: &Trust) -> Result<quinn::ClientConfig, ConnectError> {
    let unusable = |error: &dyn fmt::Display| ConnectError::Trust(error.to_string());
    let quic = QuicClientConfig::try_from(tls_config(trust)?).map_err(|e| unusable(&e))?;
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn tls_config(trust: &Trust) -> Result<rustls::ClientConfig, ConnectError> {
    let provider = Arc::new(provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ConnectError::Trust(error.to_string()))?;
    let mut config = match trust {
        Trust::Roots(roots) => builder.with_root_certificates(roots.clone()).with_no_client_auth(),
        Trust::Pin(pin) => custom(builder, CertificateVerifier::new(&provider, Some(*pin))),
        #[cfg(feature = "insecure-dev")]
        Trust::InsecureDev => custom(builder, CertificateVerifier::new(&provider, None)),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A join in early data could be replayed; and without it a resumed handshake saves no round
    // trip, while its ticket would tie a user's sessions together.
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Explicit, so that another crate's choice of a process-wide provider changes nothing here. First
/// comes the suite that suits this machine, with SHA-256: most machines have that in hardware and SHA-384
/// not.
fn provider() -> CryptoProvider {
    let first = match best_suite() {
        Suite::Aes128Gcm => CipherSuite::TLS13_AES_128_GCM_SHA256,
        Suite::ChaCha20Poly1305 => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
    provider
}

fn custom(
    builder: rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>,
    verifier: CertificateVerifier,
) -> rustls::ClientConfig {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    // What a client sends is sparse: an acknowledgement at once costs the server one datagram, one that
    // waits for others costs it a timer as well.
    let mut at_once = AckFrequencyConfig::default();
    at_once.ack_eliciting_threshold(VarInt::from_u32(0));
    transport
        // First retransmission after 0.3 s instead of 1 s: a server gives a join five seconds in
        // all, and on bad Wi-Fi two or three flights are lost in a row.
        .initial_rtt(Duration::from_millis(100))
        .ack_frequency_config(Some(at_once))
        .congestion_controller_factory(Arc::new(SparseCubic::default()))
        // What a session sends fits the least MTU. Five probes, each acknowledged, were half of all
        // datagrams of a join.
        .mtu_discovery_config(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        // The server opens no stream in both directions.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(SERVER_STREAMS))
        .datagram_receive_buffer_size(Some(DATAGRAM_INBOX))
        .datagram_send_buffer_size(DATAGRAM_OUTBOX);
    transport
}

/// Believes one certificate by its hash, whatever name and dates stand in it. The handshake's
/// signature is still checked: a pin alone would admit anyone who copied the public certificate.
#[derive(Debug)]
struct CertificateVerifier {
    /// `None` believes every certificate.
    pin: Option<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl CertificateVerifier {
    fn new(provider: &CryptoProvider, pin: Option<[u8; 32]>) -> Self {
        Self { pin, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = digest::digest(&digest::SHA256, end_entity);
        match &self.pin {
            Some(pin) if verify_slices_are_equal(pin, found.as_ref()).is_err() => {
                let mismatch = PinMismatch { pinned: *pin, found: found.as_ref().to_vec() };
                Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(thiserror::Error)]
#[error("the certificate's SHA-256 is {}, pinned is {}", Hex(.found), Hex(.pinned))]
struct PinMismatch {
    pinned: [u8; 32],
    found: Vec<u8>,
}

/// rustls and quinn show an error from here by `Debug` alone.
impl fmt::Debug for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
